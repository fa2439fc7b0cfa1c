"""Validation data is in the training set."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import BATCH_STATISTICS
from postmortem.checklist.probes import seen_as


@probe(say("samples of the validation set were trained on"), BATCH_STATISTICS, holds=4.0, fails=-3.0)
def overlap(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.batches.overlap if e.batches is not None else None  # with the training samples that were recorded: none of them proves nothing
    return None if not share else Reading(share > 0.01, say("{share:.0%} of the validation samples", share=share))


too_good = seen_as("too-good", claim=say("no text is that easy to predict"), holds=3.5)


leakage = Cause(
    id="leakage",
    title=say("Validation samples are in the training set"),
    mechanism=say("What was trained on cannot test: validation looks as good as training whatever the model learned."),
    probes=(overlap, too_good),
    fixes=remedies.only(say("Split before augmenting, by group (patient, document, video)"), say("The two splits share samples.")),
)
