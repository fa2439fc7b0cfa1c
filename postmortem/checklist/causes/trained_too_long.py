"""Training went on long after validation had turned."""

from dataclasses import replace

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import VALIDATION
from postmortem.checklist.probes import not_of_the_settings
from postmortem.model.sentence import Sentence

LONG = 0.4  # share of the evaluations after the best one


@probe(say("most of the run lies after the best validation"), VALIDATION, holds=0.9, fails=-1.5)
def long_after(e: Evidence, seen: Sighting) -> Reading | None:
    if e.gap is None:
        return None
    share = e.gap.evaluations_after_best / e.gap.evaluations
    return Reading(share > LONG, say("{share:.0%} of the evaluations came after the best one (step {step:g})", share=share, step=e.gap.best_step))


@probe(say("validation was good before it turned"), VALIDATION, holds=0.8, fails=-1.0)
def good_before(e: Evidence, seen: Sighting) -> Reading | None:
    val = e.curve("val/loss")
    if val is None or e.gap is None:
        return None
    return Reading(val.relative_gain > 0.4, say("it had fallen by {gain:.0%} at its best", gain=val.relative_gain))


def _why(best: float, first: float, last: float) -> Sentence:
    if first >= last:
        return say("Everything after step {step:g} made validation worse.", step=best)
    return say(
        "From step {first:g} to step {last:g} no evaluation can be told from the best one by their noise; after that it only got worse.",
        first=first,
        last=last,
    )


def stop_at_best(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    """Stop where validation was best; nothing without validation."""
    if e.gap is None:
        return ()
    epochs, (first, last) = e.epoch_at(e.gap.best_step), e.gap.best_between
    to = max(1, round(epochs)) if epochs else None
    between = (max(1, round(e.epoch_at(first) or 0)), max(1, round(e.epoch_at(last) or 0)))
    title = (
        say("Stop at epoch {epoch} ({first} to {last} are as good), where validation was best", epoch=to, first=between[0], last=between[1])
        if to and between[0] < between[1]
        else say("Stop at epoch {epoch}, where validation was best", epoch=to)
        if to
        else say("Stop at step {step:g}, where validation was best", step=e.gap.best_step)
    )
    patience = max(2, e.gap.evaluations // 10)
    return (
        remedies.fix(
            e,
            title,
            _why(e.gap.best_step, first, last),
            (replace(remedies.change(e, "epochs", to), between=between if between[0] < between[1] else None),)
            if to
            else (remedies.change(e, "patience", patience),),
            {
                "pytorch": f"if val_loss < best: best, waited = val_loss, 0; torch.save(model.state_dict(), 'best.pt')\nelse: waited += 1\nif waited > {patience}: break",
                "lightning": f"Trainer(callbacks=[EarlyStopping('val_loss', patience={patience}), ModelCheckpoint(monitor='val_loss')])",
                "transformers": f"Trainer(..., callbacks=[EarlyStoppingCallback({patience})])  # with load_best_model_at_end=True",
                "keras": f"model.fit(..., callbacks=[keras.callbacks.EarlyStopping(patience={patience}, restore_best_weights=True)])",
            },
        ),
    )


trained_too_long = Cause(
    id="trained-too-long",
    title=say("Training went on after validation had turned"),
    mechanism=say("Structure is learned first and noise last: past the turn each epoch makes the model better on its training set only."),
    probes=(long_after, good_before, not_of_the_settings(fails=-3.0)),
    fixes=stop_at_best,
)
