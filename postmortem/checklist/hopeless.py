"""Signs that a model cannot have learned its task, whatever its loss may mean and whatever would be attainable."""

from math import isfinite
from statistics import fmean

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.checklist.attainable import AT_REST, EVALUATED, HIGH, ahead, explained, slow
from postmortem.checklist.falls import creeps, falls_to_the_end, hardly_begun
from postmortem.checklist.inputs import uneven_inputs, unscaled_targets
from postmortem.checklist.latents import unused
from postmortem.checklist.levels import course, relative_fall, whole
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.parameters import NARROW
from postmortem.checklist.rates import pretrained
from postmortem.checklist.signs import from_the_start
from postmortem.checklist.standstill import TOO_HIGH
from postmortem.checklist.starts import never_reached, started_too_large
from postmortem.model.curves import CurveStats

DROWNING = 0.8  # dropout
FAR_ENOUGH, CRAWLING = 0.6, -1.9  # of where the loss began; decades from the usual rate
UNSCALED = 100.0  # mean square of the inputs, 1 where they are standardised
HALF = 0.5  # of where the loss began
EPOCHS, FELL_AT_FIRST, HARDLY_MORE = 10, 1.2, 1.06  # × the second epoch's mean; × the last one's
STILL_FALLING = -0.5  # Kendall's tau
IN_UNITS, AT_ONCE = 1e4, 0.12  # squared error; share of the run
SCORES = ("val/score", "val/f1")
ZERO = 0.01  # of a score between 0 and 1, or 0 and 100
AWAY = 0.75  # share of the evaluations at exactly 0
FREQUENT = 0.7  # accuracy
ALL_WRONG, A_PART = 0.99, 0.2  # of an error rate; of the loss
HURLING = 1.9  # decades above the usual rate, which no healthy run of those looked at has
FEW_SINCE, THROWN_UP, NO_GUESS = 8, 5.0, 12.0  # records of the last two thirds; × their mean; nats, or standardised squares
SYMMETRIC = 0.5  # share of the weight matrices with identical rows or columns
AT_GUESSING = 0.3  # relative distance of a loss from −1 / classes
SAME_SHARE = 0.3  # between an accuracy and a mean probability of the right class


def score_at_zero(e: Evidence) -> Sighting | None:
    """What the model is trained for never came off: a score (mIoU, mAP, Dice, BLEU) of nearly 0 at each of many evaluations, an error rate of
    all, or the same to the last digit whatever the loss did."""
    idle = _never_yes(e) or _nothing_right(e) or _never_another_score(e)
    if idle is not None:
        return idle
    for name in SCORES:
        c = e.curve(name)
        if c is None or c.finite < EVALUATED or c.lowest < 0:
            continue
        many = c.finite >= 2 * EVALUATED
        fell = many and c.last == 0 and c.zeros >= AWAY * c.finite
        if not fell and c.highest > (5 * ZERO if many else ZERO):
            continue
        logged, n = e.series[name].logged_as, c.finite
        never = say("The score ({name}) was never better than {highest:.3g} in {n} evaluations.", name=logged, highest=c.highest, n=n)
        lost = say(
            "The score ({name}) is 0 in {zeros} of {n} evaluations, the last of them, and was {highest:.3g} at best.",
            name=logged, zeros=c.zeros, n=n, highest=c.highest,
        )  # fmt: skip
        return Sighting(
            Severity.SERIOUS,
            lost if fell and c.highest > 5 * ZERO else never,
            c.first_step,
            None,
            (name, "train/loss"),
            e.series[name].source,
            "score",
        )
    return None


def _nothing_right(e: Evidence) -> Sighting | None:
    """An error rate (of words, of characters, of answers) that was never below all."""
    c = e.curve("val/error")
    if c is None or c.finite < 2 * EVALUATED or c.lowest < ALL_WRONG * whole(c):
        return None
    name, n = e.series["val/error"].logged_as, c.finite
    summary = say("The error rate ({name}) was never below {lowest:.3g} in {n} evaluations: nothing is right.", name=name, lowest=c.lowest, n=n)
    return from_the_start(e, "score", summary, "val/error", "train/loss")


