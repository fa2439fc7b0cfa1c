"""Many runs: a row for each, groups of runs that failed the same way, and what separates them from others. Plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from postmortem.model.sentence import Sentence, Value


class RowStatus(StrEnum):
    """What became of the analysis of one run."""

    ANALYSED = "analysed"
    UNREADABLE = "unreadable"  # nothing in it is a log or a checkpoint
    CRASHED = "crashed"  # the analyzer raised or died; what it was at is in the reason
    TIMEOUT = "timeout"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Row:
    """One run in the tables of a batch. Names in it are as redacted as those of its report."""

    name: str  # path below what all runs have in common, POSIX style; unique within the batch
    status: RowStatus
    fingerprint: str  # of the run's files, the tool's version and the options: unchanged means that nothing is to be done again
    reason: str = ""  # why it was not analysed
    mode: str = ""  # the verdict's; "" when it was not analysed
    cause: str | None = None
    title: str = ""
    cause_title: str = ""
    severity: str | None = None
    worst: str | None = None  # severity of the worst finding that is present
    confidence: float | None = None
    cause_confidence: float | None = None
    onset: float | None = None  # in `axis`
    axis: str = "step"
    steps: float | None = None
    steps_after_onset: float | None = None
    hours_after_onset: float | None = None
    gpu_hours_after_onset: float | None = None
    outcome: str = ""
    family: str = ""
    framework: str = ""
    exception: str = ""  # type
    frame: str = ""  # innermost frame of the run's own code: file:function
    layer: str = ""  # first layer that the verdict names
    node: str = ""
    user: str = ""
    image: str = ""
    week: str = ""  # ISO week of the first record, such as 2026-W31
    settings: Mapping[str, Value] = field(default_factory=dict)  # hyper-parameters by canonical name
    curve: str = ""  # see `postmortem.batch.curves`
    curve_name: str = ""
    summary: str = ""
    refused: str = ""  # the files of which something was refused, and what; "" when nothing was
    report: str = ""  # file below the output directory, "" when none was written
    report_bytes: int = 0
    seconds: float = 0.0  # of analysis

    @property
    def failed(self) -> bool:
        """Analysed, and neither healthy nor inconclusive."""
        return self.status is RowStatus.ANALYSED and self.mode not in ("healthy", "inconclusive")

    @property
    def good(self) -> bool:
        """Analysed and healthy."""
        return self.mode == "healthy"


@dataclass(frozen=True, slots=True)
class Contrast:
    """A value that is more frequent among some runs than among the others they are held against."""

    attribute: str  # hyper-parameter, node, user, image, week, framework, family
    value: str  # "= sgd", "≥ 0.03"
    inside: int  # runs with that value among the runs in question
    of_inside: int  # of so many whose value is known
    outside: int
    of_outside: int
    against: str  # "healthy" runs, or "other" ones where too few are healthy
    p: float  # two-sided Fisher's exact test; after all corrections (cut points, attributes)


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that failed the same way."""

    id: str  # stable: made from the signature
    mode: str  # or the status of runs that were not analysed
    cause: str | None
    exception: str
    frame: str
    title: str  # "" of runs that were not analysed
    cause_title: str
    runs: tuple[str, ...]  # names, the most costly first
    steps: float | None  # after the onset, summed over the runs that tell
    hours: float | None
    gpu_hours: float | None
    told: int  # runs whose hours are known
    layers: tuple[tuple[str, int], ...] = ()  # first bad layers and in how many runs
    contrasts: tuple[Contrast, ...] = ()  # against healthy runs; against all others that were analysed where too few are healthy
    too_few: bool = False  # too few runs for contrasts


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that the index, the summary and the table of a batch are made from, except the rows themselves."""

    version: str
    runs: int
    statuses: tuple[tuple[str, int], ...]  # by status, most frequent first
    modes: tuple[tuple[str, str, int], ...]  # (id, title, runs), most frequent first
    causes: tuple[tuple[str, str, int], ...]
    groups: tuple[Group, ...]  # most costly first
    contrasts: tuple[Contrast, ...]  # failed against healthy runs
    notes: tuple[Sentence, ...]  # what the figures do not say
    failed: int
    good: int
