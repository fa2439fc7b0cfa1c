"""The same batch, or a handful of them, is trained on again and again."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.falls import of_one_batch, turns_from_step_to_step
from postmortem.checklist.inputs import same_batches as are_the_same
from postmortem.checklist.levels import FEW_PASSES, passes_to_half, to_chance, training_curves
from postmortem.checklist.needs import BATCH_STATISTICS, VALIDATION, curve

NOTHING = 0.02  # times chance
AHEAD = 0.5  # ln(validation / train) at the first evaluation, where the training loss is the mean of the first epoch
EARLY = 0.2  # share of the run


@probe(say("the training loss was practically zero early, without a slow descent"), VALIDATION, holds=2.6, fails=-1.5)
def zero_early(e: Evidence, seen: Sighting) -> Reading | None:
    loss = next(iter(training_curves(e)), None)
    if loss is None or loss.finite < 5 or not e.chance.loss:
        return None
    early = e.at(loss.name, loss.first_step + EARLY * (loss.last_step - loss.first_step))
    level, final = to_chance(e, early), to_chance(e, loss.final)
    passes = passes_to_half(e)
    if level is None or final is None or (passes is not None and passes > FEW_PASSES):
        return None  # what is seen again and again within an epoch is known after one or two
    return Reading(
        level < NOTHING and final < NOTHING, say("after {share:.0%} of the run train loss is {level:.2g} × chance", share=EARLY, level=level)
    )


@probe(say("within one epoch all of it was known by heart, and validation was never better than then"), VALIDATION, holds=2.4)
def by_heart_at_once(e: Evidence, seen: Sighting) -> Reading | None:
    right, g, val = e.series.get("train/accuracy"), e.gap, e.curve("val/loss")
    if right is None or g is None or val is None or e.chance.loss is not None or len(right) < 4 or g.evaluations < 4:
        return None
    second = float(right.values[1]) / (100.0 if float(right.values.max()) > 1.5 else 1.0)
    return Reading(
        second > 0.99 and g.best_index == 0 and g.first_gap > AHEAD,
        say(
            "training accuracy is {right:.1%} in the second record; validation lay {gap:.2g} nats above training from the first",
            right=second,
            gap=g.first_gap,
        ),
    )


@probe(
    say("the training loss has no noise from step to step, as only a batch has that is always the same"),
    curve("train/loss", 20),
    holds=4.5,
    fails=-0.8,
)
def without_noise(e: Evidence, seen: Sighting) -> Reading | None:
    share = turns_from_step_to_step(e)
    return (
        None
        if share is None
        else Reading(of_one_batch(e), say("it turns at {share:.0%} of its records, independent ones at two thirds", share=share))
    )


@probe(say("there is plenty of data according to the log"), holds=1.0, fails=-1.5)
def plenty(e: Evidence, seen: Sighting) -> Reading | None:
    samples = e.number("train_samples")
    return None if samples is None else Reading(samples >= 500, say("{n:g} training samples", n=samples))


@probe(say("the recorded batches are the same samples"), BATCH_STATISTICS, holds=4.0, fails=-3.0)
def same_samples(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.batches
    again = are_the_same(e)
    if b is None or again is None:
        return None
    told = say(
        "{n} recorded batches hold {distinct} different sets of samples; {share:.0%} of the samples were met before in their epoch",
        n=b.fingerprints, distinct=b.distinct or 0, share=b.repeated or 0.0,
    )  # fmt: skip
    return Reading(again, told)


repeated_batch = Cause(
    id="repeated-batch",
    title=say("The same batch is trained on again and again"),
    mechanism=say(
        "A loader that is not advanced, a forgotten debug line, a sampler with one seed: the model learns one batch by heart in a few epochs and nothing else."
    ),
    probes=(zero_early, by_heart_at_once, without_noise, plenty, same_samples),
    fixes=remedies.only(
        say("Iterate over the loader; remove a leftover 'overfit one batch'"),
        say("The training loss reached nothing within a few epochs, while validation never improved with it."),
        {
            "pytorch": "for x, y in train_loader:  # not: x, y = next(iter(train_loader)) inside the loop\n    ...",
            "lightning": "Trainer(overfit_batches=0)",
        },
    ),
    by_hand=(say("Print a hash of the inputs of the first ten batches of two epochs."),),
)
