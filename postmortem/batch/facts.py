"""A run and its diagnosis → the row of the batch's tables."""

import hashlib
import hmac
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from postmortem.batch.curves import tiny
from postmortem.batch.task import Options, Task
from postmortem.model.batch import Row, RowStatus
from postmortem.model.diagnosis import Diagnosis, FindingStatus, Severity
from postmortem.model.run import EventKind, LogEvent, Run, Setting
from postmortem.model.sentence import Value
from postmortem.render.language import speaking
from postmortem.render.story import more_refused, refused
from postmortem.render.words import one_line, speak, t

_NODE = frozenset({"host", "hostname", "node", "nodename", "nodelist", "slurm_nodelist", "slurmd_nodename", "node_name", "master_addr"})
_USER = frozenset({"user", "username", "user_name", "mlflow.user", "slurm_job_user"})
_IMAGE = frozenset({"image", "docker_image", "container", "container_image", "docker", "image_tag"})
_EVENT_FILE = re.compile(r"events\.out\.tfevents\.\d{6,14}\.([^/]{1,100}?)(?=(?:\.\d+){0,3}(?:\.v2)?(?:/|$|,))")
_HOME = re.compile(r"/(?:home|Users|data/home|export/home|gpfs/home|nfs/home)/([A-Za-z0-9][A-Za-z0-9._\-]{0,63})(?=/|\b)")
_LOSSES = ("train/loss", "train/loss.epoch", "val/loss", "train/accuracy", "val/accuracy", "reward")
_MOST_SETTINGS = 40
_MOST_TEXT = 80  # characters of a setting's value
_SINCE = 946_684_800.0  # seconds; a time before the year 2000 counts from the start of the run


def row_of(task: Task, run: Run | None, diagnosis: Diagnosis, seconds: float) -> Row:
    """The row of an analysed run, its texts in the batch's language. `run` is as it was read: names in it are replaced here."""
    with speaking(task.options.lang):
        return _row(task, run, diagnosis, seconds)


def _row(task: Task, run: Run | None, diagnosis: Diagnosis, seconds: float) -> Row:
    verdict, note = diagnosis.verdict, diagnosis.run
    cost = verdict.cost
    raised = _raised(run)
    name, curve = _curve(run)
    worst = [f.severity for f in diagnosis.findings if f.status is FindingStatus.PRESENT and f.severity is not None]
    return Row(
        name=task.name,
        status=RowStatus.ANALYSED,
        fingerprint=task.fingerprint,
        mode=verdict.mode,
        cause=verdict.cause,
        title=speak(verdict.title),
        cause_title=speak(verdict.cause_title),
        severity=verdict.severity.value if verdict.severity else None,
        worst=max(worst, key=lambda s: s.rank).value if worst else None,
        confidence=_rounded(verdict.confidence),
        cause_confidence=_rounded(verdict.cause_confidence),
        onset=_finite(verdict.onset.step if verdict.onset else None),
        axis=note.axis,
        steps=_finite(note.steps.completed),
        steps_after_onset=_finite(cost.steps_after_onset if cost else None),
        hours_after_onset=_finite(cost.hours if cost else None),
        gpu_hours_after_onset=_finite(cost.gpu_hours if cost else None),
        outcome=note.outcome,
        family=note.family,
        framework=note.framework,
        exception=str(raised.data.get("exception") or "")[:_MOST_TEXT] if raised else "",
        frame=_frame(raised),
        layer=_layer(run, diagnosis),
        node=pseudonym(task.options, "node", _node(run)),
        user=pseudonym(task.options, "user", _user(run)),
        image=next((str(s.value)[:_MOST_TEXT] for s in note.settings if _leaf(s.key) in _IMAGE and isinstance(s.value, str)), ""),
        week=_week(run, task.modified),
        settings=_settings(diagnosis),
        curve=curve,
        curve_name=name,
        summary=speak(verdict.summary)[:400],
        refused=_refused(diagnosis),
        seconds=round(seconds, 3),
    )


def _refused(diagnosis: Diagnosis) -> str:
    told = [one_line(s.path if s.detail is None else f"{s.path}{t(': ')}{speak(s.detail)}", 200) for s in refused(diagnosis)]
    return "; ".join([*told, *filter(None, [more_refused(diagnosis)])])


