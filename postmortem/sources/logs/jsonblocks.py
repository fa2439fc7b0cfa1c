"""JSON lines that all have one form, read by column: the keys are taken out of a whole block and the numbers parsed at once.

Every key is replaced by a mark of its own, so that keys in another order, or missing from a line, are seen; such a block, and
one with anything but numbers in it, is left to the reader of single objects.
"""

import re

import numpy as np
import orjson

from postmortem.model.run import Floats
from postmortem.sources.logs.numbers import STAND_INS, prints_stand_in, restored

MOST_KEYS = 12  # each takes a pass over the block
_MARKS = bytes(n for n in range(1, 32) if n not in (9, 10, 13))
_NEWLINE, _COMMA = b"\n,"
_CELL = re.compile(rb'\s*"([^"\\\x00-\x1f]{1,200})"\s*:\s*(?:-?[0-9][-+0-9.eE]*|-?NaN|-?Infinity)\s*(?=[,}])')


def columns(block: bytes) -> tuple[tuple[str, ...], Floats] | None:
    """Keys and numbers, (rows, keys), of a block of lines; None when it has not one form."""
    body = block.strip()
    literals = _literals(body.partition(b"\n")[0])
    if literals is None:
        return None
    keys, before, end = literals
    if len(set(keys)) < len(keys) or body.translate(None, _MARKS) != body or not body.endswith(end):
        return None
    body = body.removeprefix(before[0]).removesuffix(end).replace(end + b"\n" + before[0], b"\n")
    for mark, literal in zip(_MARKS, before[1:], strict=False):
        body = body.replace(literal, bytes([mark]))
    words = b"NaN" in body or b"Infinity" in body
    if words and prints_stand_in(body):
        return None
    for word, stand_in in STAND_INS.items() if words else ():
        body = body.replace(word.encode(), stand_in)
    raw = np.frombuffer(body + b"\n", dtype=np.uint8)
    marks = np.flatnonzero(raw < 32)
    if len(marks) % len(keys):
        return None
    expected = np.frombuffer(_MARKS[: len(keys) - 1] + b"\n", dtype=np.uint8)
    if not np.all(raw[marks].reshape(-1, len(keys)) == expected):
        return None
    flat = raw.copy()
    flat[marks] = _COMMA
    try:
        cells = orjson.loads(b"[" + flat[:-1].tobytes() + b"]")
        if len(cells) != len(marks) or not set(map(type, cells)) <= {int, float}:
            return None
        values = np.array(cells, dtype=np.float64).reshape(-1, len(keys))
    except (orjson.JSONDecodeError, ValueError, TypeError, OverflowError):
        return None
    try:
        return tuple(key.decode() for key in keys), restored(values) if words else values
    except UnicodeDecodeError:
        return None


def _literals(line: bytes) -> tuple[list[bytes], list[bytes], bytes] | None:
    """Of an object of numbers alone: its keys, the text before each number, and the text behind the last one."""
    if not line.startswith(b"{"):
        return None
    keys: list[bytes] = []
    before: list[bytes] = []
    at, start = 1, 0
    while len(keys) <= MOST_KEYS:
        cell = _CELL.match(line, at)
        if cell is None:
            return None
        keys.append(cell[1])
        number = line.index(b":", cell.end(1)) + 1
        number += len(line[number:]) - len(line[number:].lstrip())
        before.append(line[start:number])
        start = cell.start() + len(cell[0].rstrip())
        at = cell.end() + 1
        if line[cell.end() : at] == b"}":
            return None if line[at:].strip() else (keys, before, line[start:])
    return None
