"""Where a curve turned from better to worse, and where it settled."""

import math

import numpy as np

from postmortem.measure.smooth import moving_mean
from postmortem.measure.trend import trend
from postmortem.model.run import Floats

SURE = 3.0  # noise units (of the smoothed curve) that the fall and the rise must exceed
LEAST_RISE = 0.02  # share of what was gained before the turn
P_VALUE = 0.05
WHOLLY = 0.99  # tau of a rise without exception: four points cannot reach the p-value
SETTLED = 3.0  # noise units about the final value
FEWEST_SETTLED = 3
LEAST_SETTLED = 0.05  # share of the points


def turn_index(steps: Floats, values: Floats, sigma: float, least: float = 0.0) -> int | None:
    """Index at which a sinking curve began to rise for good; None when it never did.

    values (n,) : finite, single outliers already removed, lower is better. sigma : noise of a single point.
    least : difference that counts as one (the printed precision).
    The turn is the last point of the heavily smoothed curve that lies within its noise of the minimum: for a sharp turn
    that is the minimum, for a plateau that ends in a blow-up it is the plateau's end.
    """
    n = len(values)
    if n < 4:
        return None
    width = 2 * (min(n // 20, 200) // 2) + 1
    heavy = moving_mean(values, width)
    fuzz = sigma / math.sqrt(width)
    lowest = float(np.min(heavy))
    gained = float(np.median(values[: max(1, n // 20)])) - lowest
    turn = int(np.flatnonzero(heavy <= lowest + fuzz)[-1])
    after = values[turn:]
    rise = float(np.median(values[-max(1, len(after) // 4) :])) - lowest
    if turn == 0 or turn == n - 1 or gained <= SURE * fuzz + least or rise <= max(SURE * fuzz + least, LEAST_RISE * gained):
        return None
    climb = trend(steps[turn:], after)
    if climb is not None and not (climb.slope > 0 and (climb.p_value < P_VALUE or climb.tau > WHOLLY)):
        # A jump to another level has no slope of its own.
        return turn if float(np.min(after[1:])) > lowest + SURE * sigma + least else None
    return turn


def plateau_index(values: Floats, sigma: float, final: float, least: float = 0.0) -> int | None:
    """Index from which the curve (n,), single outliers removed, stays within 3 noise units of `final`; None when it never settles."""
    n = len(values)
    if n < 4:
        return None
    away = np.flatnonzero(np.abs(values - final) > max(SETTLED * sigma, least))
    start = int(away[-1]) + 1 if len(away) else 0
    return start if n - start >= max(FEWEST_SETTLED, LEAST_SETTLED * n) else None
