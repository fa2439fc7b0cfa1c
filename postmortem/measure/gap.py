"""Validation loss against training loss at the same steps."""

import math

import numpy as np
import numpy.typing as npt

from postmortem.measure.smooth import axis, noise, smooth
from postmortem.measure.trend import trend
from postmortem.model.curves import GapStats
from postmortem.model.run import Floats, Series

TURN = 0.02  # share of the level by which a validation loss must move, both ways, to count as turning
HALF = 0.5
OPENED = 0.05  # nats: a gap that widened by less has not opened
SMOOTHED_FROM = 30  # evaluations from which the best is that of the running median: the lowest of many is luck
ALIKE = 1.645  # one-sided 95 % of a normal distribution
ROBUST_FROM = 5  # evaluations from which the end is the median of the last two


def gap_stats(train: Series, val: Series, floor: float = 0.0) -> GapStats | None:
    """The gap of two losses; None when either has no finite value, or no training value lies beside an evaluation.

    floor : what neither can fall below; ratios are taken of the distances from it.
    """
    with np.errstate(all="ignore"):
        keep = np.isfinite(val.values)
        at, v = axis(val)[keep], val.values[keep] - floor
        keep = np.isfinite(train.values)
        x, y = axis(train)[keep], train.values[keep] - floor
        if not len(v) or not len(y):
            return None
        beside_them = beside(x, y, at)
        least = (train.quantum or 0.0) / 2  # what is printed as 0.0000 is no more than half a digit
        return _stats(at, v, np.where(np.abs(beside_them) < least, least, beside_them), val.quantum or 0.0)


def beside(x: Floats, y: Floats, at: Floats) -> Floats:
    """Training values `y` (n,) at `x`, averaged between evaluations at `at` (k,): mean over (previous evaluation, this one].

    Where nothing was logged in between, the last value before, or the first one when all are later.
    """
    anchor = float(y[0])
    sums = np.concatenate(([0.0], np.cumsum(y - anchor)))
    upto = np.searchsorted(x, at, side="right")
    since = np.concatenate(([0], upto[:-1]))
    mean = anchor + (sums[upto] - sums[since]) / np.maximum(upto - since, 1)
    nearest = y[np.clip(upto - 1, 0, len(y) - 1)]
    out: Floats = np.where(upto > since, mean, nearest)
    return out


def _stats(at: Floats, v: Floats, t: Floats, quantum: float) -> GapStats:
    n = len(v)
    ratio = np.full(n, math.nan)
    positive = (v > 0) & (t > 0)
    ratio[positive] = np.log(v[positive]) - np.log(t[positive])
    ends = slice(-2, None) if n >= ROBUST_FROM else slice(-1, None)
    level = v if n < SMOOTHED_FROM else smooth(v)
    best = int(np.argmin(level))
    end, lowest = float(np.median(v[ends])), float(level[best])
    train_best, train_end = float(t[best]), float(np.median(t[ends]))
    opened = _opened(ratio)
    alike = as_good_as_best(v, level, quantum)
    return GapStats(
        evaluations=n,
        first_gap=float(ratio[0]),
        gap=float(np.median(ratio[ends])),
        difference=end - train_end,
        rise=math.log(end) - math.log(lowest) if lowest > 0 and end > 0 else math.nan,
        best_step=float(at[best]),
        best_index=best,
        best_between=(float(at[alike[0]]), float(at[alike[-1]])),
        evaluations_after_best=n - 1 - best,
        train_fell_after_best=(train_best - train_end) / abs(train_best) if train_best != 0 else 0.0,
        halved_step=float(at[halved[0]]) if (halved := np.flatnonzero(t < HALF * max(v[0], t[0]))).size else None,
        opened_step=None if opened is None else float(at[opened]),
        validation_trend_after_best=trend(at[best:], v[best:]),
        erratic=_erratic(v, quantum),
    )


def as_good_as_best(v: Floats, level: Floats, quantum: float) -> npt.NDArray[np.intp]:
    """Indices of the evaluations that cannot be told from the best one; never empty.

    v (n,) : finite, lower is better. level (n,) : the same, smoothed where there are many. quantum : the printed precision.
    A multiple comparison with the best (Hsu 1981, Annals of Statistics 9): an evaluation stays in while its distance from the lowest is one that
    two draws of the same level have by chance, `ALIKE` standard errors of a difference. Noise is that about the curve (Gasser et al. 1986).
    Of simulated valleys of 6 to 150 evaluations the true minimum lay between the first and the last in 0.87 to 1.00, the former where the
    noise of neighbours is correlated by half; with fewer than four the noise is not known, and only equals are alike.
    """
    return np.flatnonzero(level <= np.min(level) + max(ALIKE * math.sqrt(2.0) * noise(v), quantum / 2))


def _opened(gap: Floats) -> int | None:
    """First evaluation from which on the gap stays above every value before it for good, and by `OPENED` at the end."""
    index = np.flatnonzero(np.isfinite(gap))
    g = gap[index]
    if len(g) < 2:
        return None
    before = np.maximum.accumulate(g)[:-1]
    after = np.minimum.accumulate(g[::-1])[::-1][1:]
    least = max(OPENED, 2 * noise(g))
    opens: npt.NDArray[np.intp] = np.flatnonzero((after > before) & (g[-1] > before + least))
    return int(index[opens[0] + 1]) if len(opens) else None


def _erratic(v: Floats, quantum: float) -> float:
    """Share of inner evaluations at which the loss turned, having moved by more than 2 % of its level on both sides.

    One turn is a valley and not counted: 0 for any curve that falls and then rises, 1 for a zigzag.
    """
    if len(v) < 4:
        return 0.0
    step = np.diff(v)
    least = np.maximum(TURN * np.abs(v[1:-1]), 2 * quantum)
    turned = (np.sign(step[1:]) * np.sign(step[:-1]) < 0) & (np.abs(step[1:]) > least) & (np.abs(step[:-1]) > least)
    return max(0, int(np.sum(turned)) - 1) / (len(v) - 3)
