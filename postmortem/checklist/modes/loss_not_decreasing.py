"""The loss is flat, at chance level, or no better than at the start."""

from math import exp, log

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Sentence, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.accumulating_gradients import accumulating_gradients
from postmortem.checklist.causes.bad_initialization import bad_initialization
from postmortem.checklist.causes.batch_too_small import batch_too_small
from postmortem.checklist.causes.clipping_too_tight import clipping_too_tight
from postmortem.checklist.causes.decayed_too_early import decayed_too_early
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.learning_rate_too_low import learning_rate_too_low
from postmortem.checklist.causes.missing_from_optimizer import missing_from_optimizer
from postmortem.checklist.causes.model_structure import model_structure
from postmortem.checklist.causes.optimizer_idle import optimizer_idle
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.representation_collapse import representation_collapse
from postmortem.checklist.causes.saturating_activations import saturating_activations
from postmortem.checklist.causes.stopped_too_early import stopped_too_early
from postmortem.checklist.causes.too_deep import too_deep
from postmortem.checklist.causes.too_little_capacity import too_little_capacity
from postmortem.checklist.causes.too_much_regularization import too_much_regularization
from postmortem.checklist.causes.unshuffled_data import unshuffled_data
from postmortem.checklist.causes.wrong_labels import wrong_labels
from postmortem.checklist.causes.wrong_loss import wrong_loss
from postmortem.checklist.causes.zero_learning_rate import zero_learning_rate
from postmortem.checklist.contrasts import nothing_parts, picks_at_random
from postmortem.checklist.falls import never_bends
from postmortem.checklist.levels import NOTHING_EXPECTED, RISING, course, loss_curve, relative_fall, risen_score, skill, to_chance, whole
from postmortem.checklist.limits import asked, family_expected_to_learn, is_above, is_below, share_is_below
from postmortem.checklist.needs import CHANCE, LOSS, LOSS_OR_REWARD, curve
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.policies import fell
from postmortem.checklist.probes import seen_as
from postmortem.checklist.rates import pretrained
from postmortem.checklist.rewards import flat_reward, nothing_moved, policy_is_reference, prefers_nothing, stays_with_its_reference
from postmortem.checklist.signs import FEW_OF_AN_ATTEMPT, before_it_grew, excerpt, file_of, from_the_start, whole_run
from postmortem.checklist.standstill import (
    STAYED,
    always_one_answer,
    comes_down,
    fine_tuned,
    is_stuck,
    no_answer_better,
    only_its_share,
    only_worse,
    rate_too_low,
    rests_at_chance,
    thrown_to_chance,
)
from postmortem.model.curves import CurveStats
from postmortem.model.run import Reduction

SOME = 0.25  # of its start: the fall of a loss whose accuracy never moved
LITTLE = 0.1  # share of the starting loss: what a fault lets through, and healthy runs pass (they gain 0.21 to 1)
KNOWS_NOTHING = 0.9  # times chance
FEW = 3  # points
NO_FALL = 0.01  # of its start: two epochs at guessing that show less are no course, and enough
LONG_EXCERPT = 1.4  # last step / first step from which a piece of a log is long enough to show a trend
CREPT = 0.03  # relative change of the weights over the run
UNIFORM = 2.0  # × exp(−loss)
FEW_RIGHT = 0.35  # share that an even guess gets right: two classes are nearly that by themselves
MOST_NATS = 12.0  # a loss beyond is that of no guess
AROUND_ONE = 0.05  # of the mean square of a standardised target
NEARLY_NOTHING = 0.005  # of the start: what falls by less has not come down from anywhere
IN_UNITS = 1e4  # squared error
STEADY = 30  # records over which a fall is a trend, however small
GROWN = 1.2  # times where it began
FALLING = -0.5  # Kendall's tau
LEARNED = 0.3  # share of the way from guessing to perfect accuracy
FAR_ABOVE, JUST_ABOVE = 2.0, 1.1  # times chance
GOOD_ALREADY = 0.5  # times chance: a model that works; at the start, fine-tuning
COME_DOWN = 0.5  # × the first loss of the first attempt
KNEW = 8  # records among which the best level is no accident

