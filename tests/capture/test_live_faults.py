"""The same trainings with the recorder and without: what it adds decides, and where it adds nothing decisive the verdict stays."""

import sys
from pathlib import Path

import pytest

import postmortem
from postmortem.model.diagnosis import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from live import train

# fault → mode without the recorder, (mode, cause) with it; None where the log has no right to a cause
DECIDED = {
    "constant": ("loss-not-decreasing", ("data-fault", None)),
    "nan": ("non-finite", ("data-fault", "bad-batch")),
    "shifted-validation": ("validation-fault", ("validation-fault", "train-validation-shift")),
}


def verdict(folder: Path, fault: str, *, record: bool) -> Verdict:
    train(folder, fault, record=record)
    return postmortem.analyze(folder, with_exhibits=False).verdict


@pytest.mark.parametrize("fault", DECIDED)
def test_the_recorder_decides(fault: str, tmp_path: Path) -> None:
    without, (mode, cause) = DECIDED[fault]
    assert verdict(tmp_path / "off", fault, record=False).mode == without
    found = verdict(tmp_path / "on", fault, record=True)
    assert found.mode == mode
    assert cause is None or found.cause == cause


@pytest.mark.parametrize("fault", ["none", "dead", "wrong-optimizer"])
def test_the_recorder_accuses_nobody(fault: str, tmp_path: Path) -> None:
    off, on = verdict(tmp_path / "off", fault, record=False), verdict(tmp_path / "on", fault, record=True)
    assert (on.mode, on.severity) == (off.mode, off.severity)
