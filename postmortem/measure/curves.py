"""One logged series in figures: levels, trends, turning points, spikes, swings, where it was heading, NaN."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from postmortem.measure.asymptote import asymptote
from postmortem.measure.nonfinite import hidden_from, non_finite
from postmortem.measure.oscillation import oscillation
from postmortem.measure.running import is_running_mean
from postmortem.measure.smooth import axis, noise, smooth, unit
from postmortem.measure.spikes import find_spikes
from postmortem.measure.trend import trend
from postmortem.measure.turning import plateau_index, turn_index
from postmortem.measure.words import words_of
from postmortem.model.curves import Asymptote, CurveStats, Halves, NonFinite, Oscillation, Spike, Trend
from postmortem.model.run import Floats, Reduction, Series

LAST = 3  # records
END_SHARE = 10  # start and final are medians of one tenth of the points …
END_MOST = 50  # … and of no more than this many
STILL = 1e-5  # of the last value
FEWEST_HALVED = 8
TINIEST = 1e-12  # standard error of records that are all the same, in units of the curve's size
PRINT_SIGMA = 1 / math.sqrt(12)  # standard deviation of a rounding error, in printed digits

_HIGHER = frozenset(
    words_of(
        "accuracy acc top f1 auc auroc score reward rewards return returns map ap bleu rouge iou miou dice precision recall psnr ssim "
        "r2 margin margins throughput"
    )
)
_LOWER = frozenset(words_of("loss error err perplexity ppl mae mse rmse wer cer fid nll norm time entropy kl"))


def goal_of(name: str) -> Literal["lower", "higher"]:
    """Which way is better, from the last word of a series' name that tells; lower when none does."""
    for word in reversed(words_of(name)):
        told = {word, word.rstrip("0123456789")}
        if told & _LOWER:
            return "lower"
        if told & _HIGHER:
            return "higher"
    return "lower"


def curve_stats(series: Series, grad_norm: Series | None = None, *, right: Series | None = None, steps_per_epoch: float | None = None) -> CurveStats:
    """All figures of one series.

    grad_norm : the gradient norm of the same run; shows whether zeros of a loss hide NaNs. Such zeros count as not finite in
    every figure but `zeros`. right : the accuracy of the same split, which may show that they do not. steps_per_epoch : tells
    an oscillation's period in epochs, and running means where the reader could not.
    """
    with np.errstate(all="ignore"):
        return _stats(series, grad_norm, right, steps_per_epoch)


