"""Rows of a W&B history that look alike, matched as a whole: most runs log the same few numbers again and again.

A row is a sequence of items, each a key and a number as JSON text; only the texts and the two lengths before them differ from
one row to the next. Anything else is read field by field (`wandb_history`), with the same outcome.
"""

import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

SHORT = 0x80  # lengths below it take one byte
MOST_ITEMS = 256
_NUMBER = rb"([-+.0-9eE]{1,40})"
_STEP_KEY = b"_step"
_STATED = rb"(?:\x12.{1,12})?"  # the step beside the items, which says what the item `_step` says


@dataclass(slots=True)
class Column:
    """One metric: the rows that have it, and its values."""

    rows: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))


class Layout:
    """The keys of a row, in order. Numbers are held here until `flush` hands them to their columns."""

    def __init__(self, pattern: "re.Pattern[bytes]", columns: tuple[Column, ...]) -> None:
        self.pattern = pattern
        self.columns = columns
        self.rows = array("q")
        self.values = array("d")  # row after row

    @classmethod
    def of(cls, data: bytes, start: int, end: int, columns: Mapping[bytes, Column]) -> "Layout | None":
        """That of the row in data[start:end], whose keys have columns; None where a row like it cannot be matched as a whole."""
        pieces: list[bytes] = []
        found: list[Column] = []
        at = start
        while at < end and data[at] == 0x0A and len(found) < MOST_ITEMS:
            size = data[at + 1] if at + 3 < end else SHORT
            stop = at + 2 + size
            key_end = at + 4 + data[at + 3] if at + 3 < end else end
            if size >= SHORT or stop > end or data[at + 3] >= SHORT or data[key_end : key_end + 2] != b"\x82\x01":
                return None
            key = data[at + 4 : key_end]
            if key not in columns or key_end + 3 + data[key_end + 2] != stop:
                return None
            pieces += [rb"\x0A.", re.escape(data[at + 2 : key_end]), rb"\x82\x01.", _NUMBER]
            found.append(columns[key])
            at = stop
        ids = {id(column) for column in found}
        if not found or len(ids) < len(found) or _STEP_KEY not in columns or id(columns[_STEP_KEY]) not in ids:
            return None
        return cls(re.compile(b"".join((*pieces, _STATED)), re.DOTALL), tuple(found))

    def take(self, data: bytes, start: int, end: int, row: int) -> bool:
        """Note the numbers of a row; False, and nothing noted, when it looks otherwise."""
        match = self.pattern.fullmatch(data, start, end)
        if match is None:
            return False
        try:
            self.values.extend(map(float, match.groups()))
        except ValueError:
            del self.values[len(self.rows) * len(self.columns) :]
            return False
        self.rows.append(row)
        return True

    def flush(self) -> None:
        """Hand over what is held."""
        if not self.rows:
            return
        matrix = np.frombuffer(self.values).reshape(-1, len(self.columns))
        for column, values in zip(self.columns, matrix.T, strict=True):
            column.rows.extend(self.rows)
            column.values.frombytes(values.tobytes())
        self.rows, self.values = array("q"), array("d")


def beginning(data: bytes, start: int) -> bytes:
    """By what a layout is found: the row's first key, if it is a short one."""
    return data[start + 4 : start + 4 + data[start + 3]] if start + 3 < len(data) else b""
