"""Many lines at once: where the same few shapes repeat, a whole stretch is read and numpy takes its numbers.

Logs repeat themselves: one shape for thousands of lines, or a period of a few (a record and a line of timings). Once a
period was seen twice, what follows is compared with how it is printed now (`templates`); where numbers change their form from
line to line, a pattern for the period's shapes takes the stretch (`periods`). What does not fit is read line by line as
before, with the same outcome.
"""

from dataclasses import replace

import numpy as np

from postmortem.model.run import Floats
from postmortem.sources.logs.text.bars import overwritten, quiet
from postmortem.sources.logs.text.periods import Period, compiled, evaluates, first_lines, last_lines, numbers_of, period_of, times_of
from postmortem.sources.logs.text.plans import EMPTY, NO, Plan
from postmortem.sources.logs.text.records import Stretch, pass_over, ready, record
from postmortem.sources.logs.text.scan import Scan
from postmortem.sources.logs.text.shapes import Entry
from postmortem.sources.logs.text.templates import Learnt, alike, learn
from postmortem.sources.logs.text.tokens import mask, number, without_bars
from postmortem.sources.logs.text.windows import Repeated, Window

LONGEST_PERIOD = 24  # lines
FEWEST = 6  # periods in a stretch that are worth it
MOST_BETWEEN = 4  # lines between two stretches of one shape
GIVE_UP = 8  # stretches that were too short, beyond those that a long one outweighs
_CREDIT = 64  # such that are outweighed at most
_ANY, _LEAST = 1 << 62, 64  # repeats that are looked at
_TAIL = 16 << 10  # bytes at a window's end that are looked at in the next one


