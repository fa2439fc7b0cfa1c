"""TensorBoard event files: framing and scalar fields, in plain Python.

A file is records of `uint64 length | uint32 masked crc32c(length) | data | uint32 masked crc32c(data)`; the data is an `Event`
message. `scan` reads the records that lie whole in a buffer and lists their values as columns. `tfevents_compiled` does the same
in machine code for large files; both give the same columns, except that the compiled scan decodes plain scalar tensors itself.
Field numbers: tensorboard/compat/proto/event.proto, summary.proto, tensor.proto.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postmortem.sources.logs.protobuf import BYTES, FIXED32, FIXED64, VARINT, MalformedError, signed, varint, walk

MAX_TAGS = 65_535  # distinct tags in one buffer (and in one file): their ids fit 16 bits
MAX_TAG_BYTES = 1_000
RECORD_LOG = -1  # `tags` of a row that is a session log, not a value

# How a row was decoded; see `Columns.ends`.
SIMPLE, TENSOR = 0, -1

# Why a scan ended.
MORE, BAD_CRC = 0, 1

_HEADER = struct.Struct("<QI")
_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")


def _crc32c_table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1).astype(np.uint32)
    return table


CRC_TABLE = _crc32c_table()
_TABLE: tuple[int, ...] = tuple(int(x) for x in CRC_TABLE)


@dataclass(frozen=True, slots=True)
class Columns:
    """What one scan found, one row per value, in file order.

    names: the distinct tags, in order of appearance; tags[i] indexes it (or is RECORD_LOG).
    ends[i]: SIMPLE when values[i] is a `simple_value`, TENSOR when it was decoded from a tensor, else data[starts[i]:ends[i]] is
    a message that is still to be decoded: a `Summary.Value`, or a `SessionLog` when tags[i] is RECORD_LOG.
    """

    names: tuple[bytes, ...]
    tags: npt.NDArray[np.int32]  # (n,)
    steps: npt.NDArray[np.int64]
    walls: npt.NDArray[np.float64]  # seconds since 1970
    values: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    next: int  # where the first record starts that was not read
    reason: int  # MORE: it does not lie whole in the buffer; BAD_CRC: its length is not to be trusted
    records: int
    damaged: int  # records that are no valid message; nothing of them is kept
    crowded: int  # values left out because there were too many tags


def length_is_sound(data: bytes, at: int) -> tuple[int, bool]:
    """(length of the record at `at`, whether its checksum holds). Twelve bytes must be there."""
    length, crc = _HEADER.unpack_from(data, at)
    return length, masked_crc32c(data[at : at + 8]) == crc


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecord files."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def scan(data: bytes) -> Columns:
    """The values of all records that lie whole in `data`."""
    ids: dict[bytes, int] = {}
    rows: list[tuple[int, int, float, float, int, int]] = []
    at, size = 0, len(data)
    records = damaged = crowded = 0
    reason = MORE
    while size - at >= 12:
        length, sound = length_is_sound(data, at)
        if not sound:
            reason = BAD_CRC
            break
        if length > size - at - 16:
            break
        start = at + 12
        at = start + length + 4
        records += 1
        try:
            wall, step, found = _event(data, start, start + length)
        except MalformedError:
            damaged += 1
            continue
        for name, value, first, last in found:
            if name is None:
                rows.append((RECORD_LOG, step, wall, value, first, last))
                continue
            tag = ids.get(name)
            if tag is None:
                if len(ids) >= MAX_TAGS:
                    crowded += 1
                    continue
                tag = ids[name] = len(ids)
            rows.append((tag, step, wall, value, first, last))
    columns = zip(*rows, strict=True) if rows else ((),) * 6
    tags, steps, walls, values, starts, ends = columns
    return Columns(
        tuple(ids), np.array(tags, np.int32), np.array(steps, np.int64), np.array(walls, np.float64), np.array(values, np.float64),
        np.array(starts, np.int64), np.array(ends, np.int64), at, reason, records, damaged, crowded,
    )  # fmt: skip


_Row = tuple[bytes | None, float, int, int]


def _event(data: bytes, start: int, end: int) -> tuple[float, int, list[_Row]]:
    wall, step = 0.0, 0
    out: list[_Row] = []
    session: _Row | None = None
    for number, wire, a, b in walk(data, start, end):
        if number == 1 and wire == FIXED64:
            wall = _DOUBLE.unpack_from(data, a)[0]
        elif number == 2 and wire == VARINT:
            step = signed(a)
        elif number == 5 and wire == BYTES:
            _summary(data, a, b, out)
        elif number == 7 and wire == BYTES:
            session = (None, 0.0, a, b)
    return wall, step, [*out, session] if session else out


def _summary(data: bytes, at: int, end: int, out: list[_Row]) -> None:
    while at < end:
        key, at = varint(data, at, end)
        if key != 10:  # not field 1, the values: let the walk judge the rest of it
            at = _skip(data, at, end, key)
            continue
        size, at = varint(data, at, end)
        if size > end - at:
            raise MalformedError
        row = _value(data, at, at + size)
        if row is not None:
            out.append(row)
        at += size


def _skip(data: bytes, at: int, end: int, key: int) -> int:
    wire = key & 7
    if wire == VARINT:
        return varint(data, at, end)[1]
    if wire == BYTES:
        size, at = varint(data, at, end)
    elif wire in (FIXED32, FIXED64):
        size = 4 if wire == FIXED32 else 8
    else:
        raise MalformedError
    if size > end - at:
        raise MalformedError
    return at + size


def _value(data: bytes, start: int, end: int) -> _Row | None:
    name = b""
    simple: float | None = None
    decode = other = False
    for number, wire, a, b in walk(data, start, end):
        if number == 1 and wire == BYTES:
            name = data[a:b] if b - a <= MAX_TAG_BYTES else b""
        elif number == 2 and wire == FIXED32:
            simple = _FLOAT.unpack_from(data, a)[0]
        elif number in (5, 8, 9) and wire == BYTES:  # histo, tensor, metadata
            decode = True
        elif number in (3, 4, 6):  # an old histogram, an image, a sound
            other = True
    if not name:
        return None
    if simple is not None:
        return name, simple, 0, SIMPLE
    if other:
        return None
    # With nothing but a tag, the value is 0: a writer may leave a default out.
    return (name, 0.0, start, end) if decode else (name, 0.0, 0, SIMPLE)
