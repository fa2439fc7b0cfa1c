"""The figures of one tensor, in one pass over its bytes.

Small tensors are sorted and measured exactly. Larger ones are counted block by block into 65,536 counters (the top 16
bits of each number) beside exact moments and extremes: quantiles are then within 2⁻⁸ relative (of float64
beyond the range of float32: at the ends of that range), everything else but the kurtosis is the same to rounding.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from postmortem.measure.numbers import Real, single, smallest_normal
from postmortem.measure.quantiles import QUANTILES, display, ranks, signed_keys
from postmortem.model.tensors import Histogram

Doubles = npt.NDArray[np.float64]
SLICE = 2048  # elements whose sum is made first, before it is added to others; the compiled loops have the same


class Moments(NamedTuple):
    """Of the finite values; nan when there are none. `std` is the population's, `kurtosis` the excess (nan for a constant)."""

    mean: float
    std: float
    rms: float
    kurtosis: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What the values of a tensor come to, whatever it is called. Moments are of the finite values; nan when there are none."""

    count: int
    nan: int
    positive_inf: int
    negative_inf: int
    zero: int
    subnormal: int
    mean: float
    std: float
    rms: float
    kurtosis: float
    low: float
    high: float
    quantiles: tuple[float, ...]
    histogram: Histogram

    @property
    def non_finite(self) -> int:
        """Number of NaN and infinite values."""
        return self.nan + self.positive_inf + self.negative_inf

    @classmethod
    def empty(cls, count: int, nan: int, positive_inf: int, negative_inf: int) -> Self:
        """Of a tensor without a finite value."""
        none = math.nan
        return cls(count, nan, positive_inf, negative_inf, 0, 0, none, none, none, none, none, none, (none,) * len(QUANTILES), Histogram((), ()))


def figures_of(values: Real, dtype: str) -> Figures:
    """Exact figures of values that are all in memory (1-D)."""
    count = len(values)
    finite = np.isfinite(values)
    whole = bool(finite.all())
    kept = values if whole else values[finite]
    nan = positive = negative = 0
    if not whole:
        nan = int(np.isnan(values).sum())
        positive = int((values == np.inf).sum())
        negative = count - len(kept) - nan - positive
    ordered = np.sort(kept).astype(np.float64)
    zero = int(np.searchsorted(ordered, 0.0, "right") - np.searchsorted(ordered, 0.0, "left"))
    normal = smallest_normal(dtype)
    near = int(np.searchsorted(ordered, normal, "left") - np.searchsorted(ordered, -normal, "right")) if normal else zero
    if not len(ordered):
        return Figures.empty(count, nan, positive, negative)
    return Figures(
        count, nan, positive, negative, zero, near - zero, *moments(ordered),
        float(ordered[0]), float(ordered[-1]), tuple(ordered[ranks(len(ordered))].tolist()), display(signed_keys(single(ordered))),
    )  # fmt: skip


def moments(values: Doubles) -> Moments:
    """Moments of sorted finite values, at least one, of any magnitude."""
    if values[0] == values[-1]:
        return Moments(float(values[0]), 0.0, abs(float(values[0])), math.nan)
    peak = float(max(-values[0], values[-1]))
    return centred_moments([values], math.nan, peak)


def centred_moments(blocks: Iterable[Real], mean: float, peak: float) -> Moments:
    """Moments summed about a mean that is known well enough; nan stands for the mean of the first block, for values in one block.

    The largest magnitude `peak` decides a power of two by which values are scaled, so that neither squares nor fourth
    powers leave the range of float64. Non-finite values are left out. Needs at least one finite value.
    """
    exponent = exponent_of(peak)
    count = 0
    squares = second = third = fourth = offset = 0.0
    known = not math.isnan(mean)
    about = math.ldexp(mean, -exponent) if known else math.nan
    for block in blocks:
        values, finite = _scaled(block, exponent)
        kept = int(np.count_nonzero(finite))
        if not kept:
            continue
        if math.isnan(about):
            about = float(values.sum()) / kept
        centred = np.where(finite, values - about, 0.0)
        power = centred * centred
        count += kept
        squares = add_slices(squares, values * values)
        offset = add_slices(offset, centred)
        second = add_slices(second, power)
        third = add_slices(third, power * centred)
        fourth = add_slices(fourth, power * power)
    shift = offset / count  # what `about` still misses to the mean
    variance = max(second / count - shift * shift, 0.0)
    central = fourth / count - 4 * shift * third / count + 6 * shift * shift * second / count - 3 * shift**4
    rounding = (1e-15 * max(abs(about), 1e-300)) ** 2
    kurtosis = central / variance**2 - 3.0 if variance > rounding else math.nan
    if not exponent:
        return Moments(about + shift, math.sqrt(variance), math.sqrt(squares / count), kurtosis)
    mean, std, rms = np.ldexp(np.array([about + shift, math.sqrt(variance), math.sqrt(squares / count)]), exponent).tolist()
    return Moments(mean, std, rms, kurtosis)


def add_slices(total: float, values: Doubles) -> float:
    """`total` and the sums of slices of 2,048 values, added one after the other: blocks that are whole slices give what one block gives."""
    whole = len(values) // SLICE * SLICE
    if whole:
        parts = values[:whole].reshape(-1, SLICE).sum(axis=1)
        total = float(np.cumsum(np.concatenate(([total], parts)))[-1])
    return total + float(values[whole:].sum()) if whole < len(values) else total


def mean_of(blocks: Iterable[Real], peak: float) -> float:
    """The mean of the finite values (at least one) of any magnitude up to `peak`."""
    exponent = exponent_of(peak)
    total, count = 0.0, 0
    for block in blocks:
        values, finite = _scaled(block, exponent)
        total = add_slices(total, values)
        count += int(np.count_nonzero(finite))
    return math.ldexp(total / count, exponent)


def exponent_of(peak: float) -> int:
    """The power of two by which values are divided so that their squares stay within float64; 0 for ordinary ones."""
    return math.frexp(peak)[1] if peak and not 1e-60 < peak < 1e60 else 0


def _scaled(block: Real, exponent: int) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Values over two to the power of `exponent`, 0 for those that are not finite; and which are finite."""
    values = block.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        values[~finite] = 0.0
    return (np.ldexp(values, -exponent) if exponent else values), finite
