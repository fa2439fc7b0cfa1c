"""Training and validation loss both stay high although training works."""

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.attainable import HARDLY_LEARNED, HIGH, TOGETHER, ahead, as_sure_as_right, attained, explained, limit, may_be_noise
from postmortem.checklist.causes.accumulating_gradients import accumulating_gradients
from postmortem.checklist.causes.bad_initialization import bad_initialization
from postmortem.checklist.causes.batch_too_small import batch_too_small
from postmortem.checklist.causes.broken_evaluation import broken_evaluation
from postmortem.checklist.causes.class_imbalance import class_imbalance
from postmortem.checklist.causes.clipping_too_tight import clipping_too_tight
from postmortem.checklist.causes.data_quality import data_quality
from postmortem.checklist.causes.decayed_too_early import decayed_too_early
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.learning_rate_too_low import learning_rate_too_low
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.saturating_activations import saturating_activations
from postmortem.checklist.causes.stopped_too_early import SHORT, stopped_too_early
from postmortem.checklist.causes.too_deep import too_deep
from postmortem.checklist.causes.too_little_capacity import too_little_capacity
from postmortem.checklist.causes.too_much_regularization import too_much_regularization
from postmortem.checklist.causes.unshuffled_data import unshuffled_data
from postmortem.checklist.causes.wrong_labels import wrong_labels
from postmortem.checklist.causes.wrong_loss import UNSURE, wrong_loss
from postmortem.checklist.falls import never_bends
from postmortem.checklist.hopeless import SYMMETRIC, no_logarithm, score_at_zero, without_chance
from postmortem.checklist.levels import NOTHING_EXPECTED, course, level_of_ranking, loss_curve, skill, to_chance, whole
from postmortem.checklist.limits import family_expected_to_learn, is_above, is_below, share_is_below
from postmortem.checklist.needs import CHANCE, LOSS, VALIDATION
from postmortem.checklist.probes import seen_as
from postmortem.checklist.signs import file_of
from postmortem.checklist.softmaxes import given_probabilities
from postmortem.checklist.untrue import taught_otherwise
from postmortem.model.curves import CurveStats

