"""How the training loss came down: evenly, steeply to the end, to rest half-way, or without validation at all."""

import math

from postmortem.check import Evidence
from postmortem.checklist.levels import SURELY, course, relative_fall, to_chance, whole
from postmortem.checklist.rates import pretrained
from postmortem.checklist.signs import excerpt
from postmortem.model.curves import CurveStats

EVEN = 10  # records from which an even fall is no accident
STILL_TO_COME = 0.7  # share of the drop
AT_ONCE = 0.5  # × the fall since
NOT_FAR = 0.2  # of the starting loss
STEADILY = 0.9  # Kendall's tau
FEWEST = 20  # records
WITHIN = 3.0  # records in an epoch: of whole epochs, or of whole data sets in one batch, any curve is smooth
SMOOTH, NOISY = 0.03, 0.4  # share of records at which the curve turns
ROUNDED = 0.02  # of where the loss began
FEW_POINTS = 3
FEW_EPOCHS, FEW_STEPS = 4.0, 200.0
HARDLY_ANY_STEPS, COMING_DOWN = 100.0, 0.3  # natural logarithms in a run as long
SCORES, WELL = ("val/accuracy", "val/score", "val/f1", "val/auc"), 0.75
HALF_WAY, AT_REST = (0.25, 0.65), 0.3  # times chance; share of the run
NEAR_GUESSING, FAR_BELOW = 0.05, 0.6  # × ln C


def never_bends(e: Evidence, loss: CurveStats) -> bool:
    """From the start of training to its end the loss falls from record to record, and by its fit it had gone only a small part of its way:
    a loss near its floor slows down before."""
    fit, trend = loss.asymptote, loss.trend
    if fit is None or trend is None or loss.finite < EVEN or excerpt(e) or len(e.attempts) > 1 or e.outcome in ("crashed", "cancelled", "running"):
        return False
    at_once = loss.first - loss.start  # what the very first records took off
    return fit.remaining > STILL_TO_COME and trend.tau < -STEADILY and at_once < AT_ONCE * (loss.start - loss.final)


def falls_to_the_end(e: Evidence) -> bool:
    """In the last third of training or of validation each record is lower than the one before: it had not come to where it was going."""
    curves = [c for c in (course(e), e.curve("val/loss")) if c is not None and c.tail is not None and c.finite >= EVEN]
    return any(c.tail is not None and c.tail.tau < -STEADILY and c.tail.p_value < 0.05 for c in curves)


def turns_from_step_to_step(e: Evidence) -> float | None:
    """The share of records at which the training loss turns: two thirds of independent ones, none where it is always the same batch's. None where
    not enough single steps were logged, or the share lies between and tells neither."""
    loss = e.curve("train/loss")
    if loss is None or loss.oscillation is None or loss.finite < FEWEST or not e.steps_per_epoch or loss.reduction == "epoch":
        return None
    per_epoch = e.steps_per_epoch * (loss.finite - 1) / max(loss.last_step - loss.first_step, 1.0)
    share = loss.oscillation.turn_rate
    rounding = abs(loss.final) < ROUNDED * abs(loss.start)  # may be all that is left at the end
    return None if per_epoch < WITHIN or SMOOTH <= share < NOISY or (share >= NOISY and rounding) else share


def of_one_batch(e: Evidence) -> bool:
    """The training loss has no noise from step to step."""
    share = turns_from_step_to_step(e)
    return share is not None and share < SMOOTH


def _evaluated(e: Evidence) -> CurveStats | None:
    """Validation's loss where it was evaluated often enough to show a fall, else that of training."""
    val = e.curve("val/loss")
    return val if val is not None and val.finite >= FEW_POINTS else course(e)


def _to_fall(e: Evidence) -> float:
    """By how many natural logarithms the loss would fall in a run as long as this one, going on as it did in its last third and in its last
    sixth. 0 of a run that did not reach its end."""
    c = _evaluated(e)
    if c is None or c.finite < FEW_POINTS or not c.final > 0 or excerpt(e) or e.outcome in ("crashed", "cancelled", "running"):
        return 0.0
    length = c.last_step - min(c.first_step, 0.0)
    before = [(part, e.at(c.name, c.last_step - length / part)) for part in (3, 6)]
    return min(part * math.log(v / c.final) if v is not None and v - c.final > SURELY * c.noise else 0.0 for part, v in before)


def steepness(e: Evidence) -> float:
    """`_to_fall` of a run of a few epochs or of a few hundred steps, 0 of a longer one."""
    c = _evaluated(e)
    if c is None:
        return 0.0
    short = e.last_epoch <= FEW_EPOCHS if e.last_epoch is not None else c.last_step <= (FEW_STEPS if e.axis == "step" else FEW_EPOCHS)
    return _to_fall(e) if short else 0.0


def hardly_begun(e: Evidence) -> bool:
    """What begins from scratch was given a few dozen steps, and was coming down steeply when they were over."""
    few = e.axis == "step" and e.last_step is not None and e.last_step <= HARDLY_ANY_STEPS and 2 * (e.last_epoch or 0.0) < e.last_step
    well = any(c.final > WELL * whole(c) for name in SCORES if (c := e.curve(name)) is not None and c.finite)
    return few and not well and not pretrained(e) and _to_fall(e) > COMING_DOWN


def creeps(e: Evidence, loss: CurveStats) -> bool:
    """What never bends and has not come far: a fifth of where it began, at most."""
    return relative_fall(loss) < NOT_FAR and never_bends(e, loss)


def flat_at_guessing(e: Evidence) -> float | None:
    """Validation loss ÷ chance, where each evaluation lies at it while training went far below: a model that has learned and is given
    inputs of another kind is sure of what is wrong, and above chance; at chance it gets no signal. None elsewhere."""
    val, train = e.curve("val/loss"), course(e)
    low, high, at_end = (to_chance(e, v) for v in (val.lowest if val else None, val.highest if val else None, train.final if train else None))
    if val is None or low is None or high is None or at_end is None or val.finite < 3:
        return None
    return (low + high) / 2 if low > 1 - NEAR_GUESSING and high < 1 + NEAR_GUESSING and at_end < FAR_BELOW else None


def rests_half_way(e: Evidence) -> float | None:
    """Training loss ÷ chance, where it came to rest between guessing and knowing: what was learned is a rule, for learning by heart goes on,
    and what hardly can be learned by heart stays near guessing. None elsewhere."""
    loss = course(e)
    level = to_chance(e, loss.final) if loss is not None else None
    half_way = loss is not None and level is not None and HALF_WAY[0] < level < HALF_WAY[1] and loss.plateau_share > AT_REST
    return level if half_way else None
