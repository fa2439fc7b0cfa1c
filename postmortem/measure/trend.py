"""Theil–Sen slope and the Mann–Kendall test, exact for short curves.

Sen (1968), Journal of the American Statistical Association 63; Kendall (1975), Rank Correlation Methods. Kendall's tau is tau-b.
"""

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from postmortem.model.curves import Trend
from postmortem.model.run import Floats

FEWEST = 4
MOST = 500  # points that all pairs are taken of; longer curves are thinned by a fixed stride
EXACT = 30  # points up to which the p-value comes from the exact distribution, when there are no ties


def trend(steps: Floats, values: Floats) -> Trend | None:
    """The trend of finite `values` (n,) over `steps` (n,); None below 4 points or when all steps are the same."""
    n = len(values)
    if n < FEWEST or steps[-1] == steps[0]:
        return None
    if n > MOST:
        pick = np.round(np.linspace(0, n - 1, MOST)).astype(np.int64)
        steps, values = steps[pick], values[pick]
    first, second = _pairs(len(values))
    rise = values[second] - values[first]
    run = steps[second] - steps[first]
    apart = run > 0
    with np.errstate(over="ignore"):
        slope = float(np.median(rise[apart] / run[apart]))
    score = int(np.sum(np.sign(rise[apart])))
    return Trend(slope=slope, tau=_tau(score, steps, values), p_value=_p_value(score, steps, values), points=n)


@cache
def _pairs(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    first, second = np.triu_indices(n, 1)
    return first, second


def _ties(values: Floats) -> Floats:
    """Sizes of the groups of equal values that hold more than one."""
    counts = np.unique(values, return_counts=True)[1]
    return counts[counts > 1].astype(np.float64)


def _tau(score: int, steps: Floats, values: Floats) -> float:
    pairs = len(values) * (len(values) - 1) / 2
    a, b = _ties(steps), _ties(values)
    free = (pairs - float(np.sum(a * (a - 1))) / 2) * (pairs - float(np.sum(b * (b - 1))) / 2)
    return max(-1.0, min(1.0, score / math.sqrt(free))) if free > 0 else 0.0


def _p_value(score: int, steps: Floats, values: Floats) -> float:
    """Two-sided. Exact without ties up to `EXACT` points, else normal with tie correction and continuity correction."""
    n = len(values)
    a, b = _ties(steps), _ties(values)
    if n <= EXACT and not len(a) and not len(b):
        counts = _inversions(n)
        discordant = (n * (n - 1) // 2 - score) // 2
        fewer = min(discordant, n * (n - 1) // 2 - discordant)
        return min(1.0, 2.0 * sum(counts[: fewer + 1]) / math.factorial(n))
    variance = n * (n - 1) * (2 * n + 5) / 18
    for ties in (a, b):
        variance -= float(np.sum(ties * (ties - 1) * (2 * ties + 5))) / 18
    pairs = n * (n - 1.0)
    variance += float(np.sum(a * (a - 1))) * float(np.sum(b * (b - 1))) / (2 * pairs)
    variance += float(np.sum(a * (a - 1) * (a - 2))) * float(np.sum(b * (b - 1) * (b - 2))) / (9 * pairs * (n - 2))
    if variance <= 0 or score == 0:
        return 1.0
    return math.erfc((abs(score) - 1) / math.sqrt(2 * variance))


@cache
def _inversions(n: int) -> tuple[int, ...]:
    """How many permutations of n have 0, 1, 2, … inversions."""
    counts = [1]
    for size in range(2, n + 1):
        longer = [0] * (len(counts) + size - 1)
        for at, count in enumerate(counts):
            for shift in range(size):
                longer[at + shift] += count
        counts = longer
    return tuple(counts)
