"""Delimited text as curves: what each writer's habits mean, and what is no log."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postmortem.model.run import EventKind, Reduction, Series, Status
from postmortem.sources import read_run
from postmortem.sources.logs import csv as csv_reader
from postmortem.sources.logs.csv import READER, claims
from postmortem.sources.logs.csvblocks import parse
from postmortem.sources.reader import Candidate, Found


def candidate(folder: Path, name: str, data: bytes, *siblings: str) -> Candidate:
    (folder / name).write_bytes(data)
    return Candidate(folder, name, len(data), data[:4096], frozenset({name, *siblings}))


def read(folder: Path, name: str, text: str | bytes, *siblings: str) -> Found:
    one = candidate(folder, name, text if isinstance(text, bytes) else text.encode(), *siblings)
    assert claims(one)
    return READER.read(one)


def curves(found: Found) -> dict[str, Series]:
    assert len({s.name for s in found.series}) == len(found.series)
    return {s.name: s for s in found.series}


def test_keras_epochs_are_counted_as_done_and_na_is_no_point(tmp_path: Path) -> None:
    text = "epoch,accuracy,loss,val_accuracy,val_loss\r\n0,0.5123456789,2.31,NA,NA\r\n1,0.6123456789,nan,0.7,1.5\r\n"
    found = curves(read(tmp_path, "training.csv", text))
    assert found["train/loss"].epochs is not None
    assert found["train/loss"].epochs.tolist() == [1, 2]
    assert np.isnan(found["train/loss"].values[1])
    assert len(found["val/loss"]) == 1
    assert found["val/loss"].epochs is not None
    assert found["val/loss"].epochs.tolist() == [2]
    assert found["train/loss"].reduction == Reduction.EPOCH
    assert np.isnan(found["train/loss"].steps).all()


def test_keras_resumed_file_starts_at_a_later_epoch_and_is_still_zero_based(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "log.csv", "epoch,accuracy,loss\n5,0.1,2.0\n6,0.2,1.0\n"))
    assert found["train/loss"].epochs is not None
    assert found["train/loss"].epochs.tolist() == [6, 7]


def test_an_all_na_column_is_no_series(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "log.csv", "epoch,loss,val_loss\n0,1.0,NA\n1,0.9,NA\n"))
    assert set(found) == {"train/loss"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\r"])
def test_line_ends(tmp_path: Path, end: str) -> None:
    text = end.join(["val_loss,val_accuracy,loss,accuracy", "7.666619300842285,0.5,7.666619300842285,0.5", "7.5,0.25,7.0,0.5", ""])
    found = curves(read(tmp_path, "log.csv", text))
    assert found["val/loss"].values.tolist() == [7.666619300842285, 7.5]
    assert found["val/loss"].epochs is not None
    assert found["val/loss"].epochs.tolist() == [1, 2]  # no counter at all: rows with training and validation are epochs
    assert found["train/loss"].reduction == Reduction.EPOCH


def test_several_runs_in_one_file_stay_in_order(tmp_path: Path) -> None:
    text = "epoch,loss\n0,3.0\n1,2.0\nepoch,loss\n0,5.0\n1,4.0\n2,3.5\n"
    found = read(tmp_path, "log.csv", text)
    assert found.source.status == Status.READ
    loss = curves(found)["train/loss"]
    assert loss.values.tolist() == [3, 2, 5, 4, 3.5]
    assert loss.epochs is not None
    assert loss.epochs.tolist() == [1, 2, 1, 2, 3]


LIGHTNING = """epoch,lr-Adam,step,train_acc,train_loss,val_acc,val_loss
,0.002,9,,,,
0,,9,,2.5,,
,0.002,19,,,,
0,,19,0.25,2.25,,
0,,19,,,0.125,2.375
1,,29,,2.0,,
1,,39,0.5,1.5,,
1,,39,,,0.375,1.875
"""


def test_lightning_rows_are_half_empty_and_epochs_are_zero_based(tmp_path: Path) -> None:
    found = read(tmp_path, "metrics.csv", LIGHTNING, "hparams.yaml")
    one = curves(found)
    assert found.facts["framework"] == "lightning"
    assert one["train/loss"].steps.tolist() == [9, 19, 29, 39]
    assert one["train/loss"].reduction == Reduction.STEP
    assert one["train/loss"].epochs is not None
    assert one["train/loss"].epochs.tolist() == [0.5, 1.0, 1.5, 2.0]
    assert one["train/accuracy"].reduction == Reduction.EPOCH
    assert one["val/loss"].steps.tolist() == [19, 39]
    assert one["val/loss"].epochs is not None
    assert one["val/loss"].epochs.tolist() == [1, 2]
    assert one["lr"].values.tolist() == [0.002, 0.002]


def test_step_and_epoch_means_of_one_metric_are_two_series(tmp_path: Path) -> None:
    text = "epoch,step,train_loss_epoch,train_loss_step\n0,9,,2.0\n0,19,,1.5\n0,19,1.75,\n1,29,,1.25\n1,39,,1.0\n1,39,1.125,\n"
    found = read(tmp_path, "metrics.csv", text, "hparams.yaml").series
    assert {(s.name, s.reduction, len(s)) for s in found} == {("train/loss", Reduction.STEP, 4), ("train/loss", Reduction.EPOCH, 2)}


YOLO = """                  epoch,         train/box_loss,         train/cls_loss,      metrics/mAP50(B),   metrics/mAP50-95(B),         val/box_loss,         val/cls_loss,                 lr/pg0,                 lr/pg1
                      1,                   1.25,                    2.5,                0.2,                  0.125,                  1.75,                   2.25,              0.00066,              0.00066
                      2,                    1.0,                    1.5,                0.3,                   0.25,                   1.5,                   2.0,              0.0013,              0.0013
