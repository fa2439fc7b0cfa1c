"""The loss is flat, at chance level, or no better than at the start."""

from math import log

from postmortem.check import Check, Cleared, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.bad_initialization import bad_initialization
from postmortem.checklist.causes.clipping_too_tight import clipping_too_tight
from postmortem.checklist.causes.decayed_too_early import decayed_too_early
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.learning_rate_too_low import learning_rate_too_low
from postmortem.checklist.causes.missing_from_optimizer import missing_from_optimizer
from postmortem.checklist.causes.model_structure import model_structure
from postmortem.checklist.causes.optimizer_idle import optimizer_idle
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.saturating_activations import saturating_activations
from postmortem.checklist.causes.stopped_too_early import stopped_too_early
from postmortem.checklist.causes.too_little_capacity import too_little_capacity
from postmortem.checklist.causes.too_much_regularization import too_much_regularization
from postmortem.checklist.causes.unshuffled_data import unshuffled_data
from postmortem.checklist.causes.wrong_labels import wrong_labels
from postmortem.checklist.causes.wrong_loss import wrong_loss
from postmortem.checklist.needs import CHANCE, LOSS, curve
from postmortem.checklist.signs import NOTHING_EXPECTED, course, excerpt, loss_curve, skill, to_chance
from postmortem.model.evidence import CurveStats

LITTLE = 0.1  # share of the starting loss: what a fault lets through, and healthy runs pass (they gain 0.21 to 1)
KNOWS_NOTHING = 0.9  # times chance
FEW = 3  # points
LONG_EXCERPT = 1.4  # last step / first step from which a piece of a log is long enough to show a trend
GOOD_ALREADY = 0.5  # times chance at the start: fine-tuning a model that already works


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    if e.family in NOTHING_EXPECTED:
        return Cleared(say("The loss of this family ({family}) need not fall.", family=e.family))
    loss = course(e)
    if loss is None or loss.finite < FEW:
        return Unknown(say("Not measured: there are only {n} finite values of the loss.", n=loss.finite if loss else 0))
    gained = (loss.start - loss.final) / abs(loss.start) if loss.start else 0.0
    level, first = to_chance(e, loss.final), to_chance(e, loss.start)
    skilled = _skilled(e)
    base = min(loss.start, loss.first) if loss.first > 0 else loss.start
    grew = loss.final > 1.2 * base or (loss.lost_ground > 0.5 and loss.final > 2.0 * loss.best)
    at_chance = level is not None and level > KNOWS_NOTHING and not skilled and not (level > 2.0 and grew)
    rests = _rests_at_chance(loss)
    short = excerpt(e) and loss.last_step < LONG_EXCERPT * loss.first_step
    if short and not loss.constant and not rests and not (at_chance and level is not None and level < 1.1):
        return Unknown(say("Not measured: the log begins in the middle of training, at step {step:g}.", step=loss.first_step))
    if first is not None and first < GOOD_ALREADY:
        return Cleared(say("The loss started at {first:.0%} of the chance level: the model already knew the task.", first=first))
    far = level is None or level >= 2.0 or ((e.chance.loss or 0.0) > 3.0 and level > 1.25)
    if grew and far:
        return Cleared(
            say("The loss grew from {start:.4g} to {final:.4g}: it does not stand still, it ran away.", start=loss.start, final=loss.final)
        )
    stuck = _stuck(e, level)
    if gained >= LITTLE and not at_chance and not stuck:
        return Cleared(say("The loss fell from {start:.4g} to {final:.4g} ({gained:.0%}).", start=loss.start, final=loss.final, gained=gained))
    if skilled and gained >= 0.02:
        return Cleared(say("Accuracy is well above chance."))
    summary = (
        say(
            "The loss stands at {level:.2f} × the chance level (ln {classes}) at the end: the model learned nothing.",
            level=level,
            classes=e.chance.classes,
        )
        if at_chance and e.chance.classes
        else say("The loss has been no better than at its first evaluation: {level:.2f} × chance at the end.", level=level)
        if stuck
        else say("The loss went from {start:.4g} to {final:.4g} in {n} records: it did not fall.", start=loss.start, final=loss.final, n=loss.points)
    )
    return Sighting(
        Severity.SERIOUS,
        summary,
        loss.first_step,
        min(loss.first_step + 0.2 * (loss.last_step - loss.first_step), loss.last_step),
        (loss.name,),
        e.series[loss.name].source,
    )


