"""The loss goes up and down in a pattern."""

import math

from postmortem.check import Check, Cleared, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.batch_too_small import batch_too_small
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.unshuffled_data import unshuffled_data
from postmortem.checklist.levels import NOTHING_EXPECTED, relative_fall, skill, starts_normal, to_chance, whole
from postmortem.checklist.limits import asked, family_expected_to_learn, is_above
from postmortem.checklist.needs import curve
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.signs import file_of
from postmortem.model.curves import CurveStats
from postmortem.model.run import Reduction

STRONG = 0.4  # autocorrelation at the period
FAIR = 0.8  # √B × noise / mean of shuffled batches, usually
ORDINARY = 1.0  # decades from the usual rate
WIDE = 0.4  # amplitude / chance level, or / level of the curve
MARKED = 0.2  # the same, of batches in order: recorded shuffled ones stay below 0.1
UNTAUGHT = 1.2  # times chance: what was learned of one class is undone by the next
ORDERED = 0.5  # of the way from batches that are a fair draw of the classes to batches of one class
COMES_DOWN = -0.5  # Kendall's tau of the epoch means
FELL = 0.1  # share of their start
UNLIKE = 1.6  # √B × the noise of batch losses / their mean; shuffled classes stay below 1.25 while half is still to be learned
MUCH_LEFT = 0.4  # times chance
OF_EPOCHS, TURNS = 0.6, 0.4  # of chance, or of where it began; share of the records, which of independent ones is two thirds
RECORDS = 24
UNBOUNDED = frozenset({"regression", "autoencoder"})  # squared errors of one batch of n scatter by sqrt(2/n) of their mean, guessing or not


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    loss = e.curve("train/loss")
    if loss is None or loss.oscillation is None:
        return Unknown(say("Not measured: this needs at least eight records of the training loss."))
    if e.family in NOTHING_EXPECTED:
        return Cleared(say("Swings belong to the losses of this family ({family}).", family=e.family), (family_expected_to_learn(e),))
    o = loss.oscillation
    scale = e.chance.loss or abs(loss.start) or 1.0
    wide = o.amplitude > WIDE * scale
    level = to_chance(e, loss.final)
    good = max((s for s in (skill(e, "val"), skill(e, "train")) if s is not None), default=None)
    right = e.curve("train/accuracy")
    if good is None and right is not None and right.finite:
        good = right.final / whole(right)  # of how many classes, nothing says
    bad = (level is None or level > 0.5) and (good is None or good < 0.75) and not (level is None and _means_come_down(e))
    periodic = o.period is not None and o.strength > STRONG
    above = (
        e.family not in UNBOUNDED
        and (to_chance(e, loss.highest) or 0.0) > 1.3
        and loss.noise > 0.25 * scale
        and starts_normal(e) is not False
        and (rate_decades(e) or 0.0) < 1.3
        and (level or 1.0) < 2.0
    )
    if bad and (level is None or level > UNTAUGHT) and _epochs_swing(loss, scale):
        return Sighting(
            Severity.SERIOUS,
            say("The loss of whole epochs swings by {amplitude:.3g}, and comes to nothing.", amplitude=o.amplitude),
            loss.first_step, loss.first_step, ("train/loss",), e.series["train/loss"].source, "epochs",
        )  # fmt: skip
    ordered = e.batches is not None and (e.batches.clustering or 0.0) > ORDERED
    if ordered and not (wide and bad and (periodic or above)):
        undone = periodic and o.amplitude > MARKED * scale and (to_chance(e, loss.highest) or 0.0) > UNTAUGHT
        return Sighting(
            Severity.SERIOUS if undone else Severity.MINOR,
            say("Recorded batches hold few of the classes each: the data comes in order, and the loss goes up and down with it."),
            loss.first_step, loss.first_step, ("train/loss",), e.series["train/loss"].source, "order",
        )  # fmt: skip
    scatter = _scatter(e, loss)
    if scatter is not None and scatter > UNLIKE and not (wide and bad and (periodic or above)):
        return Sighting(
            Severity.SERIOUS,
            say("The losses of batches differ {times:.2g} × as much as those of fair draws from one data set do.", times=scatter / FAIR),
            loss.first_step, loss.first_step, ("train/loss",), e.series["train/loss"].source, "unlike",
        )  # fmt: skip
    if not (wide and bad and (periodic or above)):
        file = file_of(e, loss.name)
        swing = say("the swing around the course (× chance)") if e.chance.loss else say("the swing around the course (× the start)")
        return Cleared(
            say("It swings by {amplitude:.3g} around its course, with no strong period.", amplitude=o.amplitude)
            if not periodic
            else say("It swings by {amplitude:.3g} around its course, too little to matter.", amplitude=o.amplitude),
            (
                is_above(swing, o.amplitude / scale, WIDE, file),
                is_above(say("the autocorrelation at its period"), o.strength if o.period is not None else 0.0, STRONG, file),
                asked(say("the loss ends badly"), bad, say("{name} ends at {final:.4g}", name=loss.name, final=loss.final), file),
            ),
        )
    summary = (
        say("The loss swings by {amplitude:.3g} with a period of {period:.3g} records.", amplitude=o.amplitude, period=o.period)
        if periodic
        else say("The loss of single batches swings by {amplitude:.3g}, above and below what guessing gives.", amplitude=o.amplitude)
    )
    return Sighting(Severity.SERIOUS, summary, loss.first_step, loss.first_step, ("train/loss",), e.series["train/loss"].source)


