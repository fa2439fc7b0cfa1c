"""Whole logs in habits that a single line does not show: counters, configurations, evaluations and jobs one after the other."""

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest

from postmortem.model.run import Run, Series
from postmortem.sources import read_run


def run_of(folder: Path, text: str, name: str = "train.log") -> Run:
    (folder / name).write_text(text)
    return read_run([folder / name])


def one(run: Run, name: str) -> Series:
    (found,) = [s for s in run.series if s.name == name]
    return found


def settings(run: Run) -> dict[str, object]:
    return {s.name: s.value for s in run.settings if s.name}


# -- counters


def cycle(epochs: range, per_epoch: int, every: int, draw: random.Random) -> str:
    """Printed every so many images of all epochs, but numbered within the epoch: each one begins at another offset."""
    lines = [f"================ Training Loss (epoch {epochs[0]}) ================"]
    for epoch in epochs:
        first = every - (epoch - epochs[0]) * per_epoch % every
        lines += [
            f"(epoch: {epoch}, iters: {n}, time: 0.1, data: 0.002) D_A: {draw.random():.3f} G_A: {draw.random():.3f} cycle_A: {draw.random():.3f} "
            for n in range(first, per_epoch + 1, every)
        ]
    return "\n".join(lines) + "\n"


def test_a_counter_of_each_epoch_with_another_offset_is_one_axis(tmp_path: Path) -> None:
    run = run_of(tmp_path, cycle(range(1, 31), 628, 100, random.Random(1)), "loss_log.txt")
    assert len(run.attempts) == 1
    assert run.series[0].steps[-1] == pytest.approx(30 * 628, rel=0.02)
    assert np.all(np.diff(run.series[0].steps) > 0)


def test_a_new_start_among_such_epochs_is_the_only_restart(tmp_path: Path) -> None:
    text = cycle(range(1, 2), 628, 100, random.Random(1)) + cycle(range(1, 21), 628, 100, random.Random(2))
    run = run_of(tmp_path, text, "loss_log.txt")
    assert len(run.attempts) == 2
    assert run.attempts[-1].last_step == pytest.approx(20 * 628, rel=0.02)


def test_a_counter_that_runs_past_its_total_does_not_place_the_epoch(tmp_path: Path) -> None:
    text = "".join(f"epoch={e} i={n}/50 total loss={1 / (1 + n + 150 * e):.5f}\n" for e in (0, 1) for n in range(150 if e == 0 else 40))
    run = run_of(tmp_path, text)
    assert len(run.attempts) == 1
    assert one(run, "train/loss").steps.tolist() == list(range(190))


def test_a_nameless_counter_before_both_splits_counts_epochs(tmp_path: Path) -> None:
    bold = "".join(
        f"\x1b[1m[{n:02d}/06]\x1b[0m train_loss: {9 / n:.4f} · train_acc: 0.{n} · val_loss: {8 / n:.4f} · lr: 1.20e-02 · ⏱ 0.1s\n"
        for n in range(1, 7)
    )
    run = run_of(tmp_path, bold + "Training complete! ✅\n")
    assert (run.axis, run.planned_epochs, run.outcome) == ("epoch", 6, "finished")
    assert {s.name for s in run.series} == {"train/loss", "train/accuracy", "val/loss", "lr"}
    steps = "".join(f"[{n}/900] train_loss: {9 / n:.4f} val_loss: {8 / n:.4f}\n" for n in range(100, 901, 100))
    assert run_of(tmp_path, steps).axis == "step"


@pytest.mark.parametrize("bullet", ["·", "•", "|", "│", "┆", "»", "◆", "●", "—", "–", "▪", "🔥", "📉", "⚡️", "✅", "→"])
def test_no_bullet_becomes_part_of_a_key(tmp_path: Path, bullet: str) -> None:
    text = "".join(f"{bullet} Epoch {n} {bullet} train_loss: 0.{n} {bullet} val_acc: 0.5{n} {bullet} lr: 1e-3\n" for n in range(1, 6))
    run = run_of(tmp_path, text)
    assert {(s.name, len(s)) for s in run.series} == {("train/loss", 5), ("val/accuracy", 5), ("lr", 5)}


