"""Where a curve was heading: an exponential or a power law with a limit, by a fixed grid and linear least squares.

For each decay constant of the grid, limit and amplitude have a closed form; no iteration, so the same curve gives the same fit.
"""

import math

import numpy as np

from postmortem.measure.smooth import blocks
from postmortem.model.curves import Asymptote
from postmortem.model.run import Floats

FEWEST = 6
MOST = 200  # points fitted: medians of equal stretches of a longer curve
RATES = np.geomspace(1 / 50, 3.0, 40)  # decay constants of the exponential, in lengths of the curve
POWERS = np.geomspace(0.1, 3.0, 25)
OUTLIER = 6.0  # median absolute residuals beyond which a point is left out of the second fit
LEAST_R_SQUARED = 0.5
NEAR = 0.05  # share of the range: differences below it count alike


def asymptote(steps: Floats, values: Floats, *, sinking: bool, start: float, final: float) -> Asymptote | None:
    """The fit of finite `values` (n,), None below 6 points or when neither form explains half of the variance.

    `sinking` says which way better is; a fit that heads the other way is none. A curve that is nowhere negative has no
    negative limit.
    """
    y, middle = blocks(values, MOST)
    if len(values) < FEWEST or float(np.ptp(y)) == 0 or steps[-1] <= steps[0]:
        return None
    x = np.interp(middle, np.arange(len(steps)), steps) - steps[0]
    span = float(x[-1])
    if span <= 0:
        return None
    first = span / (len(x) - 1)
    # Where it ends matters most: errors count by the distance that was still to go, not by that of the early descent.
    weights = 1 / (np.abs(y - np.median(y[-max(1, len(y) // 10) :])) + NEAR * float(np.ptp(y))) ** 2
    shapes = np.concatenate([np.exp(-x / (span * RATES[:, None])), (1 + x / first) ** -POWERS[:, None]])  # (forms, points)
    floor = 0.0 if sinking and bool(np.all(values >= 0)) else None
    fit = _best(shapes, y, weights, floor, sinking=sinking)
    if fit is not None:
        residual = np.abs(y - fit[1] - fit[2] * shapes[fit[0]])
        keep = residual <= OUTLIER * max(float(np.median(residual)), 1e-12 * float(np.max(np.abs(y))))
        if FEWEST <= int(np.sum(keep)) < len(y):
            fit = _best(shapes[:, keep], y[keep], weights[keep], floor, sinking=sinking) or fit
    if fit is None or fit[3] < LEAST_R_SQUARED:
        return None
    limit = fit[1]
    whole = start - limit
    remaining = (final - limit) / whole if whole != 0 else math.nan
    return Asymptote(limit=limit, remaining=remaining)


def _best(shapes: Floats, y: Floats, weights: Floats, floor: float | None, *, sinking: bool) -> tuple[int, float, float, float] | None:
    """(form, limit, amplitude, r²) of the form with the smallest weighted residual; None when none heads the right way."""
    w = weights / np.sum(weights)
    mean_shape, mean = shapes @ w, float(y @ w)
    centred = shapes - mean_shape[:, None]
    slope = (centred * (y - mean)) @ w / np.maximum(centred**2 @ w, 1e-300)
    limit = mean - slope * mean_shape
    if floor is not None:
        through = (shapes * y) @ w / np.maximum(shapes**2 @ w, 1e-300)
        slope, limit = np.where(limit < floor, through, slope), np.where(limit < floor, floor, limit)
    residual = (y - limit[:, None] - slope[:, None] * shapes) ** 2
    loss = np.where((slope > 0) == sinking, residual @ w, np.inf)
    total = float(np.sum((y - np.mean(y)) ** 2))
    form = int(np.argmin(loss))
    if not math.isfinite(float(loss[form])) or total <= 0:
        return None
    return form, float(limit[form]), float(slope[form]), 1 - float(np.sum(residual[form])) / total
