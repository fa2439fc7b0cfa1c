"""A file holds what would harm whoever opens it with the usual tools."""

from postmortem.check import Cause, Evidence, Reading, Sentence, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.model.run import Source

NAMED = 4  # files that one sentence names
ELSEWHERE = 0.4  # of the weight, where another file is the one that is damaged


def refused(e: Evidence) -> tuple[Source, ...]:
    """The files of which something was refused: code that a pickle asks for, paths that lead out of the run, members that overlap."""
    return tuple(s for s in e.sources if s.refused)


def each(files: tuple[Source, ...]) -> Sentence:
    """What was refused in each of the first files."""
    told = [say("{path}: {detail}", path=s.path, detail=s.detail or say("it was refused")) for s in files[:NAMED]]
    out = told[-1]
    for one in reversed(told[:-1]):
        out = say("{first}; {second}", first=one, second=out)
    return say("{files}; and in {n} more", files=out, n=len(files) - NAMED) if len(files) > NAMED else out


@probe(say("something in a file of the run was refused"), holds=6.5, fails=-3.0)
def was_refused(e: Evidence, seen: Sighting) -> Reading | None:
    files = refused(e)
    if not files:
        return Reading(False, say("nothing in {n} files was refused", n=len(e.sources)))
    same = any(s.path == seen.source for s in files)  # a file that is damaged may be damaged for another reason than a hostile one beside it
    return Reading(True, each(files), files[0].path, 1.0 if same else ELSEWHERE)


hostile_content = Cause(
    "hostile-content",
    say("A file holds hostile content"),
    say(
        "Loaded with the usual tools it runs what it names, or reads and writes files elsewhere, with the rights of whoever loads it. Nothing of it was run here."
    ),
    (was_refused,),
    remedies.only(
        say("Load the file with nothing that runs what it names, and find out who wrote it"),
        say("A pickle runs what it names while it is loaded; tensors alone need none of that."),
        {"pytorch": "state = torch.load(path, weights_only=True)  # refuses what is no tensor"},
    ),
    (say("List what the pickle names without loading it: `unzip -p FILE '*/data.pkl' | python -m pickletools`."),),
)
