"""Curves of several runs on one axis: optimizer steps, epochs, tokens, or hours since the first record."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postmortem.model.evidence import Evidence
from postmortem.model.run import Floats, Reduction, Series

AXES = ("step", "epoch", "tokens", "time")
_SAMPLES = ("batch_size", "accumulation", "gpus")  # what one optimizer step goes through
_TOKENS = frozenset({"tokens", "num_tokens", "total_tokens", "tokens_seen", "num_input_tokens_seen", "consumed_tokens", "train_tokens", "n_tokens"})


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A curve on the axis of a comparison. x : (n,) finite, not decreasing; values : (n,) may hold NaN and Inf.

    means : whether a value is the mean over the steps since the one before. quantum : what rounding may hide.
    """

    name: str
    x: Floats
    values: Floats
    means: bool = False
    quantum: float = 0.0


def choose(runs: Sequence[Evidence]) -> str:
    """The axis on which the runs can be compared best: steps where one step means the same in all of them, else epochs, else tokens."""
    if all(e.axis == "step" for e in runs):
        if len({tuple(e.number(name) for name in _SAMPLES) for e in runs}) == 1:
            return "step"
        return next((axis for axis in ("epoch", "tokens") if all(_has(e, axis) for e in runs)), "step")
    return "epoch" if all(_has(e, "epoch") for e in runs) else "step"


def _has(evidence: Evidence, axis: str) -> bool:
    return any(place(evidence, s, axis) is not None for name, s in evidence.series.items() if name in ("train/loss", "val/loss"))


def place(evidence: Evidence, series: Series, axis: str) -> Placed | None:
    """A series on the axis; None when the run does not tell where its points are."""
    x = _places(evidence, series, axis)
    if x is None:
        return None
    known = np.isfinite(x)
    if not known.any():
        return None
    order = np.argsort(x[known], kind="stable")
    values = np.asarray(series.values, dtype=np.float64)[known][order]
    return Placed(series.name, x[known][order], values, series.reduction is Reduction.WINDOW, series.quantum or 0.0)


def _places(evidence: Evidence, series: Series, axis: str) -> Floats | None:
    if axis == "epoch":
        if evidence.axis == "epoch":
            return series.steps
        if series.epochs is not None and np.isfinite(series.epochs).any():
            return series.epochs
        return series.steps / evidence.steps_per_epoch if evidence.steps_per_epoch and evidence.axis == "step" else None
    if axis == "time":
        starts = [float(np.nanmin(s.times)) for s in evidence.series.values() if s.times is not None and np.isfinite(s.times).any()]
        return None if series.times is None or not starts else (series.times - min(starts)) / 3600.0
    if axis == "tokens":
        told = next((s for name, s in evidence.series.items() if _leaf(name) in _TOKENS or _leaf(s.logged_as) in _TOKENS), None)
        if told is None or len(told) < 2:
            return None
        known = np.isfinite(told.values)
        return (
            np.interp(series.steps, told.steps[known], np.maximum.accumulate(told.values[known]), left=np.nan, right=np.nan) if known.any() else None
        )
    return series.steps if evidence.axis != "epoch" or not evidence.steps_per_epoch else series.steps * evidence.steps_per_epoch


def _leaf(name: str) -> str:
    return name.rpartition("/")[2].lower()


def on_grid(good: Placed, bad: Placed) -> tuple[Floats, Floats, Floats]:
    """Both curves at common places: (x, good, bad), each (m,).

    These are the places at which both have a point, where they are half of the coarser curve's or more; else all of the coarser curve's.
    Where one curve has several points between two places of the grid their mean stands for them (a log that prints every tenth step
    prints a mean or a sample of ten); where it has none, the line between its neighbours. Only where both curves are.
    """
    low, high = max(good.x[0], bad.x[0]), min(good.x[-1], bad.x[-1])
    room = 1e-9 * max(abs(low), abs(high), 1.0)
    counts = [int(np.count_nonzero((p.x >= low - room) & (p.x <= high + room))) for p in (good, bad)]
    if min(counts) == 0:
        empty = np.empty(0)
        return empty, empty, empty
    coarse = good if counts[0] <= counts[1] else bad
    x = np.unique(coarse.x[(coarse.x >= low - room) & (coarse.x <= high + room)])
    reach = float(np.diff(x).min()) if coarse.means and len(x) > 1 else 0.0  # its first point is a mean as well
    both = np.intersect1d(good.x, bad.x)
    if 2 * len(both) >= len(x) and not (good.means or bad.means):
        return both, _last_at(good, both), _last_at(bad, both)
    return x, _at(good, x, reach), _at(bad, x, reach)


def at_places(placed: Placed, x: Floats) -> Floats:
    """A curve at the places of a grid, NaN where it has not begun or has ended."""
    out = _last_at(placed, x) if np.isin(x, placed.x).all() else _at(placed, x)
    return np.where((x < placed.x[0]) | (x > placed.x[-1]), np.nan, out)


def _last_at(placed: Placed, x: Floats) -> Floats:
    return placed.values[np.searchsorted(placed.x, x, side="right") - 1]


def _at(placed: Placed, x: Floats, reach: float = 0.0) -> Floats:
    """At each place the mean since the one before; at the first one over `reach` before it."""
    spacing = np.diff(x).min() if len(x) > 1 else 1.0
    ends = np.searchsorted(placed.x, x + 1e-6 * spacing, side="right")
    first = int(np.searchsorted(placed.x, x[0] - reach, side="right")) if reach else int(ends[0]) - 1
    starts = np.concatenate(([max(0, min(first, int(ends[0]) - 1))], ends[:-1]))
    out = np.empty(len(x))
    finite = np.isfinite(placed.values)
    for i, (a, b) in enumerate(zip(starts, ends, strict=True)):
        if b > a:
            window = placed.values[a:b]
            out[i] = window.mean() if np.isfinite(window).all() else window[~np.isfinite(window)][0]
        else:
            out[i] = np.interp(x[i], placed.x[finite], placed.values[finite]) if finite.any() else np.nan
    return out
