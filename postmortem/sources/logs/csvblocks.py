"""Numeric blocks of delimited text, parsed at once. A block that is not plain numbers is left to a reader of single rows."""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt
import orjson

from postmortem.model.run import Floats
from postmortem.sources.logs.cuts import within
from postmortem.sources.logs.digits import Digits, printed_as
from postmortem.sources.logs.numbers import STAND_INS, prints_stand_in, restored

_COMMA, _NEWLINE, _ZERO = b",\n0"
_WORDS = tuple((word, STAND_INS["NaN"]) for word in (b"nan", b"NaN", b"NAN")) + tuple(
    (word, STAND_INS["Infinity"]) for word in (b"Infinity", b"inf", b"Inf")
)
_DIGITS = b"0123456789"
_NUMERIC = _DIGITS + b".+-eE \t"
_FEW = 16  # bytes of a cell, of digits that a whole number holds
_RUNS = re.compile(rb"[0-9]+")
_LETTERS = b"naNAiIfFtyoulLU"  # of those words
_ODD = np.ones(256, dtype=bool)  # bytes that no number has
_ODD[list(b"0123456789.,+-eE\n \t")] = False
_LOOKED_AT = 100  # rows that tell which columns hold numbers
_BLANKS = (b"NA", b"None", b"null", b"NULL")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Beside:
    """Columns of numbers, and of other things. values, present : (rows, columns of numbers), as `parse` gives them."""

    numeric: Sequence[int]
    values: Floats
    present: Mask | None
    texts: Mapping[int, list[str]] = field(default_factory=dict)


