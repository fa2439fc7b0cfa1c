"""Output units of a weight, rows of an embedding: rows that are all zero, rows that equal one another, rows that never moved.

A small tensor is compared whole (`row_facts`). Of a large one a few columns of every row are kept as its blocks pass (`RowSample`);
what they cannot rule out is looked at again in more columns, in a second pass that ordinary tensors never need.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from postmortem.measure.numbers import Real
from postmortem.measure.reading import Raw

ALIKE = 1e-4  # relative to the largest magnitude: symmetry that training keeps is equal to rounding, chance is not

PROBED = 16  # columns that are compared first
CONFIRMED = 256  # columns that are compared where those agree
_ROOM = 1 << 22  # elements of a sample at most; beyond, fewer columns are kept
_AT_ONCE = 1 << 20  # elements that are compared at once


@dataclass(frozen=True, slots=True)
class RowFacts:
    dead: float  # share of rows that are exactly 0
    identical: float  # share of rows that equal another row within `ALIKE`
    all_alike: bool  # all rows, or all columns, are the same and not 0: symmetry was never broken


def row_facts(values: Real, shape: tuple[int, ...], *, outputs_last: bool) -> RowFacts | None:
    """Facts of a matrix or kernel given in C order; None below two dimensions or when it is empty. NaN equals nothing."""
    if len(shape) < 2 or not len(values):
        return None
    matrix = values.reshape(-1, shape[-1]) if outputs_last else values.reshape(shape[0], -1).T
    return _facts(matrix, float(np.max(np.abs(matrix))))


def _facts(matrix: Real, peak: float) -> RowFacts:
    """Of a matrix (columns, rows), so that figures of rows are sums of long vectors."""
    alive = matrix.any(axis=0)
    dead = float((~alive).mean())
    if not np.isfinite(peak) or peak == 0:
        return RowFacts(dead, 0.0, all_alike=False)
    tolerance = ALIKE * peak
    columns, rows = matrix.shape
    all_alike = (rows > 1 and _within(matrix, matrix[:, :1], tolerance)) or (columns > 1 and _within(matrix, matrix[:1], tolerance))
    return RowFacts(dead, _identical(matrix if alive.all() else matrix[:, alive], tolerance) / rows, all_alike)


class RowSample:
    """Some columns of every row of a tensor in C order: a run at the start of each row and one in its middle (a cache line each)."""

    def __init__(self, units: int, inner: int, kind: np.dtype[np.generic], *, outputs_last: bool, columns: int = PROBED) -> None:
        columns = max(1, min(inner, columns, _ROOM // max(units, 1)))
        self._runs = 2 if columns < inner and columns > 1 else 1
        self._width = columns // self._runs
        self._units, self._inner, self._last = units, inner, outputs_last
        self._columns = (np.arange(self._runs)[:, None] * (inner // 2) + np.arange(self._width)).reshape(-1)
        self._kept = np.zeros((units, self._runs, self._width), kind)
        self._at = 0

    @classmethod
    def of(cls, shape: tuple[int, ...], kind: np.dtype[np.generic], *, outputs_last: bool, columns: int = PROBED) -> Self | None:
        """For a tensor of this shape; None where it has no rows."""
        if len(shape) < 2 or 0 in shape:
            return None
        units = shape[-1] if outputs_last else shape[0]
        return cls(units, int(np.prod(shape)) // units, kind, outputs_last=outputs_last, columns=columns)

    @property
    def kept(self) -> Raw:
        """Raw elements, (columns, rows)."""
        return np.ascontiguousarray(self._kept.reshape(self._units, -1).T)

    @property
    def whole(self) -> bool:
        """Every column was kept."""
        return len(self._columns) == self._inner

    def add(self, raw: Raw) -> None:
        """Take in the next block."""
        start, stop = self._at, self._at + len(raw)
        self._at = stop
        if self._last:
            for j, c in enumerate(self._columns.tolist()):
                low, high = max(start, c * self._units), min(stop, (c + 1) * self._units)
                if low < high:
                    self._kept[low - c * self._units : high - c * self._units, j // self._width, j % self._width] = raw[low - start : high - start]
            return
        first, after = -(-start // self._inner), stop // self._inner  # rows that lie in the block from end to end
        if first < after:
            size = raw.itemsize
            strides = (self._inner * size, self._inner // 2 * size, size)
            self._kept[first:after] = np.ndarray(
                (after - first, self._runs, self._width), raw.dtype, raw, (first * self._inner - start) * size, strides
            )
        for row in {start // self._inner, after}:  # cut by an end of the block
            at = row * self._inner + self._columns - start
            here = np.flatnonzero((at >= 0) & (at < len(raw))) if not first <= row < after else ()
            if len(here):
                self._kept[row].reshape(-1)[here] = raw[at[here]]

    def facts(self, decode: Callable[[Raw], Real], peak: float, again: Callable[[int], "RowSample"]) -> RowFacts:
        """Facts of the tensor, whose largest magnitude is `peak` (nan where it holds NaN or Inf, which equal nothing).

        decode : raw elements (1-D) as numbers. again(columns) : a sample of more columns, of the same tensor. `dead` is the share of rows
        that are zero in the columns that were kept, an upper bound.
        """
        found = _facts(self.numbers(decode), peak)
        if self.whole or (not found.identical and not found.all_alike):
            return found
        return _facts(again(CONFIRMED).numbers(decode), peak)

    def numbers(self, decode: Callable[[Raw], Real]) -> Real:
        """What was kept as numbers, (columns, rows)."""
        kept = self.kept
        return decode(kept.reshape(-1)).reshape(kept.shape)


def still_rows(before: Raw, after: Raw) -> float | None:
    """Share of rows (of two matrices of raw elements, (columns, rows)) that are the same bit for bit; None when they cannot be compared."""
    if before.shape != after.shape or before.dtype != after.dtype or not before.size:
        return None
    return float((_bits(before) == _bits(after)).all(axis=0).mean())


def _bits(matrix: Raw) -> npt.NDArray[np.unsignedinteger]:
    whole = np.ascontiguousarray(matrix)
    width = whole.dtype.itemsize
    bits: npt.NDArray[np.unsignedinteger] = whole.view(f"u{width}" if width <= 8 else "u8")
    return bits


def dead_rows(blocks: Iterable[Real], units: int, inner: int, *, outputs_last: bool) -> float:
    """Share of output units without a single nonzero weight, over the blocks of a tensor in C order."""
    alive = np.zeros(units, bool)
    start = 0
    for block in blocks:
        at = np.flatnonzero(block) + start
        alive[at % units if outputs_last else at // inner] = True
        start += len(block)
    return float((~alive).mean())


def _within(matrix: Real, one: Real, tolerance: float) -> bool:
    corner = np.s_[:2, :2]
    return bool(np.max(np.abs(matrix[corner] - one[corner])) <= tolerance) and bool(np.max(np.abs(matrix - one)) <= tolerance)


def _identical(matrix: Real, tolerance: float) -> int:
    """How many rows of a matrix (columns, rows) equal another one. Sorted by their sum equal rows are neighbours; a column rules most pairs out."""
    columns, rows = matrix.shape
    if rows < 2:
        return 0
    order = np.argsort(matrix.sum(axis=0), kind="stable")
    pairs = np.arange(rows - 1)
    for column in range(0, columns, max(1, columns // PROBED)):
        values = matrix[column]
        pairs = pairs[np.abs(values[order[pairs + 1]] - values[order[pairs]]) <= tolerance]
        if not len(pairs):
            return 0
    twin = np.zeros(rows, bool)
    for some in np.array_split(pairs, -(-len(pairs) * columns // _AT_ONCE)):
        same = some[np.abs(matrix[:, order[some + 1]] - matrix[:, order[some]]).max(axis=0) <= tolerance]
        twin[same] = twin[same + 1] = True
    return int(np.count_nonzero(twin))
