"""The values of an event file that are more than one number: tensors, histograms, texts, hyper-parameters.

Field numbers: tensorboard/compat/proto/{summary,tensor,types,histogram}.proto and plugins/hparams/plugin_data.proto.
"""

import math
from dataclasses import dataclass

import numpy as np

from postmortem.model.run import Floats
from postmortem.model.sentence import Value
from postmortem.sources.logs.protobuf import BYTES, FIXED32, FIXED64, VARINT, double, integers, numbers, text, walk

MAX_BUCKETS = 10_000
MAX_TEXT = 1 << 20  # bytes
_MAX_PARTS = 30_000  # pieces of one repeated field
_MAX_VARINTS = 1 << 16  # bytes of a packed field of integers

_FLOAT, _DOUBLE, _INT32, _STRING, _INT64, _BFLOAT16, _HALF = 1, 2, 3, 7, 9, 14, 19
_CONTENT = {
    _FLOAT: "<f4",
    _DOUBLE: "<f8",
    _INT32: "<i4",
    _INT64: "<i8",
    _HALF: "<f2",
    4: "u1",
    5: "<i2",
    6: "i1",
    10: "u1",
    17: "<u2",
    22: "<u4",
    23: "<u8",
}
_HUGE = 1e300  # a bucket limit beyond it stands for infinity (TensorFlow writes the largest double)


@dataclass(frozen=True, slots=True)
class Summary:
    """A `Summary.Value` with whatever of it was understood."""

    plugin: str = ""  # from the metadata, which only the first value of a tag carries
    content: bytes = b""  # the plugin's own data
    tensor: Floats | None = None  # (n,) the elements
    strings: tuple[str, ...] = ()
    histogram: tuple[Floats, Floats] | None = None  # edges (k + 1,), counts (k,)


def summary(data: bytes, start: int, end: int) -> Summary:
    """Decode a `Summary.Value`. Raises `MalformedError`."""
    plugin, content = "", b""
    tensor: Floats | None = None
    strings: tuple[str, ...] = ()
    buckets: tuple[Floats, Floats] | None = None
    for number, wire, a, b in walk(data, start, end):
        if wire != BYTES:
            continue
        if number == 5:
            buckets = _histogram_proto(data, a, b)
        elif number == 8:
            tensor, strings = _tensor(data, a, b)
        elif number == 9:
            plugin, content = _plugin(data, a, b)
    return Summary(plugin, content, tensor, strings, buckets)


def _plugin(data: bytes, start: int, end: int) -> tuple[str, bytes]:
    name, content = "", b""
    for number, wire, a, b in walk(data, start, end):
        if number == 1 and wire == BYTES:
            for inner, inner_wire, c, d in walk(data, a, b):
                if inner_wire == BYTES and inner == 1:
                    name = text(data, c, min(d, c + 100))
                elif inner_wire == BYTES and inner == 2:
                    content = bytes(data[c:d])
    return name, content


