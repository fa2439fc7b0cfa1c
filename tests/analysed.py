"""The fixtures, each read, measured and judged once, for all tests that only look at what came of it."""

import copyreg
import os
import pickle
from functools import cache
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import postmortem
from postmortem.model.diagnosis import Diagnosis
from postmortem.model.evidence import Evidence

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = tuple(sorted(p.parent for p in FIXTURES.glob("*/*/run") if (p.parent / "expected.toml").exists()))
SHARED: list[Path] = []  # where the workers of one run of the tests leave what they analysed for each other, if there are several


def measured(case: Path) -> Evidence:
    """What was measured of the fixture's last attempt."""
    return _chain(case)[0]


def judged(case: Path) -> Diagnosis:
    """The document of the fixture."""
    return _chain(case)[1]


@cache
def _chain(case: Path) -> tuple[Evidence, Diagnosis]:
    if not SHARED:
        return _analysed(case)
    file = SHARED[0] / f"{case.parent.name}--{case.name}.pickle"
    if file.exists():
        found: tuple[Evidence, Diagnosis] = pickle.loads(file.read_bytes())
        return found
    chain = _analysed(case)
    out = BytesIO()
    _Pickler(out, pickle.HIGHEST_PROTOCOL).dump(chain)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_bytes(out.getvalue())
    part.replace(file)  # whole, or not there
    return chain


def _analysed(case: Path) -> tuple[Evidence, Diagnosis]:
    kept: list[Evidence] = []
    diagnosis = postmortem.analyze(case / "run", measured=kept.append)
    return kept[-1], diagnosis


class _Pickler(pickle.Pickler):
    """One that takes read-only mappings, too."""

    dispatch_table = copyreg.dispatch_table | {MappingProxyType: lambda mapping: (_read_only, (dict(mapping),))}


def _read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)
