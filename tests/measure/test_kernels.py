"""The compiled loops: where they may be cached, when they are loaded, what memory they leave alone."""

import math
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from postmortem.measure import checkpoints, kernels, trajectory
from postmortem.measure.checkpoints import kernels_for, measure_checkpoints, work_of
from postmortem.measure.reading import even
from postmortem.measure.tally import KEYS, Kernels, Plain
from tests.measure.raw import checkpoint, run_of

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 2047, 2048, 2049, 4096, 10_001])
@pytest.mark.parametrize("offset", [0, 1])
def test_both_loops_count_the_same(count: int, offset: int) -> None:
    values = RNG.integers(0, 1 << 32, count + offset, dtype=np.uint32).view(np.float32)[offset:]
    values[count // 2 : count // 2 + 40 : 2] = np.resize(
        np.array([0.0, -0.0, np.inf, -np.inf, 1e-45], np.float32), len(values[count // 2 : count // 2 + 40 : 2])
    )
    one, two = np.zeros(KEYS, np.int64), np.zeros(KEYS, np.int64)
    with np.errstate(all="ignore"):
        a, b = kernels.count_float32(values, one, 0.5, 1e-3), Plain.count_float32(values, two, 0.5, 1e-3)
    assert np.array_equal(one, two)
    assert a[2:] == b[2:]
    assert a[:2] == pytest.approx(b[:2], rel=1e-12, abs=1e-12 * abs(b[1]) ** 0.5)
    keys = values.view(np.uint16)
    kernels.count_keys(keys, one)
    Plain.count_keys(keys, two)
    assert np.array_equal(one, two)


@pytest.mark.parametrize("loops", [kernels, Plain], ids=["compiled", "numpy"])
def test_extremes_and_sums_of_ordinary_slices(loops: Kernels) -> None:
    """Every lane of every slice counts: each position in turn holds the least and the largest value."""
    for at in [*range(20), 2047, 2048, 4095, 4096, 5000]:
        for sign in (1, -1):
            values = np.linspace(1, 2, 5001, dtype=np.float32) * np.float32(sign)
            values[at], values[at - 1] = 7, -9
            found = loops.count_float32(values, np.zeros(KEYS, np.int64), 0.0, 0.0)
            exact = values.astype(np.float64)
            assert found[2:] == (-9, 7, 0, 0, 0)
            assert found[:2] == pytest.approx((math.fsum(exact), math.fsum(exact * exact)), rel=1e-14)


@pytest.mark.parametrize("loops", [kernels, Plain], ids=["compiled", "numpy"])
@pytest.mark.parametrize("special", [False, True])
def test_sums_do_not_depend_on_where_blocks_end(loops: Kernels, special: bool) -> None:
    values = (RNG.standard_normal(20_000) * 10.0 ** RNG.integers(-8, 8, 20_000)).astype(np.float32)
    if special:
        values[RNG.integers(0, 20_000, 30)] = np.resize(np.array([np.nan, np.inf, -np.inf, 0], np.float32), 30)
    found = set()
    for block in (2048, 6144, 1 << 20):
        sums = (0.0, 0.0)
        for start in range(0, len(values), block):
            part = values[start : start + block]
            sums = loops.count_float32(part, np.zeros(KEYS, np.int64), *sums)[:2]
        found.add(sums)
    assert len(found) == 1


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
        "assert loops.count_float32(np.ones(10, np.float32), counts, 0.0, 0.0)[0] == 10 and counts[0x3f80] == 10"
    )
    environment = {**os.environ, "HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere), "NUMBA_CACHE_DIR": ""}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=package, env=environment, timeout=300)


def test_without_numba_numpy_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "postmortem.measure.kernels", None)
    monkeypatch.delattr("postmortem.measure.kernels")
    assert isinstance(kernels_for(1 << 60), Plain)


def test_small_work_never_pays_for_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "COMPILED_FROM", 1000)
    assert [isinstance(kernels_for(work), Plain) for work in (0, 999, 1000)] == [True, True, False]