WITHOUT_A_FALL = (nothing_moved, flat_reward, policy_is_reference, stays_with_its_reference, prefers_nothing, picks_at_random, nothing_parts)


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    if e.family in NOTHING_EXPECTED:
        return next(
            (seen for face in WITHOUT_A_FALL if (seen := face(e)) is not None),
            Cleared(say("The loss of this family ({family}) need not fall.", family=e.family), (family_expected_to_learn(e),)),
        )
    loss = course(e)
    if loss is None and (right := no_answer_better(e)) is not None and (e.last_epoch or 0.0) > 1.0:
        told = say("In {n} records accuracy stayed at {right:.1%}: no answer got better.", n=right.finite, right=right.final / whole(right))
        return from_the_start(e, "accuracy", told, right.name)
    guesses = loss is not None and loss.reduction == Reduction.EPOCH and _at_chance(e, loss) and relative_fall(loss) < NO_FALL
    if loss is None or loss.finite < (FEW - 1 if guesses else FEW):
        return Unknown(say("Not measured: there are only {n} finite values of the loss.", n=loss.finite if loss else 0))
    if loss.name.startswith("val/") and e.curve("train/loss") is None and to_chance(e, loss.final) is None and not loss.constant:
        return Unknown(say("Not measured: only validation was logged, and nothing tells how high a guess would be."), LOSS.log, LOSS.how)
    elsewhere = _begins_in_the_middle(e, loss) or _goes_on(e, loss) or _knew_the_task(e, loss) or _ran_away(e, loss) or _lost_again(e, loss)
    if elsewhere is not None:
        return elsewhere
    coin = no_answer_better(e)
    if coin is not None and (relative_fall(loss) < SOME or always_one_answer(e)) and not _skilled(e):
        return Sighting(
            Severity.SERIOUS,
            say("In {n} epochs training accuracy stayed at {right:.1%}: the loss fell by {gained:.0%}, and no answer got better.",
                n=coin.finite, right=coin.final / whole(coin), gained=relative_fall(loss)),
            loss.first_step, loss.first_step, ("train/accuracy", loss.name), file_of(e, "train/accuracy"), "accuracy",
        )  # fmt: skip
    asked_of = only_its_share(e, loss)
    if asked_of is not None:
        told = say(
            "The loss rests at {final:.4g}, the entropy of one yes in {classes}: each output tells how frequent its class is, and no more.",
            final=loss.final, classes=asked_of,
        )  # fmt: skip
        return from_the_start(e, "shares", told, loss.name)
    moves = None if _at_chance(e, loss) or is_stuck(e) else _fell(e, loss) or _falls_slowly(e, loss) or _score_rose(e, loss)
    return moves or _knows_something(e, loss) or _stands_still(e, loss)


def _at_chance(e: Evidence, loss: CurveStats) -> bool:
    """It ends where guessing does, or above without having run away."""
    level = to_chance(e, loss.final)
    if level is None or level <= KNOWS_NOTHING or _skilled(e):
        return False
    return not (level > FAR_ABOVE and _grew(e, loss)) and not (relative_fall(loss) >= LITTLE and comes_down(loss, level))


def _grew(e: Evidence, loss: CurveStats) -> bool:
    given_back = loss.lost_ground > 0.5 and loss.final > 2.0 * loss.best
    return (loss.final > GROWN * before_it_grew(e, loss) or given_back) and loss.floor == 0


def _begins_in_the_middle(e: Evidence, loss: CurveStats) -> Unknown | None:
    """A piece of a log that is too short to show a trend, and does not rest at guessing either."""
    short = excerpt(e) and (loss.last_step < LONG_EXCERPT * loss.first_step or loss.finite < FEW_OF_AN_ATTEMPT)
    if not short or loss.constant or rests_at_chance(loss) or (_at_chance(e, loss) and (to_chance(e, loss.final) or 0.0) < JUST_ABOVE):
        return None
    return Unknown(say("Not measured: the log begins in the middle of training, at step {step:g}.", step=loss.first_step))


def _goes_on(e: Evidence, loss: CurveStats) -> Cleared | None:
    """The log holds an earlier training, and this one begins far below where that one did: it goes on with what was learned."""
    began = e.attempts[0].first_loss if len(e.attempts) > 1 else None
    if began is None or began <= 0 or loss.first >= COME_DOWN * began:
        return None
    far = is_above(say("{name} at its start (× that of the first attempt)", name=loss.name), loss.first / began, COME_DOWN, file_of(e, loss.name))
    return Cleared(
        say("It began at {first:.4g}, where an earlier attempt had brought the loss from {began:.4g}.", first=loss.first, began=began), (far,)
    )


def _knew_the_task(e: Evidence, loss: CurveStats) -> Cleared | None:
    first = to_chance(e, loss.start)
    if first is None or first >= GOOD_ALREADY:
        return None
    fresh = is_above(say("{name} at the start (× chance)", name=loss.name), first, GOOD_ALREADY, file_of(e, loss.name))
    return Cleared(say("The loss started at {first:.0%} of the chance level: the model already knew the task.", first=first), (fresh,))


