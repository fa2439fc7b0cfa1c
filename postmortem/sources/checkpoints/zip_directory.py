"""Where the members of a zip file lie: its central directory, or, when that is missing, its local headers one by one.

A reader of our own because offsets must come from the local headers, because a file cut in the middle has no central
directory and still holds whole members, and because sizes are never believed before they are compared with the file's.
Format: PKWARE APPNOTE 6.3, sections 4.3.7 (local header), 4.3.9 (data descriptor), 4.3.12 (central directory), 4.3.14-16 (ends).
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from postmortem.model.sentence import Sentence, say

STORED, DEFLATED = 0, 8
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END = struct.Struct("<IHHHHIIH")
_END_64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<IIQI")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC, _END_64_MAGIC, _LOCATOR_MAGIC = 0x04034B50, 0x02014B50, 0x06054B50, 0x06064B50, 0x07064B50
_DESCRIPTOR_MAGIC = b"PK\x07\x08"
_ENCRYPTED, _HAS_DESCRIPTOR = 0x1, 0x8
_LARGEST_DIRECTORY = 256 << 20  # bytes
_MOST_MEMBERS = 2_000_000
_SEARCH = 1 << 30  # bytes searched for the end of members of unknown size, all together
_WINDOW = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `header` and `data` are offsets from the start of the file; `data` is -1 until the local header is read."""

    name: str
    method: int
    packed: int  # bytes in the file
    size: int  # bytes when unpacked
    header: int
    data: int = -1


@dataclass(slots=True)
class Directory:
    """What a zip file holds. `truncated`: the file ends before its central directory."""

    members: dict[str, Member] = field(default_factory=dict)
    problem: Sentence | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """Part of an open file, read with `pread`: `size` bytes from `start`. Offsets count from `start`."""

    fd: int
    start: int
    size: int

    def read(self, n: int, offset: int) -> bytes:
        """Up to `n` bytes; fewer, or none, where the window or the file ends or cannot be read."""
        if offset < 0:
            return b""
        n = min(n, self.size - offset)
        parts: list[bytes] = []
        with suppress(OSError, OverflowError):
            while n > 0:
                part = os.pread(self.fd, min(n, 1 << 30), self.start + offset)
                if not part:
                    break
                parts.append(part)
                n -= len(part)
                offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def first_member(head: bytes) -> bytes:
    """The name of a zip's first member, told by how the file begins; b"" for what begins otherwise."""
    if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        return b""
    return head[_LOCAL.size : _LOCAL.size + _LOCAL.unpack_from(head)[9]]


def read_directory(window: Window) -> Directory | None:
    """The central directory, None when there is none (a truncated file: see `scan`)."""
    for count, length, start in _ends(window):
        if length <= _LARGEST_DIRECTORY and count <= _MOST_MEMBERS:
            data = window.read(length, start)
            if len(data) == length:
                return _central(data, count, window.size)
    return None


def extent(window: Window) -> tuple[int, int, int] | None:
    """Entries, bytes and offset of the central directory as the file's end states them; None when there is none."""
    return next(_ends(window), None)


def _ends(window: Window) -> Iterator[tuple[int, int, int]]:
    """(entries, bytes, offset) of each end of a directory that fits the file, the last one first."""
    tail_at = max(0, window.size - (_END.size + 65535))
    tail = window.read(window.size - tail_at, tail_at)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= _END.size:
            _, _, _, _, count, length, start, comment = _END.unpack_from(tail, at)
            end = tail_at + at
            locator = window.read(_LOCATOR_64.size, end - _LOCATOR_64.size) if end >= _LOCATOR_64.size else b""
            if len(locator) == _LOCATOR_64.size and _LOCATOR_64.unpack(locator)[0] == _LOCATOR_MAGIC:
                record = window.read(_END_64.size, _LOCATOR_64.unpack(locator)[2])
                if len(record) == _END_64.size and _END_64.unpack(record)[0] == _END_64_MAGIC:
                    count, length, start = _END_64.unpack(record)[7:10]
            if at + _END.size + comment <= len(tail) and start + length <= end and count * _CENTRAL.size <= length:
                yield count, length, start
        at = tail.rfind(b"PK\x05\x06", 0, at)


def _central(data: bytes, count: int, size: int) -> Directory:
    directory = Directory()
    at = 0
    for _ in range(count):
        if len(data) - at < _CENTRAL.size:
            directory.problem = say("the zip directory is damaged")
            break
        magic, _, _, flags, method, _, _, _, packed, unpacked, n_name, n_extra, n_comment, _, _, _, header = _CENTRAL.unpack_from(data, at)
        if magic != _CENTRAL_MAGIC:
            directory.problem = say("the zip directory is damaged")
            break
        at += _CENTRAL.size
        name = data[at : at + n_name].decode("utf-8", "replace")
        extra = data[at + n_name : at + n_name + n_extra]
        at += n_name + n_extra + n_comment
        unpacked, packed, header = _zip64(extra, unpacked, packed, header)
        if flags & _ENCRYPTED:
            directory.problem = say("member {name} is encrypted and was not read", name=name[:200])
        elif name in directory.members:
            directory.problem = say("the zip names {name} twice; the first one was read", name=name[:200])
        elif header + packed > size:
            directory.problem = say("member {name} reaches beyond the end of the file", name=name[:200])
            directory.truncated = True
        else:
            directory.members[name] = Member(name, method, packed, unpacked, header)
    _refuse_overlaps(directory)
    return directory


