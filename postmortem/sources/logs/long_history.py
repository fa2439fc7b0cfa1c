"""A `trainer_state.json` of hundreds of megabytes, whose records are read block by block: as a document it would take gigabytes.

The records of `log_history` are flat objects one behind the other, so that a block cut between two of them is a list. The
other keys stand before and behind it, for they are written in the order of the alphabet.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from postmortem.sources.documents import Unreadable, json_of
from postmortem.sources.logs.stretches import Extent

BLOCK = 1 << 20  # bytes
A_BYTE = 0.02  # what is paid for (see `effort`)
_BEGIN = re.compile(rb'"log_history"\s{0,9}:\s{0,9}\[')
_END = re.compile(rb"\}\s{0,99}\]\s{0,99}[,}]")
_BETWEEN = re.compile(rb"\}\s{0,99},\s{0,99}\{")
_LONGEST = 8 << 20  # bytes between two ends of records


def read_long(path: Path, extent: Extent, take: Callable[[list[dict[str, Any]]], None]) -> tuple[dict[str, Any], int]:
    """The keys beside `log_history`, whose records go to `take`, and how many blocks could not be read. Raises OSError."""
    state: dict[str, Any] = {}
    rest, bad, inside, first = b"", 0, False, True
    for piece in extent.pieces(path, BLOCK):
        extent.effort.spent += A_BYTE * len(piece.data)
        data = piece.data if piece.apart else rest + piece.data
        rest = b""
        if first:
            first = False
            begin = _BEGIN.search(data)
            if begin is None:
                return state, 1
            state |= _keys(data[: begin.start()].rstrip(b" \r\n\t,") + b"}")
            data, inside = data[begin.end() :], True
        elif piece.apart:
            between = _BETWEEN.search(data)
            data = data[between.end() - 1 :] if between else b""
            inside = inside or bool(between)
        end = _END.search(data) if piece.last else None
        if end:
            state |= _keys(b"{" + data[data.index(b"]", end.start()) + 1 :].lstrip(b" \r\n\t,"))
            stop = end.start() + 1
        else:
            stop = data.rfind(b"}") + 1
            rest = data[stop:].lstrip(b" \r\n\t,")
            if len(rest) > _LONGEST:
                rest, bad = b"", bad + 1
        body = data[:stop].strip(b" \r\n\t,")
        if body:
            rows = _rows(body)
            bad += rows is None
            take([row for row in rows or () if isinstance(row, dict)])
    return state, bad


def _rows(body: bytes) -> list[Any] | None:
    try:
        return list(orjson.loads(b"[" + body + b"]"))
    except orjson.JSONDecodeError:
        pass
    try:
        return list(json_of(b"[" + body + b"]"))  # NaN
    except Unreadable:
        return None


def _keys(text: bytes) -> dict[str, Any]:
    try:
        found = json_of(text)
    except Unreadable:
        return {}
    return found if isinstance(found, dict) else {}