def test_sixteen_bits_are_less_work_unless_they_are_compared(tmp_path: Path) -> None:
    half, full = (checkpoint(tmp_path, t.__name__, {"a.weight": np.zeros((10, 10), t)}, step=1) for t in (np.float16, np.float32))
    assert (work_of([half]), work_of([full]), work_of([half, half])) == (200 // 4, 400, 400)


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


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("part", [1 << 26, 1 << 17])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_figures_depend_neither_on_blocks_nor_on_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, part: int, compiled: bool
) -> None:
    """Bit for bit, whole or in parts: of ordinary values, of values close to one number (a second pass) and of values with specials among them."""
    monkeypatch.setattr(checkpoints, "COMPILED_FROM", 0 if compiled else 1 << 60)
    monkeypatch.setattr(trajectory, "PART", part)
    shape = (300, 1001)
    saved = []
    for i in range(3):
        tensors = {
            "plain.weight": RNG.standard_normal(shape),
            "near.weight": 1 + RNG.standard_normal(shape) * 1e-3,
            "special.weight": np.where(RNG.random(shape) < 1e-3, RNG.choice([np.nan, np.inf, 0.0], shape), RNG.standard_normal(shape)),
            "tiny.weight": RNG.standard_normal(shape) * (1e-200 if dtype == "float64" else 1e-6),
        }
        saved.append(checkpoint(tmp_path, f"{i}", {n: v.astype(dtype) for n, v in tensors.items()}, step=i))
    run = run_of(tmp_path, *saved)
    found = set()
    for block, threaded in ((1 << 15, 1 << 60), (1 << 16, 1 << 60), (1 << 19, 1 << 60), (1 << 19, 0), (1 << 15, 0)):
        monkeypatch.setattr(checkpoints, "BLOCK", block)
        monkeypatch.setattr(checkpoints, "THREADED_FROM", threaded)
        monkeypatch.setattr(os, "cpu_count", lambda: 2)
        found.add(repr(measure_checkpoints(run)))
    assert len(found) == 1


@pytest.mark.parametrize("threaded", [0, 1 << 60])
@pytest.mark.parametrize("outputs_last", [False, True])
def test_a_tensor_in_parts_is_the_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threaded: int, outputs_last: bool) -> None:
    """Rows that equal one another or are dead too, wherever the parts are cut; a tensor of pieces and one that was cut off are left whole."""
    values = RNG.standard_normal((300, 1001)).astype(np.float32)
    values[10:20], values[250] = values[100:110], 0
    values[7, 7] = np.nan
    layout = {"w.weight": values, **({"w.bias": np.zeros(1001, np.float32)} if outputs_last else {})}
    run = run_of(tmp_path, *(checkpoint(tmp_path, f"{i}", {n: v * (1 + i) for n, v in layout.items()}, step=i) for i in range(3)))
    monkeypatch.setattr(checkpoints, "THREADED_FROM", threaded)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    whole, summary, _ = measure_checkpoints(run)
    monkeypatch.setattr(trajectory, "PART", 1 << 16)
    parts, again, _ = measure_checkpoints(run)
    for one, other in zip(whole, parts, strict=True):
        for a, b in zip(one.tensors, other.tensors, strict=True):
            assert (a.count, a.nan, a.zero, a.low, a.high, a.histogram, a.quantiles) == (
                b.count,
                b.nan,
                b.zero,
                b.low,
                b.high,
                b.histogram,
                b.quantiles,
            )
            assert (a.dead_rows, a.identical_rows) == (b.dead_rows, b.identical_rows)
            assert a.std == pytest.approx(b.std, rel=1e-12, nan_ok=True)
        for u, v in zip(one.updates, other.updates, strict=True):
            assert u.relative_change == pytest.approx(v.relative_change, rel=1e-12, nan_ok=True)
            assert (u.identical, u.still_rows) == (v.identical, v.still_rows)
    assert again.identical == summary.identical
    (tmp_path / "1").write_bytes((tmp_path / "1").read_bytes()[:-5000])
    assert measure_checkpoints(run)[0][1].unread


@pytest.mark.parametrize("size", [1, 7, 100])
def test_pieces_are_cut_anew(size: int) -> None:
    pieces = [np.arange(n, dtype=np.float32) + 10 * n for n in (3, 0, 7, 1, 100, 5, 300)]
    cut = [np.array(a) for a in even(iter(pieces), size)]
    assert all(len(a) == size for a in cut[:-1])
    assert 0 < len(cut[-1]) <= size
    assert np.array_equal(np.concatenate(cut), np.concatenate(pieces))
