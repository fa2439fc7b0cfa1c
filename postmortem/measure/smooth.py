"""Running medians, robust spread and reduction of long curves: the small arithmetic under every curve figure.

All functions take (n,) float64 arrays of finite values unless they say otherwise, and are linear in n.
"""

import math

import numpy as np

from postmortem.model.run import Floats, Series

MAD_TO_SIGMA = 1.4826  # of a normal distribution
HUGE = 1e100  # beyond this, differences of squares overflow: figures are taken from rescaled values
TINY = 1e-100
AT_ONCE = 1 << 13  # points whose intermediate results stay in the cache
SHORT = 30  # points up to which a descent bends noticeably between neighbours


def axis(series: Series) -> Floats:
    """The steps as a finite axis that never goes back: record numbers where steps are not known."""
    steps = np.asarray(series.steps, dtype=np.float64)
    if len(steps) != len(series.values) or not bool(np.all(np.isfinite(steps))):
        return np.arange(len(series.values), dtype=np.float64)
    return np.maximum.accumulate(steps) if len(steps) else steps


def unit(values: Floats) -> float:
    """A power of two to divide by, so that arithmetic on `values` neither over- nor underflows. 1 in the ordinary range."""
    top = float(np.max(np.abs(values))) if len(values) else 0.0
    if top == 0.0 or TINY < top < HUGE:
        return 1.0
    return float(2.0 ** np.clip(np.floor(np.log2(top)), -1021, 1022))


def median3(values: Floats) -> Floats:
    """Running median of 3; the ends by Tukey's rule (the median of the end, its neighbour and their extrapolation)."""
    n = len(values)
    if n < 3:
        return values.copy()
    a, b, c = values[:-2], values[1:-1], values[2:]
    out = values.copy()
    out[1:-1] = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    _tukey_ends(values, out)
    return out


def median5(values: Floats) -> Floats:
    """Running median of 5 (of 3 beside the ends), the ends by Tukey's rule."""
    n = len(values)
    if n < 5:
        return median3(values)
    out = values.copy()
    for start in range(0, n - 4, AT_ONCE):
        a, b, c, d, e = (values[start + i : min(start + AT_ONCE, n - 4) + i] for i in range(5))
        # Median of five by a network: drop the smaller of the minima and the larger of the maxima of two pairs, then the median of three.
        low = np.maximum(np.minimum(a, b), np.minimum(d, e))
        high = np.minimum(np.maximum(a, b), np.maximum(d, e))
        out[start + 2 : start + 2 + len(c)] = np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), c))
    out[1] = np.median(values[:3])
    out[-2] = np.median(values[-3:])
    _tukey_ends(values, out)
    return out


def _tukey_ends(values: Floats, out: Floats) -> None:
    if len(values) == 3:
        return  # one inner point cannot be extrapolated from
    out[0] = np.median([values[0], out[1], out[1] + 2 * (out[1] - out[2])])
    out[-1] = np.median([values[-1], out[-2], out[-2] + 2 * (out[-2] - out[-3])])


def smooth(values: Floats) -> Floats:
    """The curve without single outliers: running median of 5, of 3 below 30 points, the curve itself below 12."""
    if len(values) < 12:
        return values
    return median3(values) if len(values) < 30 else median5(values)


def moving_mean(values: Floats, width: int) -> Floats:
    """Centred moving mean over `width` (odd) points; the window shrinks evenly towards the ends."""
    n = len(values)
    half = min(width // 2, (n - 1) // 2)
    if half < 1:
        return values.copy()
    anchor = float(np.median(values))
    sums = np.concatenate(([0.0], np.cumsum(values - anchor)))
    index = np.arange(n)
    reach = np.minimum(half, np.minimum(index, n - 1 - index))
    out: Floats = anchor + (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)
    return out


def roughness(values: Floats) -> Floats:
    """Each inner point against the line through its neighbours, scaled so that white noise of sigma 1 gives sigma 1; (n − 2,).

    Gasser, Sroka & Jennen-Steinmetz (1986): a trend drops out, so noise can be told from it in a curve of five points.
    """
    if len(values) < 3:
        return np.empty(0)
    out: Floats = (values[1:-1] - 0.5 * (values[:-2] + values[2:])) / np.sqrt(1.5)
    return out


def noise(values: Floats) -> float:
    """Robust sigma of the noise about the curve: 1.4826 × median |roughness|. 0 below 4 points.

    In a short curve the bend of an early descent passes for noise; third differences do not feel it, and the smaller of the two is taken.
    """
    n = len(values)
    if n < 4:
        return 0.0
    second = MAD_TO_SIGMA * float(np.median(np.abs(roughness(values))))
    if n < 6 or n > SHORT:
        return second
    return min(second, MAD_TO_SIGMA * float(np.median(np.abs(np.diff(values, 3)))) / math.sqrt(20.0))


def blocks(values: Floats, count: int) -> tuple[Floats, Floats]:
    """At most `count` medians of equally long stretches, and the (fractional) index of each stretch's middle."""
    n = len(values)
    if n <= count:
        return values, np.arange(n, dtype=np.float64)
    size = -(-n // count)
    whole = n // size
    out: Floats = np.asarray(np.median(values[: whole * size].reshape(whole, size), axis=1), dtype=np.float64)
    middle: Floats = np.arange(whole, dtype=np.float64) * size + (size - 1) / 2
    if whole * size < n:
        out = np.append(out, float(np.median(values[whole * size :])))
        middle = np.append(middle, (whole * size + n - 1) / 2).astype(np.float64)
    return out, middle
