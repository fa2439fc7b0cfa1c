"""The figures of one tensor, in one pass over its bytes.

Small tensors are sorted and measured exactly. Larger ones are counted block by block into 65,536 counters (the top 16
bits of each number) beside exact moments and extremes: quantiles are then within 2⁻⁸ relative, everything else but the
kurtosis is the same to rounding.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postmortem.measure.numbers import Real, smallest_normal
from postmortem.measure.quantiles import display, ranks, signed_keys
from postmortem.model.evidence import Histogram

Doubles = npt.NDArray[np.float64]
_FLOAT32_MAX = float(np.finfo(np.float32).max)


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
    low: float
    high: float
    quantiles: tuple[float, ...]
    kurtosis: float
    histogram: Histogram


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
        empty = (math.nan,) * 9
        return Figures(count, nan, positive, negative, 0, 0, math.nan, math.nan, math.nan, math.nan, math.nan, empty, math.nan, Histogram((), ()))
    mean, std, rms, kurtosis = moments(ordered)
    return Figures(
        count, nan, positive, negative, zero, near - zero, mean, std, rms,
        float(ordered[0]), float(ordered[-1]), tuple(float(v) for v in ordered[ranks(len(ordered))]), kurtosis,
        display(signed_keys(single(kept))),
    )  # fmt: skip


def single(values: Real) -> npt.NDArray[np.float32]:
    """Finite values as float32, those beyond its range at its ends."""
    if values.dtype == np.float32:
        return values  # type: ignore[return-value]  # mypy sees no link between dtype and type
    return np.clip(values, -_FLOAT32_MAX, _FLOAT32_MAX).astype(np.float32)


def moments(values: Doubles) -> tuple[float, float, float, float]:
    """Mean, population standard deviation, root mean square and excess kurtosis of finite values, safe for any magnitude.

    Squares of numbers beyond 1e±75 would leave the range of float64 in the fourth power, so such values are scaled by a power of two first.
    """
    peak = float(np.abs(values).max())
    exponent = 0 if peak == 0 or 1e-60 < peak < 1e60 else math.frexp(peak)[1]
    if exponent:
        values = np.ldexp(values, -exponent)
    mean = float(values.mean())
    centred = values - mean
    square = centred * centred
    variance = float(square.mean())
    rms = math.sqrt(float(np.dot(values, values)) / len(values))
    kurtosis = math.nan
    if variance > (1e-14 * max(abs(mean), math.ulp(0.0))) ** 2 and values.min() != values.max():
        scaled = square / variance
        kurtosis = float(np.dot(scaled, scaled)) / len(values) - 3.0
    return math.ldexp(mean, exponent), math.ldexp(math.sqrt(variance), exponent), math.ldexp(rms, exponent), kurtosis
