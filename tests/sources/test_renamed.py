"""A file that somebody renamed, to attach it or to keep several, is known by what it holds."""

import json
from pathlib import Path

import pytest

from postmortem.sources import read_run

EVENTS = next(Path(__file__).parents[2].joinpath("fixtures").glob("**/*tfevents*"))
STATE = {"best_metric": None, "epoch": 2.0, "global_step": 20, "is_world_process_zero": True, "log_history": [
    {"epoch": 1.0, "loss": 2.5, "step": 10}, {"epoch": 2.0, "loss": 1.5, "step": 20},
]}  # fmt: skip
SUMMARY = {"train/loss": float("nan"), "_timestamp": 1.7e9, "_runtime": 12.5, "_step": 9, "_wandb": {"runtime": 12}}
ALLENNLP = {
    "best_epoch": 0,
    "training_duration": "0:01:00",
    "training_start_epoch": 0,
    "training_epochs": 3,
    "epoch": 3,
    "training_loss": 0.5,
    "validation_loss": 0.75,
}


@pytest.mark.parametrize("name", ["output.0", "output.v2", "events", "output.train"])
def test_an_event_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(EVENTS.read_bytes())
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / EVENTS.name).write_bytes(EVENTS.read_bytes())
    renamed, original = read_run([tmp_path / name]), read_run([tmp_path / "again"])
    assert [(s.name, str(s.values.tolist())) for s in renamed.series] == [(s.name, str(s.values.tolist())) for s in original.series]
    assert renamed.series


@pytest.mark.parametrize(
    ("document", "reader", "name", "values"),
    [(STATE, "trainer-state", "train/loss", [2.5, 1.5]), (SUMMARY, "wandb", "train/loss", None), (ALLENNLP, "json-history", "val/loss", [0.75])],
)
def test_a_json_document(tmp_path: Path, document: dict[str, object], reader: str, name: str, values: list[float] | None) -> None:
    (tmp_path / "output.json").write_text(json.dumps(document, indent=2))
    run = read_run([tmp_path])
    assert [s.reader for s in run.sources] == [reader]
    series = next(s for s in run.series if s.name == name)
    assert values is None or series.values.tolist() == values


def test_a_configuration_that_mentions_steps_stays_one(tmp_path: Path) -> None:
    (tmp_path / "output.json").write_text(json.dumps({"global_step": 10, "learning_rate": 0.1, "training_epochs_planned": 3}))
    assert [s.reader for s in read_run([tmp_path]).sources] == ["config"]
