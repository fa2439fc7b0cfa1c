"""All inputs give the same output."""

from math import log

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.contrasts import alternatives
from postmortem.checklist.levels import course
from postmortem.checklist.needs import WEIGHTS
from postmortem.checklist.parameters import output_spread

MARGINS = (0.1, 0.2, 0.3, 0.5, 1.0)
AT = 0.03  # relative distance from the margin


@probe(say("rows of the weight matrices became copies of each other"), WEIGHTS, holds=1.5, fails=-1.0)
def copies(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.weights.symmetric_share
    return None if share is None else Reading(share > 0.5, say("in {share:.0%} of the matrices", share=share))


@probe(say("the outputs of different inputs became the same"), holds=4.5)
def one_point(e: Evidence, seen: Sighting) -> Reading | None:
    spread = output_spread(e)
    if spread is None or seen.facet != "outputs":
        return None
    return Reading(True, say("{name} fell from {first:.3g} to {final:.3g}", name=spread.name, first=spread.first, final=spread.final))


@probe(say("to the last digit the loss is that of outputs which are all the same"), holds=4.0)
def exactly_alike(e: Evidence, seen: Sighting) -> Reading | None:
    loss, among = course(e), alternatives(e)
    if seen.facet != "alike" or loss is None or among is None:
        return None
    least = max(loss.quantum or 0.0, 1e-6)
    return Reading(abs(loss.final - log(among)) <= least and loss.noise <= least, say("ln {among} is {level:.6g}", among=among, level=log(among)))


@probe(say("the loss rests at its margin, where all distances are the same, and no answer is right"), holds=4.0)
def at_its_margin(e: Evidence, seen: Sighting) -> Reading | None:
    """max(0, d⁺ − d⁻ + m) is m where both distances are the same; FaceNet and its kin take one of `MARGINS`."""
    loss, right = course(e), e.curve("train/accuracy")
    if loss is None or right is None or seen.facet != "accuracy" or right.highest > 0.0:
        return None
    margin = next((m for m in MARGINS if abs(loss.final / m - 1) < AT), None)
    return None if margin is None else Reading(True, say("it ends at {final:.4g}", final=loss.final))


representation_collapse = Cause(
    id="representation-collapse",
    title=say("The representation collapsed to a point"),
    mechanism=say(
        "A loss that is smallest when everything is the same (a contrastive loss without negatives, a GAN that lost) pulls all outputs together."
    ),
    probes=(copies, one_point, exactly_alike, at_its_margin),
    fixes=remedies.only(
        say("Add what keeps outputs apart: negatives, a variance term, a stop-gradient"), say("All inputs give nearly the same output.")
    ),
)
