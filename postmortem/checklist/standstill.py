"""How a loss that does not fall stands still: what tells it from one that is slow, near its floor, or coming down."""

from math import log

from postmortem.check import Evidence
from postmortem.checklist.falls import never_bends
from postmortem.checklist.levels import course, relative_fall, to_chance, whole
from postmortem.checklist.optimizers import OF_FINE_TUNING, rate_decades, used_rate
from postmortem.checklist.parameters import trainable_of
from postmortem.checklist.rates import pretrained
from postmortem.model.curves import CurveStats

TOO_HIGH = 1.3  # decades above
TOO_LOW = -1.3  # decades of the learning rate below the usual
EPOCHS, NOT_MOVED, MOSTLY = 8, 0.06, 0.6  # of an accuracy that never moves: records, its range, its highest
TO_THE_DIGIT, LITTLE_MORE = 2e-3, 0.15  # relative distance of a loss; accuracy beyond 1 / classes
STAYED = 0.03  # of the first loss
THROWN = 8  # records among which resting at one number is no accident
FEW, NEAR = 3, 0.01  # records; nats from ln C
ALIKE = 5  # records
ALONE, MANY_STEPS, HARDLY_ANY = 5, 1000.0, 0.01  # records; steps; of the answers
RESTING, IMPOSSIBLE = 0.5, 0.5  # share of the run, or of the start; × ln 2 for each wrong answer
STEADILY = -0.9  # Kendall's tau
BETTER = 0.7  # × the first evaluation: what the best of many noisy ones may reach by luck
CREEPING = 0.03  # of its start: what was lost in a run without ever slowing down


def no_answer_better(e: Evidence) -> CurveStats | None:
    """The accuracy of training, where it began low and never moved."""
    c = e.curve("train/accuracy")
    if c is None or c.trend is None or c.finite < EPOCHS or c.highest > MOSTLY * whole(c):
        return None
    return c if c.trend.p_value > 0.05 and c.highest - c.lowest < NOT_MOVED * whole(c) else None


def always_one_answer(e: Evidence) -> bool:
    """The accuracy of validation is low and the same in each of many evaluations: whatever is asked, the answer is one and the same."""
    val = e.curve("val/accuracy")
    return val is not None and val.finite >= EPOCHS and val.distinct == 1 and val.highest < MOSTLY * whole(val)


def of_another_loss(e: Evidence, loss: CurveStats, right: CurveStats) -> bool:
    """The loss came down to far less than ln 2 for each answer that is wrong, which no cross-entropy does: answers that are numbers are hardly ever
    met to the digit."""
    wrong = 1.0 - right.final / whole(right)
    return relative_fall(loss) > RESTING and 0 <= loss.final < IMPOSSIBLE * wrong * log(2)


def same_share(e: Evidence) -> CurveStats | None:
    """The accuracy of training, where it and that of validation are one and the same number in all records: that of one answer to everything."""
    train, val = e.curve("train/accuracy"), e.curve("val/accuracy")
    if train is None or val is None or min(train.finite, val.finite) < FEW or not train.distinct == val.distinct == 1:
        return None
    return train if train.highest == val.highest < MOSTLY * whole(train) else None


def two_shares(e: Evidence) -> CurveStats | None:
    """The accuracy of training, where it goes to and fro between two numbers and that of validation between two others, to the last digit and at the
    same places: in each record all answers are one class, now this, now that."""
    train, val = e.series.get("train/accuracy"), e.series.get("val/accuracy")
    if train is None or val is None or len(train) != len(val) or len(train) < ALIKE:
        return None
    pairs = set(zip(train.values.tolist(), val.values.tolist(), strict=True))
    alone = len(pairs) == 2 and len({t for t, _ in pairs}) == len({v for _, v in pairs}) == 2
    c = e.curves["train/accuracy"]
    return c if alone and c.distinct == 2 and c.highest < MOSTLY * whole(c) and c.best_step < c.last_step else None


def none_right(e: Evidence) -> CurveStats | None:
    """The accuracy of training, logged alone, where hardly any answer is right in any record, and no more at the end than at the start."""
    c = e.curve("train/accuracy")
    if c is None or c.trend is None or c.finite < ALONE or e.curve("train/loss") is not None or not c.last_step > MANY_STEPS:
        return None
    return c if c.highest < HARDLY_ANY * whole(c) and c.trend.tau <= 0 else None


