"""Counting a large tensor block by block: 65,536 counters, exact sums and extremes, merged by addition.

The key of a number is its top 16 bits as float32; 16-bit formats are their own keys (65,536 numbers in all), so their
counters hold the whole distribution and everything else follows from them. For float32, infinities share a key with NaN
of a low payload and zeros share one with the tiniest subnormals: those are counted apart.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from postmortem.measure.numbers import Real, as_real, dot, single, smallest_normal
from postmortem.measure.quantiles import display, ranks, signed_keys
from postmortem.measure.reading import Raw
from postmortem.measure.tensors import Figures, Moments, add_slices

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]
Counters = npt.NDArray[np.int64]
SPREAD = 4.0  # |mean| / std beyond which squares cancel too much: then the centred moments are summed in a second pass
KEYS = 1 << 16
_BINS_FROM, _BINS_TO = 1e-36, 3e38  # peaks between which float32 bins are narrow: subnormals lose their mantissa, and beyond is its end
_NONE_YET = np.zeros(1, np.int64)
_SIXTEEN = frozenset({"float16", "half", "bfloat16"})


class Kernels(Protocol):
    """The loops: compiled (`kernels`) or numpy's (`Plain`); the same figures to rounding."""

    def count_float32(
        self, values: Singles, counts: Counters, total: float, squares: float, /
    ) -> tuple[float, float, float, float, int, int, int]: ...
    def count_keys(self, keys: npt.NDArray[np.uint16], counts: Counters, /) -> None: ...
    def movement(self, before: Singles, after: Singles, earlier: Singles | None, /) -> tuple[float, float, float, float, float]: ...
    def decode(self, keys: npt.NDArray[np.uint16], table: Singles, /) -> Singles: ...


def in_one_go(dtype: str, kernels: Kernels) -> bool:
    """Whether elements are counted as they lie, without copies of them: then blocks may be of any length."""
    return not isinstance(kernels, Plain) and (dtype in _SIXTEEN or dtype in ("float32", "float"))


class Plain:
    """numpy's loops: no start-up, a tenth of the speed."""

    @staticmethod
    def count_float32(values: Singles, counts: Counters, total: float, squares: float, /) -> tuple[float, float, float, float, int, int, int]:
        """Count a block; `total` and `squares` with its finite values' added, the least and largest of them (inf and −inf when there
        are none), and how many values are zero, inf and −inf.
        """
        counts += np.bincount(values.view(np.uint32) >> np.uint32(16), minlength=KEYS)
        found = _sums_and_extremes(values, total, squares)
        return *found, int(np.count_nonzero(values == 0)), int(np.count_nonzero(values == np.inf)), int(np.count_nonzero(values == -np.inf))

    @staticmethod
    def count_keys(keys: npt.NDArray[np.uint16], counts: Counters, /) -> None:
        """Count a block of 16-bit numbers."""
        counts += np.bincount(keys, minlength=KEYS)

    @staticmethod
    def movement(before: Singles, after: Singles, earlier: Singles | None, /) -> tuple[float, float, float, float, float]:
        """Σa², Σb², Σ(b−a)², Σ(a−z)², Σ(b−a)(a−z) in float64."""
        a, b = before.astype(np.float64), after.astype(np.float64)
        step = b - a
        sums = dot(a, a), dot(b, b), dot(step, step)
        if earlier is None:
            return *sums, 0.0, 0.0
        step_before = a - earlier.astype(np.float64)
        return *sums, dot(step_before, step_before), dot(step, step_before)

    @staticmethod
    def decode(keys: npt.NDArray[np.uint16], table: Singles, /) -> Singles:
        """16-bit numbers as float32 through the table of all 65,536 of them."""
        decoded: Singles = table[keys]
        return decoded


def _sums_and_extremes(values: Real, total: float, squares: float) -> tuple[float, float, float, float]:
    """Of the finite values; the least and largest are inf and −inf when there are none."""
    finite = np.isfinite(values)
    kept = values.astype(np.float64)
    if finite.all():
        low, high = (float(kept.min()), float(kept.max())) if len(kept) else (math.inf, -math.inf)
    else:
        low, high = (float(f(kept, where=finite, initial=i)) for f, i in ((np.min, math.inf), (np.max, -math.inf)))
        kept[~finite] = 0.0
    return add_slices(total, kept), add_slices(squares, kept * kept), low, high


