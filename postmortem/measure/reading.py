"""Reading tensors: bytes from where a `TensorRef` says they are, block by block, through one reused buffer.

A large tensor is looked at where its pages are cached if the file can be kept from shrinking meanwhile (`leased`: a file that shrinks under a
map kills the process), else it is copied; nothing is held but one block. Numbers come out in the element type of the file (`storage`):
bfloat16 as uint16, float8 as uint8, complex as pairs of floats.
"""

import math
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from postmortem.measure.leased import WINDOW, PageCache
from postmortem.model.run import TensorRef

Raw = npt.NDArray[np.generic]

BLOCK = 1 << 19  # elements: below 1 MiB the system copies cached pages at two thirds of the speed
ALIGNED = 64  # bytes: copying is half as fast or less where source and destination lie differently in their cache lines
_PAGE = 4096
SPAN_BYTES = 64 << 20  # most bytes held at once to gather a tensor that does not lie in C order
OVERLAP = 4  # times that an element may be shown by strides of 0: an expanded tensor is small in the file and endless to go through
OPEN_FILES = 128

_STORAGE = {
    "bfloat16": "<u2", "float8_e4m3fn": "u1", "float8_e5m2": "u1", "float8_e4m3fnuz": "u1", "float8_e5m2fnuz": "u1", "float8_e8m0fnu": "u1",
    "quint8": "u1", "qint8": "i1", "qint32": "<i4", "half": "<f2", "float": "<f4", "double": "<f8", "long": "<i8", "int": "<i4", "short": "<i2",
    "byte": "u1", "char": "i1",
}  # fmt: skip


class NotWholeError(Exception):
    """A tensor whose bytes are not all there, or of a type that has no numbers. Stays inside `measure`."""


def storage(dtype: str) -> np.dtype[np.generic]:
    """The numpy type in which elements of `dtype` lie in a file. Raises `NotWholeError` for a type that holds no numbers."""
    try:
        found: np.dtype[np.generic] = np.dtype(_STORAGE.get(dtype, dtype))
    except (TypeError, ValueError) as error:
        raise NotWholeError(f"unknown element type {dtype!r}") from error
    if found.kind not in "fiubc" or not found.itemsize:
        raise NotWholeError(f"no numbers in {dtype!r}")
    return found if found.byteorder != "=" else found.newbyteorder("<")


def contiguous(ref: TensorRef) -> bool:
    """The elements lie one after the other in C order."""
    expected = 1
    for size, stride in zip(reversed(ref.shape), reversed(ref.strides), strict=False):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


