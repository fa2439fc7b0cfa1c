"""Rows of a log as they are read, and the columns of values that belong to them.

A row is one place in training: step, epoch, counter. A series is a column of values with the index of each one's row. The
meaning of the counters (does "epoch" start at 0? does the counter start again in each epoch?) is settled at the end, when
all rows are known: see `places`.
"""

import math
from array import array
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats, Reduction

NAN = float("nan")
MAX_ROWS = 20_000_000
MAX_SERIES = 500

OF_A_PASS = ("other/", "step_time", "data_time", "throughput")  # names of what an evaluation may log beside training
ColumnKey = tuple[str, str, bool, bool, bool]  # name, key, whether an evaluation's own, whether of whole epochs, whether spare


@dataclass(slots=True)
class Column:
    """The values of one series so far."""

    name: str
    logged_as: str
    split: str
    summary: bool
    spare: bool = False  # counts only where no other column is a loss
    rows: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    quantum: float | None = None
    full: int = 0  # values printed to full precision
    sampled: int = 0
    reduction: Reduction = Reduction.UNKNOWN
    last_batch: bool = False  # its values stand before a running mean in parentheses

    @property
    def printed_in_full(self) -> bool:
        """Most of its values were printed to full precision."""
        return self.full * 2 > self.sampled


class Numbers:
    """A number of each row. Those before the first that is not NaN take no room: few logs name all counters."""

    __slots__ = ("_said", "_unsaid")

    def __init__(self) -> None:
        self._unsaid = 0
        self._said: array[float] = array("d")

    def append(self, value: float) -> None:
        """Of one more row."""
        if self._said or not math.isnan(value):
            self._said.append(value)
        else:
            self._unsaid += 1

    def extend(self, values: Floats) -> None:
        """Of some more rows, (n,)."""
        if not self._said and np.isnan(values).all():
            self._unsaid += len(values)
        else:
            self._said.frombytes(np.ascontiguousarray(values, dtype=np.float64).data.cast("B"))

    def at(self, row: int) -> float:
        """Of one row."""
        return self._said[row - self._unsaid] if row >= self._unsaid else NAN

    def put(self, row: int, value: float) -> None:
        """Of one row that had none."""
        if row < self._unsaid:
            self._said = array("d", [NAN]) * self._unsaid + self._said
            self._unsaid = 0
        self._said[row - self._unsaid] = value

    def clear(self, row: int) -> None:
        """Of one row there is none after all."""
        if row >= self._unsaid:
            self._said[row - self._unsaid] = NAN

    def all(self) -> Floats:
        """(rows,) not to be changed."""
        said = np.frombuffer(self._said, dtype=np.float64) if self._said else np.zeros(0)
        unsaid = np.broadcast_to(NAN, self._unsaid)
        return np.concatenate((unsaid, said)) if self._said and self._unsaid else said if self._said else unsaid


@dataclass(slots=True)
class Rows:
    """All rows and columns of one log."""

    step: Numbers = field(default_factory=Numbers)
    epoch: Numbers = field(default_factory=Numbers)
    batch: Numbers = field(default_factory=Numbers)
    total: Numbers = field(default_factory=Numbers)
    time: Numbers = field(default_factory=Numbers)
    rank: Numbers = field(default_factory=Numbers)
    kind: "array[int]" = field(default_factory=lambda: array("b"))
    samples: bool = False
    rounded: bool = False  # steps were printed with few digits: `| step | 4.74e+04 |`
    paired: bool = False  # a nameless counter stands before values of training and validation
    fractional: bool = False  # dicts told of parts of an epoch: `'epoch': '1'` among them is one that is done
    from_zero: bool = False  # a habit that counts epochs from 0 was seen
    lowest_epoch: float = NAN
    columns: dict[ColumnKey, Column] = field(default_factory=dict)
    dropped_series: int = 0

    def __len__(self) -> int:
        return len(self.kind)

    def add(self, step: float, epoch: float, batch: float, total: float, time: float, kind: int, rank: float = NAN) -> int:
        """One more row; returns its index, -1 when there are too many."""
        if len(self.kind) >= MAX_ROWS:
            return -1
        self.step.append(step)
        self.epoch.append(epoch)
        self.batch.append(batch)
        self.total.append(total)
        self.time.append(time)
        self.kind.append(kind)
        self.rank.append(rank)
        return len(self.kind) - 1

    def extend(
        self, n: int, step: Floats, epoch: Floats, batch: Floats, total: Floats, time: Floats, rank: Floats, kind: "npt.NDArray[np.int8]"
    ) -> int:
        """n more rows at once; returns the index of the first, -1 when there are too many."""
        first = len(self.kind)
        if first + n > MAX_ROWS:
            return -1
        columns = (self.step, self.epoch, self.batch, self.total, self.time, self.rank)
        for column, values in zip(columns, (step, epoch, batch, total, time, rank), strict=True):
            column.extend(values)
        self.kind.frombytes(np.ascontiguousarray(kind, dtype=np.int8).tobytes())
        return first

    def column(self, name: str, logged_as: str, split: str, *, summary: bool, spare: bool = False) -> Column | None:
        """The column of a series, made when it is new; None when there are too many."""
        evaluated = split in ("val", "test") and name.startswith(OF_A_PASS)
        key = (name, logged_as, evaluated, summary, spare)
        found = self.columns.get(key)
        if found is None:
            if len(self.columns) >= MAX_SERIES:
                self.dropped_series += 1
                return None
            found = self.columns[key] = Column(name, logged_as, split, summary, spare)
        return found

    def forget(self, row: int) -> None:
        """Take back the values of a row."""
        for column in self.columns.values():
            if column.rows and column.rows[0] <= row <= column.rows[-1] and row in column.rows:
                place = column.rows.index(row)
                column.rows.pop(place)
                column.values.pop(place)

    def in_epoch(self, row: int, epoch: float) -> bool:
        """Whether a row was said to be in an epoch."""
        return self.epoch.at(row) == epoch

    def move(self, row: int, epoch: float, kind: int) -> None:
        """Say of a row that named no epoch which one it is about."""
        if row >= 0:
            self.epoch.put(row, epoch)
            self.kind[row] = kind

    def clear(self, row: int) -> None:
        """Let a row say nothing of where training is."""
        if row >= 0:
            for numbers in (self.step, self.epoch, self.batch, self.total):
                numbers.clear(row)
            self.kind[row] = 0

    def rejoin(self, exact: "npt.NDArray[np.bool_]") -> None:
        """Columns that were taken for those of whole epochs go to the others, where all of their rows say how much of an epoch is done."""
        for key, column in list(self.columns.items()):
            name, logged_as, evaluated, summary, spare = key
            if not summary or not exact[np.frombuffer(column.rows, dtype=np.int64)].all():
                continue
            other = self.columns.pop((name, logged_as, evaluated, False, spare), None)
            del self.columns[key]
            if other is not None:
                other.rows.extend(column.rows)
                other.values.extend(column.values)
            self.columns[name, logged_as, evaluated, False, spare] = other or replace(column, summary=False)