# -- configurations and evaluations


YACS = """\
AUTO_RESUME: False
CUDNN:
  BENCHMARK: True
  ENABLED: True
DATASET:
  DATASET: streets
  NUM_CLASSES: 19
GPUS: (0,)
TRAIN:
  BATCH_SIZE_PER_GPU: 12
  BEGIN_EPOCH: 0
  END_EPOCH: 520
  LR: 0.05
  OPTIMIZER: sgd
  WD: 0.0001
=> creating output
"""


def segmentation(epochs: int) -> str:
    lines = []
    for e in range(epochs):
        lines += [
            f"Epoch: [{e}/520] Iter:[{n}/50], Time: 0.71, lr: [0.0{e % 9 + 1}], Loss: {9 / (1 + e + n / 50):.6f}, Acc:0.5{e % 10}"
            for n in range(0, 50, 10)
        ]
        lines.append(f"Loss: {3.5 - 0.1 * e:.3f}, MeanIU:  0.{100 + e % 100}, Best_mIoU:  0.{100 + e % 100}")
    return "\n".join(lines) + "\n"


def test_a_printed_configuration_is_settings_and_no_record(tmp_path: Path) -> None:
    run = run_of(tmp_path, YACS + segmentation(4))
    assert (settings(run)["epochs"], settings(run)["learning_rate"], settings(run)["batch_size"]) == (520, 0.05, 12)
    assert run.outcome == "unknown"
    assert (len(run.attempts), run.attempts[0].last_step, run.planned_steps) == (1, 200, 26_000)
    assert one(run, "lr").values[0] == 0.01
    assert len(one(run, "lr")) == 20


def test_argparse_lines_are_no_epoch(tmp_path: Path) -> None:
    head = "data: /sets/a\nmodel: resnet\nresume: None\nepochs: 30\nlr: 0.1\nworkers: 4\n"
    run = run_of(tmp_path, head + "".join(f"step: {n} loss: {1 / n:.3f}\n" for n in range(1, 20)))
    assert (run.planned_epochs, len(run.series), len(one(run, "train/loss"))) == (30, 1, 19)
    assert run.series[0].epochs is None


def test_blocks_of_words_and_numbers_that_change_are_records(tmp_path: Path) -> None:
    block = "phase: train\ndevice: cuda\nmodel: small\nstatus: good\nstep: {n}\nloss: {loss}\n"
    run = run_of(tmp_path, "".join(block.format(n=n, loss=1 / n) for n in range(1, 30)))
    assert len(one(run, "train/loss")) >= 26  # the first few pass for a configuration


def test_a_printed_dataclass_is_settings_and_no_record(tmp_path: Path) -> None:
    head = "Config(model=Model(name='a/b',\n   dtype=None,\n   trust=False,\n   path=None,\n   learning_rate=5e-05,\n   max_steps=10,\n"
    run = run_of(tmp_path, head + "".join(f"step {n} loss {1 / n:.3f}\n" for n in range(1, 9)))
    assert [s.name for s in run.series] == ["train/loss"]
    assert settings(run)["learning_rate"] == 5e-05


def test_a_mean_beside_a_number_is_no_word(tmp_path: Path) -> None:
    head = " | > step_time: 0.1 (0.2)\n | > loader_time: 0.1 (0.2)\n | > loss: 1.{n} (1.5)\n | > lr_d: 0.0002\n | > current_lr: 0.0002\n"
    run = run_of(tmp_path, "".join(f" --> STEP: {n}/48 -- GLOBAL_STEP: {n}\n{head.format(n=n)}" for n in range(10, 40)))
    assert len(one(run, "lr")) == 30


@pytest.mark.parametrize("epochs", [4, 60])  # line by line, and by the stretch
def test_a_line_with_a_metric_of_evaluations_is_validation(tmp_path: Path, epochs: int) -> None:
    run = run_of(tmp_path, segmentation(epochs).replace("0.5", "0.4"))
    val = one(run, "val/loss")
    assert len(val) == len(one(run, "val/score")) == epochs
    assert val.steps.tolist() == [50.0 * (n + 1) for n in range(epochs)]
    assert len(one(run, "train/loss")) == 5 * epochs
    assert math.isclose(one(run, "train/loss").values[0], 9.0)


