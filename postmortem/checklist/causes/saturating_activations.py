"""Sigmoid or tanh units in their flat parts."""

from postmortem.check import Cause, Change, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import ACTIVATIONS, CONFIG, LAYER_STATISTICS, WEIGHTS
from postmortem.checklist.signs import STEEP, by_layer

FEW = 3  # layers that any plain stack trains with
TOO_DEEP = 8  # layers that do not train without residuals or normalisation
DEEP = 6
SMALLER = -0.4  # decades from the usual size
AT_LIMITS = 0.5  # share of the outputs of a layer within 1 % of the range of a limit


def _activation(e: Evidence) -> str:
    setting = e.setting("activation")
    return str(setting.value).lower() if setting is not None and setting.value is not None else ""


@probe(say("the configuration uses a saturating activation"), CONFIG, holds=3.5, fails=-0.8)
def configured(e: Evidence, seen: Sighting) -> Reading | None:
    name = _activation(e)
    if not name:
        return Reading(False, say("no activation is configured, and saturating ones are seldom the default")) if len(e.settings) >= 4 else None
    setting = e.setting("activation")
    shallow = "sigmoid" not in name and 0 < len(e.model.weight_layers) < DEEP  # around 0 they pass on what they get
    return Reading(
        "sigmoid" in name or "tanh" in name or "softsign" in name,
        share=0.15 if shallow else 1.0,
        detail=say("{key} = {value}", key=setting.key if setting else "", value=name),
        source=setting.file if setting else "",
    )


def _passes_on(name: str) -> bool:
    return any(word in name for word in ("relu", "elu", "silu", "swish", "mish"))


@probe(say("a non-saturating activation is configured"), CONFIG, holds=-4.0, fails=0.0)
def relu(e: Evidence, seen: Sighting) -> Reading | None:
    name = _activation(e)
    if not name:
        return None
    return Reading(_passes_on(name), say("the activation is {value}", value=name))


@probe(say("the weights have the usual size, so the decay over depth comes from the activations"), WEIGHTS, holds=1.2, fails=-2.0)
def usual_scale(e: Evidence, seen: Sighting) -> Reading | None:
    scale = e.weights.first_median_scale if e.weights.first_median_scale is not None else e.weights.median_scale
    if scale is None or (scale > SMALLER and (by_layer(e) or STEEP) > STEEP):
        return None
    return Reading(scale > SMALLER, say("the median layer is {times:.2g} × the default initial size", times=10**scale))


@probe(say("the gradient shrinks as slowly from layer to layer as through ReLU units that were drawn as usual"), WEIGHTS, holds=-1.5)
def as_of_relu(e: Evidence, seen: Sighting) -> Reading | None:
    by = by_layer(e)
    if by is None or e.setting("activation") is not None:
        return None
    return Reading(by > STEEP, say("to {share:.2g} of it a layer; √(1/6) = 0.41 is what ReLU leaves, √(1/3) / 4 = 0.14 a sigmoid", share=10**by))


@probe(say("there are many layers"), WEIGHTS, holds=0.4, fails=-0.6)
def deep(e: Evidence, seen: Sighting) -> Reading | None:
    n = len(e.model.weight_layers)
    return Reading(n >= DEEP, say("{n} weight layers", n=n)) if n else None


@probe(say("sigmoid or tanh modules were recorded"), LAYER_STATISTICS, holds=2.5, fails=-1.0)
def recorded(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or not (e.layers.dead or e.layers.saturated):
        return None
    return Reading(bool(e.layers.saturated), say("{n} of them", n=len(e.layers.saturated)))


@probe(say("recorded outputs lie at the limits"), ACTIVATIONS, holds=2.0)
def at_limits(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or not e.layers.saturated:
        return None
    name, share = e.layers.fullest
    return Reading(share > AT_LIMITS, say("{share:.0%} of those of {name}", share=share, name=name))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    normalised = remedies.fix(
        e,
        say("Add normalisation and residual connections between the layers"),
        say("They give the gradient a path that no activation shrinks."),
        (remedies.change(e, "normalization", "layernorm"),),
        {"pytorch": "x = x + self.block(self.norm(x))"},
    )
    if _passes_on(_activation(e)):
        return (normalised,)
    depth = e.number("model_depth")
    changes: tuple[Change, ...] = (remedies.change(e, "activation", "relu"),)
    title = say("Use an activation of the ReLU family")
    if depth is not None and depth >= TOO_DEEP and not e.model.residual and not e.model.normalised:
        fewer = max(2, min(FEW, int(depth // 3)))  # as deep as this, plain ReLU layers hardly train either
        changes = (*changes, remedies.change(e, "model_depth", fewer, depth))
        title = say("Use an activation of the ReLU family, and fewer layers ({to})", to=fewer)
    return (
        remedies.fix(
            e,
            title,
            say("A sigmoid's slope is at most 1/4: ten layers of it shrink a gradient a million times."),
            changes,
            {
                "pytorch": "nn.Sequential(nn.Linear(d, h), nn.ReLU(), ...)  # or nn.GELU(); initialise with nn.init.kaiming_normal_",
                "keras": "Dense(units, activation='relu', kernel_initializer='he_normal')",
            },
        ),
        normalised,
    )


saturating_activations = Cause(
    id="saturating-activations",
    title=say("Saturating activations shrink the gradient layer by layer"),
    mechanism=say(
        "The slope of a sigmoid is at most 1/4 and nearly 0 in its flat parts, so the gradient shrinks by that factor in each layer on its way to the input."
    ),
    probes=(configured, relu, usual_scale, as_of_relu, deep, recorded, at_limits),
    fixes=fixes,
    by_hand=(say("Print the share of each layer's outputs that lie within 0.01 of the activation's limits."),),
)
