"""A text file as blocks of whole lines, in bounded memory: byte-order marks, other encodings, NULs and every line end are dealt with here."""

import codecs
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from postmortem.sources.logs.encodings import encoding_of, without_mark
from postmortem.sources.logs.stretches import Extent

BLOCK = 1 << 20  # bytes read at a time
LONGEST_LINE = 8 << 20  # bytes; a longer line is left out


@dataclass(slots=True)
class Reading:
    """What was met on the way; complete once the blocks are used up."""

    extent: Extent
    too_long: int = 0  # lines left out
    ends_with_newline: bool = True


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for cycles while many objects are made that have none; parsing takes a fifth longer with it."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def blocks(path: Path, met: Reading) -> Iterator[bytes]:
    """Blocks of whole lines, UTF-8, lines ended by a newline each (the last one of the file too). Raises OSError.

    Of a very large file only parts are read (`stretches`); lines that are cut by that are left out.
    """
    rest = b""
    skipping = False
    last = b"\n"
    for text, apart in _decoded(path, met.extent):
        if apart:
            rest, skipping = b"", True
        data = rest + text
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
        last = data[-1:] or last
        if skipping:
            start = min((i for i in (data.find(b"\n"), data.find(b"\r")) if i >= 0), default=-1) + 1
            if not start:
                rest = b""
                continue
            skipping, data, end = False, data[start:], end - start
        if end <= 0:
            rest = data
            if len(rest) > LONGEST_LINE:
                rest, skipping = b"", True
                met.too_long += 1
            continue
        rest = data[end:]
        yield _plain(data[:end])
    met.ends_with_newline = last in (b"\n", b"\r")
    if rest:
        yield _plain(rest) + b"\n"


def _decoded(path: Path, extent: Extent) -> Iterator[tuple[bytes, bool]]:
    """Pieces as UTF-8, without a byte-order mark, and whether something before them was left out."""
    decoder: codecs.IncrementalDecoder | None = None
    for n, piece in enumerate(extent.pieces(path, BLOCK)):
        data = piece.data
        if n == 0:
            encoding = encoding_of(data)
            decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
            data = without_mark(data)
        elif decoder and piece.apart:
            decoder.reset()
        yield decoder.decode(data).encode("utf-8", "replace") if decoder else data, piece.apart


def _plain(data: bytes) -> bytes:
    if b"\0" in data:
        data = data.replace(b"\0", b"")
    if b"\r" in data:
        data = without_returns(data).replace(b"\r", b"\n")
    return data


def without_returns(data: bytes) -> bytes:
    """The text with one byte for the two that end a line on Windows. Where no other carriage return is in it, all are left out at once."""
    codes = np.frombuffer(data, dtype=np.uint8)
    returns = codes == 13
    alone = returns[-1] or (returns[:-1] & (codes[1:] != 10)).any()
    return data.replace(b"\r\n", b"\n") if alone else data.translate(None, b"\r")


def head_text(head: bytes) -> str:
    """The first bytes of a file as text, for deciding who reads it."""
    encoding = encoding_of(head)
    return without_mark(head).decode(encoding or "utf-8", "ignore" if encoding else "replace")