# -- what else tells of the loss


def test_what_is_said_of_saved_models_counts_where_nothing_else_does(tmp_path: Path) -> None:
    saved = "".join(f"Saved model at epoch {n} with loss: {1 / n}\n" for n in range(1, 12))
    assert len(one(run_of(tmp_path, saved), "train/loss")) == 11
    both = "".join(f"Epoch {n}: train loss {2 / n:.4f}\nSaved best model at epoch {n} with loss: {1 / n}\n" for n in range(1, 12))
    assert one(run_of(tmp_path, both), "train/loss").values.tolist() == [round(2 / n, 4) for n in range(1, 12)]


@pytest.mark.parametrize(
    ("line", "axis"),
    [
        ("06:38:{n:02d}.402 [main] INFO listeners.ScoreIterationListener - Score at iteration {n} is {loss}", "step"),
        ("2017-08-18 02:43:{n:02d},914:\tLoss at step {n}: {loss}", "step"),
        ("{n} train {loss}", "step"),
        ("loss after epoch {n}: {loss}", "epoch"),
    ],
)
def test_losses_without_a_key_in_front(tmp_path: Path, line: str, axis: str) -> None:
    run = run_of(tmp_path, "".join(line.format(n=n, loss=1.5 / n) + "\n" for n in range(1, 20)))
    assert (run.axis, len(one(run, "train/loss"))) == (axis, 19)
    assert one(run, "train/loss").values[1] == 0.75


def test_an_iteration_beside_steps_with_a_total_is_an_epoch(tmp_path: Path) -> None:
    lines = [f"iteration:{n} step:{k}/400, NER loss: {4.0 / (n + k / 400):.4f}" for n in range(1, 9) for k in range(100, 401, 100)]
    run = run_of(tmp_path, "\n".join(lines))
    assert len(one(run, "train/loss")) == 32
    assert one(run, "train/loss").epochs is not None
    assert len(run.attempts) == 1


def test_a_speed_is_no_learning_rate(tmp_path: Path) -> None:
    text = "".join(f"Step {n}: loss={1 / (n + 1):.4f}\ncopied rate:{n + 1}.4s/it left:9 (24904:bars.py:145)\n" for n in range(20))
    assert [s.name for s in run_of(tmp_path, text).series if not s.name.startswith("other/")] == ["train/loss"]


def test_a_quality_is_no_precision_of_numbers(tmp_path: Path) -> None:
    assert "precision" not in settings(run_of(tmp_path, " Precision: 0.6194\n" + "".join(f"step {n} loss {1 / n}\n" for n in range(1, 9))))


# -- jobs one after the other


TRACE = 'Traceback (most recent call last):\n  File "train.py", line 9, in <module>\n    main()\nValueError: statistics not found\n'


def test_what_ended_an_earlier_job_does_not_end_the_last(tmp_path: Path) -> None:
    steps = "".join(f"step {n} loss {1 / (n + 1):.4f}\n" for n in range(20))
    cancelled = "slurmstepd-node7: error: *** JOB 11863 ON node7 CANCELLED AT 2022-05-22T12:41:13 ***\n"
    run = run_of(tmp_path, TRACE + "Restoring checkpoint from /runs/7\n" + steps + cancelled)
    assert [e.kind.value for e in run.events] == ["resumed", "killed"]
    assert run.outcome == "crashed"
    assert [e.kind.value for e in run_of(tmp_path, steps + TRACE).events] == ["exception"]


