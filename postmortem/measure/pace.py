"""Time as training spent it: seconds per step, slowdown, the longest silence."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from postmortem.measure.smooth import axis
from postmortem.model.curves import PaceStats
from postmortem.model.run import Floats, Series, Setting
from postmortem.model.sentence import Value

FEWEST = 20  # records below which a last tenth is too little to speak of slowing down
PER_HOUR = 3600.0
USUAL = 0.5  # share of a wait that steps at the usual rate account for


def pace_stats(series: Iterable[Series], settings: Sequence[Setting] = (), facts: Mapping[str, Value] | None = None) -> PaceStats:
    """Pace from the times of all series, else from a logged `step_time` or `throughput`, of which only the slowdown is known in steps.

    facts : `gpus` where a source told it. The step rate is of the series with the most timed records, so that evaluations and
    saves, which stand between records, do not count as slow steps (a median).
    """
    with np.errstate(all="ignore"):
        return _stats(list(series), settings, facts)


def _stats(every: list[Series], settings: Sequence[Setting], facts: Mapping[str, Value] | None) -> PaceStats:
    gpus = _whole(next((s.value for s in settings if s.name == "gpus"), None)) or _whole((facts or {}).get("gpus"))
    timed = [(axis(s)[k], s.times[k]) for s in every if s.times is not None and len(s.times) == len(s.values) for k in (np.isfinite(s.times),)]
    timed = [(x, t) for x, t in timed if len(t) > 1]
    if timed:
        x, t = max(timed, key=lambda xt: len(xt[1]))
        rate, slowdown = _rate(x, t)
        all_x, all_t = np.concatenate([x for x, _ in timed]), np.concatenate([t for _, t in timed])
        order = np.argsort(all_t, kind="stable")
        all_x, all_t = all_x[order], all_t[order]
        waits = np.diff(all_t)
        if rate:  # a wait in which as many steps were done as usual is none: records between were left out
            waits = np.where(np.diff(all_x) * rate > USUAL * waits, np.minimum(waits, np.median(waits)), waits)
        longest = int(np.argmax(waits))
        return PaceStats(
            hours=float(all_t[-1] - all_t[0]) / PER_HOUR, seconds_per_step=rate, slowdown=slowdown, longest_gap=float(waits[longest]),
            longest_gap_step=float(all_x[longest]), gpus=gpus,
        )  # fmt: skip
    seconds = _positive(every, "step_time")
    if len(seconds):
        return PaceStats(None, float(np.median(seconds)), _slowdown(seconds), None, None, gpus)
    return PaceStats(None, None, _slowdown(1.0 / _positive(every, "throughput")), None, None, gpus)


def _positive(every: list[Series], name: str) -> Floats:
    """The values of a series that are above 0; none where it was not logged."""
    series = next((s for s in every if s.name == name), None)
    return np.zeros(0) if series is None else series.values[np.isfinite(series.values) & (series.values > 0)]


def _rate(x: Floats, t: Floats) -> tuple[float | None, float | None]:
    """Median seconds per step, and how that changed; None where steps or the clock stand still."""
    steps, seconds = np.diff(x), np.diff(t)
    moved = (steps > 0) & (seconds >= 0)
    if not bool(np.any(moved)):
        return None, None
    each = seconds[moved] / steps[moved]
    median = float(np.median(each))
    # A clock of whole seconds shows most steps as taking none: take stretches of the log instead.
    if median == 0 or float(np.mean(each == 0)) > 0.2:
        whole = np.linspace(0, len(x) - 1, min(len(x), 21)).astype(np.int64)
        steps, seconds = np.diff(x[whole]), np.diff(t[whole])
        each = seconds[steps > 0] / steps[steps > 0]
        median = float(np.median(each))
        return (median if median > 0 else None), None
    return median, _slowdown(each)


def _slowdown(each: Floats) -> float | None:
    """Median of the last tenth over the median of the first half."""
    if len(each) < FEWEST:
        return None
    before, after = float(np.median(each[: len(each) // 2])), float(np.median(each[-max(2, len(each) // 10) :]))
    return after / before if before > 0 else None


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number >= 1 else None
