"""Inputs are not what the model needs: not scaled, all zero, constant."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.inputs import inputs_are_zero, stated_raw, uneven_inputs, unscaled_inputs
from postmortem.checklist.levels import starts_normal, summed_over, to_chance, whole
from postmortem.checklist.needs import BASELINE, BATCH_STATISTICS, GRADIENTS, WEIGHTS, curve
from postmortem.checklist.optimizers import ABSURD_NORM, first_norm, rate_decades
from postmortem.checklist.signs import file_of, same_settings

LARGE_FIRST = 4.0  # times chance, before any update
DEFAULT_SCALE = 0.75
CERTAIN, SOME_WRONG, ROUNDED = 16.118, 0.3, 0.01  # −ln(1e-7); shares
OTHER_SIGNALS = 0.7  # decades between the first layer's share of the gradient and that in a good run


@probe(say("the first loss is far above chance although the weights have the usual size"), holds=2.2, fails=-1.0)
def first_loss(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    scale = e.weights.first_highest_scale
    if loss is None or not loss.finite or summed_over(e):
        return None
    level = to_chance(e, max(loss.first, loss.highest if loss.highest_step <= loss.first_step + 1 else loss.first))
    if level is None:
        return None
    decades = rate_decades(e)
    usual = (scale is None or scale < DEFAULT_SCALE) and (decades is None or decades < 1.3)
    return Reading(level > LARGE_FIRST and usual, say("it is {level:.3g} × the chance level", level=level), file_of(e, "train/loss"))


@probe(say("the very first gradient, before any update, was absurd, with weights of the usual size"), curve("grad_norm"), holds=1.5)
def first_gradient(e: Evidence, seen: Sighting) -> Reading | None:
    norm, scale = first_norm(e), e.weights.first_highest_scale
    if norm is None or (scale is not None and scale >= DEFAULT_SCALE):
        return None
    return Reading(norm > ABSURD_NORM, say("its norm was {norm:.3g}", norm=norm), file_of(e, "grad_norm"))


@probe(say("the first layer's weights never got a gradient while its bias did"), WEIGHTS, holds=4.0, fails=0.0)
def zero_inputs(e: Evidence, seen: Sighting) -> Reading | None:
    if not inputs_are_zero(e):
        return None
    return Reading(True, say("{first} never changed and its bias did: the inputs are all zero", first=e.model.weight_layers[0]))


@probe(say("each wrong answer is given with certainty, from the first record on"), holds=2.5, fails=-0.2)
def certain(e: Evidence, seen: Sighting) -> Reading | None:
    """Keras clips a probability at 1e-7: a mean loss of 16.118 × the share of wrong answers is that of a model which is always certain."""
    loss, right = e.curve("train/loss"), e.curve("train/accuracy")
    if loss is None or right is None or not right.finite or not loss.finite:
        return None
    wrong = 1 - right.first / whole(right)
    price = loss.first / wrong if wrong > SOME_WRONG else 0.0
    return Reading(abs(price / CERTAIN - 1) < ROUNDED, say("the loss is {price:.4g} × the share of wrong answers", price=price)) if price else None


@probe(say("the configuration feeds raw or rescaled inputs"), holds=2.0)
def configured(e: Evidence, seen: Sighting) -> Reading | None:
    hit = stated_raw(e)
    return None if hit is None else Reading(True, say("{key} = {value}", key=hit.key, value=str(hit.value)), hit.file)


@probe(say("recorded inputs are far from mean 0 and variance 1"), BATCH_STATISTICS, holds=3.5, fails=-3.0)
def recorded(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.batches
    if b is None or b.indices or b.mean is None or b.std is None or seen.facet == "targets":
        return None
    told = say(
        "mean {mean:.3g}, standard deviation {std:.3g}, from {low:.3g} to {high:.3g}", mean=b.mean, std=b.std, low=b.low or 0.0, high=b.high or 0.0
    )
    return Reading(unscaled_inputs(e), told)


@probe(say("some inputs are many times as large as others"), GRADIENTS, holds=3.5)
def uneven(e: Evidence, seen: Sighting) -> Reading | None:
    s = e.weights.input_scales
    if s is None:
        return None
    told = say("by the first layer's gradient, the largest of {n} inputs is {times:.2g} × the median one", n=s.inputs, times=10**s.largest)
    return Reading(uneven_inputs(e), told)


@probe(say("what the model is to give back is far from mean 0 and variance 1"), holds=3.5)
def given_back(e: Evidence, seen: Sighting) -> Reading | None:
    """The inputs of an autoencoder, the targets of a regression."""
    pictures = seen.facet == "inputs" and e.family == "autoencoder" and not uneven_inputs(e)
    return Reading(True, seen.summary) if pictures or seen.facet == "targets" else None


@probe(say("a good run with the same settings gets other signals from its inputs"), BASELINE, holds=1.5)
def other_inputs(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.baseline
    if b is None or not same_settings(e) or b.training is not False or b.depth_shift is None or starts_normal(e) is False:
        return None
    if abs(b.depth_shift) < OTHER_SIGNALS:
        return None
    return Reading(True, say("beside the last layer, the first one gets {ratio:.2g} × what it gets in the good run", ratio=10**b.depth_shift))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    if seen.facet == "targets":
        return (_standardised_targets(e),)
    return (
        remedies.fix(
            e,
            say("Standardise the inputs with the training set's mean and standard deviation"),
            say("What goes into the first layer is far from zero mean and unit variance."),
            (),
            {
                "pytorch": "mean, std = x_train.mean(0), x_train.std(0).clamp_min(1e-6)\nx = (x - mean) / std  # the same two numbers for validation",
                "keras": "norm = keras.layers.Normalization(); norm.adapt(x_train)  # first layer of the model",
            },
        ),
    )


def _standardised_targets(e: Evidence) -> Fix:
    return remedies.fix(
        e,
        say("Standardise the targets with the training set's mean and standard deviation"),
        say("The outputs of a fresh network are about 1 in size, and each update moves them by little: a target in the thousands is out of reach."),
        (),
        {
            "pytorch": "mean, std = y_train.mean(0), y_train.std(0).clamp_min(1e-6)\ny = (y - mean) / std  # prediction = output * std + mean",
            "keras": "y = (y - y_train.mean(0)) / y_train.std(0)  # prediction = output * std + mean",
        },
    )


preprocessing = Cause(
    id="preprocessing",
    title=say("The inputs are not scaled, or carry nothing"),
    mechanism=say(
        "Features in the hundreds make the first activations and gradients hundreds of times too large: the first updates kill units or saturate them, and the rest "
        "of the network learns class frequencies. Inputs that are all zero leave only the biases to learn."
    ),
    probes=(first_loss, first_gradient, certain, zero_inputs, configured, recorded, uneven, given_back, other_inputs),
    fixes=fixes,
    by_hand=(say("Print x.mean(), x.std(), x.min(), x.max() of one training batch as the model gets it: about 0, 1, −3 and 3."),),
)
