"""What reading a log has cost, counted by what was done and not by a clock: the same bytes give the same report on every machine.

The unit is a microsecond of one core of a usual server of 2024. The prices are upper bounds by measurement for kinds of text made to be
slow (tests/benchmarks/bench_hostile_text.py): a real log of a few megabytes is far below the limit, whatever it holds.
"""

from dataclasses import dataclass, field

MOST = 6_500_000.0  # for one file


@dataclass(slots=True)
class Effort:
    """What was spent on one file so far."""

    spent: float = 0.0
    most: float = field(default_factory=lambda: MOST)

    def rate(self, done: int) -> float:
        """Spent for each of the `done` bytes, not less than a copy costs."""
        return max(self.spent / max(done, 1), 0.001)

    def too_much(self, done: int, wanted: int) -> bool:
        """Half is spent, and at this rate `wanted` bytes in all would cost more than there is."""
        return self.spent > self.most / 2 and self.rate(done) * wanted > self.most

    def left(self) -> float:
        """For the rest of a file that cannot be read whole; some in any case, for its end tells the most."""
        return max(self.most - self.spent, self.most / 4)
