"""Tensors that differ between two runs, by how much, and from which checkpoint on.

Distributions can be held against each other whatever the seeds: their distance is the area between the two quantile functions. Values
can be where both runs started from the same weights: then ‖b − a‖ / ‖a‖ says more than any statistic.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from postmortem.compare.axis import choose
from postmortem.compare.values import Saved, apart
from postmortem.measure.quantiles import QUANTILES
from postmortem.model.comparison import LayerDifference
from postmortem.model.evidence import Evidence
from postmortem.model.tensors import CheckpointStats, Role, TensorStats

CLEARLY = 0.08  # distance; √(2/π) · 0.1: that of two centred Gaussians of which one is a tenth wider
LUCK = 3.1  # / √elements: what two draws of one distribution stay below, 99 times of 100 (measured for 8 to 4,096 Gaussian elements)
MOVED = 0.1  # ‖b − a‖ / ‖a‖ of two runs from one start
ONE_START = 1.0  # median ‖b − a‖ / ‖a‖ of the weights at the first pair of checkpoints; √2 between independent draws
BEYOND = 2.0  # times the distance between two good runs
NEAR = 0.1  # of the larger place: two checkpoints as far apart as that are still held against each other
MOST = 20


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two checkpoints of one moment, by their places in the two runs."""

    at: float | None
    good: int
    bad: int


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """A run's checkpoints: measured, and as they are on the disk where they still are."""

    evidence: Evidence
    saved: Saved | None = None


def differing(good: Stand, bad: Stand, axis: str = "", others: Sequence[Stand] = ()) -> tuple[tuple[LayerDifference, ...], int]:
    """The tensors that differ most, and the number of pairs of checkpoints that were compared.

    others : further good runs; what differs between them and `good` nearly as much is no difference.
    """
    axis = axis or choose((good.evidence, bad.evidence))
    found, pairs = _found(good, bad, axis)
    usual: dict[tuple[str, str], float] = {}
    for other in others:
        for key, differences in _found(good, other, axis)[0].items():
            usual[key] = max(usual.get(key, 0.0), *(_size(d) for d in differences))
    kept = []
    for key, differences in found.items():
        beyond = [d for d in differences if _size(d) > BEYOND * usual.get(key, 0.0)]
        if beyond:
            kept.append(replace(max(beyond, key=_size), from_=beyond[0].from_))
    return tuple(sorted(kept, key=lambda d: -_size(d))[:MOST]), pairs


def _size(difference: LayerDifference) -> float:
    """By which differences are ranked. Infinite when only one of the tensors is finite."""
    values = difference.values
    return max(difference.distance, min(values, 1.0) if values is not None and not math.isnan(values) else 0.0)


def _found(good: Stand, bad: Stand, axis: str) -> tuple[dict[tuple[str, str], list[LayerDifference]], int]:
    """Clear differences by quantity and tensor, in order of the checkpoints."""
    pairs = _pairs(good.evidence, bad.evidence, axis)
    found: dict[tuple[str, str], list[LayerDifference]] = {}
    one_start: bool | None = None
    for pair in pairs:
        ours, theirs = good.evidence.checkpoints[pair.good], bad.evidence.checkpoints[pair.bad]
        names = matched(ours.tensors, theirs.tensors)
        values: Mapping[str, float] = {}
        if one_start is not False and good.saved is not None and bad.saved is not None:
            values = apart(good.saved, bad.saved, (pair.good, pair.bad), names)
            if one_start is None:
                one_start = _one_start(ours, values)
            values = values if one_start else {}
        for difference in (*_weights(ours, theirs, names, pair, values), *_gradients(ours, theirs, names, pair)):
            found.setdefault((difference.quantity, difference.name), []).append(difference)
    return found, len(pairs)


def _one_start(checkpoint: CheckpointStats, values: Mapping[str, float]) -> bool:
    weights = [values[t.name] for t in checkpoint.tensors if t.role in (Role.WEIGHT, Role.EMBEDDING) and math.isfinite(values.get(t.name, math.nan))]
    return bool(weights) and median(weights) < ONE_START


