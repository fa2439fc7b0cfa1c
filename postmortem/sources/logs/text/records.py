"""Many lines of a period put into the rows at once, as `Scan.line` would have done one by one: the same rows, the same state after them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from postmortem.model.run import Floats
from postmortem.sources.logs.text.bars import redrawn
from postmortem.sources.logs.text.columns import SAMPLED, look_at, values_of
from postmortem.sources.logs.text.course import DATED, HEADED, NEAR, Place
from postmortem.sources.logs.text.dumps import WORDS
from postmortem.sources.logs.text.kinds import Kind
from postmortem.sources.logs.text.plans import EMPTY, NO, Plan
from postmortem.sources.logs.text.scan import Scan
from postmortem.sources.logs.text.shapes import Entry
from postmortem.sources.logs.text.tokens import NUMBER

_VALIDATION = ("val", "test")


@dataclass(frozen=True)
class Stretch:
    """What repeats of a period say."""

    entries: tuple[Entry, ...]
    numbers: Floats  # (repeats, numbers of a period); those that no plan uses may be NaN
    times: list[Floats | None]  # of each line of the period the moments at its begin, (repeats,); NaN where one has none
    printed: tuple[tuple[bytes, ...], ...]  # of each line of the period its numbers, as one of the repeats prints them
    lines: Callable[[int], list[bytes]]  # the text of its first lines
    last: bytes  # the text of its last line

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def offsets(self) -> list[int]:
        """Where the numbers of each line begin."""
        out = [0]
        for entry in self.entries:
            out.append(out[-1] + entry.shape.count(NUMBER))
        return out

    def own(self, line: int) -> Floats:
        """(repeats, numbers of that line)."""
        return self.numbers[:, self.offsets[line] : self.offsets[line + 1]]


@dataclass(frozen=True, slots=True)
class _Places:
    """`Place` of many lines of one shape, each (repeats,)."""

    step: Floats
    epoch: Floats
    batch: Floats
    total: Floats
    kind: Kind

    def of_evaluation(self) -> "_Places":
        """Of values of an evaluation that is reported amid an epoch."""
        if self.kind != Kind.WITHIN or not np.isnan(self.step).all():
            return self
        nothing = np.full(len(self.step), np.nan)
        return _Places(self.step, self.epoch, nothing, nothing, Kind.SUMMARY)


def ready(scan: Scan, entries: tuple[Entry, ...]) -> bool:
    """The state of the reading holds nothing that the lines one by one would see to."""
    if scan.watch.reading or scan.closing or scan.result or scan.block or scan.waiting is not None or scan.table is not None or scan.adrift:
        return False
    if scan.split and not all(e.plan is EMPTY or (e.plan.counts and e.plan.values) for e in entries):
        return False
    if not math.isnan(scan.named_batches) and any(e.plan.keyless and not e.plan.drawn and e.plan.epoch == NO for e in entries):
        return False
    return not any(e.history or scan.asks(e) or (e.plan.evaluates and not scan.placed) for e in entries)


def record(scan: Scan, stretch: Stretch) -> bool:
    """Put a stretch into the rows; False, and nothing is changed, when it has to be read line by line."""
    n = len(stretch)
    plans = [scan.as_evaluation(e.plan) for e in stretch.entries]
    words = _words_after(scan.dump.words, stretch.entries)
    exact = [_exact(stretch, j, plan, fractional=scan.rows.fractional) for j, plan in enumerate(plans)]
    if words is None or None in exact:
        return False
    nothing: Floats = np.full(n, np.nan)
    state = _State(scan, stretch, plans, nothing)
    if not any(p.counts for p in plans) and not state.steady():
        return False
    if not all(state.takes(j, plan, exact=bool(exact[j])) for j, plan in enumerate(plans) if plan is not EMPTY):
        return False
    times = _clock(scan, stretch)
    for j, plan in enumerate(plans):
        if plan is not EMPTY:
            scan.note_totals(plan, stretch.own(j)[-1].tolist())
    scan.dump.words = words
    _store(scan, stretch, plans, state.rows, times)
    state.leave()
    scan.last_text = stretch.last
    return True


def pass_over(scan: Scan, stretch: Stretch) -> None:
    """Note that lines went by that say nothing."""
    scan.near -= len(stretch) * len(stretch.entries)
    scan.dump.over("")
    _clock(scan, stretch)
    scan.last_text = stretch.last


def _words_after(words: int, entries: tuple[Entry, ...]) -> int | None:
    """What `Dump` has counted after the stretch; None when it would take numbers for settings, or has not settled."""
    after: list[int] = []
    for _ in range(2):
        for entry in entries:
            if entry.lone is None:
                words = 0
            elif entry.lone.word:
                words += 1
            elif entry.lone.number and words >= WORDS:
                return None
        after.append(words)
    return words if after[0] == after[1] else None


def _exact(stretch: Stretch, line: int, plan: Plan, *, fractional: bool) -> bool | None:
    """Whether the epochs of a line are shares that are done, not the number of one; None when both occur. `fractional`: in dicts before they were."""
    if plan.mapping and fractional and plan.epoch != NO:
        return True
    if plan.epoch == NO or plan.epoch >= len(stretch.printed[line]):
        return False if plan.epoch == NO else None
    if b"." in stretch.printed[line][plan.epoch].rstrip(b"."):
        return True
    epochs = stretch.own(line)[:, plan.epoch]
    whole = epochs == np.floor(epochs)
    return None if whole.any() and not whole.all() else not whole.all()


class _State:
    """Where training is while the lines of a period go by, of all repeats at once."""

    def __init__(self, scan: Scan, stretch: Stretch, plans: list[Plan], nothing: Floats) -> None:
        self.scan, self.stretch, self.plans, self.nothing = scan, stretch, plans, nothing
        self.near, self.line = scan.near, -1
        self.epoch: Floats = np.full(len(stretch), scan.epoch)
        last = next((j for j in reversed(range(len(plans))) if plans[j].step != NO), -1)
        steps = stretch.own(last)[:, plans[last].step] if last >= 0 else nothing
        self.step: Floats = np.concatenate(([scan.step], steps[:-1])) if last >= 0 else np.full(len(stretch), scan.step)
        self.lowest = scan.rows.lowest_epoch
        self.placed = scan.placed
        self.place: _Places | None = None
        if not any(p.counts for p in plans):
            was = scan.place
            step, epoch, batch, total = (np.full(len(stretch), v) for v in (was.step, was.epoch, was.batch, was.total))
            self.place = _Places(step, epoch, batch, total, was.kind)
        self.rows: list[tuple[int, _Places]] = []

    def steady(self) -> bool:
        """Of lines that do not count: the first repeat is as far from the line before as the others are from theirs."""
        said = [j for j, p in enumerate(self.plans) if p.values]
        far = len(self.plans) - said[-1] + said[0] if said else 0
        if not said or (NEAR - far > 0) != (self.scan.near - said[0] - 1 > 0):
            return False
        within = self.scan.place.kind == Kind.WITHIN and math.isnan(self.scan.place.step)
        return not (within and any(p.split in _VALIDATION for p in self.plans))

    def takes(self, line: int, plan: Plan, *, exact: bool) -> bool:
        """Go on to a line of the period; False when it leans on something that is not known here."""
        self.near, self.line = self.near - (line - self.line), line
        own = self.stretch.own(line)
        if plan.epoch != NO and (not plan.values or not exact):
            epoch = own[:, plan.epoch]
            whole = epoch[(epoch == np.floor(epoch)) & (epoch != np.concatenate(([self.scan.epoch], epoch[:-1])))]
            self.lowest = float(np.fmin(self.lowest, whole.min())) if len(whole) else self.lowest
            self.epoch = epoch
        if plan.counts:
            self.place = self._own_place(plan, own, exact=exact)
        elif self.place is None:
            return False
        elif self.near <= 0:
            self.place = self._carried(plan, self.place)
        if not plan.values:
            self.near = HEADED if plan.counts else self.near
            return True
        self.near = NEAR
        self.placed = self.placed or plan.counts
        if not plan.counts and plan.split in _VALIDATION:
            self.place = self.place.of_evaluation()
        self.rows.append((line, self.place))
        return True

    def _own_place(self, plan: Plan, own: Floats, *, exact: bool) -> _Places:
        nothing = self.nothing
        step = own[:, plan.step] if plan.step != NO else nothing
        batch = own[:, plan.batch] if plan.batch != NO else nothing
        total = own[:, plan.batch_total] if plan.batch_total != NO else nothing
        counted, known = plan.step != NO or plan.batch != NO, not np.isnan(self.epoch[0])
        self.step = step if plan.step != NO else self.step
        if not plan.values:
            kind = Kind.BARE if not known else Kind.WITHIN if counted else Kind.SUMMARY
            return _Places(step, self.epoch, batch, total, kind)
        epoch, kind = nothing, Kind.BARE
        if plan.epoch != NO and exact:
            epoch, kind = own[:, plan.epoch], Kind.EXACT
            self.scan.rows.fractional |= plan.mapping and bool((epoch != np.floor(epoch)).any())
        elif plan.epoch != NO:
            epoch, kind = self.epoch, Kind.MAPPED if plan.mapping else Kind.WITHIN if counted else Kind.SUMMARY
        elif known and (plan.batch != NO or (plan.step != NO and plan.step_total == NO)):
            epoch, kind = self.epoch, Kind.WITHIN
        elif plan.either:
            epoch, total, kind = self.epoch, own[:, plan.step_total], Kind.WITHIN if known else Kind.BARE
        if kind == Kind.EXACT and plan.step == NO and self.scan.bar[1]:
            step = self.step = np.full(len(own), self.scan.bar[0])
        if kind == Kind.EXACT and plan.of_all and plan.step == NO:
            step, batch, total = batch, nothing, nothing
            self.step = step
        if kind == Kind.WITHIN and plan.split in _VALIDATION and plan.step == NO:
            kind, batch, total = Kind.SUMMARY, nothing, nothing
        return _Places(step, epoch, batch, total, kind)

    def _carried(self, plan: Plan, before: _Places) -> _Places:
        """Where values are that follow no counter closely."""
        nothing = self.nothing
        if not np.isnan(self.step[-1]):
            return _Places(self.step, before.epoch, nothing, before.total if np.isnan(before.batch).all() else nothing, before.kind)
        if plan.mapping and self.scan.bar[1]:
            return _Places(np.full(len(nothing), self.scan.bar[0]), nothing, nothing, nothing, Kind.BARE)
        if not np.isnan(self.epoch[-1]):
            return _Places(nothing, self.epoch, nothing, nothing, Kind.SUMMARY)
        return _Places(nothing, nothing, nothing, nothing, Kind.BARE)

    def leave(self) -> None:
        """The state after the stretch."""
        scan, place = self.scan, self.place
        scan.placed, scan.epoch, scan.step = self.placed, float(self.epoch[-1]), float(self.step[-1])
        scan.rows.lowest_epoch = self.lowest
        scan.firsts.nameless = -1
        if place is not None:
            scan.place = Place(float(place.step[-1]), float(place.epoch[-1]), float(place.batch[-1]), float(place.total[-1]), place.kind)
        scan.near = self.near - (len(self.plans) - 1 - self.line)
        if any(self.plans[j].counts and (p.kind != Kind.BARE or not np.isnan(p.step).all()) for j, p in self.rows):
            scan.split = ""
        if self.rows:
            scan.evaluated = (-1, math.nan)
            if not any(self.plans[j].progress for j, _ in self.rows):
                scan.drawn = None


def _clock(scan: Scan, stretch: Stretch) -> list[Floats]:
    """The time of every line, (repeats,) each: the last moment that was printed. Notes the last one."""
    n, own = len(stretch), [(j, t) for j, t in enumerate(stretch.times) if t is not None]
    if not own:
        return [np.full(n, scan.time)] * len(stretch.entries)
    moments = own[0][1][:, None] if len(own) == 1 else np.stack([t for _, t in own], axis=1)  # (repeats, lines with a moment), in their order
    if not (moments > DATED).all():
        flat = moments.flatten()
        for place, time in enumerate(flat.tolist()):
            scan.note_time(time)
            flat[place] = scan.time
        moments = flat.reshape(moments.shape)
    earlier = scan.time
    for time in (float(moments[0, 0]), float(moments[-1, -1])):
        scan.note_time(time)
    if own[0][0] == 0 and len(own) == 1:
        return [moments[:, 0]] * len(stretch.entries)
    before = np.concatenate(([earlier], moments[:-1, -1]))
    places = np.searchsorted([j for j, _ in own], np.arange(len(stretch.entries)), side="right")
    return [moments[:, place - 1] if place else before for place in places.tolist()]


def _store(scan: Scan, stretch: Stretch, plans: list[Plan], rows: list[tuple[int, _Places]], times: list[Floats]) -> None:
    n, q = len(stretch), len(rows)
    if not q:
        return
    step, epoch, batch, total = (_interleaved([getattr(p, name) for _, p in rows]) for name in ("step", "epoch", "batch", "total"))
    kinds = np.tile(np.array([p.kind for _, p in rows], dtype=np.int8), n)
    ranks = [stretch.own(j)[:, plans[j].rank] if plans[j].rank != NO else np.full(n, np.nan) for j, _ in rows]
    first = scan.rows.extend(n * q, step, epoch, batch, total, _interleaved([times[j] for j, _ in rows]), _interleaved(ranks), kinds)
    if first < 0:
        return
    for at, (j, place) in enumerate(rows):
        plan, own = plans[j], stretch.own(j)
        whole = place.kind == Kind.SUMMARY or (place.kind == Kind.MAPPED and bool(np.isnan(place.step).all()))
        index = np.arange(first + at, first + at + q * n, q, dtype=np.int64)
        if plan.progress:
            redrawn(scan, plan, own, index, partial(scan.column, plan=plan, summary=whole), stretch.lines)
            continue
        for slot in plan.values:
            column = scan.column(slot, plan, summary=whole)
            if column is None:
                continue
            column.rows.frombytes(index.data.cast("B"))
            column.values.frombytes(np.ascontiguousarray(values_of(slot, own)).data.cast("B"))
            if column.sampled < SAMPLED:
                look_at(column, slot, stretch.lines((SAMPLED - column.sampled) * len(plans))[j :: len(plans)])


def _interleaved(columns: list[Floats]) -> Floats:
    """Rows of several lines in the order in which they were printed."""
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1).ravel()
