"""Leaps of the learning rate that no log shows: what saved optimizers hold, how far the weights were carried, and how the loss broke."""

import math
from itertools import pairwise

from postmortem.check import Evidence, Reading, say
from postmortem.checklist.levels import loss_curve
from postmortem.checklist.optimizers import LEAP, optimizer_name, rate_decades, used_rate
from postmortem.model.tensors import CheckpointStats

FARTHER = 5.0  # × what the known rate carries a weight: Adam moves it by about the rate in a step, whatever the gradient; sound runs reach 1
FAR, CALM_AGAIN = 2.0, 0.2  # the same where the weights then moved so much less: gradients that grow and grow reach 3
LEARNED, LATE = 0.8, 0.1  # × the start of the loss; of the run
ABOVE = 3.0  # × the level before
LOST = 0.3  # of what had been learned, at the end
CALM, BEFORE = 0.3, 8  # growth before the break, in nats; records before it
USUAL = 0.7  # decades above the usual rate


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
    layers = frozenset(e.model.weight_layers)
    moves = [(after, _per_step(before, after, layers)) for before, after in pairwise(e.checkpoints)]
    for (after, per_step), (_, then) in zip(moves, [*moves[1:], (None, None)], strict=False):
        if per_step is None:
            continue
        calm_again = then is not None and then < CALM_AGAIN * per_step
        if per_step > (FAR if calm_again else FARTHER) * known:
            detail = say(
                "up to {path} each step moved the weights by {moved:.2g}, where {known:g} is the rate", path=after.path, moved=per_step, known=known
            )
            return Reading(True, detail, after.path)
    return None


def _per_step(before: CheckpointStats, after: CheckpointStats, layers: frozenset[str]) -> float | None:
    """Largest RMS of a tensor's change per step of Adam, by the optimizer's own count of steps (the tensor's, else for `layers` that of them all); None for
    other optimizers, and without counts."""
    if before.optimizer is None or after.optimizer is None or "adam" not in after.optimizer.kind.lower():
        return None
    then = {g.name: g.step for g in before.gradients if g.source == "adam"}
    now = {g.name: g.step for g in after.gradients if g.source == "adam"}
    found = []
    for update in after.updates:
        of_all = (before.optimizer.step, after.optimizer.step) if update.name in layers else (None, None)
        first, last = then.get(update.name, of_all[0]), now.get(update.name, of_all[1])
        if first is not None and last is not None and last > first and update.rms is not None and update.from_step == before.step:
            found.append(update.rms / (last - first))
    return max((moved for moved in found if math.isfinite(moved)), default=None)


def broke_in_one_step(e: Evidence) -> float | None:
    """The step at which a loss that had learned, at a usual rate, went within one record to where it never came back from; None when it did not.

    Adam moves a weight by about the rate in a step, whatever the gradient: no batch throws it that far, a rate that leapt does. Plain descent
    goes as far as the gradient says, and one batch may be it.
    """
    loss, rate = loss_curve(e), used_rate(e)
    if loss is None or not loss.finite or rate is None or rate <= 0 or (rate_decades(e) or 0.0) > USUAL or optimizer_name(e) == "sgd":
        return None
    late, bad = loss.first_step + LATE * (loss.last_step - loss.first_step), loss.non_finite
    if bad is not None:
        calm = bad.points_before >= BEFORE and (bad.growth_before or 0.0) < CALM and not bad.recovered
        learned = bad.last_finite is not None and 0 <= bad.last_finite < LEARNED * loss.start
        return bad.first_step if calm and learned and bad.first_step > late else None
    worst = max(loss.spikes, key=lambda s: s.height, default=None)
    if worst is None or worst.step < late or not ABOVE * worst.level < worst.value or not 0 <= worst.level < LEARNED * loss.start:
        return None
    return worst.step if loss.final > worst.level + LOST * (loss.start - worst.level) else None