def _weights(
    ours: CheckpointStats, theirs: CheckpointStats, names: Mapping[str, str], pair: Pair, values: Mapping[str, float]
) -> list[LayerDifference]:
    mine, other = ({t.name: t for t in c.tensors} for c in (ours, theirs))
    out = []
    for name, there in names.items():
        a, b = mine[name], other[there]
        if Role.BUFFER in (a.role, b.role):
            continue
        distance, moved = distribution_distance(a, b), values.get(name)
        if distance > CLEARLY + LUCK / math.sqrt(max(1, min(a.count, b.count))) or (moved is not None and moved > MOVED):
            mean_squares = [math.nan if t.non_finite else t.rms for t in (a, b)]
            out.append(LayerDifference(name, there, "weights", pair.at, pair.at, mean_squares[0], mean_squares[1], distance, moved))
    return out


def _gradients(ours: CheckpointStats, theirs: CheckpointStats, names: Mapping[str, str], pair: Pair) -> list[LayerDifference]:
    mine, other = ({g.name: g.rms for g in c.gradients} for c in (ours, theirs))
    out = []
    for name, there in names.items():
        if name in mine and there in other:
            distance = _relative(mine[name], other[there])
            if distance > CLEARLY:
                out.append(LayerDifference(name, there, "gradient", pair.at, pair.at, mine[name], other[there], distance))
    return out


def distribution_distance(a: TensorStats, b: TensorStats) -> float:
    """Area between the quantile functions of two tensors over the larger root mean square (Wasserstein-1, from the quantiles at hand).

    0 for the same distribution, about 1 where one of them is far wider; infinite when only one holds NaN or Inf, 0 when both do.
    """
    if a.non_finite or b.non_finite:
        return 0.0 if a.non_finite and b.non_finite else math.inf
    size = max(a.rms, b.rms)
    if not size > 0 or not math.isfinite(size) or len(a.quantiles) != len(b.quantiles):
        return 0.0
    between = np.abs(np.asarray(a.quantiles) - np.asarray(b.quantiles)) / size
    return float(np.trapezoid(between, QUANTILES) + between[0] * QUANTILES[0] + between[-1] * (1 - QUANTILES[-1]))


def _relative(a: float, b: float) -> float:
    """|a − b| over the larger; infinite when only one is finite, 0 when none is or both are 0."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return 0.0 if not math.isfinite(a) and not math.isfinite(b) else math.inf
    size = max(abs(a), abs(b))
    return abs(a - b) / size if size else 0.0


def matched(ours: Sequence[TensorStats], theirs: Sequence[TensorStats]) -> Mapping[str, str]:
    """Tensors that mean the same in two checkpoints: by name, else, over all trained tensors in order, by shape (also transposed)."""
    there = {t.name: t for t in theirs}
    named = {t.name: t.name for t in ours if t.name in there and sorted(t.shape) == sorted(there[t.name].shape)}
    if len(named) * 2 >= len(ours):
        return named
    a, b = ([t for t in tensors if t.role in (Role.WEIGHT, Role.EMBEDDING, Role.BIAS, Role.NORM_GAIN)] for tensors in (ours, theirs))
    if len(a) == len(b) and all(sorted(x.shape) == sorted(y.shape) for x, y in zip(a, b, strict=True)):
        return {x.name: y.name for x, y in zip(a, b, strict=True)}
    return named


def _pairs(good: Evidence, bad: Evidence, axis: str) -> list[Pair]:
    """Checkpoints of the same moment; the last ones of each run when no moment is known."""
    ours, theirs = ([_place(e, c, axis) for c in e.checkpoints] for e in (good, bad))
    out: list[Pair] = []
    for i, x in enumerate(ours):
        near = [(abs(y - x), y, j) for j, y in enumerate(theirs) if x is not None and y is not None]
        if not near or x is None:
            continue
        distance, y, j = min(near, key=lambda item: item[0])
        if distance <= NEAR * max(abs(x), abs(y)) + 1e-9 and min(abs(x2 - y) for x2 in ours if x2 is not None) == distance:
            out.append(Pair(x, i, j))
    if not out and ours and theirs and (ours[-1] is None or theirs[-1] is None):
        out.append(Pair(None, len(ours) - 1, len(theirs) - 1))
    return out


def _place(evidence: Evidence, checkpoint: CheckpointStats, axis: str) -> float | None:
    if axis == "epoch":
        if checkpoint.epoch is not None:
            return checkpoint.epoch
        return checkpoint.step / evidence.steps_per_epoch if checkpoint.step is not None and evidence.steps_per_epoch else None
    return checkpoint.step