def test_lines_below_each_batch_of_an_evaluation_count_once_a_pass(tmp_path: Path) -> None:
    text = ""
    for e in range(6):
        for n in range(0, 40, 10):
            text += f"Epoch: [{e}][{n}/40]\tTime 1.1 (1.2)\tLoss {9 - e}.5 (9.0)\nPrec@1     {e}.25 (1.0)\nPrec@1  05 9.25 (9.0)\ncos_sim_loss  0.3 (0.3)\n"
        for n in range(0, 30, 10):
            text += f"Test: [{n}/30]\tTime 0.6 (0.6)\tLoss 8.0 ({8 - e}.{n})\nPrec@1     50.0 ({e}{n}.5)\nPrec@1  05 9.25 (9.0)\ncos_sim_loss  0.3 (0.3)\n"
    run = run_of(tmp_path, text)
    assert one(run, "val/loss").values.tolist() == pytest.approx([8.2 - e for e in range(6)])
    assert one(run, "val/accuracy").values.tolist() == [float(f"{e}20.5") for e in range(6)]
    assert one(run, "train/accuracy").values.tolist() == [e + 0.25 for e in range(6) for _ in range(4)]


def test_merits_beside_both_losses_are_of_the_validation_set(tmp_path: Path) -> None:
    run = run_of(tmp_path, "".join(f"Epoch {n}: train_loss {2 / n:.3f}, val_loss {3 / n:.3f}, acc 0.{n}\n" for n in range(1, 9)))
    assert {s.name for s in run.series} == {"train/loss", "val/loss", "val/accuracy"}
    run = run_of(tmp_path, "".join(f"Epoch {n}: train loss {2 / n:.3f} acc 0.{n} | val loss {3 / n:.3f}\n" for n in range(1, 9)))
    assert {s.name for s in run.series} == {"train/loss", "val/loss", "train/accuracy"}
    table = "epoch     train_loss  valid_loss  accuracy  time    \n" + "".join(f"{n}   0.7{n}   0.5{n}   0.{n}   00:12\n" for n in range(8))
    assert one(run_of(tmp_path, table), "val/accuracy").values[3] == 0.3


def test_a_lone_total_is_the_loss(tmp_path: Path) -> None:
    total = "".join(f"[epoch: {e}/9, iter: {n}/40] total: {9 / (e + n):.5f} \n" for e in (1, 2) for n in range(0, 40, 10))
    assert len(one(run_of(tmp_path, total), "train/loss")) == 8
    assert one(run_of(tmp_path, total.replace("total", "loss: 0.5 total")), "train/loss").values.tolist() == [0.5] * 8


def test_the_first_rate_of_a_warm_up_is_no_setting(tmp_path: Path) -> None:
    text = "".join(f"Epoch {n} Summary\nLearning rate: {n}e-05\nTrain Loss: {1 / n:.4f}\n" for n in range(1, 9))
    assert "learning_rate" not in settings(run_of(tmp_path, text))
    assert "loss" not in settings(run_of(tmp_path, "Loss: 0.9969\n" + text))
    assert settings(run_of(tmp_path, "lr: 8e-05\n" + text))["learning_rate"] == 8e-05


def test_top_one_is_a_word(tmp_path: Path) -> None:
    text = "".join(
        f"2023-02-05 19:41:4{n},394 - mmcls - INFO - Epoch(val) [{n}][18]\taccuracy_top-1: 8{n}.5, accuracy_top-5: 100.0\n" for n in range(1, 9)
    )
    assert one(run_of(tmp_path, text), "val/accuracy").values.tolist() == [80.5 + n for n in range(1, 9)]


def test_accuracy_on_a_set_is_of_that_set(tmp_path: Path) -> None:
    text = "".join(f"Global Step: {n}00, accuracy: 0.{n}, loss = 1.{n}\nAccuracy on Test-Set: 5{n}.1% (5{n}10 / 10000)\n" for n in range(1, 9))
    assert one(run_of(tmp_path, text), "val/accuracy").steps.tolist() == [100.0 * n for n in range(1, 9)]


def test_a_python_configuration_is_settings_and_no_record(tmp_path: Path) -> None:
    head = "optimizer = dict(type='SGD', lr=0.005, momentum=0.9)\nlr_config = dict(policy='step', step=1, gamma=0.98)\nrunner = dict(type='Epochs', max_epochs=10)\n"
    run = run_of(tmp_path, head + "".join(f"Epoch [{n}][10/20] lr: 0.005, loss: 1.{n}\n" for n in range(1, 6)))
    assert (settings(run)["optimizer"], settings(run)["learning_rate"], settings(run)["epochs"]) == ("SGD", 0.005, 10)
    assert {s.name for s in run.series} == {"train/loss", "lr"}


