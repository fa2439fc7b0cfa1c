"""The scan of `tfevents_scan` in machine code, for files that are worth numba's start-up.

Every read is inside the buffer: a length is compared with what is left before it is used, and a record is taken only when it
lies whole in the buffer. Integers are int64, so a length above 2⁶³ is negative and refused like one that is too large.
"""

# ruff: noqa: PLR1714 - `in` over a tuple is not what numba compiles best

import numba
import numpy as np

from postmortem.sources.logs.tfevents_scan import BAD_CRC, CRC_TABLE, MAX_TAG_BYTES, MAX_TAGS, MORE, RECORD_LOG, SIMPLE, TENSOR, Columns

_BAD = np.int64(-1)  # an offset that says "malformed"
_SLOTS = 1 << 18  # of the hash table: a power of two, four times the tags


def scan(data: bytes) -> Columns:
    """The values of all records that lie whole in `data`."""
    view = np.frombuffer(data, np.uint8)
    n, rows, reals, name_spans, named, at, reason, records, damaged, crowded = _scan(view, CRC_TABLE)
    names = tuple(data[a:b] for a, b in name_spans[:named].tolist())
    return Columns(
        names, rows[0, :n].astype(np.int32), rows[1, :n], reals[0, :n], reals[1, :n], rows[2, :n], rows[3, :n],
        int(at), int(reason), int(records), int(damaged), int(crowded),
    )  # fmt: skip


