"""Tensors that were flattened and laid end to end, as references: any stretch of them, under its own name and shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from postmortem.model.run import TensorRef
from postmortem.sources.checkpoints.placing import in_order
from postmortem.sources.pickles.rebuild import ITEM_SIZES


@dataclass(frozen=True, slots=True)
class Flat:
    """References in C order whose elements follow one another."""

    refs: Sequence[TensorRef]

    @property
    def size(self) -> int:
        """Number of elements."""
        return sum(ref.count for ref in self.refs)

    def span(self, start: int, stop: int) -> list[TensorRef]:
        """The elements from `start` up to `stop`, as flat references."""
        out = []
        at = 0
        for ref in self.refs:
            low, high = max(start - at, 0), min(stop - at, ref.count)
            at += ref.count
            if low < high:
                out.append(_part(ref, low, high))
        return out

    def shaped(self, name: str, shape: tuple[int, ...]) -> TensorRef:
        """All of it as one tensor."""
        if len(self.refs) == 1:
            return replace(self.refs[0], name=name, shape=shape, strides=in_order(shape))
        dtype = self.refs[0].dtype if self.refs else "float32"
        nbytes = math.prod(shape) * ITEM_SIZES.get(dtype, 0)
        pieces = tuple(replace(ref, name=name) for ref in self.refs)
        return TensorRef(name, "", 0, dtype, shape, in_order(shape), nbytes, b"" if not pieces else None, pieces)


def _part(ref: TensorRef, low: int, high: int) -> TensorRef:
    item = ITEM_SIZES[ref.dtype]
    n = high - low
    if ref.inline is not None:
        return replace(ref, shape=(n,), strides=(1,), nbytes=n * item, inline=ref.inline[low * item : high * item])
    return replace(ref, offset=ref.offset + low * item, shape=(n,), strides=(1,), nbytes=n * item)
