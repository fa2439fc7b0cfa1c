"""Rows of a structured log as sparse numeric columns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats

MOST_COLUMNS = 2_000
MOST_CELLS = 60_000_000  # 16 bytes each
MOST_TEXTS = 200_000  # text cells kept per column
LONGEST_TEXT = 200  # characters kept of one


@dataclass(frozen=True, slots=True)
class Column:
    """One key: where it has numbers. rows : (k,) increasing row indices; values : (k,)."""

    rows: npt.NDArray[np.int64]
    values: Floats
    unit: float | None = None  # the last decimal that a fixed format printed, None when the text does not show one

    def __len__(self) -> int:
        return len(self.values)

    def spread(self, count: int) -> Floats:
        """(count,) values by row, NaN where the column has none."""
        if len(self.rows) == count:
            return self.values
        out = np.full(count, np.nan)
        out[self.rows] = self.values
        return out


@dataclass(frozen=True, slots=True)
class Table:
    """count : rows. texts : cells that are no numbers, by key and row."""

    count: int
    columns: Mapping[str, Column]
    texts: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(slots=True)
class Gathering:
    """Grows a table block by block. Rows may come out of order within a block; `full` says that no more rows are taken."""

    count: int = 0
    cells: int = 0
    full: bool = False
    narrowed: bool = False  # columns were left out
    _parts: dict[str, list[tuple[npt.NDArray[np.int64], Floats]]] = field(default_factory=dict)
    _texts: dict[str, dict[int, str]] = field(default_factory=dict)
    _units: dict[str, float] = field(default_factory=dict)

    def add_unit(self, key: str, unit: float) -> None:
        """How finely the text of one key was printed; the finest that was told stays."""
        self._units[key] = min(unit, self._units.get(key, unit))

    def add(self, key: str, rows: npt.NDArray[np.int64], values: Floats) -> None:
        """Numbers of one key at these rows."""
        parts = self._parts.get(key)
        if parts is None:
            if len(self._parts) >= MOST_COLUMNS:
                self.narrowed = True
                return
            parts = self._parts[key] = []
        if not len(rows):
            return
        self.cells += len(rows)
        if self.cells > MOST_CELLS:
            self.full = True
            return
        parts.append((rows, values))

    def add_text(self, key: str, row: int, text: str) -> None:
        """A cell that is no number."""
        kept = self._texts.get(key)
        if kept is None:
            if len(self._texts) >= MOST_COLUMNS:
                return
            kept = self._texts[key] = {}
        if len(kept) < MOST_TEXTS:
            kept[row] = text[:LONGEST_TEXT]

    def table(self, keys: Iterable[str] = ()) -> Table:
        """What was gathered; `keys` put first, in that order."""
        order = list(dict.fromkeys([*(k for k in keys if k in self._parts), *self._parts]))
        columns: dict[str, Column] = {}
        joined: dict[tuple[int, ...], npt.NDArray[np.int64]] = {}  # keys of the same rows share them
        for key in order:
            parts = self._parts[key]
            if not parts:
                continue
            these = tuple(id(r) for r, _ in parts)
            rows = joined[these] if these in joined else joined.setdefault(these, np.concatenate([r for r, _ in parts]))
            values = np.concatenate([v for _, v in parts])
            if len(rows) > 1 and np.any(rows[1:] < rows[:-1]):
                by_row = np.argsort(rows, kind="stable")
                rows, values = rows[by_row], values[by_row]
            columns[key] = Column(rows, values, self._units.get(key))
        return Table(self.count, columns, self._texts)