def _never_another_score(e: Evidence) -> Sighting | None:
    """A score that is one number in each of many evaluations, while the loss fell: whatever is asked, the answer is the same."""
    c, loss = e.curve("val/score"), course(e)
    if c is None or loss is None or c.finite < 2 * EVALUATED or c.distinct != 1 or c.final > FREQUENT * whole(c) or relative_fall(loss) < A_PART:
        return None
    summary = say(
        "The score ({name}) is {score:.4g} in each of {n} evaluations, to the last digit, while the loss fell by {fall:.0%}: the answer to everything is the same.",
        name=e.series["val/score"].logged_as,
        score=c.final,
        n=c.finite,
        fall=relative_fall(loss),
    )
    return from_the_start(e, "one-class", summary, "val/score", loss.name)


def _never_yes(e: Evidence) -> Sighting | None:
    """Nearly all answers are right, and none of them finds what is looked for: the frequent class is the answer to everything."""
    f1, right = e.curve("val/f1"), e.curve("val/accuracy")
    if f1 is None or right is None or f1.zeros < EVALUATED - 1 or f1.last != 0.0 or right.final / whole(right) < FREQUENT:
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "Of the answers {right:.1%} are right and F1 is 0: the frequent class is the answer to everything.",
            right=right.final / whole(right),
        ),
        f1.first_step,
        None,
        ("val/f1", "val/accuracy"),
        e.series["val/f1"].source,
        "one-class",
    )


def no_logarithm(e: Evidence) -> Sighting | None:
    """A classifier's loss that starts at −1 / C and goes towards −1: minus the probability of the right class, as `nll_loss` gives it for
    the outputs of a softmax. What is hopeless gets no gradient from it."""
    loss, right, classes = course(e), e.curve("val/accuracy") or e.curve("train/accuracy"), e.chance.classes
    if loss is None or right is None or not classes or e.family != "classifier" or loss.floor == 0 or loss.highest >= 0 or not right.finite:
        return None
    share = right.final / whole(right)
    if abs(classes * loss.first + 1.0) > AT_GUESSING or abs(share + loss.final) > SAME_SHARE:
        return None
    summary = say(
        "The loss goes from {first:.3g}, which is −1 / {classes}, to {final:.3g}: it is minus a probability, and not its logarithm.",
        first=loss.first,
        classes=classes,
        final=loss.final,
    )
    return from_the_start(e, "bare", summary, loss.name, right.name)


def _copies(e: Evidence, loss: CurveStats) -> Sighting | None:
    if (e.weights.symmetric_share or 0.0) < SYMMETRIC:
        return None
    summary = say(
        "The units of a layer are copies of each other: the model is as good as one unit wide, whatever its loss of {final:.4g} may mean.",
        final=loss.final,
    )
    return from_the_start(e, "symmetric", summary, loss.name)


def _unused_latents(e: Evidence, loss: CurveStats) -> Sighting | None:
    divergence = unused(e)
    if divergence is None:
        return None
    summary = say(
        "The divergence of the latent variables from the prior ({name}) fell from {first:.2g} to {final:.2g}: they tell the decoder nothing.",
        name=e.series[divergence.name].logged_as,
        first=divergence.first,
        final=divergence.final,
    )
    return from_the_start(e, "latents", summary, divergence.name, loss.name)


def _drowned(e: Evidence, loss: CurveStats) -> Sighting | None:
    """Extreme dropout under which training never gets near what the same model does without it."""
    train, val = e.curve("train/accuracy"), e.curve("val/accuracy")
    if (
        (e.number("dropout") or 0.0) < DROWNING
        or train is None
        or val is None
        or not train.finite
        or not val.finite
        or train.final >= HALF * val.final
    ):
        return None
    summary = say("Training accuracy ends at {train:.0%} and validation, without dropout, at {val:.0%}.", train=train.final, val=val.final)
    return from_the_start(e, "dropout", summary, "train/accuracy", "val/accuracy")


