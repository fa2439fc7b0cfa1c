"""After a resume the data starts from the beginning."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import BATCH_STATISTICS


@probe(say("samples seen before the resume come again within the epoch"), BATCH_STATISTICS, holds=3.0, fails=-2.0)
def seen_again(e: Evidence, seen: Sighting) -> Reading | None:
    curve = e.curve("data/duplicate_share")
    return None if curve is None else Reading(curve.final > 0.2, say("{share:.0%} of them", share=curve.final))


data_order_restarted = Cause(
    id="data-order-restarted",
    title=say("The data started from the beginning after the resume"),
    mechanism=say("Without the sampler's state the first part of the epoch is seen twice and its rest never."),
    probes=(seen_again,),
    fixes=remedies.only(
        say("Save the sampler's state, or skip the batches that were used"),
        say("Part of the data was seen twice."),
        {"pytorch": "loader = accelerate.skip_first_batches(loader, step % len(loader))"},
    ),
)
