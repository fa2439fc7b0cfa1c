"""Many units are never active."""

from postmortem.check import Check, Cleared, Clue, Evidence, Need, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.bad_initialization import bad_initialization
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.too_little_capacity import too_little_capacity
from postmortem.checklist.inputs import inputs_are_zero
from postmortem.checklist.levels import loss_curve, loss_is_flat
from postmortem.checklist.limits import asked, flatness, is_below, newest, share_is_above, share_is_below, times
from postmortem.checklist.needs import ACTIVATIONS, OPTIMIZER_STATE, WEIGHTS
from postmortem.checklist.optimizers import last_optimizer, rate_leapt
from postmortem.checklist.parameters import ALL_ZERO, weights_are_zero
from postmortem.checklist.rewards import no_gradient

DEAD = 0.6  # share of weight elements with a second moment of exactly 0; healthy runs stay below 0.26
FAINT = -0.5  # decades from the usual size of the weights at the first checkpoint
THROWN = 0.75  # decades of weight scale at the first checkpoint
BIAS = -2.0  # median of a hidden layer's biases
ZERO_ROWS = 0.2  # share of a layer's rows that are exactly 0; none of 740 other trainings with checkpoints had more than 0.05
SILENT = 0.9  # share of a layer's units that give 0 for every sample of a recorded batch; healthy runs stay below 0.5
UNITS = Need(
    "a checkpoint",
    say("save the weights every few epochs, the initial ones included"),
    lambda e: WEIGHTS.met(e) or ACTIVATIONS.met(e),
    ACTIVATIONS.code,
)


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    w, loss = e.weights, loss_curve(e)
    if weights_are_zero(e):
        zero = share_is_below(say("the share of layers that are exactly zero"), w.zero_weight_share, ALL_ZERO, newest(e))
        return Cleared(say("The weights are exactly zero; no unit had a chance to die."), (zero,))
    if inputs_are_zero(e):
        reached = asked(say("the first layer's weights got a gradient"), False, say("only its bias moved"), newest(e))
        return Cleared(say("The inputs are zero, which leaves the first layer without a gradient; its units are not dead."), (reached,))
    if (w.gradient_zero_share or 0.0) >= 1.0 and no_gradient(e) is not None:
        reached = asked(say("some weight got a gradient"), False, say("the gradient norm is 0 too"), newest(e))
        return Cleared(say("No weight at all gets a gradient: that is no matter of single units."), (reached,))
    biased = w.lowest_hidden_bias is not None and w.lowest_hidden_bias < BIAS
    faint = (w.first_median_scale or 0.0) < FAINT  # little passes such weights, forwards or back, whatever is dead
    unborn = w.gradient_zero_share is not None and w.gradient_zero_share > DEAD and not faint and not _idle(e)
    at = loss.first_step if loss else None
    jump = rate_leapt(e)
    if jump and e.schedule is not None and loss is not None and loss.lost_ground > 0.5:
        step = e.schedule.jump_step
        return Sighting(
            Severity.FATAL,
            say("After the learning rate jumped at step {step:g} the loss never came back: the units that made it good are dead.", step=step or 0.0),
            step,
            step,
            ("train/loss", "lr"),
            "",
            "jump",
        )
    if loss is not None and loss.finite < 2:
        return Unknown(say("Not measured: there are only {n} finite values of the loss.", n=loss.finite))
    layer, rows = w.zero_rows or ("", 0.0)
    if loss is not None and not loss_is_flat(e) and rows > ZERO_ROWS:
        return Sighting(
            Severity.SERIOUS,
            say(
                "{share:.0%} of the rows of {layer} are exactly zero, which no update leaves: these units never had weights.", share=rows, layer=layer
            ),
            at,
            at,
            ("train/loss",),
            newest(e),
            "zero-rows",
        )
    if loss is not None and not loss_is_flat(e) and not _only_biases_learn(e):
        return Cleared(say("The loss falls: enough units are alive."), (*flatness(e), *_figures(e)))
    silent, share = e.layers.deadest if e.layers is not None else ("", 0.0)
    if e.layers is not None and share >= SILENT and loss is not None:
        step = e.layers.dead_from.get(silent, loss.first_step)
        return Sighting(
            Severity.FATAL,
            say("{share:.0%} of the units at {name} give 0 for every sample, from step {step:g} to the end.", share=share, name=silent, step=step),
            step,
            step,
            ("train/loss", f"activations/{silent}/dead_share", f"activations/{silent}/silent_inputs"),
            "",
            "recorded",
        )
    if (w.first_highest_scale or 0.0) > THROWN:
        return Cleared(
            say(
                "The weights were thrown to {times:.3g} × their usual size: whether units died of it cannot be told apart.",
                times=10 ** (w.first_highest_scale or 0.0),
            ),
            (
                is_below(
                    say("the size of the largest layer (× the usual)"), times(w.first_highest_scale or 0.0), times(THROWN), e.checkpoints[0].path
                ),
            ),
        )
    if biased:
        return Sighting(
            Severity.FATAL,
            say("The biases of a hidden layer have a median of {low:.3g}: its units never fire.", low=w.lowest_hidden_bias or 0.0),
            at,
            at,
            ("train/loss",),
            "",
            "bias",
        )
    if unborn:
        return Sighting(
            Severity.SERIOUS,
            say("{share:.0%} of the weights never got a gradient.", share=w.gradient_zero_share or 0.0),
            at,
            at,
            ("train/loss",),
            "",
            "gradient",
        )
    figures = _figures(e)
    if all(clue.holds is None for clue in figures):
        return Unknown(
            say("Not measured: neither hidden biases nor an optimizer's state was saved, and no activation was recorded."),
            UNITS.log,
            OPTIMIZER_STATE.how,
        )
    return Cleared(say("Hidden biases and gradients show no dead layer."), figures)


