"""JSON lines of a few forms, read by column: what is not a number is blanked out of a whole block and the numbers are parsed at once.

All of a form is compared with its first line, but for the numbers; a block with any line that holds other things than numbers is left
to the reader of single objects.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from postmortem.model.run import Floats
from postmortem.sources.logs.numbers import STAND_INS, prints_stand_in, restored

MOST_KEYS = 64
MOST_FORMS = 16  # each is looked for in all lines
_NEWLINE, _QUOTE = b'\n"'
_STAND_INS = {b"NaN": STAND_INS["NaN"], b"Infinity": b"7.000e99"}
_CELL = re.compile(rb'\s*"([^"\\\x00-\x1f]{1,200})"\s*:\s*(?:-?[0-9][-+0-9.eE]*|-?NaN|-?Infinity)\s*(?=[,}])')

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Form:
    """Lines with the same keys in the same order. rows : (n,) which lines; values : (n, keys)."""

    keys: tuple[str, ...]
    rows: Ints
    values: Floats


def columns(block: bytes) -> list[Form] | None:
    """The lines of a block by form, in the order in which those are met first; None where some line is no object of numbers alone."""
    text = b"\n" + block.strip() + b"\n"
    raw = np.frombuffer(text, dtype=np.uint8)
    ends, quotes = np.flatnonzero(raw == _NEWLINE), np.flatnonzero(raw == _QUOTE)
    before = quotes.searchsorted(ends)  # quotes before each line
    widths = np.diff(before) // 2  # numbers of each line, if it is of some form
    flat = raw.copy()
    left = np.ones(len(widths), dtype=bool)
    found: list[tuple[tuple[str, ...], Ints]] = []
    while left.any():
        first = int(left.argmax())
        form = _literals(text[ends[first] + 1 : ends[first + 1]])
        if form is None or len(found) == MOST_FORMS:
            return None
        keys, literals, end = form
        rows = np.flatnonzero(left & (widths == len(keys)))
        begins = [quotes[before[rows] + 2 * n] - literal.index(b'"') for n, literal in enumerate(literals)]
        literals, begins = [*literals, end], [*begins, ends[rows + 1] - len(end) + 1]
        alike = np.logical_and.reduce([_stands(raw, literal, at) for literal, at in zip(literals, begins, strict=True)])
        if not alike[0]:
            return None
        for literal, at in zip(literals, begins, strict=True):
            _blank(flat, at[alike], b" " * (len(literal) - 1) + b"," if literal is end else b"," + b" " * (len(literal) - 1))
        left[rows[alike]] = False
        found.append((keys, rows[alike]))
    values = _numbers(flat[1:-1], int(widths.sum()))
    if values is None:
        return None
    if len(found) == 1:
        return [Form(keys, rows, values.reshape(len(rows), len(keys))) for keys, rows in found]
    starts = np.cumsum(widths) - widths
    return [Form(keys, rows, values[starts[rows][:, None] + np.arange(len(keys))]) for keys, rows in found]


def _places(raw: "npt.NDArray[np.uint8]", width: int) -> "npt.NDArray[np.bytes_]":
    """The `width` bytes from each place on, as one element that is compared or copied at once."""
    return np.ndarray(max(len(raw) - width + 1, 0), f"S{width}", raw, strides=(1,))


def _stands(raw: "npt.NDArray[np.uint8]", literal: bytes, at: Ints) -> "npt.NDArray[np.bool_]":
    """At which places a literal stands."""
    places = _places(raw, len(literal))
    there = places[at.clip(0, len(places) - 1)]
    return np.ones(len(at), dtype=bool) if there.tobytes() == literal * len(at) else there == literal


def _blank(flat: "npt.NDArray[np.uint8]", at: Ints, instead: bytes) -> None:
    _places(flat, len(instead))[at] = instead


def _numbers(flat: "npt.NDArray[np.uint8]", count: int) -> Floats | None:
    """The numbers that a text without quotes lists, `count` of them; None where it lists anything else. Changes the text."""
    text = flat.tobytes()
    words = b"N" in text or b"I" in text
    if words:
        if prints_stand_in(text):
            return None
        for word, stand_in in _STAND_INS.items():
            at = np.flatnonzero(flat == word[0])[:: word.count(word[:1])]
            if not _stands(flat, word, at).all():
                return None
            _blank(flat, at + len(word) - len(stand_in), stand_in)  # over the blank or the sign before NaN
        text = flat.tobytes()
    if b"r" in text or b"l" in text:  # of `true`, `false`, `null`
        return None
    try:
        cells = orjson.loads(b"[" + text + b"]")
        if len(cells) != count:
            return None
        values: Floats = np.fromiter(cells, dtype=np.float64, count=count)
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return None
    return restored(values) if words else values


def _literals(line: bytes) -> tuple[tuple[str, ...], list[bytes], bytes] | None:
    """Of an object of numbers alone: its keys, the text before each number, and the text behind the last one, line ends included."""
    if not line.startswith(b"{"):
        return None
    keys: list[str] = []
    before: list[bytes] = []
    at, start = 1, 0
    while len(keys) <= MOST_KEYS:
        cell = _CELL.match(line, at)
        if cell is None:
            return None
        try:
            keys.append(cell[1].decode())
        except UnicodeDecodeError:
            return None
        number = line.index(b":", cell.end(1)) + 1
        number += len(line[number:]) - len(line[number:].lstrip())
        before.append(line[start:number] if start else b"\n" + line[:number])
        start = cell.start() + len(cell[0].rstrip())
        at = cell.end() + 1
        if line[cell.end() : at] == b"}":
            whole = not line[at:].strip() and len(set(keys)) == len(keys)
            return (tuple(keys), before, line[start:] + b"\n") if whole else None
    return None