def _hardly_falls_with_dropout(e: Evidence, loss: CurveStats) -> Sighting | None:
    dropout, fall = e.number("dropout") or 0.0, relative_fall(loss)
    if dropout < DROWNING or fall >= HALF or ahead(e):
        return None
    return from_the_start(e, "dropout", say("With a dropout of {dropout:g} the loss fell by {fall:.0%}.", dropout=dropout, fall=fall), loss.name)


def _few_units(e: Evidence, loss: CurveStats) -> Sighting | None:
    width = e.number("model_width")
    if not width or width >= NARROW or ahead(e):
        return None
    summary = say("The loss ends at {final:.4g}, of a model with {width:g} hidden units.", final=loss.final, width=width)
    return from_the_start(e, "narrow", summary, loss.name)


def _raw_pictures(e: Evidence, loss: CurveStats) -> Sighting | None:
    """An autoencoder is taught its inputs: where they are not scaled, its first squared error says so."""
    if e.family != "autoencoder" or loss.first <= UNSCALED or loss.final <= 1.0 or not _squared(e):
        return None
    summary = say("The first squared error is {first:.4g}, which is the mean square of the inputs: they are not scaled.", first=loss.first)
    return from_the_start(e, "inputs", summary, loss.name)


def _drowned_inputs(e: Evidence, loss: CurveStats) -> Sighting | None:
    if not uneven_inputs(e):
        return None
    summary = say("The loss ends at {final:.4g}, and most of the inputs hardly count: others are many times as large.", final=loss.final)
    return from_the_start(e, "inputs", summary, loss.name)


def _far_above_its_floor(e: Evidence, loss: CurveStats) -> Sighting | None:
    if loss.floor >= 0 or loss.final - loss.floor <= HIGH or e.gap is None or ahead(e) or not explained(e):
        return None
    summary = say("The loss, which can come down to {floor:g}, ends at {final:.4g}, on training data too.", floor=loss.floor, final=loss.final)
    return from_the_start(e, "floor", summary, loss.name)


def _hurled(e: Evidence, loss: CurveStats) -> Sighting | None:
    decades = rate_decades(e) or 0.0
    if _only_came_back(e, loss, decades):
        back = say(
            "The first steps threw the loss to {highest:.4g}; it came back to {final:.4g} and got no better.", highest=loss.highest, final=loss.final
        )
        return from_the_start(e, "rate", back, loss.name)
    right = e.curve("val/accuracy")
    never = right is not None and right.finite >= EVALUATED and right.highest == 0.0
    if decades <= HURLING or (loss.plateau_share <= AT_REST and not never):
        return None
    summary = say("The loss came to rest at {final:.4g} with a learning rate {times:.0f} × the usual one.", final=loss.final, times=10**decades)
    return from_the_start(e, "rate", summary, loss.name)


