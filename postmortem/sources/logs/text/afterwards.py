"""Logs that name an epoch once it is over: `Iter: 000, Train Loss: 9.5` of its steps, then `Epoch: 001, Train Loss: 8.7, Valid Loss: …`."""

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats
from postmortem.sources.logs.text.kinds import Kind

Kinds = npt.NDArray[np.int8]


def named_afterwards(step: Floats, epoch: Floats, kind: Kinds) -> tuple[Floats, Kinds]:
    """Epoch and kind of every row, (n,), steps put into the epoch that the next summary names.

    Only where a counter runs before any epoch is named, starts again as high as it then got, and every epoch's summary stands before the
    steps that were taken for its own.
    """
    within, summary = kind == Kind.WITHIN, kind == Kind.SUMMARY
    first = int(np.argmax(np.isfinite(epoch))) if np.isfinite(epoch).any() else 0
    lead = (kind == Kind.BARE) & np.isfinite(step) & (np.arange(len(step)) < first)
    steps = within & np.isfinite(step)
    if not lead.any() or not steps.any() or not summary.any():
        return epoch, kind
    _, begins = np.unique(epoch[steps], return_index=True)
    begun = np.flatnonzero(steps)[begins]
    for at in begun.tolist():
        of_it = np.flatnonzero(summary & (epoch == epoch[at]))
        if not len(of_it) or of_it[0] > at:
            return epoch, kind
    own = step[steps & (epoch == epoch[begun[0]])]
    if not (own[0] <= step[lead][0] and (len(begun) == 1 or own.max() == step[lead].max())):
        return epoch, kind
    lowest = float(epoch[summary].min())
    return np.where(lead, lowest, np.where(steps, epoch + 1, epoch)), np.where(lead, np.int8(Kind.WITHIN), kind)