def _ran_away(e: Evidence, loss: CurveStats) -> Cleared | None:
    level, base = to_chance(e, loss.final), before_it_grew(e, loss)
    far = level is None or level >= FAR_ABOVE or ((e.chance.loss or 0.0) > 3.0 and level > 1.25)
    if not far or not _grew(e, loss):
        return None
    why = say("The loss grew from {start:.4g} to {final:.4g}: it does not stand still, it ran away.", start=loss.start, final=loss.final)
    of_start = loss.final / base if base > 0 else None
    grown = is_below(say("{name} at the end (× its start)", name=loss.name), of_start, GROWN, file_of(e, loss.name))
    return Cleared(why, (grown, *_figures(e, loss)))


def _lost_again(e: Evidence, loss: CurveStats) -> Cleared | None:
    known = to_chance(e, loss.best)
    if known is None or known >= GOOD_ALREADY or loss.lost_ground <= 0.5 or loss.finite < KNEW:
        return None
    best = is_above(say("{name} at its best (× chance)", name=loss.name), known, GOOD_ALREADY, file_of(e, loss.name))
    why = say("The loss had come down to {best:.4g} at step {step:g}: what it knew it lost again.", best=loss.best, step=loss.best_step)
    return Cleared(why, (best, *_figures(e, loss)))


def _fell(e: Evidence, loss: CurveStats) -> Cleared | None:
    gained = relative_fall(loss)
    if gained < LITTLE or thrown_to_chance(e, loss) is not None:
        return None
    why = say("The loss fell from {start:.4g} to {final:.4g} ({gained:.0%}).", start=loss.start, final=loss.final, gained=gained)
    return Cleared(why, _figures(e, loss))


def _falls_slowly(e: Evidence, loss: CurveStats) -> Cleared | None:
    """A fall too small to tell, and too steady for a loss that stands still: from near its floor, or from where earlier training had left it."""
    trend, gained = loss.trend, relative_fall(loss)
    crept = rate_too_low(e) or (e.weights.change_median or 1.0) < CREPT or (never_bends(e, loss) and not fine_tuned(e))
    if trend is None or crept:
        return None
    steady = gained >= 0.03 and trend.tau < FALLING
    went_on = to_chance(e, loss.final) is None and pretrained(e) and gained > 0
    sure = trend.p_value < 1e-6 if loss.finite >= STEADY else went_on and trend.tau < -0.8
    if not sure or not (steady or went_on):
        return None
    slowly = say("The loss falls slowly and steadily, by {gained:.0%}: it may have begun near its floor.", gained=gained)
    tau = is_above(say("Kendall's tau of {name}", name=loss.name), trend.tau, FALLING, file_of(e, loss.name))
    fresh = asked(say("training begins from scratch"), False, say("the configuration names what was trained before"))
    return Cleared(slowly, (tau if steady else fresh, *_figures(e, loss)))


def _score_rose(e: Evidence, loss: CurveStats) -> Cleared | None:
    scored = risen_score(e)
    if scored is None or scored.trend is None:
        return None
    better = say(
        "{name} went from {start:.3g} to {final:.3g} meanwhile: what it is trained for is learned.",
        name=scored.name,
        start=scored.start,
        final=scored.final,
    )
    tau = is_below(say("Kendall's tau of {name}", name=scored.name), scored.trend.tau, RISING, file_of(e, scored.name))
    return Cleared(better, (tau, *_figures(e, loss)))


def _knows_something(e: Evidence, loss: CurveStats) -> Cleared | None:
    known = _skilled(e) and relative_fall(loss) >= 0.02
    return Cleared(say("Accuracy is well above chance."), _figures(e, loss)) if known else None


def _stands_still(e: Evidence, loss: CurveStats) -> Sighting:
    val, thrown = e.curve("val/loss"), thrown_to_chance(e, loss)
    only_worsens = is_stuck(e) and to_chance(e, loss.final) is None and val is not None and only_worse(e, loss, val)
    return Sighting(
        Severity.SERIOUS,
        _summary(e, loss, thrown),
        loss.first_step,
        min(loss.first_step + 0.2 * (loss.last_step - loss.first_step), loss.last_step),
        (loss.name,),
        e.series[loss.name].source,
        "thrown" if thrown is not None else "worse" if only_worsens else "",
    )


