"""A detach, a no_grad or a conversion to numbers cuts the graph below a layer."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import LAYER_STATISTICS, OPTIMIZER_STATE
from postmortem.checklist.optimizers import last_optimizer

FROZEN_TOO = 0.3  # × the weight of a clean cut


@probe(say("the optimizer holds them and never got a gradient for them"), OPTIMIZER_STATE, holds=2.2, fails=-2.0)
def held_without_state(e: Evidence, seen: Sighting) -> Reading | None:
    last = last_optimizer(e)
    if last is None or not last.has_state:
        return None
    return Reading(
        len(last.stateless) > 0,
        say(
            "{n} parameters of its groups have no state, among them {name}",
            n=len(last.stateless),
            name=last.stateless[0] if last.stateless else say("none"),
        ),
    )


@probe(say("everything before one layer stands still, everything after it learns"), holds=0.6, fails=-0.5)
def cut_by_depth(e: Evidence, seen: Sighting) -> Reading | None:
    layers, still = e.model.weight_layers, set(e.weights.identical)
    if len(layers) < 2 or not still:
        return None
    frozen = [name in still for name in layers]
    clean = frozen == sorted(frozen, reverse=True) and frozen[0] and not frozen[-1]
    flags = [t.requires_grad for c in e.checkpoints for t in c.tensors if t.requires_grad is not None]
    asked_for = bool(flags) and all(flags)  # else whoever freezes a backbone leaves the same
    return Reading(
        clean,
        say("{n} of {of} weight layers stand still, counted from the input", n=sum(frozen), of=len(layers)),
        share=1.0 if asked_for or not clean else FROZEN_TOO,
    )


@probe(say("recorded parameters never had a gradient although they ask for one"), LAYER_STATISTICS, holds=4.5, fails=-4.0)
def never_a_gradient(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or not e.layers.gradients:
        return None
    names = e.layers.without_gradient
    return Reading(bool(names), say(".grad of {n} tensors was None, among them {name}", n=len(names), name=names[0] if names else say("none")))


detached_graph = Cause(
    id="detached-graph",
    title=say("The graph is cut: a detach() or no_grad() in the forward pass"),
    mechanism=say(
        "The loss does not reach the layers below the cut, so they get no gradient, while those above it learn as well as they can on fixed features."
    ),
    probes=(held_without_state, cut_by_depth, never_a_gradient),
    fixes=remedies.only(
        say("Remove the detach(), .data, .item(), numpy() or no_grad() between these layers and the loss"),
        say("They are in the optimizer and no gradient ever reached them."),
        {"pytorch": "loss.backward()\nprint([n for n, p in model.named_parameters() if p.grad is None])  # must be empty"},
    ),
    by_hand=(say("After one backward(), print the names of parameters whose .grad is None."),),
)
