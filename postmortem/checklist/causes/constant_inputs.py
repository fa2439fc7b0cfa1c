"""Inputs that are the same for every sample, or the same value everywhere."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.inputs import constant_inputs as are_constant
from postmortem.checklist.needs import BATCH_STATISTICS

MOST = 0.5  # share of the samples of the median batch that hold one value everywhere


@probe(say("recorded inputs are constant"), BATCH_STATISTICS, holds=4.5, fails=-4.0)
def recorded(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.batches
    if b is None or b.std is None or b.mean is None:
        return None
    if (b.constant_samples or 0.0) > MOST and not are_constant(e):
        return Reading(True, say("{share:.0%} of the samples hold one value each", share=b.constant_samples or 0.0))
    return Reading(are_constant(e), say("mean {mean:.4g}, standard deviation {std:.3g}", mean=b.mean, std=b.std))


constant_inputs = Cause(
    id="constant-inputs",
    title=say("The inputs are constant"),
    mechanism=say(
        "A loader that returns an empty buffer, a normalisation that divides by a huge number, or the wrong column: every sample looks the same, so only the "
        "frequencies of the labels can be learned."
    ),
    probes=(recorded,),
    fixes=remedies.only(
        say("Find out where the inputs lose their content, one step of the pipeline at a time"),
        say("Every sample looks the same to the model."),
        {"pytorch": "x, y = next(iter(train_loader))\nprint(x.shape, x.dtype, x.min(), x.max(), x.std(0).max())  # then the same for train_set[0]"},
    ),
    by_hand=(say("Show twenty inputs of a batch, as the model gets them."),),
)