def _stats(series: Series, grad_norm: Series | None, right: Series | None, steps_per_epoch: float | None) -> CurveStats:
    raw = np.asarray(series.values, dtype=np.float64)
    every_step = axis(series)
    goal = goal_of(series.name)
    hidden = hidden_from(series, grad_norm, right)
    logged = raw
    if hidden is not None:
        logged = raw.copy()
        logged[hidden:] = np.nan
    keep = np.isfinite(logged)
    exact = logged[keep]
    scale = unit(exact)
    x, y = every_step[keep], exact / scale
    n = len(y)
    broken = non_finite(every_step, logged, hidden=hidden is not None)
    first_step, last_step = (float(every_step[0]), float(every_step[-1])) if len(raw) else (math.nan, math.nan)
    if n == 0:
        return _empty(series, goal, (first_step, last_step), broken)

    worse = 1 if goal == "lower" else -1
    quantum = (series.quantum or 0.0) / scale
    sigma = max(noise(y), PRINT_SIGMA * quantum)
    level = smooth(y)
    end = max(1, min(n // END_SHARE, END_MOST))
    start, final = float(np.median(y[:end])), float(np.median(y[-_last(y, end, sigma) :]))
    at_best = int(np.argmin(worse * level))
    best = float(level[at_best])
    gain = max(0.0, worse * (start - best))
    lost = max(0.0, worse * (final - best))
    at_high = int(np.argmax(exact))
    turn = turn_index(worse * y, worse * level, sigma, quantum)
    plateau = plateau_index(level, sigma, final, quantum)
    span = float(x[-1] - x[0])
    third = max(4, n // 3)
    reduction = series.reduction
    if reduction is Reduction.UNKNOWN and n > 1:
        epochs = series.epochs[keep] if series.epochs is not None and len(series.epochs) == len(raw) else x / (steps_per_epoch or math.nan)
        reduction = Reduction.RUNNING if is_running_mean(y, epochs) else reduction
    running = reduction is Reduction.RUNNING
    return CurveStats(
        name=series.name,
        goal=goal,
        reduction=reduction,
        points=len(raw),
        finite=n,
        first_step=first_step,
        last_step=last_step,
        first=float(exact[0]),
        last=float(exact[-1]),
        start=float(np.clip(start * scale, np.min(exact), np.max(exact))),
        final=float(np.clip(final * scale, np.min(exact), np.max(exact))),
        best=best * scale,
        best_step=float(x[at_best]),
        worst=float(level[int(np.argmax(worse * level))]) * scale,
        lowest=float(np.min(exact)),
        highest=float(exact[at_high]),
        highest_step=float(x[at_high]),
        leap=_leap(y, at_high),
        noise=sigma * scale,
        quantum=series.quantum,
        distinct=len(np.unique(exact)),
        relative_gain=_share(gain, abs(start)),
        lost_ground=_share(lost, gain),
        net_change=math.copysign(_share(abs(final - start), abs(start)), final - start),
        log_growth=_decades(final, start),
        peak_log_growth=_decades(float(y[at_high]), start),
        trend=_trend(x, y, scale),
        tail=_trend(x[-third:], y[-third:], scale),
        after_best=_trend(x[at_best:], y[at_best:], scale),
        turn_step=None if turn is None else float(x[turn]),
        plateau_step=None if plateau is None else float(x[plateau]),
        plateau_share=0.0 if plateau is None else _share(float(x[-1] - x[plateau]), span) if span > 0 else 1.0,
        zeros=int(np.sum(raw == 0)),
        spikes=() if running else tuple(_rescaled(s, scale) for s in find_spikes(x, y, sigma, worse=worse, quantum=quantum)),
        oscillation=None if running else _oscillation(x, y, scale, quantum, steps_per_epoch),
        asymptote=_asymptote(x, y, scale, sinking=goal == "lower", start=start, final=final),
        non_finite=broken,
        still_from=_still_from(x, y, quantum),
        halves=_halves(y, scale, quantum) if n >= FEWEST_HALVED else None,
    )


def _still_from(x: Floats, y: Floats, quantum: float) -> float | None:
    near = STILL * abs(float(y[-1]))
    moving = np.flatnonzero(np.abs(y - y[-1]) > near)
    first = int(moving[-1]) + 1 if moving.size else 0
    return float(x[first]) if first < len(y) - 1 and quantum <= near else None


def _halves(y: Floats, scale: float, quantum: float) -> Halves:
    early, late = y[: max(3, len(y) // 4)], y[len(y) // 2 :]
    least = PRINT_SIGMA * quantum
    error, early_error = (max(float(part.std(ddof=1)) / math.sqrt(len(part)), least, TINIEST) for part in (late, early))
    mean = float(late.mean())
    return Halves(mean * scale, error * scale, (float(early.mean()) - mean) / math.hypot(error, early_error))


def _empty(series: Series, goal: Literal["lower", "higher"], ends: tuple[float, float], broken: NonFinite | None) -> CurveStats:
    """A curve without one finite value."""
    nan = math.nan
    return CurveStats(
        name=series.name,
        goal=goal,
        reduction=series.reduction,
        points=len(series.values),
        finite=0,
        first=nan,
        last=nan,
        start=nan,
        final=nan,
        best=nan,
        best_step=nan,
        worst=nan,
        lowest=nan,
        highest=nan,
        highest_step=nan,
        leap=nan,
        noise=nan,
        first_step=ends[0],
        last_step=ends[1],
        quantum=series.quantum,
        distinct=0,
        relative_gain=0.0,
        lost_ground=0.0,
        net_change=nan,
        log_growth=nan,
        peak_log_growth=nan,
        trend=None,
        tail=None,
        after_best=None,
        turn_step=None,
        plateau_step=None,
        plateau_share=0.0,
        zeros=int(np.sum(series.values == 0)),
        non_finite=broken,
    )


def _leap(y: Floats, at: int) -> float:
    """The rise into the record `at` over the largest other rise between neighbours; 0 where it does not rise."""
    rises = np.diff(y)
    if at < 1 or rises[at - 1] <= 0:
        return 0.0
    others = np.delete(rises, at - 1)
    return _share(float(rises[at - 1]), max(float(np.max(others, initial=0.0)), 0.0))


def _share(part: float, whole: float) -> float:
    """part / whole; 0 when both are 0, inf when only the whole is."""
    if whole > 0:
        return part / whole
    return math.inf if part > 0 else 0.0


def _decades(value: float, base: float) -> float:
    return math.log10(value) - math.log10(base) if value > 0 and base > 0 else math.nan


def _trend(x: Floats, y: Floats, scale: float) -> Trend | None:
    found = trend(x, y)
    return found if found is None or scale == 1 else replace(found, slope=found.slope * scale)


def _rescaled(spike: Spike, scale: float) -> Spike:
    return spike if scale == 1 else replace(spike, value=spike.value * scale, level=spike.level * scale)


def _oscillation(x: Floats, y: Floats, scale: float, quantum: float, steps_per_epoch: float | None) -> Oscillation | None:
    found = oscillation(x, y, quantum=quantum or None, steps_per_epoch=steps_per_epoch)
    return found if found is None or scale == 1 else replace(found, amplitude=found.amplitude * scale)


def _last(y: Floats, end: int, sigma: float) -> int:
    """How many records make the end: three of a short curve too, where its noise exceeds what it still falls within three."""
    if end >= LAST or len(y) < 4 * LAST:
        return end
    return LAST if sigma > abs(float(np.median(y[-LAST:]) - np.median(y[-2 * LAST : -LAST]))) else end


def _asymptote(x: Floats, y: Floats, scale: float, *, sinking: bool, start: float, final: float) -> Asymptote | None:
    found = asymptote(x, y, sinking=sinking, start=start, final=final)
    return found if found is None or scale == 1 else replace(found, limit=found.limit * scale)
