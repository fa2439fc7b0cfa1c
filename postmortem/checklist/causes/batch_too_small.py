"""Batches too small to tell a direction."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies

SMALL, A_FEW = 8, 4  # samples a step


@probe(say("the batch is very small"), holds=1.5, fails=-2.0)
def small(e: Evidence, seen: Sighting) -> Reading | None:
    size = e.number("batch_size")
    if size is None:
        return None
    together = size * (e.number("accumulation") or 1)
    return Reading(together < SMALL, say("batch size {size:g}", size=size), share=2.0 if together <= A_FEW else 1.0)


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    size = e.number("batch_size")
    return (
        remedies.fix(
            e,
            say("Use batches of 32, or accumulate gradients"),
            say("A few samples give a direction that is mostly noise."),
            (remedies.change(e, "batch_size", 32, size),),
        ),
    )


batch_too_small = Cause(
    id="batch-too-small",
    title=say("The batches are too small"),
    mechanism=say("The gradient of a handful of samples is mostly noise, and the loss of the next handful shows it."),
    probes=(small,),
    fixes=fixes,
)
