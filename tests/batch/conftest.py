from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from postmortem.batch import supervise


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    """One thread with one child for all: starting a child takes longer than analysing a small run."""
    with ThreadPoolExecutor(1) as executor:
        yield executor
        supervise.stop_children()
