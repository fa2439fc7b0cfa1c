"""Gradients are never set to zero: each step uses the sum of all gradients so far."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.levels import FELL_FIRST, loss_is_flat, runaway_smoothness, starts_normal, to_chance, training_curves
from postmortem.checklist.needs import GRADIENTS, LAYER_STATISTICS, LEARNING_RATE, TWO_CHECKPOINTS, WEIGHTS, curve
from postmortem.checklist.optimizers import rate_decades, rate_leapt

LARGE = -0.7  # log10 of the median gradient RMS
USUAL = -1.5  # healthy runs lie below
FAR = 2.0  # relative change of the weights over the run; healthy runs stay below 0.7

OUTGROWN = 0.5  # decades above the usual initialisation; the median layer of healthy runs ends below 0.3
FELL, KEPT = 0.2, 0.3  # share of the start that was gained, and of the gain that was lost again
HUNDREDS = 200.0  # × its first record
MANY = 40  # records of the norm
USUAL_RATE, STEADILY, DECADES = 0.3, 0.7, 4.0  # decades above the usual; Kendall's tau; decades of growth
FEWEST_SINCE, RAN_AWAY, GROWS_ON = 5, 1.0, 0.6  # records since the best; decades; Kendall's tau, of planted ones 0.7 and more
FEWEST_LOOKS = 2
SMALL = -0.4  # decades below the usual initialisation


@probe(say("gradients in the optimizer's state are ten times what they are in healthy runs"), GRADIENTS, holds=2.5, fails=-1.2)
def large(e: Evidence, seen: Sighting) -> Reading | None:
    median = e.weights.gradient_median
    if seen.facet == "negative" or median is None or e.weights.gradient_source not in ("adam", "adam-window", "rmsprop"):
        return None
    if USUAL < median <= LARGE:
        return None
    return Reading(median > LARGE, say("the median gradient RMS is {rms:.2g}; healthy runs lie below 0.03", rms=10**median))


@probe(say("gradients or momentum grew throughout"), GRADIENTS, holds=1.2, fails=-0.5)
def grew(e: Evidence, seen: Sighting) -> Reading | None:
    growth = e.weights.gradient_growth
    return (
        None if growth is None else Reading(0.2 < growth < 1.3, say("by {times:.2g} × between the first and the last checkpoint", times=10**growth))
    )


@probe(say("the weights moved very far at an ordinary learning rate"), TWO_CHECKPOINTS, LEARNING_RATE, holds=1.6, fails=-0.5)
def moved_far(e: Evidence, seen: Sighting) -> Reading | None:
    change, decades, began = e.weights.change_median, rate_decades(e), e.weights.first_median_scale
    if seen.facet == "negative" or change is None or decades is None or (began is not None and began < SMALL):
        return None  # relative to weights that began tiny any step is long
    return Reading(
        change > FAR and decades < 1.0,
        say("they changed by {change:.2g} relative to their size at {times:.2g} × the usual rate", change=change, times=10**decades),
    )


@probe(say("the weights outgrew any initialisation at an ordinary learning rate, from a sane start"), WEIGHTS, LEARNING_RATE, holds=1.2, fails=0.0)
def outgrew(e: Evidence, seen: Sighting) -> Reading | None:
    scale, decades = e.weights.median_scale, rate_decades(e)
    if scale is None or decades is None or starts_normal(e) is False or scale < OUTGROWN or decades >= 1.0:
        return None
    return Reading(
        True, say("the median layer is {times:.2g} × the usual initial size at {rate:.2g} × the usual rate", times=10**scale, rate=10**decades)
    )


@probe(say("the loss first falls and then climbs without a jump"), curve("train/loss", 6), holds=0.9, fails=-0.2)
def climbs(e: Evidence, seen: Sighting) -> Reading | None:
    loss = next(iter(training_curves(e)), None)
    if loss is None or not loss.finite:
        return None
    level = to_chance(e, loss.start)
    ordinary = level is None or level < 2.5
    grew, creeps_up = loss.log_growth > 0.15, loss.log_growth > 0.04 and loss.trend is not None and loss.trend.tau > 0.3
    return Reading(
        bool(ordinary and (grew or creeps_up)),
        share=1.0 if grew or not creeps_up else 0.5,
        detail=say("from {start:.3g} over {best:.3g} to {final:.3g}", start=loss.start, best=loss.best, final=loss.final),
    )


def _went_down(e: Evidence) -> bool:
    """The loss fell clearly and kept most of it: nothing ran away."""
    loss = next(iter(training_curves(e)), None)
    return loss is not None and loss.relative_gain > FELL and loss.lost_ground < KEPT


@probe(say("it ran away at an ordinary learning rate, from a sane start"), LEARNING_RATE, holds=1.3, fails=-0.8)
def ordinary(e: Evidence, seen: Sighting) -> Reading | None:
    decades, sane = rate_decades(e), starts_normal(e)
    if not sane and e.chance.loss is None and (rose := next(iter(training_curves(e)), None)) is not None and rose.lowest < FELL_FIRST * rose.first:
        return None  # it came down from there
    if decades is None or sane is None or (loss_is_flat(e) and not seen.facet) or _went_down(e):
        return None
    return Reading(
        sane and decades < 0.9,
        say(
            "the rate is {times:.2g} × the usual one, the first loss {what}",
            times=10**decades,
            what=say("is that of an untrained model") if sane else say("is not"),
        ),
    )


@probe(say("after it had come down it grew for decades, record by record, at no more than a usual rate"), LEARNING_RATE, holds=1.6, fails=-0.2)
def on_and_on(e: Evidence, seen: Sighting) -> Reading | None:
    loss, decades = next(iter(training_curves(e)), None), rate_decades(e)
    if loss is None or decades is None or decades > USUAL_RATE or loss.trend is None or not loss.peak_log_growth > DECADES:
        return None
    return Reading(
        loss.trend.tau > STEADILY and 0.0 < loss.lowest < FELL_FIRST * loss.first,
        say("{name} grew over {n:.0f} decades at {times:.2g} × the usual rate", name=loss.name, n=loss.peak_log_growth, times=10**decades),
    )


@probe(say("the growth is perfectly smooth, as with a wrong sign"), curve("train/loss", 8), holds=-3.0, fails=0.0)
def smooth(e: Evidence, seen: Sighting) -> Reading | None:
    return (
        None
        if (o := runaway_smoothness(e)) is None
        else Reading(o, say("the loss {what} turn on its way", what=say("hardly ever") if o else say("did")))
    )


@probe(say("having run away it does not grow on: what adds up would"), curve("train/loss", 8), holds=-2.0)
def at_rest(e: Evidence, seen: Sighting) -> Reading | None:
    loss = next(iter(training_curves(e)), None)
    after = loss.after_best if loss is not None else None
    if loss is None or after is None or after.points < FEWEST_SINCE or not loss.peak_log_growth > RAN_AWAY or after.tau > GROWS_ON:
        return None
    return Reading(True, say("Kendall's tau since its best is {tau:.2f}", tau=after.tau))


@probe(say("the learning rate jumped, which explains it"), curve("lr"), holds=-4.0, fails=0.0)
def rate_jumped(e: Evidence, seen: Sighting) -> Reading | None:
    if e.schedule is None or not rate_leapt(e):
        return None
    return Reading(True, say("{times:.3g}-fold at step {step:g}", times=e.schedule.jump, step=e.schedule.jump_step or 0.0))


@probe(say("it had learned well for long before it turned"), curve("train/loss", 8), holds=-2.0, fails=0.0)
def learned_for_long(e: Evidence, seen: Sighting) -> Reading | None:
    loss = next(iter(training_curves(e)), None)
    if loss is None or loss.last_step <= loss.first_step or not loss.finite or seen.facet == "weights":
        return None
    share = (loss.best_step - loss.first_step) / (loss.last_step - loss.first_step)
    if share < 0.2 or loss.relative_gain < 0.3:
        return None
    return Reading(True, say("it got better by {gain:.0%} over {share:.0%} of the run", gain=loss.relative_gain, share=share))


@probe(say("the gradient norm grows from step to step, hardly ever falling back"), curve("grad_norm", 10), holds=3.0, fails=-0.3)
def norm_only_grows(e: Evidence, seen: Sighting) -> Reading | None:
    norm = e.curve("grad_norm")
    if norm is None or norm.trend is None or norm.first <= 0:
        return None
    only = norm.trend.tau > 0.9 and norm.final > 10 * norm.first
    with_setbacks = norm.trend.tau > 0.7 and norm.final > HUNDREDS * norm.first and norm.finite >= MANY
    return Reading(
        only or with_setbacks,
        share=0.6 if norm.finite < MANY or (with_setbacks and not only) else 1.0,
        detail=say("from {first:.3g} to {final:.3g}, Kendall's tau {tau:.2f}", first=norm.first, final=norm.final, tau=norm.trend.tau),
    )


@probe(say("gradients of the update before were still there when new ones came"), LAYER_STATISTICS, holds=4.5, fails=-5.0)
def recorded(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or e.layers.uncleared is None or e.layers.uncleared[1] < FEWEST_LOOKS:
        return None
    met, looks = e.layers.uncleared
    return Reading(met == looks, say("at {met} of {looks} looks", met=met, looks=looks))


accumulating_gradients = Cause(
    id="accumulating-gradients",
    title=say("Gradients accumulate: zero_grad() is missing"),
    mechanism=say(
        "backward() adds to .grad. Without zero_grad() each step uses the sum of all gradients since the start: an ever growing step in a direction that is long out of date."
    ),
    probes=(large, grew, moved_far, outgrew, climbs, ordinary, on_and_on, smooth, at_rest, rate_jumped, learned_for_long, norm_only_grows, recorded),
    fixes=remedies.only(
        say("Call optimizer.zero_grad() before each backward()"),
        say("Gradients and weights grow steadily although the learning rate is ordinary."),
        {
            "pytorch": "optimizer.zero_grad(set_to_none=True)\nloss.backward()\noptimizer.step()",
            "lightning": "# manual optimization: opt.zero_grad() before self.manual_backward(loss)",
        },
    ),
    by_hand=(say("Print the gradient norm of the first ten steps: it must not grow steadily."),),
)
