"""From the tensors that a pickle describes to references into the file that holds their bytes.

A tensor is believed only as far as its storage goes: no more elements than the storage has bytes for, no element outside it.
"""

import math
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from postmortem.model.run import TensorRef
from postmortem.model.sentence import Sentence, say
from postmortem.sources.pickles.rebuild import ITEM_SIZES
from postmortem.sources.pickles.records import Array, Storage, Tensor

_EXPANDED = 1 << 20  # elements; `expand` makes small tensors that are larger than their storage
_MOST = 500_000  # references of one file
_MOST_BLOCKS = 1_024  # of one tensor that are held against one another
_INLINE = 256 << 20  # bytes that one file may hold in memory
_NUMBERS = {
    "float64": "d", "float32": "f", "float16": "e", "int64": "q", "int32": "i", "int16": "h", "int8": "b", "uint8": "B", "bool": "?",
    "uint16": "H", "uint32": "I", "uint64": "Q",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a storage's bytes are: in `file` from `offset`, or `data` in memory. `missing`: bytes that should follow."""

    file: str
    offset: int
    nbytes: int
    data: bytes | None = None
    missing: int = 0
    dtype: str = ""  # where only the bytes tell


Locate = Callable[[Storage], Place | None]


@dataclass(slots=True)
class Placer:
    """Makes references, and counts what could not be one. `read(offset, n)` gives bytes of the file at hand."""

    locate: Locate
    read: Callable[[int, int], bytes]
    swapped: bool = False  # the file was written on a big-endian machine
    problems: Counter[str] = field(default_factory=Counter)
    inline: int = 0  # bytes held
    made: int = 0  # references

    def ref(self, name: str, value: object) -> TensorRef | None:
        """The reference for a tensor or array; None, counted, when it has no usable bytes."""
        self.made += 1
        if self.made > _MOST:
            return self._none("many")
        if isinstance(value, Array):
            return self._array(name, value)
        return self._tensor(name, value) if isinstance(value, Tensor) else None

    def number(self, value: object) -> float | None:
        """A number, or the only element of a tensor or array; None when it is neither."""
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            try:
                return float(value)
            except OverflowError:
                return None
        if not isinstance(value, Tensor | Array) or math.prod(value.shape) != 1:
            return None
        ref = self.ref("", value)
        if ref is None:
            return None
        size = ITEM_SIZES.get(ref.dtype, 0)
        data = ref.inline if ref.inline is not None else self.read(ref.offset, size)
        if len(data) < size:
            return None
        if ref.dtype == "bfloat16":
            return float(struct.unpack("<f", b"\0\0" + data[:2])[0])
        code = _NUMBERS.get(ref.dtype)
        return None if code is None else float(struct.unpack_from("<" + code, data)[0])

    def problem(self) -> Sentence | None:
        """One sentence about tensors that could not be placed; the gravest reason first."""
        if self.problems["cut"]:
            return say("the bytes of {n:,} tensors are missing: the file ends before them", n=self.problems["cut"])
        if self.problems["beyond"]:
            return say("{n:,} tensors claim more elements than their storage holds and were left out", n=self.problems["beyond"])
        if self.problems["lost"]:
            return say("the bytes of {n:,} tensors are not in the file", n=self.problems["lost"])
        if self.problems["kind"]:
            return say("{n:,} tensors have an element type that is not understood", n=self.problems["kind"])
        if self.problems["large"]:
            return say("{n:,} compressed or byte-swapped tensors are too large to be unpacked in memory", n=self.problems["large"])
        if self.problems["many"]:
            return say("it names more than {limit:,} tensors; {n:,} were left out", limit=_MOST, n=self.problems["many"])
        return None

    def _none(self, reason: str) -> TensorRef | None:
        self.problems[reason] += 1
        return None

    def _tensor(self, name: str, tensor: Tensor) -> TensorRef | None:
        if isinstance(tensor.storage, Array):
            return self._array(name, tensor.storage)
        place = self.locate(tensor.storage) if tensor.storage is not None else None
        dtype = tensor.dtype or (place.dtype if place is not None else "")
        item = ITEM_SIZES.get(dtype)
        if item is None:
            return self._none("kind" if place is not None or dtype else "lost")
        if place is None:
            return self._none("lost")
        count = math.prod(tensor.shape)
        begin = tensor.offset * item
        if not _inside(tensor, (place.nbytes + place.missing) // item):
            return self._none("beyond")
        last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)) if count else tensor.offset - 1
        if (last + 1) * item > place.nbytes:
            return self._none("cut")
        grad = tensor.requires_grad if tensor.is_parameter or tensor.requires_grad else None
        if place.data is None and not (self.swapped and item > 1):
            begin += place.offset
            return TensorRef(name, place.file, begin, dtype, tensor.shape, tensor.strides, count * item, requires_grad=grad, whole=tensor.whole)
        span = (last + 1) * item - begin
        if self.inline + count * item > _INLINE or span > _INLINE:
            return self._none("large")
        raw = place.data[begin : begin + span] if place.data is not None else self.read(place.offset + begin, span)
        if len(raw) < span:
            return self._none("cut")
        data = _gather(raw, tensor, dtype, item, swapped=self.swapped)
        self.inline += len(data)
        strides = in_order(tensor.shape)
        return TensorRef(name, place.file, 0, dtype, tensor.shape, strides, len(data), inline=data, requires_grad=grad, whole=tensor.whole)

    def _array(self, name: str, array: Array) -> TensorRef | None:
        item = ITEM_SIZES.get(array.dtype)
        count = math.prod(array.shape)
        if item is None or any(n < 0 for n in array.shape):
            return self._none("kind")
        if count * item != len(array.data):
            return self._none("beyond")
        data = array.data
        if array.fortran or array.order == ">":
            kind = np.dtype(array.dtype).newbyteorder(">" if array.order == ">" else "<")
            ordered = np.frombuffer(data, kind).reshape(array.shape, order="F" if array.fortran else "C")
            data = np.ascontiguousarray(ordered, np.dtype(array.dtype).newbyteorder("<")).tobytes()
        if self.inline + len(data) > _INLINE:
            return self._none("large")
        self.inline += len(data)
        return TensorRef(name, "", 0, array.dtype, array.shape, in_order(array.shape), len(data), inline=data)