def _summary(e: Evidence, loss: CurveStats, thrown: int | None) -> Sentence:
    level, val, gained = to_chance(e, loss.final), e.curve("val/loss"), relative_fall(loss)
    if thrown is not None:
        return say(
            "From step {step:g} on the loss is ln {classes}, to the last digit: the model gives the same answer to everything.",
            step=loss.plateau_step or loss.first_step,
            classes=thrown,
        )
    if _at_chance(e, loss) and e.chance.classes:
        return say(
            "The loss stands at {level:.2f} × the chance level (ln {classes}) at the end: the model learned nothing.",
            level=level,
            classes=e.chance.classes,
        )
    if is_stuck(e) and level is not None:
        return say("The loss has been no better than at its first evaluation: {level:.2f} × chance at the end.", level=level)
    if is_stuck(e) and val is not None:
        return say("Validation has not moved since its first evaluation: {final:.4g} at the end.", final=val.final)
    if never_bends(e, loss) and gained >= 0.01:
        return say(
            "The loss fell by {gained:.0%} in {n} records, evenly: it never slowed down, as it does near a floor.", gained=gained, n=loss.points
        )
    return say("The loss went from {start:.4g} to {final:.4g} in {n} records: it did not fall.", start=loss.start, final=loss.final, n=loss.points)


def _skilled(e: Evidence) -> bool:
    return any((skill(e, split) or 0.0) > LEARNED for split in ("train", "val"))


def _figures(e: Evidence, loss: CurveStats) -> tuple[Clue, ...]:
    """What a model that learns nothing would show in."""
    file, best = file_of(e, loss.name), max((s for s in (skill(e, "train"), skill(e, "val")) if s is not None), default=None)
    return (
        share_is_below(say("the fall of {name} from start to end", name=loss.name), relative_fall(loss), LITTLE, file),
        is_above(say("{name} at the end (× chance)", name=loss.name), to_chance(e, loss.final), KNOWS_NOTHING, file),
        share_is_below(
            say("the way of accuracy from guessing to perfect"), best, LEARNED, file_of(e, "val/accuracy") or file_of(e, "train/accuracy")
        ),
    )


