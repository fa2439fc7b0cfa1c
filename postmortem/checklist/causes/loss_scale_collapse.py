"""The loss scaler halves and halves."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.optimizers import scale_collapsed
from postmortem.model.run import EventKind


@probe(say("the loss scale fell to its floor"), holds=2.5, fails=-1.0)
def fell(e: Evidence, seen: Sighting) -> Reading | None:
    scale = e.curve("loss_scale")
    if e.events_of(EventKind.LOSS_SCALE_FLOOR):
        return Reading(True, say("the log says that the scale is at its minimum"))
    if scale is None or not scale.finite:
        n = len(e.events_of(EventKind.OVERFLOW))
        return Reading(n >= 8, say("{n} overflow messages", n=n)) if n else None
    return Reading(scale_collapsed(scale), say("from {high:g} to {low:g}", high=scale.highest, low=scale.final))


loss_scale_collapse = Cause(
    id="loss-scale-collapse",
    title=say("The loss scale collapsed"),
    mechanism=say(
        "Each overflow halves the scale and skips the step. When every step overflows, gradients are NaN whatever the scale, and nothing is learned any more."
    ),
    probes=(fell,),
    fixes=remedies.only(
        say("Find the first non-finite activation; use bfloat16 or a lower learning rate"),
        say("The scale only reports that gradients are not finite."),
        {
            "pytorch": "torch.autocast('cuda', dtype=torch.bfloat16)  # no scaler needed",
            "transformers": "args = TrainingArguments(..., bf16=True, fp16=False)",
        },
        resets=("precision",),
    ),
)
