"""One step axis for everything that was logged.

Logs count in batches, optimizer steps, epochs, or not at all. Here all series of a run are put on one axis: optimizer steps
where any series has them, else epochs, else the order of the records.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from postmortem.model.run import AxisUnit, Floats, Reduction, Series

MOST_STEPS = 1e12  # of steps or epochs; beyond, a counter was read from something else
FEWEST = 3  # records
RESTARTS = 0.2  # of a counter within epochs per epoch; more often it counts something that an epoch has several of


def steps_per_epoch(series: Sequence[Series]) -> float | None:
    """Steps per epoch from the series with most records that have both counters; None when no series has both.

    Of a counter of whole epochs the first record of each epoch counts, so that a cut epoch at the end does not matter; series whose
    records each say exactly how much is done come before it. Restarts are left out: the longest stretch in which both counters go forward counts.
    """
    best, rank = None, (False, 0)
    for one in series:
        if one.epochs is None or len(one) < 2:
            continue
        known = np.isfinite(one.steps) & np.isfinite(one.epochs)
        steps, epochs = _longest_forward(one.steps[known], one.epochs[known])
        if len(steps) < 2:
            continue
        first = np.append(True, np.diff(epochs) > 0)
        exact = bool(first.all()) or not np.array_equal(epochs, np.floor(epochs))
        if (exact, len(steps)) <= rank:
            continue
        if not exact:
            steps, epochs = steps[first], epochs[first]
        if steps[-1] > steps[0] and epochs[-1] - epochs[0] > 1e-6:
            best, rank = float((steps[-1] - steps[0]) / (epochs[-1] - epochs[0])), (exact, int(np.count_nonzero(known)))
    if best is None or not 1.0 + 1e-9 < best <= MOST_STEPS:
        return None
    return float(round(best)) if abs(best - round(best)) < 1e-6 * best else best  # printed epochs are rounded


def _longest_forward(steps: Floats, epochs: Floats) -> tuple[Floats, Floats]:
    falls = np.flatnonzero((np.diff(steps) < 0) | (np.diff(epochs) < 0)) + 1
    edges = [0, *falls.tolist(), len(steps)]
    start, stop = max(pairwise(edges), key=lambda e: e[1] - e[0])
    return steps[start:stop], epochs[start:stop]


def within_epochs(one: Series, known_steps_per_epoch: float | None = None) -> Series:
    """Unroll a step counter that starts again in each epoch (`Epoch 2, batch 10/100`) into a global one.

    An epoch counter that goes back as well is a restart, and so is a counter that goes back within an epoch, where epochs that begin
    anew are more frequent: both stay restarts, of the global counter.
    """
    if one.epochs is None or len(one) < 2 or not np.isfinite(one.steps).all() or not np.isfinite(one.epochs).all():
        return one
    if np.ptp(one.steps) == 0 < one.steps[0] and np.all(np.diff(one.epochs) > 0):
        return replace(one, steps=one.epochs * one.steps[0])  # `Epoch: 3, Steps: 265 | …`: once an epoch, with the number of its batches
    if len(one) < 4:
        return one
    falls = np.diff(one.steps) < 0
    rises, turns = np.diff(one.epochs) > 0, np.diff(one.epochs) != 0
    anew = np.count_nonzero(falls & rises)
    if not np.array_equal(np.floor(one.epochs), one.epochs) or np.count_nonzero(falls & ~turns) > RESTARTS * anew:
        return one
    if anew < max(1.0, 0.5 * np.count_nonzero(rises)):
        return one  # a global counter
    length, gap = float(one.steps.max()), 1.0
    gaps = np.diff(one.steps)
    if np.any(gaps > 0):
        gap = float(np.median(gaps[gaps > 0]))
    if np.any(one.steps == 0):
        length += gap
    if known_steps_per_epoch and length <= known_steps_per_epoch < length + gap + 1:
        length = known_steps_per_epoch  # the last batches of an epoch are not logged
    return replace(one, steps=(one.epochs - min(float(one.epochs.min()), 1.0)) * length + one.steps)


def spread(epochs: Floats) -> Floats:
    """Records that only say "epoch 3" several times, spread evenly over that epoch: 2⅓, 2⅔, 3.

    Of rounded shares of an epoch, `0.0, 0.0, 0.01`, the first ones lie between their own and the next.
    """
    out = epochs.astype(np.float64).copy()
    start = 0
    for end in range(1, len(out) + 1):
        if end < len(out) and out[end] == out[start]:
            continue
        m = end - start
        if m > 1:
            ahead = epochs[end] - epochs[0] if not start and end < len(out) else 1.0
            if 0 < ahead < 1:
                out[:end] = epochs[0] + ahead / np.count_nonzero(epochs == epochs[end]) * np.arange(m) / m
                start = end
                continue
            previous = epochs[start - 1] if start and epochs[start - 1] < epochs[start] else epochs[start] - 1
            out[start:end] = previous + (epochs[start] - previous) * np.arange(1, m + 1) / m
        start = end
    return out


def _counts_epochs(one: Series, longest: float, planned_epochs: float | None) -> bool:
    """The series' own "step" is an epoch counter (Keras' `epoch_loss`, `add_scalar("val/loss", x, epoch)`), while others count batches."""
    known = one.steps[np.isfinite(one.steps)]
    if one.reduction != Reduction.EPOCH or (one.epochs is not None and np.isfinite(one.epochs).any()) or len(known) < 2:
        return False
    by_one = np.diff(known)
    named = "epoch" in one.logged_as.lower()
    if known[0] not in (0.0, 1.0) or not np.all((by_one == 1) | (by_one < 0)):
        return named and bool(np.all(by_one == 1)) and float(known[-1]) < longest / 2
    planned = planned_epochs is not None and float(known.max()) == planned_epochs - 1 + known[0]
    return float(known.max()) < (longest / 2 if named or planned else longest / 5) and (named or len(known) >= 3)


def _epochs_apart(series: Sequence[Series], planned_epochs: float | None) -> list[Series]:
    """Series that count epochs, on an axis of epochs; with them those of the same file that were written at the same counts."""
    longest = max((float(np.nanmax(s.steps)) for s in series if np.isfinite(s.steps).any()), default=0.0)
    counters = [s for s in series if _counts_epochs(s, longest, planned_epochs)]

    def along(one: Series) -> bool:
        return one.epochs is None and any(one.source == c.source and np.array_equal(one.steps, c.steps) for c in counters)

    return [_as_epochs(s) if along(s) or any(s is c for c in counters) else s for s in series]


def by_the_clock(series: Sequence[Series]) -> list[Series]:
    """Where the epoch was logged as a curve of its own (Lightning, Hugging Face, MLflow): each record with the epoch logged at its step."""
    clock = next((s for s in series if s.logged_as in ("epoch", "train/epoch")), None)
    if clock is None or not len(clock) or np.any(np.diff(clock.steps) < 0):
        return list(series)
    out: list[Series] = []
    for one in series:
        at = np.minimum(np.searchsorted(clock.steps, one.steps), len(clock) - 1)
        epochs = np.where(clock.steps[at] == one.steps, clock.values[at], np.nan)
        out.append(replace(one, epochs=epochs) if one is not clock and np.isfinite(epochs).any() else one)
    return out


def once_an_epoch(series: Sequence[Series], planned_epochs: float | None) -> Sequence[Series]:
    """The series on an axis of epochs where what they call a step is one: training and validation losses were recorded together, at 0, 1, 2
    and so on, and nothing beyond the planned number of epochs. Else as they are."""
    losses = {s.name: s.steps for s in series if s.name in ("train/loss", "val/loss")}
    if planned_epochs is None or len(losses) < 2 or any(s.epochs is not None or not float(s.steps.max()) <= planned_epochs for s in series):
        return series
    train, val = losses["train/loss"], losses["val/loss"]
    together = len(train) == len(val) >= FEWEST and np.array_equal(train, val) and train[0] in (0, 1)
    return [_as_epochs(s) for s in series] if together and np.all(np.diff(train) == 1) else series


def _as_epochs(one: Series) -> Series:
    """Its steps are epochs, and a value is of the epoch's end."""
    return replace(one, epochs=one.steps + (1.0 if one.steps[0] == 0 else 0.0), steps=np.full(len(one), np.nan))


