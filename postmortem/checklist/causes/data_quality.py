"""Noise in the data sets the floor of the loss."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.levels import loss_curve
from postmortem.checklist.needs import VALIDATION


@probe(say("training and validation settled together"), VALIDATION, holds=0.4, fails=-0.8)
def settled_together(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if e.gap is None or loss is None:
        return None
    return Reading(abs(e.gap.gap) < 0.12 and loss.plateau_share > 0.2, say("ln(validation / train) is {gap:.2f}", gap=e.gap.gap))


data_quality = Cause(
    id="data-quality",
    title=say("Noise in inputs or labels limits what can be learned"),
    mechanism=say("A share of wrong labels or unreadable inputs puts a floor under the loss that no model gets below."),
    probes=(settled_together,),
    fixes=remedies.only(
        say("Look at the samples with the highest loss"),
        say("Wrong labels and broken inputs gather there."),
        {"pytorch": "losses = F.cross_entropy(model(x), y, reduction='none')\nprint(losses.topk(20))"},
    ),
)