@probe(say("the loss is where a model is that knows nothing"), CHANCE, holds=1.5, fails=-0.5)
def at_chance(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    level = to_chance(e, loss.final) if loss else None
    return None if level is None else Reading(0.93 < level < 1.2, say("it ends at {level:.2f} × chance", level=level))


@probe(say("nothing got better after the first evaluation"), curve("val/loss", 5), holds=2.0, fails=0.0)
def stuck(e: Evidence, seen: Sighting) -> Reading | None:
    val = e.curve("val/loss")
    if val is None or not is_stuck(e):
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
    if loss is None or loss.trend is None or seen.facet in ("stayed", "accuracy", "shares"):
        return None
    val = e.curve("val/loss")
    trends = [loss.trend, *([val.trend] if val is not None and val.trend is not None and val.finite >= 5 else [])]
    away = val is not None and val.trend is not None and val.trend.tau > 0.5 and val.trend.p_value < 0.01  # validation goes the other way
    in_units = loss.final > IN_UNITS  # of a target that is not standardised: no floor of what was learned before
    moved = abs(relative_fall(loss)) > NEARLY_NOTHING or ((pretrained(e) or not whole_run(e)) and not in_units)
    still = val is not None and val.trend is not None and val.distinct >= KNEW and val.trend.p_value > 0.2  # what fell is learned by heart
    sure = (
        moved and not rate_too_low(e) and not away and not still and any(t.tau < -0.5 and t.p_value < 0.01 for t in trends)
    )  # slowly down, from near its floor
    return Reading(
        loss.trend.p_value > 0.05 or loss.trend.tau > -0.1 or not moved,
        share=3.0 if sure and e.chance.loss is None else 1.0,
        detail=say("Kendall's tau {tau:.2f}, p = {p:.2g}", tau=loss.trend.tau, p=loss.trend.p_value),
    )


@probe(say("the number of classes is unknown, and the loss may be as low as it gets"), holds=-0.6, fails=0.0)
def level_unknown(e: Evidence, seen: Sighting) -> Reading | None:
    if e.chance.loss is not None or e.model.weight_layers or seen.facet in ("reward", "shares"):
        return None
    return Reading(True, say("no chance level to compare with"), share=3.0 if fine_tuned(e) else 1.0)


@probe(say("it began where guessing among a few classes begins, and stayed there"), holds=1.2, fails=0.0)
def at_small_chance(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or e.chance.loss is not None or loss.start <= 0:
        return None
    thrown = thrown_to_chance(e, loss)
    if thrown is not None:
        return Reading(True, share=2.0, detail=say("ln {classes} is {level:.4g}", classes=thrown, level=log(thrown)))
    val = e.curve("val/loss")
    if e.family == "" and val is not None and all(abs(v - 1.0) < AROUND_ONE for c in (loss, val) for v in (c.start, c.final, c.highest, c.lowest)):
        return Reading(True, say("1 is the variance of a standardised target"))
    exact = e.family != "language-model" and not e.model.adapters and abs(loss.final / loss.first - 1) < STAYED
    classes = next((n for n in (2, 3, 4, 5, 10, 100, 1000) if exact and abs(loss.first / log(n) - 1) < 0.015), None)
    return None if classes is None else Reading(True, say("ln {classes} is {level:.4g}", classes=classes, level=log(classes)))


@probe(say("whatever is asked, the answer is one and the same"), holds=1.5)
def one_answer(e: Evidence, seen: Sighting) -> Reading | None:
    val = e.curve("val/accuracy")
    if val is None or not always_one_answer(e):
        return None
    return Reading(True, say("validation accuracy is {right:.1%} in each of {n} evaluations", right=val.final / whole(val), n=val.finite))


shares = seen_as("shares", claim=say("nothing but the frequencies of the classes gives just that loss"), holds=1.5)
alike = seen_as("alike", claim=say("no output is nearer to its partner than to any other"), holds=1.5)


@probe(say("accuracy is what a uniform guess at this loss gives"), holds=2.0)
def uniform_guess(e: Evidence, seen: Sighting) -> Reading | None:
    """ln C nats spread evenly over C classes are right once in C: exp(−loss). A model that knows something is right far more often than that."""
    loss, right = course(e), e.curve("train/accuracy") or e.curve("val/accuracy")
    if loss is None or right is None or e.chance.loss is not None or e.family not in ("classifier", "") or not 0 < loss.final < MOST_NATS:
        return None
    share, even = right.final / whole(right), exp(-loss.final)
    return Reading(even < FEW_RIGHT and share < UNIFORM * even, say("it is {right:.1%}, and exp(−loss) {even:.1%}", right=share, even=even))


@probe(say("the learning rate is so low that a slow fall is no floor"), holds=1.2, fails=0.0)
def creeps(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(True, say("it is {times:.2g} × the usual one", times=10 ** (rate_decades(e) or 0.0))) if rate_too_low(e) else None


@probe(say("the reward never rose for long"), curve("reward"), holds=0.7, fails=-1.0)
def never_rose(e: Evidence, seen: Sighting) -> Reading | None:
    reward = e.curve("reward")
    if reward is None or seen.facet != "reward":
        return None
    if fell(reward):
        return Reading(
            True, say("it ends at {final:.4g}, below its start by more than its scatter of {noise:.3g}", final=reward.final, noise=reward.noise)
        )
    rise, trend = reward.best - reward.start, reward.trend
    level = trend is not None and (trend.p_value > 0.05 or trend.tau < 0)
    return Reading(
        level or rise <= 2 * max(reward.noise, LITTLE * abs(reward.start)),
        say("its best was {best:.4g}, scatter {noise:.3g}", best=reward.best, noise=reward.noise),
    )


@probe(say("there are few records"), curve("train/loss"), holds=-0.7, fails=0.0)
def few(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    return None if loss is None else Reading(loss.finite < 6, say("{n} records", n=loss.finite))


CHECK = Check(
    id="loss-not-decreasing",
    title=say("Loss not decreasing"),
    symptom=say("The loss is flat, at chance level, or no better than at the start."),
    detect=detect,
    needs=(LOSS_OR_REWARD,),
    probes=(at_chance, stuck, guessing, no_trend, level_unknown, at_small_chance, one_answer, shares, alike, uniform_guess, creeps, never_rose, few),
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
        (saturating_activations, -2.8),
        (stopped_too_early, -1.5),
        (decayed_too_early, -2.8),
        (zero_learning_rate, -3.0),
        (accumulating_gradients, -2.2),
        (too_little_capacity, -2.5),
        (batch_too_small, -2.8),
        (too_deep, -2.5),
        (representation_collapse, -3.0),
    ),
    by_hand=(
        say("Look at one batch as the model gets it: shapes, range, label histogram."),
        say("Look at the outputs for a few inputs: do they differ?"),
        say("Look at per-layer gradient norms after one backward()."),
        say("Overfit one batch of eight samples: the loss must go to nearly zero."),
    ),
    consequences=("underfitting", "overfitting"),
)
