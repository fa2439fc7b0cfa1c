"""Nothing bounds the gradient norm."""

from dataclasses import replace

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.levels import loss_curve
from postmortem.checklist.needs import curve
from postmortem.checklist.optimizers import clip_norm, learning_rate, rate_decades
from postmortem.checklist.parameters import is_recurrent
from postmortem.checklist.rates import fitting_rate

SMALLEST, LARGEST = 0.05, 5.0  # usual clip norms
LARGEST_CALM, SPREAD = 100.0, 3.0  # of norms that keep together: nine in ten below this many medians
HIGH = 2.0  # times the fitting rate
CALM = 2.0  # gradient norms that the usual clip norms leave alone or hardly touch
SPIKY = 20.0  # largest gradient norm / usual one


@probe(say("no gradient clipping is configured"), holds=0.8, fails=-3.5)
def none_configured(e: Evidence, seen: Sighting) -> Reading | None:
    if not any(s.name for s in e.settings):
        return None
    value = clip_norm(e)
    return Reading(value is None, say("gradient clip norm: {value}", value=say("none") if value is None else f"{value:g}"))


@probe(say("the model is recurrent, where gradients multiply over time"), holds=1.2, fails=-0.8)
def recurrent(e: Evidence, seen: Sighting) -> Reading | None:
    if not e.model.weight_layers:
        return None
    return Reading(
        is_recurrent(e),
        say("its weights are {what}", what=say("those of a recurrent layer") if is_recurrent(e) else say("of no recurrent layer")),
    )


@probe(say("it learned, and then broke within one logging interval"), holds=1.8, fails=-1.5)
def sudden(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or loss.non_finite is None:
        return None
    if loss.non_finite.points_before < 2:
        return Reading(False, say("it broke before it had learned anything"))
    calm = (loss.non_finite.growth_before or 0.0) < 0.3
    share = 1.0 if is_recurrent(e) else 0.3
    return Reading(
        calm, say("{n} finite records before, the last at {last:.3g}", n=loss.non_finite.points_before, last=loss.non_finite.last_finite), share=share
    )


@probe(say("the gradient norm was small and steady up to the break: nothing was there to clip"), curve("grad_norm"), holds=-2.5)
def norm_was_calm(e: Evidence, seen: Sighting) -> Reading | None:
    norm, loss = e.curve("grad_norm"), loss_curve(e)
    if norm is None or not norm.finite or norm.highest > CALM or loss is None or loss.non_finite is None:
        return None
    return Reading(norm.highest < 3 * max(norm.first, 1e-30), say("at most {highest:.3g}", highest=norm.highest))


@probe(say("the gradient norm jumped far above its usual value"), curve("grad_norm", 4), holds=1.0, fails=-0.7)
def norm_jumped(e: Evidence, seen: Sighting) -> Reading | None:
    norm = e.curve("grad_norm")
    if norm is None or norm.start <= 0 or not norm.finite:
        return None
    return Reading(norm.highest > SPIKY * norm.start, say("its maximum is {times:.3g} × its initial value", times=norm.highest / norm.start))


@probe(say("the learning rate is usual for this optimizer"), holds=0.6, fails=-0.8)
def rate_usual(e: Evidence, seen: Sighting) -> Reading | None:
    decades = rate_decades(e)
    return None if decades is None else Reading(abs(decades) < 1.0, say("it is {times:.2g} × the usual one", times=10**decades))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    at, why = 1.0, say("1 is the usual clip norm.")
    usual, median = e.quantile("grad_norm", 0.9, seen.step), e.quantile("grad_norm", 0.5, seen.step)
    largest = LARGEST_CALM if usual is not None and median is not None and usual < SPREAD * median else LARGEST
    if usual is not None and SMALLEST < usual < largest:
        at, why = remedies.rounded(usual), say("Before the trouble nine in ten gradient norms were below {norm:.3g}.", norm=usual)
    clipped, rate, fitting = remedies.clip(e, at, why), learning_rate(e), fitting_rate(e)
    if rate is None or fitting is None or rate < HIGH * fitting:
        return (clipped,)
    to = remedies.rounded(fitting)
    lower = remedies.set_rate(e, rate, to, say("A rate of {rate:g} is high for this optimizer, and clipping alone leaves it.", rate=rate))
    title = say("Clip the gradient norm at {norm:g} and set the learning rate to {to:g}", norm=at, to=to)
    return (replace(clipped, title=title, changes=(*clipped.changes, *lower.changes)), clipped, lower)


no_gradient_clipping = Cause(
    id="no-gradient-clipping",
    title=say("Gradients are not clipped"),
    mechanism=say(
        "Now and then one batch has a gradient a hundred times the usual one; one step along it undoes the training. In recurrent networks the product over time "
        "steps makes this likely."
    ),
    probes=(none_configured, recurrent, sudden, norm_was_calm, norm_jumped, rate_usual),
    fixes=fixes,
    by_hand=(say("Log what clip_grad_norm_(parameters, inf) returns for 100 steps: look at the largest."),),
)
