"""Training ended while the loss was still falling."""

import math

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import LEARNING_RATE
from postmortem.checklist.signs import NOTHING_EXPECTED, course, rate_decades

FEW = 6  # records
ENOUGH, LATE = 12, 0.15  # records; share of the fall
SHORT = 3  # epochs
LEFT = 0.02  # share of the drop that may be left
UNKNOWN = 5.0  # times as long, when nothing says where the loss was heading
MOST = 20.0  # times as long
FEWEST = 10  # epochs
STEPS = 600  # optimizer steps that a small model needs for a small task


@probe(say("the loss was still falling when training ended"), holds=1.6, fails=-2.0)
def still_falling(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    if loss is None or loss.finite < 2 or e.family in NOTHING_EXPECTED:
        return None
    if loss.asymptote is not None:
        return Reading(
            loss.asymptote.remaining > 0.2, say("{share:.0%} of the drop was still to come", share=min(1.0, max(0.0, loss.asymptote.remaining)))
        )
    if seen.facet == "thrown":
        return Reading(False, say("it stands still from step {step:g} on", step=loss.plateau_step or loss.first_step))
    if loss.finite < FEW and 0.97 * loss.start <= loss.final < loss.start:
        return None  # it fell, and so few records show no more
    half = e.at(loss.name, (loss.first_step + loss.last_step) / 2)
    if loss.finite >= ENOUGH and half is not None and loss.final < 0.97 * loss.start:
        late = (half - loss.final) / (loss.start - loss.final)
        return Reading(late > LATE, say("{share:.0%} of its fall came in the second half of the run", share=max(0.0, late)))
    return Reading(
        loss.final < 0.97 * loss.start,
        say("it fell from {start:.3g} to {final:.3g} in {n} records", start=loss.start, final=loss.final, n=loss.points),
    )


@probe(say("there were very few epochs"), holds=1.8, fails=-1.2)
def few_epochs(e: Evidence, seen: Sighting) -> Reading | None:
    epochs = e.last_epoch or e.number("epochs")
    return None if epochs is None or e.family in NOTHING_EXPECTED else Reading(epochs <= SHORT, say("{n:.2g} epochs", n=epochs))


@probe(say("the learning rate is usual"), LEARNING_RATE, holds=0.4, fails=-2.0)
def usual_rate(e: Evidence, seen: Sighting) -> Reading | None:
    decades = rate_decades(e)
    return None if decades is None else Reading(abs(decades) < 1.3, say("it is {times:.2g} × the usual one", times=10**decades))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    epochs, to, left = e.number("epochs") or e.last_epoch or 1, longer(e), to_come(e)
    return (
        remedies.fix(
            e,
            say("Train longer: {to} epochs", to=to),
            say("The loss was still falling at the end.")
            if left is None
            else say("By the fit of the loss {share:.0%} of its drop was still to come when training ended.", share=left),
            (remedies.change(e, "epochs", to, epochs),),
            {
                "pytorch": f"epochs = {to}",
                "transformers": f"args = TrainingArguments(..., num_train_epochs={to})",
                "keras": f"model.fit(..., epochs={to})",
                "lightning": f"Trainer(max_epochs={to})",
            },
        ),
    )


def to_come(e: Evidence) -> float | None:
    """Share of the loss's drop that was still to come, by its fit; None without a fit, and where next to nothing or everything was."""
    loss = course(e)
    return loss.asymptote.remaining if loss is not None and loss.asymptote is not None and LEFT < loss.asymptote.remaining < 1 else None


def longer(e: Evidence) -> int:
    """Epochs after which `LEFT` of the drop remains by the fit of the loss, and at least `STEPS` optimizer steps; twice to twenty times as many."""
    epochs, left = e.number("epochs") or e.last_epoch or 1, to_come(e)
    times = UNKNOWN if left is None else math.log(LEFT) / math.log(left)
    to = epochs * min(MOST, max(2.0, times))
    steps = e.steps_per_epoch or (e.last_step or 0) / max(1.0, epochs)
    return round(min(max(to, FEWEST, STEPS / steps if steps > 0 else 0), MOST * max(epochs, 2)))


stopped_too_early = Cause(
    id="stopped-too-early",
    title=say("Training stopped while the loss was still falling"),
    mechanism=say("Nothing is wrong but the length: the run ended on the slope."),
    probes=(still_falling, few_epochs, usual_rate),
    fixes=fixes,
)
