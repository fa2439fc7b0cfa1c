"""A deep stack without normalisation or residual connections."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import WEIGHTS

DEEP = 6


@probe(say("the model is deep and has neither normalisation nor residual connections"), WEIGHTS, holds=1.2, fails=-2.0)
def plain_stack(e: Evidence, seen: Sighting) -> Reading | None:
    n = len(e.model.weight_layers)
    if not n or e.model.normalised is None:
        return None
    plain = n >= DEEP and not e.model.normalised and not e.model.residual
    return Reading(plain, say("{n} weight layers, normalisation: {norm}", n=n, norm=say("yes") if e.model.normalised else say("none")))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    return (
        remedies.fix(
            e,
            say("Add normalisation and residual connections"),
            say("They keep activations and gradients at one size through the layers."),
            (remedies.change(e, "normalization", "layernorm"),),
            {"pytorch": "x = x + self.block(self.norm(x))", "keras": "x = x + block(keras.layers.LayerNormalization()(x))"},
        ),
    )


missing_normalization_or_residuals = Cause(
    id="missing-normalization-or-residuals",
    title=say("A deep stack without normalisation or residual connections"),
    mechanism=say(
        "Each layer multiplies the gradient by its own factor; without a path around the layers and without normalisation these factors compound with depth."
    ),
    probes=(plain_stack,),
    fixes=fixes,
)
