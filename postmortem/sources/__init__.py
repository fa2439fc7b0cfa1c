"""Bytes → `Run`: one reader per format, then `assemble`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from postmortem.model.run import Run, Source, Status
from postmortem.model.sentence import Sentence, say
from postmortem.sources.assemble import assemble
from postmortem.sources.discover import discover
from postmortem.sources.reader import Found
from postmortem.sources.registry import readers

Progress = Callable[[str, float], None]


def read_run(
    paths: Sequence[Path], *, name: str = "", aliases: Mapping[str, str] | None = None, progress: Progress | None = None, refused: Sequence[Source] = ()
) -> Run:
    """Find and read everything below `paths`. Nothing is raised about what is in the files.

    name : of the run; "" takes the directory's or the file's.
    aliases : logged key → canonical series name, for keys that the vocabulary does not know.
    refused : sources that were left out before discovery (members of an archive).
    progress : called with what is being read and the share of bytes done, 0 to 1.
    """
    discovery = discover(paths)
    found: list[Found] = []
    unclaimed: list[Source] = []
    consumed: set[str] = set()
    total, done = sum(c.size for c in discovery.candidates) or 1, 0
    for candidate in discovery.candidates:
        if progress:
            progress(candidate.path, done / total)
        done += candidate.size
        reader = next((r for r in readers() if r.claims(candidate)), None)
        if reader is None:
            unclaimed.append(Source(candidate.path, "", Status.SKIPPED, say("no reader knows this format"), candidate.size))
            continue
        try:
            one = reader.read(candidate)
        except ImportError as error:  # a library that only this format needs
            one = Found(Source(candidate.path, reader.name, Status.SKIPPED, _missing(error), candidate.size))
        except Exception as error:  # a reader must not raise; when it does, the rest of the run is still read
            one = Found(Source(candidate.path, reader.name, Status.FAILED, _failure(error), candidate.size))
        found.append(_renamed(one, aliases) if aliases else one)
        consumed.update(one.consumed)
    unclaimed = [s for s in unclaimed if s.path not in consumed]
    found = [f for f in found if f.source.path not in consumed]
    return assemble(discovery.root, name or discovery.name, found, (*discovery.skipped, *unclaimed, *refused))


def _failure(error: Exception) -> Sentence:
    return say("the reader failed on this file: {kind}: {text}", kind=type(error).__name__, text=str(error)[:200])


def _missing(error: ImportError) -> Sentence:
    return say("reading it needs the library {library}, which is not installed or does not load", library=str(error.name or error)[:200])


def _renamed(found: Found, aliases: Mapping[str, str]) -> Found:
    return replace(found, series=tuple(replace(s, name=aliases[s.logged_as]) if s.logged_as in aliases else s for s in found.series))
