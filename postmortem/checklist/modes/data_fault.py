"""The data itself is broken."""

from dataclasses import replace

from postmortem.check import Check, Cleared, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.constant_inputs import constant_inputs
from postmortem.checklist.causes.duplicate_samples import duplicate_samples
from postmortem.checklist.causes.non_finite_inputs import non_finite_inputs
from postmortem.checklist.causes.out_of_range_labels import out_of_range_labels
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.inputs import constant_inputs as are_constant
from postmortem.checklist.inputs import unscaled_inputs
from postmortem.checklist.levels import skill, to_chance, whole
from postmortem.checklist.limits import asked, is_above, share_is_above
from postmortem.checklist.needs import BATCH_STATISTICS
from postmortem.checklist.signs import file_of

COPIES = 0.3  # share of the samples of the median batch that equal another one of it
MOSTLY_COPIES = 0.6
ABSURD = 3.0  # times chance, before any update: inputs that a network was not made for
POOR = 0.5  # times chance, at the end
SEVERAL, AT_ONCE = 3, 0.001  # records; of an epoch
ONE_VALUE = 0.5  # share of the samples of the median batch that hold one value everywhere
BATCHES_OR_ANSWERS = replace(
    BATCH_STATISTICS, met=lambda e: e.batches is not None or (e.curve("train/loss") is not None and e.curve("train/accuracy") is not None)
)


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    b, at_once = e.batches, _known_at_once(e)
    if at_once is not None:
        return at_once
    if b is None:
        return Unknown(say("Not measured: no batch was recorded."), BATCH_STATISTICS.log, BATCH_STATISTICS.how)
    if b.non_finite > 0:
        return Sighting(
            Severity.FATAL, say("Recorded batches hold up to {n:g} non-finite values.", n=b.non_finite), b.non_finite_step, b.non_finite_step,
            ("data/non_finite",), "", "non-finite",
        )  # fmt: skip
    if b.outside > 0:
        return Sighting(
            Severity.FATAL, say("Recorded batches hold up to {n:g} labels outside the head's classes.", n=b.outside), b.outside_step, b.outside_step,
            ("data/labels_out_of_range",), "", "labels",
        )  # fmt: skip
    if are_constant(e):
        return Sighting(
            Severity.FATAL, say("All recorded inputs are constant: {value:.4g}.", value=b.mean or 0.0), e.first_step, e.first_step,
            ("data/train_std", "data/train_mean"), "", "constant",
        )  # fmt: skip
    if (b.constant_samples or 0.0) > ONE_VALUE:
        return Sighting(
            Severity.SERIOUS, say("{share:.0%} of the recorded samples hold the same value everywhere.", share=b.constant_samples or 0.0),
            e.first_step, e.first_step, ("data/constant_samples",), "", "constant",
        )  # fmt: skip
    if (b.copies or 0.0) > COPIES:
        good = max((s for s in (skill(e, "val"), skill(e, "train")) if s is not None), default=0.0)
        return Sighting(
            Severity.SERIOUS if (b.copies or 0.0) > MOSTLY_COPIES and good < 0.9 else Severity.MINOR,
            say("{share:.0%} of the samples of a recorded batch are copies of others in it.", share=b.copies or 0.0),
            e.first_step, e.first_step, ("data/copies",), "", "copies",
        )  # fmt: skip
    loss, val = e.curve("train/loss"), to_chance(e, c.final) if (c := e.curve("val/loss")) is not None else None
    first = to_chance(e, loss.first) if loss is not None and loss.finite and loss.first_step <= 2 and loss.reduction != "epoch" else None
    if unscaled_inputs(e) and (first or 0.0) > ABSURD and (val or to_chance(e, loss.final if loss else None) or 0.0) > POOR:
        return Sighting(
            Severity.SERIOUS,
            say(
                "The recorded inputs are not scaled (mean {mean:.3g}, standard deviation {std:.3g}): the first loss was {first:.3g} × chance.",
                mean=b.mean or 0.0, std=b.std or 0.0, first=first or 0.0,
            ),
            loss.first_step if loss else None, loss.first_step if loss else None, ("train/loss", "data/train_mean", "data/train_std"), "", "scale",
        )  # fmt: skip
    file = file_of(e, "data/non_finite") or file_of(e, "data/train_mean")
    spread = say("mean {mean:.3g}, standard deviation {std:.3g}", mean=b.mean, std=b.std)
    return Cleared(
        say("The recorded batches are finite and vary, and their samples differ."),
        (
            is_above(say("the number of non-finite values in a batch"), b.non_finite, 0, file),
            is_above(say("the number of labels outside the head's classes in a batch"), b.outside, 0, file),
            asked(say("all recorded inputs are constant"), None if b.std is None else False, spread, file),
            share_is_above(say("the share of samples that hold one value everywhere"), b.constant_samples, ONE_VALUE, file),
            share_is_above(say("the share of samples that are copies of others in their batch"), b.copies, COPIES, file),
            is_above(say("the first loss, where inputs are not scaled (× chance)"), first if unscaled_inputs(e) else None, ABSURD, file),
        ),
    )


def _known_at_once(e: Evidence) -> Sighting | None:
    """Before a thousandth of the first epoch is over every answer is right, at a loss of exactly 0: the batches hold one answer."""
    loss, right = e.curve("train/loss"), e.series.get("train/accuracy")
    if loss is None or right is None or loss.zeros < SEVERAL or loss.last != 0.0 or not e.steps_per_epoch or loss.non_finite is not None:
        return None
    values, steps = e.series["train/loss"].values.tolist(), e.series["train/loss"].steps.tolist()
    since = steps[
        len(values) - next((n for n, value in enumerate(reversed(values)) if value), len(values))
    ]  # the first of the zeros that it ends with
    knows = all(v == whole(e.curves["train/accuracy"]) for v, step in zip(right.values.tolist(), right.steps.tolist(), strict=True) if step >= since)
    if not knows or since > AT_ONCE * e.steps_per_epoch or not values[0] > 0:
        return None
    return Sighting(
        Severity.SERIOUS,
        say("By step {step:g} of {epoch:g} in an epoch every answer is right, at a loss of exactly 0: there is one answer.", step=since, epoch=e.steps_per_epoch),
        since, since, ("train/loss", "train/accuracy"), file_of(e, "train/loss"), "one-answer",
    )  # fmt: skip


@probe(say("the values of samples are few, so that they may well be alike"), BATCH_STATISTICS, holds=-1.5)
def few_values(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet != "copies" or e.batches is None or not e.batches.indices:
        return None
    return Reading(True, say("the inputs are whole numbers"))


CHECK = Check(
    id="data-fault",
    title=say("Broken data"),
    symptom=say("The data itself is broken: non-finite or constant inputs, labels out of range, duplicates."),
    detect=detect,
    needs=(BATCHES_OR_ANSWERS,),
    probes=(few_values,),
    prior=3.0,
    causes=((out_of_range_labels, -1.0), (non_finite_inputs, -1.0), (constant_inputs, -1.0), (duplicate_samples, -1.0), (preprocessing, -1.5)),
    by_hand=(say("Look at one batch as the model gets it: shapes, range, NaN, label histogram, duplicates."),),
    consequences=(
        "non-finite",
        "loss-not-decreasing",
        "underfitting",
        "crash",
        "validation-fault",
        "dead-units",
        "exploding-gradients",
        "overfitting",
        "vanishing-gradients",
        "frozen-parameters",
        "loss-spike",
    ),
)
