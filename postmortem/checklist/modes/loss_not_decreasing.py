"""The loss is flat, at chance level, or no better than at the start."""

from math import exp, log

from postmortem.check import Check, Cleared, Evidence, Reading, Sentence, Severity, Sighting, Unknown, probe, say
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
from postmortem.checklist.causes.requires_grad_off import requires_grad_off
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
from postmortem.checklist.levels import NOTHING_EXPECTED, course, loss_curve, relative_fall, skill, to_chance, whole
from postmortem.checklist.limits import family_expected_to_learn, is_below
from postmortem.checklist.moves import at_chance_level, elsewhere, fell_once, learns, skilled
from postmortem.checklist.needs import CHANCE, LOSS, LOSS_OR_REWARD, curve
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.players import a_player_stands_still, nothing_to_learn_from
from postmortem.checklist.policies import fell
from postmortem.checklist.probes import seen_as
from postmortem.checklist.rates import pretrained
from postmortem.checklist.rewards import flat_reward, no_gradient, nothing_moved, policy_is_reference, prefers_nothing, stays_with_its_reference
from postmortem.checklist.signs import file_of, from_the_start, whole_run
from postmortem.checklist.standstill import (
    STAYED,
    always_one_answer,
    creeping_curve,
    fine_tuned,
    is_stuck,
    no_answer_better,
    none_right,
    of_another_loss,
    only_its_share,
    only_worse,
    rate_too_low,
    same_share,
    thrown_to_chance,
    two_shares,
)
from postmortem.model.curves import CurveStats
from postmortem.model.run import Reduction

SOME = 0.25  # of its start: the fall of a loss whose accuracy never moved
RISE = 0.1  # of its start: less is no rise of a reward
FEW = 3  # points
NO_FALL = 0.01  # of its start: two epochs at guessing that show less are no course, and enough
RISES = 0.5  # Kendall's tau
UNIFORM = 2.0  # × exp(−loss)
FEW_RIGHT = 0.35  # share that an even guess gets right: two classes are nearly that by themselves
MOST_NATS = 12.0  # a loss beyond is that of no guess
AROUND_ONE = 0.05  # of the mean square of a standardised target
NEARLY_NOTHING = 0.005  # of the start: what falls by less has not come down from anywhere
IN_UNITS = 1e4  # squared error
MANY_LEVELS = 8  # distinct records

