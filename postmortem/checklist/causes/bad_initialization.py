"""Weights started at a scale or in a pattern from which nothing can be learned."""

import math

from postmortem.check import Cause, Evidence, Fix, Reading, Severity, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.causes.too_deep import many
from postmortem.checklist.inputs import NEVER_FIRES, unscaled_inputs, unscaled_targets
from postmortem.checklist.levels import course, loss_curve, starts_absurd, starts_normal, summed_over, to_chance
from postmortem.checklist.needs import ACTIVATIONS, CHANCE, WEIGHTS, curve
from postmortem.checklist.optimizers import ABSURD_NORM, clip_norm, first_norm, rate_decades, rate_leapt, used_rate
from postmortem.checklist.parameters import ALL_ZERO, all_identical
from postmortem.checklist.rates import pretrained
from postmortem.checklist.signs import file_of, half_is_stated
from postmortem.checklist.starts import as_drawn, slow_to_leave
from postmortem.model.run import Setting

SCHEMES = (
    "none",
    "default",
    "kaiming",
    "he",
    "xavier",
    "glorot",
    "lecun",
    "orthogonal",
    "variancescaling",
    "truncnormal",
    "truncatednormal",
    "normal0.02",
)
SPREADS = (0.004, 0.1)  # standard deviations that configurations state: 0.02 of transformers and GANs, more of narrow ones
FAST, ONE_WAY = 0.9, 0.4  # decades above the usual rate; mean cosine between the units of a layer
LARGE = 0.75  # decades above the default initialisation at the first checkpoint
SMALL = -0.8  # decades below; transformers' 0.02 at width 48 is −0.6
BELOW = -0.5  # decades below at a first checkpoint, when the weights grew since
GREW = 0.3  # decades
RAN_OFF = 10.0  # × the first loss
FIRST_LOSS = 3.5  # times chance, before any update; healthy runs start at 0.8 to 1.1
GONE = 0.1  # × the gradient norm that is absurd
TWICE = 2.0  # × the first gradient norm: what grew beyond it began later
ORDINARY = 0.7  # decades above the usual learning rate
AT_ONCE, A_FEW_STEPS = 0.2, 20  # of an epoch; where nobody knows how long that is
RATHER, HALF = 0.9, 0.5  # share of the weight; of the weights
AT_THE_ROOT = 2.5  # × the same, where the mode itself was seen by it
BY_ITSELF = 0.3  # of the weight
AS_DRAWN = 11.0  # × what the size alone weighs: of 1,137 labelled runs with such weights none had begun wrongly
MOVES, MANY, AROUND_ONE = 1e-3, 10, 0.1  # learning rate; records; relative distance of a loss from 1
ALIKE, FEW = 1e-3, 4  # relative distance from ln C: outputs as drawn lie a hundredth and more above it; records
LATE, LEARNED = 0.2, 0.8  # share of the run; × the start of the loss
HALF_SATURATED = 0.5  # share of a layer's outputs
ALL_SILENT = 0.9  # share of a layer's units
DEEP_SHARE = 0.4  # of the weight
ZERO_ROWS = 0.2  # share of a layer's rows


def _usual(value: object) -> bool:
    """A scheme that libraries ship, by name, or the standard deviation of a normal distribution as language models use it."""
    text = "".join(c for c in str(value).lower() if c.isalnum() or c in ".-")
    try:
        return SPREADS[0] <= float(text) <= SPREADS[1]
    except ValueError:
        return any(text.startswith(scheme) for scheme in SCHEMES)


def unusual_scheme(e: Evidence) -> Setting | None:
    """What the configuration says of the initialisation, where that is no scheme that libraries ship."""
    setting = e.setting("initialization")
    return None if setting is None or _usual(setting.value) else setting


@probe(say("the configuration sets an unusual initialisation"), holds=2.5, fails=0.0)
def configured(e: Evidence, seen: Sighting) -> Reading | None:
    setting = unusual_scheme(e)
    return None if setting is None else Reading(True, say("{key} = {value}", key=setting.key, value=str(setting.value)), setting.file)


@probe(say("the weights are exactly zero"), WEIGHTS, holds=4.0, fails=0.0)
def zero(e: Evidence, seen: Sighting) -> Reading | None:
    share, (layer, rows) = e.weights.zero_weight_share, e.weights.zero_rows or ("", 0.0)
    if all_identical(e) and (share or 0.0) < ALL_ZERO:
        return None  # a layer that is meant to begin at zero, in a model that was never updated
    if (share or 0.0) < ALL_ZERO and rows > ZERO_ROWS:
        return Reading(True, say("{rows:.0%} of the rows of {layer} still are: they started so", rows=rows, layer=layer))
    if share is None or share < ALL_ZERO:
        return None
    return Reading(True, say("{share:.0%} of the weight matrices are exactly 0", share=share))


