"""A curve in 40 characters: small enough to keep thousands of them, enough for a line in a table."""

import math

import numpy as np
import numpy.typing as npt

WIDTH = 40
LEVELS = "0123456789abcdefghijklmnopqrstuv"
NOT_FINITE = "!"
NOTHING = "."
SPREAD = 30.0  # highest to lowest value from which a positive curve is drawn on a logarithmic scale


def tiny(steps: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> str:
    """`values` (n,) over `steps` (n,), in stretches of equal length: the mean of each as one of 32 levels.

    "!" where a stretch holds NaN or ±Inf, "." where it holds no point. Stretches without points between others are
    filled with the level before. "" when there is no point. Magnitudes beyond 1e300 count as not finite.
    """
    if len(values) == 0:
        return ""
    first, last = float(steps[0]), float(steps[-1])
    span = last - first
    at = np.zeros(len(steps)) if not math.isfinite(span) or span <= 0 else (steps - first) / span * WIDTH
    place = np.clip(np.nan_to_num(at), 0, WIDTH - 1).astype(np.int64)
    usable = np.abs(values) < 1e300  # False for NaN
    real = values[usable]
    if len(real) and float(real.min()) > 0 and float(real.max()) > SPREAD * float(real.min()):
        values = np.log(np.where(usable, values, 1.0))
    clean = np.where(usable, values, 0.0)
    count = np.bincount(place, minlength=WIDTH)
    bad = np.bincount(place, weights=~usable, minlength=WIDTH) > 0
    counted = np.maximum(np.bincount(place, weights=usable, minlength=WIDTH), 1)
    mean = np.bincount(place, weights=clean / counted[place], minlength=WIDTH)  # divided first: sums could overflow
    known = (count > 0) & ~bad
    low, high = (float(mean[known].min()), float(mean[known].max())) if known.any() else (0.0, 0.0)
    half = high / 2 - low / 2  # halves: the difference itself could overflow
    scale = (len(LEVELS) - 1) / 2 / half if half > 1e-300 else 0.0
    out: list[str] = []
    for i in range(WIDTH):
        if bad[i]:
            out.append(NOT_FINITE)
        elif known[i]:
            out.append(LEVELS[round((float(mean[i]) / 2 - low / 2) * 2 * scale)] if scale else LEVELS[len(LEVELS) // 2])
        else:
            out.append(out[-1] if out else NOTHING)
    return "".join(out)
