"""What the records of a log measured, put into rows and columns."""

from dataclasses import replace

from postmortem.model.run import Reduction
from postmortem.sources.logs.text.columns import SAMPLED, sample
from postmortem.sources.logs.text.keys import split_in
from postmortem.sources.logs.text.kinds import Kind
from postmortem.sources.logs.text.plans import NO, Plan, Slot
from postmortem.sources.logs.text.rows import NAN, Column, Rows
from postmortem.sources.logs.text.tokens import number
from postmortem.sources.names import series_name

_MOST_PLANS = 1_000  # whose columns are kept


class Ledger:
    """Rows and columns so far, and what the progress bar drawn last shows of them."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.split = ""  # what a heading announced
        self.time = NAN  # the last moment that was printed
        self.stale: dict[str, float] = {}
        self.drawn: tuple[float, float] | None = None  # epoch and batch of the progress bar drawn last
        self._columns: dict[int, tuple[Plan, bool, str, list[Column | None]]] = {}  # of plans, by their identity
        self.redrawn: set[str] = set()  # what that bar shows, by logged name

    def put(self, plan: Plan, numbers: list[float], tokens: list[bytes], row: int, *, summary: bool) -> None:
        """The values of a line, into a row."""
        at = _place_of_bar(plan, numbers)
        if row < 0 or (plan.progress and plan.batch != NO and numbers[plan.batch] == 0):
            return  # a bar that has just been set back still shows what was measured before
        drawn_again, self.drawn = at is not None and at == self.drawn, at
        if plan.done and plan.progress and (drawn_again or numbers[plan.epoch] == 0):
            return  # it counts an epoch after it was told of it: what it shows first is what the epochs came to that are done
        if not drawn_again:
            self.redrawn.clear()
        for slot, column in zip(plan.values, self._columns_of(plan, summary=summary), strict=True):
            value = numbers[slot.index]
            if slot.total != NO:
                total = numbers[slot.total]
                value = value / total if total else NAN
            elif slot.percent:
                value /= 100.0
            else:
                value *= slot.times
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

    def nowhere(self, plan: Plan, tokens: list[bytes]) -> None:
        """The values of a line of which nothing says where in training it is."""
        row = self.rows.add(NAN, NAN, NAN, NAN, self.time, Kind.BARE)
        self.put(replace(plan, spare=True), [number(t) for t in tokens], tokens, row, summary=False)

    def _columns_of(self, plan: Plan, *, summary: bool) -> list[Column | None]:
        """Where the values of a line go; as the last time, where its plan is the same one."""
        known = self._columns.get(id(plan))
        if known and known[0] is plan and known[1] == summary and known[2] == self.split:
            return known[3]
        columns = [self.column(slot, plan, summary=summary) for slot in plan.values]
        if None not in columns:
            if len(self._columns) >= _MOST_PLANS:
                self._columns.clear()
            self._columns[id(plan)] = (plan, summary, self.split, columns)
        return columns

    def column(self, slot: Slot, plan: Plan, *, summary: bool) -> Column | None:
        """Where the values of a slot go."""
        name, split = slot.name, plan.split
        if self.split and not plan.split and not plan.counts and not split_in(slot.logged_as):
            split = self.split
            name = f"{split}/{name.removeprefix('train/')}" if name.startswith("train/") else series_name(slot.logged_as, split)
        column = self.rows.column(name, slot.logged_as, split, summary=summary, spare=plan.spare)
        if column is not None and plan.mapping and "loss" in name and column.reduction == Reduction.UNKNOWN and plan.epoch != NO:
            column.reduction = Reduction.WINDOW
        if column is not None and slot.mean not in {NO, slot.index}:
            column.last_batch = True
        return column

    def by_round(self, name: str, key: str, rounds: list[tuple[float, float]]) -> None:
        """Values by the number of rounds, or epochs, that are done."""
        column = self.rows.column(name, key, split_in(name.partition("/")[0]), summary=True)
        for done, value in rounds:
            row = self.rows.add(NAN, done, NAN, NAN, self.time, Kind.EXACT)
            if column is not None and row >= 0:
                column.rows.append(row)
                column.values.append(value)


def _place_of_bar(plan: Plan, numbers: list[float]) -> tuple[float, float] | None:
    """(epoch, batch) at which a progress bar stands; None for other lines and bars that do not say both."""
    if not plan.progress or plan.bar or plan.epoch == NO or (plan.batch == NO and not plan.done):
        return None
    return numbers[plan.epoch], numbers[plan.batch] if plan.batch != NO else 0.0


def carried(slot: Slot) -> bool:
    """A progress bar shows such values again and again until they are measured anew."""
    return slot.name.startswith(("val", "test")) or "epoch" in slot.logged_as.lower() or bool(split_in(slot.logged_as) in ("val", "test"))