def _epochs_swing(loss: CurveStats, scale: float) -> bool:
    """Means of whole epochs go up and down by most of the loss, and not down: what batches differ by is averaged in them, a step too long is not."""
    if loss.reduction != Reduction.EPOCH or loss.finite < RECORDS or loss.oscillation is None or loss.trend is None:
        return False
    return loss.oscillation.amplitude > OF_EPOCHS * scale and loss.oscillation.turn_rate > TURNS and loss.trend.tau > COMES_DOWN


def _scatter(e: Evidence, loss: CurveStats) -> float | None:
    """√B × noise / mean of the second half: what the losses of single samples scatter by, where batches are fair draws, in units of their mean.
    None where not single batches were logged, where little is left to learn, and where a rate far too high could throw them about."""
    batch, level = e.number("batch_size"), to_chance(e, loss.halves.mean) if loss.halves is not None else None
    if (
        loss.halves is None
        or batch is None
        or level is None
        or e.family != "classifier"
        or (e.chance.classes or 0) <= 2
        or loss.non_finite is not None
    ):
        return None
    single = loss.reduction in (Reduction.STEP, Reduction.UNKNOWN) and loss.finite >= RECORDS and not loss.spikes
    thrown = (rate_decades(e) or 0.0) > ORDINARY
    return math.sqrt(batch) * loss.noise / loss.halves.mean if single and MUCH_LEFT < level < 1.0 and not thrown else None


def _means_come_down(e: Evidence) -> bool:
    """Over whole epochs, in which what single batches differ by is averaged, the loss falls steadily: drawn noise levels of a denoiser, or
    batches of unlike difficulty."""
    means = e.curve("train/loss.epoch")
    falls = means is not None and means.trend is not None and means.trend.tau < COMES_DOWN
    return falls and means is not None and relative_fall(means) > FELL


@probe(say("the swing has the length of an epoch"), curve("train/loss", 16), holds=1.5, fails=-0.4)
def epoch_period(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    if loss is None or loss.oscillation is None or loss.oscillation.period_epochs is None:
        return None
    return Reading(abs(loss.oscillation.period_epochs - 1) < 0.2, say("{period:.2g} epochs", period=loss.oscillation.period_epochs))


@probe(say("shuffled batches do not differ that much"), holds=1.5)
def unlike(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    scatter = _scatter(e, loss) if loss is not None and seen.facet == "unlike" else None
    return Reading(True, say("{times:.2g} × what they usually do", times=scatter / FAIR)) if scatter is not None else None


CHECK = Check(
    id="oscillating-loss",
    title=say("Oscillating loss"),
    symptom=say("The loss goes up and down periodically or in alternation."),
    detect=detect,
    needs=(curve("train/loss", 8),),
    probes=(epoch_period, unlike),
    prior=0.6,
    causes=((unshuffled_data, -0.5), (learning_rate_too_high, -0.8), (batch_too_small, -1.5)),
    by_hand=(say("Print the label histogram of ten consecutive batches."),),
    consequences=("underfitting", "loss-not-decreasing", "dead-units", "validation-fault"),
)