def pseudonym(options: Options, kind: str, name: str) -> str:
    """The stand-in of a node's or user's name, the same all over a batch; the name itself when nothing is to be redacted."""
    if not name:
        return ""
    if not options.redact:
        return name[:_MOST_TEXT]
    digest = hmac.new(bytes.fromhex(options.key), f"{kind}:{name}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
    return f"{kind}-{digest[:6]}"


def as_severe(row: Row, least: Severity) -> bool:
    """Whether a finding of at least that severity is present."""
    return row.worst is not None and Severity(row.worst).rank >= least.rank


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _leaf(key: str) -> str:
    lower = key.lower()
    return lower if lower in _USER else lower.rpartition(".")[2]


def _all_settings(run: Run) -> Iterator[Setting]:
    yield from run.settings
    for earlier in run.earlier:
        yield from earlier.settings


def _node(run: Run | None) -> str:
    if run is None:
        return ""
    stated = next((str(s.value) for s in _all_settings(run) if _leaf(s.key) in _NODE and isinstance(s.value, str) and s.value), "")
    if stated:
        return stated.split(".")[0] if not stated.replace(".", "").isdigit() else stated
    written = (_EVENT_FILE.search(s.path) for s in run.sources)
    return next((m[1].split(".")[0] for m in written if m), "")


def _user(run: Run | None) -> str:
    if run is None:
        return ""
    stated = next((str(s.value) for s in _all_settings(run) if _leaf(s.key) in _USER and isinstance(s.value, str) and s.value), "")
    if stated:
        return stated
    homes = [_HOME.search(s.value) for s in _all_settings(run) if isinstance(s.value, str)] + [_HOME.search(e.text) for e in run.events]
    return next((m[1] for m in homes if m), "")


def _raised(run: Run | None) -> LogEvent | None:
    """The exception that ended the run: the last one with a frame, else the last one."""
    if run is None:
        return None
    named = [e for e in run.events if e.data.get("exception") and e.kind != EventKind.WARNING]
    return next((e for e in reversed(named) if e.data.get("frame")), named[-1] if named else None)


def _frame(raised: LogEvent | None) -> str:
    """file:function, without directories (they hold names) and line numbers (they move with every edit)."""
    if raised is None or not raised.data.get("frame"):
        return ""
    file = re.split(r"[/\\]", str(raised.data["frame"]).rpartition(":")[0])[-1]
    return f"{file}:{raised.data.get('frame_function') or '?'}"[:_MOST_TEXT]


def _layer(run: Run | None, diagnosis: Diagnosis) -> str:
    """The first tensor, or module that holds one, that the verdict's finding names in its figures."""
    found = diagnosis.finding(diagnosis.verdict.mode)
    if run is None or found is None:
        return ""
    tensors = {t.name for c in run.checkpoints for t in c.tensors}
    modules = {name.rpartition(".")[0] for name in tensors} | {name.rpartition("/")[0] for name in tensors}
    sentences = [
        found.summary,
        *(c.detail for c in found.clues if c.holds),
        *(c.detail for cause in found.causes[:1] for c in cause.clues if c.holds),
    ]
    for sentence in sentences:
        for value in sentence.values.values():
            if isinstance(value, str) and value and (value in tensors or value in modules):
                return value[:_MOST_TEXT]
    return ""


def _week(run: Run | None, modified: float) -> str:
    """ISO week of the first record that has a clock; of the newest file when none has."""
    times = [float(s.times[0]) for s in run.series if s.times is not None and len(s.times)] if run else []
    times += [e.time for e in run.events if e.time is not None] if run else []
    real = [t for t in times if math.isfinite(t) and t > _SINCE]
    start = min(real) if real else modified
    if not start:
        return ""
    try:
        year, week, _ = datetime.fromtimestamp(start, UTC).isocalendar()
    except (OverflowError, OSError, ValueError):
        return ""
    return f"{year}-W{week:02d}"


def _settings(diagnosis: Diagnosis) -> dict[str, Value]:
    out: dict[str, Value] = {}
    for name, value in list(diagnosis.run.hyperparameters.items())[:_MOST_SETTINGS]:
        out[name] = value[:_MOST_TEXT] if isinstance(value, str) else value
    parameters = diagnosis.run.model.parameters
    if parameters is not None:
        out.setdefault("parameters", parameters)
    return out


def _curve(run: Run | None) -> tuple[str, str]:
    if run is None:
        return "", ""
    for name in _LOSSES:
        series = run.one_series(name)
        if series is not None and len(series):
            return name, tiny(series.steps, series.values)
    return "", ""
