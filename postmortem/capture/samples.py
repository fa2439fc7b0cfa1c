"""Figures of many tensors at once: on an accelerator nothing is fetched tensor by tensor, everything crosses to the host in one piece."""

import math
from collections.abc import Iterator, Sequence
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
FAR_PIECE = 1 << 19  # the least that an accelerator counts at once: each call takes some microseconds of the host …
FAR_SHARE = 128  # … and of many elements so small a share, for their keys take memory, 4 bytes each
FAR_SMALL = 1 << 16  # elements of a tensor that is not worth calls of its own: several are counted together …
FAR_PACK = 1 << 18  # … up to so many elements, at 20 bytes each

Array = npt.NDArray[np.float32]
Histogram = tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint32]]


@dataclass(frozen=True, slots=True)
class Figures:
    """norm, high : (n,) L2 norm and largest magnitude. zeros : (n,) elements that are 0. sizes : elements of each.

    histograms : of each tensor that was asked for, else two empty arrays. All of them are of every element.
    """

    norm: Array
    high: Array
    zeros: npt.NDArray[np.float64]
    sizes: tuple[int, ...]
    histograms: tuple[Histogram, ...]

    def __getitem__(self, part: slice) -> "Figures":
        """Those of some of the tensors."""
        return Figures(self.norm[part], self.high[part], self.zeros[part], self.sizes[part], self.histograms[part])

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


def together(tensors: Sequence[Any]) -> Any:
    """Tensors of one shape stacked on the first accelerator among their devices, that one transfer brings them to the host."""
    import torch

    return torch.stack(_gathered(tensors))


def _gathered(tensors: Sequence[Any]) -> list[Any]:
    """The same tensors, all on the first accelerator among their devices."""
    if len({t.device for t in tensors}) <= 1:
        return list(tensors)
    where = next((t.device for t in tensors if t.device.type != "cpu"), tensors[0].device)
    return [t.to(where, non_blocking=True) for t in tensors]


