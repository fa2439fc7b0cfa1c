"""The learning rate over training: as logged, else as saved optimizers hold it, else as configured."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from postmortem.measure.smooth import axis
from postmortem.model.curves import Phase, ScheduleStats
from postmortem.model.run import Floats, Series, Setting

LOW = 0.01  # of the peak
AT_PEAK = 0.9
WARM = 0.99  # of the peak: warm-up is over
RESTART = 1.5  # factor of a jump up
DECAYED = 0.7  # of the highest rate so far: what counts as having decayed
SWING = 0.1  # of the peak: a rise or fall that counts towards a cycle
CYCLES = 3
SAME = 1e-6  # of the highest rate: differences below are none
BRIDGE = 0.05  # share of the points: a flat stretch between two falls that is part of the fall
ABSURD = 10.0  # factor of a leap that is not the schedule's own
LEAP_SHARE = 0.05  # of the points: the longest such leap
MOST_LEAPS = 1000
FINE = 1e-9  # printed precision at which 0 is 0, whatever the rate was meant to be
FEWEST_BRIDGED = 20  # points from which a flat end as short as that belongs to the fall, too
MOST_PHASES = 24

Kind = Literal["warmup", "constant", "decay", "rise", "zero"]


def schedule_stats(
    series: Series | None, settings: Sequence[Setting], optimizer_lrs: Sequence[tuple[float, float]] = (), earlier: Series | None = None
) -> ScheduleStats | None:
    """The schedule, or None when nothing tells a learning rate.

    series : the logged rate. optimizer_lrs : (step, lr) of each checkpoint that holds an optimizer.
    earlier : the rate of the attempt that this one goes on from.
    A rate printed as 0.000000 only says that it is below the printed precision; when that hides everything, saved optimizers speak.
    """
    with np.errstate(all="ignore"):
        return _from_best_source(series, settings, optimizer_lrs, earlier)


def _from_best_source(
    series: Series | None, settings: Sequence[Setting], optimizer_lrs: Sequence[tuple[float, float]], earlier: Series | None
) -> ScheduleStats | None:
    configured = _configured(settings)
    saved = sorted((s, lr) for s, lr in optimizer_lrs if math.isfinite(s) and math.isfinite(lr) and lr >= 0)
    if series is not None:
        keep = np.isfinite(series.values) & (series.values >= 0)
        x, y = axis(series)[keep], series.values[keep]
        reference = max([float(np.max(y)) if len(y) else 0.0, configured or 0.0, *(lr for _, lr in saved)])
        telling = not series.quantum or series.quantum <= FINE or series.quantum <= LOW * reference
        if len(y) and (telling or bool(np.any(y > 0)) or not (saved or configured)):
            x, y, before = _with_earlier(x, y, earlier)
            return _stats("logged", x, y, quantum=series.quantum or 0.0, zero_is_zero=telling, before=before)
    if saved:
        rising = len(saved) > 1 and saved[0][1] < saved[1][1]  # a warm-up is under way, and began lower
        if (
            configured is not None
            and configured > 0
            and len(saved) > 1
            and configured >= max(lr for _, lr in saved)
            and saved[0][0] > 0
            and not rising
        ):
            saved = [(0.0, configured), *saved]  # what it was before the first checkpoint
        return _stats("optimizer", np.array([s for s, _ in saved]), np.array([lr for _, lr in saved]), quantum=0.0, zero_is_zero=True)
    if configured is None or configured < 0:
        return None
    named = next((str(s.value).lower() for s in settings if s.name == "schedule" and s.value), "constant")
    idle = configured == 0
    return ScheduleStats(
        source="configured",
        first=configured,
        final=configured,
        peak=configured,
        highest=configured,
        zero_share=float(idle),
        low_share=float(idle),
        low_from_step=0.0 if idle else None,
        warmup_steps=0.0,
        constant=named in ("constant", "none", "null", "false", "no", "fixed"),
        cyclic="cyclic" in named or "restart" in named,
    )


def _with_earlier(x: Floats, y: Floats, earlier: Series | None) -> tuple[Floats, Floats, float]:
    """The rate where the attempt before was left, in front, and the highest one of that attempt."""
    if earlier is None:
        return x, y, 0.0
    at, rate = axis(earlier), earlier.values
    known = np.isfinite(rate) & (rate >= 0) & (at < x[0])
    if not np.any(known):
        return x, y, 0.0
    return np.append(at[known][-1], x), np.append(rate[known][-1], y), float(np.max(rate[known]))


def _configured(settings: Sequence[Setting]) -> float | None:
    for setting in settings:
        if setting.name == "learning_rate" and not isinstance(setting.value, bool) and setting.value is not None:
            try:
                value = float(setting.value)
            except (ValueError, OverflowError):
                continue
            if math.isfinite(value):
                return value
    return None


def _stats(source: Literal["logged", "optimizer"], x: Floats, y: Floats, *, quantum: float, zero_is_zero: bool, before: float = 0.0) -> ScheduleStats:
    highest, peak = float(np.max(y)), _peak(y)
    least = max(SAME * highest, 0.5 * quantum)
    # What rounds to 0 may be as large as half a printed digit: below 1 % of the peak only when the print is that fine.
    low = y + 0.5 * quantum < LOW * peak if peak > 0 else np.full(len(y), zero_is_zero)
    above = np.flatnonzero(~low)
    low_from = 0 if not len(above) else int(above[-1]) + 1
    warm_index = _warm_index(y, peak, least)
    phases = _phases(x, y, least, zero_is_zero=zero_is_zero)
    jump, jump_index = _jump(y, warm_index)
    return ScheduleStats(
        source=source,
        first=float(y[0]),
        final=float(y[-1]),
        peak=peak,
        highest=highest,
        zero_share=float(np.mean(y == 0)) if zero_is_zero else 0.0,
        low_share=float(np.mean(low)) if source == "logged" else _share_of_steps(x, y, low_from, LOW * peak),
        low_from_step=float(x[low_from]) if low_from < len(y) else None,
        warmup_steps=float(x[warm_index] - x[0]),
        constant=float(np.ptp(y)) <= least,
        cyclic=_cyclic(y, peak),
        phases=phases,
        restarts=tuple(float(x[i]) for i in _restarts(y, before)),
        jump=jump,
        jump_step=None if jump_index is None else float(x[jump_index]),
    )


def _share_of_steps(x: Floats, y: Floats, since: int, low: float) -> float:
    """Share of the span of `x` that lies behind where `y` fell to `low`, which it has from index `since` on: checkpoints are few and may
    lie far apart, and in between a rate that goes on falling is taken to fall evenly in its logarithm. One that is low in the last checkpoint
    alone may have come down at the very end, as a cosine does."""
    span = float(x[-1] - x[0])
    if since >= len(x) or span <= 0:
        return float(since == 0)
    fell_at = float(x[since])
    if 0 < since < len(x) - 1 and y[since] > 0:
        left = math.log(low / y[since]) / math.log(y[since - 1] / y[since])
        fell_at -= left * float(x[since] - x[since - 1])
    return (float(x[-1]) - fell_at) / span


def _peak(y: Floats) -> float:
    """The highest rate, leaving out short leaps: tenfold up, and back where it was within a twentieth of the points."""
    keep = np.ones(len(y), dtype=bool)
    leaps = np.flatnonzero((y[:-1] > 0) & (y[1:] > ABSURD * y[:-1])) + 1
    longest = max(1, int(LEAP_SHARE * len(y)))
    for i in leaps[:MOST_LEAPS].tolist():
        before = float(y[i - 1])
        back = np.flatnonzero(y[i : i + longest + 1] <= ABSURD * before)
        if len(back) and float(y[i + int(back[0])]) * ABSURD >= before:
            keep[i : i + int(back[0])] = False
    return float(np.max(y[keep]))


def _warm_index(y: Floats, peak: float, least: float) -> int:
    """Index at which a rise from the first point has reached 99 % of the peak; 0 without warm-up."""
    if y[0] >= AT_PEAK * peak:
        return 0
    reached = int(np.argmax(y >= WARM * peak))
    falls = np.flatnonzero(np.diff(y[: reached + 1]) < -least)
    return 0 if len(falls) else reached


def _jump(y: Floats, warm_index: int) -> tuple[float, int | None]:
    """Largest ratio of neighbours upwards once warm-up is over, and its index; (1, None) without one."""
    tail = y[warm_index:]
    ratio = np.where(tail[:-1] > 0, tail[1:] / np.where(tail[:-1] > 0, tail[:-1], 1.0), 1.0)
    if not len(ratio) or float(np.max(ratio)) <= 1:
        return 1.0, None
    at = int(np.argmax(ratio))
    return float(ratio[at]), warm_index + at + 1


def _restarts(y: Floats, before: float) -> list[int]:
    """Indices at which the rate is up again after it had come down from the highest so far, or from what it was `before`."""
    if len(y) < 2:
        return []
    so_far = np.maximum(np.maximum.accumulate(y)[:-1], before)
    jumped = (y[1:] > RESTART * y[:-1]) & (y[:-1] < DECAYED * so_far) & (y[1:] > LOW * so_far)
    begins = jumped & ~np.concatenate(([False], jumped[:-1]))  # of a rise over several records the first
    index: list[int] = (np.flatnonzero(begins) + 1).tolist()
    return index


def _cyclic(y: Floats, peak: float) -> bool:
    """Rises and falls three times or more, each by more than a tenth of the peak."""
    rises = falls = 0
    low = high = float(y[0])
    rising: bool | None = None
    least = SWING * peak
    moves = y[np.concatenate(([True], np.diff(y) != 0))]
    if len(moves) > 2:  # only turning points matter
        turns = np.sign(np.diff(moves))
        moves = moves[np.concatenate(([True], turns[1:] != turns[:-1], [True]))]
    for value in moves.tolist():
        if rising is not True and value - low > least:
            rises, rising, high = rises + 1, True, value
        elif rising is not False and high - value > least:
            falls, rising, low = falls + 1, False, value
        low, high = min(low, value), max(high, value)
        if rising is True:
            low = value if value >= high else low
            high = max(high, value)
        if rises >= CYCLES and falls >= CYCLES:
            return True
    return False


def _phases(x: Floats, y: Floats, least: float, *, zero_is_zero: bool) -> tuple[Phase, ...]:
    if len(y) == 1:
        return (Phase("zero" if y[0] == 0 and zero_is_zero else "constant", float(x[0]), float(x[0]), float(y[0])),)
    step = np.diff(y)
    sign = np.where(np.abs(step) <= least, 0, np.sign(step)).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(sign)) + 1).tolist(), len(sign)]
    kinds = sign[edges[:-1]].tolist()
    short = max(2.0, BRIDGE * len(y))
    merged: list[tuple[int, int, int]] = []
    for at, (a, b) in enumerate(pairwise(edges)):  # points a..b
        kind = kinds[at]
        following = kinds[at + 1] if at + 1 < len(kinds) else merged[-1][0] if merged and len(y) >= FEWEST_BRIDGED else 0
        bridge = kind == 0 and merged and b - a <= short and merged[-1][0] == following != 0
        if merged and (bridge or merged[-1][0] == kind):
            merged[-1] = (merged[-1][0], merged[-1][1], b)
        else:
            if len(merged) == MOST_PHASES:
                break
            merged.append((kind, a, b))
    out = []
    for kind, a, b in merged:
        name: Kind = "decay" if kind < 0 else ("warmup" if a == 0 else "rise") if kind > 0 else "constant"
        if kind == 0 and y[a] == 0 and y[b] == 0 and zero_is_zero:
            name = "zero"
        out.append(Phase(name, float(x[a]), float(x[b]), float(y[b])))
    return tuple(out)