@pytest.mark.parametrize("head", ["========== Fold {k} ==========\n{line}", "Fold {k} {line}", "[Fold {k}] {line}", "Fold: {k} | {line}"])
def test_folds_of_a_cross_validation_are_told_and_the_last_is_judged(tmp_path: Path, head: str) -> None:
    draw = random.Random(3)
    lines = [
        (k, n, f"Epoch {n}/10 Loss: {9 / n + draw.random():.4f}, Val Loss: {9 / n + draw.random():.4f}\n") for k in range(1, 6) for n in range(1, 11)
    ]
    run = run_of(tmp_path, "".join(head.format(k=k, line=line) if n == 1 or "\n" not in head else line for k, n, line in lines))
    assert len(run.attempts) == 5
    assert all("fold" in str(a.seam) for a in run.attempts[1:])
    assert {(s.name, len(s)) for s in run.series} == {("train/loss", 10), ("val/loss", 10)}


def test_bars_of_data_being_prepared_are_no_training(tmp_path: Path) -> None:
    bar = "\r".join(f"Filtering (num_proc=1): {n}%|##  | {n * 75}/7500 [00:01<00:01, 900 examples/s]" for n in range(0, 101, 20))
    run = run_of(tmp_path, bar + "\nTotal training steps: 3746\n" + "".join(f"step:{n} - actor/lr:1e-5 - loss:{1 / n}\n" for n in range(1, 22)))
    assert (run.attempts[0].last_step, run.planned_steps, run.outcome) == (21, 3746, "unknown")
    assert not any(s.name.startswith("other/") for s in run.series)


def test_what_is_not_known_does_not_say_how_far_the_run_came(tmp_path: Path) -> None:
    run = run_of(tmp_path, "".join(f"step {n} loss {1 / n}\n" for n in range(1, 22)) + "step 7500 hosts=1\n")
    assert run.attempts[0].last_step == 21


def test_twins_with_a_prefix_are_of_the_validation_set(tmp_path: Path) -> None:
    text = "".join(
        f"INFO Epoch {n}: v_recons 4.5e-01  recons 4.6e-01  v_loss {4 / n:.3e}  loss {5 / n:.3e}  v_kl 5.8e+00  kl 5.5e+00\n" for n in range(1, 9)
    )
    assert one(run_of(tmp_path, text), "val/loss").values[1] == 2.0
    text = "".join(f"step {n} pi_loss 0.{n} v_loss {4 / n:.3e} loss {5 / n:.3e}\n" for n in range(1, 9))
    assert {s.name for s in run_of(tmp_path, text).series if not s.name.startswith("other/")} == {"train/loss"}


def test_epochs_in_brackets_beside_epoch_and_step_in_brackets(tmp_path: Path) -> None:
    """`[epoch, step]` of each batch and `[epoch/epochs]` of each evaluation, as PyTorch's tutorial and half of its readers write it."""
    lines = []
    for epoch in range(1, 5):
        lines += [f"[{epoch}, {20 * (epoch - 1) + at:5d}] loss {2.0 / (epoch + at / 20):.4f}" for at in (1, 11)]
        lines.append(f"[{epoch:3d}/7] train loss {2.0 / epoch:.4f} | val loss {2.1 / epoch:.4f}")
    run = run_of(tmp_path, "\n".join(lines) + "\n")
    val = next(s for s in run.series if s.name == "val/loss")
    assert val.epochs is not None
    assert val.epochs.tolist() == [1, 2, 3, 4]
    assert val.steps[-1] > 60  # on the axis of steps
    assert run.planned_epochs == 7


