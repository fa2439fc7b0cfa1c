"""Many lines at once: where the same few shapes repeat, one compiled pattern takes the whole stretch and numpy its numbers.

Logs repeat themselves: one shape for thousands of lines, or a period of a few (a record and a line of timings). Once a
period was seen twice, a pattern for it is compiled and matched from there; the literals are taken out of the stretch and the
numbers that remain are parsed by the thousand. What does not fit is read line by line as before, with the same outcome.
"""

import calendar
import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from postmortem.model.run import Floats
from postmortem.sources.logs.text.grammar import EMPTY, NO, Plan
from postmortem.sources.logs.text.rows import NAN, Kind
from postmortem.sources.logs.text.scan import Entry, Place, Scan, sample
from postmortem.sources.logs.text.tokens import LEADING_DATE, MOMENT, MOMENTS, NUMBER, PLAIN, mask, moment, number

LONGEST_PERIOD = 24  # lines
FEWEST = 6  # periods in a stretch that are worth it
GIVE_UP = 8  # stretches that were too short
SAMPLES = 6  # periods at either end whose digits are looked at
MAX_NUMBERS = 256  # of one period
_MOMENT = MOMENTS.pattern
_NUMERIC = set("0123456789+-.eE")
_NAN = re.compile(rb"(?<=,)[-+]?nan(?:\.0|\(ind\))?(?=,)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Period:
    """A compiled period: the pattern of one or more repeats, its literals, and where each line's numbers are."""

    entries: tuple[Entry, ...]
    pattern: re.Pattern[bytes]
    separators: tuple[bytes, ...]  # what stands between numbers, longest first, blanks and moments removed
    head: int  # bytes before the first number of the period
    tail: int  # bytes after its last
    counts: tuple[int, ...]  # numbers of each line
    moments: bool


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
            self.known[key] = compile_period(tuple(self.entries[here - length + 1 :]))
        return self.known[key] if self.failures.get(key, 0) < GIVE_UP else None

    def _forget(self) -> None:
        keep = 2 * LONGEST_PERIOD + 2
        self.shapes, self.entries = self.shapes[-keep:], self.entries[-keep:]
        self.last = {shape: n for n, shape in enumerate(self.shapes)}

    def take(self, period: Period, data: bytes, start: int) -> int:
        """Read the repeats of the period that begin at `start`; returns where they end, `start` when there are too few."""
        match = period.pattern.match(data, start)
        lines = len(period.entries)
        end = match.end() if match else start
        if match is None or data.count(b"\n", start, end) < FEWEST * lines or not ready(self.scan, period):
            key = tuple(id(e) for e in period.entries)
            self.failures[key] = self.failures.get(key, 0) + 1
            return start
        stretch = data[start:end]
        numbers = numbers_of(period, stretch)
        if numbers is None:
            key = tuple(id(e) for e in period.entries)
            self.failures[key] = GIVE_UP
            return start
        record(self.scan, period, stretch, numbers)
        return end


def runnable(entry: Entry) -> bool:
    """A shape whose lines can be read by the thousand."""
    plan = entry.plan
    if (
        entry.suspicious
        or entry.header
        or entry.heading
        or entry.rule
        or entry.final
        or entry.pair
        or len(entry.shape) > 1_000
        or "====" in entry.shape
        or "%||" in entry.shape
    ):
        return False
    if plan is EMPTY:
        return True
    evaluation = plan.split in ("val", "test") and plan.batch != NO
    return not (plan.bar or plan.progress or plan.weak or plan.rank != NO or evaluation or plan.keyless)


def _begins_well(entries: tuple[Entry, ...]) -> bool:
    """No line leans on a counter of the period before: some rotation of the same period begins with its counters."""
    plans = [e.plan for e in entries if e.plan is not EMPTY]
    counting = [p.counts for p in plans]
    if any(counting) and not counting[0]:
        return False
    epochs = [p.epoch != NO for p in plans]
    return not any(epochs) or epochs[0]


def compile_period(entries: tuple[Entry, ...]) -> Period | None:
    """The pattern of a period; None when it cannot be read at once."""
    if not all(runnable(e) for e in entries) or not any(e.plan.values for e in entries) or not _begins_well(entries):
        return None
    literals: list[bytes] = [b""]
    pattern: list[bytes] = []
    for entry in entries:
        parts = entry.shape.split(NUMBER)
        for n, part in enumerate(parts):
            if n:
                literals.append(b"")
                pattern.append(PLAIN)
            pattern.append(_flexible(part))
            literals[-1] += "".join(part.replace(MOMENT, "").split()).encode()
        literals[-1] += b"\n"
        pattern.append(rb"\n")
    if len(literals) < 2 or len(literals) > MAX_NUMBERS:
        return None
    around = literals[-1] + literals[0]
    inner = [*literals[1:-1], around]
    if not all(any(c not in _NUMERIC for c in s.decode()) for s in inner):
        return None
    counts = tuple(e.shape.count(NUMBER) for e in entries)
    separators = tuple(sorted(set(inner), key=len, reverse=True))
    try:
        compiled = re.compile(rb"(?:" + b"".join(pattern) + rb")++")
    except (re.error, RecursionError):
        return None
    moments = any(MOMENT in e.shape for e in entries)
    return Period(entries, compiled, separators, len(literals[0]), len(literals[-1]), counts, moments)


def _flexible(part: str) -> bytes:
    """A literal as a pattern, blanks free, moments as their pattern."""
    pieces: list[bytes] = [rb"[ \t]*+"]
    for word in part.split():
        for n, piece in enumerate(word.split(MOMENT)):
            if n:
                pieces.append(rb"(?:" + _MOMENT + rb")")
            pieces.append(re.escape(piece.encode()))
        pieces.append(rb"[ \t]*+")
    return b"".join(pieces)


def numbers_of(period: Period, stretch: bytes) -> Floats | None:
    """(repeats, numbers of a period) float64; None when they do not come out even."""
    text = (_without_dates(period, stretch) or MOMENTS.sub(b"", stretch)) if period.moments else stretch
    text = text.translate(None, b" \t")
    text = text[period.head : len(text) - period.tail]
    for separator in period.separators:
        text = text.replace(separator, b",")
    width = sum(period.counts)
    try:
        values = np.array(orjson.loads(b"[" + text + b"]"), dtype=np.float64)
    except (orjson.JSONDecodeError, ValueError, TypeError, OverflowError):
        try:
            values = np.array(orjson.loads(b"[" + _NAN.sub(b"null", b"," + text + b",")[1:-1] + b"]"), dtype=np.float64)
        except (orjson.JSONDecodeError, ValueError, TypeError, OverflowError):
            values = np.array([number(t) for t in text.split(b",")], dtype=np.float64)
    if values.ndim != 1 or len(values) % width or len(values) // width != stretch.count(b"\n") // len(period.entries):
        return None
    matrix: Floats = values.reshape(-1, width)
    offsets = np.cumsum((0, *period.counts))
    counters = [int(offsets[j]) + slot for j, e in enumerate(period.entries) for slot in e.plan.counters]
    if counters and not np.isfinite(matrix[:, counters]).all():
        return None
    lines = len(period.entries)
    for row, some in ((0, stretch.split(b"\n", lines)[:lines]), (-1, stretch[:-1].rsplit(b"\n", lines)[-lines:])):
        expected = [number(t) for line in some for t in mask(line)[1]]
        if not np.array_equal(matrix[row], np.array(expected), equal_nan=True):
            return None
    return matrix


def _without_dates(period: Period, stretch: bytes) -> bytes:
    """The stretch with the dates at its line starts blanked; b"" when there are other moments or widths differ."""
    lines = len(period.entries)
    if any(e.shape.count(MOMENT) > 1 or (MOMENT in e.shape and not e.shape.startswith((MOMENT, "[" + MOMENT))) for e in period.entries):
        return b""
    buffer = np.frombuffer(stretch, dtype=np.uint8).copy()
    starts = np.concatenate([[0], np.flatnonzero(buffer == 10)[:-1] + 1])
    for j, line in enumerate(stretch.split(b"\n", lines)[:lines]):
        if MOMENT not in period.entries[j].shape:
            continue
        match = LEADING_DATE.match(line)
        if match is None:
            return b""
        begin, end = match.start("year"), match.end()
        whole = MOMENTS.match(line, begin)
        if whole is None or whole.end() != end:
            return b""
        cells = starts[j::lines][:, None] + np.arange(begin, end)
        example = np.frombuffer(line[begin:end], dtype=np.uint8)
        digits = (example >= 48) & (example <= 57)
        found = buffer[cells]
        if not np.all(found[:, ~digits] == example[~digits]) or not np.all((found[:, digits] >= 48) & (found[:, digits] <= 57)):
            return b""
        buffer[cells] = 32
    return buffer.tobytes()


def ready(scan: Scan, period: Period) -> bool:
    """The state of the reading holds nothing that the lines one by one would see to."""
    if scan.watch.reading or scan.closing or scan.block or scan.waiting is not None or scan.split or scan.table is not None:
        return False
    return scan.placed or not any(e.settings for e in period.entries)


def record(scan: Scan, period: Period, stretch: bytes, numbers: Floats) -> None:
    """Put a stretch into the rows, as `Scan.line` would have done line by line."""
    n = len(numbers)
    times = _times(period, stretch, n)
    offsets = np.cumsum((0, *period.counts))
    context = scan.epoch
    epoch_now: Floats = np.full(n, context)
    places: list[tuple[int, _Place]] = []
    place: _Place | None = None
    near = 0
    last_time: Floats = np.full(n, scan.time)
    for j, entry in enumerate(period.entries):
        near -= 1
        own = numbers[:, offsets[j] : offsets[j + 1]]
        if times[j] is not None:
            last_time = np.asarray(times[j])
        plan = entry.plan
        if plan is EMPTY:
            continue
        scan.note_totals(plan, own[-1].tolist())
        if plan.epoch != NO and _integers(own[:, plan.epoch]):
            epoch_now = own[:, plan.epoch]
            scan.rows.lowest_epoch = float(np.fmin(scan.rows.lowest_epoch, epoch_now.min()))
        if plan.counts:
            place = _own_place(scan, plan, own, epoch_now, counter=not plan.values)
        elif place is None or near <= 0:
            place = _carried_place(scan, place, epoch_now, n)
        if not plan.values:
            near = 3 if plan.counts else near
            continue
        near = 3
        if not plan.counts and plan.split in ("val", "test") and place.kind == Kind.WITHIN and bool(np.isnan(place.step).all()):
            place = _Place(place.step, place.epoch, np.full(n, np.nan), np.full(n, np.nan), Kind.SUMMARY)
        places.append((j, _Place(place.step, place.epoch, place.batch, place.total, place.kind, last_time)))
    _store(scan, period, stretch, numbers, offsets, places)
    _finish(scan, place, epoch_now, last_time, near)


@dataclass(frozen=True, slots=True)
class _Place:
    """`Place` of many lines of one shape."""

    step: Floats
    epoch: Floats
    batch: Floats
    total: Floats
    kind: Kind
    time: "Floats | None" = None


def _integers(values: Floats) -> bool:
    return bool(np.all(values == np.floor(values)))


def _own_place(scan: Scan, plan: Plan, own: Floats, epoch_now: Floats, *, counter: bool) -> _Place:
    nothing: Floats = np.full(len(own), np.nan)
    step = own[:, plan.step] if plan.step != NO else nothing
    batch = own[:, plan.batch] if plan.batch != NO else nothing
    total = own[:, plan.batch_total] if plan.batch_total != NO else nothing
    epoch, kind = nothing, Kind.BARE
    if plan.epoch != NO:
        epoch = own[:, plan.epoch]
        if not _integers(epoch):
            kind = Kind.EXACT
        else:
            kind = Kind.MAPPED if plan.mapping and not counter else Kind.SUMMARY if plan.step == NO and plan.batch == NO else Kind.WITHIN
    elif not np.isnan(epoch_now).any() and (plan.batch != NO or (plan.step != NO and plan.step_total == NO) or counter):
        epoch, kind = epoch_now, Kind.WITHIN
    if kind == Kind.WITHIN and plan.split in ("val", "test") and plan.step == NO:
        kind, batch, total = Kind.SUMMARY, nothing, nothing
    if plan.step != NO and len(step):
        scan.step = float(step[-1])
    return _Place(step, epoch, batch, total, kind)


def _carried_place(scan: Scan, before: "_Place | None", epoch_now: Floats, n: int) -> _Place:
    """Where a line without counters is that follows nothing in its period."""
    nothing: Floats = np.full(n, np.nan)
    if before is not None and not np.isnan(before.step).all():
        return _Place(before.step, before.epoch, nothing, nothing, before.kind)
    if not math.isnan(scan.step):
        return _Place(np.full(n, scan.step), np.full(n, scan.place.epoch), nothing, nothing, scan.place.kind)
    if not np.isnan(epoch_now).any():
        return _Place(nothing, epoch_now, nothing, nothing, Kind.SUMMARY)
    return _Place(nothing, nothing, nothing, nothing, Kind.BARE)


def _store(scan: Scan, period: Period, stretch: bytes, numbers: Floats, offsets: "npt.NDArray[np.int64]", places: list[tuple[int, _Place]]) -> None:
    n, q = len(numbers), len(places)
    step, epoch, batch, total, time = (
        np.stack([np.asarray(getattr(p, name)) for _, p in places], axis=1).ravel() for name in ("step", "epoch", "batch", "total", "time")
    )
    kinds = np.tile(np.array([p.kind for _, p in places], dtype=np.int8), n)
    first = scan.rows.extend(n * q, step, epoch, batch, total, time, kinds)
    if first < 0:
        return
    samples = _samples(period, stretch)
    for at, (j, place) in enumerate(places):
        plan = period.entries[j].plan
        rows = (first + at + q * np.arange(n)).astype(np.int64)
        whole = place.kind == Kind.SUMMARY or (place.kind == Kind.MAPPED and bool(np.isnan(place.step).all()))
        own = numbers[:, offsets[j] : offsets[j + 1]]
        for slot in plan.values:
            values = own[:, slot.index]
            if slot.total != NO:
                total = own[:, slot.total]
                values = np.divide(values, total, out=np.full(n, np.nan), where=total != 0)
            elif slot.percent:
                values = values / 100.0
            column = scan.column(slot, plan, summary=whole)
            if column is None:
                continue
            column.rows.frombytes(rows.tobytes())
            column.values.frombytes(np.ascontiguousarray(values, dtype=np.float64).tobytes())
            for tokens in samples[j]:
                if slot.index < len(tokens):
                    sample(column, tokens[slot.index], slot, [number(t) for t in tokens])


def _samples(period: Period, stretch: bytes) -> list[list[list[bytes]]]:
    """Printed numbers of the first and the last periods, by line of the period."""
    lines = len(period.entries)
    head = stretch.split(b"\n", SAMPLES * lines)[: SAMPLES * lines]
    tail = stretch[:-1].rsplit(b"\n", SAMPLES * lines)[-SAMPLES * lines :]
    out: list[list[list[bytes]]] = [[] for _ in range(lines)]
    for n, line in enumerate([*head, *tail]):
        out[n % lines].append(mask(line)[1])
    return out


def _finish(scan: Scan, place: "_Place | None", epoch_now: Floats, last_time: Floats, near: int) -> None:
    """The state after the stretch."""
    scan.placed = True
    scan.epoch = float(epoch_now[-1])
    if place is not None:
        scan.place = Place(float(place.step[-1]), float(place.epoch[-1]), float(place.batch[-1]), float(place.total[-1]), place.kind)
    scan.near = near
    scan.note_time(float(last_time[0]))
    scan.note_time(float(last_time[-1]))


def _times(period: Period, stretch: bytes, n: int) -> list[Floats | None]:
    """Of each line of the period the moments at its start, (n,); None where its lines have none."""
    out: list[Floats | None] = [None] * len(period.entries)
    if not period.moments:
        return out
    lines = len(period.entries)
    buffer = np.frombuffer(stretch, dtype=np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(buffer == 10)[:-1] + 1])
    first = stretch.split(b"\n", lines)[:lines]
    for j in range(lines):
        if moment(first[j]) is None:
            continue
        fast = _fixed_width(buffer, starts[j::lines], first[j])
        if fast is None:
            every = stretch.split(b"\n")[j::lines]
            fast = np.array([NAN if (t := moment(line)) is None else t for line in every[:n]], dtype=np.float64)
        out[j] = fast
    return out


