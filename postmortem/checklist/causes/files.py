"""Why a checkpoint is damaged."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.model.run import EventKind


@probe(say("the file is shorter than it says it should be"), holds=2.5, fails=-2.0)
def short(e: Evidence, seen: Sighting) -> Reading | None:
    hit = next((c for c in reversed(e.saved) if c.truncated), None)
    return Reading(
        hit is not None,
        say("{path} has {size:,} bytes", path=hit.path if hit else say("no file"), size=hit.size if hit else 0),
        hit.path if hit else "",
    )


@probe(say("the log reports a full disk or an exception while saving"), holds=-2.0, fails=0.5)
def write_failed(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(bool(e.events_of(EventKind.DISK_FULL)), say("disk messages in the log: {n}", n=len(e.events_of(EventKind.DISK_FULL))))


@probe(say("a listed shard is not there"), holds=4.0, fails=-3.0)
def shard_gone(e: Evidence, seen: Sighting) -> Reading | None:
    hit = next((c for c in e.saved if c.detail is not None and "shard" in c.detail.template), None)
    return Reading(hit is not None, hit.detail if hit is not None and hit.detail is not None else say("all listed files are there"))


truncated_write = Cause(
    "truncated-write",
    say("The file was cut while it was written"),
    say("The process died, or the disk filled up, while the checkpoint was being written."),
    (short, write_failed),
    remedies.only(
        say("Write to a temporary file and rename it; resume from the checkpoint before"),
        say("A rename is atomic: either the old file is there or the new one."),
        {"pytorch": "torch.save(state, path + '.tmp')\nos.replace(path + '.tmp', path)"},
    ),
    (say("Compare the file's size with its siblings'."),),
)
shard_missing = Cause(
    "shard-missing",
    say("A shard of the checkpoint is missing"),
    say("The index lists files that are not there: the save did not finish on every rank, or the copy was partial."),
    (shard_gone,),
    remedies.only(say("Copy the missing shard, or resume from the checkpoint before"), say("Without it some layers have no weights.")),
)
