"""A checkpoint is truncated or inconsistent, or a file of the run holds what had to be refused."""

from postmortem.check import Check, Cleared, Evidence, Need, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.files import shard_missing, truncated_write
from postmortem.checklist.causes.hostile_content import each, hostile_content, refused
from postmortem.checklist.causes.process import disk_full
from postmortem.checklist.limits import is_above
from postmortem.model.run import Status

SAVED = Need(
    "a checkpoint",
    say("save the weights every few epochs"),
    lambda e: bool(e.saved) or any(s.status == Status.FAILED or s.refused for s in e.sources),
)
HOSTILE = "hostile"  # facet: nothing is damaged


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    bad = [
        c
        for c in e.saved
        if c.truncated or c.status == Status.FAILED or (c.status == Status.PARTIAL and c.detail is not None and "shard" in c.detail.template)
    ]
    hostile = refused(e)
    if not bad and hostile:
        return Sighting(Severity.MINOR, say("Refused: {files}.", files=each(hostile)), source=hostile[0].path, facet=HOSTILE)
    if not bad:
        damaged = is_above(say("the number of damaged checkpoints (cut off, unreadable or without a shard; of {n})", n=len(e.saved)), 0, 0)
        harmful = is_above(say("the number of files of which something was refused (of {n})", n=len(e.sources)), 0, 0)
        return Cleared(say("{n} checkpoints, all whole.", n=len(e.saved)), (damaged, harmful))
    last = bad[-1]
    trusted = [c for c in e.saved if c in bad or not c.refused]  # a planted file after it does not make a damaged one an older one
    severity = Severity.FATAL if last is trusted[-1] or len(trusted) == len(bad) else Severity.MINOR
    return Sighting(
        severity,
        say("{path} is damaged: {detail}", path=last.path, detail=last.detail or say("it cannot be read")),
        last.step,
        None,
        (),
        last.path,
        "truncated" if last.truncated else "",
    )


@probe(say("its siblings are whole"), holds=1.0, fails=-0.3)
def siblings(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet == HOSTILE:
        return None
    good = [c for c in e.saved if not c.truncated and c.status == Status.READ]
    return Reading(bool(good), say("{n} others were read in full", n=len(good)))


CHECK = Check(
    id="corrupt-checkpoint",
    title=say("Damaged checkpoint"),
    symptom=say("A checkpoint is truncated or inconsistent, or a file holds what had to be refused."),
    detect=detect,
    needs=(SAVED,),
    probes=(siblings,),
    prior=2.5,
    causes=((truncated_write, 0.0), (disk_full, -1.0), (shard_missing, -1.5), (hostile_content, -3.0)),
    by_hand=(say("Compare the file's size with its siblings', and its time with the time of the crash."),),
    consequences=("crash",),
)
