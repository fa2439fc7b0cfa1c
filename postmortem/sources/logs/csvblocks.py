"""Numeric blocks of delimited text, parsed at once. A block that is not plain numbers is left to a reader of single rows."""

from collections.abc import Container

import numpy as np
import numpy.typing as npt
import orjson

from postmortem.model.run import Floats
from postmortem.sources.logs.numbers import STAND_INS, prints_stand_in, restored

_COMMA, _NEWLINE, _DIGIT, _BLANK = b",\n0 "
_WORDS = tuple((word, STAND_INS["NaN"]) for word in (b"nan", b"NaN", b"NAN")) + tuple(
    (word, STAND_INS["Infinity"]) for word in (b"Infinity", b"inf", b"Inf")
)
_NUMERIC = b"0123456789.+-eE \t"
_LETTERS = b"naNAiIfFtyoulLU"  # of those words
_ODD = np.ones(256, dtype=bool)  # bytes that no number has
_ODD[list(b"0123456789.,+-eE\n \t")] = False
_LOOKED_AT = 100  # rows that tell which columns hold numbers
_BLANKS = (b"NA", b"None", b"null", b"NULL")

Mask = npt.NDArray[np.bool_]


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


def parse_beside(block: bytes, delimiter: bytes, width: int, unwanted: Container[int]) -> tuple[Floats, Mask, dict[int, list[str]]] | None:
    """As `parse`, of a block in which some columns hold other things (times, names): those are empty cells there, and told by column,
    but for those that are unwanted. None with quotes, with rows of another width, or where no whole columns hold the other things.
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
    if not columns or len(columns) == width:
        return None
    blanked = raw.copy()
    for column in columns:
        _blank(blanked, begins[column::width], ends[column::width])
    parsed = parse(blanked[:-1].tobytes(), b",", width)
    if parsed is None:
        return None
    values, present = parsed
    present = np.ones(values.shape, dtype=bool) if present is None else present
    present[:, columns] = False
    texts: dict[int, list[str]] = {}
    for column in columns:
        if column in unwanted:
            continue
        own = np.zeros(len(raw), dtype=np.int8)
        own[begins[column::width]] = 1
        own[ends[column::width]] -= 1
        kept = np.cumsum(own, dtype=np.int8).astype(bool)
        kept[ends[column::width]] = True
        cells = raw[kept]
        cells[cells == _COMMA] = _NEWLINE
        texts[column] = cells.tobytes().decode("utf-8", "replace").split("\n")[:-1]
    return values, present, texts


def _blank(text: npt.NDArray[np.uint8], begins: "npt.NDArray[np.intp]", ends: "npt.NDArray[np.intp]") -> None:
    """Put a 0 and blanks, which JSON reads over, into cells that are not empty. Changes `text`."""
    lengths = ends - begins
    starts = np.cumsum(lengths) - lengths
    text[np.repeat(begins - starts, lengths) + np.arange(int(lengths.sum()))] = _BLANK
    text[begins[lengths > 0]] = _DIGIT


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
