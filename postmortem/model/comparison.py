"""Runs held against a good one, as a document: what differs, from where on, by how much. The first runs are the good ones."""

from collections.abc import Iterable
from dataclasses import dataclass

from postmortem.model.exhibits import CurveExhibit
from postmortem.model.sentence import Sentence, Value

COMPARISON = "postmortem-comparison/1"
NO_RESULTS = frozenset({"lr", "loss_scale", "throughput", "step_time", "data_time"})  # curves of what was set, or of the machine


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One of the runs, as it was judged on its own."""

    name: str
    framework: str
    outcome: str
    mode: str
    title: Sentence
    cause: str | None
    cause_title: Sentence | None
    severity: str | None
    confidence: float | None
    first: float | None  # of its curves, on the axis of the comparison
    last: float | None


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """One setting that two runs do not share. A value of None with `missing` is a setting that this run does not state."""

    name: str  # canonical, "" when the vocabulary does not know it
    key: str  # as written in the run that states it
    good: Value
    bad: Value
    kind: str  # hyper-parameter, environment, other
    missing: str = ""  # "good" or "bad": the run that does not state it


@dataclass(frozen=True, slots=True)
class Parting:
    """How one curve of a run lies to that of the good run, on the points that both have.

    `same_until` is the last point up to which both are equal but for rounding; `at` the first point from which they stay apart by
    more than their noise. Both are on the axis of the comparison; None when there is no such point.
    """

    curve: str
    points: int  # that were compared
    first: float  # the first of them
    same_until: float | None
    equal: bool  # to the last point
    same_before: bool  # (nearly) to the point where they part
    at: float | None
    good: float | None  # values at `at`, or at the last point
    bad: float | None
    noise: float  # standard deviation of the difference that noise alone explains there
    apart: float  # share of the points from `at` on that are beyond the noise
    good_end: float | None  # values at the last point that both have
    bad_end: float | None
    worse: bool | None  # whether the run is worse than the good one from there on; None for curves without a better end


def results(partings: Iterable[Parting]) -> tuple[Parting, ...]:
    """Curves that show what came of the training; those outside of the vocabulary only where there is nothing else."""
    shown = tuple(p for p in partings if p.curve not in NO_RESULTS)
    return tuple(p for p in shown if not p.curve.startswith("other/")) or shown


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """A tensor that differs between the runs. `good` and `bad` are root mean squares at the checkpoint where they differ most."""

    name: str  # in the good run
    other: str  # in the other run
    quantity: str  # weights, gradient
    from_: float | None  # the first pair of checkpoints at which they differ clearly
    at: float | None  # the pair at which they differ most
    good: float
    bad: float
    distance: float = 0.0  # of the distributions (weights) or sizes (gradient) there, over the larger: 0 the same, 1 nothing in common
    values: float | None = None  # ‖bad − good‖ / ‖good‖ there, where both runs started from the same weights


@dataclass(frozen=True, slots=True)
class RunDifference:
    """One run against the good one."""

    run: int  # its place among the runs
    summary: Sentence  # as a colleague would say it
    settings: tuple[SettingDifference, ...]
    partings: tuple[Parting, ...]  # the earliest first; curves that stay together at the end
    layers: tuple[LayerDifference, ...]
    checkpoints: int  # pairs of checkpoints that were held against each other
    remarks: tuple[Sentence, ...] = ()  # what could not be compared, and why


@dataclass(frozen=True, slots=True)
class ComparedCurve:
    """A curve that the good run and another one have, on the axis of the comparison; empty exhibits for runs without it."""

    name: str
    curves: tuple[CurveExhibit, ...]  # one per run; `steps` are places on the axis


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs or more. Differences are those from the first one; further good runs only tell how much good runs differ."""

    axis: str  # step, epoch, tokens, time (hours since the first record)
    runs: tuple[ComparedRun, ...]
    differences: tuple[RunDifference, ...]  # of every run that is not good
    curves: tuple[ComparedCurve, ...] = ()
    remarks: tuple[Sentence, ...] = ()
    version: str = ""
    good: int = 1  # runs, counted from the first, that are good
    schema: str = COMPARISON
