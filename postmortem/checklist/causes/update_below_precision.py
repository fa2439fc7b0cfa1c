"""Updates are smaller than the precision of the weights."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import TWO_CHECKPOINTS


@probe(say("weights are stored with 8 or 11 bits of mantissa and mostly stand still"), TWO_CHECKPOINTS, holds=2.5, fails=-3.0)
def rounded_away(e: Evidence, seen: Sighting) -> Reading | None:
    kind = e.weights.low_precision
    return Reading(
        kind is not None and (e.weights.change_median or 0.0) < 0.01,
        say("stored as {dtype}, changed by {change:.2g}", dtype=kind or "float32", change=e.weights.change_median or 0.0),
    )


update_below_precision = Cause(
    id="update-below-precision",
    title=say("Updates are smaller than the weights' precision and round away"),
    mechanism=say("bfloat16 has 8 significant bits: adding less than 1/256 of a weight to it changes nothing."),
    probes=(rounded_away,),
    fixes=remedies.only(
        say("Keep float32 master weights and use half precision for the computation only"),
        say("Steps of a usual size vanish when the sum is rounded to bfloat16."),
        {"pytorch": "model.float()\nwith torch.autocast('cuda', dtype=torch.bfloat16):\n    loss = criterion(model(x), y)"},
    ),
)
