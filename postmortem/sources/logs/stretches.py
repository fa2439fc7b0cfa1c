"""Which bytes of a very large text log are read: its begin, its end, and many short stretches evenly between.

A log of two gigabytes would take minutes and gigabytes of memory, for a curve that is drawn with a thousand points. Most
failures show at the end, what was configured stands at the begin, and between them the shape of the curve is what counts.
The same is done with a smaller file whose text turns out to cost too much (`effort`): lines that no pattern takes at once.
The choice depends on the file alone, so that the same file gives the same report.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from postmortem.model.sentence import Sentence, say
from postmortem.sources.logs.effort import Effort

MB = 1 << 20
WHOLE = 128 * MB  # bytes; a larger file is read in part
END = 32 * MB  # bytes at the begin, and as many at the end
BETWEEN = 64  # stretches
STRETCH = 1 * MB  # bytes of each
SHORTEST = 64 << 10  # bytes of a stretch, and a quarter of those at the end, of a file that costs much
FEWEST = 16  # stretches of such a file
MOST_GROWN = 2 * WHOLE  # bytes of the last stretch: someone may write faster than we read


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file as they stand there. `apart`: something before them was left out, so that they may begin within a line."""

    data: bytes
    apart: bool
    last: bool  # the file ends with them


@dataclass(slots=True)
class Extent:
    """What is read of a file of `size` bytes; complete once its pieces are used up."""

    size: int
    effort: Effort = field(default_factory=Effort)
    unit: int = 4  # bytes: stretches begin at multiples of it, as the characters of UTF-16 and UTF-32 do
    begin: int = 0  # bytes at the begin
    between: int = 0  # stretches
    stretch: int = 0  # bytes of each
    end: int = 0  # bytes at the end
    whole: bool = True  # nothing is left out

    def pieces(self, path: Path, most: int) -> Iterator[Piece]:
        """The bytes that are read, at most `most` at a time. Raises OSError."""
        with path.open("rb", buffering=0) as file:
            wanted = min(self.size, WHOLE)
            for data, last in _read(file, END if self.size > WHOLE else MOST_GROWN, most):
                self.begin += len(data)
                yield Piece(data, apart=False, last=last and self.size <= WHOLE)
                if self.begin < self.size and self.effort.too_much(self.begin, wanted):
                    break
            else:
                if self.size <= WHOLE:
                    return
            yield from self._rest(file, most)

    def _rest(self, file: BinaryIO, most: int) -> Iterator[Piece]:
        self.whole = False
        left, rest = self.effort.left(), self.size - self.begin
        room = int(left / 2 / self.effort.rate(self.begin))  # bytes
        end = min(max(room, 4 * SHORTEST), END, rest)
        count = BETWEEN if room >= BETWEEN * SHORTEST else FEWEST
        stretch = min(max(room // count, SHORTEST), STRETCH) // self.unit * self.unit
        gap = (rest - end - count * stretch) / (count + 1)
        enough = self.effort.spent + left / 2
        for n in range(count if gap > 0 else 0):
            if self.effort.spent > enough:
                break
            begin = int(self.begin + gap * (n + 1) + stretch * n) // self.unit * self.unit
            self.between, self.stretch = n + 1, stretch
            for piece in _apart(file, begin, stretch, most):
                yield Piece(piece.data, piece.apart, last=False)
        for piece in _apart(file, (self.size - end) // self.unit * self.unit, MOST_GROWN, most):
            self.end = end if piece.last else 0
            yield piece
            if self.effort.spent > 2 * self.effort.most:
                return

    def left_out(self) -> Sentence | None:
        """What is to be said of a file that was read in part; None of one that was read whole."""
        if self.whole:
            return None
        parts = {"begin": self.begin / MB, "end": self.end / MB, "n": self.between, "stretch": self.stretch / MB, "size": self.size / MB}
        if self.size > WHOLE:
            return say(
                "it is too large ({size:,.0f} MB): only its first {begin:.3g} MB, its last {end:.3g} MB and {n} stretches of {stretch:.2g} MB "
                "between were read", **parts,
            )  # fmt: skip
        return say(
            "its text takes long to read ({size:,.0f} MB of ever new lines): only its first {begin:.3g} MB, its last {end:.3g} MB and {n} stretches "
            "of {stretch:.2g} MB between were read", **parts,
        )  # fmt: skip


def _apart(file: BinaryIO, begin: int, length: int, most: int) -> Iterator[Piece]:
    file.seek(begin)
    apart = True
    for data, last in _read(file, length, most):
        yield Piece(data, apart, last)
        apart = False


def _read(file: BinaryIO, length: int, most: int) -> Iterator[tuple[bytes, bool]]:
    """At most `length` bytes from where the file stands, and of each piece whether it is the last one."""
    data = file.read(min(most, length))
    while data:
        length -= len(data)
        following = file.read(min(most, length))
        yield data, not following
        data = following
