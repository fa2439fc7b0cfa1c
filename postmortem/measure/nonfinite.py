"""NaN and Inf in a curve, also where a logging filter printed them as 0.0."""

import math

import numpy as np
import numpy.typing as npt

from postmortem.measure.smooth import axis
from postmortem.model.curves import NonFinite
from postmortem.model.run import Floats, Series

FEWEST_ZEROS = 3
FEWEST_BEFORE = 2  # records; from one alone nobody can say how fast the loss was falling
ABRUPT = 0.2  # share of the start's level that the loss still had when it became exactly 0
COARSE = 20  # printed digits that the last value before the zeros must be worth


def hidden_from(series: Series, grad_norm: Series | None, right: Series | None = None) -> int | None:
    """Index from which exact zeros of a loss are NaNs that a filter replaced, None when they are not.

    transformers' `logging_nan_inf_filter` replaces a NaN step by the mean so far, so a run that is all NaN logs `loss: 0.0`
    to its end. A gradient norm that is NaN at those records proves it; without one, a loss that goes from an ordinary
    level to exactly 0 in one record and stays there is taken for it. A finite gradient norm disproves it, and so does an accuracy (`right`) by
    which every answer is right at those records.
    """
    if "loss" not in series.name:
        return None
    values = series.values
    zero = values == 0
    if not len(values) or not zero[-1]:
        return None
    other = np.flatnonzero(~zero)
    first = int(other[-1]) + 1 if len(other) else 0
    seen = None if grad_norm is None else _values_at(axis(series)[first:], grad_norm)
    if seen is not None and len(seen):
        return first if 2 * int(np.sum(~np.isfinite(seen))) >= len(seen) else None
    if len(values) - first < FEWEST_ZEROS:
        return None
    share = None if right is None else _values_at(axis(series)[first:], right)
    if share is not None and len(share) and bool(np.all(share == share[0])) and share[0] in (1.0, 100.0):
        return None
    before = values[:first]
    before = before[np.isfinite(before)]
    if len(before) < FEWEST_BEFORE:
        return None
    last = before[-3:]
    level = float(np.median(before[: max(1, len(before) // 10)]))
    coarse = COARSE * (series.quantum or 0.0)
    return first if level > 0 and float(np.min(last)) >= max(ABRUPT * level, coarse) else None


def _values_at(steps: Floats, series: Series) -> Floats | None:
    """What another series logged at those steps (n,), None when nothing was."""
    at = axis(series)
    if not len(at):
        return None
    index = np.clip(np.searchsorted(at, steps), 0, len(at) - 1)
    same = at[index] == steps
    return series.values[index[same]] if bool(np.any(same)) else None


def non_finite(steps: Floats, values: Floats, *, hidden: bool = False) -> NonFinite | None:
    """What became of a curve that has NaN or ±Inf; `values` (n,) as logged, hidden ones already NaN."""
    bad: npt.NDArray[np.bool_] = ~np.isfinite(values)
    if not bool(np.any(bad)):
        return None
    first = int(np.argmax(bad))
    before = values[:first]
    growth = None
    if first >= 3:
        level, last = float(np.median(before[:-1])), float(before[-1])
        growth = math.log10(last) - math.log10(level) if level > 0 and last > 0 else None
    count = int(np.sum(bad))
    return NonFinite(
        first_step=float(steps[first]),
        kind="nan" if math.isnan(values[first]) else "inf",
        count=count,
        share=count / (len(values) - first),
        recovered=not bool(bad[-1]),
        points_before=first,
        last_finite=float(before[-1]) if first else None,
        last_finite_step=float(steps[first - 1]) if first else None,
        growth_before=growth,
        hidden=hidden,
    )
