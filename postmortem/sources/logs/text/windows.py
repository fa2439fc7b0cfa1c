"""A stretch of a log taken apart once: where its digits are, and what is left without them.

Lines of one habit differ in their digits and in how many blanks stand before them. What remains, the *skeleton*, is the same
from line to line, so that a thousand of them are compared at the speed of memory and their numbers are read by column.
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import orjson

from postmortem.model.run import Floats
from postmortem.sources.logs.cuts import joined, within
from postmortem.sources.logs.digits import Digits, Ints, Printed
from postmortem.sources.logs.text.tokens import without_bars

WIDTH = 512 << 10  # bytes of a window: what is made of it stays near the processor
_DIGITS = b"0123456789"
_FIRST = 64  # repeats that are looked for before more are
_PERCENT, _PIPE, _OPEN, _EQUALS, _ARROW, _NEWLINE, _COMMA = b"%|[=>\n,"


@dataclass(frozen=True, slots=True)
class Template:
    """What all repeats of some lines have in common, as they are printed now."""

    lines: int  # of one repeat
    unit: bytes  # the skeleton of one repeat
    ranks: Ints  # (runs,) bytes of the unit before each run of digits
    widths: Ints  # (runs,) of each, 0 where it may have any
    close: Ints  # runs that are one moment with the next one
    gaps: Ints  # bytes between those two
    constants: tuple[tuple[int, bytes], ...]  # runs that are part of a word, and their digits


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of digits of some lines, among all of a window. first : (n,) of each line."""

    first: Ints
    width: int  # runs of each line

    @property
    def _one_by_one(self) -> bool:
        """No other runs are between them."""
        return len(self.first) > 0 and int(self.first[-1] - self.first[0]) == (len(self.first) - 1) * self.width

    def column(self, of: Ints, run: int) -> Ints:
        """(n,) what is known of one run of each line."""
        return of[self.first[0] + run : self.first[-1] + run + 1 : self.width] if self._one_by_one else of[self.first + run]

    def all(self, of: Ints) -> Ints:
        """(n, width) what is known of all of them."""
        inside = slice(self.first[0], self.first[-1] + self.width) if self._one_by_one else self.first[:, None] + np.arange(self.width)
        return of[inside].reshape(len(self.first), self.width)