def test_a_progress_bar_that_is_drawn_twice_at_each_place(tmp_path: Path) -> None:
    """Lightning's bar moves on first and is drawn again with the new loss; set back to 0 it still shows the last one."""
    drawn, loss = [], 3.0
    for epoch in range(3):
        drawn.append(f"Epoch {epoch}:   0%|          | 0/10 [00:00<?, ?it/s" + (f", train_loss_step={loss:.3f}]" if epoch else "]"))
        for at in (5, 10):
            bar = f"Epoch {epoch}: {10 * at:3d}%|#####     | {at}/10 [00:00<00:01, 17.74it/s"
            drawn.append(bar + (f", train_loss_step={loss:.3f}]" if drawn[1:] else "]"))
            loss -= 0.25
            drawn.append(bar + f", train_loss_step={loss:.3f}]")
        drawn.append(f"Epoch {epoch}:   0%|          | 0/10 [00:00<?, ?it/s, train_loss_step={loss:.3f}]")
    run = run_of(tmp_path, "\r".join(drawn) + "\n")
    assert len(run.attempts) == 1
    losses = next(s for s in run.series if s.name == "train/loss")
    assert losses.values.tolist() == [2.75, 2.5, 2.25, 2.0, 1.75, 1.5]
    assert losses.steps.tolist() == [5, 10, 15, 20, 25, 30]


# -- a step with a total below the heading of its epoch


def fit(epochs: int, per_epoch: int = 938, every: int = 100, *, bars: bool = False) -> str:
    """What `Model.fit` of Paddle prints with `verbose=2`, or with `verbose=1` and its bars, which are wiped out by backspaces."""
    lines = []
    if bars:
        plain = fit(epochs, per_epoch, every).splitlines()
        for line, following in zip(plain, [*plain[1:], ""], strict=True):
            drawn = re.sub(r"^(step +\d+/\d+) (- .*)", r"\r\1 [=====>........................] \2", line)
            lines.append(drawn + ("\b" * 90 if line.startswith("step") and following.startswith("step") else "\n"))
        return "".join(lines)
    for e in range(1, epochs + 1):
        lines.append(f"Epoch {e}/{epochs}")
        lines += [f"step {n:3d}/{per_epoch} - loss: {2 / (e + n / per_epoch):.4f} - acc: 0.5000 - 12ms/step" for n in range(every, per_epoch, every)]
        lines += [f"step {per_epoch}/{per_epoch} - loss: {2 / (e + 1):.4f} - acc: 0.6000 - 12ms/step", "Eval begin..."]
        lines += [f"step {n}/157 - loss: {3 / (e + n):.4f} - acc: 0.5{n % 10}00 - 6ms/step" for n in (100, 157)]
        lines.append("Eval samples: 10000")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("epochs", [2, 3, 40])
def test_steps_of_each_epoch_and_an_announced_evaluation(tmp_path: Path, epochs: int, bars: bool) -> None:
    run = run_of(tmp_path, fit(epochs, bars=bars))
    assert len(run.attempts) == 1
    loss, val = one(run, "train/loss"), one(run, "val/loss")
    assert loss.steps.tolist() == [938 * e + n for e in range(epochs) for n in (*range(100, 938, 100), 938)]
    assert val.steps.tolist() == [938.0 * (e + 1) for e in range(epochs)]
    np.testing.assert_allclose(val.values, [3 / (e + 157) for e in range(1, epochs + 1)], atol=1e-4)
    assert run.planned_steps is None or run.planned_steps == 938 * epochs


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_a_step_that_counts_on_below_headings_is_global(tmp_path: Path, epochs: int) -> None:
    total = 200 * epochs
    lines = [
        line
        for e in range(epochs)
        for line in (f"Epoch {e + 1}/{epochs}", *(f"step {200 * e + n}/{total} loss: {1 / (1 + n):.4f}" for n in range(10, 201, 10)))
    ]
    run = run_of(tmp_path, "\n".join(lines) + "\n")
    assert len(run.attempts) == 1
    assert one(run, "train/loss").steps.tolist() == list(range(10, total + 1, 10))


@pytest.mark.parametrize(
    ("line", "exact"), [("{{'loss': {0!r}, 'learning_rate': 0.0}}", True), ("loss {0:.4f} lr 0.0000", False), ("loss {0:.4f} lr 0.00e+00", True)]
)
def test_zero_beside_numbers_in_full_or_with_an_exponent_is_zero(tmp_path: Path, line: str, exact: bool) -> None:
    run = run_of(tmp_path, "".join(line.format(2.0 / 3 / n) + "\n" for n in range(1, 9)))
    assert (one(run, "lr").quantum is None) == exact