FAR = 1.16  # × the limit
SOMETHING_LEFT = 0.15  # times chance
FEW_OF_TRAINING, GUESSED = 3, ("first-loss", "target-variance")  # records
FEW = 1  # one evaluation of a single epoch can say how far it got
RANKS_WELL = 0.75  # area under the curve
WORSE = 1.6  # times chance: a model that knows nothing is not that bad
FIRST_EPOCHS = 2.5  # epochs
SURE = 0.05  # p of the trend of the last third, within the first epoch
STILL_TO_COME = 0.3  # of the drop
GOES_ON, FEW_STEPS, UNSURE_YET = 0.05, 200.0, 0.85  # of where it ended, over the last third; steps; times chance
GUESSING = 0.2  # share of the way from guessing to perfect accuracy


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    if e.family in NOTHING_EXPECTED:
        return Cleared(
            say("The loss of this family ({family}) has no attainable level to compare with.", family=e.family), (family_expected_to_learn(e),)
        )
    loss = course(e)
    if loss is None or loss.finite < FEW:
        return Unknown(say("Not measured: there are only {n} finite values of the loss.", n=loss.finite if loss else 0))
    level = attained(e, loss)
    idle = score_at_zero(e)
    if idle is not None:
        return idle
    bare = no_logarithm(e)
    if bare is not None:
        return bare
    doubled = given_probabilities(e)
    if doubled is not None:
        return doubled
    noise = taught_otherwise(e)
    if noise is not None:
        return noise
    if level is None or (level > SOMETHING_LEFT and (e.weights.symmetric_share or 0.0) >= SYMMETRIC):
        told = without_chance(e, loss)
        if told is not None:
            return told
    if level is None:
        return Unknown(say("Not measured: without the number of classes nobody can say what loss would be attainable."), CHANCE.log, CHANCE.how)
    train = e.curve("train/loss")
    if loss.name == "val/loss" and (train is None or train.finite < FEW_OF_TRAINING) and e.chance.basis in GUESSED:
        return Unknown(say("Not measured: training itself was not logged, and how high a guess would be is a guess."), LOSS.log, LOSS.how)
    best = max((s for s in (skill(e, "train"), skill(e, "val")) if s is not None), default=None)
    cut_short = (
        e.outcome in ("crashed", "cancelled", "running", "unknown")
        and bool(e.planned_steps)
        and (e.last_step or 0.0) < 0.5 * (e.planned_steps or 0.0)
    )
    if cut_short or _within_the_first_epochs(e, loss) or (loss.finite < 3 and e.outcome != "finished"):
        return Unknown(say("Not measured: the run ended before it could show how far it would get."))
    bound = limit(e)
    good = best is not None and best > 0.6 and level > HIGH
    contradiction = good and not as_sure_as_right(e, loss)
    if level < bound and loss.relative_gain > 0.3 and _guesses_at_a_low_loss(e, bound):
        return Sighting(
            Severity.SERIOUS,
            say("The loss fell to {level:.2f} × chance while accuracy is that of guessing: what is minimised is not the task.", level=level),
            loss.first_step,
            None,
            (loss.name, "val/accuracy"),
            e.series[loss.name].source,
            "contradiction",
        )
    if e.gap is not None and ahead(e) and not (level >= bound and explained(e)):
        gap = is_below(say("ln(validation / train) at the end"), e.gap.gap, TOGETHER, file_of(e, "val/loss"))
        why = say("Training is ahead of validation (ln ratio {gap:.2f}): the model is not too weak for the training set.", gap=e.gap.gap)
        return Cleared(why, (gap, _level(e, loss, level, bound)))
    if level < bound:
        return Cleared(say("The loss ends at {level:.2f} × chance.", level=level), (_level(e, loss, level, bound),))
    falling, steps = _still_falls(loss), e.last_step if (e.steps_per_epoch or 0.0) > 1.0 else None
    if good and level < UNSURE_YET and e.chance.basis == "first-loss" and (falling > GOES_ON or (steps is not None and steps < FEW_STEPS)):
        why = say("Accuracy is good, and the loss goes on falling or had few steps to fall: right answers come before sure ones.")
        at_rest = share_is_below(say("the fall of {name} over the last third (of its end)", name=loss.name), falling, GOES_ON, file_of(e, loss.name))
        return Cleared(why, (at_rest, is_above(say("steps that were done"), steps, FEW_STEPS, file_of(e, loss.name))))
    if good and not contradiction and level <= FAR * bound:
        why = say("Accuracy is good, and the loss is what it makes of a model that knows how sure it may be.")
        return Cleared(why, (_level(e, loss, level, FAR * bound),))
    improving = loss.asymptote is not None and loss.asymptote.remaining > STILL_TO_COME
    if level <= FAR * bound and improving and not explained(e) and (e.last_epoch or SHORT) > SHORT:
        why = say("The loss ends at {level:.2f} × chance and goes on falling: nothing holds it up, it may be trained for longer.", level=level)
        return Cleared(why, (_level(e, loss, level, FAR * bound),))
    if may_be_noise(e, loss, level):
        why = say("It is as sure of its answers as they are right: the rest may be noise of the labels.")
        return Cleared(why, (is_above(say("{name} at the end (× chance)", name=loss.name), level, HARDLY_LEARNED, file_of(e, loss.name)),))
    ranks = _ranking(e)
    if ranks is not None and level < UNSURE * level_of_ranking(ranks) and not explained(e):
        why = say("It ranks well (AUC {auc:.2f}), and the loss is what it makes of a model that knows how sure it may be.", auc=ranks)
        return Cleared(why, (_level(e, loss, level, UNSURE * level_of_ranking(ranks)),))
    came_down = loss.relative_gain > 0.5 and loss.final < 0.5 * min(loss.start, loss.first)
    if level > WORSE and (came_down or never_bends(e, loss)):
        return Sighting(
            Severity.SERIOUS,
            say("The loss fell from {start:.4g} and still ends at {level:.2f} × chance.", start=loss.start, level=level),
            loss.last_step,
            loss.first_step,
            (loss.name, "val/loss"),
            e.series[loss.name].source,
            "above",
        )
    if level > WORSE:
        worse = is_below(say("{name} at the end (× chance)", name=loss.name), level, WORSE, file_of(e, loss.name))
        return Cleared(say("The loss ends above chance ({level:.2f} ×): that is no lack of learning.", level=level), (worse,))
    summary = (
        say("The loss stays at {level:.2f} × chance although accuracy is good: the two contradict each other.", level=level)
        if contradiction
        else say("The loss ends at {level:.2f} × chance, on training data too.", level=level)
    )
    return Sighting(
        Severity.SERIOUS,
        summary,
        loss.plateau_step or loss.last_step,
        loss.plateau_step,
        (loss.name, "val/loss"),
        e.series[loss.name].source,
        "contradiction" if contradiction else "",
    )


def _still_falls(loss: CurveStats) -> float:
    """What the loss lost over the last third of the run, as a share of where it ended; 0 where it did not fall or is too short to tell."""
    if loss.tail is None or loss.tail.tau >= 0 or loss.final <= 0:
        return 0.0
    return -loss.tail.slope * (loss.last_step - loss.first_step) / 3 / loss.final


