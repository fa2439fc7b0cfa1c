"""Labels that the head has no output for."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import BATCH_STATISTICS


@probe(say("recorded labels lie outside of the head's classes"), BATCH_STATISTICS, holds=4.5, fails=-3.0)
def recorded(e: Evidence, seen: Sighting) -> Reading | None:
    if e.batches is None or "data/labels_out_of_range" not in e.curves:
        return None
    return Reading(e.batches.outside > 0, say("up to {n:g} labels of a batch", n=e.batches.outside))


out_of_range_labels = Cause(
    id="out-of-range-labels",
    title=say("Labels lie outside of the classes that the head has"),
    mechanism=say(
        "Classes counted from 1, a class that the configuration does not know, or an ignored label (-1, 255) that the loss was not told of: on a GPU the "
        "process dies of a device-side assertion, and some losses silently read beyond their outputs."
    ),
    probes=(recorded,),
    fixes=remedies.only(
        say("Map labels to 0 … C − 1, and tell the loss which label to ignore"),
        say("The head has no output for these labels."),
        {
            "pytorch": "assert 0 <= y.min() and y.max() < num_classes, (y.min(), y.max())\ncriterion = nn.CrossEntropyLoss(ignore_index=-100)",
            "keras": "assert y.min() >= 0 and y.max() < num_classes",
        },
    ),
    by_hand=(say("Print the lowest and the highest label of the whole training set, and the size of the output layer."),),
)
