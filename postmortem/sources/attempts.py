"""Restarts cut a run into attempts.

A step counter that goes back is a restart: to where a checkpoint was (a resume) or to the beginning (a new start, or several
runs in one file). Counters that go back all the time, each time by a little, are ranks or writers interleaved: those are sorted instead.
One series, the training loss, says where the restarts are; the records of the others are handed to the attempts that they fit.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Attempt, Floats, Series
from postmortem.model.sentence import say

INTERLEAVED = 0.2  # share of backward steps above which a counter is interleaved rather than restarted
BEGINNING = 0.1  # share of the range: a counter that goes back to below it starts anew, however often it does
MOST_ATTEMPTS = 64
MOSTLY_THE_SAME = 0.8  # share of records written again that hold what they held before
_FEWEST_REPEATS = 2  # records; fewer may agree by chance
LATE = 10.0  # usual gaps by which one record alone may come late, as where two processes write one log
_FEWEST_FOLDS = 3
_WHOLE = 0.9  # share of the longest training that each but the last has reached where they are folds
LOSSES = 4  # that are kept of what came before a resume
_FEW = 3  # records below which a series cannot say where the restarts are
# What it costs to hand a record to an attempt, in records that lie far outside of it.
_BACKWARD = 10.0  # a step that goes back within the attempt, at least
_OLDER = 1e-6  # per attempt: of two that fit the later one is taken
_OUTSIDE = 1e-4  # a record that lies outside at all, however near: one that it lies within takes it rather
_NEVER = 1e6  # it was written in another one
_SLACK = 0.05  # share of an attempt's range by which a record may lie outside of it: epochs end after the last batch


def cut(steps: Floats, values: Floats | None = None, unit: float = 0.0) -> list[slice]:
    """Segments of a step counter between restarts. One segment when it never goes back, or does so all the time.

    values : what was logged at these steps; what is merely written again is no restart. unit : how finely they were printed.
    """
    whole = [slice(0, len(steps))]
    if len(steps) < 2:
        return whole
    back = _restarts(steps)
    if values is not None:
        back = _not_written_again(steps, values, back, unit)
    if not len(back):
        return whole
    if len(back) > max(3, INTERLEAVED * len(steps)) and not _from_the_beginning(steps, back):
        return whole
    if len(back) >= MOST_ATTEMPTS:
        if not _from_the_beginning(steps, back):
            return whole
        back = back[-(MOST_ATTEMPTS - 1) :]  # what lies before is one attempt
    edges = [0, *back.tolist(), len(steps)]
    return [slice(a, b) for a, b in pairwise(edges)]


def _restarts(steps: Floats) -> npt.NDArray[np.intp]:
    """Where a segment begins: the counter goes back, and not for one record out of order alone."""
    back = np.flatnonzero(np.diff(steps) < 0) + 1
    gaps = np.diff(steps)
    usual = float(np.median(gaps[gaps > 0])) if np.any(gaps > 0) else 1.0
    interleaved = len(back) > max(3, INTERLEAVED * len(steps)) and not _from_the_beginning(steps, back)
    keep = []
    for at in back.tolist():
        before, here = steps[at - 1], steps[at]
        if at == 1 and (len(back) > 1 or len(steps) > 2):
            continue  # a lone first record, such as a sanity check of validation
        alone = at + 1 == len(steps) or steps[at + 1] > before
        if (alone or interleaved) and before - here <= LATE * usual:
            continue  # a single record that was written late
        keep.append(at)
    return np.array(keep, dtype=np.intp)


def _not_written_again(steps: Floats, values: Floats, back: npt.NDArray[np.intp], unit: float) -> npt.NDArray[np.intp]:
    """Without the restarts from which on, to where the counter had been, the records hold the values that these steps had before: a
    second writer, or a log's end printed twice."""
    falls = np.append(np.flatnonzero(np.diff(steps) < 0) + 1, len(steps))
    known: dict[float, float] = {}  # of the steps before
    told = 0
    keep: list[int] = []
    for at in back.tolist():
        known.update(zip(steps[told:at].tolist(), values[told:at].tolist(), strict=True))
        told = at
        stop = int(falls[np.searchsorted(falls, at, side="right")])
        beyond = steps[at + 1 : stop] > steps[at - 1]
        again = slice(at, at + 1 + int(np.argmax(beyond)) if beyond.any() else stop)
        pairs = [(known[s], v) for s, v in zip(steps[again].tolist(), values[again].tolist(), strict=True) if s in known]
        if not _alike(pairs, unit):
            keep.append(at)
    return np.array(keep, dtype=np.intp)


