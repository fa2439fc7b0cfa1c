"""Runs held against a good one: what differs in settings, curves and tensors, and from where on. Measures; draws and judges nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from postmortem.compare import axis as axes
from postmortem.compare import layers, settings
from postmortem.compare.curves import part
from postmortem.compare.values import Saved
from postmortem.compare.words import colleague
from postmortem.measure.decimate import keep_index
from postmortem.model.comparison import ComparedCurve, ComparedRun, Comparison, Parting, RunDifference
from postmortem.model.diagnosis import Diagnosis
from postmortem.model.evidence import Evidence
from postmortem.model.exhibits import CurveExhibit
from postmortem.model.run import Floats
from postmortem.model.sentence import Sentence, say

MOST_CURVES = 40
POINTS = 1000  # of one curve in the document
_PLACES = frozenset({"epoch", "step"})  # logged like curves, and no more than the axis
_FIRST = ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "grad_norm", "lr")


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A run with what was measured and judged of it."""

    evidence: Evidence
    diagnosis: Diagnosis
    saved: Saved | None = None  # its checkpoints on the disk

    @property
    def stand(self) -> layers.Stand:
        """What tensors are compared by."""
        return layers.Stand(self.evidence, self.saved)


def compare(sides: Sequence[Side], by: str = "auto", version: str = "", good: int = 1) -> Comparison:
    """The runs against the first of them.

    good : how many of them, from the first on, are good; how much they differ among each other is what the others may differ.
    by : step, epoch, tokens, time, or auto: steps where one step means the same in all runs, else epochs. An axis that a run does not
    have falls back to the automatic one, with a remark.
    """
    runs = [side.evidence for side in sides]
    axis, remarks = _axis(runs, by)
    placed = [_placed(e, axis) for e in runs]
    compared = tuple(_run(side, curves) for side, curves in zip(sides, placed, strict=True))
    differences = tuple(_difference(sides, placed, i, axis, good) for i in range(good, len(sides)))
    names = [name for name in placed[0] if any(name in other for other in placed[1:])]
    return Comparison(axis, compared, differences, tuple(_curves(name, placed) for name in names[:MOST_CURVES]), tuple(remarks), version, good)


def _axis(runs: Sequence[Evidence], by: str) -> tuple[str, list[Sentence]]:
    best = axes.choose(runs)
    if by == "auto":
        return best, []
    if all(_placed(e, by) for e in runs):
        return by, []
    return best, [say("Not every run tells where it was by {axis}: compared by {best}.", axis=by, best=best)]


def _placed(evidence: Evidence, axis: str) -> dict[str, axes.Placed]:
    """Curves by name, the telling ones first. The mean of an epoch stands for a curve whose single steps were not logged."""
    out: dict[str, axes.Placed] = {}
    rank = {name: i for i, name in enumerate(_FIRST)}
    for name, series in sorted(evidence.series.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0])):
        found = axes.place(evidence, series, axis) if len(series) and name not in _PLACES else None
        if found is not None:
            out[name] = found
    for name in [n for n in out if n.endswith(".epoch")]:
        out.setdefault(name.removesuffix(".epoch"), replace(out[name], name=name.removesuffix(".epoch")))
    return {name: out[name] for name in sorted(out, key=lambda n: (rank.get(n, len(rank)), n))}


def _run(side: Side, curves: dict[str, axes.Placed]) -> ComparedRun:
    run, verdict = side.diagnosis.run, side.diagnosis.verdict
    ends = [(float(c.x[0]), float(c.x[-1])) for c in curves.values()]
    return ComparedRun(
        run.name, run.framework, run.outcome, verdict.mode, verdict.title, verdict.cause, verdict.cause_title,
        verdict.severity.value if verdict.severity else None, verdict.confidence,
        min((a for a, _ in ends), default=None), max((b for _, b in ends), default=None),
    )  # fmt: skip


def _difference(sides: Sequence[Side], placed: Sequence[dict[str, axes.Placed]], i: int, axis: str, goods: int) -> RunDifference:
    good, bad = sides[0].evidence, sides[i].evidence
    others = placed[1:goods]
    found = [
        p
        for name, curve in placed[0].items()
        if name in placed[i] and (p := part(curve, placed[i][name], [o[name] for o in others if name in o])) is not None
    ]
    partings = tuple(sorted(found, key=_order)[:MOST_CURVES])
    differing = settings.differing(good, bad)
    tensors, pairs = layers.differing(sides[0].stand, sides[i].stand, axis, [s.stand for s in sides[1:goods]])
    remarks: list[Sentence] = []
    if not partings:
        remarks.append(say("No curve was logged by both runs at three or more common places."))
    if not pairs:
        remarks.append(say("No checkpoints of the same moment were found in both runs."))
    if not good.settings or not bad.settings:
        remarks.append(say("Settings cannot be compared: one of the runs states none."))
    return RunDifference(
        i, colleague(partings, differing, axis, known=bool(good.settings and bad.settings)), differing, partings, tensors, pairs, tuple(remarks)
    )


def _order(parting: Parting) -> tuple[float, int]:
    rank = _FIRST.index(parting.curve) if parting.curve in _FIRST else len(_FIRST)
    return (math.inf if parting.at is None else parting.at, rank)


def _curves(name: str, placed: Sequence[dict[str, axes.Placed]]) -> ComparedCurve:
    return ComparedCurve(name, tuple(_exhibit(name, curves.get(name)) for curves in placed))


def _exhibit(name: str, curve: axes.Placed | None) -> CurveExhibit:
    if curve is None:
        return CurveExhibit(name, (), (), 0)
    kept = keep_index(curve.values, POINTS)
    return CurveExhibit(name, _tuple(curve.x[kept]), _tuple(curve.values[kept]), len(curve.x))


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(float(v) for v in np.asarray(values))
