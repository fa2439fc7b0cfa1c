"""Training ended while the loss was still falling."""

import math

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.falls import hardly_begun
from postmortem.checklist.levels import NOTHING_EXPECTED, course, to_chance
from postmortem.checklist.needs import LEARNING_RATE
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.warmup import total_steps
from postmortem.model.sentence import Sentence

FEW = 6  # records
ENOUGH, LATE = 12, 0.15  # records; share of the fall
SHORT = 3  # epochs
GUESSING = 0.97  # times chance
LOW = -1.3  # decades of the learning rate below the usual, with which a fall takes long
LEFT = 0.02  # share of the drop that may be left
UNKNOWN = 5.0  # times as long, when nothing says where the loss was heading
MOST = 20.0  # times as long
FEWEST = 10  # epochs
FEW_STEPS = 150  # updates
SIZE_UNKNOWN = 0.9  # × the weight
LARGE_BATCH, FEW_UPDATES, USUAL_BATCH = 128, 8, 32  # samples; updates per epoch; samples
PATIENT = 10  # evaluations
STEPS = 600  # optimizer steps that a small model needs for a small task


@probe(say("the loss was still falling when training ended"), holds=1.6, fails=-2.0)
def still_falling(e: Evidence, seen: Sighting) -> Reading | None:
    reading = _fell_to_the_end(e, seen)
    settled = reading is not None and not reading.holds
    return None if settled and few_updates.ask(e, seen) is not None else reading  # of a few updates a schedule's end is the end