def _rests_at_chance(loss: CurveStats) -> bool:
    """From the first record to the last the loss is ln 10, ln 100 or ln 1000: the usual numbers of classes."""
    return loss.finite >= 4 and any(
        abs(value - log(classes)) < 0.01 for classes in (10, 100, 1000) for value in (loss.start,) if abs(loss.final - log(classes)) < 0.01
    )


def _stuck(e: Evidence, level: float | None) -> bool:
    """After the first evaluation nothing got better, far above what is attainable."""
    val = e.curve("val/loss")
    train = course(e)
    if val is None or train is None or val.finite < 5 or level is None or level < 0.6 or val.non_finite is not None:
        return False
    falling = train.trend is not None and train.trend.tau < -0.3
    return val.final > 0.98 * val.start and not falling


def _skilled(e: Evidence) -> bool:
    return any((skill(e, split) or 0.0) > 0.3 for split in ("train", "val"))


@probe(say("the loss is where a model is that knows nothing"), CHANCE, holds=1.5, fails=-0.5)
def at_chance(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    level = to_chance(e, loss.final) if loss else None
    return None if level is None else Reading(0.93 < level < 1.2, say("it ends at {level:.2f} × chance", level=level))


@probe(say("nothing got better after the first evaluation"), curve("val/loss", 5), holds=2.0, fails=0.0)
def stuck(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    val = e.curve("val/loss")
    if loss is None or val is None or not _stuck(e, to_chance(e, loss.final)):
        return None
    return Reading(True, say("validation loss went from {start:.4g} to {final:.4g}", start=val.start, final=val.final))


@probe(say("accuracy is that of guessing"), curve("val/accuracy"), holds=1.5, fails=-2.0)
def guessing(e: Evidence, seen: Sighting) -> Reading | None:
    value = skill(e, "val")
    return (
        None if value is None else Reading(value < 0.15, say("validation accuracy is {value:.0%} of the way from guessing to perfect", value=value))
    )


@probe(say("the curve shows no trend down"), curve("train/loss", 4), holds=0.7, fails=-0.7)
def no_trend(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or loss.trend is None:
        return None
    return Reading(
        loss.trend.p_value > 0.05 or loss.trend.tau > -0.2, say("Kendall's tau {tau:.2f}, p = {p:.2g}", tau=loss.trend.tau, p=loss.trend.p_value)
    )


@probe(say("the number of classes is unknown, and the loss may be as low as it gets"), holds=-0.6, fails=0.0)
def level_unknown(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(True, say("no chance level to compare with")) if e.chance.loss is None and not e.model.weight_layers else None


@probe(say("it began where guessing among a few classes begins, and stayed there"), holds=1.2, fails=0.0)
def at_small_chance(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or e.chance.loss is not None or loss.start <= 0:
        return None
    classes = next((n for n in (*range(2, 11), 20, 100, 1000) if abs(loss.first / log(n) - 1) < 0.03), None)
    return None if classes is None else Reading(True, say("ln {classes} is {level:.4g}", classes=classes, level=log(classes)))


@probe(say("there are few records"), curve("train/loss"), holds=-0.7, fails=0.0)
def few(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    return None if loss is None else Reading(loss.finite < 6, say("{n} records", n=loss.finite))


CHECK = Check(
    id="loss-not-decreasing",
    title=say("Loss not decreasing"),
    symptom=say("The loss is flat, at chance level, or no better than at the start."),
    detect=detect,
    needs=(LOSS,),
    probes=(at_chance, stuck, guessing, no_trend, level_unknown, at_small_chance, few),
    prior=1.0,
    causes=(
        (learning_rate_too_high, -1.0),
        (learning_rate_too_low, -1.2),
        (optimizer_idle, -2.0),
        (missing_from_optimizer, -2.5),
        (wrong_labels, -1.2),
        (wrong_loss, -2.2),
        (unshuffled_data, -2.2),
        (model_structure, -2.2),
        (bad_initialization, -1.8),
        (preprocessing, -1.6),
        (clipping_too_tight, -1.8),
        (too_much_regularization, -2.2),
        (too_little_capacity, -2.8),
        (saturating_activations, -2.8),
        (stopped_too_early, -1.5),
        (decayed_too_early, -2.8),
    ),
    by_hand=(
        say("Look at one batch as the model gets it: shapes, range, label histogram."),
        say("Look at the outputs for a few inputs: do they differ?"),
        say("Look at per-layer gradient norms after one backward()."),
        say("Overfit one batch of eight samples: the loss must go to nearly zero."),
    ),
    consequences=(),
)