def _fixed_width(buffer: "npt.NDArray[np.uint8]", starts: "npt.NDArray[np.int64]", first: bytes) -> Floats | None:
    """Dates that are printed in one width, read by column; None when they are not."""
    match = LEADING_DATE.match(first)
    if match is None:
        return None
    width = match.end()
    cells = buffer[starts[:, None] + np.arange(width)]
    example = np.frombuffer(first[:width], dtype=np.uint8)
    digits = (example >= 48) & (example <= 57)
    if not np.all(cells[:, ~digits] == example[~digits]) or not np.all((cells[:, digits] >= 48) & (cells[:, digits] <= 57)):
        return None
    fields = {name: _decimal(cells, match.span(name)) for name in ("year", "month", "day", "hour", "minute", "second")}
    year = fields["year"] + (2000 if match.end("year") - match.start("year") == 2 else 0)
    stamps = (year * 10_000 + fields["month"] * 100 + fields["day"]).astype(np.int64)
    days, which = np.unique(stamps, return_inverse=True)
    try:
        origins = np.array([calendar.timegm((int(d) // 10_000, int(d) // 100 % 100, int(d) % 100, 0, 0, 0, 0, 0, 0)) for d in days], dtype=np.float64)
    except (ValueError, OverflowError):
        return None
    seconds: Floats = origins[which] + fields["hour"] * 3600 + fields["minute"] * 60 + fields["second"]
    if match["part"]:
        seconds = seconds + _decimal(cells, match.span("part")) / 10 ** len(match["part"])
    return seconds


def _decimal(cells: "npt.NDArray[np.uint8]", span: tuple[int, int]) -> Floats:
    out: Floats = np.zeros(len(cells))
    for column in range(*span):
        out = out * 10 + (cells[:, column] - 48.0)
    return out
