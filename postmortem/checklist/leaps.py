"""Leaps of the learning rate that no log shows: what saved optimizers hold, and how far the weights were carried."""

import math
from itertools import pairwise

from postmortem.check import Evidence, Reading, say
from postmortem.checklist.optimizers import LEAP
from postmortem.model.tensors import CheckpointStats

FARTHER = 5.0  # × what the known rate carries a weight: Adam moves it by about the rate in a step, whatever the gradient; sound runs reach 1


def unlogged_leap(e: Evidence) -> Reading | None:
    """What shows that the rate was for a while far above the configured and the logged one; None when nothing does, or when neither is known."""
    logged = e.schedule.highest if e.schedule is not None and e.schedule.source == "logged" else 0.0
    known = max(e.number("learning_rate") or 0.0, logged)
    return None if known <= 0 else _saved(e, known) or _carried(e, known)


def _saved(e: Evidence, known: float) -> Reading | None:
    """A saved optimizer with a rate that the other ones do not have: one that all have was set so."""
    saved = [(c, max(c.optimizer.learning_rates)) for c in e.checkpoints if c.optimizer is not None and c.optimizer.learning_rates]
    lowest = min((rate for _, rate in saved), default=0.0)
    for checkpoint, rate in saved:
        if rate > LEAP * max(known, lowest):
            return Reading(True, say("the optimizer saved in {path} holds a rate of {rate:g}", path=checkpoint.path, rate=rate), checkpoint.path)
    return None


def _carried(e: Evidence, known: float) -> Reading | None:
    """Weights that Adam moved farther between two checkpoints than all its steps at the known rate could."""
    for before, after in pairwise(e.checkpoints):
        per_step = _per_step(before, after)
        if per_step is not None and per_step > FARTHER * known:
            detail = say(
                "up to {path} each step moved the weights by {moved:.2g}, where {known:g} is the rate", path=after.path, moved=per_step, known=known
            )
            return Reading(True, detail, after.path)
    return None


def _per_step(before: CheckpointStats, after: CheckpointStats) -> float | None:
    """Largest RMS of a tensor's change per step of Adam, by the optimizer's own count of steps; None for other optimizers, and without counts."""
    if after.optimizer is None or "adam" not in after.optimizer.kind.lower():
        return None
    then = {g.name: g.step for g in before.gradients if g.source == "adam"}
    now = {g.name: g.step for g in after.gradients if g.source == "adam"}
    found = []
    for update in after.updates:
        first, last = then.get(update.name), now.get(update.name)
        if first is not None and last is not None and last > first and update.rms is not None and update.from_step == before.step:
            found.append(update.rms / (last - first))
    return max((moved for moved in found if math.isfinite(moved)), default=None)
