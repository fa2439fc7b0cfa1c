"""Losses that Megatron-LM leaves out of its records: one that is not above 0 is not printed, and NaN is not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from postmortem.model.run import Floats, Series

_LOSSES = ("lm loss", "lm-loss")
_SKIPPED, _SCALE = "number of skipped iterations", "loss scale"


def with_lost_losses(series: Sequence[Series]) -> list[Series]:
    """The series, and NaN in that of the loss where a record has none although no iteration of it was skipped for an overflow.

    A loss scale of 1 never overflows. Where every iteration is skipped there is no loss either: that says nothing.
    """
    by_key = {s.logged_as: s for s in series}
    loss = next((by_key[key] for key in _LOSSES if key in by_key and by_key[key].name == "train/loss"), None)
    scale, skipped = by_key.get(_SCALE), by_key.get(_SKIPPED)
    if loss is None or scale is None or len(loss) >= len(scale):
        return list(series)
    unskipped = set() if skipped is None else set(skipped.steps[skipped.values == 0].tolist())
    at = _within(loss.steps, scale.steps)
    if at is None:
        return list(series)
    missing = np.ones(len(scale), dtype=bool)
    missing[at] = False
    lost = np.flatnonzero(missing & ((scale.values == 1.0) | np.isin(scale.steps, list(unskipped))))
    order = np.sort(np.concatenate((at, lost)))
    values = np.full(len(scale), np.nan)
    values[at] = loss.values
    whole = replace(
        loss,
        steps=scale.steps[order],
        values=values[order],
        epochs=None if scale.epochs is None else scale.epochs[order],
        times=None if scale.times is None else scale.times[order],
        records=None if scale.records is None else scale.records[order],
    )
    return [whole if s is loss else s for s in series]


def _within(few: Floats, many: Floats) -> "np.ndarray[tuple[int], np.dtype[np.int64]] | None":
    """Where the records of one series are among those of another, both in the order in which they were written; None when some are not."""
    places: list[int] = []
    at = 0
    for step in few.tolist():
        found = np.flatnonzero(many[at:] == step)
        if not len(found):
            return None
        places.append(at + int(found[0]))
        at = places[-1] + 1
    return np.array(places, dtype=np.int64)