class Repeats:
    """Watches the shapes go by and says when they repeat."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.shapes: list[int] = []
        self.entries: list[Entry] = []
        self.last: dict[int, int] = {}
        self.known: dict[tuple[int, ...], Period | None] = {}
        self.failures: dict[tuple[int, ...], int] = {}
        self.blank = Entry(EMPTY, "")
        self.window = Window(b"", 0)
        self.learnt: dict[tuple[int, ...], Learnt | None] = {}  # how a period was printed last
        self.taken: Period | None = None  # what a template took a few lines before, if each of its lines says by itself where training is
        self.since = 0  # lines since then
        self.limits: dict[tuple[int, ...], int] = {}  # how many lines of a bar are looked at: it may begin anew long before its form changes

    def saw(self, entry: Entry | None) -> Period | None:
        """Note the shape of one more line; the period that the last lines make up twice, if any."""
        entry = entry or self.blank
        shape = id(entry)
        here = len(self.shapes)
        self.shapes.append(shape)
        self.entries.append(entry)
        before = self.last.get(shape, -LONGEST_PERIOD - 1)
        self.last[shape] = here
        length = here - before
        if here > 4096:
            self._forget()
            here = len(self.shapes) - 1
        if (
            length > LONGEST_PERIOD
            or here + 1 < 2 * length
            or self.shapes[here - 2 * length + 1 : here - length + 1] != self.shapes[here - length + 1 :]
        ):
            return None
        key = tuple(self.shapes[here - length + 1 :])
        if key not in self.known:
            if len(self.known) > 2000:
                self.known.clear()
                self.learnt.clear()
                self.limits.clear()
            self.known[key] = period_of(tuple(self.entries[here - length + 1 :]))
        return self.known[key] if self.failures.get(key, 0) < GIVE_UP else None

    def _forget(self) -> None:
        keep = 2 * LONGEST_PERIOD + 2
        self.shapes, self.entries = self.shapes[-keep:], self.entries[-keep:]
        self.last = {shape: n for n, shape in enumerate(self.shapes)}

    def take(self, period: Period, data: bytes, start: int) -> int:
        """Read the repeats of the period that begin at `start`; returns where they end, `start` when there are too few."""
        if (period.pattern or period.silent) and not ready(self.scan, period.entries):
            return start
        if period.silent and self.scan.near > 0:
            return start
        end, printed_anew = start, False
        if self._goes_on(period, data, start):
            return self._by_template(period, data, start)[0]
        ahead = _lines_from(data, start, FEWEST * len(period.entries))
        if _repeats(ahead, len(period.entries)):
            end, printed_anew = self._by_template(period, data, start)
        elif len(ahead) == FEWEST * len(period.entries):
            printed_anew = alike(period.entries, ahead[: len(period.entries)])
        if end == start and printed_anew and period.pattern:
            end = self._by_pattern(period, data, start)
        key = tuple(id(e) for e in period.entries)
        missed = self.failures.get(key, 0)
        self.failures[key] = max(missed - GIVE_UP, -_CREDIT) if end > start else missed + 1
        return end

    def resumed(self, data: bytes, start: int) -> Period | None:
        """The period that a few lines have interrupted, where it goes on at `start` as it was printed before."""
        if self.taken is None:
            return None
        self.since += 1
        if self.since > MOST_BETWEEN:
            self.taken = None
        return self.taken if self._goes_on(self.taken, data, start) else None

    def _goes_on(self, period: Period | None, data: bytes, start: int) -> bool:
        if period is None or period is not self.taken or not self._inside(data, start):
            return False
        learnt = self.learnt.get((id(period.entries[0]),))
        return learnt is not None and len(self.window.repeated(learnt.template, self.window.line_of(start))) >= FEWEST

    def _inside(self, data: bytes, start: int) -> bool:
        """Whether the window shows enough of what begins at `start`."""
        window = self.window
        return window.data is data and window.begin <= start and (start + _TAIL <= window.end or window.end == len(data))

    def _by_template(self, period: Period, data: bytes, start: int) -> tuple[int, bool]:
        """Where the repeats end that are printed alike; whether behind them the same shapes go on, with numbers that are printed in another way."""
        if not self._inside(data, start):
            self.window = Window(data, start)
        window = self.window
        first = window.line_of(start)
        key = tuple(id(e) for e in period.entries)
        learnt = self.learnt.get(key)
        limit = self.limits.get(key, _ANY)
        found = window.repeated(learnt.template, first).first(limit) if learnt else None
        if not found:
            learnt = self.learnt[key] = learn(period.entries, window, first)
            found = window.repeated(learnt.template, first).first(limit) if learnt else None
        if learnt is None or found is None:
            return start, False
        behind = first + len(found) * len(period.entries)
        if len(found) < FEWEST:
            return start, alike(period.entries, window.lines(behind, len(period.entries)))
        if period.silent:
            silence = _stretch(period.entries, learnt, found)
            if silence:
                pass_over(self.scan, silence)
            return window.offset_behind(behind) if silence else start, False
        if not period.pattern:
            n = self._bars(period.entries[0], learnt, found)
            self.limits[key] = max(_LEAST, (8 if n == len(found) else 2) * n)
            return window.offset_behind(first + n) if n else start, False
        stretch = _stretch(period.entries, learnt, found)
        if not (stretch and record(self.scan, stretch)):
            return start, False
        self.taken, self.since = period if len(period.entries) == 1 and period.entries[0].plan.counts else None, 0
        return window.offset_behind(behind), False

    def _bars(self, entry: Entry, learnt: Learnt, found: Repeated) -> int:
        """Read a progress bar; returns how many lines of it."""
        scan = self.scan
        numbers = _numbers((entry,), learnt, found, counters=True)
        if entry.plan.batch_total != NO:
            totals = numbers[:, entry.plan.batch_total]
            numbers = numbers[: len(totals) if (totals == totals[0]).all() else int((totals == totals[0]).argmin())]
        plan = entry.plan if entry.plan.bar else scan.as_evaluation(scan.second_bar(entry.plan, numbers[0].tolist()))
        if plan.bar or not plan.values or evaluates(plan):
            n = overwritten(scan, plan, numbers, found.lines(1)[0]) if quiet(scan, entry, plan) else 0
            if n > 1:
                self._shown(plan, numbers[: n - 1], found)
                scan.near -= n - 1
                scan.line(found.alike.window.lines(found.first_line + n - 1, 1)[0])
            return n * (n > 1)
        bars = (replace(entry, plan=plan),)
        stretch = _stretch(bars, learnt, found.first(len(numbers)))
        return len(numbers) if ready(scan, bars) and stretch and record(scan, stretch) else 0

    def _shown(self, plan: Plan, numbers: Floats, found: Repeated) -> None:
        """A bar's states, (lines, numbers): each may count where few epochs end."""
        scan = self.scan
        if not plan.bar or scan.over:
            return
        for line, counters in enumerate(numbers.tolist()):
            if scan.firsts.keeps(plan, counters):
                tokens = mask(found.alike.window.lines(found.first_line + line, 1)[0])[1]
                scan.firsts.show(scan, plan, [number(t) for t in tokens], tokens, scan.epoch)

    def _by_pattern(self, period: Period, data: bytes, start: int) -> int:
        pattern = compiled(period.pattern)
        match = pattern.match(data, start) if pattern else None
        lines = len(period.entries)
        end = match.end() if match else start
        if match is None or data.count(b"\n", start, end) < FEWEST * lines:
            return start
        text = data[start:end]
        numbers = numbers_of(period, text)
        if numbers is None:
            self.failures[tuple(id(e) for e in period.entries)] = GIVE_UP  # they never come out even
            return start
        times = times_of(period, text, len(numbers))
        printed = tuple(tuple(mask(line)[1]) for line in first_lines(text, lines))
        stretch = Stretch(period.entries, numbers, times, printed, lambda n: first_lines(text, n), last_lines(text, 1)[0])
        return end if record(self.scan, stretch) else start