def _sane(one: Series) -> Series:
    """Counters that no training reaches are none."""
    steps = np.abs(one.steps) <= MOST_STEPS
    epochs = None if one.epochs is None else np.abs(one.epochs) <= MOST_STEPS
    if steps.all() and (epochs is None or epochs.all()):
        return one
    return replace(
        one,
        steps=np.where(steps, one.steps, np.nan),
        epochs=None if one.epochs is None or epochs is None else np.where(epochs, one.epochs, np.nan),
    )


def _moving(series: list[Series]) -> list[Series]:
    """A counter that stands still from the first record to the last, in all series, counts nothing: `step` was logged and never raised."""
    known = [s.steps[np.isfinite(s.steps)] for s in series]
    at = np.concatenate(known) if known else np.empty(0)
    if max(map(len, known), default=0) < FEWEST or np.ptp(at) > 0:
        return series
    return [replace(s, steps=np.full(len(s), np.nan)) for s in series]


def on_one_axis(
    series: Sequence[Series], known_steps_per_epoch: float | None, planned_epochs: float | None = None
) -> tuple[tuple[Series, ...], AxisUnit, float | None]:
    """All series with finite `steps`, the unit of that axis, and the steps per epoch when they could be told."""
    unrolled = _moving(_epochs_apart([within_epochs(_sane(s), known_steps_per_epoch) for s in series if len(s)], planned_epochs))
    stepped = [s for s in unrolled if np.isfinite(s.steps).any()]
    epoched = [s for s in unrolled if s.epochs is not None and np.isfinite(s.epochs).any()]
    per_epoch = steps_per_epoch(unrolled) or known_steps_per_epoch
    unit: AxisUnit = "step" if stepped else "epoch" if epoched else "record"
    if unit == "step" and per_epoch is None and epoched:
        per_epoch = _guess(stepped, epoched)
    if unit == "step" and per_epoch is None:
        per_epoch = _evaluated_each_epoch(stepped, planned_epochs)
    if unit == "epoch" and known_steps_per_epoch:
        unit, per_epoch = "step", known_steps_per_epoch
    placed = tuple(_place(s, unit, per_epoch) for s in unrolled)
    return placed, unit, per_epoch if unit == "step" else 1.0 if unit == "epoch" else None


