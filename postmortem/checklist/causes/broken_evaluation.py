"""The evaluation itself is wrong."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies


@probe(say("every evaluation gives the same number although training goes on"), holds=2.5, fails=-0.5)
def constant(e: Evidence, seen: Sighting) -> Reading | None:
    val, train = e.curve("val/loss"), e.curve("train/loss")
    if val is None or train is None or val.finite < 3:
        return None
    return Reading(val.constant and not train.constant, say("{n} evaluations, {distinct} distinct values", n=val.finite, distinct=val.distinct))


broken_evaluation = Cause(
    id="broken-evaluation",
    title=say("The evaluation itself is broken"),
    mechanism=say(
        "Another model instance is evaluated, dropout is left on, the metric gets logits where it wants classes: the numbers do not belong to the model."
    ),
    probes=(constant,),
    fixes=remedies.only(
        say("Evaluate the training set with the same function: it must agree with the training loss"),
        say("The evaluation contradicts training."),
        {"pytorch": "model.eval()\nwith torch.no_grad():\n    print(evaluate(model, train_loader), evaluate(model, val_loader))"},
    ),
)