"""


def test_detection_results_are_padded_and_have_no_total(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "results.csv", YOLO))
    assert found["train/loss"].values.tolist() == [3.75, 2.5]
    assert found["val/loss"].values.tolist() == [4.0, 3.5]
    assert found["val/score"].logged_as == "metrics/mAP50-95(B)"
    assert found["lr"].logged_as == "lr/pg0"
    assert found["train/loss"].epochs is not None
    assert found["train/loss"].epochs.tolist() == [1, 2]


def test_detection_results_without_header(tmp_path: Path) -> None:
    row = "     {}/299     11.8G   0.069   0.031    0.0001    0.1013        30       640  0.004    0.29  0.0013 0.0002   0.09   0.038    0.001\n"
    found = read(tmp_path, "results.txt", row.format(0) + row.format(1))
    one = curves(found)
    assert one["train/loss"].values.tolist() == [0.1013, 0.1013]
    assert one["val/loss"].values.tolist() == pytest.approx([0.129, 0.129])
    assert one["train/loss"].epochs is not None
    assert one["train/loss"].epochs.tolist() == [1, 2]
    assert found.facts["planned_epochs"] == 299


def test_a_monitor_file_counts_steps_by_the_lengths_of_episodes(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "0.monitor.csv", '#{"t_start": 100.0, "env_id": "X"}\nr,l,t\r\n1.5,10,0.5\r\n-2.25,20,1.5\r\n'))
    assert found["reward"].steps.tolist() == [10, 30]
    assert found["reward"].values.tolist() == [1.5, -2.25]
    assert found["reward"].times is not None
    assert found["reward"].times.tolist() == [100.5, 101.5]


def test_a_tracker_page_export_drops_the_envelope(tmp_path: Path) -> None:
    text = '"Step","run a - lm_loss","run a - lm_loss__MIN","run a - lm_loss__MAX"\n"4","12.5","12.5","12.5"\n"52","9.5","9.5","9.5"\n'
    found = curves(read(tmp_path, "wandb_export.csv", text))
    assert set(found) == {"train/loss"}
    assert found["train/loss"].steps.tolist() == [4, 52]


def test_a_long_table_is_made_wide(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "log.csv", "step,metric,value\n1,train_loss,2.0\n1,val_loss,3.0\n2,train_loss,1.0\n"))
    assert found["train/loss"].values.tolist() == [2, 1]
    assert found["val/loss"].steps.tolist() == [1]


def test_a_split_column_says_whose_the_values_are(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "log.csv", "epoch,phase,loss,acc\n1,train,2.0,0.5\n1,val,3.0,0.25\n2,train,1.0,0.75\n2,val,2.5,0.5\n"))
    assert found["train/loss"].values.tolist() == [2, 1]
    assert found["val/loss"].values.tolist() == [3, 2.5]
    assert found["val/loss"].epochs is not None
    assert found["val/loss"].epochs.tolist() == [1, 2]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = "EPOCH,TIMESTAMP,LEARNING_RATE,TRAIN_LOSS,DEV_LOSS\n0,13:54:52,0.1000,0.2911,0.2314\n1,14:06:52,0.1000,0.1975,_\n".replace(",", delimiter)
    found = curves(read(tmp_path, "loss.tsv", text))
    assert found["train/loss"].values.tolist() == [0.2911, 0.1975]
    assert found["val/loss"].values.tolist() == [0.2314]
    assert found["train/loss"].quantum == 1e-4


def test_an_index_column_of_a_data_frame_is_no_curve(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "history.csv", ",loss,val_loss\n0,2.0,2.5\n1,1.0,2.0\n"))
    assert set(found) == {"train/loss", "val/loss"}
    assert found["train/loss"].epochs is not None
    assert found["train/loss"].epochs.tolist() == [1, 2]


def test_a_counter_within_the_epoch_is_unrolled(tmp_path: Path) -> None:
    rows = "".join(f"{e},{i},{1.0 / (e * 40 + i + 1)}\n" for e in range(1, 4) for i in range(0, 40, 10))
    found = curves(read(tmp_path, "log.csv", "epoch,iter,loss\n" + rows))
    assert found["train/loss"].steps.tolist() == [float(i) for i in range(0, 120, 10)]


def test_a_cut_last_row_is_left_out_and_told(tmp_path: Path) -> None:
    found = read(tmp_path, "log.csv", "epoch,loss,val_loss\n0,2.0,2.5\n1,1.0,2.0\n2,0.")
    assert found.source.status == Status.PARTIAL
    assert "cut off" in str(found.source.detail)
    assert len(curves(found)["train/loss"]) == 2
    assert [e.kind for e in found.events] == [EventKind.CUT]


@pytest.mark.parametrize(("last", "cut"), [("4,0.1308314", True), ("4,0.13083141225", False), ("4,0.1308314\n", False), ("4", True)])
def test_a_last_number_without_its_digits_is_cut(tmp_path: Path, last: str, cut: bool) -> None:
    rows = "".join(f"{n},{0.3171926 + 1 / (n + 7):.16f}\n" for n in range(4))
    found = read(tmp_path, "log.csv", "step,val_loss\n" + rows + last)
    assert bool(found.events) == cut
    assert len(curves(found)["val/loss"]) == (4 if cut else 5)


def test_text_columns_and_odd_numbers(tmp_path: Path) -> None:
    text = 'step,note,loss,acc\n"1,000",start,1.5e+00,50%\n2000,"a, b",-inf,NaN\n3000,,tensor(0.25),\n'
    found = curves(read(tmp_path, "log.csv", text))
    assert found["train/loss"].steps.tolist() == [1000, 2000, 3000]
    assert found["train/loss"].values.tolist() == [1.5, -np.inf, 0.25]
    assert len(found["train/accuracy"]) == 2


def test_dates_are_a_clock(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "log.csv", "timestamp,step,loss\n2024-01-01 00:00:00,1,2.0\n2024-01-01 00:01:30.500,2,1.0\n"))
    assert found["train/loss"].times is not None
    assert np.diff(found["train/loss"].times).tolist() == [90.5]


def test_wide_tables_are_narrowed(tmp_path: Path) -> None:
    header = ["step", "loss", *(f"grad_{n}" for n in range(3000))]
    rows = [",".join(str(n) for n in range(len(header))), ",".join(str(n + 1) for n in range(len(header)))]
    found = read(tmp_path, "log.csv", "\n".join([",".join(header), *rows]) + "\n")
    assert found.source.status == Status.PARTIAL
    assert len(next(s for s in found.series if s.name == "train/loss")) == 2


def test_byte_order_marks_and_wide_encodings(tmp_path: Path) -> None:
    text = "step,loss\n1,2.5\n2,1.5\n"
    for data in (b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")):
        assert curves(read(tmp_path, "log.csv", data))["train/loss"].values.tolist() == [2.5, 1.5]


def test_zero_bytes_after_a_crash_are_passed_over(tmp_path: Path) -> None:
    found = read(tmp_path, "log.csv", b"step,loss\n1,2.5\n" + b"\0" * 5000 + b"2,1.5\n")
    assert curves(found)["train/loss"].values.tolist() == [2.5, 1.5]


@pytest.mark.parametrize(
    "text",
    [
        "id,label,prediction,loss\n1,0,1,0.5\n",
        "sepal_length,sepal_width,species\n5.1,3.5,setosa\n",
        "image_id,x,y\n1,2,3\n",
        "",
        "\n\n",
        "just a line of text\n",
    ],
)
def test_data_sets_are_no_logs(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, "data.csv", text)
    assert found.source.status == Status.SKIPPED
    assert found.source.detail is not None
    assert not found.series


@pytest.mark.parametrize(
    "text", ["Epoch 1, loss: 0.5, acc: 0.1\nEpoch 2, loss: 0.4, acc: 0.2\n", "hello, world\nfoo, bar\n", "[2024-01-01] a,b,c\n1,2,3\n"]
)
def test_prose_is_left_to_others(tmp_path: Path, text: str) -> None:
    assert not claims(candidate(tmp_path, "train.log", text.encode()))


def test_a_csv_under_a_log_s_name_is_claimed(tmp_path: Path) -> None:
    assert claims(candidate(tmp_path, "training.log", b"epoch,accuracy,loss\n0,0.5,1.5\n1,0.6,1.4\n"))


@pytest.mark.parametrize("large", ["8e99", "8E+99", "-7e+99"])
@pytest.mark.parametrize("word", ["nan", "-inf", "1.0"])
def test_no_number_is_taken_for_a_word(tmp_path: Path, word: str, large: str) -> None:
    said = ["1.5", large, word, "2.5", large]
    found = curves(read(tmp_path, "m.csv", "step,loss\n" + "".join(f"{n},{value}\n" for n, value in enumerate(said))))["train/loss"]
    np.testing.assert_array_equal(found.values, np.array([float(value) for value in said]))


def test_the_quick_way_reads_the_same_as_the_slow_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = [
        [str(i), repr(float(rng.normal())), "" if rng.random() < 0.3 else ("nan", "-inf", "1e-07", "3")[int(rng.integers(4))]] for i in range(300)
    ]
    body = "\n".join(",".join(row) for row in cells)
    quick = curves(read(tmp_path, "a.csv", "step,train_loss,val_loss\n" + body + "\n"))
    slow = curves(read(tmp_path, "b.csv", "step,train_loss,val_loss,note\n" + "\n".join(",".join([*row, "word"]) for row in cells) + "\n"))
    assert parse(body.encode(), b",", 3) is not None
    for name in ("train/loss", "val/loss"):
        np.testing.assert_array_equal(quick[name].values, slow[name].values)
        np.testing.assert_array_equal(quick[name].steps, slow[name].steps)


def test_blocks_that_are_no_plain_numbers_are_refused_by_the_quick_way() -> None:
    assert parse(b"1,2\n3\n4,5,6\n", b",", 2) is None  # the right number of cells, in the wrong rows
    assert parse(b"1,nano\n", b",", 2) is None
    assert parse(b"1,2]],[[3\n", b",", 3) is None
    assert parse(b'1,{"a":2}\n', b",", 2) is None


def test_a_line_without_end_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postmortem.sources.logs.blocks.LONGEST_LINE", 1000)
    monkeypatch.setattr("postmortem.sources.logs.blocks.BLOCK", 256)
    found = read(tmp_path, "log.csv", "step,loss\n1,2.5\n" + "9" * 5000 + "\n2,1.5\n")
    assert curves(found)["train/loss"].values.tolist() == [2.5, 1.5]
    assert found.source.status == Status.PARTIAL


@settings(max_examples=150, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=400),
        st.text(alphabet="0123456789.,;\t\n\r\"'neianf-+ step,loss\0#{}[]|", max_size=400).map(lambda t: ("step,loss\n" + t).encode()),
    )
)
def test_any_bytes_are_read_or_told(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    one = candidate(tmp_path_factory.mktemp("any"), "log.csv", data)
    claims(one)
    found = READER.read(one)
    assert found.series or found.source.status in (Status.SKIPPED, Status.FAILED)
    for series in found.series:
        assert len(series.steps) == len(series.values)
        assert series.epochs is None or len(series.epochs) == len(series.values)


def test_text_tells_how_finely_a_column_was_printed(tmp_path: Path) -> None:
    """Zeros at an end are a fixed format; the shortest spellings of a few numbers are these numbers, and 0.0 is zero."""
    rows = "".join(f"{n},0.00100000,{0.001 if n < 5 else 0.0},{0.1234 + n / 1000:.4f},{0.5 if n % 2 else 0.25}\n" for n in range(10))
    found = curves(read(tmp_path, "log.csv", f"step,lr,grad_norm,train_loss,val_accuracy\n{rows}"))
    assert found["lr"].quantum == 1e-8
    assert found["grad_norm"].quantum is None
    assert found["train/loss"].quantum == 1e-4
    assert found["val/accuracy"].quantum is None
    quoted = "".join(f'{n},"0.0010","x"\n' for n in range(3))
    assert curves(read(tmp_path, "log.csv", f"step,lr,note\n{quoted}"))["lr"].quantum == 1e-4


def test_sentence_transformers_rows_of_an_epoch_are_spread_over_it(tmp_path: Path) -> None:
    text = "epoch,steps,cosine_pearson,cosine_spearman\n0,500,0.1,0.2\n0,-1,0.2,0.3\n1,500,0.3,0.4\n1,-1,0.4,0.5\n"
    found = curves(read(tmp_path, "similarity_evaluation_sts-dev_results.csv", text))
    assert found["val/score"].epochs is not None
    assert found["val/score"].epochs.tolist() == [0.5, 1, 1.5, 2]
    assert found["val/score"].values.tolist() == [0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize("base", [0, 1])
def test_several_rows_of_an_epoch_without_steps_lie_within_it(tmp_path: Path, base: int) -> None:
    """The training rows are spread up to the end of their epoch, where its evaluation stands."""
    rows = "".join(f"{n // 2 + base},{3 - n / 4},{2.5 - n / 8 if n % 2 else ''}\n" for n in range(8))
    (tmp_path / "train.csv").write_text("epoch,loss,val_loss\n" + rows)
    found = {s.name: s.steps.tolist() for s in read_run([tmp_path]).series}
    assert found == {"train/loss": [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4], "val/loss": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("name", "expected"), [("rm_log.csv", "train/loss"), ("train_loss.csv", "train/loss"), ("points.csv", "other/points: column 2")]
)
def test_without_a_header_a_file_called_like_a_log_has_its_loss_behind_the_counter(tmp_path: Path, name: str, expected: str) -> None:
    found = read(tmp_path, name, "99,0.6875,0.1\n199,0.625,0.2\n299,0.5,0.3\n")
    assert [s.name for s in found.series] == [expected, f"other/{name[:-4]}: column 3"]


def test_yolov10_has_twelve_parts_of_a_loss(tmp_path: Path) -> None:
    heads = [f"{split}/{part}_{head}" for split in ("train", "val") for head in ("om", "oo") for part in ("box", "cls", "dfl")]
    text = f"epoch,{','.join(heads)},metrics/mAP50-95(B)\n1,{','.join('1.5' for _ in heads)},0.1\n2,{','.join('1.25' for _ in heads)},0.2\n"
    found = curves(read(tmp_path, "results.csv", text))
    assert found["train/loss"].values.tolist() == [9.0, 7.5]
    assert found["val/loss"].values.tolist() == [9.0, 7.5]


def test_losses_without_a_counter_are_a_log_row_by_row(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "loss.csv", "d_adv_loss, f_cyc_loss\n3.1856, 23.932\n2.7147, 20.3192\n"))
    assert {s.logged_as: s.values.tolist() for s in found.values()} == {"d_adv_loss": [3.1856, 2.7147], "f_cyc_loss": [23.932, 20.3192]}
    assert READER.read(candidate(tmp_path, "speed.csv", b"threads,seconds\n1,9.5\n2,5.25\n")).source.status == Status.SKIPPED


def test_episodes_are_a_counter(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "history.csv", "Episode,Score,Moves\n1,6872,467\n2,5060,395\n"))
    assert found["train/score"].steps.tolist() == [1, 2]


def test_keras_columns_from_epoch_one_were_saved_by_hand(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "training_history.csv", "epoch,accuracy,loss,val_accuracy,val_loss\n1,0.25,1.8,0.28,1.78\n2,0.27,1.7,0.3,1.6\n"))
    assert found["train/loss"].epochs is not None
    assert found["train/loss"].epochs.tolist() == [1, 2]


def test_what_neither_split_claims_is_measured_on_the_validation_set(tmp_path: Path) -> None:
    found = curves(read(tmp_path, "log.csv", "Epoch,TrainLoss,ValLoss,AUC,LR\n1,82.4,36.8,0.29,0.1\n2,37.9,35.7,0.28,0.1\n"))
    assert {"train/loss", "val/loss", "val/auc", "lr"} == found.keys()
    both = curves(read(tmp_path, "both.csv", "epoch,train_loss,val_loss,acc,val_acc\n1,82.4,36.8,0.29,0.1\n2,37.9,35.7,0.28,0.1\n"))
    assert {"train/accuracy", "val/accuracy"} <= both.keys()


def test_many_rows_of_evaluations_take_no_longer_each(tmp_path: Path) -> None:
    text = "epoch,steps,cosine_spearman\n" + "".join(f"{n // 100},{-1 if n % 100 == 99 else n % 100},0.5\n" for n in range(200_000))
    found = curves(read(tmp_path, "similarity_evaluation_sts-dev_results.csv", text))  # a quadratic walk would take hours
    assert found["val/score"].epochs is not None
    assert np.allclose(np.diff(found["val/score"].epochs), 0.01)


def test_an_epoch_column_without_a_number_costs_no_other_column(tmp_path: Path) -> None:
    found = read(tmp_path, "log.csv", "epoch,accuracy,loss\nx,0.1,2.5\ny,0.2,2.0\nz,0.3,1.5\n")
    assert list(curves(found)["train/loss"].values) == [2.5, 2.0, 1.5]


def test_seconds_per_step_are_no_steps(tmp_path: Path) -> None:
    rows = "".join(f"0.01{31 - n % 3},{2.5 - n / 8},{2.75 - n / 16}\n" for n in range(8))
    found = read(tmp_path, "Adam.csv", "train_step,train_loss,test_loss\n" + rows)
    (losses,) = [s for s in found.series if s.name == "train/loss"]
    assert not np.isfinite(losses.steps).any() or losses.steps.tolist() == [float(n + 1) for n in range(8)]
    assert losses.values.tolist() == [2.5 - n / 8 for n in range(8)]


CELLS = {
    "number": ["0.5", "1", "-2e-05", "", "7", "nan", "None", "1e3"],
    "time": ["12:00:01", "2024-01-02 03:04:05", "12:00:01", ""],
    "name": ["train", "val", "résumé", "1_000", "a b"],
    "odd": ["0.5", "x", ".5", "+1", " 3", "1,5"],
}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=5), st.integers(1, 300), st.integers(0, 2**32), st.booleans())
def test_columns_of_texts_cost_nothing_but_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str], rows: int, seed: int, blank: bool
) -> None:
    rng = random.Random(seed)
    lines = [",".join(rng.choice(CELLS[kind]) for kind in kinds) + "\n" + "\n" * (blank and rng.random() < 0.05) for _ in range(rows)]
    text = "step,train_loss," + ",".join(f"{kind}{n}" for n, kind in enumerate(kinds)) + "\n"
    text += "".join(f"{n},{1 / (n + 1)!r}," + line for n, line in enumerate(lines))
    fast = read(tmp_path, "log.csv", text)
    with monkeypatch.context() as patch:
        patch.setattr(csv_reader, "parse_beside", lambda *_: None)
        slow = read(tmp_path, "log.csv", text)
    assert [(s.name, s.logged_as, s.quantum) for s in fast.series] == [(s.name, s.logged_as, s.quantum) for s in slow.series]
    for a, b in zip(fast.series, slow.series, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.steps, b.steps)
    assert fast.source == slow.source
