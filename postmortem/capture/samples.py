"""Figures of many tensors at once: on an accelerator nothing is fetched tensor by tensor, everything crosses to the host in one piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DRAWN = 2048  # elements of a tensor, drawn evenly, by which its update is measured; of small tensors fewer, to keep memory small
FEWEST = 32
SHARE = 512  # one of so many elements is drawn, within these bounds
FOLD = 22  # bits of float32 that a histogram leaves out: sign, exponent and one bit of mantissa stay
KEYS = 1 << (32 - FOLD)
FINITE = 0xFF << 1  # of magnitudes; keys from here on are Inf and NaN
PIECE = 4096  # elements that are counted at once: their copies stay in the cache

Array = npt.NDArray[np.float32]
Histogram = tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint32]]


@dataclass(frozen=True, slots=True)
class Figures:
    """norm, high : (n,) L2 norm and largest magnitude. zeros : (n,) elements that are exactly 0. sizes : elements of each.

    histograms : of each tensor that was asked for, else two empty arrays. All of them are of every element.
    """

    norm: Array
    high: Array
    zeros: npt.NDArray[np.float64]
    sizes: tuple[int, ...]
    histograms: tuple[Histogram, ...]

    def statistics(self) -> dict[str, list[float]]:
        """rms, max and share of zeros per tensor; NaN and Inf come out as such."""
        sizes = np.maximum(np.array(self.sizes, np.float64), 1.0)
        return {"rms": (self.norm / np.sqrt(sizes)).tolist(), "max": self.high.tolist(), "zero_share": (self.zeros / sizes).tolist()}


def local(tensor: Any) -> Any:
    """The elements of a tensor that are here: a shard of a distributed one, the values of a sparse one."""
    tensor = tensor.detach()
    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    return tensor.coalesce().values() if tensor.is_sparse else tensor


def figures(tensors: Sequence[Any], counted: frozenset[int] = frozenset()) -> Figures:
    """Figures of floating tensors of one device; a histogram of those at the places `counted`."""
    import torch

    here = [local(t) for t in tensors]
    if not here:
        return Figures(np.empty(0, np.float32), np.empty(0, np.float32), np.empty(0), (), ())
    zero = torch.zeros((), device=here[0].device)
    norms = [torch.linalg.vector_norm(t, dtype=torch.float32) if t.numel() else zero for t in here]
    highs = [torch.linalg.vector_norm(t, float("inf"), dtype=torch.float32) if t.numel() else zero for t in here]
    full = [torch.count_nonzero(t).to(torch.float32) for t in here]  # exact to 2²⁴, and to 2⁻²⁴ of the share beyond
    packed = torch.stack([torch.stack(norms), torch.stack(highs), torch.stack(full)]).cpu().numpy()
    sizes = tuple(t.numel() for t in here)
    return Figures(packed[0], packed[1], np.array(sizes) - packed[2].astype(np.float64), sizes, histograms(here, counted))


def histograms(tensors: Sequence[Any], counted: frozenset[int]) -> tuple[Histogram, ...]:
    """Occupied keys and their counts, of every element. A key is the top ten bits of float32; NaN and Inf are left out."""
    import torch

    chosen = [n for n in range(len(tensors)) if n in counted and tensors[n].numel()]
    nothing = (np.empty(0, np.uint16), np.empty(0, np.uint32))
    out: list[Histogram] = [nothing] * len(tensors)
    if chosen and tensors[0].device.type != "cpu":
        stacked = torch.stack([far_counts(tensors[n]) for n in chosen]).cpu().numpy()
        for n, row in zip(chosen, stacked, strict=True):
            out[n] = occupied(row)
    else:
        for n in chosen:
            out[n] = occupied(near_counts(tensors[n]))
    return tuple(out)


def near_counts(tensor: Any) -> npt.NDArray[np.int64]:
    """(KEYS,) how many elements have each key, counted on the host."""
    import torch

    flat, total = tensor.reshape(-1), np.zeros(KEYS, np.int64)
    for at in range(0, len(flat), PIECE):
        piece = flat[at : at + PIECE].to(torch.float32).numpy()
        total += np.bincount(np.ascontiguousarray(piece).view(np.uint32) >> FOLD, minlength=KEYS)
    return total


def far_counts(tensor: Any) -> Any:
    """The same, counted where the tensor is, without waiting for it: a tensor of (KEYS,) int32."""
    import torch

    bits = tensor.reshape(-1).to(torch.float32).view(torch.int32)
    keys = (bits >> FOLD).bitwise_and_(KEYS - 1).to(torch.int64)
    one = torch.ones((), dtype=torch.int32, device=tensor.device)
    return torch.zeros(KEYS, dtype=torch.int32, device=tensor.device).scatter_add_(0, keys, one.expand(len(keys)))


def occupied(counts: npt.NDArray[np.integer[Any]]) -> Histogram:
    """Keys of finite values that occur, and how often."""
    keys = np.flatnonzero(counts)
    keys = keys[(keys & (KEYS // 2 - 1)) < FINITE]
    return keys.astype(np.uint16), counts[keys].astype(np.uint32)


def drawn(tensors: Sequence[Any]) -> tuple[Array, ...]:
    """Some elements of each tensor, evenly spaced, always the same ones, as float32 on the host; in one transfer."""
    import torch

    some = []
    for tensor in tensors:
        flat = local(tensor).reshape(-1)
        wanted = min(DRAWN, max(FEWEST, flat.numel() // SHARE))
        some.append(flat[:: max(1, flat.numel() // wanted)][:wanted].to(torch.float32))
    return tuple(np.split(torch.cat(some).cpu().numpy(), np.cumsum([len(s) for s in some])[:-1])) if some else ()
