"""Files of nothing but numbers: what their names say, and which of them are no logs."""

from pathlib import Path

import pytest

from postmortem.model.run import Run
from postmortem.sources import read_run
from postmortem.sources.logs.unlabelled import behind_counter, metric_of

FALLING = [2.5, 1.75, 1.5, 1.25]


def run_of(folder: Path, **files: str) -> Run:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return read_run([folder])


def values(run: Run) -> dict[str, list[float]]:
    return {s.name: s.values.tolist() for s in run.series}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loss.csv", "train/loss"), ("val_acc.txt", "val/accuracy"), ("train_losses.log", "train/loss"), ("loss_c1_log.txt", "train/loss"),
        ("map.txt", ""), ("map_log.txt", "val/score"), ("points.csv", ""), ("train.txt", ""), ("train_log.txt", ""), ("best_loss.txt", ""),
    ],
)  # fmt: skip
def test_a_name_speaks_of_a_metric(name: str, expected: str) -> None:
    assert metric_of(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("train_log.txt", "train/loss"), ("validation_log.txt", "val/loss"), ("acc_log.txt", "train/accuracy"), ("train.txt", ""), ("log.txt", "")],
)
def test_behind_a_counter_stands_the_metric_or_the_loss_of_a_split_s_log(name: str, expected: str) -> None:
    assert behind_counter(name) == expected


@pytest.mark.parametrize("name", ["loss.csv", "loss__txt", "train_loss__log"])
@pytest.mark.parametrize("form", ["{}\n", " {:.4e}\t\n"])
def test_a_number_a_line(tmp_path: Path, name: str, form: str) -> None:
    run = run_of(tmp_path, **{name: "".join(form.format(v) for v in FALLING)})
    assert values(run) == {"train/loss": FALLING}


@pytest.mark.parametrize("delimiter", [",", ", ", " ", "  ", "\t", ";"])
def test_a_counter_and_values(tmp_path: Path, delimiter: str) -> None:
    rows = "".join(delimiter.join((str(n), str(v), "0.5")) + "\n" for n, v in enumerate(FALLING))
    run = run_of(tmp_path, validation_log__txt=rows)
    assert values(run) == {"val/loss": FALLING, "other/validation_log: column 3": [0.5] * 4}
    assert run.series[0].steps.tolist() == [0, 1, 2, 3]


def test_files_without_a_header_do_not_share_names(tmp_path: Path) -> None:
    rows = "".join(f"{n} {v} 0.5\n" for n, v in enumerate(FALLING))
    run = run_of(tmp_path, validation_log__txt=rows, train_log__txt=rows.replace("0.5", "0.25"))
    assert values(run)["other/validation_log: column 3"] == [0.5] * 4
    assert values(run)["other/train_log: column 3"] == [0.25] * 4


def test_a_counter_that_stays_counts_epochs(tmp_path: Path) -> None:
    run = run_of(tmp_path, loss__csv="".join(f"{n // 2 + 1},{3 - n / 4}\n" for n in range(8)), points__csv="1,2.5\n1,3.5\n2,2.5\n2,1.5\n")
    losses = next(s for s in run.series if s.name == "train/loss")
    assert run.axis == "epoch"
    assert losses.steps.tolist() == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert losses.values.tolist() == [3 - n / 4 for n in range(8)]


def test_a_counter_that_starts_again_is_a_restart(tmp_path: Path) -> None:
    rows = [f"{n},{3 - n / 100}\n" for n in range(1, 41)] + [f"{n},{2 - n / 100}\n" for n in range(1, 61)]
    run = run_of(tmp_path, loss_log__txt="".join(rows))
    assert [len(part.series[0]) for part in (*run.earlier, run)] == [40, 60]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("edges_train__txt", "0 1\n1 2\n2 3\n"),
        ("train__txt", "0 0.5\n1 0.25\n2 0.125\n"),
        ("loss__txt", "0.5 0.25\n0.4 0.2\n0.3 0.1\n"),  # two columns, and nobody says which is which
        ("loss__txt", "1.5\n"),
        ("loss__txt", "1.5\n1.25\nepoch done\n1.0\n"),
        ("numbers__log", "1.5\n1.25\n1.0\n"),
        ("numbers__log", "% of x\n1.5\n1.25\n1.0\n"),
        ("val_loss__txt", "5 0.5\n3 0.25\n9 0.125\n"),  # its first column does not count
    ],
)
def test_other_numbers_stay_unread(tmp_path: Path, name: str, text: str) -> None:
    assert not run_of(tmp_path, **{name: text}).series


def test_titles_behind_a_per_cent_sign(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        train__log="% mean class accuracy (train set)\t\n 8.2250e+01\t\n 9.5000e+01\t\n",
        test__log="% mean class accuracy (test set)\t% loss (test set)\t\n 7.0500e+01\t 1.5\t\n 7.1500e+01\t 1.25\t\n",
    )
    assert values(run) == {"train/accuracy": [82.25, 95.0], "val/accuracy": [70.5, 71.5], "val/loss": [1.5, 1.25]}


@pytest.mark.parametrize("name", ["loss_c1_log__txt", "loss__json"])
def test_a_list_of_numbers_in_one_line(tmp_path: Path, name: str) -> None:
    assert values(run_of(tmp_path, **{name: f"{[*FALLING, float('nan')]}".replace("nan", "NaN")}))["train/loss"][:4] == FALLING


@pytest.mark.parametrize(("name", "text"), [("boxes__json", "[1.5, 2.5, 3.5]"), ("loss__json", "[[1, 2], [3, 4]]"), ("loss__json", "[1.5, ")])
def test_other_lists_stay_unread(tmp_path: Path, name: str, text: str) -> None:
    assert not run_of(tmp_path, **{name: text}).series


def test_a_traceback_in_a_file_called_a_table(tmp_path: Path) -> None:
    frames = '  File "/home/me/train.py", line 12, in main\n    loss.backward()\n'
    run = run_of(tmp_path, log__csv=f"{frames}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 222.00 MiB.\n")
    assert [str(e.kind) for e in run.events] == ["out-of-memory"]
    assert run.outcome == "crashed"
