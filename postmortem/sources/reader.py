"""What a reader is: one format, one record. Adding a format is adding one to a registry.

A reader never raises on bad input. It returns what it could read and a `Source` that says what it could not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from postmortem.model.run import Checkpoint, LogEvent, LoggedHistogram, Series, Setting, Source
from postmortem.model.sentence import Value


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file of the run that some reader may claim. Regular files inside the run only: discovery has seen to that."""

    root: Path
    path: str  # relative to root, POSIX style
    size: int  # bytes
    head: bytes  # first 4,096 bytes
    siblings: frozenset[str] = frozenset()  # names in the same directory

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Its directory, relative to the run; "" at the top."""
        return self.path.rpartition("/")[0]

    @property
    def file(self) -> Path:
        """Where to open it."""
        return self.root / self.path


@dataclass(frozen=True, slots=True)
class Found:
    """What one reader got out of one file."""

    source: Source
    series: tuple[Series, ...] = ()
    histograms: tuple[LoggedHistogram, ...] = ()
    events: tuple[LogEvent, ...] = ()
    settings: tuple[Setting, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()  # fragments: `assemble` joins those of one directory
    facts: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    # facts that `assemble` knows: planned_steps, planned_epochs, steps_per_epoch, exit_code, framework, finished (bool),
    # started_at / ended_at (seconds since 1970), status ("running", "finished", "failed", "killed"), gpus
    consumed: tuple[str, ...] = ()  # further files that were read as part of this one


@dataclass(frozen=True, slots=True)
class Reader:
    """`claims` looks at the name and the head only; `read` opens the file. The first reader that claims a file reads it."""

    name: str
    claims: Callable[[Candidate], bool]
    read: Callable[[Candidate], Found]