def _zip64(extra: bytes, unpacked: int, packed: int, header: int) -> tuple[int, int, int]:
    """Sizes and offset from the zip64 extra field, which holds only those that are 0xFFFFFFFF in the header, in this order."""
    if 0xFFFFFFFF not in (unpacked, packed, header):
        return unpacked, packed, header
    values = [unpacked, packed, header]
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field_ = extra[at + 4 : at + 4 + length]
            wide = iter(struct.unpack(f"<{len(field_) // 8}Q", field_[: len(field_) // 8 * 8]))
            values = [next(wide, v) if v == 0xFFFFFFFF else v for v in values]
            break
        at += 4 + length
    return values[0], values[1], values[2]


def _refuse_overlaps(directory: Directory) -> None:
    """Drop members that share bytes with an earlier one: the trick of zip bombs, never what torch writes."""
    end = 0
    for member in sorted(directory.members.values(), key=lambda m: (m.header, m.name)):
        if member.header < end:
            del directory.members[member.name]
            directory.problem = say("member {name} overlaps another one and was not read", name=member.name[:200])
        else:
            end = member.header + _LOCAL.size + member.packed


def located(window: Window, member: Member) -> Member | None:
    """The member with `data` from its local header, None when there is no local header or the data are not all in the file."""
    if member.data >= 0:
        return member
    head = window.read(_LOCAL.size, member.header)
    if len(head) < _LOCAL.size:
        return None
    magic, *_, n_name, n_extra = _LOCAL.unpack(head)
    data = member.header + _LOCAL.size + n_name + n_extra
    if magic != _LOCAL_MAGIC or data + member.packed > window.size:
        return None
    return Member(member.name, member.method, member.packed, member.size, member.header, data)


def content(window: Window, member: Member, limit: int) -> bytes | None:
    """A located member's bytes, unpacked; None when longer than `limit`, damaged, or packed by another method than deflate."""
    if member.method == STORED:
        return window.read(member.packed, member.data) if member.packed <= limit else None
    if member.method != DEFLATED or member.packed > limit:
        return None
    try:
        unpacker = zlib.decompressobj(-15)
        out = unpacker.decompress(window.read(member.packed, member.data), limit + 1)
    except zlib.error:
        return None
    return out if len(out) <= limit else None


def scan(window: Window, expect: Callable[[str, int], int | None], *, one_tensor: bool = False) -> Directory:
    """Members by their local headers, from the start of a file that has no central directory.

    torch writes sizes behind the data; `expect(name, data offset)` says how long a member of unknown size should be, None
    when nobody knows (then its end is searched for). `one_tensor`: there is a
    single storage, after which nobody needs to look further. The last member may be cut: its `packed` is what there is.
    """
    directory = Directory(truncated=True)
    at, budget, size, most = 0, (_WINDOW if one_tensor else _SEARCH), window.size, (32 if one_tensor else _MOST_MEMBERS)
    while at + _LOCAL.size <= size and len(directory.members) < most:
        magic, _, flags, method, _, _, _, packed, unpacked, n_name, n_extra = _LOCAL.unpack(window.read(_LOCAL.size, at).ljust(_LOCAL.size, b"\0"))
        if magic != _LOCAL_MAGIC:
            break
        names = window.read(n_name + n_extra, at + _LOCAL.size)
        name = names[:n_name].decode("utf-8", "replace")
        unpacked, packed, _ = _zip64(names[n_name:], unpacked, packed, 0)
        data = at + _LOCAL.size + n_name + n_extra
        if data > size:
            break
        end = data + packed
        following = end
        if flags & _HAS_DESCRIPTOR and not packed:
            end, following, budget = _end_of(window, data, expect(name, data), budget)
            packed = unpacked = end - data
        if not flags & _ENCRYPTED:
            kept = min(packed, size - data)
            directory.members.setdefault(name, Member(name, method, kept, kept if method == STORED else unpacked, at, data))
        at = following
        if one_tensor and name.endswith("/data/0"):
            break
    return directory


def _end_of(window: Window, data: int, expected: int | None, budget: int) -> tuple[int, int, int]:
    """End of a member's data, start of the next header, and what is left of the search budget."""
    size = window.size
    if expected is not None:
        end = data + expected
        if end >= size:
            return size, size, budget
        after = window.read(28, end)
        for length in (16, 24, 12, 20):  # with and without signature, narrow and wide
            if after[length : length + 2] == b"PK" or end + length >= size:
                return end, end + length, budget
    at = data
    while at < size and budget > 0:
        block = window.read(_WINDOW, at)
        if not block:
            break
        budget -= len(block)
        found = block.find(_DESCRIPTOR_MAGIC)
        while found >= 0:
            tail = window.read(26, at + found)
            for form, length in (("<III", 16), ("<IQQ", 24)):
                if len(tail) >= length and struct.unpack_from(form, tail, 4)[1] == at + found - data and tail[length : length + 2] in (b"PK", b""):
                    return at + found, at + found + length, budget
            found = block.find(_DESCRIPTOR_MAGIC, found + 1)
        at += max(len(block) - 3, 1)
        if len(block) < _WINDOW:
            break
    return size, size, budget
