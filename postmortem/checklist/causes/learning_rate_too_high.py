"""The learning rate is too high: steps overshoot, the loss grows or the weights are thrown away."""

import math

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.leaps import broke_in_one_step, unlogged_leap
from postmortem.checklist.levels import course, loss_is_flat, summed_over, to_chance
from postmortem.checklist.needs import ACTIVATIONS, LEARNING_RATE, TWO_CHECKPOINTS, WEIGHTS, curve
from postmortem.checklist.optimizers import clip_norm, learning_rate, optimizer_known, optimizer_name, rate_decades, rate_leapt, used_rate
from postmortem.checklist.policies import REPLACED, divergence
from postmortem.checklist.rates import UNKNOWN_OPTIMIZER, pretrained, rate_with_momentum, state_alone, usual_rate
from postmortem.checklist.signs import file_of
from postmortem.model.sentence import Sentence

OF_ANY_TUNING = 4e-4  # a learning rate
ASSUMED = 0.7  # share of the weight where nothing tells the optimizer
BY_EPOCHS = 4.5  # × the weight, where whole epochs swing
HIGH = 1.3  # decades above the usual rate of the optimizer; healthy runs lie below 0.7, planted faults above 1.7
USUAL = 0.7
THROWN = 0.65  # decades above the default initialisation's scale: weights of healthy runs end below 0.6
WITHERED = -2.0  # decades below the default initialisation
LOWER = 3.0  # at least this much lower than what was too high
AGAIN = 4.0  # times lower or higher, when the first rate was not it
FRESH = 10.0  # times the rate of a model that had learned before
HIGH_MOMENTUM, USUAL_MOMENTUM = 0.97, 0.9
ABOUT = 1.5  # × the usual rate, which the usual momentum bears
EXTREME_MOMENTUM = 0.992  # nnU-Net trains with 0.99
HALVED = 0.5  # of the peak
WHILE = 0.25  # of the run
LITTLE, MUCH, OF_NOISE = 0.4, 0.97, 3.0  # of the fall; × the loss; standard deviations of the noise
FAR, EARLY, SECOND = 3.0, 0.1, 1.5  # × the first loss; of the run; distances between records, where there are few
BROKE, BROKE_UNKNOWN = 0.35, 0.25  # × the weight, by the loss alone; where the optimizer is not known
STILL = 1e-3  # relative change between checkpoints of weights that a diverged Adam no longer moves


@probe(say("the learning rate is far above what this optimizer usually takes"), LEARNING_RATE, holds=3.0, fails=-2.0)
def far_above_usual(e: Evidence, seen: Sighting) -> Reading | None:
    decades, rate = rate_decades(e), used_rate(e)
    if decades is None or rate is None or rate_leapt(e):
        return None  # a jump is asked about on its own
    detail = say("the rate is {rate:g}, {times:.3g} times the usual {usual:g}", rate=rate, times=10**decades, usual=rate / 10**decades)
    if not optimizer_known(e):
        detail = say(
            "the rate is {rate:g}, {times:.3g} times the usual {usual:g} of Adam, the optimizer most likely",
            rate=rate,
            times=10**decades,
            usual=rate / 10**decades,
        )
    share = 0.45 if USUAL < decades < HIGH else 0.5 if HIGH <= decades < HIGH + 0.5 else 1.0  # five to twenty times may be either
    return Reading(decades >= HIGH, detail, share=share * (1.0 if optimizer_known(e) or decades < HIGH else ASSUMED))


@probe(say("the learning rate is far above what fine-tuning takes"), LEARNING_RATE, holds=1.8)
def far_above_fine_tuning(e: Evidence, seen: Sighting) -> Reading | None:
    rate, decades = used_rate(e), rate_decades(e)
    if rate is None or decades is None or decades >= HIGH or optimizer_name(e) != "adam" or not pretrained(e) or e.model.adapters:
        return None
    return Reading(rate >= OF_ANY_TUNING, say("it is {rate:g}; what was trained before is tuned with 1e-5 to 1e-4", rate=rate))


