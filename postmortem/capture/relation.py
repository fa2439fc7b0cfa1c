"""Do the labels have anything to do with the inputs? Asked of the first few hundred recorded samples, three times in a training.

A label that belongs to its input can be predicted from it better than by the most frequent class: by its nearest neighbours or by a
linear fit, each sample predicted from all others. Shuffled or shifted labels cannot. A task may be too hard for either, so that "no
relation" is a sign and no proof; a relation is a proof that labels are not shuffled.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from postmortem.capture.batches import IGNORED, arrays, on_host

SIZES = (128, 256, 512)  # samples at which it is asked; none are kept beyond the last
FEATURES = 128  # that a sample is reduced to
DRAWN = 2048  # elements of a sample that the reduction looks at
NEIGHBOURS = 5
ROWS = 64  # samples whose distances are taken at once, to keep memory small …
COLUMNS = 256  # … and elements of samples that are multiplied out at once
RIDGES = (0.03, 1.0)  # of the mean eigenvalue
UNEVEN = 0.6  # share of one class
PER_CLASS = 8  # samples per class below which nothing can be said

Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class Relation:
    """Samples so far. Draws no random number of the training's."""

    _features: list[Floats] = field(default_factory=list)
    _labels: list[npt.NDArray[Any]] = field(default_factory=list)
    _known: set[bytes] = field(default_factory=set)  # hashes of the samples that are kept: one that comes again would predict itself
    _count: int = 0
    _asked: int = 0  # of SIZES
    _mix: npt.NDArray[np.int8] | None = None  # (elements drawn of a sample, FEATURES) of −1 and 1

    def add(self, rows: npt.NDArray[Any], hashes: list[bytes], labels: Any, *, indices: bool) -> bool:
        """Keep those of a batch's samples, (n, d), that are new, with one label each. True when there are enough to ask `figures` (again)."""
        if self._asked >= len(SIZES) or rows.dtype.kind not in "fiu":
            return False
        array = next(arrays(labels), None)
        if array is None or not len(getattr(array, "shape", ())) or math.prod(array.shape) != array.shape[0]:
            return False  # none, or one per position
        told = on_host(array).reshape(-1)[: len(rows)]
        if told.dtype.kind not in "fiu" or len(told) != len(rows):
            return False
        reduced = self._reduced(rows, indices=indices)
        ok = np.isfinite(reduced).all(1) & (np.isfinite(told) if told.dtype.kind == "f" else told != IGNORED)
        if self._features and reduced.shape[1] != self._features[0].shape[1]:
            return False
        ok &= np.array([h not in self._known and hashes.index(h) == n for n, h in enumerate(hashes)])
        self._known.update(hashes)
        self._features.append(reduced[ok])
        self._labels.append(told[ok])
        self._count += int(ok.sum())
        if self._count < SIZES[self._asked]:
            return False
        while self._asked < len(SIZES) and self._count >= SIZES[self._asked]:
            self._asked += 1
        return True

    def figures(self) -> dict[str, float]:
        """`label_relation`: how far predictions get from guessing (0) to perfect (1), `label_relation_z` the same in standard errors of
        guessing, `label_relation_samples`; {} where the labels are too many classes or all one. For numbers as labels: of their variance."""
        x, y = np.concatenate(self._features)[: SIZES[-1]], np.concatenate(self._labels)[: SIZES[-1]]
        if self._asked >= len(SIZES):
            self._features, self._labels, self._known, self._mix = [], [], set(), None
        found = relation(x, y)
        if found is None:
            return {}
        return {"label_relation": found[0], "label_relation_z": found[1], "label_relation_samples": float(len(y))}

    def _reduced(self, rows: npt.NDArray[Any], *, indices: bool) -> Floats:
        """(n, d) → (n, ≤ FEATURES): counts of hashed indices, or random sums of evenly drawn elements, always the same ones."""
        if indices and rows.shape[1] > 1:
            slots = (rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(57)  # 128 of them
            counts = np.zeros((len(rows), FEATURES), np.float32)
            np.add.at(counts, (np.arange(len(rows))[:, None], slots.astype(np.intp)), 1.0)
            return np.log1p(counts)
        drawn = rows[:, :: max(1, rows.shape[1] // DRAWN)][:, :DRAWN]
        width = drawn.shape[1]
        if width <= FEATURES:
            return drawn.astype(np.float32)
        if self._mix is None or len(self._mix) != width:
            self._mix = 2 * np.random.default_rng(0).integers(0, 2, (width, FEATURES), np.int8) - 1
        out = np.zeros((len(drawn), FEATURES), np.float32)
        for at in range(0, width, COLUMNS):
            out += drawn[:, at : at + COLUMNS].astype(np.float32) @ self._mix[at : at + COLUMNS].astype(np.float32)
        return out / np.float32(math.sqrt(width))


def relation(x: Floats, y: npt.NDArray[Any]) -> tuple[float, float] | None:
    """(gain over guessing, that in standard errors) of the better of the predictors. x : (n, d), y : (n,) classes or numbers."""
    n = len(y)
    numbers = y.dtype.kind == "f" and not np.array_equal(y, np.round(y))
    middle, spread = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    x = ((x[:, spread > 0] - middle[spread > 0]) / spread[spread > 0]).astype(np.float32)
    if n < SIZES[0] or not x.shape[1]:
        return None
    if numbers:
        wide = np.asarray(y, np.float64) - np.mean(y, dtype=np.float64)
        if not wide.any():
            return None
        target = (wide / np.abs(wide).max()).astype(np.float32)[:, None]
    else:
        classes, which = np.unique(y, return_inverse=True)
        if len(classes) < 2 or n < PER_CLASS * len(classes):
            return None
        target = (np.eye(len(classes))[which] - np.bincount(which)[None] / n).astype(np.float32)
    guesses = [_ridge(x, target, r) for r in RIDGES] + [_neighbours(x, target)]
    if numbers:
        total = float((target**2).sum())
        gain = max(1.0 - float(((g - target) ** 2).sum()) / total for g in guesses)
        return gain, gain * math.sqrt(n / 2)  # R² of n unrelated numbers scatters by about sqrt(2/n)
    base = float(np.bincount(which).max()) / n
    if base > UNEVEN:
        return None  # there is little left to predict
    prior = np.bincount(which)[None] / n
    right = max(float(((g + prior).argmax(1) == which).mean()) for g in guesses)
    return (right - base) / (1.0 - base), (right - base) / math.sqrt(base * (1.0 - base) / n)


def _ridge(x: Floats, target: Floats, ridge: float) -> Floats:
    """Each sample predicted by a ridge regression on all others: y − (y − Hy) / (1 − h), H = x (xᵀx + λ)⁻¹ xᵀ the hat matrix, h its diagonal."""
    across = (x.T @ x).astype(np.float64)
    solved = x @ np.linalg.inv(across + ridge * np.trace(across) / len(x) * np.eye(len(across))).astype(np.float32)
    rest: Floats = (target - solved @ (x.T @ target)) / (1.0 - (solved * x).sum(1))[:, None]
    return target - rest


def _neighbours(x: Floats, target: Floats) -> Floats:
    """The mean of each sample's nearest others."""
    own = (x * x).sum(1)
    out = np.empty_like(target)
    for at in range(0, len(x), ROWS):
        apart = own[at : at + ROWS, None] + own[None] - 2.0 * (x[at : at + ROWS] @ x.T)
        apart[np.arange(len(apart)), np.arange(at, at + len(apart))] = np.inf
        out[at : at + ROWS] = target[np.argpartition(apart, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]].mean(1)
    return out
