"""Many samples are copies of others."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import BATCH_STATISTICS

MANY = 0.3  # share of a batch's samples that equal another one of it


@probe(say("samples of a recorded batch are copies of each other"), BATCH_STATISTICS, holds=4.0, fails=-3.0)
def recorded(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.batches.copies if e.batches is not None else None
    return None if share is None else Reading(share > MANY, say("{share:.0%} of them, in the median batch", share=share))


duplicate_samples = Cause(
    id="duplicate-samples",
    title=say("Samples are copies of others"),
    mechanism=say(
        "Files listed twice, a join that multiplies rows, or a sampler that draws a few samples over and over: the effective data set is smaller than it "
        "looks, and copies that fall into both splits make validation look better than it is."
    ),
    probes=(recorded,),
    fixes=remedies.only(
        say("Drop duplicates before splitting, and look at the sampler's weights"),
        say("A batch of copies teaches no more than one of them."),
        {"pytorch": "import hashlib\nkeys = [hashlib.sha1(x.numpy().tobytes()).hexdigest() for x, _ in train_set]\nprint(len(keys), len(set(keys)))"},
    ),
    by_hand=(say("Count the distinct samples of the training set by a hash of their bytes."),),
)