def _tensor(data: bytes, start: int, end: int) -> tuple[Floats | None, tuple[str, ...]]:
    """(elements as float64, texts) of a `TensorProto`. Its shape is not needed: what is used is one number, or rows of three."""
    kind, room = 0, MAX_TEXT
    parts: list[Floats] = []
    strings: list[str] = []
    content: tuple[int, int] | None = None
    for number, wire, a, b in walk(data, start, end):
        if number == 1 and wire == VARINT:
            kind = a
        elif number == 4 and wire == BYTES:
            content = (a, b)
        elif len(parts) >= _MAX_PARTS or (number in (7, 10, 11, 13, 16, 17) and wire == BYTES and b - a > _MAX_VARINTS):
            return None, ()
        elif number == 5 and wire in (BYTES, FIXED32):
            parts.append(numbers(data, wire, a, b, "<f4"))
        elif number == 6 and wire in (BYTES, FIXED64):
            parts.append(numbers(data, wire, a, b, "<f8"))
        elif number in (7, 10, 11, 16, 17) and wire in (BYTES, VARINT):
            parts.append(np.array(integers(data, wire, a, b), np.float64))
        elif number == 13 and wire in (BYTES, VARINT):
            parts.append(_sixteen_bit(np.array([i & 0xFFFF for i in integers(data, wire, a, b)], np.uint16), kind))
        elif number == 8 and wire == BYTES and b - a <= room and len(strings) < _MAX_PARTS:
            strings.append(text(data, a, b))
            room -= b - a
    if content is not None and content[1] > content[0]:
        if kind == _BFLOAT16:
            raw = np.frombuffer(data, "<u2", (content[1] - content[0]) // 2, content[0])
            return _sixteen_bit(raw, kind), ()
        if kind in _CONTENT:
            return numbers(data, BYTES, *content, _CONTENT[kind]), ()
        return None, tuple(strings)
    return (np.concatenate(parts) if parts else None), tuple(strings)


def _sixteen_bit(raw: np.ndarray, kind: int) -> Floats:
    """Half or bfloat16 from its bits. The dtype comes before the values: protobuf writes fields in order."""
    if kind == _BFLOAT16:
        return (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return raw.astype("<u2").view(np.float16).astype(np.float64)


# --- histograms -----------------------------------------------------------------------------------------------------


def _histogram_proto(data: bytes, start: int, end: int) -> tuple[Floats, Floats] | None:
    low, high = math.nan, math.nan
    limits: list[Floats] = []
    counts: list[Floats] = []
    room = 2 * MAX_BUCKETS
    for number, wire, a, b in walk(data, start, end):
        if number == 1 and wire == FIXED64:
            low = double(data, a)
        elif number == 2 and wire == FIXED64:
            high = double(data, a)
        elif number in (6, 7) and wire in (BYTES, FIXED64):
            room -= max((b - a) // 8, 1)
            if room < 0:
                return None
            (limits if number == 6 else counts).append(numbers(data, wire, a, b, "<f8"))
    if not limits or not counts:
        return None
    return _from_limits(low, high, np.concatenate(limits), np.concatenate(counts))


def _from_limits(low: float, high: float, limits: Floats, counts: Floats) -> tuple[Floats, Floats] | None:
    """Bucket i holds (limits[i-1], limits[i]]. The first has no left edge, the last may have no right one: min and max stand in."""
    if len(limits) != len(counts):
        return None
    used = np.flatnonzero(counts != 0)
    if not len(used):
        return None
    first, last = int(used[0]), int(used[-1])
    left = limits[first - 1] if first else low
    if abs(left) > _HUGE and math.isfinite(low):
        left = low
    edges = np.concatenate([[left], limits[first : last + 1]])
    if abs(edges[-1]) > _HUGE and math.isfinite(high):
        edges[-1] = high
    if edges[0] >= edges[1]:
        edges[0] = np.nextafter(edges[1], -np.inf)
    if edges[-1] <= edges[-2]:
        edges[-1] = np.nextafter(edges[-2], np.inf)
    return _checked(edges, counts[first : last + 1])


def rows_of_three(elements: Floats) -> tuple[Floats, Floats] | None:
    """A TensorFlow 2 histogram: a tensor of shape (k, 3) with left edge, right edge and count of each bucket."""
    if len(elements) < 3 or len(elements) % 3 or len(elements) > 3 * MAX_BUCKETS:
        return None
    rows = elements.reshape(-1, 3)
    rows = rows[rows[:, 1] > rows[:, 0]]  # of a constant tensor, all buckets but one have no width
    if not len(rows) or not np.array_equal(rows[1:, 0], rows[:-1, 1]):
        return None
    return _checked(np.append(rows[:, 0], rows[-1, 1]), rows[:, 2])


def _checked(edges: Floats, counts: Floats) -> tuple[Floats, Floats] | None:
    sound = np.isfinite(edges).all() and np.isfinite(counts).all() and (np.diff(edges) > 0).all() and (counts >= 0).all() and counts.sum() > 0
    return (edges.copy(), counts.astype(np.float64)) if sound else None


# --- hyper-parameters -----------------------------------------------------------------------------------------------


def hyperparameters(content: bytes) -> dict[str, Value]:
    """The `hparams` map of an HParamsPluginData with a session's start. Raises `MalformedError`."""
    out: dict[str, Value] = {}
    for number, wire, a, b in walk(content, 0, len(content)):
        if number != 3 or wire != BYTES:  # session_start_info
            continue
        for inner, inner_wire, c, d in walk(content, a, b):
            if inner == 1 and inner_wire == BYTES:
                key, value = _entry(content, c, d)
                if key:
                    out[key] = value
    return out


def _entry(data: bytes, start: int, end: int) -> tuple[str, Value]:
    key, value = "", None
    for number, wire, a, b in walk(data, start, end):
        if number == 1 and wire == BYTES:
            key = text(data, a, min(b, a + 1000))
        elif number == 2 and wire == BYTES:
            value = _struct_value(data, a, b)
    return key, value


def _struct_value(data: bytes, start: int, end: int) -> Value:
    """A google.protobuf.Value that is a number, a text or a boolean; None for others."""
    value: Value = None
    for number, wire, a, b in walk(data, start, end):
        if number == 2 and wire == FIXED64:
            real = double(data, a)
            value = int(real) if real.is_integer() and abs(real) < 2**53 else real
        elif number == 3 and wire == BYTES:
            value = text(data, a, min(b, a + 1000))
        elif number == 4 and wire == VARINT:
            value = bool(a)
    return value