@probe(say("the units of a layer are copies of each other"), WEIGHTS, holds=4.5, fails=0.0)
def symmetric(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.weights.symmetric_share
    if share is None or share < 0.5:
        return None
    return Reading(
        True,
        say("{share:.0%} of the weight matrices are nearly one number or have identical rows or columns: symmetry was never broken", share=share),
    )


@probe(say("the units of a layer point one way, as those do that began as copies of each other"), WEIGHTS, holds=3.5, fails=-0.2)
def one_way(e: Evidence, seen: Sighting) -> Reading | None:
    """What was drawn at random has no common direction; copies that dropout or a batch of few samples parts keep it for long."""
    cosine, scale = e.weights.first_row_cosine, e.weights.first_highest_scale
    thrown = (scale or 0.0) >= LARGE or (rate_decades(e) or 0.0) >= FAST or rate_leapt(e)  # then a gradient pushed all of them one way
    if cosine is None or thrown or seen.severity is Severity.FATAL or (e.weights.symmetric_share or 0.0) >= 0.5:
        return None
    if cosine <= ONE_WAY and (e.weights.first_median_scale or 0.0) < BELOW:
        return None  # drawn at random, and too small
    return Reading(
        cosine > ONE_WAY, say("the mean cosine between two units of a hidden layer is {cosine:.2f} in the first checkpoint", cosine=cosine)
    )


@probe(say("hidden biases start far below zero"), WEIGHTS, holds=3.5, fails=0.0)
def negative_biases(e: Evidence, seen: Sighting) -> Reading | None:
    low, low_at_last = e.weights.first_lowest_hidden_bias, e.weights.lowest_hidden_bias
    thrown = rate_leapt(e) or (e.weights.first_highest_scale or 0.0) >= LARGE  # then biases were thrown too, after the start
    if low is None or low_at_last is None or low_at_last > NEVER_FIRES or thrown:
        return None
    if low > NEVER_FIRES:
        return Reading(False, say("the lowest median of a hidden layer's biases went from {low:.3g} to {last:.3g}", low=low, last=low_at_last))
    return Reading(True, say("the median of a hidden layer's biases is {low:.3g}: its ReLU units never fire", low=low))


def _ran_off_before(e: Evidence, seen: Sighting) -> bool:
    """The first weights were saved after the loss ran away, and they with it."""
    loss, saved = loss_curve(e), e.checkpoints[0].step if e.checkpoints else None
    if loss is None or seen.step is None or saved is None or not loss.highest > RAN_OFF * abs(loss.first):
        return False
    return saved > max(seen.step, loss.best_step)


@probe(say("the weights are already far too large or too small at the first checkpoint"), WEIGHTS, holds=2.0, fails=-0.3)
def wrong_scale(e: Evidence, seen: Sighting) -> Reading | None:
    first, low = e.weights.first_highest_scale, e.weights.first_median_scale
    if first is None or low is None:
        return None
    detail = say("the largest layer is {large:.3g} ×, the median layer {median:.3g} × the default initial size", large=10**first, median=10**low)
    if SMALL < low < BELOW:  # small; too small where most of the weights never got a gradient for it
        return Reading(True, detail, share=RATHER) if (e.weights.gradient_zero_share or 0.0) > HALF else None
    copies = one_way.ask(e, seen)
    if (first >= LARGE and _ran_off_before(e, seen)) or (copies is not None and copies.holds):
        return None  # of copies the size says nothing
    decades = rate_decades(e)
    too_large = first >= LARGE and (decades is None or decades < 1.0) and starts_normal(e) is not True
    too_small = low <= SMALL and (e.weights.scale_drift is None or e.weights.scale_drift > -1.0)
    if seen.facet in ("size", "unreached"):
        return Reading(True, seen.summary, share=AT_THE_ROOT)
    return Reading(
        too_large or too_small,
        detail,
        share=AS_DRAWN if as_drawn(e) else 1.0,
    )


@probe(say("the very first loss, before any update, is already far above chance"), holds=2.2, fails=-0.5)
def first_loss(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    if loss is None or not loss.finite or loss.first_step > 2 or loss.reduction == "epoch" or unscaled_targets(e) or summed_over(e):
        return None
    level = to_chance(e, loss.first)
    if (e.weights.first_median_scale or 0.0) < BELOW:
        return None  # too small, if anything: the outputs are near 0, and the loss is that of guessing
    if level is None:
        return Reading(True, say("it is {loss:.3g}", loss=loss.first), file_of(e, "train/loss")) if starts_absurd(e) else None
    return Reading(level > FIRST_LOSS, say("it is {level:.3g} × the chance level", level=level), file_of(e, "train/loss"))


@probe(say("the very first gradient, before any update, was absurd"), curve("grad_norm"), holds=1.2)
def first_gradient(e: Evidence, seen: Sighting) -> Reading | None:
    norm = first_norm(e)
    if norm is None or unscaled_targets(e):
        return None  # such targets make it large, whatever the weights
    return Reading(norm > ABSURD_NORM, say("its norm was {norm:.3g}", norm=norm), file_of(e, "grad_norm"))


@probe(say("a classifier's gradient is absurd from the first record on, at an ordinary learning rate"), curve("grad_norm", 4), holds=2.2)
def absurd_from_the_start(e: Evidence, seen: Sighting) -> Reading | None:
    norm, scored = e.curve("grad_norm"), e.curve("train/accuracy") or e.curve("val/accuracy")
    if (
        norm is None
        or scored is None
        or not norm.first > ABSURD_NORM
        or e.curve("loss_scale") is not None
        or clip_norm(e) is not None
        or (rate_decades(e) or 0.0) > ORDINARY
    ):
        return None
    grew = norm.highest > TWICE * norm.first and norm.lowest <= ABSURD_NORM  # where every record is absurd, two of them may differ
    came_down = e.series["grad_norm"].values[1] < GONE * ABSURD_NORM  # by the next record: no weights that are far too large do that
    late = norm.first_step > (e.steps_per_epoch or math.inf) or grew or came_down
    return None if late else Reading(True, say("its norm was {norm:.3g}", norm=norm.first), file_of(e, "grad_norm"))


@probe(say("no loss was ever finite, at an ordinary learning rate: it was too much before anything was learned"), holds=1.6)
def never_finite(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    bad = loss.non_finite if loss is not None else None
    if loss is None or bad is None or seen.facet != "loss" or bad.points_before > 0 or half_is_stated(e) or (rate_decades(e) or 0.0) > ORDINARY:
        return None
    epoch = e.epoch_at(bad.first_step)
    if epoch > AT_ONCE if epoch is not None else bad.first_step > A_FEW_STEPS:
        return None
    untouched = bad.first_step <= 1 and loss.reduction != "epoch"  # a forward pass alone: weights would have to be absurd to overflow in it
    detail = say("it is {kind} from the first record on, at step {step:g}", kind=bad.kind, step=bad.first_step)
    return Reading(True, detail, file_of(e, loss.name), BY_ITSELF if untouched else 1.0)


@probe(say("the loss is that of guessing from the first record to the last: all outputs are alike, and stay so"), CHANCE, holds=2.5)
def outputs_alike(e: Evidence, seen: Sighting) -> Reading | None:
    loss, classes = course(e), e.chance.classes
    if loss is None or not classes or classes < 2 or loss.finite < FEW or e.model.adapters or all_identical(e):
        return None  # no step was ever made: then the loss stays where it is from any start
    level = math.log(classes)
    off = max(abs(value / level - 1.0) for value in (loss.first, loss.final, loss.highest, loss.best))
    return Reading(True, say("it never left ln {classes} by more than {off:.2g}", classes=classes, off=off * level)) if off < ALIKE else None


@probe(
    say("the loss is the variance of a standardised target from the first record to the last, at a rate that moves whatever can be moved"),
    holds=2.0, fails=-0.2,
)  # fmt: skip
def never_left_the_mean(e: Evidence, seen: Sighting) -> Reading | None:
    loss, rate, val = course(e), used_rate(e), e.curve("val/loss")
    if loss is None or rate is None or rate < MOVES or val is None or loss.finite < MANY or all_identical(e):
        return None
    if e.family not in ("", "regression") or e.chance.classes:
        return None
    both = [value for c in (loss, val) for value in (c.first, c.final, c.highest, c.lowest)]
    if not abs(loss.first - 1.0) < AROUND_ONE:
        return None
    apart = max(both) - min(both)
    return Reading(
        apart < 5 * ALIKE,
        say("the losses of training and validation are {apart:.2g} apart at most, and {level:.4g} at first", apart=apart, level=loss.first),
    )


@probe(say("for long the loss stayed where it began, and then training and validation learned: gradients had to grow first"), holds=1.7)
def had_to_wait(e: Evidence, seen: Sighting) -> Reading | None:
    loss, step = course(e), slow_to_leave(e)
    first = next((c.step for c in e.checkpoints if c.step is not None), None)
    if loss is None or step is None or (as_drawn(e) and (first is None or first <= step)):
        return None  # weights saved after that say nothing of how they were drawn
    deep = many.ask(e, seen)  # through many plain layers nothing comes back at first, however the weights were drawn
    share = DEEP_SHARE if deep is not None and deep.holds else 1.0
    return Reading(True, say("until step {step:g} it stayed within 3 % of its first value", step=step), file_of(e, loss.name), share)


def _learned_first(e: Evidence, seen: Sighting) -> bool:
    """The trouble came late, to a model that began well and had learned."""
    loss, step = loss_curve(e), seen.step
    if loss is None or step is None or not loss.finite or starts_absurd(e):
        return False
    late = step > loss.first_step + LATE * (loss.last_step - loss.first_step)
    return late and loss.best < LEARNED * loss.start and loss.best_step <= step and not loss.final < loss.start


@probe(say("it had learned before the trouble came: no start is at fault then"), holds=-1.5)
def learned_first(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or not _learned_first(e, seen):
        return None
    return Reading(
        True, say("the loss had come down from {start:.3g} to {best:.3g} by step {step:g}", start=loss.start, best=loss.best, step=loss.best_step)
    )


@probe(say("gradients came to life as the weights grew: they had started too small"), WEIGHTS, holds=1.5, fails=0.0)
def came_to_life(e: Evidence, seen: Sighting) -> Reading | None:
    growth, drift = e.weights.gradient_growth, e.weights.scale_drift
    if growth is None or drift is None or growth < 1.0 or drift < 0.2 or _learned_first(e, seen):
        return None
    return Reading(True, say("gradients grew {times:.3g}-fold while the weights grew {by:.2g}-fold", times=10**growth, by=10**drift))


@probe(say("a layer was silent before the first update"), ACTIVATIONS, holds=4.0, fails=-0.5)
def silent_at_start(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or not e.layers.dead_at_start:
        return None
    name, share = max(e.layers.dead_at_start.items(), key=lambda kv: kv[1])
    return Reading(share >= ALL_SILENT and not unscaled_inputs(e), say("{share:.0%} of the units at {name} were", share=share, name=name))


@probe(say("sigmoid or tanh units were at their limits before the first update"), ACTIVATIONS, holds=3.0)
def saturated_at_start(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or not e.layers.saturated_at_start:
        return None
    name, share = max(e.layers.saturated_at_start.items(), key=lambda kv: kv[1])
    return Reading(share > HALF_SATURATED and not unscaled_inputs(e), say("{share:.0%} of the outputs of {name} were", share=share, name=name))


@probe(say("the weights began small and had to grow before anything was learned"), WEIGHTS, holds=1.8, fails=0.0)
def had_to_grow(e: Evidence, seen: Sighting) -> Reading | None:
    began, drift = e.weights.first_median_scale, e.weights.scale_drift
    if e.framework == "transformers" or began is None or drift is None or not SMALL < began < BELOW or drift < GREW:
        return None
    return Reading(
        True, say("the median layer was {times:.2g} × the usual size at the first checkpoint and grew {by:.2g}-fold", times=10**began, by=10**drift)
    )


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    if pretrained(e):
        return ()  # nothing of it is drawn, but for a head
    why = say("Activations and gradients keep their size through the layers only when weights start with a variance of about 2 / fan-in.")
    return (remedies.default_initialisation(e, why),)


bad_initialization = Cause(
    id="bad-initialization",
    title=say("The initial weights do not let the signal through"),
    mechanism=say(
        "Too large, and activations and loss explode in the first step; too small, and they vanish layer by layer; all equal or zero, and all units stay copies of "
        "one another; biases far below zero, and no ReLU ever fires."
    ),
    probes=(
        configured,
        zero,
        symmetric,
        one_way,
        negative_biases,
        wrong_scale,
        first_loss,
        first_gradient,
        absurd_from_the_start,
        never_finite,
        outputs_alike,
        never_left_the_mean,
        had_to_wait,
        came_to_life,
        learned_first,
        silent_at_start,
        saturated_at_start,
        had_to_grow,
    ),
    fixes=fixes,
    by_hand=(say("Before training, print the standard deviation of each layer's output for one batch: it should stay near 1."),),
)