def _alike(pairs: Sequence[tuple[float, float]], unit: float) -> bool:
    if len(pairs) < _FEWEST_REPEATS:
        return False
    before, now = np.array(pairs).T
    with np.errstate(invalid="ignore"):  # from infinity to infinity is no difference: they are equal
        apart = np.abs(before - now)
    same = (apart <= 1.5 * unit) | (before == now) | (np.isnan(before) & np.isnan(now))
    return bool(np.mean(same) >= MOSTLY_THE_SAME)


def _from_the_beginning(steps: Floats, back: npt.NDArray[np.intp]) -> bool:
    low, span = float(steps.min()), float(np.ptp(steps))
    return len(steps) >= 2 * (len(back) + 1) and float(np.mean(steps[back] <= low + BEGINNING * span)) >= 0.8


def tidy(one: Series) -> Series:
    """In order of step. Of records with one step the newest counts; NaN where any of them is not finite."""
    order = np.argsort(one.steps, kind="stable")
    steps = one.steps[order]
    last = np.append(steps[1:] != steps[:-1], True)
    if last.all() and np.array_equal(order, np.arange(len(order))):
        return one
    keep = order[last]
    values = one.values[keep].copy()
    if not np.isfinite(one.values).all():
        bad = np.unique(steps[~np.isfinite(one.values[order])])
        hidden = np.isin(one.steps[keep], bad) & np.isfinite(values)
        values[hidden] = np.nan
    return replace(
        one,
        steps=one.steps[keep],
        values=values,
        epochs=None if one.epochs is None else one.epochs[keep],
        times=None if one.times is None else one.times[keep],
        records=None,
    )


def into_attempts(series: Sequence[Series]) -> list[list[Series]]:
    """The series of each attempt, oldest first; at least one list. `steps` are finite."""
    anchor = _anchor(series)
    segments = cut(anchor.steps, anchor.values, anchor.quantum or 0.0) if anchor is not None else []
    if anchor is None or len(segments) < 2:
        return [[tidy(s) for s in series]]
    spans = [(float(anchor.steps[part].min()), float(anchor.steps[part].max())) for part in segments]
    out: list[list[Series]] = [[] for _ in spans]
    for one in series:
        for n, part in enumerate(segments if one is anchor else hand_out(one.steps, spans, _written(one, anchor, segments))):
            if part.stop > part.start:
                out[n].append(tidy(one.part(part)))
    return out


def _anchor(series: Sequence[Series]) -> Series | None:
    loss = next((s for s in series if s.name == "train/loss" and len(s) >= _FEW), None)
    longest = max(map(len, series), default=0)  # of those the one that varies most: a constant looks as if it were written again
    return loss or max((s for s in series if len(s) == longest > 0), key=lambda s: len(np.unique(s.values)), default=None)


def _written(one: Series, anchor: Series, segments: Sequence[slice]) -> list[slice] | None:
    """Of each segment of the anchor the records of another series that may be of it: not written before the end of the segment before, nor
    after the begin of the next, nor of a step to which it had yet to come. None where nothing tells, as of another file."""
    if one.source != anchor.source or one.records is None or anchor.records is None:
        return None
    begins = np.searchsorted(one.records, [anchor.records[part.start] for part in segments], side="left").tolist()
    ends = np.searchsorted(one.records, [anchor.records[part.stop - 1] for part in segments], side="right").tolist()
    out: list[slice] = []
    for n, part in enumerate(segments):
        between = slice(ends[n - 1], begins[n]) if n else slice(0, 0)  # behind the last record of the segment before
        ahead = np.flatnonzero(one.steps[between] > anchor.steps[part.start])
        out.append(slice(between.start + (int(ahead[-1]) + 1 if len(ahead) else 0), begins[n + 1] if n + 1 < len(segments) else len(one)))
    return out


