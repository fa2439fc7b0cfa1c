"""The model's structure keeps it from learning: a bottleneck, a dead path, an activation at the wrong end."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import WEIGHTS
from postmortem.checklist.signs import file_of


@probe(say("units of a layer are copies of each other"), WEIGHTS, holds=0.6, fails=-0.5)
def copies(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.weights.symmetric_share
    if share is None:
        return None
    return Reading(share > 0.3, say("{share:.0%} of the weight matrices have identical rows or columns", share=share))


@probe(say("the loss is constant to the last digit"), holds=0.8, fails=-0.6)
def constant(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss") or e.curve("val/loss")
    if loss is None or loss.finite < 3:
        return None
    return Reading(loss.constant, say("{n} records hold {distinct} distinct values", n=loss.finite, distinct=loss.distinct), file_of(e, loss.name))


model_structure = Cause(
    id="model-structure",
    title=say("The model cannot express or propagate the answer"),
    mechanism=say(
        "An activation after the last layer, a ReLU before a softmax, a layer of width one, a reshape that mixes the batch with the features: the signal is lost "
        "on the way."
    ),
    probes=(copies, constant),
    fixes=remedies.only(
        say("Overfit one batch, then add parts of the model back one by one"),
        say("A model that cannot drive the loss of a single batch to nearly zero has a fault in its structure or its loss."),
        {
            "pytorch": "x, y = next(iter(train_loader))\nfor i in range(200):\n    optimizer.zero_grad(); loss = criterion(model(x), y); loss.backward(); optimizer.step()\nprint(loss)"
        },
    ),
    by_hand=(
        say("Overfit a single batch: the loss must go to nearly zero within 200 steps."),
        say("Look at the outputs for two different inputs: they must differ."),
    ),
)