@cache
def values_of_keys(dtype: str) -> Singles:
    """The value that each of the 65,536 keys stands for: the number itself (16-bit formats) or the middle of its bin (float32)."""
    keys = np.arange(KEYS, dtype=np.uint32)
    if dtype in ("float16", "half"):
        return keys.astype(np.uint16).view(np.float16).astype(np.float32)
    if dtype == "bfloat16":
        return (keys << np.uint32(16)).view(np.float32)
    middles = ((keys << np.uint32(16)) | np.uint32(0x8000)).view(np.float32)
    middles[[0, 0x8000]] = 0.0
    return middles


@cache
def _wide(dtype: str) -> tuple[Doubles, Ints]:
    """Of each of the 65,536 keys the value and the signed magnitude key as float32."""
    values = values_of_keys(dtype)
    with np.errstate(invalid="ignore"):  # signalling NaN
        return values.astype(np.float64), signed_keys(values)


class Sums(NamedTuple):
    """Sums over the finite values of a tensor."""

    total: float
    squares: float
    zero: int
    negative: int  # values below 0, to the resolution of the keys (−0 is none)
    below: int | None  # finite values below a threshold, to the resolution of the keys
    non_finite: int


@dataclass(slots=True)
class Tally:
    """What is known of a tensor so far. Add blocks one after the other, merge two tallies by addition."""

    dtype: str
    counts: Counters = field(default_factory=lambda: np.zeros(KEYS, np.int64))
    count: int = 0
    zero: int = 0
    subnormal: int = 0  # float32 keys cannot tell these from zeros: counted apart
    positive_inf: int = 0
    negative_inf: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, raw: Raw, kernels: Kernels) -> None:
        """Take in a block of raw elements."""
        if self.dtype in _SIXTEEN:
            self.count += len(raw)
            kernels.count_keys(raw.view(np.uint16), self.counts)
            return
        values = as_real(raw, self.dtype)
        self.count += len(values)
        if values.dtype == np.float32 and smallest_normal(self.dtype) in (0.0, 2.0**-126):
            self._add_float32(values, kernels)  # type: ignore[arg-type]
        else:
            self._add_other(values)

    def _add_float32(self, values: Singles, kernels: Kernels) -> None:
        self.total, self.squares, low, high, zero, positive, negative = kernels.count_float32(values, self.counts, self.total, self.squares)
        self.zero += zero
        self.positive_inf += positive
        self.negative_inf += negative
        self._extremes(low, high)

    def _add_other(self, values: Real) -> None:
        """float64 and its kin: keys of the value as float32 (clipped to its range), the rest from the values themselves."""
        finite = np.isfinite(values)
        kept = values if finite.all() else values[finite]
        self.positive_inf += int(np.count_nonzero(values == np.inf))
        self.negative_inf += int(np.count_nonzero(values == -np.inf))
        self.counts += np.bincount(single(kept).view(np.uint32) >> np.uint32(16), minlength=KEYS)
        self.zero += int(np.count_nonzero(kept == 0))
        magnitude = np.abs(kept)
        self.subnormal += int(np.count_nonzero((magnitude > 0) & (magnitude < smallest_normal(self.dtype))))
        self.total, self.squares, low, high = _sums_and_extremes(values, self.total, self.squares)
        self._extremes(low, high)

    def _extremes(self, low: float, high: float) -> None:
        self.low = min(self.low, low)
        self.high = max(self.high, high)

    def merge(self, other: "Tally") -> None:
        """Add what another tally of the same element type has seen."""
        self.counts += other.counts
        self.count += other.count
        self.zero += other.zero
        self.subnormal += other.subnormal
        self.positive_inf += other.positive_inf
        self.negative_inf += other.negative_inf
        self.total += other.total
        self.squares += other.squares
        self._extremes(other.low, other.high)

    def figures(self, again: Callable[[float, float], Moments]) -> Figures:
        """The figures. `again(mean, peak)` sums centred moments in a second pass: asked for when the values hardly vary about
        their mean, or when squares left the range of float64."""
        sixteen = self.dtype in _SIXTEEN
        counts, values, keys = self._present()
        finite = int(counts.sum())
        if sixteen:
            positive, negative = (int(n) for n in self.counts[[0x7C00, 0xFC00] if self.dtype != "bfloat16" else [0x7F80, 0xFF80]])
            zero = int(self.counts[0] + self.counts[0x8000])
            subnormal = int(counts[np.abs(values) < smallest_normal(self.dtype)].sum()) - zero
        else:
            positive, negative, zero = self.positive_inf, self.negative_inf, self.zero
            subnormal = self.subnormal
            if self.dtype in ("float32", "float", "complex64"):
                subnormal = int(counts[np.abs(keys) < 0x80].sum()) - zero
        nan = self.count - finite - positive - negative
        if not finite:
            return Figures.empty(self.count, nan, positive, negative)
        low, high = (float(values[0]), float(values[-1])) if sixteen else (self.low, self.high)
        below = np.concatenate((_NONE_YET, np.cumsum(counts)))
        found = values[np.searchsorted(below[1:], ranks(finite) + 1)]
        moments = self._moments(values, counts, finite, again, exact=sixteen)
        return Figures(
            self.count, nan, positive, negative, zero, subnormal, *moments, low, high,
            tuple(np.minimum(np.maximum(found, low), high).tolist()), display(keys, below),
        )  # fmt: skip

    def sums(self, threshold: float | None = None) -> Sums:
        """What second moments are asked for."""
        sixteen = self.dtype in _SIXTEEN
        counts, values, _ = self._present()
        finite = int(counts.sum())
        total, squares = (dot(counts, values), dot(counts, values * values)) if sixteen else (self.total, self.squares)
        zero = int(self.counts[0] + self.counts[0x8000]) if sixteen else self.zero
        below = None if threshold is None else int(counts[values < threshold].sum())
        return Sums(total, squares, zero, int(counts[values < 0].sum()), below, self.count - finite)

    def _present(self) -> tuple[Counters, Doubles, Ints]:
        """The finite keys that were met, in the order of their values: how often, their values, their signed magnitude keys as float32."""
        met = np.flatnonzero(self.counts != 0)  # of booleans: a tenth of the time
        infinite = 0x7C00 if self.dtype in ("float16", "half") else 0x7F80
        signed = np.searchsorted(met, 0x8000)
        positive, negative = met[:signed], met[signed:]  # both by magnitude
        met = np.concatenate((negative[: np.searchsorted(negative, 0x8000 + infinite)][::-1], positive[: np.searchsorted(positive, infinite)]))
        values, keys = _wide(self.dtype if self.dtype in _SIXTEEN else "float32")
        return self.counts[met], values[met], keys[met]

    def _moments(self, values: Doubles, counts: Counters, finite: int, again: Callable[[float, float], Moments], *, exact: bool) -> Moments:
        total, squares = (dot(counts, values), dot(counts, values * values)) if exact else (self.total, self.squares)
        low, high = (float(values[0]), float(values[-1])) if exact else (self.low, self.high)
        if low == high:
            return Moments(low, 0.0, abs(low), math.nan)
        mean = total / finite
        variance = squares / finite - mean * mean
        peak = max(-low, high)
        if not math.isfinite(squares) or squares < 1e-300:
            return again(math.nan, peak)
        if not exact and (not _BINS_FROM < peak < _BINS_TO or variance <= mean * mean / SPREAD**2):
            return again(mean, peak)
        about = mean if exact else dot(counts, values) / finite
        centred = (values - about) ** 2
        second, fourth = dot(counts, centred) / finite, dot(counts, centred * centred) / finite
        if exact:
            variance = second
        kurtosis = fourth / second**2 - 3.0 if second > 0 else math.nan
        return Moments(mean, math.sqrt(max(variance, 0.0)), math.sqrt(squares / finite), kurtosis)
