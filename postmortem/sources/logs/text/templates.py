"""What the lines of a period have in common, learnt from one example of each: literals, numbers, dates.

The skeleton of a line decides what its digits are, but for what depends on how many there are: `1:23` is a clock and `1:2`
is none, `1,234` is one number and `1,23` are two. Such runs of digits have to be as wide as in the example.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from postmortem.model.run import Floats
from postmortem.sources.logs.digits import MOST_DIGITS, Ints, Printed, printed_as
from postmortem.sources.logs.text.shapes import Entry
from postmortem.sources.logs.text.tokens import MOMENTS, NUMBERS, YEAR_UNKNOWN, leading_moment, mask, midnight_of, moment, number, shape_of
from postmortem.sources.logs.text.windows import Alike, Repeated, Template, Window

_LONGEST = 2_000  # bytes of a line
_NARROW = b":,-"  # between two runs of digits: whether they are one thing depends on their widths
_CLOCK_BEHIND = re.compile(rb" [0-9]{1,2}:")

_CLOCK = re.compile(rb"[0-9]{1,3}:[0-9]{2}(?::[0-9]{2})?")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a date: some digits of a run of digits."""

    run: int
    behind: int  # digits of the run behind it
    width: int

    def of(self, found: Alike) -> Ints:
        """(repeats,) its values."""
        stops = found.stops(self.run) - self.behind
        return found.window.digits.before(stops, np.full(len(stops), self.width))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a period: its numbers, and the parts of the moment at its begin."""

    numbers: tuple[Printed, ...]
    tokens: tuple[bytes, ...]  # of the example
    moment: dict[str, Field]


@dataclass(frozen=True, slots=True)
class Learnt:
    """A period as it is printed now."""

    template: Template
    lines: tuple[Line, ...]

    def times(self, found: Repeated, line: int) -> Floats | None:
        """(repeats,) moments at the begin of a line of the period, as `moment` gives them; None when some that are alike are no dates."""
        times = found.alike.once(("times", line), lambda: self._times(found.alike, line))
        return None if times is None else times[found.begin : found.end]

    def _times(self, found: Alike, line: int) -> Floats | None:
        parts = {name: field.of(found) for name, field in self.lines[line].moment.items()}
        seconds = parts["hour"] * 3600 + parts["minute"] * 60 + parts["second"]
        if "day" in parts:
            midnights = _midnights(parts.get("year"), parts["month"], parts["day"])
            if midnights is None:
                return None
            seconds = midnights + seconds
        return seconds + parts["part"] / 10 ** self.lines[line].moment["part"].width if "part" in parts else seconds.astype(np.float64)


def learn(entries: Sequence[Entry], window: Window, first: int) -> Learnt | None:
    """Learn from the lines of the window from `first` on; None where they are other lines, or say something that needs a closer look."""
    examples = window.lines(first, len(entries))
    if len(examples) < len(entries):
        return None
    lines: list[Line] = []
    widths: list[int] = []
    close: list[tuple[int, int]] = []
    constants: list[tuple[int, bytes]] = []
    before = 0  # runs of the lines so far
    for n, (entry, text) in enumerate(zip(entries, examples, strict=True)):
        if len(text) > _LONGEST:
            return None
        masked, tokens = mask(text)
        if shape_of(masked) != entry.shape:
            return None
        starts, stops = window.runs(first + n)
        runs = list(zip(starts.tolist(), stops.tolist(), strict=True))
        moments = [m.span() for m in MOMENTS.finditer(text)]
        spans = _numbers(text)
        if [text[a:b] for a, b in spans] != tokens:
            return None
        owners = [next((k for k, (a, b) in enumerate(spans) if a <= s and e <= b), -1) for s, e in runs]
        dated = [any(a <= s and e <= b for a, b in moments) for s, e in runs]
        printed = [_printed(text, span, [(before + i, r) for i, r in enumerate(runs) if owners[i] == k]) for k, span in enumerate(spans)]
        if any(p is None for p in printed):
            return None
        close.extend(
            (before + i, start - stop)
            for i, ((_, stop), (start, _)) in enumerate(pairwise(runs))
            if dated[i] and dated[i + 1] and (text[stop:start].isspace() or any(a <= stop and start <= b for a, b in moments))
        )
        narrow = _narrow(text, runs)
        dates = leading_moment(text)
        leading = {m.start() for m in MOMENTS.finditer(text, dates.end() if dates else 0) if _CLOCK.fullmatch(m[0])}
        for i, (s, e) in enumerate(runs):
            widths.append(0 if s in leading else e - s if dated[i] or narrow[i] or owners[i] < 0 else 0)
            if owners[i] < 0 and not dated[i]:
                constants.append((before + i, text[s:e]))
        steady = [(before + i, r) for i, r in enumerate(runs) if dated[i] or narrow[i] or owners[i] < 0]
        fields = _fields(text, steady)
        if fields is None:
            return None
        lines.append(Line(tuple(p for p in printed if p), tuple(tokens), fields))
        before += len(runs)
    if not before:
        return None
    unit, ranks = window.skeleton(first, len(entries))
    return Learnt(Template(len(entries), unit, ranks, np.array(widths), *_columns(close), tuple(constants)), tuple(lines))


def alike(entries: Sequence[Entry], lines: Sequence[bytes]) -> bool:
    """Whether lines have the shapes of a period, however their numbers are printed."""
    return len(lines) == len(entries) and all(shape_of(mask(text)[0]) == entry.shape for text, entry in zip(lines, entries, strict=True))


def _numbers(text: bytes) -> list[Span]:
    """Where the numbers of a line are that has no bars, as `mask` finds them."""
    hidden = MOMENTS.sub(lambda m: b"\x02" * len(m[0]), text)
    return [m.span() for m in NUMBERS.finditer(hidden)]


def _printed(text: bytes, span: Span, runs: list[tuple[int, Span]]) -> Printed | None:
    """How a number is printed, from its runs of digits; None when that cannot be read by column."""
    token = text[slice(*span)]
    return printed_as(token, [n for n, _ in runs]) if runs else Printed(constant=number(token))


def _narrow(text: bytes, runs: list[Span]) -> list[bool]:
    """Of each run of digits whether its width decides what it is a part of."""
    out = [False] * len(runs)
    slashes = [False] * (len(runs) + 1)
    for i in range(len(runs) - 1):
        (_, end), (begin, stop) = runs[i], runs[i + 1]
        if begin - end != 1:
            continue
        between = text[end]
        slashes[i] = between == 0x2F
        if between in _NARROW or (slashes[i] and (slashes[i - 1] or _CLOCK_BEHIND.match(text, stop))):
            out[i] = out[i + 1] = True
            out[i - 1] |= slashes[i] and slashes[i - 1]
    return out


def _columns(pairs: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _fields(text: bytes, runs: list[tuple[int, Span]]) -> dict[str, Field] | None:
    """The parts of the moment that a line begins with, each within a run of digits of fixed width; None when some are not."""
    match = leading_moment(text)
    if match is None or moment(text) is None:
        return {}
    out: dict[str, Field] = {}
    for name, found in match.groupdict().items():
        begin, end = match.span(name)
        within = next(((n, a, b) for n, (a, b) in runs if a <= begin and end <= b <= a + MOST_DIGITS), None)
        if found and within is None:
            return None
        if found and within:
            run, _, b = within
            out[name] = Field(run, b - end, end - begin)
    return out


def _midnights(years: Ints | None, months: Ints, days: Ints) -> Floats | None:
    """Seconds since 1970 at the begins of days, None when some are none."""
    stamps = months * 100 + days + (0 if years is None else years * 10_000)
    changes = np.concatenate(([0], np.flatnonzero(stamps[1:] != stamps[:-1]) + 1))
    begins: list[int] = []
    for place in changes.tolist():
        year = YEAR_UNKNOWN if years is None else int(years[place])
        midnight = midnight_of(year, int(months[place]), int(days[place]))
        if midnight is None:
            return None
        begins.append(midnight)
    return np.repeat(np.array(begins, dtype=np.float64), np.diff(np.append(changes, len(stamps))))