def hand_out(steps: Floats, spans: Sequence[tuple[float, float]], written: Sequence[slice] | None = None) -> list[slice]:
    """Cut records, in the order in which they were written, into one part per attempt; a part may be empty.

    spans : first and last step of each attempt. written : which records may be of each, where that is known.
    The cheapest cut is taken: no step back within a part, no record far outside of its attempt, none that was written in another.
    """
    n = len(steps)
    drop = np.append(np.maximum(-np.diff(steps, prepend=steps[:1]), 0.0), 0.0)  # (n + 1,)
    back = np.where(drop > 0, _BACKWARD * (1.0 + drop / max(float(np.ptp(steps)) if n else 0.0, 1.0)), 0.0)  # the longest way back is the restart
    best = np.full(n + 1, np.inf)
    best[0] = 0.0
    begins: list[npt.NDArray[np.intp]] = []
    for number, (low, high) in enumerate(spans):
        span = max(high - low, 1.0)
        beyond = np.maximum(low - steps, steps - high) / span
        cost = np.clip(beyond - _SLACK, 0.0, 1.0) + _OUTSIDE * (beyond > 0) + _OLDER * (len(spans) - number) + back[:n]
        if written is not None:
            cost[: written[number].start] += _NEVER
            cost[written[number].stop :] += _NEVER
        total = np.concatenate([[0.0], np.cumsum(cost)])
        entering = best - total - back  # a part's own first record goes back from none of its own
        where = np.arange(n + 1)
        cheapest = np.minimum.accumulate(entering)
        first = np.maximum.accumulate(np.where(entering <= cheapest, where, 0))
        within = np.full(n + 1, np.inf)
        within[1:] = cheapest[:-1] + total[1:]
        empty = best <= within
        begin = np.empty(n + 1, dtype=np.intp)
        begin[0] = 0
        begin[1:] = first[:-1]
        begins.append(np.where(empty, where, begin))
        best = np.where(empty, best, within)
    parts: list[slice] = []
    stop = n
    for begin in reversed(begins):
        parts.append(slice(int(begin[stop]), stop))
        stop = int(begin[stop])
    return parts[::-1]


def span(series: Sequence[Series]) -> tuple[float, float]:
    """First and last step of what is known of an attempt; of all that was logged where nothing is known."""
    told = [s for s in series if len(s) and not s.name.startswith("other/")] or [s for s in series if len(s)]
    return min((float(s.steps[0]) for s in told), default=0.0), max((float(s.steps[-1]) for s in told), default=0.0)


def describe(attempts: Sequence[Sequence[Series]]) -> tuple[Attempt, ...]:
    """First and last step of each attempt, and how it followed the one before.

    Several that all ran from the beginning over one length are no attempts at one training: folds of a cross-validation, trials, seeds.
    """
    ends = [span(one) for one in attempts]
    longest = max((last for _, last in ends), default=0.0)
    begun, done = [first for first, _ in ends], [last for _, last in ends[:-1]]
    folds = len(ends) >= _FEWEST_FOLDS and min(done) >= _WHOLE * longest and max(begun) <= BEGINNING * longest
    out: list[Attempt] = []
    for n, (first, last) in enumerate(ends):
        seam = resumed = None
        losses_before: tuple[float, ...] = ()
        if out:
            before = out[-1]
            fresh = first <= before.first_step + 0.02 * max(1.0, before.last_step - before.first_step)
            if folds:
                seam = say("another training over the same steps began after step {step:g}: a fold, a trial or a seed", step=before.last_step)
            elif fresh:
                seam = say("started again from the beginning after step {step:g}", step=before.last_step)
                losses_before = tuple(_losses(attempts[n - 1])[-LOSSES:].tolist())
            else:
                resumed = first
                losses_before = tuple(_losses(attempts[n - 1], until=first)[-LOSSES:].tolist())
                seam = say("went back from step {step:g} to step {first:g} and went on from there", step=before.last_step, first=first)
        out.append(Attempt(first, last, seam, resumed, next(iter(_losses(attempts[n])[:1].tolist()), None), losses_before))
    return tuple(out)


def _losses(series: Sequence[Series], until: float = np.inf) -> Floats:
    """The finite training losses of an attempt up to a step."""
    loss = next((s for s in series if s.name == "train/loss"), None)
    return np.zeros(0) if loss is None else loss.values[np.isfinite(loss.values) & (loss.steps <= until)]
