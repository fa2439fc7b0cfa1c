"""Validation data is processed or labelled differently from training data."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.levels import below_any_guess, skill, to_chance, validation_level
from postmortem.checklist.levels import learned_at_once as few_passes
from postmortem.checklist.needs import BASELINE, BATCH_STATISTICS, VALIDATION, curve
from postmortem.checklist.signs import only_validation_differs

HARDLY = 0.88  # times chance, for the best validation loss
STILL = 0.03  # range of an accuracy that never moves: the share of one class


@probe(say("validation accuracy is below guessing: labels are mapped differently"), curve("val/accuracy"), holds=4.0, fails=0.0)
def below_guessing(e: Evidence, seen: Sighting) -> Reading | None:
    value = skill(e, "val")
    if value is None:
        low, right = below_any_guess(e), e.curve("val/accuracy")
        return Reading(True, say("it ends at {right:.1%}", right=right.final)) if low and right is not None else None
    accuracy = e.curve("val/accuracy")
    one_class = accuracy is not None and accuracy.finite >= 4 and accuracy.highest - accuracy.lowest < STILL * max(1.0, accuracy.highest)
    detail = say("{value:.0%} of the way from guessing to perfect", value=value)
    return Reading(value < -0.03, detail, share=0.3 if one_class and value < -0.03 else 1.0)  # always the same class, and that a rare one


@probe(say("validation is worse than guessing while training is fine"), VALIDATION, holds=1.2, fails=-0.5)
def worse_than_guessing(e: Evidence, seen: Sighting) -> Reading | None:
    level = validation_level(e)
    return None if level is None else Reading(level > 1.2, say("validation loss ends at {level:.2f} × chance", level=level))


@probe(
    say("training data was learned within a few passes, sooner than anything is learned by heart, and hardly any of it holds for validation"),
    VALIDATION,
    holds=2.4,
)
def learned_at_once(e: Evidence, seen: Sighting) -> Reading | None:
    passes, val = few_passes(e), e.curve("val/loss")
    best = to_chance(e, val.best) if val is not None else None
    if seen.facet or passes is None or best is None:  # a validation at fault is known by its facet already
        return None
    told = say("training loss was halved in {passes:.2g} passes; validation was never below {best:.2f} × chance", passes=passes, best=best)
    return Reading(True, told) if best > HARDLY else None


@probe(say("validation jumps about from one evaluation to the next"), VALIDATION, holds=0.7, fails=-0.2)
def erratic(e: Evidence, seen: Sighting) -> Reading | None:
    return (
        None
        if e.gap is None or e.gap.evaluations < 5
        else Reading(e.gap.erratic > 0.4, say("it turned at {share:.0%} of the evaluations", share=e.gap.erratic))
    )


@probe(say("inputs of the two splits have different statistics"), BATCH_STATISTICS, holds=4.0, fails=-3.0)
def statistics_differ(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.batches
    if b is None or b.indices or b.mean is None or b.val_mean is None or not b.std or b.val_std is None:
        return None
    off, wider = abs(b.mean - b.val_mean) / b.std, b.val_std / b.std
    told = say("their means differ by {off:.2g} standard deviations, and validation's spread is {wider:.2g} × training's", off=off, wider=wider)
    return Reading(off > 0.5 or not 0.5 < wider < 2.0, told)


@probe(say("the classes of the two splits have different shares"), BATCH_STATISTICS, holds=2.0, fails=-0.3)
def labels_differ(e: Evidence, seen: Sighting) -> Reading | None:
    shift = e.batches.label_shift if e.batches is not None else None
    return None if shift is None else Reading(shift > 0.4, say("{shift:.0%} of the labels would have to change class", shift=shift))


@probe(say("a good run with the same training was better on its validation data"), BASELINE, holds=2.0)
def good_run_validates(e: Evidence, seen: Sighting) -> Reading | None:
    if not only_validation_differs(e):
        return None
    other = e.model.batch_norm  # its running statistics can be bad where the weights are good
    return Reading(True, say("settings and training loss are the same"), share=0.3 if other else 1.0)


train_validation_shift = Cause(
    id="train-validation-shift",
    title=say("Validation data is prepared or labelled differently from training data"),
    mechanism=say("Another normalisation, another label order, another resize: the model is asked about inputs or labels that it was never taught."),
    probes=(below_guessing, worse_than_guessing, learned_at_once, erratic, statistics_differ, labels_differ, good_run_validates),
    fixes=remedies.only(
        say("Use one preprocessing function and one label mapping for both splits"),
        say("Training works and validation fails in a way that memorising does not explain."),
        {
            "pytorch": "for name, loader in (('train', train_loader), ('val', val_loader)):\n    x, y = next(iter(loader))\n    print(name, x.mean(), x.std(), x.min(), x.max(), torch.bincount(y))\n"
            "print(train_set.class_to_idx == val_set.class_to_idx)"
        },
    ),
    by_hand=(say("Evaluate on the training set with the validation pipeline: a good model must score as in training."),),
)
