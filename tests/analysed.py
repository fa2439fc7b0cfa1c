"""The fixtures, each read, measured and judged once in a process, for all tests that only look at what came of it."""

from functools import cache
from pathlib import Path

import postmortem
from postmortem.model.diagnosis import Diagnosis
from postmortem.model.evidence import Evidence

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = tuple(sorted(p.parent for p in FIXTURES.glob("*/*/run") if (p.parent / "expected.toml").exists()))


@cache
def _chain(case: Path) -> tuple[Evidence, Diagnosis]:
    kept: list[Evidence] = []
    diagnosis = postmortem.analyze(case / "run", with_exhibits=False, measured=kept.append)
    return kept[-1], diagnosis


def measured(case: Path) -> Evidence:
    """What was measured of the fixture's last attempt."""
    return _chain(case)[0]


def judged(case: Path) -> Diagnosis:
    """The document of the fixture, without exhibits."""
    return _chain(case)[1]