@probe(say("the momentum is extreme"), holds=2.0)
def extreme_momentum(e: Evidence, seen: Sighting) -> Reading | None:
    momentum = _high_momentum(e)
    if momentum is None or momentum < EXTREME_MOMENTUM:
        return None
    return Reading(True, say("at {momentum:g} each gradient counts {times:.3g} times", momentum=momentum, times=1 / (1 - momentum)))


@probe(say("the weights grew far beyond any initialisation"), WEIGHTS, holds=1.5, fails=-0.7)
def weights_thrown(e: Evidence, seen: Sighting) -> Reading | None:
    scale, first = e.weights.highest_scale, e.weights.first_highest_scale
    if scale is None or scale < WITHERED:
        return None  # rate × decay pulled them to nothing, however far they had been thrown
    grown = scale >= THROWN
    return Reading(
        grown,
        say(
            "the largest layer's weights are {times:.3g} times the usual initial size ({first:.3g} at the first checkpoint)",
            times=10**scale,
            first=10 ** (first or 0.0),
        ),
    )


@probe(say("nothing moves any more after the damage"), TWO_CHECKPOINTS, holds=0.7)
def still_after(e: Evidence, seen: Sighting) -> Reading | None:
    change, scale = e.weights.change_median, e.weights.highest_scale
    if change is None or scale is None:
        return None
    return Reading(change < STILL and scale > 0.3, say("weights changed by {change:.2g} between the first and the last checkpoint", change=change))


@probe(say("the learning rate itself jumped"), curve("lr"), holds=3.5)
def rate_jumped(e: Evidence, seen: Sighting) -> Reading | None:
    schedule = e.schedule
    if schedule is None or schedule.jump_step is None:
        return None
    return Reading(
        rate_leapt(e),
        say("the learning rate jumped {times:.3g}-fold at step {step:g}", times=schedule.jump, step=schedule.jump_step),
        file_of(e, "lr"),
    )


@probe(say("for a while it was far above what is configured and logged"), LEARNING_RATE, holds=3.5)
def leapt_unseen(e: Evidence, seen: Sighting) -> Reading | None:
    leapt = unlogged_leap(e)
    step = broke_in_one_step(e) if leapt is None and seen.facet != "recorded" and not rate_leapt(e) else None
    if step is None:
        return leapt
    share = BROKE if optimizer_name(e) == "adam" else BROKE_UNKNOWN
    return Reading(True, say("at step {step:g} one step undid what had been learned: no batch moves the weights that far", step=step), share=share)


