"""All inputs give the same output."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import WEIGHTS


@probe(say("rows of the weight matrices became copies of each other"), WEIGHTS, holds=1.5, fails=-1.0)
def copies(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.weights.symmetric_share
    return None if share is None else Reading(share > 0.5, say("in {share:.0%} of the matrices", share=share))


representation_collapse = Cause(
    id="representation-collapse",
    title=say("The representation collapsed to a point"),
    mechanism=say(
        "A loss that is smallest when everything is the same (a contrastive loss without negatives, a GAN that lost) pulls all outputs together."
    ),
    probes=(copies,),
    fixes=remedies.only(say("Add what keeps outputs apart: negatives, a variance term, a stop-gradient"), say("The weights lost their rank.")),
)
