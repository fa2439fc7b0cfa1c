"""One class fills the training set."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.falls import flat_at_guessing
from postmortem.checklist.levels import skill
from postmortem.checklist.needs import BATCH_STATISTICS, CHANCE, VALIDATION, curve
from postmortem.checklist.probes import seen_as

LATER = 0.65  # × the first
UNEVEN = 0.6  # share of the largest class


@probe(say("validation accuracy is stuck between chance and learning while training is nearly perfect"), curve("val/accuracy"), holds=1.3, fails=-0.8)
def stuck(e: Evidence, seen: Sighting) -> Reading | None:
    val, train = skill(e, "val"), skill(e, "train")
    if val is None:
        return None
    return Reading(0.02 < val < 0.5 and (train is None or train > 0.8), say("validation is {val:.0%} of the way from guessing to perfect", val=val))


@probe(say("validation was worse from the first evaluation, and hardly rises"), VALIDATION, holds=1.0, fails=-1.0)
def from_the_start(e: Evidence, seen: Sighting) -> Reading | None:
    if e.gap is None:
        return None
    return Reading(
        e.gap.first_gap > 0.03 and e.gap.rise < 0.2,
        say(
            "ln(validation / train) starts at {first:.2f}; validation rose by {rise:.2f} (ln) since its best", first=e.gap.first_gap, rise=e.gap.rise
        ),
        share=1.0 if skill(e, "val") is not None else 0.3,  # so is any other validation at fault
    )


@probe(say("validation began worse than an untrained model and was learned slowly: training holds little of what it asks for"), holds=1.8)
def learned_late(e: Evidence, seen: Sighting) -> Reading | None:
    val, score = e.curve("val/loss"), e.curve("val/accuracy")
    if seen.facet != "one-pass" or val is None or score is None:
        return None  # nothing that has classes
    return Reading(val.lowest < LATER * val.first, say("validation went from {first:.4g} to {lowest:.4g}", first=val.first, lowest=val.lowest))


@probe(say("validation is as bad as guessing, and no worse"), CHANCE, VALIDATION, holds=-1.5)
def even_guess(e: Evidence, seen: Sighting) -> Reading | None:
    level = flat_at_guessing(e)
    return (
        None
        if level is None
        else Reading(True, say("each evaluation lies at {level:.2f} × chance: a model sure of one class would be worse", level=level))
    )


@probe(say("the task has no classes"), holds=-4.0)
def no_classes(e: Evidence, seen: Sighting) -> Reading | None:
    if e.family in ("regression", "autoencoder", "diffusion", "contrastive"):
        return Reading(True, say("it is a {family}", family=e.family))
    told = e.family or e.chance.classes or any(name.endswith("/accuracy") for name in e.curves)
    return None if told else Reading(True, say("nothing of it speaks of classes"))


one_answer = seen_as(
    "one-class", claim=say("the same answer to everything is right for most of the training set, and for one class's share of validation"), holds=4.5
)


@probe(say("there are few training samples"), holds=0.7, fails=-0.3)
def few(e: Evidence, seen: Sighting) -> Reading | None:
    train, val = e.number("train_samples"), e.number("val_samples")
    if train is None or not val:
        return None
    return Reading(train < 2.5 * val, say("{train:g} training samples beside {val:g} for validation", train=train, val=val))


@probe(say("the label histogram shows it"), BATCH_STATISTICS, holds=4.0, fails=-4.0)
def histogram(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.batches
    classes = e.chance.classes or (b.classes if b is not None else None)
    if b is None or b.largest_share is None or not classes or classes < 2:
        return None
    told = say("the largest class has {share:.0%} of the recorded labels of {classes} classes", share=b.largest_share, classes=classes)
    return Reading(b.largest_share > max(UNEVEN, 2.0 / classes), told)


class_imbalance = Cause(
    id="class-imbalance",
    title=say("Classes are unevenly represented"),
    mechanism=say(
        "A model that always answers the frequent class scores well on a training set that consists of it, and fails where the classes are balanced."
    ),
    probes=(stuck, from_the_start, learned_late, even_guess, no_classes, one_answer, few, histogram),
    fixes=remedies.only(
        say("Weight the classes, or sample them evenly; compare the label histograms of both splits"),
        say("Training does well and validation stays near one class's share."),
        {
            "pytorch": "weights = 1.0 / torch.bincount(y_train).float()\nsampler = torch.utils.data.WeightedRandomSampler(weights[y_train], len(y_train))\n"
            "loader = DataLoader(train, batch_size=64, sampler=sampler)"
        },
    ),
    by_hand=(say("Print torch.bincount of the labels of both splits, and a confusion matrix on validation."),),
)