class Alike:
    """The repeats of a template among the lines of a window from `begin` to `until`, wherever other lines stand between them."""

    def __init__(self, window: "Window", template: Template, begin: int, until: int) -> None:
        self.window, self.template, self.begin, self.until = window, template, begin, until
        self.lines = window.alike(template, begin, until)  # (repeats,) the first one of each
        self._runs = Runs(window.first_runs[self.lines], len(template.ranks))
        self._ends: Ints = np.append(np.flatnonzero(np.diff(self.lines) != template.lines), len(self.lines) - 1)  # where others follow
        self._known: dict[Hashable, Floats | None] = {}

    def __len__(self) -> int:
        return len(self.lines)

    def once(self, what: Hashable, work: Callable[[], Floats | None]) -> Floats | None:
        """What is known of all of the repeats, worked out when it is asked for first."""
        if what not in self._known:
            self._known[what] = work()
        return self._known[what]

    def covers(self, line: int) -> bool:
        """Whether it is known if a repeat begins at a line."""
        return self.begin <= line < self.until and (line - self.begin) % self.template.lines == 0

    def from_line(self, line: int) -> "Repeated":
        """The repeats that follow one another from a line on."""
        at = int(self.lines.searchsorted(line))
        if at == len(self) or self.lines[at] != line:
            return Repeated(self, line, 0, 0)
        return Repeated(self, line, at, int(self._ends[self._ends.searchsorted(at)]) + 1)

    def starts(self, run: int) -> Ints:
        """(repeats,) where a run of digits begins."""
        return self._runs.column(self.window.starts, run)

    def stops(self, run: int) -> Ints:
        """(repeats,) where it ends."""
        return self._runs.column(self.window.stops, run)

    def _run(self, run: int) -> tuple[Ints, Ints]:
        """(repeats,) where a run of digits ends, and how wide it is."""
        return self.stops(run), self._runs.column(self.window.widths, run)

    def numbers(self, printed: Printed) -> Floats:
        """(repeats,) float64, each as `float` of its token."""
        if printed.constant is not None:
            return np.full(len(self), printed.constant)
        exact = self.once(printed, lambda: self.window.digits.numbers(printed, self._run))
        return exact if exact is not None else self._one_by_one(printed)

    def _one_by_one(self, printed: Printed) -> Floats:
        runs = [r for r in (printed.whole, printed.decimals, printed.exponent) if r >= 0]
        begins, ends = self.starts(runs[0]) - printed.before, self.stops(runs[-1]) + printed.after
        listed = joined(self.window.codes, begins, ends + 1)
        listed[np.cumsum(ends + 1 - begins) - 1] = _COMMA
        text = listed[:-1].tobytes()
        try:
            return np.array(orjson.loads(b"[" + text + b"]"), dtype=np.float64)
        except (orjson.JSONDecodeError, OverflowError):  # `007`, `.5`
            return np.array([float(token) for token in text.split(b",")], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Repeated:
    """Repeats of a template that follow one another: some of all that are alike."""

    alike: Alike
    first_line: int
    begin: int  # among all
    end: int

    def __len__(self) -> int:
        return self.end - self.begin

    def first(self, n: int) -> "Repeated":
        """The first n of them."""
        return Repeated(self.alike, self.first_line, self.begin, min(self.end, self.begin + n))

    def lines(self, n: int) -> list[bytes]:
        """The text of the first n lines."""
        return self.alike.window.lines(self.first_line, min(n, len(self) * self.alike.template.lines))


class Window:
    """Whole lines of `data` from `begin` on. Bars that tqdm and Keras draw are gone from `text`."""

    def __init__(self, data: bytes, begin: int) -> None:
        end = data.rfind(b"\n", begin, begin + WIDTH) + 1
        raw = data[begin : max(end, begin)]
        self.data, self.begin, self.end = data, begin, begin + len(raw)
        self.text = text = _plain(b"\n" + raw)
        self.codes = codes = np.frombuffer(text, dtype=np.uint8)
        digit = (codes - np.uint8(48)) < 10
        edges = np.flatnonzero(digit[1:] != digit[:-1]) + 1
        self.starts, self.stops = edges[::2], edges[1::2]
        self.widths = self.stops - self.starts
        self._digits = np.concatenate(([0], np.cumsum(self.widths)))  # before each run
        self._doubled: Ints = np.zeros(0, np.int64)  # blanks that say nothing: behind one before a digit, behind two before anything else
        blank = codes == 32
        spare = np.zeros(len(codes), dtype=bool)
        np.logical_and(blank[1:], blank[:-1], out=spare[1:])
        if spare.any():
            runs = np.flatnonzero(spare[1:] != spare[:-1]) + 1
            spare[runs[::2][~digit[runs[1::2]]]] = False
            self._doubled = np.flatnonzero(spare)
            self._skeleton = codes[~(digit | spare)]
        else:
            self._skeleton = np.frombuffer(text.translate(None, _DIGITS), dtype=np.uint8)
        self._ranks = self._rank(self.starts, self._digits[:-1])
        self._ends = np.flatnonzero(codes == _NEWLINE)  # of the lines in `text`; the first ends what precedes
        self._alike: dict[int, Alike] = {}  # by the identity of their template
        self._asked: Repeated | None = None  # what was asked for last
        self.digits = Digits(text)
        self._raw_ends = (
            self._ends[1:] + (begin - 1) if len(text) == len(raw) + 1 else np.flatnonzero(np.frombuffer(raw, np.uint8) == _NEWLINE) + begin
        )

    @cached_property
    def first_runs(self) -> Ints:
        """(lines + 1,) runs of digits before each line."""
        return self.starts.searchsorted(self._ends)

    @cached_property
    def _first_ranks(self) -> Ints:
        """(lines + 1,) bytes of the skeleton before each line."""
        return self._rank(self._ends + 1, self._digits[self.first_runs])

    def line_of(self, offset: int) -> int:
        """Which line, from 0, begins at an offset in `data`."""
        return bisect_left(self._raw_ends, offset)

    def offset_behind(self, line: int) -> int:
        """Where in `data` the line before this one ends."""
        return int(self._raw_ends[line - 1]) + 1

    def lines(self, first: int, n: int) -> list[bytes]:
        """The text of up to n lines, without their ends."""
        ends = self._ends[first : first + n + 1].tolist()
        return [self.text[a + 1 : b] for a, b in pairwise(ends)]

    def begins(self, first: int, step: int, n: int) -> Ints:
        """Where in `text` n lines begin, from line `first` on every `step`-th."""
        return self._ends[first : first + step * n : step] + 1

    def runs(self, line: int) -> tuple[Ints, Ints]:
        """Begins and ends of the runs of digits of a line, from its begin."""
        begin, end = int(self._ends[line]) + 1, int(self._ends[line + 1])
        a, b = self.starts.searchsorted((begin, end))
        return self.starts[a:b] - begin, self.stops[a:b] - begin

    def skeleton(self, first: int, n: int) -> tuple[bytes, Ints]:
        """What n lines leave, and how many bytes of that precede each run of their digits."""
        ends = self._ends[[first, first + n]] + 1
        runs = self.starts.searchsorted(ends)
        low, high = self._rank(ends, self._digits[runs]).tolist()
        return self._skeleton[low:high].tobytes(), self._ranks[runs[0] : runs[1]] - low

    def _rank(self, places: Ints, digits: Ints) -> Ints:
        """Bytes of the skeleton before places in `text`, given how many digits precede them."""
        out: Ints = places - digits
        return out - self._doubled.searchsorted(places) if len(self._doubled) else out

    def repeated(self, template: Template, first: int) -> Repeated:
        """The repeats of a template from a line on, up to the first line that is not alike. What was found is kept for lines further on."""
        if self._asked and self._asked.first_line == first and self._asked.alike.template is template:
            return self._asked
        found = self._alike.get(id(template))
        reach = _FIRST if first else len(self._ends)
        while True:
            if found is None or not found.covers(first):
                until = min(first + reach * template.lines, len(self._ends) - template.lines)
                found = self._alike[id(template)] = Alike(self, template, first, until)
            repeats = found.from_line(first)
            if not len(repeats) or first + len(repeats) * template.lines < found.until or found.until + template.lines >= len(self._ends):
                self._asked = repeats
                return repeats
            reach, found = 8 * max(reach, len(found)), None

    def alike(self, template: Template, begin: int, until: int) -> Ints:
        """Which lines, of every so many from `begin` on, begin a repeat of a template."""
        width, length = len(template.ranks), len(template.unit)
        lines: Ints = np.arange(begin, until, template.lines)
        behind = lines + template.lines
        lines = lines[(self.first_runs[behind] - self.first_runs[lines] == width) & (self._first_ranks[behind] - self._first_ranks[lines] == length)]
        low, runs = self._first_ranks[lines], Runs(self.first_runs[lines], width)
        if not len(lines):
            return lines
        if low[-1] - low[0] == (len(lines) - 1) * length:  # nothing is between them
            units = self._skeleton[low[0] : low[-1] + length].view(f"S{length}")
        else:
            units = np.ndarray(len(self._skeleton) - length + 1, f"S{length}", self._skeleton, strides=(1,))[low]
        checks = [
            units == template.unit if units.tobytes() != template.unit * len(lines) else np.ones(len(lines), dtype=bool),
            (runs.all(self._ranks) - low[:, None] == template.ranks).all(axis=1),
            *(runs.column(self.widths, run) == template.widths[run] for run in np.flatnonzero(template.widths).tolist()),
        ]
        for run, gap in zip(template.close.tolist(), template.gaps.tolist(), strict=True):
            checks.append(runs.column(self.starts, run + 1) - runs.column(self.stops, run) == gap)
        for column, constant in template.constants:
            starts = runs.column(self.starts, column)
            checks.extend(self.codes.take(starts + n, mode="clip") == digit for n, digit in enumerate(constant))
        found: Ints = lines[np.logical_and.reduce(checks)]
        return found


def _plain(text: bytes) -> bytes:
    """The text as `without_bars` leaves it; what tqdm draws, `%|` up to the next `|` in a line, is cut out of all lines at once."""
    codes = np.frombuffer(text, dtype=np.uint8)
    if b"[" in text and ((codes[:-1] == _OPEN) & ((codes[1:] == _EQUALS) | (codes[1:] == _ARROW))).any():
        return without_bars(text)
    if b"%" not in text or b"|" not in text:
        return text
    marks = np.flatnonzero((codes == _PIPE) | (codes == _NEWLINE))
    pipes = codes[marks] == _PIPE
    opens = pipes[:-1] & pipes[1:] & (codes[marks[:-1] - 1] == _PERCENT)
    if not opens.any():
        return text
    if (opens[1:] & opens[:-1]).any():
        return without_bars(text)
    return codes[~within(marks[:-1][opens] + 1, marks[1:][opens], len(codes))].tobytes()
