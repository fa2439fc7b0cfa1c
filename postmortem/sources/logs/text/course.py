"""The course of training as the records of a log tell it: where it is, and the rows and values that come of what their plans say."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from postmortem.sources.logs.text.firsts import Firsts
from postmortem.sources.logs.text.keys import Role, split_in
from postmortem.sources.logs.text.kinds import Kind
from postmortem.sources.logs.text.ledger import Ledger
from postmortem.sources.logs.text.plans import EMPTY, NO, Plan, Slot
from postmortem.sources.logs.text.rows import NAN
from postmortem.sources.logs.text.tables import Header
from postmortem.sources.logs.text.tokens import dated, numbers_in

MOST_BENEATH = 32  # lines without counters below one of an evaluation under way
NEAR = 3  # lines after a row or a counter that still belong to it
HEADED = 6  # lines after a counter without values: it heads them
NEARLY = 0.95  # of a bar
DATED = 1e9  # seconds since 1970; less is a moment whose year or date was not printed


@dataclass(slots=True)
class Place:
    """Where training is, as the last lines said."""

    step: float = NAN
    epoch: float = NAN
    batch: float = NAN
    total: float = NAN
    kind: Kind = Kind.BARE


class Course(Ledger):
    """What was said so far of where training is, and what was measured there."""

    def __init__(self) -> None:
        super().__init__()
        self.placed = False  # a record that says where training is was seen
        self.place = Place()  # of the last row or counter
        self.adrift = ""  # after a gap: "epoch" or "step", which has to be said again before rows can be placed
        self.near = 0  # lines that still belong to it
        self.epoch = NAN  # the epoch that is running
        self.step = NAN  # the last global step seen
        self.bar = (NAN, 0.0)  # the main progress bar: count, total
        self.behind_bar = False  # what is read was glued to the end of one
        self.over = False  # a Keras bar of the epoch that is running came to its end
        self.waiting: tuple[Plan, list[float], list[bytes]] | None = None  # a bar whose last state counts
        self.waiting_epoch = NAN
        self.unfinished = (-1, NAN)  # the row of a bar that had nearly come to its end, and its epoch
        self.beneath: list[tuple[Plan, list[bytes]]] = []  # lines without counters below a bar of an evaluation that waits
        self.evaluated: tuple[int, float] = (-1, NAN)  # the row of the last pass over an evaluation set, and its epoch
        self.firsts = Firsts()
        self.main_total = 0.0
        self.named_batches = NAN  # batches of an epoch, in records that name it
        self.summed: tuple[Plan, float] = (EMPTY, NAN)  # the last line about a whole epoch, and which
        self.table: Header | None = None
        self.planned_steps = NAN
        self.planned_epochs = NAN
        self.first_time = NAN
        self.last_time = NAN

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

    def _placed_again(self, plan: Plan) -> bool:
        """After a gap: whether a line says by itself where training is, if lines before the gap did."""
        if plan.epoch != NO or not self.adrift or (self.adrift == "step" and plan.step != NO):
            self.adrift = ""
        return not self.adrift

    def lose(self) -> None:
        """Lines are left out: where training is has to be said again."""
        if self.adrift != "epoch":
            self.adrift = "epoch" if not math.isnan(self.epoch) else "step" if not math.isnan(self.step) else self.adrift
        self.place, self.near, self.split = Place(), 0, ""
        self.epoch = self.step = NAN
        self.bar, self.drawn, self.evaluated = (NAN, 0.0), None, (-1, NAN)
        self.redrawn.clear()
        self.stale.clear()

    def follow(self, plan: Plan, tokens: list[bytes]) -> None:
        """Do with the numbers of a line, as printed, what its plan says."""
        numbers = numbers_in(tokens)
        for slot in plan.counters:
            if not math.isfinite(numbers[slot]):
                return
        if (not self._placed_again(plan) and plan.values) or (plan.group != NO and numbers[plan.group]):
            return
        self.note_totals(plan, numbers)
        if plan.bar and plan.batch_total != NO and numbers[plan.batch] > numbers[plan.batch_total]:
            return  # `74/10 [====]`: a pass over the validation set, with the total of training
        if plan.bar:
            if self.waiting is not None and not self._same_bar(plan, numbers):
                self.arrive()
            self.waiting, self.waiting_epoch = (plan, numbers, tokens), self.epoch
            if not self.over and self.firsts.keeps(plan, numbers):
                self.firsts.show(self, plan, numbers, tokens, self.epoch)
            return
        plan = self.as_evaluation(self._second_time(self.second_bar(plan, numbers), numbers))
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
        if self.waiting is not None and self._sums_up(plan, numbers):
            self.waiting = None
        if self.waiting is not None and not (evaluation and self._same_bar(plan, numbers)):
            self.arrive()
        if evaluation:
            self.near = NEAR
            self.beneath.clear()
            self.waiting, self.waiting_epoch = (plan, numbers, tokens), self.epoch
            return
        if not plan.values:
            self._counter(plan, numbers)
        elif not plan.weak or self.near > 0 or self.behind_bar:
            self._row(plan, numbers, tokens)
        if plan.announces:
            self.split = plan.split

    def second_bar(self, plan: Plan, numbers: list[float]) -> Plan:
        """A shorter progress bar after the main one, with the same quantities and nothing said: the pass over the evaluation set.

        So are lines that count batches and do not name the epoch, where others do: `[0/5] Loss 2.5` amid `Epoch: [1][0/20] Loss 2.7`.
        """
        if not (plan.drawn or plan.keyless) or not plan.values or plan.split or plan.epoch != NO or plan.batch_total == NO:
            return plan
        total = numbers[plan.batch_total]
        if not plan.drawn and (math.isnan(self.named_batches) or total == self.named_batches or not any(v.name == "train/loss" for v in plan.values)):
            return plan
        self.main_total = self.main_total or total if plan.drawn else self.main_total
        if plan.drawn and total >= 0.9 * self.main_total:
            return plan
        return replace(plan, split="val", values=tuple(_of_split(s, "val") for s in plan.values))

    def _second_time(self, plan: Plan, numbers: list[float]) -> Plan:
        """Below the heading of an evaluation, the same line about the same epoch again: about the evaluation, and so is what follows."""
        if plan.epoch == NO or plan.step != NO or plan.batch != NO or not plan.values:
            return plan
        said = (plan, numbers[plan.epoch])
        again, self.summed = said == self.summed, said
        if not (again and self.split):
            return plan
        return replace(plan, split=self.split, again=True, values=tuple(_of_split(v, self.split) for v in plan.values))

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
        ended = before.bar and before.batch_total != NO and values[before.batch] >= values[before.batch_total]
        if ended and numbers != values and any(slot.name.startswith("val/") for slot in before.values):
            return False  # the validation set's values are the last that an epoch's bar shows
        return numbers[plan.batch] >= values[before.batch]

    def _sums_up(self, plan: Plan, numbers: list[float]) -> bool:
        """The line says of the whole pass over an evaluation set what the bar that waits said of a part of it."""
        if self.waiting is None or plan.batch != NO or NO in {plan.epoch, self.waiting[0].epoch} or plan.split not in ("val", "test"):
            return False
        before, values, _ = self.waiting
        of_it = before.split == plan.split and values[before.epoch] == numbers[plan.epoch]
        return of_it and {v.name for v in before.values if v.name.startswith(plan.split)} <= {v.name for v in plan.values}

    def arrive(self) -> None:
        """The bar that waits is where it gets to: its last state counts, and what stood beneath it."""
        if self.waiting is None:
            return
        (plan, numbers, tokens), self.waiting = self.waiting, None
        nameless = False
        if plan.bar and not plan.split and plan.epoch == NO:
            at_its_end = plan.batch_total != NO and numbers[plan.batch] >= numbers[plan.batch_total]
            if self.over and not any(slot.name.startswith("val/") for slot in plan.values):  # `model.evaluate` once training is over
                plan = replace(plan, split="test", values=tuple(_of_split(s, "test") for s in plan.values))
            self.firsts.ended += at_its_end and plan.split != "test"
            nameless = at_its_end and self.firsts.ended == 1 and math.isnan(self.waiting_epoch)
            self.over = self.over or at_its_end
        epoch = numbers[plan.epoch] if plan.epoch != NO else self.waiting_epoch
        kind = Kind.SUMMARY if not math.isnan(epoch) else Kind.BARE
        batch = total = NAN
        step = numbers[plan.step] if plan.step != NO else NAN
        if plan.bar and plan.batch_total != NO and numbers[plan.batch] < numbers[plan.batch_total]:
            batch, total = numbers[plan.batch], numbers[plan.batch_total]
            kind = Kind.WITHIN if kind == Kind.SUMMARY else Kind.BARE
        elif kind == Kind.BARE and math.isnan(step):
            step = self.step
        if (
            plan.bar and self.unfinished[1] == epoch
        ):  # what interrupted the bar just before its end, as messages of a compiler do, made no record of it
            self.rows.forget(self.unfinished[0])
        row = self.rows.add(step, epoch, batch, total, self.time, kind)
        self.put(plan, numbers, tokens, row, summary=True)
        self.firsts.nameless = row if nameless else -1
        if plan.bar and not math.isnan(batch):
            self.firsts.unfinished.append(row)
        self.unfinished = (row, epoch if batch >= NEARLY * total else NAN)
        if plan.split:
            self.split = plan.split  # " * Acc@1 71.2" after the pass
            self.evaluated = (row, epoch)
        beneath, self.beneath = self.beneath, []
        for below, found in beneath:
            self.near = NEAR
            self.follow(replace(below, values=tuple(s if s.mean == NO else replace(s, index=s.mean) for s in below.values)), found)

    def note_totals(self, plan: Plan, numbers: list[float]) -> None:
        """What a line says about the length of the run."""
        if plan.epoch != NO and plan.brackets and not plan.mapping:
            self.rows.from_zero = True
        if plan.samples:
            self.rows.samples = True
        if NO not in {plan.epoch, plan.batch_total} and plan.values and not plan.progress and plan.split in ("", "train"):
            self.named_batches = numbers[plan.batch_total]
        if plan.paired:
            self.rows.paired = True
        if plan.step_total != NO and not plan.either:
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
        if plan.done:  # the heading of an evaluation behind so many epochs
            self.arrive()
            self.split, self.place, self.near = plan.split, Place(epoch=numbers[plan.epoch], kind=Kind.EXACT), HEADED
            return
        step = numbers[plan.step] if plan.step != NO else NAN
        if plan.overall and step > self.planned_steps:
            return  # `Total steps: 98304` below `Learning iteration 0/1500`: it counts something else
        if plan.epoch != NO:
            self._new_epoch(numbers[plan.epoch])
            self.split = plan.split if plan.heads and plan.split in ("val", "test") else ""
        batch = numbers[plan.batch] if plan.batch != NO else NAN
        total = numbers[plan.batch_total] if plan.batch_total != NO else NAN
        known = not math.isnan(self.epoch)
        counted = not math.isnan(batch) or not math.isnan(step)
        kind = Kind.BARE if not known else Kind.WITHIN if counted else Kind.SUMMARY
        if not math.isnan(step):
            self.step = step
        self.place = Place(step, self.epoch, batch, total, kind)
        self.near = HEADED
        if self.table is not None and self.table.roles[0] != Role.EPOCH:  # bars are drawn between the rows of one that counts epochs
            self.table = None

    def name_bar(self, epoch: float) -> None:
        """What a callback printed behind a bar says which epoch it is about."""
        if self.waiting is not None and self.waiting[0].bar and epoch != self.epoch:
            self.firsts.renamed(self, epoch)
            self.epoch = self.waiting_epoch = epoch
            self.over = False

    def _new_epoch(self, epoch: float) -> None:
        self.arrive()
        self.over = False
        self.split = ""
        self.firsts.name(self, epoch)
        if epoch != self.epoch:
            self.epoch = epoch
            if epoch == math.floor(epoch) and not epoch >= self.rows.lowest_epoch:
                self.rows.lowest_epoch = epoch

    def _row(self, plan: Plan, numbers: list[float], tokens: list[bytes]) -> None:
        announced = self.split
        if plan.counts:
            place = self._own_place(plan, numbers, tokens)
            if place.kind != Kind.BARE or not math.isnan(place.step):
                self.split = announced if plan.again else ""
        elif self.behind_bar and math.isnan(self.step) and math.isnan(self.epoch) and self.bar[1]:
            place = Place(step=self.bar[0])
        elif self.near > 0:
            place = self.place
            if plan.split in ("val", "test") and place.kind == Kind.WITHIN and math.isnan(place.step):
                place = Place(epoch=place.epoch, kind=Kind.SUMMARY)
        elif plan.mapping and math.isnan(self.step) and self.bar[1]:
            place = Place(step=self.bar[0])
        elif not math.isnan(self.step):
            total = self.place.total if math.isnan(self.place.batch) else NAN
            place = Place(step=self.step, epoch=self.place.epoch, batch=NAN, total=total, kind=self.place.kind)
        elif not math.isnan(self.epoch):
            place = Place(epoch=self.epoch, kind=Kind.SUMMARY)
        else:
            place = Place()
        if plan.untrained:
            place = Place(epoch=0.0, kind=Kind.EXACT)
        self.place, self.near = place, NEAR
        self.placed = self.placed or plan.counts
        rank = numbers[plan.rank] if plan.rank != NO else NAN
        row, epoch = self.evaluated
        self.evaluated = (-1, NAN)
        of_it = row >= 0 and not plan.counts and self.split in ("val", "test") and place.epoch == epoch
        if not of_it:
            row = self.rows.add(place.step, place.epoch, place.batch, place.total, self.time, place.kind, rank)
        of_all = of_it and not any(split_in(v.logged_as) for v in plan.values)  # what the pass came to: `* Acc@1 71.2`
        whole = of_all or plan.untrained or place.kind == Kind.SUMMARY or (place.kind == Kind.MAPPED and math.isnan(place.step))
        self.put(plan, numbers, tokens, row, summary=whole)

    def _own_place(self, plan: Plan, numbers: list[float], tokens: list[bytes]) -> Place:
        step = numbers[plan.step] if plan.step != NO else NAN
        batch = numbers[plan.batch] if plan.batch != NO else NAN
        total = numbers[plan.batch_total] if plan.batch_total != NO else NAN
        kind = Kind.BARE
        epoch = NAN
        if plan.epoch != NO:
            epoch = numbers[plan.epoch]
            token = tokens[plan.epoch]
            if plan.done or b"." in token.rstrip(b".") or epoch != math.floor(epoch) or (plan.mapping and self.rows.fractional):
                kind = Kind.EXACT
                self.rows.fractional |= plan.mapping and epoch != math.floor(epoch)
            else:
                self._new_epoch(epoch)
                kind = Kind.MAPPED if plan.mapping else Kind.SUMMARY if math.isnan(step) and math.isnan(batch) else Kind.WITHIN
        elif not math.isnan(self.epoch) and (not math.isnan(batch) or (not math.isnan(step) and plan.step_total == NO)):
            epoch, kind = self.epoch, Kind.WITHIN
        elif plan.either:
            epoch, total, kind = self.epoch, numbers[plan.step_total], Kind.BARE if math.isnan(self.epoch) else Kind.WITHIN
        if kind == Kind.EXACT and math.isnan(step) and self.bar[1] and not plan.done:
            step = self.bar[0]
        if kind == Kind.EXACT and plan.of_all and math.isnan(step):
            step, batch, total = batch, NAN, NAN
        if kind == Kind.WITHIN and plan.split in ("val", "test") and math.isnan(step):
            kind, batch, total = Kind.SUMMARY, NAN, NAN
        if not math.isnan(step):
            self.step = step
        return Place(step, epoch, batch, total, kind)

    def keyed_row(self, found: Mapping[Role, float], pairs: list[tuple[str, str, float]], *, beneath: bool = False) -> None:
        """A row whose counters and values are known by key. `beneath`: without counters it is about the step that was named last."""
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
        if not found and math.isnan(self.step) and not math.isnan(self.epoch):  # beneath the heading of an epoch
            epoch, kind = self.epoch, Kind.SUMMARY
        elif not found and beneath:
            step = self.step
        row = self.rows.add(step, epoch, NAN, NAN, self.time, kind)
        if row < 0:
            return
        split = "" if found else self.split
        for key, name, value in pairs:
            column = self.rows.column(name, key, split_in(key) or split, summary=kind == Kind.SUMMARY)
            if column is not None:
                column.rows.append(row)
                column.values.append(value)


def _of_split(slot: Slot, split: str) -> Slot:
    """The value as one of another set, where it was taken for one of the training set."""
    return replace(slot, name=f"{split}/{slot.name.removeprefix('train/')}") if slot.name.startswith("train/") else slot
