"""More layers than the gradient can cross."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import WEIGHTS

DEEP = 10


@probe(say("there are very many layers in a plain stack"), WEIGHTS, holds=0.9, fails=-2.0)
def many(e: Evidence, seen: Sighting) -> Reading | None:
    n = len(e.model.weight_layers)
    return Reading(n >= DEEP and not e.model.residual, say("{n} weight layers", n=n)) if n else None


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    depth = e.number("model_depth")
    to = max(2, int(depth // 3)) if depth else 2
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
    probes=(many,),
    fixes=fixes,
)
