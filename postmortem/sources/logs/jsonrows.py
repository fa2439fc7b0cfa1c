"""JSON objects as rows of a table: numbers, numbers in text, one level of statistics; fast where rows look alike."""

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats
from postmortem.sources.logs.axis import is_clock
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.jsonblocks import Form
from postmortem.sources.logs.numbers import instant, number, restored, seconds
from postmortem.sources.logs.table import MOST_COLUMNS, Gathering, Table

DEEPEST = 4  # levels of nested objects that are flattened
_SUMMARY = frozenset({"log_history", "train_runtime"})  # keys of records about the whole run
MOST_SHAPES = 64  # different sets of keys in one block that are taken each by itself
A_GROUP, A_CELL = 5.0, 2.5  # what is paid for (see `effort`): a key of rows that look alike, a cell by itself
LONGEST_LIST = 8  # a list of one number (`lr: [0.1]`) is that number; longer ones give their first


@dataclass(slots=True)
class RowTaker:
    """Takes rows in blocks; rows with the same keys are taken column by column."""

    gathering: Gathering = field(default_factory=Gathering)
    effort: Effort = field(default_factory=Effort)
    _stand_ins: bool = False  # numbers stand in for words in the rows that are being taken
    _keys: dict[str, None] = field(default_factory=dict)
    _pending: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)  # numbers of one column's cells, by key

    def take(self, rows: list[dict[str, Any]], *, stand_ins: bool = False) -> None:
        """Add rows in order. `stand_ins`: some numbers stand for NaN and infinity."""
        if not rows:
            return
        self._stand_ins = stand_ins
        groups: dict[tuple[str, ...], Sequence[int]]
        shapes = list(map(tuple, rows))
        if shapes.count(shapes[0]) == len(shapes):
            groups = {shapes[0]: range(len(rows))}
        else:
            lists: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
            for index, keys in enumerate(shapes):
                lists[keys].append(index)
            groups = dict(lists)
        self.effort.spent += A_GROUP * sum(map(len, groups))
        if len(groups) > MOST_SHAPES:
            self._by_key(rows)
        else:
            for keys, indices in groups.items():
                where = np.array(indices, dtype=np.int64) + self.gathering.count
                same = rows if len(groups) == 1 else [rows[i] for i in indices]
                said = _SUMMARY.intersection(keys)
                if self._numbers_alone(keys, where, same, said):
                    continue
                for key in keys:
                    if self._wanted(key, said):
                        self._column(key, where, [row[key] for row in same])
        self.gathering.count += len(rows)

    def _numbers_alone(self, keys: tuple[str, ...], where: npt.NDArray[np.int64], rows: list[dict[str, Any]], said: AbstractSet[str]) -> bool:
        """Take rows with the same keys that hold nothing but numbers, all at once. False, and nothing taken, for any others."""
        if said or not keys or not set(map(type, rows[0].values())) <= {int, float}:
            return False
        cells = list(chain.from_iterable(map(dict.values, rows)))
        if not set(map(type, cells)) <= {int, float}:
            return False
        try:
            values = self._restored(np.array(cells, dtype=np.float64)).reshape(len(rows), len(keys))
        except OverflowError:
            return False
        self._add_all(keys, where, values)
        return True

    def _restored(self, values: Floats) -> Floats:
        return restored(values) if self._stand_ins else values

    def _add_all(self, keys: Sequence[str], where: npt.NDArray[np.int64], values: Floats) -> None:
        for n, key in enumerate(keys):
            if self._wanted(key, frozenset()):
                self._keys.setdefault(key)
                self.gathering.add(key, where, values[:, n])

    def take_forms(self, forms: Sequence[Form]) -> bool:
        """Add the rows of a block. False for summaries of a run, which are not taken."""
        if not all(_SUMMARY.isdisjoint(form.keys) for form in forms):
            return False
        for form in forms:
            self._add_all(form.keys, form.rows + self.gathering.count, form.values)
        self.gathering.count += sum(len(form.rows) for form in forms)
        return True

    def _wanted(self, key: str, beside: AbstractSet[str]) -> bool:
        """Whether a key is taken. Not the summary of a whole run in transformers' last record, nor more keys than there is room for."""
        if "log_history" in beside or (key == "train_loss" and "train_runtime" in beside):
            return False
        if key not in self._keys and len(self._keys) >= MOST_COLUMNS:
            self.gathering.narrowed = True
            return False
        return True

    def _by_key(self, rows: list[dict[str, Any]]) -> None:
        """Rows of which hardly two look alike."""
        cells: defaultdict[str, tuple[list[int], list[Any]]] = defaultdict(lambda: ([], []))
        self.effort.spent += A_CELL * sum(map(len, rows))
        for index, row in enumerate(rows, self.gathering.count):
            said = _SUMMARY & row.keys()
            for key, cell in row.items():
                if (key in cells or key in self._keys or len(cells) < 2 * MOST_COLUMNS) and self._wanted(key, said):
                    at, found = cells[key]
                    at.append(index)
                    found.append(cell)
        for key, (at, found) in cells.items():
            if self._wanted(key, frozenset()):
                self._column(key, np.array(at, dtype=np.int64), found)

    def table(self) -> Table:
        """The rows taken so far, columns in the order in which their keys were first met."""
        return self.gathering.table(self._keys)

    def _column(self, key: str, rows: npt.NDArray[np.int64], cells: list[Any]) -> None:
        kinds = set(map(type, cells))
        if NoneType in kinds:
            said = [n for n, cell in enumerate(cells) if cell is not None]
            rows, cells = rows[said], [cells[n] for n in said]
            kinds.discard(NoneType)
        if kinds <= {float, int, str} and cells:
            try:
                values = np.array(cells, dtype=np.float64)  # texts such as "NaN" and "0.1" too
            except (ValueError, OverflowError):
                pass
            else:
                self._keys.setdefault(key)
                self.gathering.add(key, rows, self._restored(values))
                return
        self.effort.spent += 2 * A_CELL * len(cells)
        for row, cell in zip(rows.tolist(), cells, strict=True):
            self._cell(key, row, cell, 0)
        for name, (at, numbers) in self._pending.items():
            self.gathering.add(name, np.array(at, dtype=np.int64), self._restored(np.array(numbers)))
        self._pending.clear()

    def _cell(self, key: str, row: int, cell: Any, depth: int) -> None:
        if cell is None or isinstance(cell, bool):
            return
        if isinstance(cell, int | float):
            self._one(key, row, float(cell))
        elif isinstance(cell, str):
            self._text(key, row, cell)
        elif isinstance(cell, dict):
            if isinstance(cell.get("mean"), int | float | str) and "num" in cell:  # StyleGAN's collector
                self._cell(key, row, cell["mean"], depth)
            elif depth < DEEPEST:
                for inner, value in cell.items():
                    self._cell(f"{key}/{inner}" if key != "results" else str(inner), row, value, depth + 1)
        elif isinstance(cell, list) and 0 < len(cell) <= LONGEST_LIST and depth < DEEPEST and not isinstance(cell[0], list | dict):
            self._cell(key, row, cell[0], depth + 1)

    def _one(self, key: str, row: int, value: float) -> None:
        if key not in self._pending and len(self._pending) > MOST_COLUMNS:
            return
        at, numbers = self._pending.setdefault(key, ([], []))
        self._keys.setdefault(key)
        at.append(row)
        numbers.append(value)

    def _text(self, key: str, row: int, text: str) -> None:
        value = number(text) if len(text) < 50 else None
        if value is not None:
            self._one(key, row, value)
            return
        if "elapsed" in key and len(text) < 60:
            spent = seconds(text)
            if spent is not None:
                self._one(key, row, spent)
                return
        done, slash, total = text.partition("/")  # "10/438", "epoch": "12/60"
        if slash and done.strip().isdecimal() and total.strip().isdecimal() and len(text) < 40:
            self._one(key, row, float(done))
            self._one(f"{key}:total", row, float(total))
            return
        when = instant(text) if is_clock(key) else None
        if when is None:
            self.gathering.add_text(key, row, text)
        else:
            self._one(key, row, when)