@numba.njit(cache=True, inline="always")
def _varint(data, at, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """(value, offset behind it); the offset is _BAD when it breaks off."""
    value = np.int64(0)
    shift = np.int64(0)
    while at < end and shift < 70:
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return value, _BAD


@numba.njit(cache=True, inline="always")
def _field(data, at, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """(field number, wire type, a, b, offset of the next field) as `protobuf.walk` yields them."""
    key, at = _varint(data, at, end)
    if at < 0:
        return np.int64(0), np.int64(0), np.int64(0), np.int64(0), _BAD
    wire = key & 7
    number = key >> 3
    if wire == 0:
        value, at = _varint(data, at, end)
        return number, wire, value, np.int64(0), at
    if wire == 2:
        size, at = _varint(data, at, end)
        if at < 0:
            return number, wire, np.int64(0), np.int64(0), _BAD
    elif wire == 1:
        size = np.int64(8)
    elif wire == 5:
        size = np.int64(4)
    else:
        return number, wire, np.int64(0), np.int64(0), _BAD
    if size < 0 or size > end - at:
        return number, wire, np.int64(0), np.int64(0), _BAD
    return number, wire, at, at + size, at + size


@numba.njit(cache=True, inline="always")
def _bits(data, at, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    out = np.uint64(0)
    for i in range(n):
        out |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return out


@numba.njit(cache=True, inline="always")
def _double(data, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return _bits(data, at, 8).view(np.float64)


@numba.njit(cache=True, inline="always")
def _single(data, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return np.float64(np.uint32(_bits(data, at, 4)).view(np.float32))


@numba.njit(cache=True)
def _tensor(data, at, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """(whether it is a plain float32 or float64 scalar, its value); anything else is left to the slow decoder."""
    kind = np.int64(0)
    content = np.int64(-1)
    width = np.int64(0)
    fields = 0
    while at < end:
        number, wire, a, b, at = _field(data, at, end)
        if at < 0:
            return False, 0.0
        if number == 1 and wire == 0:
            kind = a
        elif number == 4 and wire == 2:
            content, width = a, b - a
            fields += 1
        elif number == 5 and (wire == 2 or wire == 5):
            content, width = a, b - a
            fields += 1
            if width != 4:
                return False, 0.0
        elif number >= 5:
            return False, 0.0
    if fields != 1:
        return False, 0.0
    if kind == 1 and width == 4:
        return True, _single(data, content)
    if kind == 2 and width == 8:
        return True, _double(data, content)
    return False, 0.0


@numba.njit(cache=True)
def _value(data, start, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """(0 damaged, 1 nothing to keep, 2 a row; tag span; value; how it was decoded)."""
    tag_a = np.int64(0)
    tag_b = np.int64(0)
    tensor_a = np.int64(0)
    tensor_b = np.int64(0)
    value = 0.0
    simple = False
    decode = False
    other = False
    tensors = 0
    at = start
    while at < end:
        number, wire, a, b, at = _field(data, at, end)
        if at < 0:
            return 0, tag_a, tag_b, 0.0, np.int64(0)
        if number == 1 and wire == 2:
            tag_a, tag_b = a, b
            if b - a > MAX_TAG_BYTES:
                tag_b = a
        elif number == 2 and wire == 5:
            value = _single(data, a)
            simple = True
        elif number == 8 and wire == 2:
            tensor_a, tensor_b = a, b
            tensors += 1
        elif (number == 5 or number == 9) and wire == 2:
            decode = True
        elif number == 3 or number == 4 or number == 6:
            other = True
    if tag_a == tag_b:
        return 1, tag_a, tag_b, 0.0, np.int64(0)
    if simple:
        return 2, tag_a, tag_b, value, np.int64(SIMPLE)
    if other:
        return 1, tag_a, tag_b, 0.0, np.int64(0)
    if not decode and tensors == 0:
        return 2, tag_a, tag_b, 0.0, np.int64(SIMPLE)
    if not decode and tensors == 1:
        plain, value = _tensor(data, tensor_a, tensor_b)
        if plain:
            return 2, tag_a, tag_b, value, np.int64(TENSOR)
    return 2, tag_a, tag_b, 0.0, end


@numba.njit(cache=True)
def _tag_id(data, a, b, slots, spans, named):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0917
    """Id of the tag data[a:b] in the open-addressing table; `named` when it is new, -1 when the table is full."""
    code = np.uint64(14695981039346656037)  # FNV-1a
    for i in range(a, b):
        code = (code ^ np.uint64(data[i])) * np.uint64(1099511628211)
    code ^= code >> np.uint64(29)
    at = np.int64(code & np.uint64(_SLOTS - 1))
    while True:
        known = slots[at]
        if known < 0:
            if named >= MAX_TAGS:
                return np.int64(-1)
            slots[at] = named
            spans[named, 0] = a
            spans[named, 1] = b
            return np.int64(named)
        first = spans[known, 0]
        if spans[known, 1] - first == b - a:
            same = True
            for i in range(b - a):
                if data[first + i] != data[a + i]:
                    same = False
                    break
            if same:
                return np.int64(known)
        at = (at + 1) & (_SLOTS - 1)


@numba.njit(cache=True)
def _scan(data, table):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    size = np.int64(len(data))
    capacity = max(np.int64(1024), size // 48)
    rows = np.empty((4, capacity), np.int64)  # tag, step, start, end
    reals = np.empty((2, capacity), np.float64)  # wall, value
    slots = np.full(_SLOTS, -1, np.int32)
    spans = np.empty((MAX_TAGS, 2), np.int64)
    named = 0
    n = np.int64(0)
    at = np.int64(0)
    reason = MORE
    records = 0
    damaged = 0
    crowded = 0
    while size - at >= 12:
        crc = np.uint32(0xFFFFFFFF)
        for i in range(8):
            crc = table[(crc ^ np.uint32(data[at + i])) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
        crc = ~crc
        masked = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)
        if np.uint32(masked) != np.uint32(_bits(data, at + 8, 4)):
            reason = BAD_CRC
            break
        length = np.int64(_bits(data, at, 8))
        if length < 0 or length > size - at - 16:
            break
        start = at + 12
        end = start + length
        at = end + 4
        records += 1
        before = n
        crowded_before = crowded
        wall = 0.0
        step = np.int64(0)
        sound = True
        p = start
        while p < end and sound:
            number, wire, a, b, p = _field(data, p, end)
            if p < 0:
                sound = False
            elif number == 1 and wire == 1:
                wall = _double(data, a)
            elif number == 2 and wire == 0:
                step = a
            elif (number == 5 or number == 7) and wire == 2:
                q = a
                stop = b
                while (q < stop or number == 7) and sound:
                    tag = np.int64(RECORD_LOG)
                    value = 0.0
                    va = a
                    how = b
                    if number == 5:
                        inner, inner_wire, va, vb, q = _field(data, q, stop)
                        if q < 0:
                            sound = False
                            break
                        if inner != 1 or inner_wire != 2:
                            continue
                        state, tag_a, tag_b, value, how = _value(data, va, vb)
                        if state == 0:
                            sound = False
                            break
                        if state == 1:
                            continue
                        tag = _tag_id(data, tag_a, tag_b, slots, spans, named)
                        if tag < 0:
                            crowded += 1
                            continue
                        if tag == named:
                            named += 1
                    if n == capacity:
                        capacity *= 2
                        more_rows = np.empty((4, capacity), np.int64)
                        more_reals = np.empty((2, capacity), np.float64)
                        more_rows[:, :n] = rows[:, :n]
                        more_reals[:, :n] = reals[:, :n]
                        rows = more_rows
                        reals = more_reals
                    rows[0, n] = tag
                    rows[2, n] = va if how > 0 else 0
                    rows[3, n] = how
                    reals[1, n] = value
                    n += 1
                    if number == 7:
                        break
        if not sound:
            n = before
            crowded = crowded_before
            damaged += 1
            continue
        for i in range(before, n):
            rows[1, i] = step
            reals[0, i] = wall
    return n, rows, reals, spans, named, at, reason, records, damaged, crowded
