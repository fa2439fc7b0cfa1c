"""Lines that can say nothing of training, passed over by the megabyte once a log has turned out to be mostly noise."""

from functools import cache

import numpy as np
import numpy.typing as npt

from postmortem.sources.logs.crash_rules import NEEDLES
from postmortem.sources.logs.text.shapes import HINTS

_BY_FREQUENCY = b"etaoinshrdlcumwfgypbvkjxqz"  # of English letters; anything else counts as rarer
_EVERYWHERE = b"info warning debug"  # what loggers put into each line
_BLOCK = 1 << 18  # bytes looked at together; what is made of them stays in the processor's cache
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_")


def spots(data: bytes) -> npt.NDArray[np.int64]:
    """Offsets, increasing, of three bytes that some word of training or of a crash has in it; a line without one has no such word.

    Upper and lower case are alike. Every word stands for the rarest three of its letters.
    """
    table = _table()
    text = np.frombuffer(data.lower(), dtype=np.uint8)
    out = [np.zeros(0, np.int64)]
    for start in range(0, len(text) - 2, _BLOCK):
        block = text[start : start + _BLOCK + 2].astype(np.uint32)
        found = np.flatnonzero(table[block[:-2] | block[1:-1] << np.uint32(8) | block[2:] << np.uint32(16)])
        out.append(found + start)
    return np.concatenate(out)


@cache
def _table() -> npt.NDArray[np.bool_]:
    """(2²⁴,) by three bytes, the first one lowest."""
    table = np.zeros(1 << 24, dtype=bool)
    for word in (*NEEDLES, *HINTS):
        text = word.encode()
        if len(text) > 2:
            table[_key(min((text[n : n + 3] for n in range(len(text) - 2)), key=_commonness))] = True
        else:  # "lr", which stands alone, and "^c"
            for before in range(256):
                table[_key(bytes((before, *text)))] |= before not in _WORD
    return table


def _key(three: bytes) -> int:
    return int.from_bytes(three, "little")


def _commonness(three: bytes) -> int:
    return 1000 * (three in _EVERYWHERE) + sum(len(_BY_FREQUENCY) - _BY_FREQUENCY.find(c) if c in _BY_FREQUENCY else 0 for c in three)
