"""Output units of a weight, rows of an embedding: rows that are all zero, rows that equal one another, rows that never moved.

A small tensor is compared whole (`row_facts`). Of a large one a few columns of every row are kept as its blocks pass (`RowSample`).
Rows that look dead or equal there are candidates, of which some, spread evenly, are read whole: few where those all are what they look
like, more where they are not. The others are judged by them: where n were read and all held, 3/n of the candidates at most are not
what they look like (95 % confidence). So the work is bounded, however many rows are equal.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from postmortem.measure.numbers import Real
from postmortem.measure.reading import Raw, TensorFiles, storage
from postmortem.model.run import TensorRef

ALIKE = 1e-4  # relative to the largest magnitude: symmetry that training keeps is equal to rounding, chance is not

Ints = npt.NDArray[np.intp]

PROBED = 16  # columns that are compared first
FIRST = 2  # columns of each run that are looked at before
FEW, MANY = (256, 1 << 20), (8192, 1 << 22)  # rows, and elements of them, that are read whole: at first, and where those disagree
_GOLDEN = 0.6180339887498949  # multiples of it, without their whole part, lie evenly and never repeat
_ROOM = 1 << 22  # elements of a sample at most; beyond, fewer columns are kept
SIEVED_FROM = 1 << 13  # rows from which those that cannot have an equal are told from the others before they are sorted
DIRECTIONS = 1 << 12  # rows at most whose directions are compared
_AT_ONCE = 1 << 20  # elements that are compared at once
_NONE: Ints = np.empty((0, 2), np.intp)


@dataclass(frozen=True, slots=True)
class RowFacts:
    """Of the rows of one tensor. NaN and Inf equal nothing."""

    dead: float  # share of rows that are exactly 0
    identical: float  # share of rows that equal another row within `ALIKE` of the largest magnitude
    all_alike: bool  # all rows, or all columns, are the same and not 0: symmetry was never broken
    repeated: int = 0  # rows of the longest stretch that stands there once more, in the same order: a head that another one equals
    twin_heads: int = 0  # heads that equal another one, where the rows of a head are known
    cosine: float | None = field(default=None, compare=False)  # mean over pairs of rows that are not 0, in the columns that were kept


def row_facts(values: Real, shape: tuple[int, ...], *, outputs_last: bool, head: int | None = None) -> RowFacts | None:
    """Facts of a matrix or kernel given in C order; None below two dimensions or when it is empty. NaN equals nothing.

    head : rows of an attention head.
    """
    if len(shape) < 2 or not len(values):
        return None
    matrix = values.reshape(-1, shape[-1]) if outputs_last else values.reshape(shape[0], -1).T
    return _facts(matrix, float(np.max(np.abs(matrix))), head)


def _facts(matrix: Real, peak: float, head: int | None) -> RowFacts:
    """Of a matrix (columns, rows), so that figures of rows are sums of long vectors."""
    alive = _any(matrix)
    dead = float((~alive).mean())
    if not np.isfinite(peak) or peak == 0:
        return RowFacts(dead, 0.0, all_alike=False)
    tolerance = ALIKE * peak
    pairs = _pairs(matrix, np.flatnonzero(alive), peak)
    at_once = np.array_split(pairs, -(-len(pairs) * len(matrix) // _AT_ONCE)) if len(pairs) else []
    twins = [some[_equal(matrix[:, some[:, 0]], matrix[:, some[:, 1]], tolerance)] for some in at_once]
    same = np.concatenate(twins) if twins else _NONE
    heads = _twin_heads(same, len(alive), head)
    return RowFacts(dead, _share_of(same, len(alive)), _alike(matrix, tolerance), _stretch(same), heads, _mean_cosine(matrix[:, alive]))


def _mean_cosine(matrix: Real) -> float | None:
    """(‖Σ r̂‖² − n) / (n (n − 1)) of the n rows r̂ of unit length, the mean of r̂ᵢ · r̂ⱼ over all pairs; None for fewer than two. Of many rows
    some, spread evenly, stand for all. matrix : (columns, rows), finite, no row of zeros."""
    some = matrix[:, :: matrix.shape[1] // DIRECTIONS + 1].astype(np.float64)
    n = some.shape[1]
    if n < 2:
        return None
    some /= np.abs(some).max(axis=0)  # squares stay within float64, whatever the row's size
    some /= np.sqrt(np.square(some).sum(axis=0))
    return float((np.square(some.sum(axis=1)).sum() - n) / (n * (n - 1)))


class RowSample:
    """Some columns of every row of a tensor in C order: a run at the start of each row and one in its middle (a cache line each)."""

    def __init__(self, units: int, inner: int, kind: np.dtype[np.generic], *, outputs_last: bool, columns: int = PROBED) -> None:
        columns = max(1, min(inner, columns, _ROOM // max(units, 1)))
        self._runs = 2 if columns < inner and columns > 1 else 1
        self._width = columns // self._runs
        self._units, self._inner, self._last = units, inner, outputs_last
        self._columns = (np.arange(self._runs)[:, None] * (inner // 2) + np.arange(self._width)).reshape(-1)
        self._kept = np.zeros((units, self._runs, self._width), kind)
        self._run = np.dtype((np.void, self._width * kind.itemsize))  # copied as one, which is four times as fast
        self.at = 0  # elements that were taken in

    @classmethod
    def of(cls, shape: tuple[int, ...], kind: np.dtype[np.generic], *, outputs_last: bool, columns: int = PROBED) -> Self | None:
        """For a tensor of this shape; None where it has no rows."""
        if len(shape) < 2 or 0 in shape:
            return None
        units = shape[-1] if outputs_last else shape[0]
        return cls(units, int(np.prod(shape)) // units, kind, outputs_last=outputs_last, columns=columns)

    def behind(self, start: int) -> Self:
        """To take in the elements from number `start` on, into the same sample: stretches that do not overlap may come at once."""
        other = copy(self)
        other.at = start
        return other

    @property
    def kept(self) -> Raw:
        """Raw elements, (columns, rows)."""
        return self._first(self._width)

    @property
    def whole(self) -> bool:
        """Every column was kept."""
        return len(self._columns) == self._inner

    def add(self, raw: Raw) -> None:
        """Take in the next block."""
        start, stop = self.at, self.at + len(raw)
        self.at = stop
        if self._last:
            for j, c in enumerate(self._columns.tolist()):
                low, high = max(start, c * self._units), min(stop, (c + 1) * self._units)
                if low < high:
                    self._kept[low - c * self._units : high - c * self._units, j // self._width, j % self._width] = raw[low - start : high - start]
            return
        first, after = -(-start // self._inner), stop // self._inner  # rows that lie in the block from end to end
        if first < after:
            size = raw.itemsize
            strides = (self._inner * size, self._inner // 2 * size)
            found = np.ndarray((after - first, self._runs), self._run, raw, (first * self._inner - start) * size, strides)
            self._kept[first:after].view(self._run)[:, :, 0] = found
        for row in {start // self._inner, after} if start % self._inner or stop % self._inner else ():  # cut by an end of the block
            at = row * self._inner + self._columns - start
            here = np.flatnonzero((at >= 0) & (at < len(raw))) if not first <= row < after else ()
            if len(here):
                self._kept[row].reshape(-1)[here] = raw[at[here]]

    def facts(self, decode: Callable[[Raw], Real], peak: float, zeros: int, read: Callable[[Ints], Raw], head: int | None = None) -> RowFacts:
        """Facts of the tensor, whose largest magnitude is `peak` (nan where it holds NaN or Inf, which equal nothing), with `zeros` zeros.

        head : rows of an attention head.
        decode : raw elements (1-D) as numbers. read(rows) : these rows of the tensor, in ascending order, as raw elements (rows, columns).
        """
        if not self.whole and zeros < self._inner and self._nothing_in(self.numbers(decode, FIRST), peak):
            return RowFacts(0.0, 0.0, all_alike=False, cosine=self._cosine(decode, peak))
        sample = self.numbers(decode)
        if self.whole:
            return _facts(sample, peak, head)

        def more(rows: Ints) -> Real:
            raw = np.ascontiguousarray(read(rows))
            return decode(raw.reshape(-1)).reshape(raw.shape)

        alive = _any(sample)
        most = zeros // self._inner  # rows that can be dead
        dead = self._share(np.flatnonzero(~alive)[:, None] if most else _NONE, lambda m: ~_any(m[0].T), more)
        dead = min(dead, most / self._units)
        if not np.isfinite(peak) or peak == 0:
            return RowFacts(dead, 0.0, all_alike=False)
        tolerance = ALIKE * peak
        pairs = _pairs(sample, np.flatnonzero(alive), peak)
        identical = self._share(pairs, lambda m: _equal(m[0].T, m[1].T, tolerance), more)
        some = np.linspace(0, self._units - 1, self._room(FEW)).astype(np.intp)
        alike = _alike(sample, tolerance) and _alike(more(np.unique(some)).T, tolerance)
        whole = identical > 0 and identical == _share_of(pairs, self._units)  # none of those that were read whole was another
        heads = _twin_heads(pairs, self._units, head) if whole else 0
        return RowFacts(dead, identical, alike, _stretch(pairs) if whole else 0, heads, self._cosine(decode, peak))

    def _cosine(self, decode: Callable[[Raw], Real], peak: float) -> float | None:
        """In the columns that were kept: about 0 of rows drawn at random, about what all would show of rows that have much in common."""
        if not np.isfinite(peak):
            return None
        some = self._kept[:: self._units // DIRECTIONS + 1].reshape(-1, len(self._columns))
        numbers = decode(np.ascontiguousarray(some.T).reshape(-1)).reshape(some.shape[::-1])
        return _mean_cosine(numbers[:, _any(numbers)])

    def _share(self, candidates: Ints, hold: Callable[[list[Real]], npt.NDArray[np.bool_]], more: Callable[[Ints], Real]) -> float:
        """Share of rows that are in candidates that hold. candidates : (n, rows of each); hold : for as many matrices (n, columns)."""
        count, each = candidates.shape
        if not count:
            return 0.0
        for most in (FEW, MANY):
            some = candidates[np.linspace(0, count - 1, min(count, max(1, self._room(most) // each))).astype(np.intp)]
            rows, place = np.unique(some, return_inverse=True)
            matrix = more(rows)
            held = hold([matrix[at] for at in place.reshape(some.shape).T])
            if held.all() or len(some) == count:
                break
        if len(some) == count:
            return _share_of(some[held], self._units)
        return _share_of(candidates, self._units) * float(held.mean())

    def _room(self, most: tuple[int, int]) -> int:
        rows, elements = most
        return max(2, min(rows, self._units, elements // self._inner))

    def _nothing_in(self, few: Real, peak: float) -> bool:
        """No two rows, and not all columns, are equal in a few columns (columns, rows): so it is in most tensors, and a quarter of the work."""
        return not np.isfinite(peak) or (peak > 0 and not _alike(few, ALIKE * peak) and not len(_pairs(few, np.arange(self._units), peak)))

    def numbers(self, decode: Callable[[Raw], Real], most: int = PROBED) -> Real:
        """What was kept as numbers, (columns, rows); of each run `most` columns."""
        kept = self._first(most)
        return decode(kept.reshape(-1)).reshape(kept.shape)

    def _first(self, most: int) -> Raw:
        """Of each run `most` columns, (columns, rows); turned before they are put in line, which is ten times as fast as the other way round."""
        return np.ascontiguousarray(self._kept[:, :, :most].transpose(1, 2, 0)).reshape(-1, self._units)


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


def read_rows(files: TensorFiles, ref: TensorRef, rows: Ints, *, outputs_last: bool) -> Raw:
    """These rows (in ascending order) of a tensor that comes in C order, as raw elements (rows, columns).

    Rows that lie in one piece are read alone; else all blocks pass once more. Of very long rows the first columns stand for all.
    """
    units = ref.shape[-1] if outputs_last else ref.shape[0]
    inner = ref.count // units
    width = min(inner, MANY[1])
    if not outputs_last and not ref.pieces:
        found = np.empty((len(rows), width), storage(ref.dtype))
        files.read_each(found, ref, (rows * inner).tolist())
        return found
    columns = np.arange(width)
    wanted = (columns[:, None] * units + rows if outputs_last else rows[:, None] * inner + columns).reshape(-1)
    parts, start = [], 0
    for raw in files.blocks(ref):
        low, high = np.searchsorted(wanted, (start, start + len(raw)))
        parts.append(raw[wanted[low:high] - start])
        start += len(raw)
    gathered = np.concatenate(parts)
    return gathered.reshape(width, len(rows)).T if outputs_last else gathered.reshape(len(rows), width)


def _stretch(pairs: Ints) -> int:
    """Of pairs (n, 2) of equal rows: the longest stretch i, i + 1, … that equals i + d, i + 1 + d, …, d at least as long as it."""
    if not len(pairs):
        return 0
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    apart = high - low
    order = np.lexsort((low, apart))
    low, apart = low[order], apart[order]
    begins = np.flatnonzero(np.concatenate(([True], (low[1:] != low[:-1] + 1) | (apart[1:] != apart[:-1]))))
    lengths = np.minimum(np.diff(np.append(begins, len(low))), apart[begins])
    return int(lengths.max())


def _twin_heads(pairs: Ints, units: int, head: int | None) -> int:
    """Of pairs (n, 2) of equal rows, each the second of one at most: heads of `head` rows whose rows all equal those of another one, in the same
    order."""
    if not head or not len(pairs):
        return 0
    first = np.arange(units)  # of the rows that each equals
    first[pairs[:, 1]] = pairs[:, 0]
    while np.any(first != first[first]):
        first = first[first]
    _, place, times = np.unique(first[: units // head * head].reshape(-1, head), axis=0, return_inverse=True, return_counts=True)
    return int(np.count_nonzero(times[place.reshape(-1)] > 1))


def _share_of(candidates: Ints, units: int) -> float:
    """Share of rows that are named at least once."""
    named = np.zeros(units, bool)
    named[candidates] = True
    return int(np.count_nonzero(named)) / units


def _any(matrix: Real) -> npt.NDArray[np.bool_]:
    """Which rows of a matrix (columns, rows) hold anything but 0."""
    return np.asarray(matrix.any(axis=0))


def _equal(one: Real, other: Real, tolerance: float) -> npt.NDArray[np.bool_]:
    """Which rows of two matrices (columns, rows) are equal."""
    found: npt.NDArray[np.bool_] = np.abs(one - other).max(axis=0) <= tolerance
    return found


def _alike(matrix: Real, tolerance: float) -> bool:
    """All rows, or all columns, of a matrix (columns, rows) are equal."""
    columns, rows = matrix.shape
    return (rows > 1 and _within(matrix, matrix[:, :1], tolerance)) or (columns > 1 and _within(matrix, matrix[:1], tolerance))


def _within(matrix: Real, one: Real, tolerance: float) -> bool:
    corner = np.s_[:2, :2]
    return bool(np.max(np.abs(matrix[corner] - one[corner])) <= tolerance) and bool(np.max(np.abs(matrix - one)) <= tolerance)


def _pairs(matrix: Real, rows: Ints, peak: float) -> Ints:
    """Pairs (n, 2) of these rows of a matrix (columns, rows) that agree in `PROBED` columns: neighbours by a weighted sum, which equal rows share."""
    columns = len(matrix)
    if len(rows) >= SIEVED_FROM:
        rows = rows[_not_alone(matrix[:: -(-columns // 4)].take(rows, axis=1), peak)]
    kept = matrix if len(rows) == matrix.shape[1] else matrix.take(rows, axis=1)  # `[:, rows]` would leave it turned, and slow to go through
    if len(rows) < 2:
        return _NONE
    probed = range(0, columns, max(1, columns // PROBED))
    weights = 0.5 + np.arange(1, columns + 1) * _GOLDEN % 1  # all different: what is nearly all zeros differs in where the others are
    order = _sorted(np.einsum("i,ij->j", weights / peak, kept))
    close = np.ones(len(rows) - 1, bool)
    for column in probed:
        values = kept[column][order]
        close &= np.abs(values[1:] - values[:-1]) <= ALIKE * peak
        if not close.any():
            return _NONE
    return np.stack((rows[order[:-1][close]], rows[order[1:][close]]), axis=1)


def _not_alone(few: Real, peak: float) -> Ints:
    """Rows of a matrix (up to 4 columns, rows) that share a cell of a grid of 1/127 of `peak` with another one, and a few more.

    A quarter of the time that sorting takes. Rows that are equal to rounding lie in one cell but once in thousands of times.
    """
    cells = np.zeros(few.shape[1], np.uint32)
    for column in few:
        cells = cells << np.uint32(8) | (column / peak * 127).astype(np.int8).view(np.uint8)
    ordered = np.sort(cells)
    shared = np.zeros(1 << 16, bool)
    shared[ordered[1:][ordered[1:] == ordered[:-1]] & np.uint32(0xFFFF)] = True
    return np.flatnonzero(shared[cells & np.uint32(0xFFFF)])


def _sorted(values: npt.NDArray[np.float64]) -> Ints:
    """Stable order of finite values, to 2⁻³² of their range: numbers with their places behind them, which sort in two thirds of an argsort's time."""
    low = float(values.min())
    scale = (2**32 - 1) / (float(values.max()) - low or 1.0)
    keys = ((values - low) * scale).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(values), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(2**32 - 1)).astype(np.intp)
