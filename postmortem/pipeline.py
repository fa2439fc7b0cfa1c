"""The whole chain: read → redact → measure → diagnose → document."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from pathlib import Path

from postmortem import __version__
from postmortem.checklist import checklist
from postmortem.checklist.healthy import HEALTHY
from postmortem.compare import Side
from postmortem.compare import compare as compared
from postmortem.compare.baseline import held_against
from postmortem.compare.values import Saved
from postmortem.diagnose import diagnose, next_time
from postmortem.document import document
from postmortem.errors import NothingReadable, UsageError
from postmortem.measure import Stated, measure
from postmortem.measure.exhibits import exhibits, marks
from postmortem.model.comparison import Comparison
from postmortem.model.diagnosis import Diagnosis, Finding
from postmortem.model.evidence import Evidence
from postmortem.model.exhibits import Exhibits
from postmortem.model.run import Run, Status
from postmortem.redact import redact as redacted_run
from postmortem.sources import read_run
from postmortem.sources.archives import opened
from postmortem.stated import laid_over, listed, stated_beside
from postmortem.verdict import judge

Progress = Callable[[str, float], None]
PathIn = str | PathLike[str]
MOST_EARLIER = 8  # attempts before the last one that are judged


def analyze(
    paths: PathIn | Sequence[PathIn],
    *,
    stated: Stated | None = None,
    redact: bool = True,
    with_exhibits: bool = True,
    progress: Progress | None = None,
    seen: Callable[[Run], None] | None = None,
    measured: Callable[[Evidence], None] | None = None,
    baseline: PathIn | Sequence[PathIn] | None = None,
) -> Diagnosis:
    """Read what a training run left behind and say what failed, when, why, and what to change.

    paths : a directory, a file, an archive of a run, "-" for a log on standard input, or several paths of one run.
    stated : what the user knows of the run, beside what its `postmortem.toml` says.
    redact : replace secrets, home paths, user and host names before anything is measured.
    progress : called with a few words and a share, 0 to 1.
    seen : called with the run as it was read, before names are replaced (a batch tells nodes and users apart by it).
    measured : called with what was measured of the last attempt.
    baseline : a good run of the same training, or several; how this one differs from it becomes part of the document, and tells faults of
        data from faults of training.
    Raises `UsageError` when a path does not exist and `NothingReadable` when nothing in it could be read.
    """
    given = [Path(p) for p in ([paths] if isinstance(paths, str | PathLike) else paths)]
    for path in given:
        if str(path) != "-" and not path.exists() and not path.is_symlink():
            raise UsageError(f"there is no {path}")
    with ExitStack() as stack:
        places = [stack.enter_context(opened(path, sys.stdin.buffer if str(path) == "-" else None)) for path in given]
        beside, own = stated_beside([p.directory for p in places])
        stated = laid_over(stated, beside) if stated else beside
        name = places[0].name if len(places) == 1 else ""
        refused = [source for place in places for source in place.skipped]
        run = read_run(
            [p.directory for p in places], name=name, aliases=stated.aliases, progress=_part(progress, 0.0, 0.5), refused=refused, one=True
        )
        run = listed(run, own)
        if seen is not None:
            seen(run)
        if baseline is None:
            return diagnose_run(run, stated, redact=redact, with_exhibits=with_exhibits, progress=_part(progress, 0.5, 1.0), measured=measured)
        goods = [_side(one, None, redact=redact, progress=None) for one in _several(baseline)]
        kept: list[Evidence] = []
        diagnosis = diagnose_run(
            run, stated, redact=redact, with_exhibits=with_exhibits, progress=_part(progress, 0.5, 1.0), measured=kept.append, goods=goods
        )
        if measured is not None:
            measured(kept[-1])
        bad = Side(kept[-1], diagnosis, Saved(run.root, run.checkpoints))
        return replace(diagnosis, comparison=compared([*goods, bad], "auto", __version__, good=len(goods)))


def _several(baseline: PathIn | Sequence[PathIn]) -> Sequence[PathIn]:
    return [baseline] if isinstance(baseline, str | PathLike) else list(baseline)


def compare(
    paths: Sequence[PathIn | Sequence[PathIn]],
    *,
    by: str = "auto",
    good: int = 1,
    stated: Stated | None = None,
    redact: bool = True,
    progress: Progress | None = None,
) -> Comparison:
    """Hold runs against the first of them, the good one: curves, settings, checkpoints, verdicts.

    paths : two or more runs, each as for `analyze`.
    good : how many of them, from the first on, are good. The others are apart where they leave the spread of the good ones.
    by : the axis: step, epoch, tokens, time (hours), or auto. Raises as `analyze`, and `UsageError` for fewer than two runs.
    """
    if len(paths) < 2 or not 1 <= good < len(paths):
        raise UsageError("comparing needs two runs at least: a good one and another")
    sides = [_side(one, stated, redact=redact, progress=_part(progress, i / len(paths), (i + 1) / len(paths))) for i, one in enumerate(paths)]
    return compared(sides, by, __version__, good)


def _side(paths: PathIn | Sequence[PathIn], stated: Stated | None, *, redact: bool, progress: Progress | None) -> Side:
    kept: list[Evidence] = []
    read: list[Run] = []
    diagnosis = analyze(paths, stated=stated, redact=redact, with_exhibits=False, progress=progress, seen=read.append, measured=kept.append)
    return Side(kept[-1], diagnosis, Saved(read[-1].root, read[-1].checkpoints))


def diagnose_run(
    run: Run,
    stated: Stated,
    *,
    redact: bool = True,
    with_exhibits: bool = True,
    progress: Progress | None = None,
    measured: Callable[[Evidence], None] | None = None,
    goods: Sequence[Side] = (),
) -> Diagnosis:
    """The chain from a run on. `measured` is called with what was measured of the last attempt; `goods` are runs to hold it against.

    Raises `NothingReadable` when the run holds nothing to go by.
    """
    if not run.series and not run.checkpoints and not run.events:
        raise NothingReadable(_nothing(run))
    if redact:
        run = redacted_run(run)
    findings: list[Finding] = []
    attempt = len(run.earlier)
    for n, earlier in list(enumerate(run.earlier))[-MOST_EARLIER:]:
        evidence, _ = measure(earlier, stated)
        findings += diagnose(evidence, checklist(), n)
    evidence, assumed = measure(run, stated, progress)
    if goods:
        evidence = replace(evidence, baseline=held_against([g.evidence for g in goods], evidence, good=goods[0].diagnosis.verdict.mode == "healthy"))
    if measured is not None:
        measured(evidence)
    last = diagnose(evidence, checklist(), attempt)
    verdict = judge(evidence, last, HEALTHY, attempt)
    findings = [*last, *(f for f in findings if f.status == "present")]
    shown = Exhibits()
    if with_exhibits:
        onset = verdict.onset
        shown = exhibits(run, evidence, marks(evidence, onset.step if onset else None, onset.visible_from_step if onset else None))
    return document(run, evidence, verdict, findings, next_time(evidence, checklist(), last), shown, assumed, redacted=redact)


def _part(progress: Progress | None, start: float, end: float) -> Progress | None:
    return None if progress is None else lambda what, share: progress(what, start + (end - start) * share)


def _nothing(run: Run) -> str:
    """Why nothing could be read, in one sentence."""
    if not run.sources:
        return "the directory is empty: there is no log and no checkpoint in it"
    failed = [s for s in run.sources if s.status in (Status.FAILED, Status.PARTIAL)]
    if failed:
        first = failed[0]
        return f"nothing here could be read: {first.path}: {first.detail or 'unreadable'}"
    shown = ", ".join(f"{s.path!r} ({s.detail or 'it holds settings and no curve'})" for s in run.sources[:3])
    return f"nothing here is a log or a checkpoint of training; found {len(run.sources)} other entries: {shown}"
