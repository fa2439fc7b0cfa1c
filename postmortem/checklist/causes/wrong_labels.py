"""Labels do not belong to the inputs: shuffled, shifted or mismatched."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import BATCH_STATISTICS, TWO_CHECKPOINTS, VALIDATION, curve
from postmortem.checklist.signs import skill, to_chance

AT_CHANCE = 0.12  # accuracy above chance, as a share of what there is to gain
RELATED, UNRELATED = 4.0, 2.0  # standard errors of guessing by which recorded labels can be predicted from their inputs
ENOUGH = 256  # recorded samples without a relation
MOVED = 0.6  # relative change of the weights: memorising moves them more than learning does


@probe(say("validation accuracy never leaves chance"), curve("val/accuracy"), holds=0.6, fails=-2.5)
def validation_at_chance(e: Evidence, seen: Sighting) -> Reading | None:
    best = skill(e, "val", best=True)
    if best is None:
        return None
    return Reading(abs(best) < AT_CHANCE, say("at its best it is {best:.0%} of the way from guessing to perfect", best=best))


@probe(say("training memorises while validation gets worse than guessing"), VALIDATION, holds=2.4, fails=-1.2)
def memorises(e: Evidence, seen: Sighting) -> Reading | None:
    train, val = e.curve("train/loss.epoch") or e.curve("train/loss"), e.curve("val/loss")
    if train is None or val is None:
        return None
    level = to_chance(e, val.final)
    best = to_chance(e, val.best)
    if level is None or best is None:
        return None
    falls = train.net_change < -0.05
    return Reading(
        falls and level > 1.0 and best > 0.9,
        say(
            "train loss changed by {net:+.0%}; validation is at {level:.2f} × chance and was never below {best:.2f} ×",
            net=train.net_change,
            level=level,
            best=best,
        ),
    )


@probe(say("the weights moved a long way all the same"), TWO_CHECKPOINTS, holds=0.9, fails=-1.0)
def moved_far(e: Evidence, seen: Sighting) -> Reading | None:
    change = e.weights.change_median
    if change is None:
        return None
    return Reading(change > MOVED, say("they changed by {change:.2g} relative to their size", change=change))


@probe(say("recorded labels have nothing to do with their inputs"), BATCH_STATISTICS, holds=3.0, fails=-4.0)
def unrelated(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.batches
    if b is None or b.relation is None or b.relation_z is None or UNRELATED <= b.relation_z < RELATED:
        return None
    if b.relation_z < UNRELATED and b.relation_samples < ENOUGH:
        return None
    told = say(
        "of {n} samples, nearest neighbours and a linear fit get {gain:.0%} of the way from guessing to perfect ({z:.1f} standard errors)",
        n=b.relation_samples, gain=max(b.relation, 0.0), z=b.relation_z,
    )  # fmt: skip
    return Reading(b.relation_z < UNRELATED, told)


wrong_labels = Cause(
    id="wrong-labels",
    title=say("The labels do not belong to the inputs"),
    mechanism=say(
        "With shuffled or shifted labels there is nothing to learn that holds for new data: the network memorises what it saw, and validation stays at "
        "chance or gets worse."
    ),
    probes=(validation_at_chance, memorises, moved_far, unrelated),
    fixes=remedies.only(
        say("Check that each input meets its own label, after shuffling, batching and augmentation"),
        say("Look at twenty examples as the model sees them, with their labels."),
        {"pytorch": "x, y = next(iter(train_loader))\nprint(x.shape, x.min(), x.max(), torch.bincount(y))\n# show x[:20] with y[:20]"},
    ),
    by_hand=(
        say("Show twenty inputs of a batch with their labels, as the model gets them."),
        say("Shuffle the labels on purpose: if the result is the same, they were wrong before."),
    ),
)