def _figures(e: Evidence) -> tuple[Clue, ...]:
    """What a dead layer would show in."""
    silent, share = e.layers.deadest if e.layers is not None else ("", None)
    return (
        is_below(say("the lowest median of a hidden layer's biases"), e.weights.lowest_hidden_bias, BIAS, newest(e)),
        share_is_above(say("the share of weights that never got a gradient"), e.weights.gradient_zero_share, DEAD, newest(e)),
        share_is_above(say("the share of one layer's units that are silent"), share, SILENT, silent),
        share_is_above(
            say("the share of one layer's rows that are exactly zero"), e.weights.zero_rows[1] if e.weights.zero_rows else None, ZERO_ROWS, newest(e)
        ),
    )


def _only_biases_learn(e: Evidence) -> bool:
    """No weight matrix ever had a gradient, or none moved: whatever the loss gained, the biases behind the dead layer gave."""
    still = {*e.weights.gradient_dead_layers, *e.weights.identical}
    return bool(e.model.weight_layers) and still.issuperset(e.model.weight_layers)


def _idle(e: Evidence) -> bool:
    last = last_optimizer(e)
    return last is not None and last.keeps_state and not last.has_state


@probe(say("rows of a weight matrix are exactly zero"), WEIGHTS, holds=1.5)
def zero_rows(e: Evidence, seen: Sighting) -> Reading | None:
    layer, share = e.weights.zero_rows or ("", 0.0)
    return Reading(True, say("{share:.0%} of those of {layer}", share=share, layer=layer)) if share > ZERO_ROWS else None


@probe(say("second moments of the weights are exactly zero"), WEIGHTS, holds=1.5, fails=-0.5)
def zero_moments(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.weights.gradient_zero_share
    return None if share is None or seen.facet == "zero-rows" else Reading(share > DEAD, say("{share:.0%} of them", share=share))


@probe(say("hidden biases are far below zero"), WEIGHTS, holds=1.5, fails=-0.3)
def low_biases(e: Evidence, seen: Sighting) -> Reading | None:
    low = e.weights.lowest_hidden_bias
    return None if low is None or seen.facet == "zero-rows" else Reading(low < BIAS, say("the lowest layer's median is {low:.3g}", low=low))


@probe(say("recorded activations show silent layers"), ACTIVATIONS, holds=3.0, fails=-2.5)
def silent_layers(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or not e.layers.dead:
        return None
    name, share = e.layers.deadest
    return Reading(share >= SILENT, say("at most {share:.0%} of the units of one layer ({name}) are silent", share=share, name=name))


CHECK = Check(
    id="dead-units",
    title=say("Dead units"),
    symptom=say("Many units are never active: zero rows, zero gradients."),
    detect=detect,
    needs=(UNITS,),
    probes=(zero_rows, zero_moments, low_biases, silent_layers),
    prior=0.8,
    causes=((bad_initialization, -0.7), (learning_rate_too_high, -0.7), (preprocessing, -2.0), (too_little_capacity, -2.5)),
    by_hand=(say("Count, for one batch, the units of each layer whose output is 0 for every sample."),),
    consequences=(
        "loss-not-decreasing",
        "underfitting",
        "frozen-parameters",
        "loss-spike",
        "vanishing-gradients",
        "oscillating-loss",
        "exploding-gradients",
        "schedule-fault",
        "weight-collapse",
    ),
)
