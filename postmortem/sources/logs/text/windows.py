"""A stretch of a log taken apart once: where its digits are, and what is left without them.

Lines of one habit differ in their digits and in how many blanks stand before them. What remains, the *skeleton*, is the same
from line to line, so that a thousand of them are compared at the speed of memory and their numbers are read by column.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import orjson

from postmortem.model.run import Floats
from postmortem.sources.logs.text.tokens import without_bars

WIDTH = 512 << 10  # bytes of a window: what is made of it stays near the processor
_DIGITS = b"0123456789"
MOST_DIGITS = 18  # of a number in an int64
_FIRST = 64  # repeats that are compared before more are
_PERCENT, _PIPE, _OPEN, _EQUALS, _ARROW = b"%|[=>"
_EXACT = 1 << 53  # whole numbers up to here, divided by powers of ten up to 22, round as `float` does
_POWERS: Floats = np.array([float(f"1e{n}") for n in range(23)])
_WHOLE_POWERS = 10 ** np.arange(19, dtype=np.int64)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Printed:
    """How a number is printed: which runs of digits make it, -1 for none, counted within a repeat. `constant` has no digits: nan."""

    whole: int = -1
    decimals: int = -1
    exponent: int = -1
    negative: bool = False
    shrinks: bool = False  # the exponent is negative
    before: int = 0  # bytes of the token before its first digit
    after: int = 0  # bytes of the token behind its last
    constant: float | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """What all repeats of some lines have in common, as they are printed now."""

    unit: bytes  # the skeleton of one repeat
    ranks: Ints  # (runs,) bytes of the unit before each run of digits
    widths: Ints  # (runs,) of each, 0 where it may have any
    most: Ints  # (runs,) digits that it may have
    close: Ints  # runs that are one moment with the next one
    gaps: Ints  # bytes between those two
    constants: tuple[tuple[int, bytes], ...]  # runs that are part of a word, and their digits


@dataclass(frozen=True, slots=True)
class Repeated:
    """Repeats of a template: where their runs of digits are. Arrays are (repeats, runs)."""

    window: "Window"
    first_line: int
    first_run: int
    starts: Ints
    stops: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def first(self, n: int) -> "Repeated":
        """The first n of them."""
        return Repeated(self.window, self.first_line, self.first_run, self.starts[:n], self.stops[:n])

    def numbers(self, printed: Printed) -> Floats:
        """(repeats,) float64, each as `float` of its token."""
        if printed.constant is not None:
            return np.full(len(self), printed.constant)
        exact = self._exact(printed)
        return exact if exact is not None else self._one_by_one(printed)

    def whole(self, run: int) -> Ints | None:
        """(repeats,) the whole numbers that a run of digits makes; None when they are too large."""
        first = self.first_run + run
        taken = slice(first, first + len(self) * self.starts.shape[1], self.starts.shape[1])
        if int(self.window.widths[taken].max()) > MOST_DIGITS:
            return None
        return self.window.wholes[taken]

    def _exact(self, printed: Printed) -> Floats | None:
        """By whole numbers below 2⁵³ and powers of ten up to 22, which float64 holds exactly: one division, one rounding."""
        value: Ints | None = np.zeros(len(self), dtype=np.int64)
        power: Ints | int = 0
        if printed.whole >= 0:
            value = self.whole(printed.whole)
        if value is None:
            return None
        if printed.decimals >= 0:
            decimals = self.whole(printed.decimals)
            widths = self.stops[:, printed.decimals] - self.starts[:, printed.decimals]
            if decimals is None or int(value.max()) >= 10 ** (MOST_DIGITS - int(widths.max())):
                return None
            value = value * _WHOLE_POWERS[widths] + decimals
            power = -widths
        if printed.exponent >= 0:
            exponent = self.whole(printed.exponent)
            if exponent is None:
                return None
            power = power - exponent if printed.shrinks else power + exponent
        if int(value.max()) > _EXACT:
            return None
        if isinstance(power, int):
            out = value.astype(np.float64)
        else:
            low, high = int(power.min()), int(power.max())
            if low < -22 or high > 22:
                return None
            if high <= 0:
                out = value / _POWERS[-power]
            else:
                out = np.where(power < 0, value / _POWERS[np.maximum(-power, 0)], value * _POWERS[np.maximum(power, 0)])
        return -out if printed.negative else out

    def _one_by_one(self, printed: Printed) -> Floats:
        runs = [r for r in (printed.whole, printed.decimals, printed.exponent) if r >= 0]
        begins = (self.starts[:, runs[0]] - printed.before).tolist()
        ends = (self.stops[:, runs[-1]] + printed.after).tolist()
        text = self.window.text
        tokens = [text[a:b] for a, b in zip(begins, ends, strict=True)]
        try:
            return np.array(orjson.loads(b"[" + b",".join(tokens) + b"]"), dtype=np.float64)
        except (orjson.JSONDecodeError, OverflowError):  # `007`, `.5`
            return np.array([float(token) for token in tokens], dtype=np.float64)


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
        self._ends = np.flatnonzero(codes == 10)  # of the lines in `text`; the first ends what precedes
        self._raw_ends = self._ends[1:] + (begin - 1) if len(text) == len(raw) + 1 else np.flatnonzero(np.frombuffer(raw, np.uint8) == 10) + begin

    @cached_property
    def wholes(self) -> Ints:
        """(runs,) the number that each run of digits makes; nonsense where there are more than 18."""
        if not len(self.starts):
            return self.starts
        places = np.flatnonzero((self.codes - np.uint8(48)) < 10)
        powers = np.repeat(self.stops - 1, self.widths)
        powers -= places
        digits = _WHOLE_POWERS.take(powers, mode="clip")
        digits *= self.codes[places] - np.uint8(48)
        return np.add.reduceat(digits, self._digits[:-1])

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

    def repeated(self, template: Template, first: int, limit: int) -> Repeated:
        """The repeats of a template from a line on, up to the first line that is not alike, `limit` of them at most."""
        begin = self._ends[first] + 1
        run = int(self.starts.searchsorted(begin))
        low = int(self._rank(begin, self._digits[run]))
        length, width = len(template.unit), len(template.ranks)
        most = min((len(self._skeleton) - low) // length, (len(self.starts) - run) // width, limit)
        unit = np.frombuffer(template.unit, dtype=np.uint8)
        free = template.widths == 0
        done, size = 0, _FIRST
        while done < most:
            until = min(most, done + size)
            runs = slice(run + done * width, run + until * width)
            skeletons = self._skeleton[low + done * length : low + until * length].reshape(-1, length)
            ranks = template.ranks + np.arange(low + length * done, low + length * until, length)[:, None]
            checks = [
                skeletons == unit,
                self._ranks[runs].reshape(-1, width) == ranks,
                (self.widths[runs].reshape(-1, width) == template.widths) | free,
            ]
            if len(template.close):
                following = self.starts[runs.start + 1 : runs.stop + 1]
                following = following if len(following) == runs.stop - runs.start else np.append(following, 0)  # the last run is close to none
                between = (following - self.stops[runs]).reshape(-1, width)[:, template.close]
                checks.append(between == template.gaps)
            for column, constant in template.constants:
                starts = self.starts[runs][column::width]
                checks.extend(self.codes.take(starts + n, mode="clip")[:, None] == digit for n, digit in enumerate(constant))
            alike = min((until - done if c.all() else int(c.argmin()) // c.shape[1]) for c in checks)
            done, size = done + alike, size * 8
            if done < until:
                break
        behind = run + done * width
        if done and behind < len(self._ranks) and self._ranks[behind] < low + length * done:
            done -= 1  # digits within its last word
        taken = slice(run, run + done * width)
        return Repeated(self, first, run, self.starts[taken].reshape(-1, width), self.stops[taken].reshape(-1, width))


def _plain(text: bytes) -> bytes:
    """The text without bars, where it has any."""
    codes = np.frombuffer(text, dtype=np.uint8)
    tqdm = (codes[:-1] == _PERCENT) & (codes[1:] == _PIPE)
    keras = (codes[:-1] == _OPEN) & ((codes[1:] == _EQUALS) | (codes[1:] == _ARROW))
    return without_bars(text) if tqdm.any() or keras.any() else text
