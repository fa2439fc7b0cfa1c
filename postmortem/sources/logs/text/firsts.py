"""What a bar of Keras showed while the first epochs went by: all there is to see of a training that ended before its third epoch did."""

import math
from dataclasses import dataclass, field

from postmortem.model.run import Reduction
from postmortem.sources.logs.text.kinds import Kind
from postmortem.sources.logs.text.ledger import Ledger
from postmortem.sources.logs.text.plans import NO, Plan
from postmortem.sources.logs.text.rows import NAN

ENOUGH = 3  # epochs that ended make a curve
FEWEST = 2  # states of each epoch
_MOST = 1_000  # states of one epoch that are kept
_MOST_LINES = 50_000  # of such bars that are looked at one by one

State = tuple[Plan, list[float], list[bytes], int]  # what a bar showed, as it was read, and the row that is held free for it


@dataclass(slots=True)
class Firsts:
    """The states of the first bars."""

    ended: int = 0  # epochs
    lines: int = 0
    states: list[State] = field(default_factory=list)
    nameless: int = -1  # the row of the first bar that came to its end, as long as nobody named its epoch
    unfinished: list[int] = field(default_factory=list)  # rows of bars that did not come to their end
    reached: float = 0.0  # the batch of the last state that was kept

    def keeps(self, plan: Plan, numbers: list[float]) -> bool:
        """Whether the state of a bar is worth a look. `numbers`: of its line; those that do not count may be NaN."""
        if self.ended >= ENOUGH or self.lines >= _MOST_LINES or plan.split or NO in {plan.batch, plan.batch_total}:
            return False
        self.lines += 1
        batch, total = numbers[plan.batch], numbers[plan.batch_total]
        self.reached = 0.0 if batch < self.reached else self.reached
        return 0 < batch < total and batch >= self.reached + total / _MOST

    def show(self, ledger: Ledger, plan: Plan, numbers: list[float], tokens: list[bytes], epoch: float) -> None:
        """A bar that moved on in an epoch, NaN where nobody names it, has such a state."""
        batch, total = numbers[plan.batch], numbers[plan.batch_total]
        self.reached = batch
        row = ledger.rows.add(NAN, epoch, batch, total, ledger.time, Kind.BARE if math.isnan(epoch) else Kind.WITHIN)
        self.states.append((plan, numbers, tokens, row))

    def renamed(self, ledger: Ledger, epoch: float) -> None:
        """The bar that is drawn is about another epoch than it seemed: what it has shown is left out."""
        while self.states and self.states[-1][3] == len(ledger.rows) - 1 and not ledger.rows.in_epoch(self.states[-1][3], epoch):
            ledger.rows.clear(self.states.pop()[3])

    def name(self, ledger: Ledger, epoch: float) -> None:
        """A log that is cut at its head begins with a bar of the epoch before the first that is named."""
        if self.nameless >= 0 and epoch > 1:
            ledger.rows.move(self.nameless, epoch - 1, Kind.SUMMARY)
            for *_, row in self.states:
                ledger.rows.move(row, epoch - 1, Kind.WITHIN)
        self.nameless = -1

    def settle(self, ledger: Ledger) -> None:
        """The log is over: the states count where too few epochs ended, as running means, and where there are more of them than of those;
        elsewhere their rows stay empty."""
        count = self.ended < ENOUGH and len(self.states) > FEWEST * self.ended
        for plan, numbers, tokens, row in self.states:
            if not count:
                ledger.rows.clear(row)
                continue
            ledger.put(plan, numbers, tokens, row, summary=False)
            for slot in plan.values:
                column = ledger.column(slot, plan, summary=False)
                if column is not None:
                    column.reduction = Reduction.RUNNING
        if count:
            for row in self.unfinished:
                ledger.rows.forget(row)
