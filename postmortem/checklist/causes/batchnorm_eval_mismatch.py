"""Batch normalisation uses other statistics in evaluation than in training."""

from dataclasses import replace

from postmortem.check import Cause, Change, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.falls import flat_at_guessing
from postmortem.checklist.needs import CHANCE, VALIDATION, WEIGHTS

LAGS = 0.3  # share of the way from the initial value; a usual momentum has arrived after 50 steps
SAME_AS_AT_FIRST, TRAINED = 0.05, 0.1  # |ln(running variance)|; relative change of the weights, which leaves no variance where it was
SEEN_BY_IT = 1.5  # × the weight, where the mode itself was seen by it
SLOW = 0.02  # torch momentum below which running statistics lag behind


@probe(say("the model has batch normalisation"), WEIGHTS, holds=1.0, fails=-4.0)
def has_batch_norm(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(e.model.batch_norm, say("running statistics in the checkpoints: {what}", what=say("yes") if e.model.batch_norm else say("none")))


def stated_momentum(e: Evidence) -> Reading | None:
    """Whether the configured momentum of batch normalisation leaves its running statistics behind; None when none is configured."""
    hit = next(
        (s for s in e.settings if ("bn" in s.key.lower() or "batchnorm" in s.key.lower().replace("_", "")) and "momentum" in s.key.lower()), None
    )
    if hit is None or not isinstance(hit.value, int | float):
        return None
    value = float(hit.value)
    lagging = value > 0.995 if e.framework == "keras" else value < SLOW
    return Reading(lagging, say("{key} = {value:g}", key=hit.key, value=value), hit.file)


@probe(say("its momentum keeps running statistics behind"), holds=3.0, fails=-0.5)
def slow(e: Evidence, seen: Sighting) -> Reading | None:
    stated = stated_momentum(e)
    return replace(stated, share=SEEN_BY_IT) if stated is not None and stated.holds and seen.facet == "statistics" else stated


@probe(say("in evaluation the model gives the same answer to everything"), CHANCE, VALIDATION, holds=1.2)
def no_signal(e: Evidence, seen: Sighting) -> Reading | None:
    level = flat_at_guessing(e)
    return None if level is None else Reading(True, say("each evaluation lies at {level:.2f} × chance, and training is far below", level=level))


@probe(say("the running variances are still near their initial value"), WEIGHTS, holds=1.5, fails=-1.0)
def running_behind(e: Evidence, seen: Sighting) -> Reading | None:
    off, lag = e.weights.running_var_off, e.weights.running_var_lag
    if off is None:
        return None
    if lag is not None and lag > LAGS:
        return Reading(True, say("in the last checkpoint they still have {lag:.0%} of their way to go", lag=lag), share=1.5)
    trained = e.weights.change_median is None or e.weights.change_median > TRAINED
    return Reading(
        off < 0.1, say("the median |ln(running variance)| is {off:.2g}", off=off), share=3.0 if trained and off < SAME_AS_AT_FIRST else 1.0
    )


@probe(say("validation is worse from the start and does not rise"), VALIDATION, holds=1.0, fails=-1.0)
def worse_from_start(e: Evidence, seen: Sighting) -> Reading | None:
    return (
        None
        if e.gap is None
        else Reading(e.gap.first_gap > 0.1 and e.gap.rise < 0.1, say("ln(validation / train) starts at {gap:.2f}", gap=e.gap.first_gap))
    )


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    hit = remedies.removed(e, "normalization", (s for s in e.settings if "momentum" in s.key.lower() and s.name != "momentum"))
    return (
        remedies.fix(
            e,
            say("Give batch normalisation its usual momentum"),
            say("Training uses the batch's statistics and evaluation the running ones, which lag behind."),
            hit or (Change("normalization", "bn_momentum", "", None, None),),
            {
                "pytorch": "nn.BatchNorm2d(channels, momentum=0.1)  # torch's momentum is the share of the new batch",
                "keras": "keras.layers.BatchNormalization(momentum=0.99)",
            },
        ),
        remedies.fix(
            e,
            say("Or use layer or group normalisation"),
            say("They behave the same in training and in evaluation."),
            (),
            {"pytorch": "nn.GroupNorm(8, channels)"},
        ),
    )


batchnorm_eval_mismatch = Cause(
    id="batchnorm-eval-mismatch",
    title=say("Batch normalisation differs between training and evaluation"),
    mechanism=say(
        "In evaluation it uses running statistics. With a momentum that is too slow, tiny batches, or frozen statistics these are not those that training sees."
    ),
    probes=(has_batch_norm, slow, no_signal, running_behind, worse_from_start),
    fixes=fixes,
    by_hand=(say("Evaluate once in train mode: if the loss is good then, the running statistics are the fault."),),
)