def comes_down(loss: CurveStats, level: float) -> bool:
    """It began above the level of guessing, and each record is lower than the one before: slow, and no standstill."""
    t = loss.trend
    return level > 1.0 and t is not None and t.tau < STEADILY and t.p_value < 0.01


def rests_at_chance(loss: CurveStats) -> bool:
    """From the first record to the last the loss is ln 10, ln 100 or ln 1000: the usual numbers of classes."""
    near = NEAR if loss.finite >= 4 else TO_THE_DIGIT
    return loss.finite >= FEW and any(max(abs(v - log(n)) for v in (loss.start, loss.final)) < near for n in (10, 100, 1000))


def thrown_to_chance(e: Evidence, loss: CurveStats) -> int | None:
    """The number of classes of which the loss is that of guessing to the last digit, for most of the run and at its end. None elsewhere,
    and where the number is known."""
    if to_chance(e, loss.final) is not None or loss.finite < THROWN or loss.plateau_share < RESTING or loss.last != loss.final:
        return None
    return next((n for n in (2, 10, 100, 1000) if abs(loss.final - log(n)) < max(loss.quantum or 0.0, 1e-6)), None)


def is_stuck(e: Evidence) -> bool:
    """After the first evaluation nothing got better, far above what is attainable."""
    val = e.curve("val/loss")
    train = course(e)
    if val is None or train is None or val.finite < 5 or val.non_finite is not None:
        return False
    level = to_chance(e, train.final)
    falling = train.trend is not None and train.trend.tau < -0.3
    if level is None:  # nothing to compare with: it only got worse, or a rate explains it
        return only_worse(e, train, val) or (
            (rate_decades(e) or 0.0) >= TOO_HIGH and abs(val.final / val.start - 1) < STAYED and val.best > (1 - STAYED) * val.start and not falling
        )
    if level < 0.6:
        return False
    return val.final > 0.98 * val.start and val.best > BETTER * val.start and not falling


def only_worse(e: Evidence, train: CurveStats, val: CurveStats) -> bool:
    """Validation was best at its first evaluation and got steadily worse, and training hardly fell since: what it fell by at first holds for
    everything alike."""
    t, since = val.trend, [float(v) for v in e.series[train.name].values[1:2]]
    worse = t is not None and t.tau > 0.5 and t.p_value < 0.01 and val.best_step == val.first_step
    return worse and train.finite >= 5 and bool(since) and train.final > (1 - STAYED) * since[0] > 0


def rate_too_low(e: Evidence) -> bool:
    """For a fresh model: what was trained before is trained on with a hundredth of its rate."""
    return (rate_decades(e) or 0.0) < TOO_LOW and not fine_tuned(e)


def fine_tuned(e: Evidence) -> bool:
    """What is trained was trained before, and begins near its floor: adapters, a small part of the model, or transformers' Trainer."""
    part, rate = trainable_of(e), used_rate(e)
    by_trainer = e.framework == "transformers" and (rate is None or rate < OF_FINE_TUNING)
    return by_trainer or e.model.adapters or "lora" in e.intents or (part is not None and part[0] < 0.2 * part[1])


def creeping_curve(e: Evidence) -> CurveStats | None:
    """A loss of which nobody knows how low it can be, and that fell by next to nothing in the whole run, evenly: what is near its floor falls less
    and less, and what was learned before falls at first."""
    if e.chance.loss is not None:
        return None
    curves = [c for c in (e.curve("val/loss"), course(e)) if c is not None and 0 < relative_fall(c) < CREEPING]
    return None if pretrained(e) or fine_tuned(e) else next((c for c in curves if never_bends(e, c)), None)


def only_its_share(e: Evidence, loss: CurveStats) -> int | None:
    """C, where the loss came to rest at the entropy of one yes in C, −(1/C) ln(1/C) − (1 − 1/C) ln(1 − 1/C): the mean over C outputs that
    each were asked yes or no, and give the frequency of a yes whatever goes in. Accuracy must not say that more was learned."""
    right = e.curve("val/accuracy") or e.curve("train/accuracy")
    half = e.at(loss.name, (loss.first_step + loss.last_step) / 2)
    if right is None or not right.finite or loss.finite < EPOCHS or half is None or not abs(half - loss.final) < TO_THE_DIGIT * loss.final:
        return None
    for classes in (*range(3, 21), 100, 1000):
        share = 1.0 / classes
        entropy = -share * log(share) - (1.0 - share) * log(1.0 - share)
        if abs(loss.final / entropy - 1.0) < TO_THE_DIGIT:
            return classes if right.final < (share + LITTLE_MORE) * whole(right) else None
    return None
