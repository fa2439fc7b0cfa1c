"""Numeric blocks of delimited text, parsed at once. A block that is not plain numbers is left to a reader of single rows."""

import numpy as np
import orjson

from postmortem.model.run import Floats
from postmortem.sources.logs.numbers import STAND_INS, restored

_EMPTY, _EMPTY_CELL = 6e307, b"6e307"  # stands in for a cell that JSON cannot spell, as do those of `numbers`
_WORDS = tuple((word, STAND_INS["NaN"]) for word in (b"nan", b"NaN", b"NAN")) + tuple(
    (word, STAND_INS["Infinity"]) for word in (b"Infinity", b"inf", b"Inf")
)
_LETTERS = b"naNAiIfFtyoulLU"  # of those words
_BLANKS = (b"NA", b"None", b"null", b"NULL")


def parse(block: bytes, delimiter: bytes, width: int) -> tuple[Floats, Floats] | None:
    """A block of whole rows as (values, present), both (rows, width); `present` is False for empty cells.

    None when some row has another number of cells or a cell is no plain number: then nothing was decided about the block.
    """
    body = block.strip(b"\n")
    if b"\n\n" in body:
        body = b"\n".join(line for line in body.split(b"\n") if line)
    if b'"' in body:
        body = body.replace(b'"', b"")
    if delimiter != b",":
        if b"," in body:
            return None
        body = body.replace(delimiter, b",")
    if not body or not _aligned(body, width):
        return None
    words = body.translate(None, b"0123456789.,+-eE\n \t")
    if words:
        if words.translate(None, _LETTERS):
            return None
        for word, stand_in in _WORDS:
            body = body.replace(word, stand_in)
        for word in _BLANKS:
            body = body.replace(word, b"")
    flat = b"," + body.replace(b"\n", b",") + b","
    sparse = b",," in flat
    if sparse:
        flat = flat.replace(b",,", b"," + _EMPTY_CELL + b",").replace(b",,", b"," + _EMPTY_CELL + b",")
    try:
        cells = orjson.loads(b"[" + flat[1:-1] + b"]")
        values = np.array(cells, dtype=np.float64).reshape(-1, width)
    except (orjson.JSONDecodeError, ValueError, TypeError):
        return None
    present = values != _EMPTY if sparse else np.ones(values.shape, dtype=bool)
    if words:
        restored(values)
    return values, present


def cells_of(block: bytes, delimiter: bytes, width: int) -> list[str] | None:
    """All cells of a block of whole rows, row after row, as text; None with quotes, blank lines or rows of another width."""
    body = block.strip(b"\n")
    if not body or b'"' in body or b"\n\n" in body:
        return None
    if delimiter != b",":
        if b"," in body:
            return None
        body = body.replace(delimiter, b",")
    return body.replace(b"\n", b",").decode("utf-8", "replace").split(",") if _aligned(body, width) else None


def _aligned(body: bytes, width: int) -> bool:
    """Whether every line has `width` cells."""
    raw = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(raw == 10)
    commas = np.flatnonzero(raw == 44)
    if len(commas) != (len(ends) + 1) * (width - 1):
        return False
    if width == 1 or not len(ends):
        return True
    by_row = commas.reshape(-1, width - 1)
    return bool(np.all(by_row[:-1, -1] < ends) and np.all(by_row[1:, 0] > ends))
