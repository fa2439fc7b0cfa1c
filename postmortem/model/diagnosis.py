"""The document: everything a report needs, from which it can be made later and elsewhere.

It carries no clock time of the analysis and no absolute path. The field names are those of the JSON contract
(a trailing underscore is dropped there: `from_` is "from").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from postmortem.model.comparison import Comparison
from postmortem.model.exhibits import Exhibits
from postmortem.model.sentence import Sentence, Value

SCHEMA = "postmortem/1"


class Severity(StrEnum):
    """How bad: fatal, the run ended because of it or its model is unusable; serious, one would run it again; minor, worth knowing."""

    FATAL = "fatal"
    SERIOUS = "serious"
    MINOR = "minor"

    @property
    def rank(self) -> int:
        """2 fatal, 1 serious, 0 minor."""
        return {"fatal": 2, "serious": 1, "minor": 0}[self.value]


class Standing(StrEnum):
    """What the clues make of a cause."""

    CONFIRMED = "confirmed"  # probability ≥ 0.95
    LIKELY = "likely"  # ≥ 0.7
    POSSIBLE = "possible"  # ≥ 0.3
    UNLIKELY = "unlikely"  # ≥ 0.05
    RULED_OUT = "ruled-out"
    NOT_MEASURED = "not-measured"  # no probe could be asked


class FindingStatus(StrEnum):
    PRESENT = "present"
    ABSENT = "absent"
    NOT_MEASURED = "not-measured"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Onset:
    step: float | None
    epoch: float | None = None
    visible_from_step: float | None = None  # earliest step at which the log already showed it
    time: float | None = None  # seconds since 1970, when the log has it


@dataclass(frozen=True, slots=True)
class Clue:
    """One piece of evidence for or against, as asked and answered. `weight` is what it added, in log-odds (nats)."""

    claim: Sentence
    holds: bool | None  # None: not measured
    weight: float
    detail: Sentence  # the answer with its number; for "not measured": what to log
    source: str = ""  # the file it was read from


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one hyper-parameter that a machine can apply. `to` None removes it; `between` is how far what was measured leaves it open."""

    parameter: str
    key: str
    file: str
    from_: Value
    to: Value
    between: tuple[float, float] | None = None  # lowest and highest value that the run's figures bear, in the unit of `to`


@dataclass(frozen=True, slots=True)
class Fix:
    title: Sentence
    why: Sentence
    changes: tuple[Change, ...] = ()
    code: str = ""  # a snippet for the framework that the run used


