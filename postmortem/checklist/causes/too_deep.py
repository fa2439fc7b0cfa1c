"""More layers than the gradient can cross."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import WEIGHTS
from postmortem.checklist.rates import OF_TRANSFORMERS
from postmortem.checklist.signs import STEEP, by_layer

DEEP = 10
VERY = 16  # layers from which hardly any plain stack trains
VERY_SHARE = 2.0  # × the weight
FEW = 3  # layers that any plain stack trains with
RESIDUAL = ("res", "former", "gpt", "bert", "llama", "vit", "t5", "dense", "mixer", "next", "decoder", "encoder")  # in the names of architectures


@probe(say("there are very many layers in a plain stack"), holds=0.9, fails=-2.0)
def many(e: Evidence, seen: Sighting) -> Reading | None:
    n = _layers(e)
    return Reading(n >= DEEP and not e.model.residual, say("{n} weight layers", n=n), share=VERY_SHARE if n >= VERY else 1.0) if n else None


@probe(say("each layer passes on about what any plain layer does: it is their number that leaves nothing"), WEIGHTS, holds=1.2)
def faded_by_number(e: Evidence, seen: Sighting) -> Reading | None:
    by = by_layer(e)
    if by is None or by < STEEP or len(e.model.weight_layers) < DEEP:
        return None
    return Reading(True, say("{share:.2g} of the gradient a layer, {n} layers", share=10**by, n=len(e.model.weight_layers)))


def _layers(e: Evidence) -> int:
    """Weight layers of the checkpoints, else as many as are configured for a model that is none of those with residual connections; 0 for unknown."""
    name = e.setting("model")
    around = e.family in OF_TRANSFORMERS or (name is not None and any(word in str(name.value).lower() for word in RESIDUAL))
    return len(e.model.weight_layers) or (0 if around else int(e.number("model_depth") or 0))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    depth = e.number("model_depth")
    if depth is None and not e.model.weight_layers:
        return ()
    to = max(2, min(FEW, int(depth // 3))) if depth else 2
    return (
        remedies.fix(
            e,
            say("Use fewer layers ({to}), or residual connections", to=to),
            say("The gradient does not reach the first layers."),
            (remedies.change(e, "model_depth", to, depth),),
        ),
    )


too_deep = Cause(
    id="too-deep",
    title=say("Too many layers in a plain stack"),
    mechanism=say("The gradient of the first layer is a product over all layers above it; with many of them it is practically zero."),
    probes=(many, faded_by_number),
    fixes=fixes,
)
