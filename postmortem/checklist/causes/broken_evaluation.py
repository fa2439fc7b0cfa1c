"""The evaluation itself is wrong."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.probes import seen_as


@probe(say("every evaluation gives the same number although training goes on"), holds=2.5, fails=-0.5)
def constant(e: Evidence, seen: Sighting) -> Reading | None:
    val, train = e.curve("val/loss"), e.curve("train/loss")
    if val is None or train is None or val.finite < 3:
        return None
    return Reading(val.constant and not train.constant, say("{n} evaluations, {distinct} distinct values", n=val.finite, distinct=val.distinct))


LEARNED = 0.6  # of its first record
THROWN = 0.65  # decades above the default initialisation


@probe(say("the score is nearly 0 at every evaluation although the loss falls"), holds=3.5)
def score_at_zero(e: Evidence, seen: Sighting) -> Reading | None:
    score, loss = e.curve("val/score") or e.curve("val/f1"), e.curve("train/loss")
    if seen.facet != "score" or score is None or loss is None or loss.net_change > -0.2 or loss.final > LEARNED * loss.first:
        return None
    thrown = (e.weights.first_median_scale or 0.0) > THROWN  # the loss fell from absurd to less absurd
    fell = say("its best is {best:.3g}, and the loss fell by {fell:.0%}", best=score.best, fell=-loss.net_change)
    return Reading(True, fell, share=0.4 if thrown else 1.0)


same = seen_as("same", claim=say("held-out samples never give the loss of the training set to the digit"), holds=4.0)

finds_nothing = seen_as("finds-nothing", claim=say("boxes or classes that are numbered or scaled in another way never meet the true ones"), holds=1.6)


broken_evaluation = Cause(
    id="broken-evaluation",
    title=say("The evaluation itself is broken"),
    mechanism=say(
        "Another model instance is evaluated, dropout is left on, the metric gets logits where it wants classes: the numbers do not belong to the model."
    ),
    probes=(constant, score_at_zero, same, finds_nothing),
    fixes=remedies.only(
        say("Evaluate the training set with the same function: it must agree with the training loss"),
        say("The evaluation contradicts training."),
        {"pytorch": "model.eval()\nwith torch.no_grad():\n    print(evaluate(model, train_loader), evaluate(model, val_loader))"},
    ),
)
