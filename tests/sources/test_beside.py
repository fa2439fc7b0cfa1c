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


@pytest.mark.parametrize("name", ["test.jsonl", "val.jsonl"])
def test_without_its_counterpart_a_name_says_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(RECORDS.format(1))
    assert {s.name for s in read_run([tmp_path]).series} == {"train/loss"}


@pytest.mark.parametrize(("name", "expected"), [("valid.log", "val/loss"), ("other.log", "train/loss")])
def test_a_text_log_beside_that_of_training_is_of_the_set_in_its_name(tmp_path: Path, name: str, expected: str) -> None:
    for file, first in (("train.log", 2.0), (name, 3.0)):
        (tmp_path / file).write_text("".join(f"epoch: {n} loss: {first / n:.4f}\n" for n in range(1, 15)))
    run = read_run([tmp_path])
    assert {s.name for s in run.series if s.source == name} | {"train/loss" for s in run.left_out if s.source == name} == {expected}
