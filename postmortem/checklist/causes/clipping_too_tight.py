"""The gradient clip norm is far below the gradients."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.levels import starts_normal
from postmortem.checklist.needs import TWO_CHECKPOINTS, curve
from postmortem.checklist.optimizers import clip_norm, rate_decades
from postmortem.checklist.signs import file_of, training_is_stated

TIGHT = 0.01  # a clip norm below this is out of the usual 0.1 to 10
CREPT = 0.01  # relative change of the weights over the run; healthy runs lie above 0.16
ABOVE = 50.0  # gradient norm / clip norm; healthy runs lie between 0.2 and 1.2


@probe(say("the configured clip norm is tiny"), holds=3.5, fails=-4.0)
def tiny(e: Evidence, seen: Sighting) -> Reading | None:
    value = clip_norm(e)
    if value is None:
        return Reading(False, say("no clipping is configured"), share=0.6) if training_is_stated(e) else None
    setting = e.setting("gradient_clip_norm") or e.setting("gradient_clip_value")
    return Reading(value < TIGHT, say("the clip norm is {value:g}; usual are 0.5 to 5", value=value), setting.file if setting else "")


@probe(say("the gradient norm lies far above the clip norm all the time"), curve("grad_norm"), holds=2.5, fails=-2.0)
def norm_far_above(e: Evidence, seen: Sighting) -> Reading | None:
    norm, value = e.curve("grad_norm"), clip_norm(e)
    if norm is None or value is None:
        return None
    ratio = norm.final / value
    return Reading(ratio > ABOVE, say("the gradient norm is {ratio:.3g} times the clip norm", ratio=ratio), file_of(e, "grad_norm"))


@probe(say("weights crept although the learning rate is usual"), TWO_CHECKPOINTS, holds=1.6, fails=-1.0)
def crept(e: Evidence, seen: Sighting) -> Reading | None:
    change, decades = e.weights.change_median, rate_decades(e)
    if change is None or decades is None:
        return None
    detail = say("weights changed by {change:.2g} over the run", change=change)
    used_up = e.schedule is not None and e.schedule.low_share > 0.3
    if change >= CREPT or decades <= -1.0 or used_up:
        return Reading(False, detail)
    across = e.weights.change_first_to_last_layer
    even = across is not None and 0.01 < across < 100 and starts_normal(e) is not False
    return Reading(True, detail, share=1.0 if even else 0.5)  # from a sane start, all layers alike: the steps themselves were cut short


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    value = clip_norm(e)
    if value is None:
        return ()
    usual = e.quantile("grad_norm", 0.9)
    to = remedies.rounded(usual) if usual else 1.0
    why = say("It is {value:g}: every step is scaled down to almost nothing.", value=value)
    return (remedies.clip(e, max(to, 0.5), why), remedies.fix(e, say("Switch clipping off"), why, (remedies.change(e, "gradient_clip_norm", None),)))


clipping_too_tight = Cause(
    id="clipping-too-tight",
    title=say("Gradients are clipped to almost nothing"),
    mechanism=say(
        "Clipping scales the whole gradient down to the clip norm. Far below the usual norms it acts as a tiny learning rate (with plain SGD) or pushes "
        "gradients under the optimizer's epsilon (with Adam)."
    ),
    probes=(tiny, norm_far_above, crept),
    fixes=fixes,
    by_hand=(say("Print what clip_grad_norm_ returns: it is the norm before clipping; the clip norm should be near its usual value."),),
)
