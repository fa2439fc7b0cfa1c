"""What every process of the tests starts with: one thread, bytecode that is kept, and a garbage collector that leaves alone what stays."""

import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.warm import Warm, warm

# before anything loads a library that starts more: the trainings of the tests are small, and their processes share the cores
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# the same examples each time, so that a change is judged by what it changed; `pytest --hypothesis-profile=explore` looks for others
# (without deadlines: how long one example takes is told by what else the machine does)
settings.register_profile("explore", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")

# a command is started again and again: it is compiled once
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Seven thousand tests and the libraries that they import stay until the end: looking through them for garbage is a fifth of collecting them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)  # looking for garbage after every 700 new objects is a tenth of running them
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _what_workers_share(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests import analysed

    if "PYTEST_XDIST_WORKER" in os.environ:
        analysed.SHARED.append(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="session")
def a_warm_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with warm(tmp_path_factory.mktemp("warm")) as one:
        yield one
