"""Statistics of one batch: range, NaN, labels, hashes of its samples, samples that are constant."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from postmortem.capture.samples import FAR_PIECE, flat

IGNORED = -100  # the label that losses leave out
HASHED = 256  # samples of a batch that are hashed
HASHED_BYTES = 1 << 23
REMEMBERED = 1 << 16  # hashes kept of an epoch, and of training at all
FETCHED = 1 << 20  # bytes of inputs on an accelerator up to which they are fetched: to measure them there takes longer
PIECE = 1 << 16  # elements of the inputs that are measured at once
MOST_CLASSES = 1000  # of a label histogram that is written down
INPUT_KEYS = ("pixel_values", "input_values", "input_features", "inputs", "input", "image", "images", "x", "input_ids", "data")
LABEL_KEYS = ("labels", "label", "targets", "target", "y")

Moments = tuple[float, float, float, float, float]  # of a piece's finite elements: number, mean, sum of squares about it, lowest, highest
Hashes = npt.NDArray[np.uint64]
NONE: Hashes = np.empty(0, np.uint64)


def parts(batch: Any) -> tuple[Any, Any]:
    """(inputs, labels) of a batch as a loader gives it: a tuple, a mapping, or inputs alone; None for what is not there."""
    if isinstance(batch, Mapping) or (hasattr(batch, "keys") and hasattr(batch, "__getitem__")):
        names = list(batch.keys())
        label = next((k for k in LABEL_KEYS if k in names), None)
        named = next((k for k in INPUT_KEYS if k in names), next((k for k in names if k != label), None))
        return (None if named is None else batch[named]), (None if label is None else batch[label])
    if isinstance(batch, list | tuple):
        if not batch:
            return None, None
        return (batch[0], batch[-1]) if len(batch) > 1 else (batch[0], None)
    return batch, None


def arrays(value: Any) -> Iterator[Any]:
    """The arrays of a nested structure, in order."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from arrays(inner)
    elif isinstance(value, list | tuple):
        if value and isinstance(value[0], int | float):
            yield np.asarray(value)
        else:
            for inner in value:
                yield from arrays(inner)
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        yield value


def size(inputs: Any) -> int:
    """Number of samples in a batch, 0 when it cannot be told."""
    shape: tuple[int, ...] = getattr(inputs if hasattr(inputs, "shape") else next(arrays(inputs), None), "shape", ())
    return int(shape[0]) if shape else 0


def on_host(value: Any) -> np.ndarray[Any, Any]:
    """An array or tensor of any framework as numpy; bfloat16 as float32."""
    if hasattr(value, "detach"):
        value = value.detach()
        if str(value.dtype) in ("torch.bfloat16", "torch.float8_e4m3fn", "torch.float8_e5m2"):
            value = value.float()
        value = value.cpu()
    return np.asarray(value)


def near(inputs: Any) -> Any:
    """Inputs that are few, on the host."""
    array = next(arrays(inputs), None)
    if array is None or not hasattr(array, "detach") or array.device.type == "cpu" or array.numel() * array.element_size() > FETCHED:
        return inputs
    return on_host(array)


def input_figures(inputs: Any) -> dict[str, float]:
    """mean, std, min, max over the finite elements of the inputs, NaN where there are none, and the number of others.

    A tensor on an accelerator is measured where it is; only the figures cross over. Memory is that of a few pieces, however large the inputs are.
    """
    array = next(arrays(inputs), None)
    if array is None:
        return {}
    if hasattr(array, "detach") and array.device.type != "cpu":
        count, moments = array.numel(), _far_moments(array.detach())
    else:
        host = on_host(array)
        count, moments = host.size, _near_moments(host) if host.dtype.kind in "fiubc" else []
    if not moments:
        return {}
    kept, means, squares, lows, highs = np.array(moments, np.float64).T
    full = kept > 0
    if not full.any():
        values = [math.nan] * 4
    else:
        mean = float((kept[full] * means[full]).sum() / kept.sum())
        spread = float((squares[full] + kept[full] * (means[full] - mean) ** 2).sum() / kept.sum())
        values = [mean, math.sqrt(spread), float(lows[full].min()), float(highs[full].max())]
    return dict(zip(("mean", "std", "min", "max", "non_finite"), (*values, count - float(kept.sum())), strict=True))


def _near_moments(host: np.ndarray[Any, Any]) -> list[Moments]:
    elements, out = host.ravel(order="K"), []
    for at in range(0, len(elements), PIECE):
        piece = elements[at : at + PIECE]
        wide = np.abs(piece) if piece.dtype.kind == "c" else piece.astype(np.float64)
        fine = wide[np.isfinite(wide)]
        if fine.size:
            mean = fine.mean()
            out.append((float(fine.size), float(mean), float(((fine - mean) ** 2).sum()), float(fine.min()), float(fine.max())))
        else:
            out.append((0.0, math.nan, 0.0, math.nan, math.nan))
    return out


def _far_moments(tensor: Any) -> list[Moments]:
    """The same, in one transfer."""
    import torch

    told = []
    for piece in flat(tensor).split(FAR_PIECE) if tensor.numel() else ():
        wide = (piece.abs() if piece.is_complex() else piece).to(torch.float32)
        ok = torch.isfinite(wide)
        kept = ok.sum().to(torch.float32)
        mean = torch.where(ok, wide, 0.0).sum() / kept
        apart = torch.where(ok, wide - mean, 0.0)
        told += [kept, mean, apart.sum(), apart.square_().sum(), torch.where(ok, wide, torch.inf).min(), torch.where(ok, wide, -torch.inf).max()]
    out: list[Moments] = []
    for n, mean, left, squares, low, high in torch.stack(told).view(-1, 6).tolist() if told else ():
        off = left / n if n else math.nan  # float32 rounded the mean
        out.append((n, mean + off, squares - off * left if n else 0.0, low, high))
    return out


