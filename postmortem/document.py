"""`Run` and what was judged of it → the `Diagnosis` document. Only re-arranging: nothing is measured or judged here."""

from collections.abc import Sequence
from types import MappingProxyType

from postmortem import __version__
from postmortem.model.diagnosis import (
    AttemptNote,
    CheckpointNote,
    Diagnosis,
    EventNote,
    Finding,
    ModelNote,
    NextTime,
    RunNote,
    SeriesNote,
    SettingNote,
    SourceNote,
    Steps,
    Tool,
    Verdict,
)
from postmortem.model.evidence import Evidence
from postmortem.model.exhibits import Exhibits
from postmortem.model.run import Run, Series, Source
from postmortem.model.sentence import Sentence, Value

MOST_EVENTS = 60
MOST_SETTINGS = 200
MOST_TEXT = 300  # characters of a setting's value
MOST_SERIES = 200
MOST_SOURCES = 500
MOST_NAMES = 50  # that one checkpoint names and nothing should


def document(
    run: Run,
    evidence: Evidence,
    verdict: Verdict,
    findings: Sequence[Finding],
    next_time: Sequence[NextTime],
    exhibits: Exhibits,
    assumed: Sequence[Sentence],
    *,
    redacted: bool,
) -> Diagnosis:
    """Everything a report needs."""
    return Diagnosis(
        run=_run(run, evidence, assumed, redacted=redacted),
        verdict=verdict,
        findings=tuple(findings),
        next_time=tuple(next_time),
        exhibits=exhibits,
        tool=Tool("postmortem", __version__),
        chance=MappingProxyType(
            {"loss": evidence.chance.loss, "accuracy": evidence.chance.accuracy, "classes": evidence.chance.classes, "basis": evidence.chance.basis}
        ),
    )


def _run(run: Run, evidence: Evidence, assumed: Sequence[Sentence], *, redacted: bool) -> RunNote:
    named: dict[str, Value] = {}
    for setting in run.settings:
        if setting.name:
            named.setdefault(setting.name, _short(setting.value))
    broken = {c.path: len(c.non_finite) for c in evidence.checkpoints}
    parameters, trainable = evidence.model.parameters, evidence.model.trainable
    if parameters is None and (told := evidence.number("parameters")) is not None:
        parameters = int(told)
    return RunNote(
        name=run.name,
        family=evidence.family,
        framework=run.framework,
        outcome=run.outcome,
        axis=run.axis,
        steps=Steps(evidence.last_step, run.planned_steps),
        attempts=tuple(AttemptNote(a.first_step, a.last_step, a.seam) for a in run.attempts),
        sources=tuple(SourceNote(s.path, s.reader, s.status.value, s.detail, s.size, s.refused) for s in _shown(run.sources)),
        hyperparameters=MappingProxyType(named),
        settings=tuple(SettingNote(s.name, s.key, _short(s.value), s.file) for s in run.settings[:MOST_SETTINGS]),
        model=ModelNote(parameters, trainable, evidence.model.architecture, evidence.model.head, evidence.model.outputs),
        series=tuple(
            SeriesNote(s.name, s.logged_as, s.source, len(s), float(s.steps[0]), float(s.steps[-1]), float(s.values[0]), float(s.values[-1]))
            for s in _listed(run.series)
        ),
        checkpoints=tuple(
            CheckpointNote(
                c.path, c.step, c.epoch, c.format, c.status.value, len(c.tensors), c.size, c.detail, broken.get(c.path), c.refused[:MOST_NAMES]
            )
            for c in run.checkpoints
        ),
        events=tuple(EventNote(e.kind.value, e.text, e.source, e.line, e.step) for e in run.events[:MOST_EVENTS]),
        assumed=tuple(assumed),
        redacted=redacted,
    )


def _shown(sources: Sequence[Source]) -> list[Source]:
    """The sources that are listed, in their order; of too many those first in which something was refused."""
    first = sorted(range(len(sources)), key=lambda n: not sources[n].refused)[:MOST_SOURCES]
    return [sources[n] for n in sorted(first)]


def _listed(series: Sequence[Series]) -> list[Series]:
    """The series that are listed, in their order; of too many those that have a name in the vocabulary first."""
    known = [s for s in series if len(s)]
    first = sorted(range(len(known)), key=lambda n: known[n].name.startswith("other/"))[:MOST_SERIES]
    return [known[n] for n in sorted(first)]


def _short(value: Value) -> Value:
    return value[:MOST_TEXT] + "…" if isinstance(value, str) and len(value) > MOST_TEXT else value
