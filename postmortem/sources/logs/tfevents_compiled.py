"""The scan of `tfevents_scan` in machine code, for files that are worth numba's start-up.

Every read is inside the buffer: a length is compared with what is left before it is used, and a record is taken only when it
lies whole in the buffer. Integers are int64, so a length above 2⁶³ is negative and refused like one that is too large.
"""

# ruff: noqa: PLR1714 - `in` over a tuple is not what numba compiles best

import numba
import numpy as np

from postmortem.sources.logs.tfevents_scan import BAD_CRC, CRC_TABLE, MAX_TAG_BYTES, MAX_TAGS, MORE, RECORD_LOG, SIMPLE, TENSOR, Columns

_LOW = np.uint64(0xFFFFFFFF)
_BAD = np.int64(-1)  # an offset that says "malformed"
_LEAST = 5  # bytes that a row takes in the file: a value with a tag of one letter; a session log is one per record
_SHORT = 4096  # bytes of a record whose length's checksum is remembered
_SLOTS = 1 << 18  # of the hash table: a power of two, four times the tags
_MOST_PROBES = 256  # of it for one tag: more are tags made to collide, which count as too many


def scan(data: bytes) -> Columns:
    """The values of all records that lie whole in `data`."""
    capacity = len(data) // _LEAST + 1  # pages that are not written to cost nothing
    rows, reals = np.empty((4, capacity), np.int64), np.empty((2, capacity))
    spans, slots = np.empty((MAX_TAGS, 2), np.int64), np.full(_SLOTS, -1, np.int32)
    after = np.zeros(MAX_TAGS, np.int32)  # the tag that followed last time: logging goes round and round
    sums = np.full(_SHORT, -1, np.int64)  # checksums of lengths that were seen
    n, named, at, reason, records, damaged, crowded = _scan(np.frombuffer(data, np.uint8), CRC_TABLE, rows, reals, slots, spans, after, sums)
    names = tuple(data[a:b] for a, b in spans[:named].tolist())
    return Columns(
        names, rows[0, :n].astype(np.int32), rows[1, :n], reals[0, :n], reals[1, :n], rows[2, :n], rows[3, :n],
        int(at), int(reason), int(records), int(damaged), int(crowded),
    )  # fmt: skip


@numba.njit(cache=True)
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


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def _word(data, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The four bytes at `at`, little endian. Written out with an unsigned index, it compiles to one load."""
    p = np.uint64(at)
    return (
        np.uint64(data[p])
        | np.uint64(data[p + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[p + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[p + np.uint64(3)]) << np.uint64(24)
    )


@numba.njit(cache=True)
def _long(data, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The eight bytes at `at`, little endian."""
    return np.uint64(_word(data, at) | _word(data, at + 4) << np.uint64(32))


@numba.njit(cache=True)
def _double(data, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return np.uint64(_long(data, at)).view(np.float64)


@numba.njit(cache=True)
def _single(data, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return np.float64(np.uint32(_word(data, at)).view(np.float32))


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
def _same(data, a, b, c, d):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Whether data[a:b] and data[c:d] hold the same bytes."""
    if b - a != d - c:
        return False
    for i in range(b - a):  # noqa: SIM110 - numba compiles the loop
        if data[a + i] != data[c + i]:
            return False
    return True


@numba.njit(cache=True)
def _masked_crc32c(data, at, table):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The masked checksum of the eight bytes at `at`; 64 bits wide, because numba widens 32-bit arithmetic anyway."""
    crc = _LOW
    for i in range(8):
        crc = np.uint64(table[(crc ^ np.uint64(data[at + i])) & np.uint64(0xFF)]) ^ (crc >> np.uint64(8))
    crc ^= _LOW
    rotated = ((crc >> np.uint64(15)) | (crc << np.uint64(17))) & _LOW
    return np.int64((rotated + np.uint64(0xA282EAD8)) & _LOW)


@numba.njit(cache=True)
def _tag_id(data, a, b, slots, spans, named):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Id of the tag data[a:b] in the open-addressing table; `named` when it is new, -1 when the table is full."""
    code = np.uint64(14695981039346656037)  # FNV-1a
    for i in range(a, b):
        code = (code ^ np.uint64(data[i])) * np.uint64(1099511628211)
    code ^= code >> np.uint64(29)
    at = np.int64(code & np.uint64(_SLOTS - 1))
    for _ in range(_MOST_PROBES):
        known = slots[at]
        if known < 0:
            if named >= MAX_TAGS:
                return np.int64(-1)
            slots[at] = named
            spans[named, 0] = a
            spans[named, 1] = b
            return np.int64(named)
        if _same(data, spans[known, 0], spans[known, 1], a, b):
            return np.int64(known)
        at = (at + 1) & (_SLOTS - 1)
    return np.int64(-1)


@numba.njit(cache=True)
def _scan(data, table, rows, reals, slots, spans, after, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fill rows (tag, step, start, end) and reals (wall, value). All arrays come from outside and none is ever replaced: numba
    would count references at each call in the loop.
    """
    size = np.int64(len(data))
    named = np.int64(0)
    previous = np.int64(0)
    n = np.int64(0)
    at = np.int64(0)
    reason = MORE
    records = 0
    damaged = 0
    crowded = 0
    while size - at >= 12:
        length = np.int64(_long(data, at))
        short = 0 <= length < len(sums)
        expected = sums[length] if short else np.int64(-1)
        if expected < 0:
            expected = _masked_crc32c(data, at, table)
            if short:
                sums[length] = expected
        if expected != np.int64(_word(data, at + 8)):
            reason = BAD_CRC
            break
        if length < 0 or length > size - at - 16:
            break
        p = at + 12
        end = p + length
        at = end + 4
        records += 1
        n_before = n
        crowded_before = crowded
        wall = 0.0
        step = np.int64(0)
        log_a = np.int64(0)
        log_b = np.int64(-1)
        sound = True
        while p < end and sound:
            number, wire, a, b, p = _field(data, p, end)
            if p < 0:
                sound = False
            elif number == 1 and wire == 1:
                wall = _double(data, a)
            elif number == 2 and wire == 0:
                step = a
            elif number == 7 and wire == 2:
                log_a, log_b = a, b
            elif number == 5 and wire == 2:
                q = a
                while q < b:
                    inner, inner_wire, value_a, value_b, q = _field(data, q, b)
                    if q < 0:
                        sound = False
                        break
                    if inner != 1 or inner_wire != 2:
                        continue
                    state, tag_a, tag_b, value, how = _value(data, value_a, value_b)
                    if state == 0:
                        sound = False
                        break
                    if state == 1:
                        continue
                    tag = np.int64(after[previous])
                    if named == 0 or not _same(data, spans[tag, 0], spans[tag, 1], tag_a, tag_b):
                        tag = _tag_id(data, tag_a, tag_b, slots, spans, named)
                        if tag < 0:
                            crowded += 1
                            continue
                        if tag == named:
                            named += 1
                    after[previous] = tag
                    previous = tag
                    rows[0, n] = tag
                    rows[2, n] = value_a if how > 0 else 0
                    rows[3, n] = how
                    reals[1, n] = value
                    n += 1
        if not sound:
            n = n_before
            crowded = crowded_before
            damaged += 1
            continue
        if log_b >= 0:
            rows[0, n] = RECORD_LOG
            rows[2, n] = log_a
            rows[3, n] = log_b
            reals[1, n] = 0.0
            n += 1
        for i in range(n_before, n):
            rows[1, i] = step
            reals[0, i] = wall
    return n, named, at, reason, records, damaged, crowded
