"""Which bytes of a very large text log are read: its begin, its end, and many short stretches evenly between.

A log of two gigabytes would take minutes and gigabytes of memory, for a curve that is drawn with a thousand points. Most
failures show at the end, what was configured stands at the begin, and between them the shape of the curve is what counts.
The choice depends on the size alone, so that the same file gives the same report.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from postmortem.model.sentence import Sentence, say

MB = 1 << 20
WHOLE = 128 * MB  # bytes; a larger file is read in part
END = 32 * MB  # bytes at the begin, and as many at the end
BETWEEN = 64  # stretches
STRETCH = 1 * MB  # bytes of each
MOST_GROWN = 2 * WHOLE  # bytes of the last stretch: someone may write faster than we read


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file as they stand there. `apart`: something before them was left out, so that they may begin within a line."""

    data: bytes
    apart: bool = False


def stretches(size: int) -> list[tuple[int, int | None]]:
    """(first byte, byte after the last) of what is read of a file of `size` bytes; None: to its end, which may have moved on.

    All begin at multiples of 4, as the characters of UTF-16 and UTF-32 do.
    """
    if size <= WHOLE:
        return [(0, None)]
    gap = (size - 2 * END - BETWEEN * STRETCH) / (BETWEEN + 1)
    begins = [int(END + gap * (n + 1) + STRETCH * n) & ~3 for n in range(BETWEEN)]
    return [(0, END), *((begin, begin + STRETCH) for begin in begins), ((size - END) & ~3, None)]


def pieces(path: Path, size: int, most: int) -> Iterator[Piece]:
    """The bytes that are read, at most `most` at a time. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        for begin, end in stretches(size):
            if begin:
                file.seek(begin)
            yield from _stretch(file, begin, end, most)


def _stretch(file: BinaryIO, begin: int, end: int | None, most: int) -> Iterator[Piece]:
    at = begin
    end = begin + MOST_GROWN if end is None else end
    while at < end:
        data = file.read(min(most, end - at))
        if not data:
            return
        yield Piece(data, apart=0 < begin == at)
        at += len(data)


def left_out(size: int) -> Sentence | None:
    """What is to be said of a file that is read in part; None of one that is read whole."""
    if size <= WHOLE:
        return None
    return say(
        "it is too large ({size:,} MB): only its first and last {end} MB and {n} stretches of {stretch} MB between were read",
        size=size // MB,
        end=END // MB,
        n=BETWEEN,
        stretch=STRETCH // MB,
    )
