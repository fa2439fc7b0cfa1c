"""Protocol-buffer wire format, read field by field without a schema.

A walk never follows a length outside the span that it was given, and never copies: it yields offsets into the buffer.
Source: https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Iterator

import numpy as np

from postmortem.model.run import Floats

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_F64 = struct.Struct("<d")
_F32 = struct.Struct("<f")


class MalformedError(ValueError):
    """The bytes are no message: a field runs outside, a varint is too long, or a group (never written today)."""


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, offset behind it) of the varint at `at`; the value is unsigned, below 2⁶⁴."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise MalformedError


def walk(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, wire type, a, b) of each field in data[start:end].

    For VARINT `a` is the value; for the other types data[a:b] are the field's bytes. Raises `MalformedError` where the
    message breaks off, after yielding what came before.
    """
    at = start
    while at < end:
        key = data[at]
        if key < 0x80:
            at += 1
        else:
            key, at = varint(data, at, end)
        wire = key & 7
        if wire == VARINT:
            value, at = varint(data, at, end)
            yield key >> 3, VARINT, value, 0
            continue
        if wire == BYTES:
            size, at = varint(data, at, end)
        elif wire == FIXED64:
            size = 8
        elif wire == FIXED32:
            size = 4
        else:
            raise MalformedError
        if size > end - at:
            raise MalformedError
        yield key >> 3, wire, at, at + size
        at += size


def signed(value: int) -> int:
    """A varint as int64 (int32 fields are sign-extended to 64 bits on the wire)."""
    return value - (1 << 64) if value >= 1 << 63 else value


def zigzag(value: int) -> int:
    """A varint of a sint32/sint64 field."""
    return (value >> 1) ^ -(value & 1)


def double(data: bytes, at: int) -> float:
    """The fixed64 at `at` as a double. The walk has checked the bounds."""
    return float(_F64.unpack_from(data, at)[0])


def single(data: bytes, at: int) -> float:
    """The fixed32 at `at` as a float."""
    return float(_F32.unpack_from(data, at)[0])


def text(data: bytes, start: int, end: int) -> str:
    """A string field; bytes that are not UTF-8 are replaced."""
    return bytes(data[start:end]).decode("utf-8", "replace")


def numbers(data: bytes, wire: int, a: int, b: int, dtype: str) -> Floats:
    """A repeated fixed-width field, packed or one element of it, as float64. `dtype` is numpy's, such as "<f4"."""
    if wire == VARINT:
        raise MalformedError
    size = np.dtype(dtype).itemsize
    return np.frombuffer(data, dtype, count=(b - a) // size, offset=a).astype(np.float64) if b - a >= size else np.empty(0)


def integers(data: bytes, wire: int, a: int, b: int) -> list[int]:
    """A repeated varint field, packed or one element of it, as signed integers."""
    if wire == VARINT:
        return [signed(a)]
    if wire != BYTES:
        raise MalformedError
    out: list[int] = []
    at = a
    while at < b:
        value, at = varint(data, at, b)
        out.append(signed(value))
    return out
