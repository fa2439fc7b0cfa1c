"""What several readers found becomes one run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postmortem.model.run import (
    Checkpoint,
    EventKind,
    LeftOut,
    LogEvent,
    OptimizerState,
    ParamState,
    Reduction,
    Run,
    Series,
    Setting,
    Source,
    Status,
    TensorRef,
)
from postmortem.sources import read_run
from postmortem.sources.assemble import assemble
from postmortem.sources.choose import choose
from postmortem.sources.outcome import outcome, silent
from postmortem.sources.reader import Found
from tests.test_axes import any_series

ROOT = Path("run")


def series(
    name: str, steps: object, values: object = None, *, source: str = "train.log", key: str = "", times: object = None, epochs: object = None,
    reduction: Reduction = Reduction.UNKNOWN, quantum: float | None = None,
) -> Series:  # fmt: skip
    at = np.array(steps, dtype=float)
    seen = np.linspace(2, 1, len(at)) if values is None else np.array(values, dtype=float)
    return Series(
        name, key or name, source, at, seen, None if epochs is None else np.array(epochs, dtype=float), None if times is None else np.array(times, dtype=float),
        reduction, quantum,
    )  # fmt: skip


def run_of(
    *found: Series, checkpoints: tuple[Checkpoint, ...] = (), facts: dict[str, object] | None = None, setting: tuple[Setting, ...] = ()
) -> Run:
    by_source: dict[str, list[Series]] = {}
    for one in found:
        by_source.setdefault(one.source, []).append(one)
    pieces = [Found(Source(source, "test", Status.READ), tuple(many)) for source, many in by_source.items()]
    pieces.append(Found(Source("ckpt", "test", Status.READ), checkpoints=checkpoints, facts=facts or {}, settings=setting))
    return assemble(ROOT, "run", pieces)


def test_copies_of_one_history_are_one() -> None:
    whole = np.arange(10, 110, 10)
    run = run_of(
        *(series("train/loss", whole[:n], 1 / whole[:n], source=f"checkpoint-{n}0/trainer_state.json") for n in (3, 6, 10)),
        *(series("other/x", whole[:n], 1 / whole[:n], source=f"checkpoint-{n}0/trainer_state.json") for n in (3, 6, 10)),
    )
    assert [len(s) for s in run.series] == [10, 10]
    assert len(run.attempts) == 1


def test_a_copy_of_a_history_with_a_restart_is_one() -> None:
    steps = [*range(50), *range(30, 90)]
    values = np.linspace(2, 1, len(steps))
    run = run_of(series("train/loss", steps, values, source="a1/history.csv"), series("train/loss", steps[:70], values[:70], source="a2/history.csv"))
    assert [(a.first_step, a.last_step) for a in run.attempts] == [(0, 49), (30, 89)]


def test_versions_that_go_on_are_one_attempt_and_versions_that_start_again_are_two() -> None:
    on = run_of(series("train/loss", range(50), source="version_0/metrics.csv"), series("train/loss", range(50, 90), source="version_1/metrics.csv"))
    assert len(on.attempts) == 1
    assert len(on.series[0]) == 90
    assert on.series[0].source == "version_0/metrics.csv, version_1/metrics.csv"
    again = run_of(series("train/loss", range(50), source="version_10/metrics.csv"), series("train/loss", range(30), source="version_9/metrics.csv"))
    assert [(a.first_step, a.last_step) for a in again.attempts] == [(0, 29), (0, 49)]  # 10 comes after 9
    assert again.earlier[0].series[0].name == "train/loss"
    assert len(again.earlier[0].series[0]) == 30


def test_a_log_that_goes_on_under_another_name_is_joined() -> None:
    run = run_of(
        series("train/loss", range(50), source="train.log"),
        series("train/loss", range(40, 45), source="other.log"),
        series("train/loss", range(50, 90), source="train_resumed.log"),
    )
    assert len(run.series[0]) == 90


def test_ranks_are_no_restarts() -> None:
    run = run_of(*(series("train/loss", range(50), np.linspace(2, 1 + r, 50), source=f"logs/rank{r}.log") for r in range(4)))
    assert len(run.attempts) == 1
    assert run.series[0].source == "logs/rank0.log"


def test_torchrun_directories_are_ranks() -> None:
    run = run_of(*(series("train/loss", range(50), np.linspace(2, 1 + r, 50), source=f"none_x/attempt_0/{r}/stdout.log") for r in (1, 0)))
    assert len(run.attempts) == 1
    assert run.series[0].source.endswith("/0/stdout.log")


def test_event_files_written_at_the_same_time_are_side_by_side_and_later_ones_go_on() -> None:
    both = [series("train/loss", range(50), np.linspace(2, 1 + r, 50), source=f"e.{r}", times=1e9 + np.arange(50)) for r in range(2)]
    assert len(run_of(*both).attempts) == 1
    after = [series("train/loss", range(20 * r, 50), source=f"e.{9 - r}", times=1e9 + 100 * r + np.arange(50 - 20 * r)) for r in range(2)]
    assert [(a.first_step, a.last_step) for a in run_of(*after).attempts] == [(0, 49), (20, 49)]


def test_step_values_and_epoch_means_of_one_name() -> None:
    run = run_of(
        series("train/loss", range(100), key="train_loss_step", reduction=Reduction.STEP),
        series("train/loss", [49, 99], key="train_loss_epoch", reduction=Reduction.EPOCH),
    )
    assert {s.name: len(s) for s in run.series} == {"train/loss": 100, "train/loss.epoch": 2}


def test_a_test_set_that_is_evaluated_again_and_again_is_the_validation_set() -> None:
    assert {s.name for s in choose([series("train/loss", range(9)), series("test/loss", [3, 6])])} == {"train/loss", "val/loss"}
    assert {s.name for s in choose([series("val/loss", [3, 6]), series("test/loss", [3, 6])])} == {"val/loss", "test/loss"}
    assert {s.name for s in choose([series("train/loss", range(9)), series("test/loss", [9])])} == {"train/loss", "test/loss"}


def test_a_learning_rate_said_once_is_a_setting() -> None:
    assert {s.name for s in choose([series("train/loss", range(9)), series("lr", [0])])} == {"train/loss"}
    assert {s.name for s in choose([series("train/loss", [0]), series("lr", [0])])} == {"train/loss", "lr"}


def test_the_rate_that_most_parameter_groups_have_is_the_runs() -> None:
    warm, biases = [2e-4, 4e-4, 6e-4], [0.08, 0.04, 6e-4]

    def chosen(*rates: list[float]) -> str:
        groups = [series("lr" if n == 0 else f"other/lr/pg{n}", range(3), rate, key=f"lr/pg{n}") for n, rate in enumerate(rates)]
        return next(s.logged_as for s in choose([series("train/loss", range(3)), *groups]) if s.name == "lr")

    assert chosen(biases, warm, warm) == "lr/pg1"
    assert chosen(warm, warm, biases) == "lr/pg0"
    assert chosen(biases, warm) == "lr/pg0"  # of two no one can say
    assert chosen(biases, warm, [1.0, 2.0, 3.0]) == "lr/pg0"


def test_the_precise_source_is_believed_of_two_of_a_length() -> None:
    run = run_of(series("train/loss", range(50), source="a.log", quantum=0.01), series("train/loss", range(50), source="m.csv", key="loss"))
    assert run.series[0].source == "m.csv"


def checkpoint(path: str, *, step: float | None = None, epoch: float | None = None) -> Checkpoint:
    weight = TensorRef("w", path, 0, "float32", (2,), (1,), 8)
    return Checkpoint(path, "torch-zip", Status.READ, step, epoch, tensors=(weight,))


def test_checkpoints_that_know_an_epoch_get_its_step() -> None:
    run = run_of(
        series("train/loss", range(0, 1001, 10), epochs=np.arange(0, 10.01, 0.1)),
        checkpoints=(checkpoint("m_2.pt", epoch=2), checkpoint("m_10.pt", epoch=10), checkpoint("b.pt")),
    )
    assert [(c.path, c.step) for c in run.checkpoints] == [("m_2.pt", 200), ("m_10.pt", 1000), ("b.pt", None)]


def test_more_epochs_than_the_log_has_are_steps() -> None:
    run = run_of(
        series("train/loss", range(0, 1001, 10), epochs=np.arange(0, 10.01, 0.1)),
        checkpoints=tuple(checkpoint(f"m_{n}.pt", epoch=n) for n in (5, 500, 1000)),
    )
    assert [(c.step, c.epoch) for c in run.checkpoints] == [(5, None), (500, None), (1000, None)]


def test_epochs_beyond_everything_stay_epochs() -> None:
    run = run_of(series("train/loss", range(0, 101, 10), epochs=np.arange(0, 10.1, 1)), checkpoints=(checkpoint("m_5000.pt", epoch=5000),))
    assert [(c.step, c.epoch) for c in run.checkpoints] == [(50_000, 5000)]


def test_on_an_epoch_axis_a_checkpoint_stands_at_its_epoch() -> None:
    run = run_of(series("val/loss", [np.nan] * 3, epochs=[1, 2, 3]), checkpoints=(checkpoint("a.pt", step=900, epoch=3), checkpoint("b.pt", epoch=1)))
    assert run.axis == "epoch"
    assert [(c.path, c.step) for c in run.checkpoints] == [("b.pt", 1), ("a.pt", 3)]


def test_checkpoints_that_count_epochs_from_zero() -> None:
    """timm and ultralytics: that of epoch 0 holds an optimizer that has stepped, so an epoch is done. One saved before training holds none."""
    stepped = OptimizerState("sgd", (), (ParamState(0, None, {}),))
    losses = series("train/loss", [np.nan] * 3, epochs=[1, 2, 3])
    first = checkpoint("run/epoch0.pt", epoch=0)
    others = (checkpoint("run/epoch2.pt", epoch=2), checkpoint("best/model.pt", epoch=2))
    assert [(c.path, c.step) for c in run_of(losses, checkpoints=(replace(first, optimizer=stepped), *others)).checkpoints] == [
        ("run/epoch0.pt", 1), ("best/model.pt", 2), ("run/epoch2.pt", 3),
    ]  # fmt: skip
    assert [c.step for c in run_of(losses, checkpoints=(first, *others)).checkpoints] == [0, 2, 2]
    counted = replace(first, optimizer=stepped, step=40.0, facts={"step_from": "optimizer"})
    assert [c.step for c in run_of(losses, checkpoints=(counted,)).checkpoints] == [1]
    assert [c.step for c in run_of(losses, checkpoints=(replace(counted, facts={}),)).checkpoints] == [0]  # it counts steps itself


@pytest.mark.parametrize(("epoch", "placed"), [(2, [2, 3]), (3, [1, 3]), (1, [1, 1])])
def test_the_last_checkpoint_tells_whether_epochs_are_counted_from_zero(epoch: int, placed: list[int]) -> None:
    """Of a log of three epochs and a bit: it says 2 where they are counted from zero, 3 where from one; an older one tells nothing."""
    losses = series("train/loss", [np.nan] * 7, epochs=[0.5, 1, 1.5, 2, 2.5, 3, 3.25])
    saved = (checkpoint("run/checkpoint-1.pth.tar", epoch=1), checkpoint("run/last.pth.tar", epoch=epoch))
    assert [c.step for c in run_of(losses, checkpoints=saved).checkpoints] == placed
    count = {2: 3, 3: 3, 1: 1}[epoch]  # epochs that are done at the last one
    stepped = (
        replace(saved[1], step=32.0 * count, facts={"step_from": "optimizer"}),
        replace(saved[0], step=32.0 * placed[0], facts={"step_from": "optimizer"}),
    )
    if placed[0] != placed[1]:
        assert run_of(losses, checkpoints=stepped).steps_per_epoch == 32


def test_planned_steps_from_epochs() -> None:
    loss = series("train/loss", range(0, 1001, 10), epochs=np.arange(0, 10.01, 0.1))
    assert run_of(loss, facts={"planned_epochs": 20}).planned_steps == 2000
    assert run_of(loss, setting=(Setting("epochs", "num_epochs", 10, "config.yaml"),)).outcome == "finished"
    assert run_of(loss, facts={"planned_epochs": 20}).outcome == "unknown"
    limits = (Setting("epochs", "max_epochs", 10, "log"), Setting("max_steps", "max_iterations", 50_000, "log"))
    assert run_of(loss, setting=limits).outcome == "finished"
    assert run_of(loss, setting=(limits[1],)).planned_steps == 50_000
    assert run_of(loss, setting=(limits[0], Setting("max_steps", "max_steps", 1001, "log"))).planned_steps == 1001  # epochs are rounded
    both = (Setting("epochs", "n_epochs", 10, "train_opt.txt"), Setting("", "n_epochs_decay", 10, "train_opt.txt"))
    assert run_of(loss, setting=both).planned_steps == 2000
    assert run_of(loss, setting=(Setting("max_steps", "max_steps", -1, "args.json"),)).planned_steps is None


def test_the_steps_of_an_episode_are_not_those_of_the_training() -> None:
    reward = series("reward", range(5, 31, 5))
    episode = (Setting("", "env", "KeyDoor", "config.json"), Setting("max_steps", "max_steps", 40, "config.json"))
    assert run_of(reward, setting=episode).planned_steps is None
    assert run_of(reward, setting=(*episode, Setting("max_steps", "updates", 30, "config.json"))).planned_steps == 30


def test_a_batch_that_counts_what_is_accumulated_is_told_by_the_planned_steps() -> None:
    numbers = {"train_samples": 23_273, "batch_size": 16, "accumulation": 2, "epochs": 10}
    setting = tuple(Setting(name, name, value, "train.err") for name, value in numbers.items())
    loss = series("train/loss", [np.nan] * 3, epochs=[1, 2, 3])
    assert run_of(loss, setting=setting).steps_per_epoch == 728
    assert run_of(loss, setting=(*setting, Setting("max_steps", "max_steps", 14_550, "train.err"))).steps_per_epoch == 1455


def test_a_single_point() -> None:
    run = run_of(series("train/loss", [7], [0.3]))
    assert (run.attempts[0].first_step, run.attempts[0].last_step) == (7, 7)


def test_nothing_at_all() -> None:
    run = assemble(ROOT, "run", [])
    assert run.series == ()
    assert len(run.attempts) == 1


def event(kind: EventKind, source: str = "train.log") -> LogEvent:
    return LogEvent(kind, kind.value, source)


K = EventKind


@pytest.mark.parametrize(
    ("events", "facts", "last", "planned", "expected"),
    [
        ([], {}, None, None, "unknown"),
        ([], {}, 100, 100, "finished"),
        ([], {}, 98, 100, "finished"),
        ([], {}, 50, 100, "unknown"),
        ([], {"status": "running"}, 50, 100, "running"),
        ([], {"status": "finished"}, 50, 100, "finished"),
        ([], {"exit_code": 0}, 50, 100, "finished"),
        ([], {"exit_code": 1}, 100, 100, "crashed"),
        ([], {"exit_code": 255}, 50, 100, "cancelled"),
        ([], {"status": "failed"}, 50, 100, "crashed"),
        ([], {"status": "killed"}, 50, 100, "crashed"),
        ([K.FINISHED], {}, 50, 100, "finished"),
        ([K.EARLY_STOPPED], {}, 50, 100, "early-stopped"),
        ([K.EARLY_STOPPED, K.FINISHED], {}, 50, 100, "early-stopped"),
        ([K.EXCEPTION], {}, 50, 100, "crashed"),
        ([K.OUT_OF_MEMORY, K.EXCEPTION], {}, 50, 100, "crashed"),
        ([K.EXCEPTION, K.FINISHED], {}, 50, 100, "finished"),
        ([K.EXCEPTION], {"exit_code": 0}, 50, 100, "finished"),
        ([K.FINISHED, K.EXCEPTION], {}, 50, 100, "crashed"),
        ([K.INTERRUPTED], {}, 50, 100, "cancelled"),
        ([K.INTERRUPTED, K.EXCEPTION], {}, 50, 100, "crashed"),
        ([K.EXCEPTION, K.INTERRUPTED], {}, 50, 100, "cancelled"),  # a traceback that ends in KeyboardInterrupt
        ([K.TIME_LIMIT], {}, 50, 100, "crashed"),
        ([K.EXCEPTION, K.RESUMED], {}, 50, 100, "unknown"),  # survived
        ([K.EXCEPTION, K.RESUMED, K.FINISHED], {}, 50, 100, "finished"),
        ([K.FINISHED, K.STARTED], {}, 50, 100, "unknown"),
        ([K.CUT], {}, 50, 100, "crashed"),
        ([K.CUT], {}, 100, 100, "finished"),
        ([K.WARNING, K.OVERFLOW, K.CHECKPOINT_SAVED], {}, 50, 100, "unknown"),
    ],
)
def test_outcome(events: list[EventKind], facts: dict[str, object], last: float | None, planned: float | None, expected: str) -> None:
    assert outcome([event(k) for k in events], facts, last, planned) == expected


def test_what_is_called_running_and_has_been_silent_for_long_is_gone() -> None:
    at = np.arange(20.0)
    one = Series("train/loss", "loss", "mlflow.db", at, 1 / (1 + at), times=1000 + 30 * at)
    last = float(1000 + 30 * 19)
    assert not silent([one], last + 1400)  # a long evaluation
    assert silent([one], last + 1600)
    assert not silent([replace(one, times=None)], last + 1e9)
    assert outcome([], {"status": "running"}, 50, 100, gone=True) == "crashed"
    assert outcome([], {"status": "running"}, 50, None, gone=True) == "running"
    assert outcome([], {"status": "running"}, 99, 100, gone=True) == "finished"


def test_a_start_in_one_file_does_not_undo_the_crash_in_another() -> None:
    assert outcome([event(K.EXCEPTION, "stderr.log"), event(K.STARTED, "stdout.log")], {}, 50, 100) == "crashed"


def test_events_of_job_10_come_after_those_of_job_9() -> None:
    pieces = [Found(Source(p, "text", Status.READ), events=(event(k, p),)) for p, k in (("slurm-10.out", K.FINISHED), ("slurm-9.out", K.EXCEPTION))]
    assert assemble(ROOT, "run", pieces).outcome == "finished"


def write_state(folder: Path, upto: int) -> None:
    folder.mkdir(parents=True)
    history = [{"loss": 3 / (1 + n / 100), "step": n, "epoch": n / 100, "learning_rate": 1e-4} for n in range(10, upto + 1, 10)]
    history += [{"eval_loss": 3 / (1 + n / 100), "step": n, "epoch": n / 100} for n in range(100, upto + 1, 100)]
    state = {"log_history": sorted(history, key=lambda r: r["step"]), "max_steps": 500, "num_train_epochs": 5, "global_step": upto}
    (folder / "trainer_state.json").write_text(json.dumps(state))


def test_trainer_states_of_several_checkpoints(tmp_path: Path) -> None:
    for upto in (100, 300, 500):
        write_state(tmp_path / f"checkpoint-{upto}", upto)
    run = read_run([tmp_path])
    assert {s.name: len(s) for s in run.series} == {"train/loss": 50, "lr": 50, "val/loss": 5}
    assert len(run.attempts) == 1
    assert (run.planned_steps, run.steps_per_epoch, run.outcome) == (500, 100, "finished")


def test_an_alias_takes_the_name_from_what_the_vocabulary_meant(tmp_path: Path) -> None:
    rows = ["step,val_loss,mynll", *(f"{n},{n / 100},{2 - n / 100}" for n in range(20))]
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    run = read_run([tmp_path], aliases={"mynll": "val/loss"})
    assert {s.name: s.logged_as for s in run.series} == {"val/loss": "mynll", "other/val_loss": "val_loss"}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(any_series(), max_size=6),
    st.lists(st.tuples(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), st.one_of(st.none(), st.floats(0, 1e6))), max_size=3),
)
@example([series("train/loss", [np.nan], [0.0]), series("train/loss", [0, 1, 0, 0], [np.inf] * 4)], [])
@example([series("train/loss", [np.nan] * 2, [0.0] * 2, epochs=np.array([np.inf] * 2))], [])
def test_any_series_make_a_run(found: list[Series], saved: list[tuple[float | None, float | None]]) -> None:
    checkpoints = tuple(checkpoint(f"c{n}.pt", step=step, epoch=epoch) for n, (step, epoch) in enumerate(saved))
    run = run_of(*found, checkpoints=checkpoints)
    for attempt in (*run.earlier, run):
        names = [s.name for s in attempt.series if not s.name.startswith("other/")]
        assert len(names) == len(set(names))
        for one in attempt.series:
            assert np.isfinite(one.steps).all()
            assert np.all(np.diff(one.steps) >= 0)
            assert len(one.steps) == len(one.values) > 0
    known = [c.step for c in run.checkpoints if c.step is not None]
    assert known == sorted(known)
    assert len(run.attempts) == len(run.earlier) + 1


@pytest.mark.parametrize("axis", ["epoch", "step"])
def test_a_checkpoint_keeps_its_own_count_of_optimizer_steps(axis: str) -> None:
    epochs = np.arange(1.0, 15.0)
    losses = series("train/loss", epochs * (25 if axis == "step" else 1), epochs=epochs)
    saved = tuple(Checkpoint(f"epoch={e}.ckpt", "torch-zip", Status.READ, 25.0 * e, float(e)) for e in (3, 14))
    run = run_of(losses, checkpoints=saved)
    assert [c.optimizer_steps for c in run.checkpoints] == [75.0, 350.0]


def test_a_table_and_the_log_that_prints_it_are_one_series() -> None:
    steps = [10, 20, 30]
    notes: list[LeftOut] = []
    chosen = choose(
        [
            series("other/train/clip", steps, [0.11, 0.12, 0.13], source="train.log", key="train/clip", quantum=0.01),
            series("other/train/clip", steps, [0.1111, 0.1222, 0.1333], source="progress.csv", key="train/clip"),
            series("other/train/clip", steps, [7, 8, 9], source="train.log", key="train_clip"),
        ],
        notes,
    )
    assert [(s.logged_as, s.source) for s in chosen] == [("train/clip", "progress.csv"), ("train_clip", "train.log")]
    assert [(n.source, n.points) for n in notes] == [("train.log", 3)]


def test_an_evaluation_of_zeros_throughout_was_none() -> None:
    steps, notes = range(1, 9), list[LeftOut]()
    loss, idle = series("train/loss", steps, np.linspace(5, 2, 8)), np.zeros(8)
    chosen = choose([loss, series("val/loss", steps, idle), series("val/score", steps, idle)], notes)
    assert [s.name for s in chosen] == ["train/loss"]
    assert sorted(n.name for n in notes) == ["val/loss", "val/score"]
    scored = choose([loss, series("val/loss", steps, idle), series("val/score", steps, np.linspace(0, 1, 8))])
    assert {s.name for s in scored} == {"train/loss", "val/loss", "val/score"}


def test_the_first_batch_of_each_evaluation_is_no_curve() -> None:
    epochs = np.arange(1.0, 10.0)
    first = series("val/loss", np.zeros(9), np.linspace(3, 2, 9), key="loss", epochs=epochs, reduction=Reduction.EPOCH)
    mean = series("val/loss", np.full(9, np.nan), np.linspace(3.5, 2.5, 9), key="val loss_avg", epochs=epochs, reduction=Reduction.EPOCH)
    (chosen,) = choose([first, mean])
    assert chosen.logged_as == "val loss_avg"


def test_what_one_file_logs_twice_is_not_of_two_processes() -> None:
    notes: list[LeftOut] = []
    times = np.arange(8.0)
    choose([series("other/x", range(8), times, times=times), series("other/x", range(8, 16), times, times=times + 1)], notes)
    assert not notes


def test_a_trainers_arguments_in_an_event_file_say_which_framework(tmp_path: Path) -> None:
    source = Source("events.out.tfevents.1.a", "tensorboard", Status.READ)
    found = Found(source, series=(series("train/loss", range(9)),), settings=(Setting("", "args.logging_nan_inf_filter", True, source.path),))
    assert assemble(tmp_path, "run", [found]).framework == "transformers"
