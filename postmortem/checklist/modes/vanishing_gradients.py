"""Gradients of early layers are near zero and their weights hardly move."""

from postmortem.check import Check, Cleared, Clue, Evidence, Need, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.bad_initialization import bad_initialization
from postmortem.checklist.causes.missing_normalization_or_residuals import missing_normalization_or_residuals
from postmortem.checklist.causes.saturating_activations import saturating_activations
from postmortem.checklist.causes.too_deep import too_deep
from postmortem.checklist.levels import loss_curve, loss_is_flat, to_chance
from postmortem.checklist.limits import asked, flatness, is_above, is_below, newest, share_is_above, share_is_below, times
from postmortem.checklist.needs import ACTIVATIONS, GRADIENTS, TWO_CHECKPOINTS
from postmortem.checklist.parameters import ALL_ZERO, weights_are_zero
from postmortem.checklist.signs import file_of

STEEP = -3.5  # decades from the last layer to the first; healthy −0.7 and better, −3 after a divergence, failures −3.7 to −12
THROWN = 0.65  # decades of weight scale: after a divergence depth ratios mean nothing
AT_LIMITS = 0.8  # share of the outputs of a sigmoid or tanh within 1 % of its range of a limit; healthy networks stay below 0.3
BLOWN = 2.0  # decades at the first checkpoint: what no longer gets a gradient then is dead; a momentum buffer fades by itself
LEARNED = 0.4  # times chance
GAINED = 0.6  # of the first loss, where chance is not known
NOTHING_ARRIVED = -6.0  # decades from the last layer to the first
NOT_AT_ALL = 1e-4  # change of the first layer / of the last, whatever the loss fell by without it
HARDLY = 1e-2  # change of the first layer / of the last
DEPTH = Need(
    "per-layer gradients or two checkpoints",
    say("save the optimizer's state in each checkpoint, or log the gradient norm of each layer"),
    lambda e: (
        e.weights.gradient_depth_ratio is not None
        or ACTIVATIONS.met(e)
        or e.weights.change_first_to_last_layer is not None
        or _saturating_and_flat(e)
    ),
    ACTIVATIONS.code,
)
DEEP = 8


def _saturating_and_flat(e: Evidence) -> bool:
    activation, depth = e.setting("activation"), e.number("model_depth")
    return activation is not None and "sigmoid" in str(activation.value).lower() and (depth or 0) >= DEEP and loss_curve(e) is not None


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    ratio, change = e.weights.gradient_depth_ratio, e.weights.change_first_to_last_layer
    loss = loss_curve(e)
    start = loss.first_step if loss else None
    level = to_chance(e, loss.final) if loss else None
    gained = loss is not None and level is None and loss.relative_gain > GAINED and (ratio or 0.0) > NOTHING_ARRIVED  # else the last layer alone
    learned = (level is not None and level < LEARNED) or gained
    if weights_are_zero(e):
        zero = share_is_below(say("the share of layers that are exactly zero"), e.weights.zero_weight_share, ALL_ZERO, newest(e))
        return Cleared(say("The weights are exactly zero: there is no signal that could fade."), (zero,))
    if learned:
        file = file_of(e, loss.name) if loss else ""
        reached = (
            is_above(say("{name} at the end (× chance)", name=loss.name if loss else ""), level, LEARNED, file)
            if level is not None
            else share_is_below(say("what the loss gained (of its start)"), loss.relative_gain if loss else None, GAINED, file)
        )
        return Cleared(say("The model learned: the gradient reached the layers that mattered."), (reached, *_figures(e)))
    full, share = e.layers.fullest if e.layers is not None else ("", 0.0)
    if share >= AT_LIMITS and loss_is_flat(e) and (ratio is None or ratio > STEEP):
        return Sighting(
            Severity.SERIOUS, say("{share:.0%} of the outputs of {name} lie at its limits, where no gradient passes.", share=share, name=full),
            start, start, ("train/loss", f"activations/{full}/saturated_share"), "", "saturated",
        )  # fmt: skip
    far = (e.weights.first_highest_scale or 0.0) > BLOWN or (e.weights.gradient_source == "momentum" and (e.weights.highest_scale or 0.0) > 1.0)
    if ratio is not None and (far or (ratio > -6.0 and (e.weights.highest_scale or 0.0) > THROWN)):
        size = times(max(e.weights.highest_scale or 0.0, e.weights.first_highest_scale or 0.0))
        thrown = is_below(say("the size of the largest layer (× the usual)"), size, times(THROWN), newest(e))
        return Cleared(say("The weights were thrown far from their start: gradients by depth say nothing about vanishing."), (thrown, *_figures(e)))
    if ratio is not None and ratio <= STEEP:
        return Sighting(
            Severity.SERIOUS,
            say("The gradient of the first layer is 10^{ratio:.1f} of the last layer's ({source}).", ratio=ratio, source=e.weights.gradient_source),
            start,
            start,
            ("train/loss",),
            "",
            "gradients",
        )
    if change is not None and 0 < change <= HARDLY and (ratio is None or ratio < -2.0) and loss_is_flat(e):
        return Sighting(
            Severity.SERIOUS,
            say("The first layer's weights changed {change:.2g} times as much as the last layer's.", change=change),
            start,
            start,
            ("train/loss",),
            "",
            "change",
        )
    if change is not None and 0 < change <= NOT_AT_ALL and ratio is None and (e.weights.highest_scale or 0.0) < THROWN:
        return Sighting(
            Severity.SERIOUS,
            say("The first layer's weights changed {change:.2g} times as much as the last layer's: only what lies behind it learned.", change=change),
            start, start, ("train/loss",), "", "change",
        )  # fmt: skip
    if _saturating_and_flat(e) and ratio is None and loss_is_flat(e):
        return Sighting(Severity.SERIOUS, say("A flat loss in a deep stack of sigmoids."), start, start, ("train/loss",), "", "configuration")
    if ratio is not None:
        return Cleared(say("The gradient of the first layer is 10^{ratio:.1f} of the last layer's.", ratio=ratio), _figures(e))
    if change is None:
        return Cleared(say("No recorded module is saturated."), _figures(e))
    if change == 0:
        moved = is_above(say("the change of the first layer over that of the last"), change, 0.0, newest(e))
        return Cleared(say("The first layer did not move at all: it stands still, and nothing faded on the way to it."), (moved, *_figures(e)))
    if change <= HARDLY:
        return Cleared(say("The first layer moved little (ratio {change:.2g}), and the loss fell.", change=change), (*flatness(e), *_figures(e)))
    return Cleared(say("The first layer moved as the last one did (ratio {change:.2g}).", change=change), _figures(e))


