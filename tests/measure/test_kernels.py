"""The compiled loops: where they may be cached, when they are loaded, what memory they leave alone."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from postmortem.measure import checkpoints, kernels
from postmortem.measure.checkpoints import kernels_for, measure_checkpoints
from postmortem.measure.tally import KEYS, Plain
from tests.measure.raw import checkpoint, run_of

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 2047, 2048, 2049, 10_001])
def test_both_loops_count_the_same(count: int) -> None:
    values = RNG.integers(0, 1 << 32, count, dtype=np.uint32).view(np.float32)
    one, two = np.zeros(KEYS, np.int64), np.zeros(KEYS, np.int64)
    with np.errstate(all="ignore"):
        a, b = kernels.count_float32(values, one), Plain.count_float32(values, two)
    assert np.array_equal(one, two)
    assert a[2:] == b[2:]
    assert a[:2] == pytest.approx(b[:2], rel=1e-12, abs=1e-12 * abs(b[1]) ** 0.5)
    keys = values.view(np.uint16)
    kernels.count_keys(keys, one)
    Plain.count_keys(keys, two)
    assert np.array_equal(one, two)


@pytest.mark.parametrize("count", [0, 1, 5, 3000])
def test_both_loops_see_the_same_movement(count: int) -> None:
    a, b, z = (RNG.standard_normal(count).astype(np.float32) * 1e-20 for _ in range(3))
    assert kernels.movement(a, b, z) == pytest.approx(Plain.movement(a, b, z), rel=1e-12)
    assert kernels.movement(a, b, None)[:3] == pytest.approx(Plain.movement(a, b, None)[:3], rel=1e-12)


def test_table_and_decoding() -> None:
    keys = RNG.integers(0, KEYS, 1001).astype(np.uint16)
    table = np.arange(KEYS, dtype=np.float32)
    assert np.array_equal(kernels.decode(keys, table), Plain.decode(keys, table))


def test_small_runs_load_neither_numba_nor_torch_nor_scipy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from postmortem.measure.checkpoints import measure_checkpoints\n"
        "from postmortem.model.run import Checkpoint, Run, Status, TensorRef\n"
        "refs = (TensorRef('a.weight', 'a', 0, 'float32', (8, 8), (8, 1), 256),)\n"
        "run = Run('r', Path(sys.argv[1]), checkpoints=(Checkpoint('a', 'raw', Status.READ, step=1, tensors=refs),))\n"
        "assert measure_checkpoints(run)[0][0].tensors[0].count == 64\n"
        "loaded = {'numba', 'torch', 'scipy', 'matplotlib'} & set(sys.modules); assert not loaded, loaded"
    )
    (tmp_path / "a").write_bytes(bytes(256))
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)


def test_nowhere_to_write_a_cache(tmp_path: Path) -> None:
    """A read-only installation and no home: the loops are compiled afresh."""
    nowhere = tmp_path / "file"
    nowhere.write_text("no directory")
    package = tmp_path / "copy"
    package.mkdir()
    source = Path(kernels.__file__).read_text()
    (package / "loops.py").write_text(source)
    code = (
        "import numba.core.caching as caching\n"
        "for locator in list(caching.CacheImpl._locator_classes): locator.from_function = classmethod(lambda cls, *a, **k: None)\n"
        "import loops, numpy as np; counts = np.zeros(65536, np.int64)\n"
        "assert loops.count_float32(np.ones(10, np.float32), counts)[0] == 10 and counts[0x3f80] == 10"
    )
    environment = {**os.environ, "HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere), "NUMBA_CACHE_DIR": ""}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=package, env=environment, timeout=300)


def test_without_numba_numpy_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "postmortem.measure.kernels", None)
    monkeypatch.delattr("postmortem.measure.kernels")
    assert isinstance(kernels_for(1 << 60), Plain)


def test_memory_does_not_grow_with_the_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "COMPILED_FROM", 0)
    size = 8_000_000  # 32 MB each
    run = run_of(tmp_path, *(checkpoint(tmp_path, f"{i}", {"a.weight": RNG.random((size // 1000, 1000), np.float32)}, step=i) for i in range(2)))
    measure_checkpoints(run)
    tracemalloc.start()
    measure_checkpoints(run)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
