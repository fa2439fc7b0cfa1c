"""Tensors whose size differs between two runs, and from which checkpoint on. Works on their statistics: the runs need not share a seed."""

import math
from collections.abc import Mapping, Sequence

from postmortem.compare.axis import choose
from postmortem.model.comparison import LayerDifference
from postmortem.model.evidence import CheckpointStats, Evidence, Role, TensorStats

CLEARLY = math.log(1.1)  # |ln ratio of root mean squares|; two seeds of one setting differ by a few per cent
NEAR = 0.1  # of the larger place: two checkpoints as far apart as that are still held against each other
MOST = 20


def differing(good: Evidence, bad: Evidence, axis: str = "") -> tuple[tuple[LayerDifference, ...], int]:
    """The tensors that differ most, and the number of pairs of checkpoints that were compared."""
    axis = axis or choose((good, bad))
    pairs = _pairs(good, bad, axis)
    found: dict[tuple[str, str], LayerDifference] = {}
    for at, ours, theirs in pairs:
        names = matched(ours.tensors, theirs.tensors)
        for quantity, mine, other in (
            ("weights", {t.name: _size(t) for t in ours.tensors}, {t.name: _size(t) for t in theirs.tensors}),
            ("gradient", {g.name: g.rms for g in ours.gradients}, {g.name: g.rms for g in theirs.gradients}),
        ):
            for name, name_there in names.items():
                if name in mine and name_there in other:
                    _note(found, quantity, name, name_there, at, mine[name], other[name_there])
    ranked = sorted(found.values(), key=lambda d: -_distance(d.good, d.bad))
    return tuple(ranked[:MOST]), len(pairs)


def _note(found: dict[tuple[str, str], LayerDifference], quantity: str, name: str, other: str, at: float | None, good: float, bad: float) -> None:
    far = _distance(good, bad)
    if far <= CLEARLY:
        return
    before = found.get((quantity, name))
    if before is None:
        found[quantity, name] = LayerDifference(name, other, quantity, at, at, good, bad)
    elif far > _distance(before.good, before.bad):
        found[quantity, name] = LayerDifference(name, other, quantity, before.from_, at, good, bad)


def _size(tensor: TensorStats) -> float:
    return math.nan if tensor.non_finite else tensor.rms


def _distance(good: float, bad: float) -> float:
    """|ln(bad / good)|; infinite when only one is 0 or not finite, 0 when both are."""
    usable = [math.isfinite(v) and v > 0 for v in (good, bad)]
    if not all(usable):
        both_zero = good == 0 and bad == 0
        return 0.0 if both_zero or (not math.isfinite(good) and not math.isfinite(bad)) else math.inf
    return abs(math.log(bad / good))


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


def _pairs(good: Evidence, bad: Evidence, axis: str) -> list[tuple[float | None, CheckpointStats, CheckpointStats]]:
    """Checkpoints of the same moment; the last two of each run when no moment is known."""
    ours = [(_place(good, c, axis), c) for c in good.checkpoints]
    theirs = [(_place(bad, c, axis), c) for c in bad.checkpoints]
    out: list[tuple[float | None, CheckpointStats, CheckpointStats]] = []
    for x, checkpoint in ours:
        near = [(abs(y - x), y, c) for y, c in theirs if x is not None and y is not None]
        if not near or x is None:
            continue
        distance, y, other = min(near, key=lambda item: item[0])
        if distance <= NEAR * max(abs(x), abs(y)) + 1e-9 and min(abs(x2 - y) for x2, _ in ours if x2 is not None) == distance:
            out.append((x, checkpoint, other))
    if not out and ours and theirs and (ours[-1][0] is None or theirs[-1][0] is None):
        out.append((None, ours[-1][1], theirs[-1][1]))
    return out


def _place(evidence: Evidence, checkpoint: CheckpointStats, axis: str) -> float | None:
    if axis == "epoch":
        if checkpoint.epoch is not None:
            return checkpoint.epoch
        return checkpoint.step / evidence.steps_per_epoch if checkpoint.step is not None and evidence.steps_per_epoch else None
    return checkpoint.step