def _fell_to_the_end(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    if loss is None or loss.finite < 2 or e.family in NOTHING_EXPECTED:
        return None
    if hardly_begun(e):
        return Reading(True, say("after {steps:g} steps it was coming down steeply", steps=e.last_step))
    level, epochs = to_chance(e, loss.final), e.last_epoch or e.number("epochs")
    if level is not None and level > GUESSING and epochs is not None and epochs > SHORT and (rate_decades(e) or 0.0) > LOW:
        return Reading(False, say("it came down to the level of guessing ({level:.2f} × chance), and no further", level=level))
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
        if late > 1 or loss.start - loss.final < loss.noise:
            return None  # half-way it stood above its start: it comes back from something; or it hardly fell
        return Reading(late > LATE, say("{share:.0%} of its fall came in the second half of the run", share=max(0.0, late)))
    return Reading(
        loss.final < 0.97 * loss.start,
        say("it fell from {start:.3g} to {final:.3g} in {n} records", start=loss.start, final=loss.final, n=loss.points),
    )


@probe(say("there were very few epochs, or very few updates"), holds=1.8, fails=-1.2)
def few_epochs(e: Evidence, seen: Sighting) -> Reading | None:
    loss, updates = course(e), few_updates.ask(e, seen)
    epochs = e.last_epoch or e.number("epochs") or (loss.finite if loss is not None and loss.reduction == "epoch" else None)
    if updates is not None:
        return updates
    if hardly_begun(e):
        return Reading(True, say("{n:g} steps", n=e.last_step))
    return None if epochs is None or e.family in NOTHING_EXPECTED else Reading(epochs <= SHORT, say("{n:.2g} epochs", n=epochs))


@probe(say("batches are so large that the whole training is a few updates"), holds=1.8)
def few_updates(e: Evidence, seen: Sighting) -> Reading | None:
    size, steps = e.number("batch_size"), total_steps(e)
    if steps is None or not steps < FEW_STEPS or _huge_batches(e) is None or e.family in NOTHING_EXPECTED:
        return None
    if size is None:
        return Reading(True, say("{n:g} updates", n=steps), share=SIZE_UNKNOWN)
    return Reading(True, say("{n:g} updates, with batches of {size:g}", n=steps, size=size))


@probe(say("the learning rate is usual"), LEARNING_RATE, holds=0.4, fails=-2.0)
def usual_rate(e: Evidence, seen: Sighting) -> Reading | None:
    decades = rate_decades(e)
    return None if decades is None else Reading(abs(decades) < 1.3, say("it is {times:.2g} × the usual one", times=10**decades))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    epochs, to, left = _epochs(e), longer(e), to_come(e)
    steps = e.number("max_steps")
    if steps and e.number("epochs") is None and not e.last_epoch:
        to_steps = round(max(STEPS, steps * to / epochs))
        more = remedies.fix(
            e,
            say("Train longer: {to} steps", to=to_steps),
            _why(left),
            (remedies.change(e, "max_steps", to_steps, steps),),
            {
                "pytorch": f"max_steps = {to_steps}",
                "transformers": f"args = TrainingArguments(..., max_steps={to_steps})",
                "lightning": f"Trainer(max_steps={to_steps})",
            },
        )
        return (more,)
    return (
        *_more_patience(e),
        *_smaller_batches(e),
        remedies.fix(
            e,
            say("Train longer: {to} epochs", to=to),
            _why(left),
            (remedies.change(e, "epochs", to, epochs),),
            {
                "pytorch": f"epochs = {to}",
                "transformers": f"args = TrainingArguments(..., num_train_epochs={to})",
                "keras": f"model.fit(..., epochs={to})",
                "lightning": f"Trainer(max_epochs={to})",
            },
        ),
    )


def _more_patience(e: Evidence) -> tuple[Fix, ...]:
    """More evaluations without progress, where early stopping gave up after a few."""
    patience = e.number("patience")
    if e.outcome != "early-stopped" or patience is None or patience >= PATIENT:
        return ()
    why = say("Early stopping gave up after {patience:g} evaluations without progress, and the loss was still falling.", patience=patience)
    code = {
        "pytorch": f"patience = {PATIENT}",
        "lightning": f"EarlyStopping('val_loss', patience={PATIENT})",
        "transformers": f"EarlyStoppingCallback({PATIENT})",
        "keras": f"keras.callbacks.EarlyStopping(patience={PATIENT}, restore_best_weights=True)",
    }
    return (remedies.fix(e, say("Wait {n} evaluations before stopping", n=PATIENT), why, (remedies.change(e, "patience", PATIENT, patience),), code),)


def _huge_batches(e: Evidence) -> float | None:
    """Updates per epoch, when batches are so large, or of a size that nothing tells, that they are only a few; None otherwise."""
    size, updates = e.number("batch_size"), e.steps_per_epoch if e.axis == "step" else None
    return updates if (size is None or size >= LARGE_BATCH) and updates is not None and 1 < updates < FEW_UPDATES else None


def _smaller_batches(e: Evidence) -> tuple[Fix, ...]:
    """Batches of a usual size, where they are so large that an epoch is only a few updates."""
    size, updates = e.number("batch_size"), _huge_batches(e)
    if updates is None or (size is None and (total_steps(e) or FEW_STEPS) >= FEW_STEPS):
        return ()
    why = (
        say("An epoch is {n:g} updates, and the whole training has {total:g}.", n=updates, total=total_steps(e))
        if size is None
        else say(
            "An epoch is {n:g} updates; with batches of {to} it has {times:.3g} times as many.", n=updates, to=USUAL_BATCH, times=size / USUAL_BATCH
        )
    )
    code = {
        "pytorch": f"loader = DataLoader(train, batch_size={USUAL_BATCH}, shuffle=True)",
        "transformers": f"args = TrainingArguments(..., per_device_train_batch_size={USUAL_BATCH})",
        "keras": f"model.fit(..., batch_size={USUAL_BATCH})",
    }
    return (remedies.fix(e, say("Use batches of {to}", to=USUAL_BATCH), why, (remedies.change(e, "batch_size", USUAL_BATCH, size),), code),)


def _why(left: float | None) -> Sentence:
    if left is None:
        return say("The loss was still falling at the end.")
    return say("By the fit of the loss {share:.0%} of its drop was still to come when training ended.", share=left)


def to_come(e: Evidence) -> float | None:
    """Share of the loss's drop that was still to come, by its fit; None without a fit, and where next to nothing or everything was."""
    loss = course(e)
    return loss.asymptote.remaining if loss is not None and loss.asymptote is not None and LEFT < loss.asymptote.remaining < 1 else None


def _epochs(e: Evidence) -> float:
    """Epochs of the run: as configured, as trained, else as many as there are means of epochs; 1 where nothing tells."""
    means = [c.finite for name in ("train/loss.epoch", "train/loss", "val/loss") if (c := e.curve(name)) is not None and c.reduction == "epoch"]
    return e.number("epochs") or e.last_epoch or max(means, default=1)


def longer(e: Evidence) -> int:
    """Epochs after which `LEFT` of the drop remains by the fit of the loss, and at least `STEPS` optimizer steps; twice to twenty times as many."""
    epochs, left = _epochs(e), to_come(e)
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
