"""Many lines at once: where the same few shapes repeat, one compiled pattern takes the whole stretch and numpy its numbers.

Logs repeat themselves: one shape for thousands of lines, or a period of a few (a record and a line of timings). Once a
period was seen twice, a pattern for it is compiled and matched from there; the literals are taken out of the stretch and the
numbers that remain are parsed by the thousand. What does not fit is read line by line as before, with the same outcome.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats
from postmortem.sources.logs.text.grammar import EMPTY, NO, Plan
from postmortem.sources.logs.text.periods import Period, compile_period, first_lines, last_lines, numbers_of, times_of
from postmortem.sources.logs.text.rows import Kind
from postmortem.sources.logs.text.scan import DATED, SAMPLED, Place, Scan, sample
from postmortem.sources.logs.text.shapes import Entry
from postmortem.sources.logs.text.tokens import mask, number

LONGEST_PERIOD = 24  # lines
FEWEST = 6  # periods in a stretch that are worth it
GIVE_UP = 8  # stretches that were too short
SAMPLES = 6  # periods at either end whose digits are looked at


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


def ready(scan: Scan, period: Period) -> bool:
    """The state of the reading holds nothing that the lines one by one would see to."""
    if scan.watch.reading or scan.closing or scan.block or scan.waiting is not None or scan.split or scan.table is not None or scan.adrift:
        return False
    return scan.placed or not any(e.settings for e in period.entries)


def record(scan: Scan, period: Period, stretch: bytes, numbers: Floats) -> None:
    """Put a stretch into the rows, as `Scan.line` would have done line by line."""
    n = len(numbers)
    times = times_of(period, stretch, n)
    offsets = np.cumsum((0, *period.counts))
    context = scan.epoch
    epoch_now: Floats = np.full(n, context)
    places: list[tuple[int, _Place]] = []
    place: _Place | None = None
    near = 0
    last_time: Floats = np.full(n, scan.time)
    plans = [scan.as_evaluation(e.plan) for e in period.entries]
    for j, plan in enumerate(plans):
        near -= 1
        own = numbers[:, offsets[j] : offsets[j + 1]]
        moments = times[j]
        if moments is not None:
            last_time = np.array([scan.on_calendar(t) for t in moments]) if scan.time > DATED else np.asarray(moments)
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
    _store(scan, period, plans, stretch, numbers, offsets, places)
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


def _store(
    scan: Scan, period: Period, plans: list[Plan], stretch: bytes, numbers: Floats, offsets: "npt.NDArray[np.int64]", places: list[tuple[int, _Place]]
) -> None:
    n, q = len(numbers), len(places)
    step, epoch, batch, total, time = (
        np.stack([np.asarray(getattr(p, name)) for _, p in places], axis=1).ravel() for name in ("step", "epoch", "batch", "total", "time")
    )
    kinds = np.tile(np.array([p.kind for _, p in places], dtype=np.int8), n)
    first = scan.rows.extend(n * q, step, epoch, batch, total, time, kinds)
    if first < 0:
        return
    samples: list[list[list[bytes]]] | None = None
    for at, (j, place) in enumerate(places):
        plan = plans[j]
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
            column.rows.frombytes(rows.data.cast("B"))
            column.values.frombytes(np.ascontiguousarray(values, dtype=np.float64).data.cast("B"))
            if column.sampled >= SAMPLED:
                continue
            samples = samples or _samples(period, stretch)
            for tokens in samples[j]:
                if slot.index < len(tokens):
                    sample(column, tokens[slot.index], slot, [number(t) for t in tokens])


def _samples(period: Period, stretch: bytes) -> list[list[list[bytes]]]:
    """Printed numbers of the first and the last periods, by line of the period."""
    lines = len(period.entries)
    head, tail = first_lines(stretch, SAMPLES * lines), last_lines(stretch, SAMPLES * lines)
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
