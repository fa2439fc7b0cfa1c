"""The small form of `python -m tests.batch.endurance`."""

import os
from pathlib import Path

import pytest

from tests.batch import places
from tests.batch.endurance import PLANTED, endure

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here"),
    pytest.mark.slow("two batches of a dozen runs, one started again after each kill; `test_resuming.py` kills a batch in the ordinary run"),
]


def test_killed_again_and_again_a_batch_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    sources = [places.FIXTURES / kind / "run" for kind in places.KINDS.values()]
    faults = [fault for fault in PLANTED if fault != "hang"]  # which takes its time, and has a test of its own
    told = endure(tmp_path, 2 * len(faults), 3, sources, faults=faults)
    assert told.redone == ()
    assert told.different == ()
    assert told.left == ()
    assert told.kills >= 1
    assert told.statuses["crashed"] >= 2
    assert told.statuses["analysed"] >= 6