def parse(block: bytes, delimiter: bytes, width: int) -> tuple[Floats, Mask | None] | None:
    """A block of whole rows as (values, present), both (rows, width); `present` is False for empty cells,
    None where there are none.

    None when some row has another number of cells, as a blank line has, or a cell is no plain number: then nothing was decided about the block.
    """
    body = block.strip(b"\n")
    if b'"' in body:
        body = body.replace(b'"', b"")
    if delimiter != b",":
        if b"," in body:
            return None
        body = body.replace(delimiter, b",")
    alike = _alike(body, width)
    if alike is not None:
        return alike, None
    between = body.translate(None, _NUMERIC)
    words = between.translate(None, b",\n")
    if words:
        if words.translate(None, _LETTERS) or prints_stand_in(body):
            return None
        for word, stand_in in _WORDS:
            body = body.replace(word, stand_in)
        for word in _BLANKS:
            body = body.replace(word, b"")
        between = body.translate(None, _NUMERIC)
    row = b"," * (width - 1) + b"\n"
    if not body or between + b"\n" != row * (len(between) // width + 1):
        return None
    flat = np.frombuffer(b"," + body + b",", dtype=np.uint8).copy()
    np.putmask(flat, flat == _NEWLINE, _COMMA)
    ends = flat == _COMMA  # of cells, and before the first one
    none = ends[:-1] & ends[1:]  # a cell without a byte
    present = np.diff(np.flatnonzero(ends)) > 1 if none.any() else None
    text = flat[1:-1] if present is None else flat[:-1][~none][1:]
    try:
        cells = orjson.loads(b"[" + text.tobytes() + b"]")
        values = np.fromiter(cells, dtype=np.float64, count=len(cells))
    except (orjson.JSONDecodeError, ValueError, TypeError):
        return None
    if words:
        restored(values)
    if present is None:
        return values.reshape(-1, width), None
    if len(values) != np.count_nonzero(present):
        return None
    spread = np.zeros(len(present))
    spread[present] = values
    return spread.reshape(-1, width), present.reshape(-1, width)


def _alike(body: bytes, width: int) -> Floats | None:
    """(rows, width) the numbers of rows that are the first one but for their digits; None where others are, where a cell has none, or
    where they are too many to be exact."""
    first = body[: body.find(b"\n") + 1] or body + b"\n"
    cells = first[:-1].split(b",")
    if len(cells) != width or not all(cells) or max(map(len, cells)) > _FEW:
        return None
    form, left = first.translate(None, _DIGITS), (body + b"\n").translate(None, _DIGITS)
    rows = len(left) // len(form)
    if left != form * rows:
        return None
    codes = np.frombuffer(body + b"\n", dtype=np.uint8)
    stops = np.flatnonzero((codes - np.uint8(_ZERO)) > 9)  # of runs of digits; what comes before 0 is far behind 9
    widths = np.diff(stops, prepend=-1) - 1
    stops, widths = (np.ascontiguousarray(of.reshape(rows, len(form)).T) for of in (stops, widths))
    if ((widths > 0) != (widths[:, :1] > 0)).any():
        return None
    digits, runs = Digits(body), iter(np.flatnonzero(widths[:, 0]).tolist())
    out = np.empty((width, rows))
    for column, cell in enumerate(cells):
        printed = printed_as(cell, list(islice(runs, len(_RUNS.findall(cell)))))
        values = digits.numbers(printed, lambda run: (stops[run], widths[run])) if printed else None
        if values is None:
            return None
        out[column] = values
    return out.T


def parse_beside(block: bytes, delimiter: bytes, width: int, unwanted: Container[int]) -> Beside | None:
    """As `parse`, of a block in which some columns hold other things (times, names): those are told by column, but for those that are
    unwanted. None with quotes, with rows of another width, or where no whole columns hold the other things.
    """
    body = block.strip(b"\n")
    if b'"' in body or (delimiter != b"," and b"," in body):
        return None
    body = body.replace(delimiter, b",") if delimiter != b"," else body
    ends = _ends(body, width)
    if ends is None:
        return None
    raw = np.frombuffer(body + b"\n", dtype=np.uint8)
    begins = np.concatenate(([0], ends[:-1] + 1))
    head = int(ends[min(len(ends), _LOOKED_AT * width) - 1])
    columns = sorted({int(n) % width for n in np.searchsorted(ends, np.flatnonzero(_ODD[raw[:head]]))})
    numeric = [n for n in range(width) if n not in columns]
    if not columns or not numeric:
        return None
    begins, ends = begins.reshape(-1, width), ends.reshape(-1, width) + 1  # with what is behind each cell
    rows = raw.copy()
    rows[ends[:, numeric[-1]] - 1] = _NEWLINE
    parsed = parse(rows[~within(begins[:, columns].ravel(), ends[:, columns].ravel(), len(raw))].tobytes(), b",", len(numeric))
    if parsed is None or len(parsed[0]) != len(ends):
        return None
    texts: dict[int, list[str]] = {}
    for column in columns:
        if column in unwanted:
            continue
        cells = raw[within(begins[:, column], ends[:, column], len(raw))]
        cells[cells == _COMMA] = _NEWLINE
        texts[column] = cells.tobytes().decode("utf-8", "replace").split("\n")[:-1]
    return Beside(numeric, *parsed, texts)


def cells_of(block: bytes, delimiter: bytes, width: int) -> list[str] | None:
    """All cells of a block of whole rows, row after row, as text; None with quotes, blank lines or rows of another width."""
    body = block.strip(b"\n")
    if not body or b'"' in body or b"\n\n" in body:
        return None
    if delimiter != b",":
        if b"," in body:
            return None
        body = body.replace(delimiter, b",")
    return body.replace(b"\n", b",").decode("utf-8", "replace").split(",") if _ends(body, width) is not None else None


def _ends(body: bytes, width: int) -> "npt.NDArray[np.intp] | None":
    """Where each cell ends, row after row; None where some line has another number of cells."""
    raw = np.frombuffer(body + b"\n", dtype=np.uint8)
    ends = np.flatnonzero((raw == _COMMA) | (raw == _NEWLINE))
    if len(ends) % width or not body:
        return None
    newlines = raw[ends].reshape(-1, width) == _NEWLINE
    return ends if newlines[:, -1].all() and not newlines[:, :-1].any() else None