def _only_came_back(e: Evidence, loss: CurveStats, decades: float) -> bool:
    """At a rate that no optimizer takes the first steps threw the loss far up; it came down from there and goes nowhere since, up to the end: what
    looks like learning is the way back."""
    values = [float(v) for v in e.series[loss.name].values if isfinite(v)]
    rest = values[len(values) // 3 :]
    half = len(rest) // 2
    if decades < TOO_HIGH or len(rest) < FEW_SINCE or min(rest) <= 0 or max(values[: len(values) // 3]) < max(THROWN_UP * fmean(rest), NO_GUESS):
        return False
    return min(rest[half:]) > min(rest[:half]) and fmean(rest[-half:]) > fmean(rest[:half])


def _too_slow(e: Evidence, loss: CurveStats) -> Sighting | None:
    decades = rate_decades(e) or 0.0
    if not slow(e) or (relative_fall(loss) >= FAR_ENOUGH and decades >= CRAWLING):
        return None
    summary = say(
        "With {times:.2g} × the usual learning rate the loss was still falling at the last record, from {start:.4g} to {final:.4g}.",
        times=10**decades,
        start=loss.start,
        final=loss.final,
    )
    return from_the_start(e, "slow", summary, loss.name)


def _evenly(e: Evidence, loss: CurveStats) -> Sighting | None:
    if not creeps(e, loss):
        return None
    fall = relative_fall(loss)
    return from_the_start(
        e, "even", say("The loss fell by {fall:.0%}, evenly: it never slowed down, as it does once something is learned.", fall=fall), loss.name
    )


def _targets_in_units(e: Evidence, loss: CurveStats) -> Sighting | None:
    """A squared error in the thousands falls at once, by the mean of the target, and crawls to the end from there."""
    if e.family != "regression" or loss.first < IN_UNITS or loss.final > HALF * loss.first or not falls_to_the_end(e):
        return None
    early = e.at(loss.name, loss.first_step + AT_ONCE * (loss.last_step - loss.first_step))
    if early is None or loss.final < HALF * early:
        return None
    summary = say(
        "The loss fell from {first:.4g} to {early:.4g} almost at once and crawls from there, to {final:.4g}: the target is in units in which it is large.",
        first=loss.first,
        early=early,
        final=loss.final,
    )
    return from_the_start(e, "targets", summary, loss.name)


def _targets_far_away(e: Evidence, loss: CurveStats) -> Sighting | None:
    b = e.batches
    if b is None or not unscaled_targets(e) or loss.final < HALF * loss.first:
        return None
    summary = say(
        "What is to be predicted has mean {mean:.3g} and standard deviation {std:.3g}, and the loss is still at {final:.4g} of {first:.4g}.",
        mean=b.target_mean or 0.0,
        std=b.target_std or 0.0,
        final=loss.final,
        first=loss.first,
    )
    return from_the_start(e, "targets", summary, loss.name)


def _nothing_after_the_first(e: Evidence, loss: CurveStats) -> Sighting | None:
    """What the first epoch taught, a mean or how often each class occurs, is all that was learned in many."""
    values = e.series[loss.name].values
    if loss.reduction != "epoch" or loss.finite < EPOCHS or len(values) != loss.finite or pretrained(e) or not loss.final > 0:
        return None
    if loss.tail is None or loss.tail.tau < STILL_FALLING:
        return None
    first, second = float(values[0]), float(values[1])
    if first < FELL_AT_FIRST * second or second > HARDLY_MORE * loss.final or loss.final > second:
        return None
    summary = say(
        "The loss fell from {first:.4g} to {second:.4g} with the first epoch and to {final:.4g} in the {n} since: what is learned at once is all.",
        first=first,
        second=second,
        final=loss.final,
        n=loss.finite - 1,
    )
    return from_the_start(e, "at-once", summary, loss.name)


def _barely_begun(e: Evidence, loss: CurveStats) -> Sighting | None:
    if not hardly_begun(e) or (e.outcome == "unknown" and e.planned_steps is None):
        return None  # or training went on where the log does not
    summary = say(
        "Training was over after {steps:g} steps, and the loss was still coming down steeply, from {start:.4g} to {final:.4g}.",
        steps=e.last_step,
        start=loss.start,
        final=loss.final,
    )
    return from_the_start(e, "begun", summary, loss.name)


SIGNS = (
    _copies, started_too_large, never_reached, _unused_latents, _drowned, _hardly_falls_with_dropout, _few_units, _raw_pictures, _drowned_inputs,
    _far_above_its_floor, _hurled, _targets_far_away, _too_slow, _evenly, _targets_in_units, _barely_begun, _nothing_after_the_first,
)  # fmt: skip


def without_chance(e: Evidence, loss: CurveStats) -> Sighting | None:
    """What shows that a model cannot have learned its task although nothing tells what loss would be attainable. None without such a sign."""
    return next((seen for sign in SIGNS if (seen := sign(e, loss)) is not None), None)


def _squared(e: Evidence) -> bool:
    """The configuration names a mean of squares, which a sum over pixels is not."""
    setting = e.setting("loss")
    return setting is not None and any(word in str(setting.value).lower() for word in ("mse", "mean_squared", "meansquared"))