def _inside(tensor: Tensor, elements: int) -> bool:
    """Every element lies within a storage of so many elements, and there are not absurdly more of them."""
    if tensor.offset < 0 or len(tensor.shape) != len(tensor.strides) or any(n < 0 for n in tensor.shape) or any(s < 0 for s in tensor.strides):
        return False
    count = math.prod(tensor.shape)
    if count == 0:
        return True
    if count > max(elements, _EXPANDED if 0 in tensor.strides else 0):
        return False
    return tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)) < elements


def tiles(shape: tuple[int, ...], corners: Sequence[tuple[int, ...]], shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether blocks lie inside of a tensor and none overlaps another. That they fill it, their number of elements tells."""
    boxes = []
    for corner, size in zip(corners, shapes, strict=True):
        if (
            len(corner) != len(shape)
            or len(size) != len(shape)
            or any(c < 0 or c + n > whole for c, n, whole in zip(corner, size, shape, strict=True))
        ):
            return False
        boxes.append([(c, c + n) for c, n in zip(corner, size, strict=True)])
    if len(boxes) > _MOST_BLOCKS:
        return len(set(corners)) == len(boxes)
    return not any(all(a[0] < b[1] and b[0] < a[1] for a, b in zip(one, other, strict=True)) for n, one in enumerate(boxes) for other in boxes[:n])


def in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in elements of a tensor in C order."""
    strides, step = [0] * len(shape), 1
    for i in range(len(shape) - 1, -1, -1):
        strides[i] = step
        step *= max(shape[i], 1)
    return tuple(strides)


def _gather(raw: bytes, tensor: Tensor, dtype: str, item: int, *, swapped: bool) -> bytes:
    """The tensor's elements in C order, little endian."""
    if not math.prod(tensor.shape):
        return b""
    flat = np.frombuffer(raw, np.dtype(f"V{item}"))
    ordered = np.lib.stride_tricks.as_strided(flat, tensor.shape, tuple(s * item for s in tensor.strides), writeable=False)
    data = np.ascontiguousarray(ordered).tobytes()
    half = item // 2 if dtype.startswith("complex") else item
    return np.frombuffer(data, np.dtype(f"V{half}")).view(f"u{half}").byteswap().tobytes() if swapped and half > 1 else data