@pytest.mark.parametrize("first", [1, 2])
def test_whole_epochs_among_parts_of_epochs_are_as_much_as_is_done(tmp_path: Path, first: int) -> None:
    """The Trainer of transformers 5 prints `'epoch': '1'` between `'0.5'` and `'1.5'`: one curve, and no means over epochs."""
    lines = [f"{{'loss': '{4 / n:.4g}', 'learning_rate': '0.001', 'epoch': '{n / 2:.4g}'}}\n" for n in range(first, 9)]
    lines = [line + f"{{'eval_loss': '{5 / n:.4g}', 'epoch': '{n / 2:.4g}'}}\n" * (n % 2 == 0) for n, line in enumerate(lines, start=first)]
    found = {s.name: s for s in run_of(tmp_path, "".join(lines)).series}
    assert set(found) == {"train/loss", "lr", "val/loss"}
    assert found["train/loss"].epochs.tolist() == [n / 2 for n in range(first, 9)]
    assert found["val/loss"].epochs.tolist() == [1, 2, 3, 4]


def test_rows_of_a_table_with_bars_drawn_between_them(tmp_path: Path) -> None:
    """fastai outside a notebook: fastprogress draws a bar for each epoch and blanks it before the row."""
    text = "█\repoch     train_loss  valid_loss  accuracy  time    \n█\r"
    for epoch in range(4):
        text += "".join(
            f"\rEpoch {epoch + 1}/4 : |{'█' * n:-<10}| {n * 10:.2f}% [{n}/10 00:00<00:00{f'... {1 / (n + 1):.4f}' if n > 1 else ''}]"
            for n in range(11)
        )
        text += f"\rEpoch {epoch + 1}/4 : {' ' * 60}\r{epoch}         {2 / (epoch + 2):.6f}    {1 / (epoch + 2):.6f}    0.992188  00:00     \n"
    found = run_of(tmp_path, text)
    assert {s.name: s.values.tolist() for s in found.series} == {
        "train/loss": [float(f"{2 / n:.6f}") for n in range(2, 6)],
        "val/loss": [float(f"{1 / n:.6f}") for n in range(2, 6)],
        "val/accuracy": [0.992188] * 4,
    }
    assert one(found, "val/loss").epochs.tolist() == [1, 2, 3, 4]


def test_a_table_marks_the_epochs_that_it_saved(tmp_path: Path) -> None:
    """skorch: colours, and a plus where a checkpoint was written."""
    rows = [(1, "0.7178", "0.3846", "0.7294", "+"), (2, "0.6960", "0.4038", "0.7115", " "), (3, "0.6795", "0.5000", "0.6972", "+")]
    text = "  epoch    train_loss    valid_acc    valid_loss    cp     dur\n-------  ------------  -----------  ------------  ----  ------\n"
    text += "".join(
        f"      {n}        \x1b[36m{a}\x1b[0m       \x1b[32m{b}\x1b[0m        \x1b[35m{c}\x1b[0m     {mark}  0.05\n" for n, a, b, c, mark in rows
    )
    found = run_of(tmp_path, text)
    assert one(found, "train/loss").values.tolist() == [0.7178, 0.6960, 0.6795]
    assert one(found, "val/accuracy").values.tolist() == [0.3846, 0.4038, 0.5]
    assert one(found, "val/loss").values.tolist() == [0.7294, 0.7115, 0.6972]


# -- logs that say little


STARTS = [
    "2025-05-28 14:33:06,123 - __main__ - INFO - Starting training...", "2019-08-21 18:15:04,263:INFO: Start train for 100epochs",
    "[2024-03-01 10:00:00] [trainer.py:88] [rank 0] INFO: Training started",
]  # fmt: skip


@pytest.mark.parametrize("line", STARTS)
def test_a_log_that_only_says_that_training_started_is_one(tmp_path: Path, line: str) -> None:
    run = run_of(tmp_path, f"2025-05-28 14:30:53,472 - __main__ - INFO - CUDA available: False\n{line}\n")
    assert [str(e.kind) for e in run.events] == ["started"]


