"""The same trainings with the recorder and without: what it adds names the planted fault, and accuses no healthy training."""

import sys
from pathlib import Path

import pytest

import postmortem
from postmortem.model.diagnosis import Diagnosis

sys.path.insert(0, str(Path(__file__).parent))
import live_more
from live import FAULTS, right, told, train

HEALTHY = [fault for fault, (modes, _) in FAULTS.items() if modes == ("healthy",)]


def judged(folder: Path, fault: str, *, record: bool) -> Diagnosis:
    train(folder, fault, record=record)
    return postmortem.analyze(folder, with_exhibits=False)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in HEALTHY])
def test_the_recorder_names_the_planted_fault(fault: str, tmp_path: Path) -> None:
    found = judged(tmp_path / "run", fault, record=True)
    assert right(fault, found), told(found)


@pytest.mark.parametrize("fault", ["shuffled-labels", "detached", "wrong-optimizer", "dead"])
def test_the_log_alone_does_not(fault: str, tmp_path: Path) -> None:
    """What these trainings log shows no more than that they failed: the recorder is what decides."""
    assert not right(fault, judged(tmp_path / "run", fault, record=False))


@pytest.mark.parametrize("fault", HEALTHY)
def test_the_recorder_accuses_nobody(fault: str, tmp_path: Path) -> None:
    found = judged(tmp_path / "run", fault, record=True)
    assert found.verdict.severity is None
    assert not [f.mode for f in found.findings if f.status in ("present", "crashed")]


def test_packages_that_are_installed_say_nothing_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an installed peft no layer is meant to stand still."""
    monkeypatch.setattr(
        "postmortem.capture.surroundings.versions", lambda: {"python": "3.12.3", "peft": "0.21.0", "timm": "1.0.29", "torch": "2.11.0"}
    )
    found = judged(tmp_path / "run", "detached", record=True)
    assert right("detached", found), told(found)
    assert not [a for a in found.run.assumed if "peft" in str(a)]


@pytest.mark.slow("seventeen trainings more; those above are in the ordinary run")
@pytest.mark.parametrize("fault", live_more.FAULTS)
def test_other_models_and_faults(fault: str, tmp_path: Path) -> None:
    live_more.train(tmp_path / "run", fault, record=True)
    found = postmortem.analyze(tmp_path / "run", with_exhibits=False)
    assert live_more.right(fault, found), told(found)
    assert not [f.mode for f in found.findings if f.status == "crashed"]
