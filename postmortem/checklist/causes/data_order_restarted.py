"""After a resume the data starts from the beginning."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import BATCH_STATISTICS


@probe(say("samples seen before the resume come again within the epoch"), BATCH_STATISTICS, holds=3.0)
def seen_again(e: Evidence, seen: Sighting) -> Reading | None:
    """Failing says nothing: a process that goes on does not know the samples of the one before."""
    share = e.batches.repeated if e.batches is not None else None
    return None if share is None else Reading(share > 0.2, say("{share:.0%} of them", share=share))


@probe(say("the first batches after the resume are the first batches of the run"), BATCH_STATISTICS, holds=5.0, fails=-2.0)
def same_batches(e: Evidence, seen: Sighting) -> Reading | None:
    again = e.batches.again_after_resume if e.batches is not None else None
    if again is None:
        return None
    return Reading(again, say("their samples are the same") if again else say("they hold other samples"))


data_order_restarted = Cause(
    id="data-order-restarted",
    title=say("The data started from the beginning after the resume"),
    mechanism=say("Without the sampler's state the first part of the epoch is seen twice and its rest never."),
    probes=(seen_again, same_batches),
    fixes=remedies.only(
        say("Save the sampler's state, or skip the batches that were used"),
        say("Part of the data was seen twice."),
        {"pytorch": "loader = accelerate.skip_first_batches(loader, step % len(loader))"},
    ),
)
