"""The loss goes up and down in a pattern."""

from postmortem.check import Check, Cleared, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.batch_too_small import batch_too_small
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.unshuffled_data import unshuffled_data
from postmortem.checklist.levels import NOTHING_EXPECTED, relative_fall, skill, starts_normal, to_chance
from postmortem.checklist.limits import asked, family_expected_to_learn, is_above
from postmortem.checklist.needs import curve
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.signs import file_of

STRONG = 0.4  # autocorrelation at the period
WIDE = 0.4  # amplitude / chance level, or / level of the curve
ORDERED = 0.5  # of the way from batches that are a fair draw of the classes to batches of one class
COMES_DOWN = -0.5  # Kendall's tau of the epoch means
FELL = 0.1  # share of their start
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
    ordered = e.batches is not None and (e.batches.clustering or 0.0) > ORDERED
    if ordered and not (wide and bad and (periodic or above)):
        return Sighting(
            Severity.MINOR, say("Recorded batches hold few of the classes each: the data comes in order, and the loss goes up and down with it."),
            loss.first_step, loss.first_step, ("train/loss",), e.series["train/loss"].source, "order",
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


CHECK = Check(
    id="oscillating-loss",
    title=say("Oscillating loss"),
    symptom=say("The loss goes up and down periodically or in alternation."),
    detect=detect,
    needs=(curve("train/loss", 8),),
    probes=(epoch_period,),
    prior=0.6,
    causes=((unshuffled_data, -0.5), (learning_rate_too_high, -0.8), (batch_too_small, -1.5)),
    by_hand=(say("Print the label histogram of ten consecutive batches."),),
    consequences=("underfitting", "loss-not-decreasing", "dead-units", "validation-fault"),
)