@dataclass(frozen=True, slots=True)
class CauseVerdict:
    cause: str
    title: Sentence
    mechanism: Sentence
    standing: Standing
    confidence: float  # P(cause | mode)
    prior: float  # log-odds
    clues: tuple[Clue, ...] = ()
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check of the checklist said."""

    mode: str
    title: Sentence
    status: FindingStatus
    severity: Severity | None
    confidence: float | None  # P(mode); None when not measured or crashed
    attempt: int
    summary: Sentence
    consequence_of: str | None = None  # mode
    onset: Onset | None = None
    prior: float = 0.0
    clues: tuple[Clue, ...] = ()
    causes: tuple[CauseVerdict, ...] = ()  # most probable first
    fixes: tuple[Fix, ...] = ()
    steps_by_hand: tuple[Sentence, ...] = ()  # what a person would look at next
    show: tuple[str, ...] = ()  # ids of exhibits


@dataclass(frozen=True, slots=True)
class Cost:
    steps_after_onset: float | None
    share: float | None
    hours: float | None
    gpu_hours: float | None


@dataclass(frozen=True, slots=True)
class RestartFrom:
    """The last good checkpoint and how to go on from it."""

    path: str
    step: float | None
    why: Sentence
    code: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    mode: str  # a mode's id, "healthy" or "inconclusive"
    title: Sentence
    cause: str | None
    cause_title: Sentence | None
    severity: Severity | None
    confidence: float | None
    onset: Onset | None
    summary: Sentence
    last_good_checkpoint: str | None = None
    restart: RestartFrom | None = None
    cost: Cost | None = None
    decided_by: tuple[Clue, ...] = ()  # the two or three clues that decide it
    fixes: tuple[Fix, ...] = ()
    cause_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class SourceNote:
    path: str
    reader: str
    status: str
    detail: Sentence | None
    size: int
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    completed: float | None
    planned: float | None


@dataclass(frozen=True, slots=True)
class AttemptNote:
    first_step: float
    last_step: float
    seam: Sentence | None


@dataclass(frozen=True, slots=True)
class SeriesNote:
    name: str
    logged_as: str
    source: str
    points: int
    first_step: float | None
    last_step: float | None
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class CheckpointNote:
    path: str
    step: float | None
    epoch: float | None
    format: str
    status: str
    tensors: int
    size: int
    detail: Sentence | None
    non_finite: int | None  # tensors with NaN/Inf, None when not measured
    refused: tuple[str, ...] = ()  # what a pickle in it names and no checkpoint needs, such as "posix.system"


@dataclass(frozen=True, slots=True)
class ModelNote:
    parameters: int | None
    trainable_parameters: int | None
    architecture: str
    head: str | None
    outputs: int | None


@dataclass(frozen=True, slots=True)
class SettingNote:
    name: str
    key: str
    value: Value
    file: str


@dataclass(frozen=True, slots=True)
class EventNote:
    kind: str
    text: str
    source: str
    line: int
    step: float | None


@dataclass(frozen=True, slots=True)
class RunNote:
    name: str
    family: str
    framework: str
    outcome: str
    axis: str
    steps: Steps
    attempts: tuple[AttemptNote, ...]
    sources: tuple[SourceNote, ...]
    hyperparameters: Mapping[str, Value]  # by canonical name
    settings: tuple[SettingNote, ...]
    model: ModelNote
    series: tuple[SeriesNote, ...]
    checkpoints: tuple[CheckpointNote, ...]
    events: tuple[EventNote, ...] = ()
    assumed: tuple[Sentence, ...] = ()  # family, intents: what was assumed and why
    redacted: bool = True


@dataclass(frozen=True, slots=True)
class NextTime:
    """One thing to log next time and what it would have decided."""

    log: str
    how: Sentence
    would_decide: tuple[str, ...]
    code: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    run: RunNote
    verdict: Verdict
    findings: tuple[Finding, ...]
    next_time: tuple[NextTime, ...]
    exhibits: Exhibits
    tool: Tool
    schema: str = SCHEMA
    chance: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    comparison: Comparison | None = None  # with a baseline: how the run differs from it

    def finding(self, mode: str) -> Finding | None:
        """The finding of a mode in the last attempt."""
        return next((f for f in self.findings if f.mode == mode and f.attempt == len(self.run.attempts) - 1), None) or next(
            (f for f in self.findings if f.mode == mode), None
        )

    def to_json(self, *, exhibits: bool = True, indent: int | None = 1) -> str:
        """The document as JSON text (schema "postmortem/1")."""
        from postmortem.model.codec import dump

        return dump(self, exhibits=exhibits, indent=indent)

    def to_html(self, lang: str = "en") -> str:
        """A self-contained HTML page, in English or in Chinese (`lang="zh"`)."""
        from postmortem.render.html import render_html

        return render_html(self, lang)

    def to_markdown(self, lang: str = "en") -> str:
        """Markdown for an issue's text, under 60,000 characters, in English or in Chinese (`lang="zh"`)."""
        from postmortem.render.markdown import render_markdown

        return render_markdown(self, lang)

    def _repr_html_(self) -> str:
        """For notebooks: the report in a sandboxed frame."""
        import html

        return f'<iframe sandbox="" style="width:100%;height:800px;border:0" srcdoc="{html.escape(self.to_html())}"></iframe>'
