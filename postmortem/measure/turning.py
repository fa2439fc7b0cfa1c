"""Where a curve turned from better to worse, and where it settled."""

import math

import numpy as np

from postmortem.measure.smooth import SHORT, blocks, noise
from postmortem.measure.trend import trend
from postmortem.model.run import Floats

SURE = 5.0  # noise units (of the running median) that the fall and the rise must exceed: the lowest of many is low by itself
CLEAR = 3.0  # noise units of a single point
MEDIAN_SIGMA = 1.2533  # of a median over that of a mean, normal noise
LEAST_RISE = 0.02  # share of what was gained before the turn
P_VALUE = 0.05
CERTAIN = 1e-3  # p-value of a rise that makes a small fall before it credible
WITHIN = 2.5  # noise units of the running median: as far as its lowest point lies below a flat bottom
GRADUAL = 12.0  # times that: what a valley may rise over the width of its bottom
FEWEST_AFTER = 3  # points from the turn on
MOSTLY = 0.9  # share of the points after the turn that a jump to another level leaves above it
MOST = 400
SETTLED = 3.0  # noise units about the final value
FEWEST_SETTLED = 3
LEAST_SETTLED = 0.05  # share of the points


def turn_index(raw: Floats, values: Floats, sigma: float, least: float = 0.0) -> int | None:
    """Index at which a sinking curve began to rise for good; None when it never did.

    raw (n,) : finite, lower is better. values (n,) : the same without single outliers. sigma : noise of a single point.
    least : difference that counts as one (the printed precision).
    The turn of a valley is the minimum of a heavier running median; of a plateau that ends in a blow-up, the plateau's end.
    Noise is that of the points before the minimum, since what comes after may be nothing but noise. Curves beyond 400 points
    are judged by medians of equal stretches.
    """
    n = len(values)
    y, middle = blocks(values, MOST)
    if n < 4 or len(y) < 4:
        return None
    width = 2 * (len(y) // 40) + 1
    spread = MEDIAN_SIGMA / math.sqrt(width * max(1, n // len(y)))  # of a running median
    heavy = _running_median(y, width)
    lowest = int(np.argmin(heavy))
    if lowest >= 3:
        sigma = min(sigma, noise(raw[: int(middle[lowest]) + 1]))
    fuzz = sigma * spread
    bottom = float(heavy[lowest])
    flat = np.flatnonzero(heavy <= bottom + WITHIN * fuzz)
    turn = int(flat[-1])
    further = min(turn + int(flat[-1] - flat[0]), len(heavy) - 1)
    if heavy[further] - bottom < GRADUAL * WITHIN * fuzz:
        turn = lowest  # a valley: over the width of its bottom a parabola rises ninefold, a plateau that ends far more
    if n <= SHORT:  # in a short curve the smooth cuts off the very point
        first = turn
        while turn == lowest and first > 0 and heavy[first - 1] <= bottom + WITHIN * fuzz:
            first -= 1
        first = max(0, first - 1)
        turn = first + int(np.argmin(raw[first : turn + 2]))
    gained = float(np.median(raw[: max(1, n // 20)])) - bottom
    after = y[turn:]
    rise = float(np.median(after[-max(1, len(after) // 4) :])) - bottom
    if turn == 0 or len(after) < FEWEST_AFTER:
        return None
    climb = trend(middle[turn:], after)
    rises = climb is not None and climb.slope > 0 and climb.p_value < P_VALUE
    certain = climb is not None and rises and climb.p_value < CERTAIN
    sure = max(SURE * fuzz, 2 * sigma * MEDIAN_SIGMA / math.sqrt(len(after))) + least
    if gained <= (2 * fuzz + least if certain else sure) or rise <= max(sure, LEAST_RISE * gained):
        return None
    # A jump to another level has no slope of its own, and four points cannot reach the p-value: nearly all must be clearly above.
    above = after[1:] > bottom + CLEAR * sigma + least
    return int(middle[turn]) if rises or float(np.mean(above)) >= MOSTLY else None


def _running_median(values: Floats, width: int) -> Floats:
    """Running median over `width` (odd, small) points; the window shrinks evenly towards the ends."""
    half = width // 2
    if half < 1:
        return values
    out = values.copy()
    out[half:-half] = np.median(np.lib.stride_tricks.sliding_window_view(values, width), axis=1)
    for i in range(1, half):
        out[i] = np.median(values[: 2 * i + 1])
        out[-1 - i] = np.median(values[-2 * i - 1 :])
    return out


def plateau_index(values: Floats, sigma: float, final: float, least: float = 0.0) -> int | None:
    """Index from which the curve (n,), single outliers removed, stays within 3 noise units of `final`; None when it never settles."""
    n = len(values)
    if n < 4:
        return None
    away = np.flatnonzero(np.abs(values - final) > max(SETTLED * sigma, least))
    start = int(away[-1]) + 1 if len(away) else 0
    return start if n - start >= max(FEWEST_SETTLED, LEAST_SETTLED * n) else None
