"""The optimizer never steps."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import LAYER_STATISTICS, OPTIMIZER_STATE, STILL_TENSORS
from postmortem.checklist.optimizers import last_optimizer
from postmortem.checklist.parameters import all_identical
from postmortem.checklist.probes import never_moved, nothing_learned_at_all, same_evaluations
from postmortem.checklist.signs import warned


@probe(say("no weight changed between checkpoints"), STILL_TENSORS, holds=2.0, fails=-4.0)
def nothing_moved(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.weights.identical_share
    if share is None:
        why = say("after training, all {n} weight layers are as they were drawn", n=len(e.weights.as_drawn))
        return Reading(True, why) if all_identical(e) else None
    return Reading(all_identical(e), say("{share:.0%} of the parameter tensors are bit-identical in all checkpoints", share=share))


@probe(say("the saved optimizer has no state"), OPTIMIZER_STATE, holds=1.5, fails=-2.0)
def no_state(e: Evidence, seen: Sighting) -> Reading | None:
    last = last_optimizer(e)
    if last is None or not last.keeps_state:
        return None
    return Reading(
        not last.has_state,
        say("its state has {what}", what=say("no entry: step() was never called with a gradient") if not last.has_state else say("entries")),
    )


@probe(say("PyTorch warned that the scheduler stepped before the optimizer"), holds=2.0, fails=0.0)
def scheduler_first(e: Evidence, seen: Sighting) -> Reading | None:
    if not warned(e, "scheduler-before-optimizer"):
        return None
    return Reading(True, say("the log warns: lr_scheduler.step() was called before optimizer.step()"))


@probe(say("recorded updates show that the optimizer never stepped"), LAYER_STATISTICS, holds=5.0, fails=-4.0)
def never_stepped(e: Evidence, seen: Sighting) -> Reading | None:
    if e.layers is None or e.layers.optimizer_steps is None:
        return None
    return Reading(e.layers.optimizer_steps == 0, say("it stepped {n:g} times at most between two looks", n=e.layers.optimizer_steps))


optimizer_idle = Cause(
    id="optimizer-idle",
    title=say("The optimizer never steps"),
    mechanism=say(
        "Loss and gradients are computed and nobody applies them: optimizer.step() is missing, skipped by a condition, or called on nothing."
    ),
    probes=(
        nothing_moved,
        no_state,
        scheduler_first,
        never_stepped,
        same_evaluations(holds=2.2, fails=-1.0),
        nothing_learned_at_all(holds=1.4, fails=-1.5),
        never_moved(holds=1.6),
    ),
    fixes=remedies.only(
        say("Call optimizer.step() after loss.backward()"),
        say("The weights are the same in every checkpoint: no step was ever applied."),
        {
            "pytorch": "optimizer.zero_grad()\nloss.backward()\noptimizer.step()",
            "transformers": "# with a custom training loop: optimizer.step() after backward()",
        },
    ),
    by_hand=(say("Compare a weight before and after one optimizer.step(): next(model.parameters()).clone()."),),
)
