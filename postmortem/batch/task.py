"""What is done to one run, as plain picklable data: handed to any executor, in this process or on another machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from postmortem.model.batch import Row
from postmortem.supervision import Limits


@dataclass(frozen=True, slots=True)
class Options:
    """How every run of a batch is analysed. A change of any of these makes what was done before worthless."""

    reports: bool = True
    only_failed: bool = False  # no report of a healthy run
    redact: bool = True
    lang: str = "en"  # of reports, titles and summaries
    key: str = ""  # hexadecimal; keys the pseudonyms, so that they are the same all over the batch
    family: str = ""
    frozen: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()

    @property
    def stated(self) -> Mapping[str, object]:
        """As in a `postmortem.toml`; empty when nothing was stated, so that each run's own counts."""
        if not (self.family or self.frozen or self.ignore or self.aliases):
            return MappingProxyType({})
        return MappingProxyType({"family": self.family, "frozen": list(self.frozen), "ignore": list(self.ignore), "aliases": dict(self.aliases)})


@dataclass(frozen=True, slots=True)
class Task:
    """One run to analyse. `path` is absolute; it reaches no output."""

    name: str
    path: str
    fingerprint: str = ""
    modified: float = 0.0  # of its newest file, seconds since 1970
    options: Options = field(default_factory=Options)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it: the row, the document without exhibits as JSON text, the report; "" where there is none."""

    row: Row
    document: str = ""
    html: str = ""
