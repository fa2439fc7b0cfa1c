"""transformers' trainer_state.json."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.model.run import Reduction, Status
from postmortem.sources.logs import long_history, stretches, trainer_state
from postmortem.sources.logs.trainer_state import READER, claims
from postmortem.sources.reader import Candidate, Found


def read(folder: Path, text: str, name: str = "trainer_state.json") -> Found:
    (folder / name).write_text(text)
    one = Candidate(folder, name, len(text), text.encode()[:4096])
    assert claims(one)
    return READER.read(one)


STATE = {
    "epoch": 2.0, "global_step": 20, "max_steps": 20, "num_train_epochs": 2, "train_batch_size": 8, "logging_steps": 5,
    "log_history": [
        {"loss": 2.5, "grad_norm": 1.5, "learning_rate": 1e-4, "epoch": 0.5, "step": 5},
        {"loss": 2.0, "grad_norm": 1.25, "learning_rate": 5e-5, "epoch": 1.0, "step": 10},
        {"eval_loss": 2.25, "eval_accuracy": 0.5, "eval_runtime": 1.0, "eval_samples_per_second": 10.0, "epoch": 1.0, "step": 10},
        {"loss": 1.5, "grad_norm": 1.0, "learning_rate": 2e-5, "epoch": 1.5, "step": 15},
        {"loss": 1.0, "grad_norm": 0.5, "learning_rate": 0.0, "epoch": 2.0, "step": 20},
        {"eval_loss": 1.75, "eval_accuracy": 0.75, "epoch": 2.0, "step": 20},
        {"train_runtime": 9.0, "train_loss": 1.75, "total_flos": 1e9, "epoch": 2.0, "step": 20},
    ],
}  # fmt: skip


def test_the_history_without_its_final_summary(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps(STATE))
    one = {s.name: s for s in found.series}
    assert one["train/loss"].values.tolist() == [2.5, 2.0, 1.5, 1.0]
    assert one["train/loss"].reduction == Reduction.WINDOW
    assert one["train/loss"].epochs is not None
    assert one["train/loss"].epochs.tolist() == [0.5, 1, 1.5, 2]
    assert one["val/loss"].steps.tolist() == [10, 20]
    assert one["grad_norm"].values.tolist() == [1.5, 1.25, 1.0, 0.5]
    assert found.facts == {"framework": "transformers", "planned_steps": 20.0, "finished": True, "planned_epochs": 2.0}
    assert {s.name: s.value for s in found.settings}["batch_size"] == 8


def test_whole_epochs_are_done_epochs(tmp_path: Path) -> None:
    history = [{"loss": 1.0 / e, "epoch": float(e), "step": 10 * e} for e in (1, 2, 3)] + [{"eval_loss": 1.0, "epoch": 3.0, "step": 30}]
    loss = next(s for s in read(tmp_path, json.dumps({"log_history": history})).series if s.name == "train/loss")
    assert loss.epochs is not None
    assert loss.epochs.tolist() == [1, 2, 3]


def test_a_filtered_nan_stays_as_it_was_logged(tmp_path: Path) -> None:
    text = (
        '{"log_history": [{"loss": 2.0, "grad_norm": 1.0, "step": 1}, {"loss": 0.0, "grad_norm": NaN, "step": 2}], "max_steps": 10, "global_step": 2}'
    )
    found = read(tmp_path, text)
    one = {s.name: s for s in found.series}
    assert one["train/loss"].values.tolist() == [2.0, 0.0]
    assert np.isnan(one["grad_norm"].values[1])
    assert "finished" not in found.facts


def test_several_evaluation_sets_keep_their_names(tmp_path: Path) -> None:
    both = {"log_history": [{"eval_a_loss": 1.0, "eval_b_loss": 2.0, "step": 1, "epoch": 1.0}]}
    assert {s.name for s in read(tmp_path, json.dumps(both)).series} == {"val.a/loss", "val.b/loss"}
    single = {"log_history": [{"eval_a_loss": 1.0, "step": 1, "epoch": 1.0}]}
    assert {s.name for s in read(tmp_path, json.dumps(single)).series} == {"val/loss"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"log_history": 3}', '{"log_history": [', "null", "[" * 100_000, '{"log_history": [1, null, "x", {"step": {}}, []]}'],
)
def test_damaged_states_are_told(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert not found.series
    assert found.source.detail is not None


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet='{}[]":,0123456789.eE-+nulNaInfity log_history loss step', max_size=200))
def test_any_text_is_read_or_told(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    found = read(tmp_path_factory.mktemp("any"), '{"log_history": ' + text + "}")
    assert found.series or found.source.detail is not None or found.source.status == Status.READ


def test_a_trainer_state_under_another_name(tmp_path: Path) -> None:
    state = {
        "best_metric": None,
        "epoch": 1.0,
        "global_step": 2,
        "is_local_process_zero": True,
        "log_history": [{"loss": 2.5, "step": 1, "epoch": 0.5}],
    }
    found = read(tmp_path, json.dumps(state, indent=2), "training_logs.json")
    assert [s.name for s in found.series] == ["train/loss"]
    rest = json.dumps({"log_history": 5, "name": "x"})
    assert not claims(Candidate(tmp_path, "config.json", len(rest), rest.encode(), frozenset()))


def test_a_plan_without_a_number_of_epochs(tmp_path: Path) -> None:
    endless = {**STATE, "num_train_epochs": 9223372036854775807}
    found = read(tmp_path, json.dumps(endless))
    assert "planned_epochs" not in found.facts
    assert {s.name for s in found.settings} >= {"max_steps", "batch_size"}
    assert not [s for s in found.settings if s.name == "epochs"]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_very_long_history_is_read_by_blocks(indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the outcome of the document."""
    history = [{"loss": 2.0 / (i + 1), "learning_rate": 1e-4, "epoch": i / 100, "step": i + 1} for i in range(3_000)]
    history[7]["grad_norm"] = float("nan")
    state = {"best_metric": None, "global_step": 3_000, "log_history": history, "max_steps": 3_000, "num_train_epochs": 30, "trial_params": None}
    data = json.dumps(state, indent=indent).encode()
    (tmp_path / "trainer_state.json").write_bytes(data)
    candidate = Candidate(tmp_path, "trainer_state.json", len(data), data[:4096])
    whole = trainer_state.READER.read(candidate)
    monkeypatch.setattr(trainer_state, "_LARGEST", 1_000)
    monkeypatch.setattr(long_history, "BLOCK", 5_000)
    found = trainer_state.READER.read(candidate)
    assert (found.source, found.settings, dict(found.facts)) == (whole.source, whole.settings, dict(whole.facts))
    assert [s.name for s in found.series] == [s.name for s in whole.series]
    for one, other in zip(found.series, whole.series, strict=True):
        assert np.array_equal(one.steps, other.steps)
        assert np.array_equal(one.values, other.values, equal_nan=True)
    monkeypatch.setattr(stretches, "WHOLE", 100_000)
    monkeypatch.setattr(stretches, "END", 40_000)
    monkeypatch.setattr(stretches, "STRETCH", 500)
    part = trainer_state.READER.read(candidate)
    loss = next(s for s in part.series if s.name == "train/loss")
    assert "too large" in str(part.source.detail)
    assert (loss.steps[0], loss.steps[-1]) == (1, 3_000)
    assert np.allclose(loss.values, 2.0 / loss.steps)
    assert len(loss) < 3_000