@probe(say("the loss was fine before the first update"), holds=0.7, fails=-1.2)
def first_loss_fine(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    if loss is None or loss.reduction == "epoch" or loss.first_step > 2:
        return None
    level = to_chance(e, loss.first)
    if level is None or summed_over(e):
        return None
    return Reading(level < 3.0, say("the first logged loss is {level:.2g} times the chance level", level=level), file_of(e, "train/loss"))


@probe(say("the loss came down only once the rate had come down"), curve("lr", 4), curve("train/loss", 8), holds=2.0, fails=-0.6)
def came_with_the_rate(e: Evidence, seen: Sighting) -> Reading | None:
    loss, rate = course(e), e.series.get("lr")
    if (
        loss is None
        or loss.final < 0
        or rate is None
        or e.schedule is None
        or e.schedule.source != "logged"
        or not e.schedule.final < HALVED * e.schedule.peak
    ):
        return None
    top = int(rate.values.argmax())
    lower = (float(s) for s, v in zip(rate.steps[top:], rate.values[top:], strict=True) if v < HALVED * e.schedule.peak)
    then = next(lower, None)
    at = e.at(loss.name, then) if then is not None else None
    if at is None or then is None or not loss.final < MUCH * min(loss.start, at):
        return None
    early = (loss.start - at) / (loss.start - loss.final)
    if then - loss.first_step < WHILE * (loss.last_step - loss.first_step):
        return None  # the rate was high for too short a time to tell
    if early < LITTLE and at - loss.final < OF_NOISE * loss.noise:
        return None  # what came later is no more than noise
    return Reading(
        early < LITTLE, say("until half of the rate was left, at step {step:g}, {early:.0%} of the fall had come", step=then, early=max(0.0, early))
    )


@probe(say("the first steps threw the loss far above where it began"), curve("train/loss", 4), holds=2.0)
def thrown_at_first(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    if loss is None or loss.reduction == "epoch" or not 0 < FAR * loss.first < loss.highest:
        return None
    apart = (loss.last_step - loss.first_step) / max(loss.points - 1, 1)
    soon = loss.highest_step - loss.first_step < max(EARLY * (loss.last_step - loss.first_step), SECOND * apart)
    return Reading(soon, say("it began at {first:.4g} and reached {highest:.4g}", first=loss.first, highest=loss.highest), file_of(e, "train/loss"))


@probe(say("the loss swings instead of settling"), curve("train/loss", 8), holds=0.4)
def swings(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    of_epochs = seen.facet == "epochs"  # in which what batches differ by is averaged: the steps are too long
    if loss is None or loss.oscillation is None or (loss_is_flat(e) and not of_epochs):
        return None
    told = say("its noise is {share:.0%} of its level", share=loss.noise / (abs(loss.final) or 1.0))
    return Reading(loss.noise > 0.15 * abs(loss.final), told, share=BY_EPOCHS if of_epochs else 1.0)


@probe(say("units fell silent while training went on"), ACTIVATIONS, holds=2.0, fails=-0.5)
def died(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or seen.facet != "recorded":
        return None
    name, share = e.layers.deadest
    first = e.layers.dead_at_start.get(name, share)
    return Reading(
        first < 0.5 < share,
        say("of the units at {name} {first:.0%} were silent at first and {share:.0%} at the end", name=name, first=first, share=share),
    )


@probe(say("a single update replaced the policy"), holds=2.5, fails=-1.0)
def policy_replaced(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet == "reference":
        return Reading(True, seen.summary, share=0.6)
    moved = divergence(e) if seen.facet in ("reward", "replaced") else None
    if moved is None:
        return None
    kl, nats = moved
    return Reading(nats > REPLACED, say("{name}: {nats:.3g} nats", name=kl.name, nats=nats), file_of(e, kl.name))


@probe(say("a few first steps led to where there is no gradient any more"), curve("grad_norm"), holds=3.0, fails=-1.0)
def left_the_slope(e: Evidence, seen: Sighting) -> Reading | None:
    norm = e.curve("grad_norm")
    if seen.facet != "no-gradient" or norm is None or not norm.finite:
        return None
    return Reading(norm.first > 0, say("the gradient norm was {first:.3g} at first and is 0 at the end", first=norm.first), file_of(e, norm.name))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    rate, usual = learning_rate(e), usual_rate(e)
    if e.schedule is not None and rate_leapt(e):
        why = say(
            "The learning rate jumped to {highest:g}; without that jump it stays at {peak:g}.", highest=e.schedule.highest, peak=e.schedule.peak
        )
        return (_without_jump(e, why),)
    unseen = unlogged_leap(e)
    if unseen is not None:
        return (_without_jump(e, say("Nothing logged it: {how}.", how=unseen.detail)),)
    broke = broke_in_one_step(e)
    if broke is not None:
        why = say(
            "At step {step:g} one step undid what had been learned, at a rate that is usual: it may have leapt for that step, unlogged.", step=broke
        )
        return (_without_jump(e, why), *_lower(e, rate, usual)[:1])
    if rate == 0:
        return ()
    return _less_momentum(e, rate) or _lower(e, rate, usual)


def _lower(e: Evidence, rate: float | None, usual: float | None) -> tuple[Fix, ...]:
    """The usual rate, and what brackets it."""
    if rate is None:
        to = remedies.rounded(usual or UNKNOWN_OPTIMIZER)
        why = say("The run does not say which it used. {to:g} is usual; if it used less than that, divide its own by ten.", to=to)
        own = remedies.set_rate(e, None, to, why)
        lower = remedies.set_rate(e, None, remedies.rounded(to / AGAIN), say("If it still diverges or swings: a quarter of that."))
        return (own, lower) if optimizer_name(e) else (remedies.usual_adam(e), own, lower)
    if usual is None and not optimizer_name(e):
        usual = UNKNOWN_OPTIMIZER
    to = remedies.rounded(min(usual or math.inf, rate / LOWER))
    name = optimizer_name(e) or say("this optimizer")
    usually = say("It is {rate:g}; {to:g} is what {name} usually takes for a fresh model of this size.", rate=rate, to=to, name=name)
    lower = remedies.set_rate(e, rate, remedies.rounded(to / AGAIN), say("If it still diverges or swings: a quarter of that."))
    out = [remedies.set_rate(e, rate, to, usually), lower]
    if to * AGAIN < rate / LOWER:
        more = FRESH if state_alone(e) and to * FRESH < rate / LOWER else AGAIN  # a model that had not learned before takes ten times
        out.append(remedies.set_rate(e, rate, remedies.rounded(to * more), say("If it is stable and slow: {times:g} times that.", times=more)))
    elif clip_norm(e) is None:
        out.append(remedies.clip(e, 1.0, say("No clipping is configured: a norm of 1 keeps a single bad step from throwing the weights away.")))
    return tuple(out)


def _without_jump(e: Evidence, why: Sentence) -> Fix:
    stated = remedies.removed(e, "schedule", (s for s in e.settings if s.name == "schedule"))
    return remedies.fix(e, say("Remove the jump from the schedule"), why, stated or (remedies.change(e, "schedule", None),))


def _high_momentum(e: Evidence) -> float | None:
    """The momentum of plain descent, where it makes every gradient count more than thirty times; None else."""
    momentum = e.number("momentum")
    return momentum if momentum is not None and optimizer_name(e) == "sgd" and HIGH_MOMENTUM <= momentum < 1 else None


def _less_momentum(e: Evidence, rate: float | None) -> tuple[Fix, ...]:
    """The usual momentum, where the stated one makes every gradient count a hundred times; with the rate that goes with it, and with the run's own."""
    momentum = _high_momentum(e)
    if momentum is None:
        return ()
    change = remedies.change(e, "momentum", USUAL_MOMENTUM, momentum)
    why = say("With a momentum of {momentum:g} each gradient counts {times:.3g} times.", momentum=momentum, times=1 / (1 - momentum))
    code = {"pytorch": f"optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum={USUAL_MOMENTUM})"}
    alone = remedies.fix(e, say("Set the momentum to {to:g}", to=USUAL_MOMENTUM), why, (change,), code)
    to = remedies.rounded(rate_with_momentum(e, USUAL_MOMENTUM))
    if rate is None or rate <= ABOUT * to:
        return (alone,)
    lower = remedies.change(e, "learning_rate", to, rate)
    both = remedies.fix(
        e, say("Set the momentum to {momentum:g} and the learning rate to {to:g}", momentum=USUAL_MOMENTUM, to=to), why, (change, lower), code
    )
    return both, alone


learning_rate_too_high = Cause(
    id="learning-rate-too-high",
    title=say("The learning rate is too high"),
    mechanism=say(
        "Each step overshoots the valley it should descend into. Beyond a limit set by the curvature, every step makes the loss larger; with Adam one such "
        "phase throws the weights so far that no gradient brings them back, and the loss stays at what guessing gives."
    ),
    probes=(
        far_above_usual,
        far_above_fine_tuning,
        extreme_momentum,
        weights_thrown,
        still_after,
        rate_jumped,
        leapt_unseen,
        first_loss_fine,
        thrown_at_first,
        came_with_the_rate,
        swings,
        died,
        policy_replaced,
        left_the_slope,
    ),
    fixes=fixes,
    by_hand=(
        say("Train 100 steps with a tenth of the learning rate and compare the first 100 losses."),
        say("Print lr · ‖gradient‖ / ‖weights‖ per layer: about 0.001 is healthy, above 0.1 is too much."),
    ),
)
