"""The optimizer was given other parameters than the ones that are trained."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import LAYER_STATISTICS, OPTIMIZER_STATE, STILL_TENSORS
from postmortem.checklist.optimizers import last_optimizer, left_out
from postmortem.checklist.parameters import all_identical
from postmortem.checklist.probes import nothing_learned_at_all, same_evaluations
from postmortem.checklist.signs import warned


@probe(say("trained tensors stand in none of the optimizer's groups"), OPTIMIZER_STATE, holds=2.0, fails=-1.5)
def absent_from_groups(e: Evidence, seen: Sighting) -> Reading | None:
    missing = left_out(e)
    if missing is None or all_identical(e):
        return None
    return Reading(
        len(missing) > 0,
        say("{n} tensors are in no group, among them {name}", n=len(missing), name=missing[0] if missing else say("none")),
        share=0.4 if missing and e.framework == "transformers" else 1.0,  # there the Trainer leaves out what asks for no gradient
    )


@probe(say("all weights stand still and the optimizer holds no state, without any warning"), OPTIMIZER_STATE, STILL_TENSORS, holds=1.7, fails=-1.0)
def stale_instance(e: Evidence, seen: Sighting) -> Reading | None:
    last = last_optimizer(e)
    if last is None or not last.keeps_state or not all_identical(e):
        return None
    silent = not last.has_state and not warned(e, "scheduler-before-optimizer")
    return Reading(
        silent,
        say(
            "the optimizer's state is {what}",
            what=say("empty, as when it was built on another copy of the model") if not last.has_state else say("there"),
        ),
    )


@probe(say("recorded parameters get gradients and are in no group of the optimizer"), LAYER_STATISTICS, holds=4.5, fails=-4.0)
def not_held(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or not (e.layers.moved or e.layers.still):
        return None
    names = e.layers.not_held
    return Reading(bool(names), say("{n} tensors, among them {name}", n=len(names), name=names[0] if names else say("none")))


@probe(say("of the networks that are trained in turn, one stands still as a whole"), STILL_TENSORS, holds=1.6)
def one_of_several(e: Evidence, seen: Sighting) -> Reading | None:
    if e.family != "gan" or not e.checkpoints:
        return None
    networks: dict[str, list[bool]] = {}
    for t in e.checkpoints[-1].tensors:
        if t.role != "buffer" and not t.role.startswith("running"):
            networks.setdefault(t.name.partition(".")[0], []).append(t.name in e.weights.identical)
    still = next((n for n, same in networks.items() if all(same)), None)
    return Reading(True, say("nothing of {name} changed", name=still)) if still is not None and len(networks) > 1 else None


missing_from_optimizer = Cause(
    id="missing-from-optimizer",
    title=say("The optimizer does not hold the parameters that should learn"),
    mechanism=say(
        "The optimizer was built before the model was rebuilt, moved or extended, or from a part of it: gradients arrive, and step() changes other tensors or none."
    ),
    probes=(
        absent_from_groups,
        stale_instance,
        not_held,
        one_of_several,
        same_evaluations(holds=1.7, fails=-0.4),
        nothing_learned_at_all(holds=1.4, fails=0.0),
    ),
    fixes=remedies.only(
        say("Build the optimizer from the final model's parameters, after every change to the model"),
        say("What the optimizer holds is not what the checkpoints hold."),
        {"pytorch": "optimizer = torch.optim.Adam(model.parameters(), lr=lr)  # after the last change to model"},
    ),
    by_hand=(
        say("Compare {{id(p) for g in optimizer.param_groups for p in g['params']}} with {{id(p) for p in model.parameters() if p.requires_grad}}."),
    ),
)