def _lines_from(data: bytes, start: int, n: int) -> list[bytes]:
    """The next n lines, fewer where the data end."""
    end = start
    for _ in range(n):
        end = data.find(b"\n", end) + 1
        if not end:
            return []
    return data[start : end - 1].split(b"\n")


def _repeats(lines: list[bytes], period: int) -> bool:
    """Whether lines are the same but for digits, blanks and bars: a look ahead that costs little where they are not."""
    if not lines:
        return False
    bare = without_bars(b"\n".join(lines)).translate(None, b"0123456789 ").split(b"\n")
    return bare[period:] == bare[:-period]


def _stretch(entries: tuple[Entry, ...], learnt: Learnt, found: Repeated) -> Stretch | None:
    """What repeats of a template say; None when a date among them is none."""
    times = [learnt.times(found, j) if line.moment else None for j, line in enumerate(learnt.lines)]
    if any(line.moment and time is None for line, time in zip(learnt.lines, times, strict=True)):
        return None
    behind = found.first_line + len(found) * len(entries)
    last = next((t for t in reversed(found.alike.window.lines(behind - len(entries), len(entries))) if t.strip()), b"")
    return Stretch(entries, _numbers(entries, learnt, found), times, tuple(line.tokens for line in learnt.lines), found.lines, last)


def _numbers(entries: tuple[Entry, ...], learnt: Learnt, found: Repeated, *, counters: bool = False) -> Floats:
    """(repeats, numbers of a period) float64; NaN those that no plan asks for (or, where only counters are wanted, counts by)."""
    wanted = [tuple(sorted(entry.plan.counters if counters else _asked(entry.plan))) for entry in entries]

    def work() -> Floats:
        out = np.full((sum(len(line.numbers) for line in learnt.lines), len(found.alike)), np.nan)
        before = 0
        for slots, line in zip(wanted, learnt.lines, strict=True):
            for slot in slots:
                out[before + slot] = found.alike.numbers(line.numbers[slot])
            before += len(line.numbers)
        return out

    every = found.alike.once(("numbers", *wanted), work)
    return np.zeros((0, 0)) if every is None else every[:, found.begin : found.end].T


def _asked(plan: Plan) -> set[int]:
    values = {s for slot in plan.values for s in (slot.index, slot.total, slot.mean)}
    return (values | {plan.rank, *plan.counters}) - {NO}