WITHOUT_A_FALL = (
    nothing_moved,
    flat_reward,
    policy_is_reference,
    stays_with_its_reference,
    prefers_nothing,
    picks_at_random,
    nothing_parts,
    a_player_stands_still,
    nothing_to_learn_from,
)


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    idle = no_gradient(e)
    if idle is not None:
        return idle
    if e.family in NOTHING_EXPECTED:
        return next(
            (seen for face in WITHOUT_A_FALL if (seen := face(e)) is not None),
            Cleared(say("The loss of this family ({family}) need not fall.", family=e.family), (family_expected_to_learn(e),)),
        )
    loss = course(e)
    if loss is None and (right := no_answer_better(e)) is not None and (e.last_epoch or 0.0) > 1.0:
        told = say("In {n} records accuracy stayed at {right:.1%}: no answer got better.", n=right.finite, right=right.final / whole(right))
        return from_the_start(e, "accuracy", told, right.name)
    all_right = e.curve("train/accuracy")
    if loss is not None and loss.highest == 0.0 and all_right is not None and all_right.finite and all_right.lowest >= whole(all_right):
        every = is_below(say("the lowest training accuracy"), all_right.lowest, whole(all_right), file_of(e, all_right.name))
        return Cleared(say("Every answer is right at a loss of 0: there is nothing that could fall."), (every,))
    wrong = none_right(e)
    if wrong is not None:
        told = say(
            "In {n} records up to step {step:g} hardly any answer was right: {right:.2%} at the end.",
            n=wrong.finite,
            step=wrong.last_step,
            right=wrong.final / whole(wrong),
        )
        return from_the_start(e, "accuracy", told, wrong.name)
    same = same_share(e)
    if same is not None:
        told = say(
            "In {n} records {right:.1%} of the answers are right, in training and in validation: there is one answer to everything.",
            n=same.finite,
            right=same.final / whole(same),
        )
        return from_the_start(e, "accuracy", told, same.name)
    two = two_shares(e)
    if two is not None:
        told = say(
            "In {n} records accuracy takes two values, to the last digit, in training as in validation: all answers are one class.", n=two.finite
        )
        return from_the_start(e, "accuracy", told, two.name)
    guesses = loss is not None and loss.reduction == Reduction.EPOCH and at_chance_level(e, loss) and relative_fall(loss) < NO_FALL
    if loss is None or loss.finite < (FEW - 1 if guesses else FEW):
        return Unknown(say("Not measured: there are only {n} finite values of the loss.", n=loss.finite if loss else 0))
    if loss.name.startswith("val/") and e.curve("train/loss") is None and to_chance(e, loss.final) is None and not loss.constant:
        return Unknown(say("Not measured: only validation was logged, and nothing tells how high a guess would be."), LOSS.log, LOSS.how)
    another_matter = elsewhere(e, loss)
    if another_matter is not None:
        return another_matter
    coin = no_answer_better(e)
    nothing_right = coin is not None and coin.highest == 0.0 and relative_fall(loss) < 2 * SOME
    if (
        coin is not None
        and (relative_fall(loss) < SOME or nothing_right or always_one_answer(e))
        and not skilled(e)
        and not of_another_loss(e, loss, coin)
    ):
        return Sighting(
            Severity.SERIOUS,
            say("In {n} records training accuracy stayed at {right:.1%}: the loss fell by {gained:.0%}, and no answer got better.",
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
    return learns(e, loss) or _stands_still(e, loss)


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
    if at_chance_level(e, loss) and e.chance.classes:
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
    if loss is None or loss.trend is None or seen.facet in ("stayed", "accuracy", "shares", "no-gradient"):
        return None
    if creeping_curve(e) is not None:
        return None  # a trend, and one that leads nowhere
    val = e.curve("val/loss")
    trends = [loss.trend, *([val.trend] if val is not None and val.trend is not None and val.finite >= 5 else [])]
    away = val is not None and val.trend is not None and val.trend.tau > 0.5 and val.trend.p_value < 0.01  # validation goes the other way
    in_units = loss.final > IN_UNITS  # of a target that is not standardised: no floor of what was learned before
    moved = abs(relative_fall(loss)) > NEARLY_NOTHING or ((pretrained(e) or not whole_run(e)) and not in_units)
    still = val is not None and val.trend is not None and val.distinct >= MANY_LEVELS and val.trend.p_value > 0.2  # what fell is learned by heart
    slowly = not (rate_too_low(e) or away or still or at_small_chance.ask(e, seen) is not None)
    sure = moved and slowly and any(t.tau < -0.5 and t.p_value < 0.01 for t in trends)  # slowly down, from near its floor
    return Reading(
        loss.trend.p_value > 0.05 or loss.trend.tau > -0.1 or not moved or fell_once(e, loss),
        share=3.0 if sure and e.chance.loss is None else 1.0,
        detail=say("Kendall's tau {tau:.2f}, p = {p:.2g}", tau=loss.trend.tau, p=loss.trend.p_value),
    )


@probe(say("the number of classes is unknown, and the loss may be as low as it gets"), holds=-0.6, fails=0.0)
def level_unknown(e: Evidence, seen: Sighting) -> Reading | None:
    if e.chance.loss is not None or e.model.weight_layers or seen.facet in ("reward", "shares", "no-gradient") or same_share(e) is not None:
        return None
    loss = loss_curve(e)
    rises = loss is not None and (loss.constant or (loss.trend is not None and loss.trend.tau > RISES))
    return Reading(True, say("no chance level to compare with"), share=3.0 if fine_tuned(e) and not rises else 1.0)


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


gradient = seen_as("no-gradient", claim=say("no gradient reaches any weight"), holds=3.0)
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
        level or rise <= 2 * max(reward.noise, RISE * abs(reward.start)),
        say("its best was {best:.4g}, scatter {noise:.3g}", best=reward.best, noise=reward.noise),
    )


@probe(say("from its first record on each is lower than the one before, by as little as ever: the steps are too short"), holds=0.6)
def crept(e: Evidence, seen: Sighting) -> Reading | None:
    curve_of = creeping_curve(e)
    if curve_of is None or seen.facet:
        return None
    return Reading(
        True,
        say("{name} fell by {fall:.2%} in {n} records", name=curve_of.name, fall=relative_fall(curve_of), n=curve_of.finite),
        file_of(e, curve_of.name),
    )


@probe(say("there are few records"), curve("train/loss"), holds=-0.7, fails=0.0)
def few(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    return None if loss is None or same_share(e) is not None else Reading(loss.finite < 6, say("{n} records", n=loss.finite))


CHECK = Check(
    id="loss-not-decreasing",
    title=say("Loss not decreasing"),
    symptom=say("The loss is flat, at chance level, or no better than at the start."),
    detect=detect,
    needs=(LOSS_OR_REWARD,),
    probes=(
        at_chance,
        stuck,
        guessing,
        no_trend,
        level_unknown,
        at_small_chance,
        one_answer,
        gradient,
        shares,
        alike,
        uniform_guess,
        creeps,
        crept,
        never_rose,
        few,
    ),
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
        (requires_grad_off, -5.0),
    ),
    by_hand=(
        say("Look at one batch as the model gets it: shapes, range, label histogram."),
        say("Look at the outputs for a few inputs: do they differ?"),
        say("Look at per-layer gradient norms after one backward()."),
        say("Overfit one batch of eight samples: the loss must go to nearly zero."),
    ),
    consequences=("underfitting", "overfitting"),
)