class TensorFiles:
    """The open files of one run, and the buffer that all its tensors go through. A context manager; one per thread."""

    def __init__(self, root: Path, block: int = BLOCK) -> None:
        self.root = root
        self.block = block
        self._open: dict[str, int] = {}
        self._buffers: list[memoryview] = []
        self._cached = PageCache()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cached.close()
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def blocks(self, ref: TensorRef, slot: int = 0, *, long: bool = False) -> Iterator[Raw]:
        """The elements of a tensor, in C order, as 1-D arrays of `block` of them (the last is shorter), or of several blocks at once where
        nothing is copied and `long` arrays are asked for.

        An array is valid until the next one is asked for: all share buffer number `slot`. Two tensors are read side by
        side through two slots. Raises `NotWholeError` as soon as bytes are missing.
        """
        if ref.pieces:
            if len({storage(piece.dtype) for piece in ref.pieces}) > 1:
                raise NotWholeError(f"{ref.name}: pieces of several element types")
            if ref.corners:
                yield from even(self._of_blocks(ref, slot), self.block)
                return
            yield from even((block for piece in ref.pieces for block in self.blocks(piece, slot)), self.block)
            return
        kind = storage(ref.dtype)
        if not ref.count:
            return
        if ref.inline is not None:
            yield from self._of_bytes(ref, kind)
        elif contiguous(ref):
            yield from self._in_order(ref, kind, slot, long=long)
        else:
            yield from even(self._gathered(ref, kind), self.block)

    def whole(self, ref: TensorRef) -> Raw:
        """All elements as one 1-D array of its own, C order. For tensors that are small."""
        parts = [np.array(block) for block in self.blocks(ref)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, storage(ref.dtype if not ref.pieces else ref.pieces[0].dtype))

    def read_each(self, out: Raw, ref: TensorRef, starts: Sequence[int]) -> None:
        """Into each row of `out` (2-D, contiguous) the elements from number `starts[i]` on, of a tensor in one piece and in C order."""
        if ref.inline is not None:
            for row, start in zip(out, starts, strict=True):
                row[:] = np.frombuffer(ref.inline, out.dtype, len(row), start * out.itemsize)
            return
        found, size = self._descriptor(ref.file), out.shape[1] * out.itemsize
        data = out.reshape(-1).view(np.uint8).data
        for at, start in zip(range(0, len(data), size), starts, strict=True):
            view, offset = data[at : at + size], ref.offset + start * out.itemsize
            try:
                whole = _read_at(found, view, offset) == size
            except OSError:
                whole = False
            if not whole:
                self._fill(ref, view, offset)  # in parts, or it says why not

    def _of_blocks(self, ref: TensorRef, slot: int) -> Iterator[Raw]:
        """A tensor that was cut along several of its dimensions, some of its rows at a time: each piece gives the part of them that it has."""
        kind = storage(ref.pieces[0].dtype)
        width = math.prod(ref.shape[1:])
        if width * kind.itemsize > SPAN_BYTES:
            raise NotWholeError(f"{ref.name}: a row of its pieces takes more than {SPAN_BYTES >> 20} MiB")
        rows = max(1, self.block // max(width, 1))
        for start in range(0, ref.shape[0], rows):
            stop = min(start + rows, ref.shape[0])
            whole = np.zeros((stop - start, *ref.shape[1:]), kind)
            for piece, corner in zip(ref.pieces, ref.corners, strict=True):
                low, high = max(start, corner[0]), min(stop, corner[0] + piece.shape[0])
                if low >= high:
                    continue
                part = rows_of(piece, low - corner[0], high - corner[0])
                values = np.concatenate([np.array(block) for block in self.blocks(part, slot)])
                place = (slice(low - start, high - start), *(slice(c, c + n) for c, n in zip(corner[1:], piece.shape[1:], strict=True)))
                whole[place] = values.reshape(part.shape)
            yield whole.reshape(-1)

    def _of_bytes(self, ref: TensorRef, kind: np.dtype[np.generic]) -> Iterator[Raw]:
        data = ref.inline or b""
        if len(data) < ref.count * kind.itemsize:
            raise NotWholeError(f"{ref.name}: {len(data)} of {ref.count * kind.itemsize} bytes")
        values = np.frombuffer(data, kind, ref.count)
        for start in range(0, ref.count, self.block):
            yield values[start : start + self.block].copy()  # writable, as the compiled loops ask for

    def _in_order(self, ref: TensorRef, kind: np.dtype[np.generic], slot: int, *, long: bool) -> Iterator[Raw]:
        total = ref.count * kind.itemsize
        if os.fstat(self._descriptor(ref.file)).st_size < ref.offset + total:
            raise NotWholeError(f"{ref.name}: the file ends before its last byte")
        size = self.block * kind.itemsize
        path, found = self.root / ref.file, self._descriptor(ref.file)
        most = max(WINDOW // size, 1) * size if long else size  # the fewer, the less do two threads wait for the interpreter
        seen = yield from self._cached.blocks(path, found, (ref.offset, total), kind, most, keep=long)
        lead = ref.offset % ALIGNED // 8 * 8  # where in a cache line the bytes lie in the file, they lie in memory
        buffer = self._buffer(slot, min(size, total) + lead)[lead:]
        for start in range(seen, total, size):
            length = min(size, total - start)
            view = buffer[:length]
            self._fill(ref, view, ref.offset + start)  # may open the file again: it is closed when many are in use
            yield np.frombuffer(view, kind)

    def _gathered(self, ref: TensorRef, kind: np.dtype[np.generic]) -> Iterator[Raw]:
        """Elements that lie in another order. C order where the span fits `SPAN_BYTES`, else the order of the file."""
        if len(ref.strides) != len(ref.shape) or min(ref.strides, default=0) < 0:
            raise NotWholeError(f"{ref.name}: strides {ref.strides} do not fit the shape {ref.shape}")
        layout = tuple((size, stride) for size, stride in zip(ref.shape, ref.strides, strict=True) if size != 1)
        if ref.count > OVERLAP * _span(layout) + self.block:
            raise NotWholeError(f"{ref.name}: {ref.count} elements in {_span(layout)} places")
        if os.fstat(self._descriptor(ref.file)).st_size < ref.offset + _span(layout) * kind.itemsize:
            raise NotWholeError(f"{ref.name}: the file ends before its last byte")
        if _span(layout) * kind.itemsize > SPAN_BYTES:
            layout = tuple(sorted(layout, key=lambda axis: -axis[1]))
        yield from self._strided(ref, ref.offset, layout, kind)

    def _strided(self, ref: TensorRef, offset: int, layout: tuple[tuple[int, int], ...], kind: np.dtype[np.generic]) -> Iterator[Raw]:
        span = _span(layout)
        if span * kind.itemsize > SPAN_BYTES:
            (size, stride), rest = layout[0], layout[1:]
            room = max(1, (SPAN_BYTES // kind.itemsize - _span(rest)) // max(stride, 1))
            for start in range(0, size, room):
                part = min(room, size - start)
                inner = ((part, stride), *rest) if part > 1 else rest
                yield from self._strided(ref, offset + start * stride * kind.itemsize, inner, kind)
            return
        data = _room(span * kind.itemsize)[: span * kind.itemsize]
        self._fill(ref, data, offset)
        flat = np.frombuffer(data, kind)
        shaped = np.lib.stride_tricks.as_strided(flat, tuple(n for n, _ in layout), tuple(s * kind.itemsize for _, s in layout), writeable=False)
        yield from _cut(shaped, self.block)

    def _fill(self, ref: TensorRef, view: memoryview, offset: int) -> None:
        self._cached.give_way()
        descriptor = self._descriptor(ref.file)
        done = 0
        while done < len(view):
            try:
                got = _read_at(descriptor, view[done:], offset + done)
            except OSError as error:
                raise NotWholeError(f"{ref.name} cannot be read: {error.strerror}") from error
            if not got:
                raise NotWholeError(f"{ref.name}: the file ends before its last byte")
            done += got

    def _buffer(self, slot: int, size: int) -> memoryview:
        while len(self._buffers) <= slot:
            self._buffers.append(memoryview(b""))
        if len(self._buffers[slot]) < size:
            self._buffers[slot] = _room(size)
        return self._buffers[slot]

    def _descriptor(self, file: str) -> int:
        descriptor = self._open.get(file)
        if descriptor is not None:
            return descriptor
        if len(self._open) >= OPEN_FILES:
            os.close(self._open.pop(next(iter(self._open))))
        try:
            descriptor = os.open(
                self.root / file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            )
        except OSError as error:
            raise NotWholeError(f"{file} cannot be opened: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotWholeError(f"{file} is no regular file")
        self._open[file] = descriptor
        return descriptor


def rows_of(ref: TensorRef, low: int, high: int) -> TensorRef:
    """The part of a tensor with these first indices."""
    item = storage(ref.dtype).itemsize
    shape = (high - low, *ref.shape[1:])
    nbytes = math.prod(shape) * item
    if ref.inline is not None:
        row = math.prod(ref.shape[1:]) * item
        return replace(ref, shape=shape, nbytes=nbytes, inline=ref.inline[low * row : high * row])
    return replace(ref, offset=ref.offset + low * ref.strides[0] * item, shape=shape, nbytes=nbytes)


def even(arrays: Iterable[Raw], size: int) -> Iterator[Raw]:
    """The same elements in arrays of `size` (the last is shorter): what comes of them does not depend on where pieces end."""
    held: list[Raw] = []
    have = 0
    for array in arrays:
        at = 0
        while at < len(array):
            part = array[at : at + size - have]
            at += len(part)
            if len(part) == size and at == size:
                yield part
                continue
            held.append(np.array(part))
            have += len(part)
            if have == size:
                yield np.concatenate(held)
                held, have = [], 0
    if held:
        yield np.concatenate(held)


def _room(size: int) -> memoryview:
    """Memory that starts at a page, and is a page larger than asked for."""
    data = np.empty(size + 2 * _PAGE, np.uint8)
    start = -data.ctypes.data % _PAGE
    return data.data[start : start + size + _PAGE]


def _span(layout: tuple[tuple[int, int], ...]) -> int:
    """Elements between the first and the last one of a strided layout, both included."""
    return 1 + sum((size - 1) * stride for size, stride in layout)


def _cut(shaped: Raw, most: int) -> Iterator[Raw]:
    """C-order pieces of at most `most` elements, each a contiguous copy."""
    if shaped.size <= most:
        yield np.array(shaped, order="C").reshape(-1)
        return
    inner = shaped.size // shaped.shape[0]
    if inner > most:
        for part in shaped:
            yield from _cut(part, most)
        return
    rows = most // inner
    for start in range(0, shaped.shape[0], rows):
        yield np.array(shaped[start : start + rows], order="C").reshape(-1)


def _read_at(descriptor: int, view: memoryview, offset: int) -> int:
    """Read into a buffer at an offset; the number of bytes. `preadv` copies once, platforms without it copy twice."""
    if sys.platform != "win32" and hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    data = os.read(descriptor, len(view))
    view[: len(data)] = data
    return len(data)
