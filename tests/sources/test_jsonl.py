"""JSON lines of every habit as curves."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.model.run import EventKind, Reduction, Series, Status
from postmortem.sources.logs.jsonl import READER, claims
from postmortem.sources.reader import Candidate, Found


def candidate(folder: Path, name: str, data: bytes) -> Candidate:
    (folder / name).write_bytes(data)
    return Candidate(folder, name, len(data), data[:4096])


def read(folder: Path, name: str, *rows: object, end: str = "\n") -> Found:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + end for row in rows)
    one = candidate(folder, name, text.encode())
    assert claims(one)
    return READER.read(one)


def curves(found: Found) -> dict[str, Series]:
    known = [s for s in found.series if not s.name.startswith("other/")]
    assert len({s.name for s in known}) == len(known)
    return {s.name: s for s in known}


def test_a_column_of_names_says_which_set_where_it_names_nothing_else(tmp_path: Path) -> None:
    rows = [{"name": name, "epoch": e, "iteration": 21, "average loss": 3 - e / 8} for e in range(3) for name in ("train", "validation")]
    one = curves(read(tmp_path, "metrics.jsonl", *rows))
    assert {name: s.epochs.tolist() for name, s in one.items() if s.epochs is not None} == {"train/loss": [1, 2, 3], "val/loss": [1, 2, 3]}
    other = read(tmp_path, "metrics.jsonl", *({**row, "name": row["name"].replace("train", "layer1")} for row in rows))  # type: ignore[attr-defined]
    assert {s.name for s in other.series} == {"train/loss"}


def test_a_second_line_without_a_counter_is_of_the_record_before(tmp_path: Path) -> None:
    rows = [row for n in (10, 20, 30) for row in ({"step": n, "loss": 3 - n / 10}, {"grad_norm": n / 8, "val_loss": 4 - n / 10})]
    one = curves(read(tmp_path, "metrics.jsonl", *rows))
    assert {name: s.steps.tolist() for name, s in one.items()} == {key: [10, 20, 30] for key in ("train/loss", "val/loss", "grad_norm")}
    headed = curves(read(tmp_path, "metrics.jsonl", {"val_loss": 9.5}, *rows))  # before the first counter
    np.testing.assert_array_equal(headed["val/loss"].steps, [np.nan, 10, 20, 30])


def test_a_line_without_a_counter_is_nowhere_where_others_of_its_keys_have_one(tmp_path: Path) -> None:
    rows = [{"step": 10, "loss": 2.0}, {"loss": 1.5}, {"step": 30, "loss": 1.0}]
    (loss,) = read(tmp_path, "metrics.jsonl", *rows).series
    np.testing.assert_array_equal(loss.steps, [10, np.nan, 30])


def test_rows_of_training_and_evaluation(tmp_path: Path) -> None:
    rows = [{"step": s, "epoch": s // 10 + 1, "train_loss": 1.0 / (s + 1), "lr": 0.1} for s in range(0, 30, 5)]
    rows += [{"step": 10 * e, "epoch": e, "val_loss": 0.5 / e, "val_acc": 0.9} for e in (1, 2, 3)]
    one = curves(read(tmp_path, "metrics.jsonl", *sorted(rows, key=lambda r: r["step"])))
    assert one["train/loss"].steps.tolist() == [0, 5, 10, 15, 20, 25]
    assert one["train/loss"].epochs is not None
    assert one["train/loss"].epochs.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]  # a printed epoch 1 is under way, not done
    assert one["val/loss"].epochs is not None
    assert one["val/loss"].epochs.tolist() == [1, 2, 3]
    assert one["val/loss"].reduction == Reduction.EPOCH
    assert len(one["val/accuracy"]) == 3


def test_bare_words_are_numbers_and_null_is_no_point(tmp_path: Path) -> None:
    one = curves(
        read(
            tmp_path,
            "m.jsonl",
            '{"step": 1, "loss": NaN, "lr": null}',
            '{"step":2,"loss":-Infinity,"lr":0.1}',
            '{"step": 3, "loss": "nan", "lr": "1e-3"}',
        )
    )
    assert np.isnan(one["train/loss"].values[[0, 2]]).all()
    assert one["train/loss"].values[1] == -np.inf
    assert one["lr"].steps.tolist() == [2, 3]
    assert one["lr"].values.tolist() == [0.1, 0.001]


@pytest.mark.parametrize("large", ["8e99", "8e+99", "7.0E99", "-7e99", "9.0"])
@pytest.mark.parametrize("word", ["NaN", "-Infinity", "1.0"])
@pytest.mark.parametrize(
    "form", ['{{"step": {}, "loss": {}}}', '{{"step": {}, "loss": {}, "note": "x"}}', '{{"step": {}, "loss": {}, "more": {{"a": 1}}}}']
)
def test_no_number_is_taken_for_a_word(tmp_path: Path, form: str, word: str, large: str) -> None:
    said = ["1.5", large, word, "2.5", large]
    found = curves(read(tmp_path, "m.jsonl", *(form.format(n, value) for n, value in enumerate(said))))["train/loss"]
    np.testing.assert_array_equal(found.values, np.array([float(value) for value in said]))


def test_a_bare_word_inside_a_text_breaks_nothing(tmp_path: Path) -> None:
    found = read(tmp_path, "m.jsonl", {"step": 1, "loss": 2.0, "note": "last: NaN, then: Infinity"}, '{"step": 2, "loss": NaN, "note": "x: NaN"}')
    assert found.source.status == Status.READ
    assert curves(found)["train/loss"].values[0] == 2.0
    assert np.isnan(curves(found)["train/loss"].values[1])


def test_step_in_a_text_with_its_total(tmp_path: Path) -> None:
    row = {
        "loss": 20.5,
        "token_acc": 0.5,
        "epoch": 0.0023,
        "global_step/max_steps": "1/438",
        "percentage": "0.23%",
        "elapsed_time": "1m 6s",
        "memory(GiB)": 15.97,
    }
    summary = {"train_runtime": 1.0, "train_loss": 0.3, "epoch": 1.0, "global_step/max_steps": "438/438", "log_history": [{"loss": 1.0}]}
    found = read(tmp_path, "logging.jsonl", row, {**row, "epoch": 0.0046, "global_step/max_steps": "2/438", "elapsed_time": "1m 9s"}, summary)
    one = curves(found)
    assert one["train/loss"].steps.tolist() == [1, 2]
    assert one["train/loss"].reduction == Reduction.WINDOW
    assert one["train/loss"].times is not None
    assert one["train/loss"].times.tolist() == [66, 69]
    assert found.facts == {"planned_steps": 438.0, "framework": "transformers"}
    assert "train/perplexity" not in one


def test_planned_steps_beside_current_ones(tmp_path: Path) -> None:
    rows = [
        {
            "current_steps": s,
            "total_steps": 60,
            "loss": 1.0,
            "lr": 1e-5,
            "epoch": s / 20,
            "percentage": s,
            "elapsed_time": "0:02:12",
            "remaining_time": "1 day, 0:08:23",
        }
        for s in (10, 20)
    ]
    found = read(tmp_path, "trainer_log.jsonl", *rows, {"current_steps": 20, "total_steps": 60, "eval_loss": 0.7, "epoch": 1.0})
    assert found.facts["planned_steps"] == 60
    assert curves(found)["val/loss"].steps.tolist() == [20]
    assert curves(found)["train/loss"].epochs is not None
    assert curves(found)["train/loss"].epochs.tolist() == [0.5, 1.0]


def test_mmcv_validation_rows_count_their_own_loader(tmp_path: Path) -> None:
    rows = ["{}"] + [
        json.dumps({"mode": "train", "epoch": e, "iter": i, "lr": 0.1, "loss": 1.0 / (10 * e + i), "loss_cls": 0.1, "time": 0.2})
        for e in (1, 2, 3)
        for i in (5, 10)
    ]
    rows.insert(3, json.dumps({"mode": "val", "epoch": 1, "iter": 4, "lr": 0.1, "mIoU": 0.5}))
    rows.append(json.dumps({"mode": "val", "epoch": 3, "iter": 4, "lr": 0.1, "mIoU": 0.6}))
    one = curves(read(tmp_path, "None.log.json", *rows))
    assert one["train/loss"].steps.tolist() == [5, 10, 15, 20, 25, 30]
    assert one["val/score"].steps.tolist() == [10, 30]
    assert one["val/score"].epochs is not None
    assert one["val/score"].epochs.tolist() == [1, 3]
    assert len(one["lr"]) == 6


def test_mmengine_evaluation_rows_have_the_epoch_as_step(tmp_path: Path) -> None:
    train = [{"lr": 0.1, "data_time": 0.1, "loss": 1.0, "epoch": s // 5 + 1, "iter": s + 1, "step": s + 1} for s in range(20)]
    rows = [
        *train[:10],
        {"coco/AP": 0.5, "data_time": 0.1, "time": 0.1, "step": 2},
        *train[10:],
        {"coco/AP": 0.6, "data_time": 0.1, "time": 0.1, "step": 4},
    ]
    found = read(tmp_path, "scalars.json", *rows)
    at = {s.logged_as: s for s in found.series}
    assert at["coco/AP"].steps.tolist() == [10, 20]
    assert at["coco/AP"].epochs is not None
    assert at["coco/AP"].epochs.tolist() == [2, 4]
    assert at["loss"].steps.tolist() == [float(s) for s in range(1, 21)]


def test_nested_statistics(tmp_path: Path) -> None:
    rows = [
        {"Loss/G/loss": {"num": 8, "mean": 6.5, "std": 1.8}, "Progress/kimg": {"num": 1, "mean": k, "std": 0}, "timestamp": 100.0 + k}
        for k in (0.5, 4, 8)
    ]
    found = read(tmp_path, "stats.jsonl", *rows)
    at = {s.logged_as: s for s in found.series}
    assert at["Loss/G/loss"].steps.tolist() == [0.5, 4, 8]
    assert at["Loss/G/loss"].name.startswith("other/")
    assert at["Loss/G/loss"].times is not None
    assert at["Loss/G/loss"].times.tolist() == [100.5, 104, 108]


def test_an_evaluation_names_its_snapshot(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "metric-fid50k_full.jsonl",
        *({"results": {"fid50k_full": 418.0 / (k + 1)}, "snapshot_pkl": f"network-snapshot-{k:06d}.pkl"} for k in (0, 400)),
    )
    assert {s.logged_as: s.steps.tolist() for s in found.series} == {"fid50k_full": [0, 400]}


def test_one_object_per_epoch(tmp_path: Path) -> None:
    one = curves(
        read(
            tmp_path,
            "log.txt",
            *(
                {"train_lr": 1e-4, "train_loss": 3.0 - e, "test_loss": 3.5 - e, "test_acc1": 10.0 * e, "epoch": e, "n_parameters": 5}
                for e in range(3)
            ),
        )
    )
    assert one["train/loss"].epochs is not None
    assert one["train/loss"].epochs.tolist() == [1, 2, 3]
    assert one["train/loss"].reduction == Reduction.EPOCH
    assert one["test/accuracy"].values.tolist() == [0, 10, 20]
    assert set(one) == {"train/loss", "test/loss", "test/accuracy", "lr"}


def test_types_with_their_epochs(tmp_path: Path) -> None:
    rows = [{"_type": "train_epoch", "epoch": f"{e}/12", "loss": 2.0 / e, "top1_err": 90.0, "lr": 0.1} for e in (1, 2)]
    rows += [{"_type": "val_epoch", "epoch": f"{e}/12", "top1_err": 95.0} for e in (1, 2)]
    found = read(tmp_path, "json_stats.log", *sorted(rows, key=lambda r: r["epoch"]))
    one = curves(found)
    assert one["val/error"].epochs is not None
    assert one["val/error"].epochs.tolist() == [1, 2]
    assert one["train/loss"].reduction == Reduction.EPOCH
    assert found.facts["planned_epochs"] == 12


def test_a_cut_last_line_and_a_stray_one(tmp_path: Path) -> None:
    found = read(tmp_path, "m.jsonl", {"step": 1, "loss": 1.0}, '{"step": 2, "lo', end="\n")
    assert found.source.status == Status.PARTIAL
    assert "cut off" in str(found.source.detail)
    found = read(tmp_path, "m.jsonl", {"step": 1, "loss": 1.0}, "Traceback (most recent call last):", {"step": 2, "loss": 0.5})
    assert curves(found)["train/loss"].values.tolist() == [1.0, 0.5]
    assert found.source.status == Status.PARTIAL


def test_rows_keep_their_order_whatever_their_keys(tmp_path: Path) -> None:
    rows = [{"step": s, "loss": float(s)} if s % 2 else {"loss": float(s), "step": s} for s in range(9)]
    assert curves(read(tmp_path, "m.jsonl", *rows))["train/loss"].values.tolist() == [float(s) for s in range(9)]


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, '{"a":' * 100_000, '{"loss": ' + "9" * 5000 + "}", '{"loss": 1e999}', '{"loss": 1, "loss": 2, "step": 1}', "{" + '"k":1,' * 50],
)
def test_hostile_lines(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, "m.jsonl", {"step": 1, "loss": 1.0}, line, {"step": 2, "loss": 0.5})
    assert curves(found)["train/loss"].values[0] == 1.0
    assert curves(found)["train/loss"].values[-1] == 0.5


def test_too_many_keys_are_bounded(tmp_path: Path) -> None:
    found = read(tmp_path, "m.jsonl", *({"step": n, "loss": 1.0, f"key{n}": n} for n in range(5000)))
    assert len(found.series) <= 2_000
    assert found.source.status == Status.PARTIAL


def test_shapeless_rows_and_rows_of_many_keys_take_linear_time(tmp_path: Path) -> None:
    start = time.process_time()
    wide = {f"k{n}": n for n in range(200_000)}
    found = read(tmp_path, "m.jsonl", {"step": 1, "loss": 2.0}, wide, *({"step": n, f"x{n}": n, "loss": 1.0} for n in range(2, 20_000)))
    assert time.process_time() - start < 20
    assert len(curves(found)["train/loss"]) == 19_999


def test_documents_are_left_to_others(tmp_path: Path) -> None:
    assert not claims(candidate(tmp_path, "config.json", b'{"lr": 0.1, "epochs": 3}'))
    assert not claims(candidate(tmp_path, "config.json", b'{\n  "lr": 0.1,\n  "epochs": 3\n}\n'))
    assert not claims(candidate(tmp_path, "train.log", b"{'loss': 0.1}\n{'loss': 0.2}\n"))


@settings(max_examples=150, deadline=None)
@given(data=st.one_of(st.binary(max_size=300), st.text(alphabet='{}[]":,0123456789.eE-+nulNaInfity \n\r\0stepos', max_size=300).map(str.encode)))
def test_any_bytes_are_read_or_told(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    one = candidate(tmp_path_factory.mktemp("any"), "m.jsonl", data)
    claims(one)
    found = READER.read(one)
    assert found.series or found.source.status in (Status.SKIPPED, Status.FAILED)


scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=5))


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(
            st.sampled_from(["step", "epoch", "loss", "val_loss", "lr", "mode", "x"]),
            st.recursive(scalars, lambda s: st.one_of(st.lists(s, max_size=3), st.dictionaries(st.text(max_size=3), s, max_size=3)), max_leaves=5),
        ),
        max_size=8,
    )
)
def test_any_records_are_read_or_told(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    found = READER.read(candidate(tmp_path_factory.mktemp("any"), "m.jsonl", data))
    for series in found.series:
        assert len(series.steps) == len(series.values)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_key_time_that_holds_moments_is_the_clock(tmp_path: Path, scale: float) -> None:
    found = read(tmp_path, "metrics.jsonl", *({"step": n, "loss": 2.5 - n / 8, "time": (1_700_000_000 + 30 * n) * scale} for n in range(8)))
    (loss,) = found.series
    assert loss.times is not None
    assert np.diff(loss.times).tolist() == [30.0] * 7


def test_a_key_time_that_holds_seconds_per_step_is_none(tmp_path: Path) -> None:
    found = read(tmp_path, "metrics.jsonl", *({"step": n, "loss": 2.5, "time": 0.5 + 0.01 * n} for n in range(8)))
    assert {s.logged_as for s in found.series} == {"loss", "time"}


def test_rllib_counts_time_steps(tmp_path: Path) -> None:
    learner = {"learner": {"default_policy": {"cur_lr": 5e-5, "total_loss": 2.5, "policy_loss": -0.5}}}
    rows = [{"episode_reward_mean": float(n), "timesteps_total": 4000 * n, "training_iteration": n, "timestamp": 1_600_000_000 + n, "info": learner}
            for n in (1, 2, 3)]  # fmt: skip
    found = {s.name: s for s in read(tmp_path, "result.json", *rows).series}
    assert found["reward"].steps.tolist() == [4000, 8000, 12000]
    assert found["lr"].values.tolist() == [5e-5] * 3
    assert found["train/loss"].values.tolist() == [2.5] * 3


def test_a_record_that_stops_in_the_middle_is_the_mark_of_a_death(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"step": s, "loss": 1.0}) + "\n" for s in range(5))
    cut = rows + '{"step": 5, "lo'
    found = READER.read(candidate(tmp_path, "metrics.jsonl", cut.encode()))
    assert [(e.kind, e.text) for e in found.events] == [(EventKind.CUT, '{"step": 5, "lo')]
    whole = READER.read(candidate(tmp_path, "whole.jsonl", rows.encode()))
    garbage = READER.read(candidate(tmp_path, "garbage.jsonl", (rows + "done.\n").encode()))
    assert whole.events == garbage.events == ()


def test_what_was_printed_before_the_first_record_is_left_out(tmp_path: Path) -> None:
    rows = "trainable params: 1,832 || all params: 18,354\n" + "".join(json.dumps({"step": s, "loss": 2.0 - s / 10}) + "\n" for s in range(5))
    one = candidate(tmp_path, "trainer.jsonl", rows.encode())
    assert claims(one)
    assert [(s.name, len(s)) for s in READER.read(one).series] == [("train/loss", 5)]
