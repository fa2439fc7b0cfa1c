"""Files of one directory whose names tell which set their records are of."""

from pathlib import Path

import pytest

from postmortem.sources import read_run

RECORDS = '{{"step": 1, "loss": {0}.5}}\n{{"step": 2, "loss": {0}.25}}\n'
TABLE = "iter\tLogloss\n0\t{0}.5\n1\t{0}.25\n"


@pytest.mark.parametrize(
    ("trained", "evaluated", "text"),
    [
        ("train.jsonl", "val.jsonl", RECORDS),
        ("training_log.jsonl", "validation_log.jsonl", RECORDS),
        ("learn_error.tsv", "test_error.tsv", TABLE),  # of CatBoost
        ("train_metrics.csv", "eval_metrics.csv", TABLE.replace("\t", ",")),
    ],
)
def test_the_word_in_a_name_tells_the_set(tmp_path: Path, trained: str, evaluated: str, text: str) -> None:
    (tmp_path / trained).write_text(text.format(1))
    (tmp_path / evaluated).write_text(text.format(2))
    run = read_run([tmp_path])
    assert {s.name: s.values.tolist() for s in run.series} == {"train/loss": [1.5, 1.25], "val/loss": [2.5, 2.25]}


@pytest.mark.parametrize("name", ["test.jsonl", "val_7b.jsonl", "train_val.jsonl"])
def test_without_its_counterpart_a_name_says_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(RECORDS.format(1))
    assert {s.name for s in read_run([tmp_path]).series} == {"train/loss"}


@pytest.mark.parametrize("name", ["val.jsonl", "valid.log", "val_log.txt", "validation_loss.log"])
def test_a_name_that_says_nothing_but_validation_is_believed(tmp_path: Path, name: str) -> None:
    """However the training was logged: the file alone is all there is."""
    text = RECORDS.format(3) if name.endswith("l") else "".join(f"epoch {n}: loss {3.5 - n / 4:.3f}, accuracy {n / 20:.2f}\n" for n in range(6))
    (tmp_path / name).write_text(text)
    (loss,) = (s for s in read_run([tmp_path]).series if s.name.endswith("/loss"))
    assert loss.name == "val/loss"
    assert (len(loss), loss.values[0], loss.values[-1]) == ((2, 3.5, 3.25) if name.endswith("l") else (6, 3.5, 2.25))


def test_a_log_of_validation_in_which_gradients_are_measured_is_of_training(tmp_path: Path) -> None:
    (tmp_path / "val.log").write_text("".join(f"step {n} loss {3.5 - n / 4:.3f} grad_norm 1.{n}\n" for n in range(6)))
    assert {s.name for s in read_run([tmp_path]).series} == {"train/loss", "grad_norm"}


@pytest.mark.parametrize(("name", "expected"), [("valid.log", "val/loss"), ("other.log", "train/loss")])
def test_a_text_log_beside_that_of_training_is_of_the_set_in_its_name(tmp_path: Path, name: str, expected: str) -> None:
    for file, first in (("train.log", 2.0), (name, 3.0)):
        (tmp_path / file).write_text("".join(f"epoch: {n} loss: {first / n:.4f}\n" for n in range(1, 15)))
    run = read_run([tmp_path])
    assert {s.name for s in run.series if s.source == name} | {"train/loss" for s in run.left_out if s.source == name} == {expected}
