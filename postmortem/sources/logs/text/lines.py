"""A file's bytes as clean lines: one encoding, one line end, no control sequences. Bounded memory: one chunk at a time."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from postmortem.sources.logs.blocks import LONGEST_LINE, Reading
from postmortem.sources.logs.encodings import encoding_of
from postmortem.sources.logs.text.boxes import boxed, journal, unboxed, without_journal
from postmortem.sources.logs.text.ranks import labelled, with_ranks

CHUNK = 1 << 20  # bytes; what the text costs is looked at after each
_NEWLINE = 10
_FEW = 4096  # bytes in which line ends are counted one by one
_ANSI = re.compile(rb"\x1b(?:\[[0-9;?]{0,32}[A-Za-z]|\][^\x07\x1b]{0,256}\x07|[()][A-Z0-9]|[=>78])")
_SCRIPT = re.compile(rb"^(?:import|from) \w", re.MULTILINE)
_RULER = re.compile(rb"^={40,}[ \t]*\r?\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of whole lines. `first_line` is the number of its first line in the file (1-based)."""

    data: bytes  # lines end in \n; a carriage return within a line became \n too
    first_line: int
    returns: "np.ndarray[tuple[int], np.dtype[np.int64]] | None"  # places of the \n that were lone carriage returns
    apart: bool  # something before it was left out
    cut: bool  # the file does not end in a line end

    def line_at(self, offset: int) -> int:
        """The file's line number of an offset in `data`."""
        return self.first_line + self.line_ends(0, offset)

    def line_ends(self, start: int, stop: int) -> int:
        """Line ends of the file between two offsets."""
        if stop - start < _FEW:
            ends = self.data.count(b"\n", start, stop)
        else:
            ends = int(np.count_nonzero(np.frombuffer(self.data, dtype=np.uint8)[start:stop] == _NEWLINE))
        if self.returns is not None:
            ends -= int(np.searchsorted(self.returns, stop) - np.searchsorted(self.returns, start))
        return ends


def chunks(path: Path, met: Reading) -> Iterator[Chunk]:
    """The file in chunks of whole lines. Of a very large or costly one only parts: see `stretches`. Raises OSError.

    A line of more than `LONGEST_LINE` bytes is left out, its line end stays.
    """
    decoder: codecs.IncrementalDecoder | None = None
    rest, line, apart = b"", 1, False
    skipping = started = tasks = docker = journalled = False  # skipping: the rest of a line whose begin was left out
    for piece in met.extent.pieces(path, CHUNK):
        last = piece.last
        if not started:
            encoding = encoding_of(piece.data)
            decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
        if piece.apart:
            rest, skipping, apart = b"", True, True
            if decoder:
                decoder.reset()
        data = rest + (decoder.decode(piece.data, final=last).encode("utf-8", "replace") if decoder else piece.data)
        rest = b""
        if skipping:
            start = min((i for i in (data.find(b"\n"), data.find(b"\r")) if i >= 0), default=-1)
            if start < 0:
                continue
            data, skipping = data[start + apart :], False
        if not last:
            end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
            data, rest = data[:end], data[end:]
            if len(rest) > LONGEST_LINE:
                rest, skipping = b"", True
                met.too_long += 1
        if not started:
            data = data.removeprefix(b"\xef\xbb\xbf")
            docker, journalled = boxed(data), journal(data)
        if docker:
            data = unboxed(data)
        if journalled:
            data = without_journal(data)
        if not started:
            started = True
            skipped = _script_before(data)
            line += data.count(b"\n", 0, skipped)
            data = data[skipped:]
            tasks = labelled(data)
        cut = last and bool(data) and not data.endswith((b"\n", b"\r"))
        chunk = _clean(with_ranks(data) if tasks else data, line, apart=apart, cut=cut)
        apart = False
        yield chunk
        line = chunk.line_at(len(chunk.data)) if chunk.data.endswith(b"\n") else line


def _script_before(data: bytes) -> int:
    """Where a log begins that starts with a copy of its own program: after the first long line of `=`. 0 for any other log."""
    if len(_SCRIPT.findall(data[:8192])) < 3:
        return 0
    ruler = _RULER.search(data[: 1 << 20])
    return ruler.end() if ruler else 0


def _places(data: bytes, byte: bytes) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == byte[0])


def _clean(data: bytes, first_line: int, *, apart: bool, cut: bool) -> Chunk:
    if b"\x1b" in data:
        data = _ANSI.sub(b"", data)
    if b"\x00" in data:
        data = data.replace(b"\x00", b"")
    if b"\x02" in data:
        data = data.replace(b"\x02", b"")
    if b"\x08" in data:
        data = re.sub(rb"\x08+", b"\r", data)
    returns = None
    if b"\r" in data:
        returns = _places(data, b"\r")
        if (np.frombuffer(data, dtype=np.uint8).take(returns + 1, mode="clip") == _NEWLINE).any():
            data = data.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n")
            returns = _places(data, b"\r")
        data = data.replace(b"\r", b"\n")
    return Chunk(data, first_line, returns, apart, cut)