def _figures(e: Evidence) -> tuple[Clue, ...]:
    """Gradient and movement by depth, and outputs at their limits."""
    full, share = e.layers.fullest if e.layers is not None and e.layers.saturated else ("", None)
    depth = say("log10 of the first layer's gradient over the last layer's")
    return (
        is_below(depth, e.weights.gradient_depth_ratio, STEEP, newest(e)),
        is_below(say("the change of the first layer over that of the last"), e.weights.change_first_to_last_layer, HARDLY, newest(e)),
        share_is_above(say("the share of one module's outputs at their limits"), share, AT_LIMITS, full)
        if e.layers is None or share is not None
        else asked(say("a module with limits (sigmoid, tanh) was recorded"), False, say("none of {n} modules has any", n=len(e.layers.dead))),
    )


@probe(say("the gradient shrinks over many decades from output to input"), GRADIENTS, holds=2.0, fails=-2.5)
def steep(e: Evidence, seen: Sighting) -> Reading | None:
    ratio = e.weights.gradient_depth_ratio
    return None if ratio is None or seen.facet == "saturated" else Reading(ratio < STEEP, say("by {decades:.1f} decades", decades=-ratio))


@probe(say("early layers hardly move compared with late ones"), TWO_CHECKPOINTS, holds=1.2, fails=-0.6)
def hardly(e: Evidence, seen: Sighting) -> Reading | None:
    change = e.weights.change_first_to_last_layer
    return (
        None
        if change is None
        else Reading(change < 0.05, say("the first layer's relative change is {change:.2g} of the last layer's", change=change))
    )


@probe(say("recorded outputs lie at the limits of sigmoid or tanh modules"), ACTIVATIONS, holds=2.0)
def at_limits(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or not e.layers.saturated:
        return None
    name, share = e.layers.fullest
    return Reading(share >= AT_LIMITS, say("{share:.0%} of those of {name}", share=share, name=name))


@probe(say("nothing is learned"), holds=0.6, fails=-1.5)
def nothing_learned(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(loss_is_flat(e), say("the loss {what}", what=say("is flat") if loss_is_flat(e) else say("falls")))


CHECK = Check(
    id="vanishing-gradients",
    title=say("Vanishing gradients"),
    symptom=say("Gradients of early layers are near zero and their weights hardly move."),
    detect=detect,
    needs=(DEPTH,),
    probes=(steep, hardly, at_limits, nothing_learned),
    prior=0.8,
    causes=((saturating_activations, -1.0), (bad_initialization, -1.0), (missing_normalization_or_residuals, -2.2), (too_deep, -2.5)),
    by_hand=(say("Print the gradient norm of each layer after one backward(): it should not fall steadily towards the input."),),
    consequences=("loss-not-decreasing", "underfitting", "frozen-parameters", "dead-units"),
)
