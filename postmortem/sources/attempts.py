"""Restarts cut a run into attempts.

A step counter that goes back is a restart: to where a checkpoint was (a resume) or to the beginning (a new start, or several
runs in one file). Counters that go back all the time are ranks or writers interleaved: those are sorted instead.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from postmortem.model.run import Attempt, Floats, Series
from postmortem.model.sentence import say

INTERLEAVED = 0.2  # share of backward steps above which a counter is interleaved rather than restarted
MOST_ATTEMPTS = 64


def cut(steps: Floats) -> list[slice]:
    """Segments of a step counter between restarts. One segment when it never goes back, or does so all the time."""
    if len(steps) < 2:
        return [slice(0, len(steps))]
    back = np.flatnonzero(np.diff(steps) < 0) + 1
    if not len(back):
        return [slice(0, len(steps))]
    if len(back) > max(3, INTERLEAVED * len(steps)) or len(back) > MOST_ATTEMPTS:
        return [slice(0, len(steps))]
    edges = [0, *back.tolist(), len(steps)]
    segments = [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    return _without_jitter(steps, segments)


def _without_jitter(steps: Floats, segments: list[slice]) -> list[slice]:
    """A single record out of order is no restart: join a segment that goes on above where the one before ended."""
    kept: list[slice] = []
    for segment in segments:
        if kept and segment.stop - segment.start == 1 and segment.stop < len(steps) and steps[segment.stop] >= steps[kept[-1].stop - 1]:
            kept[-1] = slice(kept[-1].start, segment.stop)
            continue
        if kept and kept[-1].stop - kept[-1].start == 1 and len(kept) == 1:
            kept[-1] = slice(kept[-1].start, segment.stop)  # a lone first record, such as a sanity check of validation
            continue
        kept.append(segment)
    return kept


def take(one: Series, part: slice) -> Series:
    """Some records of a series."""
    return replace(
        one,
        steps=one.steps[part],
        values=one.values[part],
        epochs=None if one.epochs is None else one.epochs[part],
        times=None if one.times is None else one.times[part],
    )


def tidy(one: Series) -> Series:
    """In order of step; of records with one step the newest wins, unless it is finite and an older one is not."""
    order = np.argsort(one.steps, kind="stable")
    steps = one.steps[order]
    last = np.append(steps[1:] != steps[:-1], True)
    if last.all() and np.array_equal(order, np.arange(len(order))):
        return one
    keep = order[last]
    picked = Series(
        one.name, one.logged_as, one.source, one.steps[keep], one.values[keep].copy(),
        None if one.epochs is None else one.epochs[keep], None if one.times is None else one.times[keep], one.reduction, one.quantum,
    )  # fmt: skip
    if not np.isfinite(one.values).all():
        bad = np.unique(steps[~np.isfinite(one.values[order])])
        picked.values[np.isin(picked.steps, bad)] = np.nan
    return picked


def into_attempts(series: Sequence[Series]) -> list[list[Series]]:
    """The series of each attempt, oldest first; at least one list."""
    pieces = [(s, cut(s.steps)) for s in series]
    anchors = [p for p in pieces if p[0].name == "train/loss"] or sorted(pieces, key=lambda p: -len(p[0]))[:1]
    attempts = max((len(cuts) for _, cuts in anchors), default=1)
    out: list[list[Series]] = [[] for _ in range(attempts)]
    for one, cuts in pieces:
        if len(cuts) == attempts:
            for n, part in enumerate(cuts):
                out[n].append(tidy(take(one, part)))
        elif len(cuts) < attempts:
            for n, part in enumerate(cuts):
                out[attempts - len(cuts) + n].append(tidy(take(one, part)))
        else:
            out[-1].append(tidy(take(one, cuts[-1])) if attempts > 1 else tidy(one))
    return out


def describe(attempts: Sequence[Sequence[Series]]) -> tuple[Attempt, ...]:
    """First and last step of each attempt, and how it followed the one before."""
    out: list[Attempt] = []
    for series in attempts:
        first = min((float(s.steps[0]) for s in series if len(s)), default=0.0)
        last = max((float(s.steps[-1]) for s in series if len(s)), default=0.0)
        seam = resumed = None
        if out:
            before = out[-1]
            fresh = first <= before.first_step + 0.02 * max(1.0, before.last_step - before.first_step)
            if fresh:
                seam = say("started again from the beginning after step {step:g}", step=before.last_step)
            else:
                resumed = first
                seam = say("went back from step {step:g} to step {first:g} and went on from there", step=before.last_step, first=first)
        out.append(Attempt(first, last, seam, resumed))
    return tuple(out)
