"""Bytes → `Run`: one reader per format, then `assemble`."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from postmortem.errors import UsageError
from postmortem.model.run import Run, Series, Source, Status
from postmortem.model.sentence import Sentence, say
from postmortem.sources.assemble import assemble
from postmortem.sources.checkpoints.crowds import bounded
from postmortem.sources.discover import discover, several_runs
from postmortem.sources.reader import Candidate, Found
from postmortem.sources.registry import readers

Progress = Callable[[str, float], None]
MOST_ALIKE = 5_000  # files that one reader reads of a run, the first ones; checkpoints have as many as there are
_LOGS = "postmortem.sources.logs"


def read_run(
    paths: Sequence[Path],
    *,
    name: str = "",
    aliases: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    refused: Sequence[Source] = (),
    one: bool = False,
) -> Run:
    """Find and read everything below `paths`. Nothing is raised about what is in the files.

    name : of the run; "" takes the directory's or the file's.
    aliases : logged key → canonical series name, for keys that the vocabulary does not know.
    refused : sources that were left out before discovery (members of an archive).
    progress : called with what is being read and the share of bytes done, 0 to 1.
    one : raise `UsageError` when a single directory was named and it holds several runs, side by side.
    """
    discovery = discover(paths)
    if one and len(paths) == 1 and (runs := several_runs(discovery)):
        raise UsageError(_several(name or discovery.name, runs))
    found: list[Found] = []
    unclaimed: list[Source] = []
    consumed: set[str] = set()
    taken: Counter[str] = Counter()  # files of each reader
    left: dict[str, list[Candidate]] = defaultdict(list)  # those beyond what is read of one
    total, done = sum(c.size for c in discovery.candidates) or 1, 0
    for candidate in discovery.candidates:
        if progress:
            progress(candidate.path, done / total)
        done += candidate.size
        reader = next((r for r in readers() if r.claims(candidate)), None)
        if reader is None:
            why = say("no reader knows this format") if candidate.size else say("the file is empty")
            unclaimed.append(Source(candidate.path, "", Status.SKIPPED, why, candidate.size))
            continue
        taken[reader.name] += 1
        if taken[reader.name] > MOST_ALIKE and reader.read.__module__.startswith(_LOGS):
            left[reader.name].append(candidate)
            continue
        try:
            piece = bounded(reader.read(candidate))
        except ImportError as error:  # a library that only this format needs
            piece = Found(Source(candidate.path, reader.name, Status.SKIPPED, _missing(error), candidate.size))
        except Exception as error:  # a reader must not raise; when it does, the rest of the run is still read
            piece = Found(Source(candidate.path, reader.name, Status.FAILED, _failure(error), candidate.size))
        found.append(piece)
        consumed.update(piece.consumed)
    unclaimed.extend(_beyond(several) for several in left.values())
    unclaimed = [s for s in unclaimed if s.path not in consumed]
    found = [f for f in found if f.source.path not in consumed]
    if aliases:
        found = _renamed(found, aliases)
    return assemble(discovery.root, name or discovery.name, found, (*discovery.skipped, *unclaimed, *refused))


def _beyond(several: Sequence[Candidate]) -> Source:
    """The files of one kind that are not read."""
    why = say("{n:,} files from here on: of logs of one kind only the first {limit:,} are read", n=len(several), limit=MOST_ALIKE)
    return Source(several[0].path, "", Status.SKIPPED, why, sum(c.size for c in several))


def _several(name: str, runs: Sequence[str]) -> str:
    shown = ", ".join(runs[:5]) + (", …" if len(runs) > 5 else "")
    return f"{name} holds {len(runs)} runs ({shown}): name one of them, or several that are parts of one run"


def _failure(error: Exception) -> Sentence:
    return say("the reader failed on this file: {kind}: {text}", kind=type(error).__name__, text=str(error)[:200])


def _missing(error: ImportError) -> Sentence:
    return say("reading it needs the library {library}, which is not installed or does not load", library=str(error.name or error)[:200])


def _renamed(found: Sequence[Found], aliases: Mapping[str, str]) -> list[Found]:
    """Under the names that the user gives; what the vocabulary called by such a name makes room."""
    used = {aliases[s.logged_as] for f in found for s in f.series if s.logged_as in aliases}

    def one(series: Series) -> Series:
        if series.logged_as in aliases:
            return replace(series, name=aliases[series.logged_as])
        return replace(series, name=f"other/{series.logged_as}") if series.name in used else series

    return [replace(f, series=tuple(map(one, f.series))) for f in found]
