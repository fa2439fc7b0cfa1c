"""The model is too small for the task."""

from postmortem.check import Cause, Change, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.causes.stopped_too_early import few_updates
from postmortem.checklist.falls import hardly_begun
from postmortem.checklist.levels import loss_curve, to_chance
from postmortem.checklist.needs import VALIDATION
from postmortem.checklist.parameters import hidden_width, is_narrow
from postmortem.checklist.rates import pretrained

WIDE, WIDE_SHARE = 16, 2.0  # units from which width is seldom what is missing; × the weight of not being narrow
NO_LACK = ("latents", "score", "one-class")  # what a larger model would learn no better
LEARNED = 0.95  # times chance: a loss above it never left guessing, and where it stays says nothing of room
USUAL = 96  # hidden units of a small model; has the divisors that attention heads need
PLAIN = 4  # layers; more of them need a path past each other
FAR, NEAR = 8, 4  # times wider when the loss settled above, below half of chance


@probe(say("a hidden layer is very narrow"), holds=3.0, fails=-1.5)
def narrow(e: Evidence, seen: Sighting) -> Reading | None:
    width = hidden_width(e)
    if width is None:
        return None
    return Reading(is_narrow(e), say("the narrowest hidden layer has {n:g} units", n=width), share=WIDE_SHARE if width >= WIDE else 1.0)


@probe(say("the loss has settled"), holds=1.0, fails=-1.2)
def settled(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if seen.facet in NO_LACK or loss is None or loss.asymptote is None or _never_left_guessing(e) or few_updates.ask(e, seen) is not None:
        return None
    return Reading(loss.asymptote.remaining < 0.15, say("{share:.0%} of the drop was still to come", share=max(0.0, loss.asymptote.remaining)))


@probe(say("training and validation agree"), VALIDATION, holds=0.5, fails=-1.0)
def agree(e: Evidence, seen: Sighting) -> Reading | None:
    if e.gap is None or seen.facet in NO_LACK or _never_left_guessing(e):
        return None
    return Reading(abs(e.gap.gap) < 0.12, say("ln(validation / train) is {gap:.2f}", gap=e.gap.gap))


def _never_left_guessing(e: Evidence) -> bool:
    loss = loss_curve(e)
    level = to_chance(e, loss.final) if loss is not None else None
    return level is not None and level > LEARNED


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    if pretrained(e):
        return ()  # its size is that of what was trained before
    width, depth, loss = e.number("model_width"), e.number("model_depth"), loss_curve(e)
    floor = to_chance(e, loss.asymptote.limit if loss is not None and loss.asymptote is not None else loss.final) if loss is not None else None
    to = int(max(USUAL, (width or 8) * (FAR if floor is None or floor > 0.5 else NEAR)))
    changes: tuple[Change, ...] = (remedies.change(e, "model_width", to, width),)
    if depth is not None and depth < 2 and e.model.architecture not in ("recurrent", "transformer"):
        changes = (*changes, remedies.change(e, "model_depth", 2, depth))
    why = (
        say("What few units can hold is little, on training data and on new data alike.")
        if hardly_begun(e)
        else say("Training and validation loss settled together, far from what is attainable.")
        if floor is None
        else say(
            "The training loss settles at {floor:.2f} × chance; with {times:.3g} × the units it can go on.",
            floor=floor,
            times=to / (width or USUAL / NEAR),
        )
    )
    out = [remedies.fix(e, say("Use a wider model ({to} hidden units)", to=to), why, changes)]
    if depth is not None and depth < PLAIN:
        deeper = (changes[0], remedies.change(e, "model_depth", PLAIN, depth))
        out.append(remedies.fix(e, say("If that is not enough: {n} layers as well", n=PLAIN), why, deeper))
    return tuple(out)


too_little_capacity = Cause(
    id="too-little-capacity",
    title=say("The model is too small for the task"),
    mechanism=say("It learns what it can hold and then stops, on training data and on new data alike."),
    probes=(narrow, settled, agree),
    fixes=fixes,
    by_hand=(say("Double the width: if the training loss falls clearly lower, capacity was the limit."),),
)