@pytest.mark.parametrize(
    "line",
    [
        "INFO: the loader starts training data workers",
        "INFO: restart train",
        "10:00:01,140 - root - me - x - y - z - INFO - Starting training step on epoch 3",
    ],
)
def test_other_starts(tmp_path: Path, line: str) -> None:
    assert not run_of(tmp_path, f"{line}\n").events


def test_a_bar_without_values_that_was_still_drawn_is_a_start(tmp_path: Path) -> None:
    bars = "".join(f"\r  1%|▏         | {n}/1250 [08:0{n}<10:17:03, 30.00s/batch]" for n in range(1, 8))
    run = run_of(tmp_path, f"loading\n{bars}")
    assert [str(e.kind) for e in run.events] == ["started"]
    assert run.events[0].text.endswith("30.00s/batch]")
    assert not run_of(tmp_path, "100%|██████████| 8/8 [00:08<00:00, 1.00it/s]\n").events
    crashed = run_of(tmp_path, f'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nValueError: x\n{bars}')
    assert [str(e.kind) for e in crashed.events] == ["exception"]


def test_episodes_count_and_their_score_is_a_return(tmp_path: Path) -> None:
    text = "".join(f"\rEpisode {n}\tFrame {20 * n} \tAverage100 Score: {n / 4:.2f}" for n in range(1, 21))
    run = run_of(tmp_path, f"Using cpu\n{text}")
    assert one(run, "reward").values.tolist() == [n / 4 for n in range(1, 21)]
    assert one(run, "reward").steps.tolist() == list(range(1, 21))
    planned = run_of(tmp_path, "".join(f"Episode {n}/64 | Score: {n}.5 | Loss: 0.{n}\n" for n in range(1, 10)))
    assert planned.planned_steps == 64
    assert one(planned, "train/loss").steps.tolist() == list(range(1, 10))
    stepped = run_of(tmp_path, "".join(f"Step: {n}00 | Episode: {n} | Score: {n}.5\n" for n in range(1, 10)))
    assert one(stepped, "reward").steps.tolist() == [n * 100 for n in range(1, 10)]


def test_a_score_without_episodes_is_no_return(tmp_path: Path) -> None:
    assert one(run_of(tmp_path, "".join(f"Epoch {n} | Score: {n}.5\n" for n in range(1, 10))), "train/score")


def test_blocks_counted_by_updates(tmp_path: Path) -> None:
    text = "".join(f"=====\ntime elapsed: 0:0{n}:07\nnum of updates: {n}000\nret loss: {9 - n}.5\naction loss: 0.{n}\n" for n in range(1, 9))
    run = run_of(tmp_path, text)
    assert one(run, "other/ret loss").steps.tolist() == [n * 1000 for n in range(1, 9)]
    assert one(run, "other/action loss").values.tolist() == [n / 10 for n in range(1, 9)]


def _block(epoch: int, **values: float) -> str:
    rows = {"epoch": epoch, **values}
    return "-" * 40 + "\n" + "".join(f"| {key.replace('__', '/'):<20} | {value:<14} |\n" for key, value in rows.items()) + "-" * 40 + "\n"


def test_rates_of_success_are_the_score_where_no_reward_was_logged(tmp_path: Path) -> None:
    rates = [0.125, 0.25, 0.375]
    run = run_of(tmp_path, "".join(_block(n, test__success_rate=r, train__success_rate=r / 2) for n, r in enumerate(rates)))
    assert one(run, "val/score").values.tolist() == rates
    assert one(run, "reward").values.tolist() == [r / 2 for r in rates]
    rewarded = run_of(tmp_path, "".join(_block(n, rollout__ep_rew_mean=r, rollout__success_rate=r) for n, r in enumerate(rates)))
    assert {s.name for s in rewarded.series} == {"reward", "other/rollout/success_rate"}
    imitated = run_of(tmp_path, "".join(_block(n, train__loss=1 - r, eval__success_rate=r) for n, r in enumerate(rates)))
    assert {s.name for s in imitated.series} == {"train/loss", "val/score"}
    tasks = run_of(tmp_path, "".join(_block(n, push__success_rate=r, pick__success_rate=r) for n, r in enumerate(rates)))
    assert all(s.name.startswith("other/") for s in tasks.series)
