"""From lines to rows: what each line's plan says, and what the lines before it said about where training is."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from postmortem.model.run import Reduction
from postmortem.sources.logs.crash import Watch, Where, is_suspicious
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.text.columns import SAMPLED, sample
from postmortem.sources.logs.text.dumps import Dump
from postmortem.sources.logs.text.keys import Role, role_of, split_in
from postmortem.sources.logs.text.noise import Told
from postmortem.sources.logs.text.plans import EMPTY, NO, Plan, Slot
from postmortem.sources.logs.text.rows import NAN, Column, Kind, Rows
from postmortem.sources.logs.text.settings import MAX_CONFIG, Settings, Wanted, wanted
from postmortem.sources.logs.text.shapes import BRACES, MAX_LINE, NOISE, Entry, Shapes, hints
from postmortem.sources.logs.text.tables import Header, cells_of, pair_of, section_of
from postmortem.sources.logs.text.tokens import dated, mask, moment, number
from postmortem.sources.names import series_name

MAX_EARLY = 5_000  # lines
MOST_BENEATH = 32  # lines without counters below one of an evaluation under way
NEAR = 3  # lines after a row or a counter that still belong to it
_DONE = re.compile(rb"^(?:[^\n]{0,80}[:\]|>] ?)?(?:all )?(?:done|finished|completed?)[.! ]*$", re.IGNORECASE)
_GLUED = re.compile(rb"(?:it/s|s/it|/s)\](?=\s*[^\s\],:|])")
DATED = 1e9  # seconds since 1970; less is a moment whose year or date was not printed
# What is paid for (see `effort`):
A_LINE, A_BYTE = 5.0, 0.1  # of a line that is read by itself
A_LOOK, A_LOOK_BYTE = 35.0, 0.1  # at a line of many shapes: may it tell a crash?
A_NUMBER, A_VALUE = 0.5, 3.0
A_WATCHED = 20.0  # a line that may tell a crash
A_SETTING_BYTE = 0.2  # of a line that may hold settings


@dataclass(slots=True)
class Place:
    """Where training is, as the last lines said."""

    step: float = NAN
    epoch: float = NAN
    batch: float = NAN
    total: float = NAN
    kind: Kind = Kind.BARE


class Scan:
    """The state of one reading. `line` is fed every line that no run of equal shapes took."""

    def __init__(self, source: str, effort: Effort) -> None:
        self.effort = effort
        self.rows = Rows()
        self.watch = Watch(source)
        self.settings = Settings(source)
        self.last_text = b""
        self.line_number: Callable[[], int] = lambda: 0  # of the line that is being read
        self.read = 0  # bytes of the chunks so far
        self.offset: Callable[[], int] = lambda: 0  # of that line, in bytes
        self.early = 0  # lines before the first record that were asked for settings
        self.placed = False  # a record that says where training is was seen
        self.shapes = Shapes(effort)
        self.told = Told(effort)
        self.place = Place()  # of the last row or counter
        self.adrift = ""  # after a gap: "epoch" or "step", which has to be said again before rows can be placed
        self.near = 0  # lines that still belong to it
        self.epoch = NAN  # the epoch that is running
        self.step = NAN  # the last global step seen
        self.time = NAN
        self.split = ""  # what a heading announced
        self.bar = (NAN, 0.0)  # the main progress bar: count, total
        self.waiting: tuple[Plan, list[float], list[bytes]] | None = None  # a bar whose last state counts
        self.waiting_epoch = NAN
        self.beneath: list[tuple[Plan, list[bytes]]] = []  # lines without counters below a bar of an evaluation that waits
        self.evaluated: tuple[int, float] = (-1, NAN)  # the row of the last pass over an evaluation set, and its epoch
        self.main_total = 0.0
        self.dump = Dump()
        self.table: Header | None = None
        self.block: dict[str, float] = {}
        self.section = ""
        self.closing = 0  # lines of a closing summary still to skip
        self.stale: dict[str, float] = {}
        self.drawn: tuple[float, float] | None = None  # epoch and batch of the progress bar drawn last
        self.redrawn: set[str] = set()  # what that bar shows, by logged name
        self.planned_steps = NAN
        self.planned_epochs = NAN
        self.first_time = NAN
        self.last_time = NAN

    @property
    def noisy(self) -> bool:
        """Mostly noise, and not amid an event: what has no word of training and tells no event can be left out."""
        return self.shapes.many and not self.watch.reading

    # -- one line

    def line(self, raw: bytes) -> Entry | None:
        """Take in one line and return what is known of its shape, None for a blank one.

        What a progress bar has glued to its end counts as a line of its own.
        """
        if b"it]" in raw or b"/s]" in raw:
            glued = _GLUED.search(raw)
            if glued:
                self._line(raw[: glued.end()])
                raw = raw[glued.end() :]
        return self._line(raw)

    def _line(self, raw: bytes) -> Entry | None:
        """Returns what is known of the line's shape, None for a blank line."""
        self.effort.spent += A_LINE + A_BYTE * len(raw)
        if len(raw) > MAX_LINE:
            self._long(raw)
            raw = raw[:MAX_LINE]
        if not raw.strip():
            self.blank()
            return None
        self.last_text = raw
        if self.noisy and not hints(raw):
            self.effort.spent += A_LOOK + A_LOOK_BYTE * len(raw)
            if is_suspicious(text := raw.decode("utf-8", "replace")):
                self.watch.line(text, self._where())
            return NOISE
        masked, tokens = mask(raw)
        entry = self.shapes.entry(masked, raw)
        self.effort.spent += A_NUMBER * len(tokens) + A_VALUE * len(entry.plan.values)
        self.near -= 1
        time = moment(raw)
        if time is not None:
            self.note_time(time)
        watched = entry.suspicious or self.watch.reading
        if watched:
            self.effort.spent += A_WATCHED
        if watched and self.watch.line(raw.decode("utf-8", "replace"), self._where()):
            return entry
        if self.asks(entry):
            self.early += 1
            self.effort.spent += A_SETTING_BYTE * len(raw)
            self.settings.line(raw.decode("utf-8", "replace"))
        if entry.lone is None:
            self.dump.over(entry.shape)
        elif self.dump.holds(entry.lone, tokens):
            return entry
        self._take(entry, raw, tokens)
        return entry

    def asks(self, entry: Entry) -> bool:
        """Whether a line is asked for settings."""
        return entry.settings == Wanted.ALWAYS or (entry.settings == Wanted.EARLY and not self.placed and self.early < MAX_EARLY)

    def note_time(self, time: float) -> None:
        """A moment that a line begins with; NaN is none."""
        if math.isnan(time):
            return
        self.time = time = self.on_calendar(time)
        if time > DATED:
            self.first_time = time if math.isnan(self.first_time) else self.first_time
            self.last_time = time

    def on_calendar(self, time: float) -> float:
        """A moment without a year or a date in a log whose other lines print them. Elsewhere it stays as it is."""
        return dated(time, self.time) if time <= DATED < self.time else time

    def _long(self, raw: bytes) -> None:
        """A line too long to be a record may be a configuration."""
        if len(raw) <= MAX_CONFIG and not self.placed:
            text = raw.decode("utf-8", "replace")
            if wanted(text) == Wanted.ALWAYS:
                self.settings.line(text)

    def _where(self) -> Where:
        """Where training was, for an event."""
        step, epoch, time = (None if math.isnan(v) else v for v in (self.step, self.epoch, self.time))
        return Where(self.line_number(), step, epoch, time, self.offset(), len(self.rows))

    def reached(self) -> Where:
        """The end of what was read."""
        return replace(self._where(), offset=self.read)

    def _take(self, entry: Entry, raw: bytes, tokens: list[bytes]) -> None:
        if entry.final:
            self.closing = 0 if tokens and "{" in entry.shape else 24
            return
        if self.closing:
            self.closing -= 1
            return
        if entry.header is not None:
            self.table = entry.header
            return
        if entry.rule:
            self._flush_block()
            return
        if self.table is not None and tokens and self._table_row(raw):
            return
        if entry.pair and self._block_line(entry, raw):
            return
        if entry.heading:
            self.split = "" if entry.heading == "train" else entry.heading
            if self.split and not (math.isnan(self.step) and math.isnan(self.epoch)):
                self.near = NEAR  # what follows is about where training is
            return
        if entry.plan is not EMPTY:
            self._plan(entry.plan, tokens)

    def chatter(self, lines: list[bytes], number: int) -> None:
        """`number` lines that say nothing were passed over; `lines` are the first and the last of them."""
        self.near -= number
        self.dump.over("")
        for line in lines:
            time = moment(line)
            if time is not None:
                self.note_time(time)
        self.last_text = lines[-1]

    def blank(self, lines: int = 1) -> None:
        """Take in lines with nothing in them."""
        self.near -= lines
        self.dump.over("")
        self.closing = 0
        self._flush_block()

    def gap(self) -> None:
        """Lines are left out: nothing that was said before them tells where training is now."""
        self.end_of_part()
        if self.adrift != "epoch":
            self.adrift = "epoch" if not math.isnan(self.epoch) else "step" if not math.isnan(self.step) else self.adrift
        self.place, self.near, self.split, self.closing = Place(), 0, "", 0
        self.epoch = self.step = NAN
        self.bar, self.drawn, self.evaluated = (NAN, 0.0), None, (-1, NAN)
        self.redrawn.clear()
        self.stale.clear()
        self.dump = Dump()
        self.watch.gap()

    def _placed_again(self, plan: Plan) -> bool:
        """After a gap: whether a line says by itself where training is, if lines before the gap did."""
        if plan.epoch != NO or not self.adrift or (self.adrift == "step" and plan.step != NO):
            self.adrift = ""
        return not self.adrift

    def end_of_part(self) -> None:
        """What was waiting counts."""
        self._flush_block()
        self._flush_waiting()

    def end(self) -> None:
        """The log is over."""
        self.end_of_part()
        last = self.last_text.decode("utf-8", "replace")
        if _DONE.match(self.last_text):
            self.watch.add_finished(last, self._where())
        elif not len(self.rows) and self.bar[0] < self.bar[1]:  # a bar that was still being drawn, and no metric
            self.watch.add_started(last, self._where())

    # -- plans

    def _plan(self, plan: Plan, tokens: list[bytes]) -> None:
        numbers = [number(t) for t in tokens]
        if not all(math.isfinite(numbers[slot]) for slot in plan.counters):
            return
        if not self._placed_again(plan) and plan.values:
            return
        self.note_totals(plan, numbers)
        if plan.bar:
            if self.waiting is not None and not self._same_bar(plan, numbers):
                self._flush_waiting()
            self.waiting, self.waiting_epoch = (plan, numbers, tokens), self.epoch
            return
        plan = self.as_evaluation(self.second_bar(plan, numbers))
        evaluation = plan.split in ("val", "test") and plan.batch != NO and bool(plan.values)
        if (
            self.waiting is not None
            and self.waiting[0].split
            and self.near > -NEAR
            and not plan.counts
            and not plan.split
            and len(self.beneath) < MOST_BENEATH
        ):
            self.beneath.append((plan, tokens))
            self.near = NEAR
            return
        if self.waiting is not None and not (evaluation and self._same_bar(plan, numbers)):
            self._flush_waiting()
        if evaluation:
            self.near = NEAR
            self.beneath.clear()
            self.waiting, self.waiting_epoch = (plan, numbers, tokens), self.epoch
            return
        if not plan.values:
            self._counter(plan, numbers)
            return
        if plan.weak and self.near <= 0:
            return
        self._row(plan, numbers, tokens)

    def second_bar(self, plan: Plan, numbers: list[float]) -> Plan:
        """A shorter progress bar after the main one, with the same quantities and nothing said: the pass over the evaluation set."""
        if not plan.progress or not plan.values or plan.split or plan.epoch != NO or plan.batch_total == NO:
            return plan
        total = numbers[plan.batch_total]
        self.main_total = self.main_total or total
        if total >= 0.9 * self.main_total:
            return plan
        values = tuple(Slot(s.index, series_name(s.logged_as, "val"), s.logged_as, s.total, s.percent) for s in plan.values)
        return replace(plan, split="val", values=values)

    def as_evaluation(self, plan: Plan) -> Plan:
        """Of a validation line that only its metric gives away, amid records of training: the plan as one of the validation set."""
        return plan.evaluation() if self.placed and not self.split and plan.evaluates else plan

    def _same_bar(self, plan: Plan, numbers: list[float]) -> bool:
        """The bar that waits has only moved on."""
        if self.waiting is None:
            return False
        before, values, _ = self.waiting
        if before.split != plan.split or before.bar != plan.bar or NO in {plan.batch, before.batch}:
            return False
        return numbers[plan.batch] >= values[before.batch]

    def _flush_waiting(self) -> None:
        if self.waiting is None:
            return
        (plan, numbers, tokens), self.waiting = self.waiting, None
        epoch = numbers[plan.epoch] if plan.epoch != NO else self.waiting_epoch
        kind = Kind.SUMMARY if not math.isnan(epoch) else Kind.BARE
        batch = total = NAN
        step = numbers[plan.step] if plan.step != NO else NAN
        if plan.bar and plan.batch_total != NO and numbers[plan.batch] < numbers[plan.batch_total]:
            batch, total = numbers[plan.batch], numbers[plan.batch_total]
            kind = Kind.WITHIN if kind == Kind.SUMMARY else Kind.BARE
        elif kind == Kind.BARE and math.isnan(step):
            step = self.step
        row = self.rows.add(step, epoch, batch, total, self.time, kind)
        self._values(plan, numbers, tokens, row, summary=True)
        if plan.split:
            self.split = plan.split  # " * Acc@1 71.2" after the pass
            self.evaluated = (row, epoch)
        beneath, self.beneath = self.beneath, []
        for below, found in beneath:
            self.near = NEAR
            self._plan(replace(below, values=tuple(s if s.mean == NO else replace(s, index=s.mean) for s in below.values)), found)

    def note_totals(self, plan: Plan, numbers: list[float]) -> None:
        """What a line says about the length of the run."""
        if plan.epoch != NO and plan.brackets and not plan.mapping:
            self.rows.from_zero = True
        if plan.samples:
            self.rows.samples = True
        if plan.paired:
            self.rows.paired = True
        if plan.step_total != NO:
            self.planned_steps = numbers[plan.step_total]
        if plan.epoch_total != NO:
            self.planned_epochs = numbers[plan.epoch_total]

    def _counter(self, plan: Plan, numbers: list[float]) -> None:
        """A line that only says where training is."""
        if (plan.progress or plan.keyless) and plan.epoch == NO and plan.step == NO:
            if plan.progress and plan.batch_total != NO and numbers[plan.batch_total] >= self.bar[1]:
                self.bar = (numbers[plan.batch], numbers[plan.batch_total])
            return
        if self.split and plan.epoch == NO:
            return
        step = numbers[plan.step] if plan.step != NO else NAN
        if plan.epoch != NO:
            self._new_epoch(numbers[plan.epoch])
        batch = numbers[plan.batch] if plan.batch != NO else NAN
        total = numbers[plan.batch_total] if plan.batch_total != NO else NAN
        known = not math.isnan(self.epoch)
        counted = not math.isnan(batch) or not math.isnan(step)
        kind = Kind.BARE if not known else Kind.WITHIN if counted else Kind.SUMMARY
        if not math.isnan(step):
            self.step = step
        self.place = Place(step, self.epoch, batch, total, kind)
        self.near = NEAR
        if self.table is not None and self.table.roles[0] != Role.EPOCH:  # bars are drawn between the rows of one that counts epochs
            self.table = None

    def _new_epoch(self, epoch: float) -> None:
        self._flush_waiting()
        self.split = ""
        if epoch != self.epoch:
            self.epoch = epoch
            if epoch == math.floor(epoch) and not epoch >= self.rows.lowest_epoch:
                self.rows.lowest_epoch = epoch

    def _row(self, plan: Plan, numbers: list[float], tokens: list[bytes]) -> None:
        if plan.counts:
            place = self._own_place(plan, numbers, tokens)
            if place.kind != Kind.BARE or not math.isnan(place.step):
                self.split = ""
        elif self.near > 0:
            place = self.place
            if plan.split in ("val", "test") and place.kind == Kind.WITHIN and math.isnan(place.step):
                place = Place(epoch=place.epoch, kind=Kind.SUMMARY)
        elif plan.mapping and math.isnan(self.step) and self.bar[1]:
            place = Place(step=self.bar[0])
        elif not math.isnan(self.step):
            place = Place(step=self.step, epoch=self.place.epoch, batch=NAN, total=NAN, kind=self.place.kind)
        elif not math.isnan(self.epoch):
            place = Place(epoch=self.epoch, kind=Kind.SUMMARY)
        else:
            place = Place()
        self.place, self.near = place, NEAR
        self.placed = self.placed or plan.counts
        rank = numbers[plan.rank] if plan.rank != NO else NAN
        row, epoch = self.evaluated
        self.evaluated = (-1, NAN)
        if row < 0 or plan.counts or self.split not in ("val", "test") or place.epoch != epoch:
            row = self.rows.add(place.step, place.epoch, place.batch, place.total, self.time, place.kind, rank)
        whole = place.kind == Kind.SUMMARY or (place.kind == Kind.MAPPED and math.isnan(place.step))
        self._values(plan, numbers, tokens, row, summary=whole)

    def _own_place(self, plan: Plan, numbers: list[float], tokens: list[bytes]) -> Place:
        step = numbers[plan.step] if plan.step != NO else NAN
        batch = numbers[plan.batch] if plan.batch != NO else NAN
        total = numbers[plan.batch_total] if plan.batch_total != NO else NAN
        kind = Kind.BARE
        epoch = NAN
        if plan.epoch != NO:
            epoch = numbers[plan.epoch]
            token = tokens[plan.epoch]
            if b"." in token.rstrip(b".") or epoch != math.floor(epoch) or (plan.mapping and self.rows.fractional):
                kind = Kind.EXACT
                self.rows.fractional |= plan.mapping and epoch != math.floor(epoch)
            else:
                self._new_epoch(epoch)
                kind = Kind.MAPPED if plan.mapping else Kind.SUMMARY if math.isnan(step) and math.isnan(batch) else Kind.WITHIN
        elif not math.isnan(self.epoch) and (not math.isnan(batch) or (not math.isnan(step) and plan.step_total == NO)):
            epoch, kind = self.epoch, Kind.WITHIN
        if kind == Kind.EXACT and math.isnan(step) and self.bar[1]:
            step = self.bar[0]
        if kind == Kind.WITHIN and plan.split in ("val", "test") and math.isnan(step):
            kind, batch, total = Kind.SUMMARY, NAN, NAN
        if not math.isnan(step):
            self.step = step
        return Place(step, epoch, batch, total, kind)

    def _values(self, plan: Plan, numbers: list[float], tokens: list[bytes], row: int, *, summary: bool) -> None:
        at = _place_of_bar(plan, numbers)
        if row < 0 or (plan.progress and plan.batch != NO and numbers[plan.batch] == 0):
            return  # a bar that has just been set back still shows what was measured before
        drawn_again, self.drawn = at is not None and at == self.drawn, at
        if not drawn_again:
            self.redrawn.clear()
        for slot in plan.values:
            value = numbers[slot.index]
            if slot.total != NO:
                total = numbers[slot.total]
                value = value / total if total else NAN
            elif slot.percent:
                value /= 100.0
            column = self.column(slot, plan, summary=summary)
            if column is None:
                continue
            if plan.progress and not plan.bar and plan.split not in ("val", "test") and carried(slot):
                key = column.logged_as
                if self.stale.get(key) == value:
                    continue
                self.stale[key] = value
            elif drawn_again and column.values and column.logged_as in self.redrawn:
                column.values[-1] = value  # it moves on first, and shows what was measured there when it is drawn again
                continue
            self.redrawn.add(column.logged_as)
            column.rows.append(row)
            column.values.append(value)
            if column.sampled < SAMPLED and slot.index < len(tokens):
                sample(column, tokens[slot.index], slot, numbers)

    def column(self, slot: Slot, plan: Plan, *, summary: bool) -> Column | None:
        """Where the values of a slot go."""
        name, split = slot.name, plan.split
        if self.split and not plan.split and not plan.counts and not split_in(slot.logged_as):
            split = self.split
            name = f"{split}/{name.removeprefix('train/')}" if name.startswith("train/") else series_name(slot.logged_as, split)
        column = self.rows.column(name, slot.logged_as, split, summary=summary, spare=plan.spare)
        if column is not None and plan.mapping and "loss" in name and column.reduction == Reduction.UNKNOWN and plan.epoch != NO:
            column.reduction = Reduction.WINDOW
        return column

    # -- tables and blocks

    def _table_row(self, raw: bytes) -> bool:
        header = self.table
        if header is None:
            return False
        cells = cells_of(header, raw.decode("utf-8", "replace"))
        if cells is None:
            return False
        found = {role: value for role, value in zip(header.roles, cells, strict=False) if role is not None and value is not None}
        pairs = [(k, n, v) for k, n, r, v in zip(header.keys, header.names, header.roles, cells, strict=False) if r is None and v is not None and n]
        self._keyed_row(found, pairs)
        return True

    def _block_line(self, entry: Entry, raw: bytes) -> bool:
        text = raw.decode("utf-8", "replace")
        section = section_of(text)
        if section:
            self.section = section
            return True
        pair = pair_of(text)
        if pair is None:
            if entry.shape in ("}", "},") and self.section and self.block:
                self.section = ""
                return True
            if entry.shape in BRACES:
                self._flush_block()
                return True
            return False
        key, value = pair
        self.rows.rounded |= "e+" in text and role_of(key) in (Role.STEP, Role.GLOBAL, Role.ITERATION)
        if self.section and text.translate({0x2502: "|", 0x2503: "|"}).lstrip().startswith(("|  ", '"')):
            key = f"{self.section}/{key}"
        if key in self.block:
            self._flush_block()
        self.block[key] = value
        return True

    def _flush_block(self) -> None:
        block, self.block, self.section = self.block, {}, ""
        if not block:
            return
        found: dict[Role, float] = {}
        pairs: list[tuple[str, str, float]] = []
        for key, value in block.items():
            role = role_of(key) or role_of(key.rpartition("/")[2])
            if role is not None:
                found.setdefault(role, value)
            else:
                pairs.append((key, _name_of(key), value))
        if not found and not any(not name.startswith("other/") for _, name, _ in pairs):
            return
        self._keyed_row(found, pairs)

    def _keyed_row(self, found: Mapping[Role, float], pairs: list[tuple[str, str, float]]) -> None:
        """A row whose counters and values are known by key."""
        found = {role: value for role, value in found.items() if math.isfinite(value)}
        step = next((found[r] for r in (Role.GLOBAL, Role.STEP, Role.ITERATION) if r in found), NAN)
        epoch = found.get(Role.EPOCH, NAN)
        kind = Kind.BARE
        if not math.isnan(epoch):
            if epoch != math.floor(epoch):
                kind = Kind.EXACT
            else:
                self._new_epoch(epoch)
                kind = Kind.SUMMARY if math.isnan(step) else Kind.WITHIN
        if not math.isnan(step):
            self.step = step
        row = self.rows.add(step, epoch, NAN, NAN, self.time, kind)
        if row < 0:
            return
        for key, name, value in pairs:
            column = self.rows.column(name, key, split_in(key), summary=kind == Kind.SUMMARY)
            if column is not None:
                column.rows.append(row)
                column.values.append(value)


@lru_cache(maxsize=4096)
def _name_of(key: str) -> str:
    """The canonical name of a key that says itself what it is about."""
    return series_name(key, split_in(key))


def _place_of_bar(plan: Plan, numbers: list[float]) -> tuple[float, float] | None:
    """(epoch, batch) at which a progress bar stands; None for other lines and bars that do not say both."""
    if not plan.progress or plan.bar or NO in {plan.epoch, plan.batch}:
        return None
    return numbers[plan.epoch], numbers[plan.batch]


def carried(slot: Slot) -> bool:
    """A progress bar shows such values again and again until they are measured anew."""
    return slot.name.startswith(("val", "test")) or "epoch" in slot.logged_as.lower() or bool(split_in(slot.logged_as) in ("val", "test"))
