"""The model is too small for the task."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import VALIDATION
from postmortem.checklist.signs import loss_curve

NARROW = 8


@probe(say("a hidden layer is very narrow"), holds=3.0, fails=-1.5)
def narrow(e: Evidence, seen: Sighting) -> Reading | None:
    width = e.number("model_width")
    if width is None:
        hidden = [t.shape[0] for c in e.checkpoints[-1:] for t in c.tensors if t.role == "weight" and t.name != e.model.head and len(t.shape) >= 2]
        width = float(min(hidden)) if hidden else None
    return None if width is None else Reading(width < NARROW, say("the narrowest hidden layer has {n:g} units", n=width))


@probe(say("the loss has settled"), holds=1.0, fails=-1.2)
def settled(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or loss.asymptote is None:
        return None
    return Reading(loss.asymptote.remaining < 0.15, say("{share:.0%} of the drop was still to come", share=max(0.0, loss.asymptote.remaining)))


@probe(say("training and validation agree"), VALIDATION, holds=0.5, fails=-1.0)
def agree(e: Evidence, seen: Sighting) -> Reading | None:
    return None if e.gap is None else Reading(abs(e.gap.gap) < 0.12, say("ln(validation / train) is {gap:.2f}", gap=e.gap.gap))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    width = e.number("model_width")
    to = int(max(64, (width or 8) * 8))
    return (
        remedies.fix(
            e,
            say("Use a wider model ({to} hidden units)", to=to),
            say("Training and validation loss settled together, far from what is attainable."),
            (remedies.change(e, "model_width", to, width),),
        ),
    )


too_little_capacity = Cause(
    id="too-little-capacity",
    title=say("The model is too small for the task"),
    mechanism=say("It learns what it can hold and then stops, on training data and on new data alike."),
    probes=(narrow, settled, agree),
    fixes=fixes,
    by_hand=(say("Double the width: if the training loss falls clearly lower, capacity was the limit."),),
)
