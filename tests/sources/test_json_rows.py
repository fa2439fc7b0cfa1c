"""JSON documents that hold a history."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.model.run import Series, Status
from postmortem.sources.logs.json_rows import READER, claims
from postmortem.sources.reader import Candidate, Found


def candidate(folder: Path, name: str, text: str) -> Candidate:
    (folder / name).write_text(text)
    return Candidate(folder, name, len(text), text.encode()[:4096])


def read(folder: Path, name: str, document: object, indent: int | None = None) -> Found:
    one = candidate(folder, name, document if isinstance(document, str) else json.dumps(document, indent=indent))
    assert claims(one)
    return READER.read(one)


def curves(found: Found) -> dict[str, Series]:
    return {s.name: s for s in found.series}


@pytest.mark.parametrize("indent", [None, 2])
def test_lists_by_metric_are_epochs(tmp_path: Path, indent: int | None) -> None:
    one = curves(read(tmp_path, "history.json", {"loss": [2.0, 1.0], "val_loss": ["2.5", "2.25"], "accuracy": [0.5, 0.75]}, indent))
    assert one["train/loss"].epochs is not None
    assert one["train/loss"].epochs.tolist() == [1, 2]
    assert one["val/loss"].values.tolist() == [2.5, 2.25]


def test_bare_nan_in_a_history(tmp_path: Path) -> None:
    one = curves(read(tmp_path, "history.json", '{"loss": [2.0, NaN], "val_loss": [NaN, NaN]}'))
    assert one["train/loss"].values.tolist()[0] == 2.0
    assert len(one["val/loss"]) == 2


def test_nested_histories(tmp_path: Path) -> None:
    one = curves(read(tmp_path, "log.json", {"train": {"loss": [2.0, 1.0]}, "val": {"loss": [2.5, 1.5]}}))
    assert one["val/loss"].values.tolist() == [2.5, 1.5]
    one = curves(read(tmp_path, "out.json", {"history": {"loss": [2.0, 1.0]}}))
    assert one["train/loss"].values.tolist() == [2.0, 1.0]


def test_an_array_of_records_with_values_at_some(tmp_path: Path) -> None:
    rows = [
        {"epoch": 0, "iteration": 100, "main/loss": 9.5, "elapsed_time": 50.5},
        {"epoch": 1, "iteration": 200, "main/loss": 8.5, "validation/main/loss": 8.75, "elapsed_time": 99.0},
    ]
    one = curves(read(tmp_path, "log", rows, 4))
    assert one["train/loss"].steps.tolist() == [100, 200]
    assert one["val/loss"].steps.tolist() == [200]
    assert one["train/loss"].times is not None
    assert one["train/loss"].times.tolist() == [50.5, 99.0]


def test_one_file_per_epoch(tmp_path: Path) -> None:
    document = {
        "best_epoch": 0,
        "epoch": 3,
        "training_loss": 0.5,
        "validation_loss": 0.75,
        "best_validation_loss": 0.7,
        "training_duration": "0:07:35",
    }
    one = curves(read(tmp_path, "metrics_epoch_3.json", document, 2))
    assert one["val/loss"].epochs is not None
    assert one["val/loss"].epochs.tolist() == [4]
    assert one["val/loss"].values.tolist() == [0.75]


def test_an_exported_scalar(tmp_path: Path) -> None:
    one = curves(read(tmp_path, "run-.-tag-train_loss.json", [[1650000000.5, 10, 2.5], [1650000001.5, 20, 1.5]]))
    assert one["train/loss"].steps.tolist() == [10, 20]


@pytest.mark.parametrize("document", [[{"text": "a", "label": 1}], [{"id": 3, "question": "?"}], {"boxes": [1, 2, 3]}, {"a": [1]}])
def test_data_sets_are_no_histories(tmp_path: Path, document: object) -> None:
    found = read(tmp_path, "data.json", document)
    assert found.source.status == Status.SKIPPED
    assert not found.series


def test_documents_of_others_are_not_claimed(tmp_path: Path) -> None:
    assert not claims(candidate(tmp_path, "config.json", '{"betas": [0.9, 0.999], "lr": 0.1}'))
    assert not claims(candidate(tmp_path, "args.json", '{"lr": 0.1}'))
    assert not claims(candidate(tmp_path, "package.json", '{"name": "x"}'))


@settings(max_examples=80, deadline=None)
@given(
    text=st.text(alphabet='{}[]":,0123456789.eE-+nulNaInfity losepch', max_size=200),
    start=st.sampled_from(["", '{"loss": [', '[{"loss": ', '{"train": {"loss": [1', "[["]),
)
def test_any_text_is_read_or_told(tmp_path_factory: pytest.TempPathFactory, text: str, start: str) -> None:
    one = candidate(tmp_path_factory.mktemp("any"), "history.json", start + text)
    claims(one)
    found = READER.read(one)
    assert found.series or found.source.detail is not None


def test_a_history_with_its_configuration_gives_both(tmp_path: Path) -> None:
    document = {"config": {"learning_rate": 3e-4, "epochs": 3, "betas": [0.9, 0.98]}, "epochs": [1, 2, 3], "train_losses": [3.0, 2.0, 1.0],
                "val_losses": [3.5, 2.5, 2.0], "train_wer": [0.9, 0.8, 0.7], "test_loss": 0.18}  # fmt: skip
    found = read(tmp_path, "training_history.json", document, indent=2)
    assert {"train/loss", "val/loss", "train/error"} <= curves(found).keys()
    assert curves(found)["train/loss"].epochs is not None
    assert {s.name: s.value for s in found.settings if s.name} == {"learning_rate": 3e-4, "epochs": 3, "beta1": 0.9, "beta2": 0.98}
    assert not any("betas" in s.logged_as for s in found.series)


@pytest.mark.parametrize("keys", [("G_loss", "D_loss"), ("reg_loss", "reg_val_loss"), ("d_adv_loss", "f_cyc_loss")])
def test_lists_of_one_length_among_which_is_a_loss_are_a_history(tmp_path: Path, keys: tuple[str, str]) -> None:
    found = read(tmp_path, "training_history.json", {keys[0]: [3.0, 2.0, 1.0], keys[1]: [0.5, 0.25, 0.125]})
    assert {s.logged_as: s.values.tolist() for s in found.series} == {keys[0]: [3.0, 2.0, 1.0], keys[1]: [0.5, 0.25, 0.125]}
    assert read(tmp_path, "training_history.json", {"speed": [3.0, 2.0], "memory": [1.0, 1.0]}).source.status == Status.SKIPPED


def test_a_document_of_too_many_values_is_not_made_into_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from postmortem.sources import documents

    monkeypatch.setattr(documents, "_LIGHT", 1_000)
    monkeypatch.setattr(documents, "MOST_WEIGHT", 100_000)
    text = {"honest": json.dumps({"loss": [1 / (n + 1) for n in range(2_000)]}), "hostile": "[" + ",".join("[]" for _ in range(2_000)) + "]"}
    for name, wanted in (("honest", "None"), ("hostile", "it holds too many values to be read as one document")):
        path = tmp_path / f"{name}.json"
        path.write_text(text[name])
        try:
            documents.load(path)
            why = "None"
        except documents.Unreadable as error:
            why = str(error.why)
        assert why == wanted


def test_records_listed_by_split(tmp_path: Path) -> None:
    document = {
        "train": [{"total_loss": float("nan"), "kl": 1.5}, {"total_loss": float("inf"), "kl": 1.0}],
        "val": [{"total_loss": 2.5}],
        "best": 1.0,
    }
    found = curves(read(tmp_path, "results.json", document))
    assert np.isnan(found["train/loss"].values[0])
    assert np.isinf(found["train/loss"].values[1])
    assert found["val/loss"].values.tolist() == [2.5]
    assert found["other/train/kl"].values.tolist() == [1.5, 1.0]
    assert not read(tmp_path, "training_history.json", {"train": [{"id": 3, "text": "a"}], "val": [{"id": 4}]}).series
