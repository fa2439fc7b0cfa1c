"""One step axis for everything that was logged.

Logs count in batches, optimizer steps, epochs, or not at all. Here all series of a run are put on one axis: optimizer steps
where any series has them, else epochs, else the order of the records.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from postmortem.model.run import AxisUnit, Floats, Reduction, Series


def steps_per_epoch(series: Sequence[Series]) -> float | None:
    """Median of Δstep / Δepoch between records of one series that have both; None when no series has both."""
    ratios: list[float] = []
    weights: list[int] = []
    for one in series:
        if one.epochs is None or len(one) < 2:
            continue
        known = np.isfinite(one.steps) & np.isfinite(one.epochs)
        steps, epochs = one.steps[known], one.epochs[known]
        if len(steps) < 2:
            continue
        wide = np.flatnonzero((np.diff(epochs) > 0) & (np.diff(steps) > 0))
        if not len(wide):
            continue
        span = epochs[-1] - epochs[0]
        if span > 0 and steps[-1] > steps[0] and not np.any(np.diff(steps) < 0):
            ratios.append(float((steps[-1] - steps[0]) / span))
            weights.append(len(steps))
    if not ratios:
        return None
    best = float(ratios[int(np.argmax(weights))])
    return best if best > 1.0 + 1e-9 else None


def within_epochs(one: Series) -> Series:
    """Unroll a step counter that starts again in each epoch (`Epoch 2, batch 10/100`) into a global one."""
    if one.epochs is None or len(one) < 4:
        return one
    falls = np.flatnonzero(np.diff(one.steps) < 0)
    if not len(falls) or not np.all(np.isfinite(one.steps)) or not np.all(np.isfinite(one.epochs)):
        return one
    whole = np.floor(one.epochs)
    if not np.all(np.diff(one.epochs)[falls] > 0) or np.any(np.diff(whole) < 0):
        return one
    if not np.array_equal(whole, one.epochs):
        return one
    length = float(one.steps.max())
    if np.any(one.steps == 0):
        gaps = np.diff(one.steps)
        length += float(np.median(gaps[gaps > 0])) if np.any(gaps > 0) else 1.0
    return replace(one, steps=(whole - whole[0]) * length + one.steps)


def spread(epochs: Floats) -> Floats:
    """Records that only say "epoch 3" several times, spread evenly over that epoch: 2⅓, 2⅔, 3."""
    out = epochs.astype(np.float64).copy()
    start = 0
    for end in range(1, len(out) + 1):
        if end < len(out) and out[end] == out[start]:
            continue
        m = end - start
        if m > 1:
            previous = epochs[start - 1] if start and epochs[start - 1] < epochs[start] else epochs[start] - 1
            out[start:end] = previous + (epochs[start] - previous) * np.arange(1, m + 1) / m
        start = end
    return out


def _counts_epochs(one: Series, longest: float) -> bool:
    """The series' own "step" is an epoch counter (Keras' `epoch_loss`), while others count batches."""
    known = one.steps[np.isfinite(one.steps)]
    return (
        one.reduction == Reduction.EPOCH
        and (one.epochs is None or not np.isfinite(one.epochs).any())
        and len(known) >= 2
        and "epoch" in one.logged_as.lower()
        and bool(np.all(np.diff(known) == 1))
        and known[-1] < longest / 2
    )


def on_one_axis(series: Sequence[Series], known_steps_per_epoch: float | None) -> tuple[tuple[Series, ...], AxisUnit, float | None]:
    """All series with finite `steps`, the unit of that axis, and the steps per epoch when they could be told."""
    unrolled = [within_epochs(s) for s in series if len(s)]
    longest = max((float(np.nanmax(s.steps)) for s in unrolled if np.isfinite(s.steps).any()), default=0.0)
    unrolled = [
        replace(s, epochs=s.steps + (1.0 if s.steps[0] == 0 else 0.0), steps=np.full(len(s), np.nan)) if _counts_epochs(s, longest) else s for s in unrolled
    ]
    stepped = [s for s in unrolled if np.isfinite(s.steps).any()]
    epoched = [s for s in unrolled if s.epochs is not None and np.isfinite(s.epochs).any()]
    per_epoch = steps_per_epoch(unrolled) or known_steps_per_epoch
    unit: AxisUnit = "step" if stepped else "epoch" if epoched else "record"
    if unit == "step" and per_epoch is None and epoched:
        per_epoch = _guess(stepped, epoched)
    if unit == "epoch" and known_steps_per_epoch:
        unit, per_epoch = "step", known_steps_per_epoch
    placed = tuple(_place(s, unit, per_epoch) for s in unrolled)
    return placed, unit, per_epoch if unit == "step" else 1.0 if unit == "epoch" else None


def _guess(stepped: Sequence[Series], epoched: Sequence[Series]) -> float | None:
    """Both axes exist and no record has both: assume that they end together."""
    last_step = max(float(np.nanmax(s.steps)) for s in stepped)
    last_epoch = max(float(np.nanmax(s.epochs)) for s in epoched if s.epochs is not None)
    return last_step / last_epoch if last_epoch > 0 and last_step > last_epoch else None


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