def _guess(stepped: Sequence[Series], epoched: Sequence[Series]) -> float | None:
    """Both axes exist and no record has both: assume that they end together."""
    last_step = max(float(np.nanmax(s.steps)) for s in stepped)
    last_epoch = max(float(np.nanmax(s.epochs)) for s in epoched if s.epochs is not None)
    return last_step / last_epoch if last_epoch * MOST_STEPS > last_step > last_epoch else None


def _evaluated_each_epoch(stepped: Sequence[Series], planned_epochs: float | None) -> float | None:
    """Steps between evaluations that are as many as the planned epochs, evenly apart from the start of training on."""
    for one in stepped:
        if not one.name.startswith("val/") or len(one) != planned_epochs or len(one) < FEWEST or not np.isfinite(one.steps).all():
            continue
        gaps = np.diff(one.steps)
        if gaps[0] > 1 and (gaps == gaps[0]).all() and 0 <= gaps[0] - one.steps[0] <= 1:  # counted from 1 or from 0
            return float(gaps[0])
    return None


def _place(one: Series, unit: AxisUnit, per_epoch: float | None) -> Series:
    steps = one.steps.astype(np.float64).copy()
    missing = ~np.isfinite(steps)
    if not missing.any():
        return one
    if one.epochs is not None and np.isfinite(one.epochs[missing]).all():
        epochs = spread(one.epochs) if missing.all() else one.epochs
        scale = (per_epoch or 1.0) if unit == "step" else 1.0
        steps[missing] = epochs[missing] * scale
        return replace(one, steps=steps, epochs=epochs)
    if missing.all():
        return replace(one, steps=np.arange(1, len(one) + 1, dtype=np.float64))
    known = np.flatnonzero(~missing)
    steps[missing] = np.interp(np.flatnonzero(missing), known, steps[known])
    return replace(one, steps=steps)