def _ranking(e: Evidence) -> float | None:
    """The area under the curve, the smaller of training's and validation's, where it tells two classes apart well."""
    areas = [c.final / whole(c) for name in ("train/auc", "val/auc") if (c := e.curve(name)) is not None and c.finite]
    return min(areas) if areas and e.chance.classes == 2 and RANKS_WELL < min(areas) < 1.0 else None


def _within_the_first_epochs(e: Evidence, loss: CurveStats) -> bool:
    """The log ends within the first two epochs, the loss is still falling, and nothing says how long training was meant to be."""
    meant = e.planned_steps or e.planned_epochs or e.number("epochs") or e.number("max_steps")
    falling = any(t is not None and t.tau < 0 and t.p_value < SURE for t in (loss.tail, loss.trend))
    return e.outcome == "unknown" and not meant and falling and e.last_epoch is not None and e.last_epoch < FIRST_EPOCHS


def _level(e: Evidence, loss: CurveStats, level: float, limit: float) -> Clue:
    return is_above(say("{name} at the end (× chance)", name=loss.name), level, limit, file_of(e, loss.name))


def _guesses_at_a_low_loss(e: Evidence, limit: float) -> bool:
    """On one and the same split the loss says that much was learned, and accuracy that nothing was."""
    for split in ("train", "val"):
        loss = e.curve(f"{split}/loss.epoch") or e.curve(f"{split}/loss")
        level, right = to_chance(e, loss.final) if loss else None, skill(e, split)
        if level is not None and right is not None and level < limit and right < GUESSING:
            return True
    return False


@probe(say("validation is as bad as training"), VALIDATION, holds=0.6, fails=-0.8)
def together(e: Evidence, seen: Sighting) -> Reading | None:
    return None if e.gap is None or seen.facet == "noise" else Reading(not ahead(e), say("ln(validation / train) is {gap:.2f}", gap=e.gap.gap))


@probe(say("the level is far from what healthy runs reach"), CHANCE, holds=1.0, fails=-0.7)
def far(e: Evidence, seen: Sighting) -> Reading | None:
    loss, bound = course(e), FAR * limit(e)
    level = attained(e, loss) if loss else None
    if level is None or (level <= bound and explained(e)):
        return None
    guessed = e.chance.basis == "first-loss" and (skill(e, "val") or 0.0) > 0.5  # what chance is, nothing says, and the accuracy is good
    return Reading(level > bound, say("{level:.2f} × chance", level=level), share=1.5 if guessed else 1.0)


contradict = seen_as("contradiction", claim=say("loss and accuracy contradict each other"), holds=2.5)
bare = seen_as("bare", claim=say("no loss of a classifier starts at −1 / classes"), holds=2.5)
never_yes = seen_as("one-class", claim=say("who never says yes has learned nothing but how often it is no"), holds=2.0)
latents = seen_as("latents", claim=say("a decoder that is told nothing can do no better than the mean"), holds=2.0)


@probe(say("units that are copies of each other can do no more than one"), holds=2.0)
def copies(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.weights.symmetric_share
    if share is None or seen.facet != "symmetric":
        return None
    return Reading(True, say("{share:.0%} of the weight matrices are nearly one number or have identical rows or columns", share=share))


soon = seen_as("begun", claim=say("an easy task may need no more than a few dozen steps"), holds=-0.4)
noise = seen_as("noise", claim=say("nothing else holds training below validation for good"), holds=1.6)


@probe(say("training worked at all"), holds=0.3, fails=-0.5)
def worked(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    return None if loss is None else Reading(loss.relative_gain > 0.05, say("the loss fell by {gain:.0%}", gain=loss.relative_gain))


CHECK = Check(
    id="underfitting",
    title=say("Underfitting"),
    symptom=say("Training and validation loss both stay high although training works."),
    detect=detect,
    needs=(LOSS,),
    probes=(together, far, contradict, bare, latents, never_yes, copies, noise, soon, worked),
    prior=0.5,
    causes=(
        (too_little_capacity, -1.0),
        (stopped_too_early, -1.2),
        (learning_rate_too_low, -1.5),
        (learning_rate_too_high, -1.5),
        (clipping_too_tight, -2.0),
        (too_much_regularization, -1.5),
        (wrong_loss, -1.8),
        (unshuffled_data, -2.2),
        (bad_initialization, -2.0),
        (preprocessing, -2.2),
        (class_imbalance, -3.0),
        (data_quality, -2.5),
        (broken_evaluation, -2.5),
        (wrong_labels, -3.0),
        (accumulating_gradients, -2.5),
        (saturating_activations, -2.8),
        (too_deep, -2.5),
        (batch_too_small, -2.5),
        (decayed_too_early, -2.8),
    ),
    by_hand=(say("Overfit one batch: if even that stays high, the fault is in model or loss, not in size or time."),),
    consequences=(),
)
