"""Lines that can say nothing of training: what NCCL tells of its channels, and all but a few once a log has turned out to be mostly noise."""

import re
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from postmortem.sources.logs.crash_rules import NEEDLES, is_suspicious
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.text.shapes import HINTS

Ints = npt.NDArray[np.int64]

_CRASH, _TRAINING = 1, 2
_BY_FREQUENCY = b"etaoinshrdlcumwfgypbvkjxqz"  # of English letters; anything else counts as rarer
_EVERYWHERE = b"info warning debug"  # what loggers put into each line
_BLOCK = 1 << 18  # bytes looked at together; what is made of them stays in the processor's cache
A_MARK, A_MARK_BYTE = 10.0, 0.1  # what is paid for a look at one (see `effort`)
CHATTER = b"NCCL INFO"  # of a library that sets up its connections: thousands of lines, none an event
_CHATTER = re.compile(rb"(?:[^\nN]*+(?:N(?!CCL INFO)[^\nN]*+)*+NCCL INFO[^\n]*+\n)++")
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_")


class Spots(NamedTuple):
    """Offsets, increasing, of three bytes that some word has in it; a line without one has no such word."""

    training: Ints
    either: Ints  # a word of training or of a crash


def spots(data: bytes) -> Spots:
    """Where words of training and of a crash may be.

    Upper and lower case are alike. Every word stands for the rarest three of its letters.
    """
    table = _table()
    text = np.frombuffer(data.lower(), dtype=np.uint8)
    either, kinds = [np.zeros(0, np.int64)], [np.zeros(0, np.uint8)]
    for start in range(0, len(text) - 2, _BLOCK):
        block = text[start : start + _BLOCK + 2].astype(np.uint32)
        kind = table[block[:-2] | block[1:-1] << np.uint32(8) | block[2:] << np.uint32(16)]
        found = np.flatnonzero(kind)
        either.append(found + start)
        kinds.append(kind[found])
    places = np.concatenate(either)
    return Spots(places[np.concatenate(kinds) >= _TRAINING], places)


def past_chatter(data: bytes, start: int, marks: Ints) -> int:
    """Where the lines of NCCL end that begin at `start`, before the first one with a mark in it."""
    here = int(np.searchsorted(marks, start))
    until = data.rfind(b"\n", start, int(marks[here])) + 1 if here < len(marks) else len(data)
    run = _CHATTER.match(data, start, until) if until > start else None
    return run.end() if run else start


def past_noise(data: bytes, start: int, marks: Spots, effort: Effort) -> int:
    """Where the first line at or behind `start` begins that has a word of training in it or may tell of a crash; the last one that is not blank
    counts as one."""
    here = int(np.searchsorted(marks.training, start))
    until = int(marks.training[here]) if here < len(marks.training) else len(data.rstrip()) - 1
    for mark in marks.either[int(np.searchsorted(marks.either, start)) : int(np.searchsorted(marks.either, until))].tolist():
        begin, end = data.rfind(b"\n", start, mark + 1) + 1 or start, data.find(b"\n", mark + 1)
        effort.spent += A_MARK + A_MARK_BYTE * (end - begin)
        if is_suspicious(data[begin:end].decode("utf-8", "replace"), _words()[data[mark : mark + 3].lower()]):
            return begin
    return max(start, data.rfind(b"\n", start, until + 1) + 1)


@cache
def _words() -> dict[bytes, list[str]]:
    """The words of a crash that three bytes stand for."""
    found: dict[bytes, list[str]] = {}
    for word in NEEDLES:
        for three in _rarest(word.encode()):
            found.setdefault(three, []).append(word)
    return found


def _rarest(word: bytes) -> list[bytes]:
    """The three bytes that stand for a word; for "lr", which stands alone, and "^c" whatever may come before."""
    if len(word) < 3:
        return [bytes((before, *word)) for before in range(256) if before not in _WORD]
    return [min((word[n : n + 3] for n in range(len(word) - 2)), key=_commonness)]


@cache
def _table() -> npt.NDArray[np.uint8]:
    """(2²⁴,) by three bytes, the first one lowest: 0 for those that no word stands for."""
    table = np.zeros(1 << 24, dtype=np.uint8)
    for word, kind in (*((w, _CRASH) for w in NEEDLES), *((w, _TRAINING) for w in HINTS)):
        for three in _rarest(word.encode()):
            table[int.from_bytes(three, "little")] |= kind
    return table


def _commonness(three: bytes) -> int:
    return 1000 * (three in _EVERYWHERE) + sum(len(_BY_FREQUENCY) - _BY_FREQUENCY.find(c) if c in _BY_FREQUENCY else 0 for c in three)