def label_figures(labels: Any, classes: int | None) -> tuple[dict[str, float], dict[int, int]]:
    """Share of the largest class and labels out of range, and the histogram; of numbers that are to be predicted mean and spread, and ({}, {})
    where there are no labels."""
    array = next(arrays(labels), None)
    if array is None:
        return {}, {}
    host = on_host(array)
    if host.dtype.kind == "f":
        fine = host[np.isfinite(host)].astype(np.float64)
        spread = {"target_mean": float(fine.mean()), "target_std": float(fine.std())} if fine.size else {}
        return {"label_non_finite": float(host.size - fine.size), **spread}, {}
    if host.dtype.kind not in "iub" or not host.size:
        return {}, {}
    counted = host[host != IGNORED] if host.dtype.kind == "i" else host
    names, counts = np.unique(counted, return_counts=True)
    if not len(names):
        return {}, {}
    out = {"largest_class_share": float(counts.max() / counts.sum())}
    if classes is not None:
        outside = (names < 0) | (names >= classes)
        out["labels_out_of_range"] = float(counts[outside].sum())
    return out, {int(n): int(c) for n, c in zip(names[:MOST_CLASSES], counts[:MOST_CLASSES], strict=True)}


def whole_numbers(inputs: Any) -> bool:
    """Inputs are indices, such as token ids, which have no scale; bytes of an image are none."""
    array = next(arrays(inputs), None)
    name = str(getattr(array, "dtype", ""))
    return "int" in name and "uint8" not in name


def first_rows(inputs: Any) -> np.ndarray[Any, Any] | None:
    """The first samples of a batch on the host, (n, elements of a sample). Samples are the first axis; None where there are none."""
    array = next(arrays(inputs), None)
    if array is None or len(getattr(array, "shape", ())) < 1 or not array.shape[0]:
        return None
    each = max(1, math.prod(array.shape[1:]) * 4)
    host = on_host(array[: max(1, min(HASHED, HASHED_BYTES // each))])
    return np.ascontiguousarray(host).reshape(len(host), -1)


def sample_hashes(rows: np.ndarray[Any, Any] | None) -> list[bytes]:
    """A hash of each sample."""
    return [] if rows is None else [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]


def fingerprint(hashes: list[bytes]) -> float:
    """One number for the samples of a batch, whatever their order: equal for equal sets of samples. A whole number below 2⁴⁸."""
    together = hashlib.blake2b(b"".join(sorted(set(hashes))), digest_size=6).digest()
    return float(int.from_bytes(together, "big"))


def copies(hashes: list[bytes]) -> float:
    """Share of the samples that equal an earlier one of the same batch."""
    return 1.0 - len(set(hashes)) / len(hashes) if hashes else 0.0


def constant_share(rows: np.ndarray[Any, Any] | None) -> float | None:
    """Share of samples that hold the same value everywhere; None for samples of a single value, and for indices."""
    if rows is None or rows.shape[1] < 2 or rows.dtype.kind not in "fu":
        return None
    return float((rows == rows[:, :1]).all(axis=1).mean())


@dataclass(slots=True)
class Seen:
    """Which samples were met: in this epoch, in the batch before, and in training at all. Eight bytes for each that is remembered."""

    epoch: float | None = None
    before: tuple[int, Hashes] = (-2, NONE)
    _within: Hashes = field(default_factory=lambda: NONE)
    _trained: Hashes = field(default_factory=lambda: NONE)

    def duplicates(self, hashes: list[bytes], step: int, epoch: float | None) -> float | None:
        """Share of samples that were met before in this epoch. Where no epoch is told: in the batch right before; None when that was not recorded."""
        now = _distinct(hashes)
        inside = len(hashes) - len(now)
        if epoch is not None:
            if epoch != self.epoch:
                self.epoch, self._within = epoch, NONE
            share = float(inside + _among(now, self._within).sum()) / len(hashes)
            self._within = _remembered(self._within, now)
            return share
        earlier, met = self.before
        self.before = (step, now)
        if earlier != step - 1:
            return inside / len(hashes) if inside else None
        return float(inside + _among(now, met).sum()) / len(hashes)

    def overlap(self, split: str, hashes: list[bytes]) -> float | None:
        """Share of a validation batch's samples that are among the recorded training samples; None for training itself."""
        if split == "train":
            self._trained = _remembered(self._trained, _distinct(hashes))
            return None
        return float(_among(_numbers(hashes), self._trained).mean()) if len(self._trained) else None


# numpy's own set functions import `numpy.ma`, which takes more memory than everything else here.


def _numbers(hashes: Iterable[bytes]) -> Hashes:
    return np.frombuffer(b"".join(hashes), np.uint64)


def _distinct(hashes: list[bytes]) -> Hashes:
    return np.sort(_numbers(set(hashes)))


def _among(some: Hashes, known: Hashes) -> npt.NDArray[np.bool_]:
    """Which of some are in `known`, which is sorted."""
    return np.searchsorted(known, some, "right") > np.searchsorted(known, some)


def _remembered(known: Hashes, more: Hashes) -> Hashes:
    """Both, sorted, of distinct ones each; what is known alone where that is enough."""
    return np.sort(np.concatenate([known, more[~_among(more, known)]])) if len(known) < REMEMBERED else known
