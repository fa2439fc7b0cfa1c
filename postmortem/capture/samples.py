"""Figures of many tensors at once: no synchronising call per tensor, everything crosses to the host in one piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLE = 2048  # elements of a tensor, drawn evenly, that stand for it in shares and histograms
FOLD = 22  # bits of float32 that a histogram leaves out: sign, exponent and one bit of mantissa stay

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Figures:
    """norm, high : (n,) L2 norm and largest magnitude, exact. parts : the drawn elements of each tensor. sizes : elements of each."""

    norm: Array
    high: Array
    parts: tuple[Array, ...]
    sizes: tuple[int, ...]

    def statistics(self) -> dict[str, list[float]]:
        """rms, max and share of zeros (smaller than float32 can hold) per tensor; NaN and Inf come out as such."""
        sizes = np.maximum(np.array(self.sizes, np.float64), 1.0)
        zeros = [float(np.mean(np.abs(p) < np.finfo(np.float32).tiny)) if len(p) else 0.0 for p in self.parts]
        return {"rms": (self.norm / np.sqrt(sizes)).tolist(), "max": self.high.tolist(), "zero_share": zeros}


def local(tensor: Any) -> Any:
    """The elements of a tensor that are here: a shard of a distributed one, the values of a sparse one."""
    tensor = tensor.detach()
    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    return tensor.coalesce().values() if tensor.is_sparse else tensor


def drawn(tensor: Any) -> Any:
    """At most `SAMPLE` elements, evenly spaced, as float32 on the tensor's device."""
    import torch

    flat = tensor.reshape(-1)
    stride = max(1, flat.numel() // SAMPLE)
    return flat[::stride][:SAMPLE].to(torch.float32)


def figures(tensors: Sequence[Any]) -> Figures:
    """Figures of floating tensors of one device."""
    import torch

    here = [local(t) for t in tensors]
    if not here:
        return Figures(np.empty(0, np.float32), np.empty(0, np.float32), (), ())
    zero = torch.zeros((), device=here[0].device)
    norms = [torch.linalg.vector_norm(t, dtype=torch.float32) if t.numel() else zero for t in here]
    highs = [torch.linalg.vector_norm(t, float("inf"), dtype=torch.float32) if t.numel() else zero for t in here]
    some = [drawn(t) for t in here]
    packed = torch.cat([torch.stack(norms), torch.stack(highs), *some]).cpu().numpy()
    n = len(here)
    return Figures(packed[:n], packed[n : 2 * n], tuple(split(packed[2 * n :], [len(s) for s in some])), tuple(t.numel() for t in here))


def draw_all(tensors: Sequence[Any]) -> tuple[Array, ...]:
    """The drawn elements of many tensors, in one transfer."""
    import torch

    some = [drawn(local(t)) for t in tensors]
    if not some:
        return ()
    return tuple(split(torch.cat(some).cpu().numpy(), [len(s) for s in some]))


def split(packed: Array, lengths: Sequence[int]) -> list[Array]:
    """Cut one array into pieces of those lengths."""
    return list(np.split(packed, np.cumsum(lengths)[:-1])) if lengths else []


def histogram(values: Array) -> tuple[list[int], list[int]]:
    """Occupied keys and their counts. A key is the top ten bits of float32; NaN and Inf are left out."""
    finite = np.ascontiguousarray(values[np.isfinite(values)], np.float32)
    keys, counts = np.unique(finite.view(np.uint32) >> FOLD, return_counts=True)
    return keys.tolist(), counts.tolist()