def figures(tensors: Sequence[Any], counted: frozenset[int] = frozenset()) -> Figures:
    """Figures of floating tensors; a histogram of those at the places `counted`. Two transfers, however many tensors there are.

    Zeros are what a histogram has in its lowest bins, magnitudes below 2⁻¹²⁷; where there is no histogram, exact ones.
    """
    here = [local(t) for t in tensors]
    if not here:
        return Figures(np.empty(0, np.float32), np.empty(0, np.float32), np.empty(0), (), ())
    uncounted = [n for n in range(len(here)) if n not in counted]
    asked = [*norms(here), *norms(here, math.inf), *(_filled(here[n]) for n in uncounted)]
    shown = histograms(here, counted)
    norm, high, filled = np.split(together(asked).cpu().numpy(), [len(here), 2 * len(here)])
    sizes = tuple(t.numel() for t in here)
    zeros = np.array([counts[(keys & (KEYS // 2 - 1)) == 0].sum(dtype=np.float64) for keys, counts in shown])
    zeros[uncounted] = np.array(sizes, np.float64)[uncounted] - filled
    return Figures(norm, high, zeros, sizes, shown)


def norm(tensor: Any, order: float = 2.0, axes: Sequence[int] | None = None) -> Any:
    """A norm over some axes (all of them), as float32, where the tensor is; no copy of it is made."""
    import torch

    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return torch.linalg.vector_norm(tensor, order, axes, dtype=wide).to(torch.float32)


def norms(tensors: Sequence[Any], order: float = 2.0) -> list[Any]:
    """The norm of each tensor, 0 of an empty one. On an accelerator in few calls where it has one for many tensors."""
    import torch

    full = [t for t in tensors if t.numel()]
    if len(full) > 1 and full[0].device.type == "cuda" and len({(t.device, t.dtype) for t in full}) == 1 and full[0].dtype != torch.float64:
        try:
            found = iter(torch._foreach_norm(full, order, dtype=torch.float32))  # noqa: SLF001  # what `clip_grad_norm_` calls
        except TypeError:  # torch before 2.4 knows no dtype
            found = iter([norm(t, order) for t in full])
    else:
        found = iter([norm(t, order) for t in full])
    return [next(found) if t.numel() else torch.zeros((), device=t.device) for t in tensors]


def _filled(tensor: Any) -> Any:
    """How many elements are not 0, as float32: exact to 2²⁴, and to 2⁻²⁴ of the share beyond. On an accelerator without a mask of them all."""
    import torch

    if tensor.device.type == "cpu" or not tensor.numel():
        return torch.count_nonzero(tensor).to(torch.float32)
    return norm(tensor, 0)


def histograms(tensors: Sequence[Any], counted: frozenset[int]) -> tuple[Histogram, ...]:
    """Occupied keys and their counts, of every element. A key is the top ten bits of float32; NaN and Inf are left out."""
    chosen = [n for n in range(len(tensors)) if n in counted and tensors[n].numel()]
    nothing = (np.empty(0, np.uint16), np.empty(0, np.uint32))
    out: list[Histogram] = [nothing] * len(tensors)
    far = [n for n in chosen if tensors[n].device.type != "cpu"]
    for device in dict.fromkeys(tensors[n].device for n in far):
        here = [n for n in far if tensors[n].device == device]
        for n, one in zip(here, occupied(np.roll(far_counts([tensors[n] for n in here]).cpu().numpy(), KEYS // 2, 1)), strict=True):
            out[n] = one
    for n in chosen:
        if tensors[n].device.type == "cpu":
            (out[n],) = occupied(near_counts(tensors[n])[None])
    return tuple(out)


def flat(tensor: Any) -> Any:
    """All elements, (n,), in the order in which they lie in memory: a transposed tensor is not copied for it."""
    if tensor.is_contiguous():
        return tensor.reshape(-1)
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True)).reshape(-1)


def near_counts(tensor: Any) -> npt.NDArray[np.int64]:
    """(KEYS,) how many elements have each key, counted on the host."""
    import torch

    elements, total = flat(tensor), np.zeros(KEYS, np.int64)
    for at in range(0, len(elements), PIECE):
        piece = elements[at : at + PIECE].to(torch.float32).numpy()
        total += np.bincount(np.ascontiguousarray(piece).view(np.uint32) >> FOLD, minlength=KEYS)
    return total


def far_counts(tensors: Sequence[Any]) -> Any:
    """(n, KEYS) int32: the same of tensors of one accelerator, counted there without waiting for it. The negative elements' keys come first."""
    import torch

    each: list[Any] = [None] * len(tensors)
    for rows, elements in _portions(tensors):
        if len(rows) == 1:
            (row,) = rows
            each[row] = _count(elements) if each[row] is None else each[row].add_(_count(elements))
        else:
            for row, found in zip(rows, _count_together(elements, list(rows.values())), strict=True):
                each[row] = found
    return torch.stack(each)


def _keys(elements: Any) -> Any:
    """(n,) int32 from −KEYS/2 to KEYS/2: the top bits of each element as a signed number, the negative elements' keys first."""
    import torch

    wide = elements.to(torch.float32)
    bits = wide.view(torch.int32)
    return bits >> FOLD if wide is elements else bits.bitwise_right_shift_(FOLD)


def _count(elements: Any) -> Any:
    """(KEYS,) int32: how many of one tensor's elements have each of `_keys`."""
    import torch

    if elements.device.type == "cuda" and not torch.are_deterministic_algorithms_enabled():
        return torch.histc(_keys(elements), KEYS, -KEYS // 2, KEYS // 2)
    return _count_together(elements, [len(elements)])[0]


def _count_together(elements: Any, sizes: Sequence[int]) -> Sequence[Any]:
    """The same of several tensors, whose elements lie behind one another."""
    import torch

    device = elements.device
    keys, total = _keys(elements).add_(KEYS // 2), torch.zeros(len(sizes) * KEYS, dtype=torch.int32, device=device)
    if len(sizes) > 1:
        told = torch.tensor([range(0, len(total), KEYS), sizes]).to(device, non_blocking=True)
        keys += torch.repeat_interleave(told[0], told[1], output_size=len(keys))
    one = torch.ones((), dtype=torch.int32, device=device)
    counts: Sequence[Any] = total.scatter_add_(0, keys.to(torch.int64), one.expand(len(keys))).view(-1, KEYS).unbind()
    return counts


def _portions(tensors: Sequence[Any]) -> Iterator[tuple[dict[int, int], Any]]:
    """The tensors' elements, some at a time, with {place of a tensor: how many are its own}: of one tensor, or all of several small ones."""
    import torch

    small: dict[int, Any] = {}
    held = 0
    piece = max(FAR_PIECE, sum(t.numel() for t in tensors) // FAR_SHARE)
    for row, tensor in enumerate(tensors):
        elements = flat(tensor)
        if len(elements) > FAR_SMALL:
            for part in elements.split(piece):
                yield {row: len(part)}, part
            continue
        if held + len(elements) > FAR_PACK:
            yield {r: len(e) for r, e in small.items()}, torch.cat(list(small.values()))
            small, held = {}, 0
        small[row] = elements
        held += len(elements)
    if small:
        yield {r: len(e) for r, e in small.items()}, torch.cat(list(small.values()))


def occupied(counts: npt.NDArray[np.integer[Any]]) -> list[Histogram]:
    """Of each row, (n, KEYS), the keys of finite values that occur, and how often."""
    rows, keys = np.nonzero(counts)
    finite = (keys & (KEYS // 2 - 1)) < FINITE
    rows, keys = rows[finite], keys[finite]
    found, ends = counts[rows, keys].astype(np.uint32), np.searchsorted(rows, np.arange(1, len(counts)))
    return list(zip(np.split(keys.astype(np.uint16), ends), np.split(found, ends), strict=True))


def drawn(tensors: Sequence[Any]) -> tuple[Array, ...]:
    """Some elements of each tensor, evenly spaced, always the same ones, as float32 on the host; in one transfer."""
    import torch

    if not tensors:
        return ()
    some = []
    for tensor in tensors:
        elements = local(tensor)
        size = elements.numel()
        wanted, apart = min(DRAWN, max(FEWEST, size // SHARE), size), 1
        if not elements.is_contiguous():
            elements = flat(elements)
            apart = elements.stride(0)
        some.append(elements.as_strided((wanted,), (apart * max(1, size // max(1, wanted)),)))
    if len({s.dtype for s in some}) > 1:
        some = [s.to(torch.float32) for s in some]
    taken = torch.cat(_gathered(some)).to(torch.float32).cpu().numpy()
    return tuple(np.split(taken, np.cumsum([len(s) for s in some])[:-1]))
