"""The compiled loops. Imported only when there are bytes enough to be worth numba's start-up (see `checkpoints`).

Reductions run over slices of 2,048 elements by index: that form is vectorised, and a slice stays in the first-level cache
for the loop after it. Reassociation is allowed (it is what vectorising a sum means), assumptions about NaN are not.
The order is fixed by the input alone, so the same bytes give the same figures on the same machine.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

SLICE = 2048
_SUM = frozenset({"reassoc", "contract"})
_KEY = np.uint64(0xFFFF)
_ONE = np.int64(1)


def _compiled(*signatures: str, fast: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit` without the GIL, cached on disk where some directory can be written and compiled afresh where none can."""

    def compile_it(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"nogil": True, "fastmath": set(_SUM) if fast else False}
        with contextlib.suppress(RuntimeError, OSError):  # "no locator available": nowhere to write a cache
            return numba.njit(list(signatures), cache=True, **options)(function)  # type: ignore[no-any-return]
        return numba.njit(list(signatures), **options)(function)  # type: ignore[no-any-return]

    return compile_it


@_compiled("void(uint64[::1], int64[::1])")
def _count_pairs(words: Any, counts: Any) -> None:
    for i in range(words.size):
        word = words[i]
        counts[(word >> np.uint64(16)) & _KEY] += _ONE
        counts[word >> np.uint64(48)] += _ONE


@_compiled("void(uint64[::1], int64[::1])")
def _count_fours(words: Any, counts: Any) -> None:
    for i in range(words.size):
        word = words[i]
        counts[word & _KEY] += _ONE
        counts[(word >> np.uint64(16)) & _KEY] += _ONE
        counts[(word >> np.uint64(32)) & _KEY] += _ONE
        counts[word >> np.uint64(48)] += _ONE


@_compiled("UniTuple(float64, 2)(float32[::1])", fast=True)
def _sums(values: Any) -> Any:
    total = 0.0
    squares = 0.0
    for i in range(values.size):
        value = np.float64(values[i])
        total += value
        squares += value * value
    return total, squares


@_compiled("UniTuple(int64, 3)(int32[::1], uint32[::1])")
def _extremes(signed: Any, unsigned: Any) -> Any:
    """Largest bits as a signed number, largest and smallest as an unsigned one: positive floats sort like integers, negative ones backwards."""
    most = np.int32(-2147483648)
    high = np.uint32(0)
    low = np.uint32(0xFFFFFFFF)
    for i in range(signed.size):
        most = max(most, signed[i])
        high = max(high, unsigned[i])
        low = min(low, unsigned[i])
    return np.int64(most), np.int64(high), np.int64(low)


@_compiled("UniTuple(float64, 2)(float32[::1])")
def _finite_sums(values: Any) -> Any:
    total = 0.0
    squares = 0.0
    for i in range(values.size):
        value = np.float64(values[i])
        if np.isfinite(value):
            total += value
            squares += value * value
    return total, squares


@_compiled("UniTuple(int64, 3)(uint32[::1])")
def _finite_extremes(unsigned: Any) -> Any:
    most = np.int64(-2147483648)
    high = np.int64(0)
    low = np.int64(0xFFFFFFFF)
    for i in range(unsigned.size):
        bits = np.int64(unsigned[i])
        if (bits & 0x7FFFFFFF) < 0x7F800000:
            most = max(most, bits if bits < 0x80000000 else bits - 0x100000000)
            high = max(high, bits)
            low = min(low, bits)
    return most, high, low


@_compiled("void(float32[::1], int32[::1], uint32[::1], uint64[::1], int64[::1], float64[::1], int64[::1])")
def _block(values: Any, signed: Any, unsigned: Any, words: Any, counts: Any, sums: Any, extremes: Any) -> None:  # one array per view
    for start in range(0, values.size, SLICE):
        stop = min(values.size, start + SLICE)
        _count_pairs(words[start // 2 : stop // 2], counts)
        total, squares = _sums(values[start:stop])
        if np.isfinite(squares):
            most, high, low = _extremes(signed[start:stop], unsigned[start:stop])
        else:
            total, squares = _finite_sums(values[start:stop])
            most, high, low = _finite_extremes(unsigned[start:stop])
        sums[0] += total
        sums[1] += squares
        extremes[0] = max(extremes[0], most)
        extremes[1] = max(extremes[1], high)
        extremes[2] = min(extremes[2], low)
    if values.size % 2:
        counts[unsigned[values.size - 1] >> np.uint32(16)] += _ONE


@_compiled("void(float32[::1], float32[::1], float32[::1], float64[::1])", fast=True)
def _movement(before: Any, after: Any, earlier: Any, sums: Any) -> None:
    old = new = moved = moved_before = together = 0.0
    for i in range(before.size):
        a = np.float64(before[i])
        b = np.float64(after[i])
        change = b - a
        change_before = a - np.float64(earlier[i])
        old += a * a
        new += b * b
        moved += change * change
        moved_before += change_before * change_before
        together += change * change_before
    sums[0] += old
    sums[1] += new
    sums[2] += moved
    sums[3] += moved_before
    sums[4] += together


@_compiled("void(uint16[::1], float32[::1], float32[::1])")
def _decode(keys: Any, table: Any, out: Any) -> None:
    for i in range(keys.size):
        out[i] = table[keys[i]]


def count_float32(values: npt.NDArray[np.float32], counts: npt.NDArray[np.int64]) -> tuple[float, float, float, float]:
    """Count a block; its finite values' sum, sum of squares, least and largest (inf and −inf when there are none)."""
    unsigned = values.view(np.uint32)
    sums = np.zeros(2)
    extremes = np.array([-(1 << 31), 0, 0xFFFFFFFF], np.int64)
    _block(values, values.view(np.int32), unsigned, unsigned[: len(unsigned) // 2 * 2].view(np.uint64), counts, sums, extremes)
    most, high, low = (int(e) for e in extremes)
    if low > high:
        return 0.0, 0.0, np.inf, -np.inf
    return float(sums[0]), float(sums[1]), _float(high if high >= 1 << 31 else low), _float(most if most >= 0 else low)


def _float(bits: int) -> float:
    return float(np.array(bits, np.uint32).view(np.float32))


def count_keys(keys: npt.NDArray[np.uint16], counts: npt.NDArray[np.int64]) -> None:
    """Count a block of 16-bit numbers."""
    even = len(keys) // 4 * 4
    _count_fours(keys[:even].view(np.uint64), counts)
    for key in keys[even:].tolist():
        counts[key] += 1


def movement(
    before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], earlier: npt.NDArray[np.float32] | None
) -> tuple[float, float, float, float, float]:
    """Σa², Σb², Σ(b−a)², Σ(a−z)², Σ(b−a)(a−z) in float64."""
    sums = np.zeros(5)
    _movement(before, after, before if earlier is None else earlier, sums)
    return float(sums[0]), float(sums[1]), float(sums[2]), float(sums[3]), float(sums[4])


def decode(keys: npt.NDArray[np.uint16], table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """16-bit numbers as float32 through the table of all 65,536 of them."""
    out = np.empty(len(keys), np.float32)
    _decode(keys, table, out)
    return out
