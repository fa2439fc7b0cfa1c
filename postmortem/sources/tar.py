"""Members of a tar stream, read once from front to back. Nothing is allocated because a header says so.

Format: POSIX.1-2017 pax interchange format (ustar headers, `x` and `g` records), GNU long names (`L`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

BLOCK = 512
_LARGEST_EXTENSION = 1 << 20  # bytes of a pax record or long name
_CHUNK = 1 << 20
Kind = Literal["file", "directory", "link", "special"]
_KINDS: dict[bytes, Kind] = {b"0": "file", b"\0": "file", b"7": "file", b"5": "directory", b"1": "link", b"2": "link", b"D": "directory"}


class DamagedTarError(Exception):
    """The stream ends early, or is no tar from here on. Stays inside `archives`."""


@dataclass(slots=True)
class Member:
    name: str  # as written; surrogates stand for bytes that are not UTF-8
    kind: Kind
    size: int  # bytes
    modified: float
    data: Iterator[bytes]  # must be taken before the next member is asked for, or is skipped


def is_header(block: bytes) -> bool:
    """Whether a block is a tar header: its checksum is right."""
    if len(block) < BLOCK or not block[0]:
        return False
    try:
        stated = _number(block[148:156])
    except ValueError:
        return False
    return stated == sum(block[:148]) + 8 * 32 + sum(block[156:512])


def members(read: Callable[[int], bytes]) -> Iterator[Member]:
    """The members of a stream. `read(n)` gives n bytes, fewer at the end only. Raises `DamagedTarError` where it stops being a tar."""
    name, size = "", -1  # from extension headers, for the next member
    while True:
        block = read(BLOCK)
        if not any(block):
            return  # two zero blocks, or just the end
        if not is_header(block):
            raise DamagedTarError("the archive is damaged")
        try:
            stated, modified = _number(block[124:136]), float(_number(block[136:148]))
        except ValueError as error:
            raise DamagedTarError("the archive is damaged") from error
        kind = block[156:157]
        if kind in b"xgLK":
            if stated > _LARGEST_EXTENSION:
                raise DamagedTarError("the archive names a member with more than a megabyte")
            extension = b"".join(_data(read, stated))
            if kind == b"L":
                name = _text(extension)
            elif kind == b"x":
                records = _records(extension)
                name = _text(records.get(b"path", b"")) or name
                size = int(records[b"size"]) if records.get(b"size", b"").isdigit() and len(records[b"size"]) < 20 else size
            continue
        prefix = _text(block[345:500]) if block[257:262] == b"ustar" and block[263:265] != b" \0" else ""
        plain = _text(block[:100])
        own = size if size >= 0 else stated
        sort = _KINDS.get(kind, "special")
        if sort in ("link", "directory"):
            own = 0 if sort == "link" else own
        data = _data(read, own)
        yield Member(name or (f"{prefix}/{plain}" if prefix else plain), sort, own, modified, data)
        for _ in data:
            pass
        name, size = "", -1


def _data(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    """A member's bytes in pieces; the padding behind them is taken too."""
    left = size
    while left > 0:
        piece = read(min(left, _CHUNK))
        if not piece:
            raise DamagedTarError("the archive is cut short")
        left -= len(piece)
        yield piece
    if size % BLOCK:
        read(BLOCK - size % BLOCK)


def _number(field: bytes) -> int:
    """An octal or (GNU) base-256 field. Raises ValueError."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    if field[:1] == b"\xff":
        return 0  # negative: a time before 1970
    text = field.strip(b" \0")
    return int(text, 8) if text else 0


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _records(data: bytes) -> dict[bytes, bytes]:
    """`length key=value\\n` records of a pax header; what is malformed ends the list."""
    out: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        digits, space, _ = data[at : at + 8].partition(b" ")
        if not space or not digits.isdigit() or int(digits) <= len(digits) + 1:
            break
        key, _, value = data[at + len(digits) + 1 : at + int(digits) - 1].partition(b"=")
        out[key] = value
        at += int(digits)
    return out
