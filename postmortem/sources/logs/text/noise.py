"""Lines that can say nothing of training: what NCCL tells of its channels, and all but a few once a log has turned out to be mostly noise."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from postmortem.sources.logs.crash_rules import NEEDLES, is_suspicious
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.text.shapes import HINTS

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_BY_FREQUENCY = b"etaoinshrdlcumwfgypbvkjxqz"  # of English letters; anything else counts as rarer
_EVERYWHERE = b"info warning debug"  # what loggers put into each line
_BLOCK = 1 << 18  # bytes looked at together; what is made of them stays in the processor's cache
A_MARK, A_MARK_BYTE = 10.0, 0.1  # what is paid for a look at a line that may tell an event (see `effort`)
CHATTER = b"NCCL INFO"  # of a library that sets up its connections: thousands of lines, none an event
_CHATTER = re.compile(rb"(?:[^\nN]*+(?:N(?!CCL INFO)[^\nN]*+)*+NCCL INFO[^\n]*+\n)++")
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_")
_BY_NUMBER = ("exit_status", "exit status")  # whether a line with such a word tells an event depends on its number
_DIGITS = b"0123456789"
_MOST_KNOWN = 20_000  # lines that were asked whether they tell an event


class Words:
    """Where the words of training and of a crash are in a piece of text. Upper and lower case are alike."""

    def __init__(self, data: bytes) -> None:
        text = np.frombuffer(b"\n" + data.lower() + b"\n", dtype=np.uint8)  # no word begins or ends outside
        training: list[Ints] = [np.zeros(0, np.int64)]
        self._crash: list[tuple[Ints, str]] = []
        for word, begins in _spots(text):
            found = _of_word(text, word.encode(), begins) - 1
            if word in HINTS:
                training.append(found)
            if word in NEEDLES and len(found):
                self._crash.append((found, word))
        self.training: Ints = np.sort(np.concatenate(training))

    @cached_property
    def crash(self) -> tuple[Ints, list[str]]:
        """Offsets, increasing, and the words there."""
        if not self._crash:
            return np.zeros(0, np.int64), []
        places = np.concatenate([found for found, _ in self._crash])
        words = [word for found, word in self._crash for _ in range(len(found))]
        order = np.argsort(places, kind="stable")
        return places[order], [words[n] for n in order.tolist()]


def _spots(text: Bytes) -> Iterator[tuple[str, Ints]]:
    """Words and where each may begin, increasing: wherever three bytes are that stand for it, the rarest three of its letters."""
    groups, table = _words()
    places, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.uint8)]
    for start in range(0, len(text) - 2, _BLOCK):
        block = text[start : start + _BLOCK + 2].astype(np.uint32)
        number = table[block[:-2] | block[1:-1] << np.uint32(8) | block[2:] << np.uint32(16)]
        found = np.flatnonzero(number)
        places.append(found + start)
        numbers.append(number[found])
    place, number = np.concatenate(places), np.concatenate(numbers)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(1, len(groups) + 2)).tolist()
    for group, (begin, end) in zip(groups, pairwise(bounds), strict=True):
        if begin < end:
            yield from ((word, place[order[begin:end]] - behind) for word, behind in group)


def _of_word(text: Bytes, word: bytes, begins: Ints) -> Ints:
    """Those of the places at which a word begins; of one of two letters, "lr", only where it stands alone."""
    begins = begins[(begins >= 0) & (begins + len(word) < len(text))]
    for n, letter in enumerate(word):
        begins = begins[text[begins + n] == letter]
    return begins[~_in_words()[text[begins + len(word)]]] if word == b"lr" else begins


class Part(NamedTuple):
    """What is left of some lines without noise."""

    data: bytes
    begins: list[int]  # of its blocks of lines, in `data`
    places: list[int]  # where those begin in the text
    end: int  # of the lines, in the text
    told: int  # where, in `data`, the line begins that may tell an event; at its end when none does

    def place(self, offset: int) -> int:
        """Where in the text the line at an offset of `data` is."""
        block = bisect_right(self.begins, offset) - 1
        return self.places[block] + offset - self.begins[block] if block >= 0 else self.end


class Sieve:
    """A piece of text of which only the lines are read that have a word of training in them or may tell of a crash."""

    def __init__(self, data: bytes, effort: Effort, told: dict[bytes, bool]) -> None:
        self.data, self.effort, self._told = data, effort, told
        self.words = Words(data)
        codes = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(codes == 10) + 1
        self._ends: Ints = ends if len(ends) and ends[-1] == len(data) else np.append(ends, len(data))
        starts = np.concatenate(([0], self._ends[:-1]))
        self._blank = ~np.logical_or.reduceat(codes > 32, starts) if len(codes) else np.zeros(0, bool)
        self._kept = np.zeros(len(starts), dtype=bool)
        self._kept[np.searchsorted(self._ends, self.words.training, side="right")] = True
        last = np.flatnonzero(~self._blank)
        self._kept[last[-1:]] = True  # it may say that the run is over
        places, words = self.words.crash
        self._asked = list(zip(np.searchsorted(self._ends, places, side="right").tolist(), words, strict=True))
        self._next = 0

    def part(self, start: int) -> Part:
        """The lines from the one at `start` on up to one that may tell an event."""
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = self._event(first)
        stop = min(last + 1, len(self._ends))
        kept = self._kept[first:stop].copy()
        kept[last - first : last - first + 1] = True
        blank = np.flatnonzero(self._blank[first:stop] & ~kept)
        runs = np.cumsum(kept)[blank]
        kept[blank[np.flatnonzero(np.diff(runs, prepend=-1))]] = True  # one in each run of what is left out
        edges = np.flatnonzero(np.diff(kept.astype(np.int8), prepend=0, append=0)) + first
        bounds = np.concatenate(([0], self._ends))[edges].tolist()
        places, ends = bounds[::2], bounds[1::2]
        begins = np.concatenate(([0], np.cumsum(np.array(ends, dtype=np.int64) - np.array(places, dtype=np.int64)))).tolist()[:-1]
        left = b"".join(self.data[a:b] for a, b in zip(places, ends, strict=True))
        end = int(self._ends[stop - 1]) if stop else start
        event = end - int(self._ends[last - 1]) * (last > 0) if last < stop else 0  # bytes of the line
        return Part(left, begins, places, end, len(left) - event)

    def _event(self, first: int) -> int:
        """The first line from `first` on that may tell an event; the number of lines when none does."""
        while self._next < len(self._asked):
            line: int = self._asked[self._next][0]
            until = self._next
            while until < len(self._asked) and self._asked[until][0] == line:
                until += 1
            if line >= first and self._tells(line, [word for _, word in self._asked[self._next : until]]):
                return line
            self._next = until
        return len(self._ends)

    def _tells(self, line: int, words: list[str]) -> bool:
        begin, end = int(self._ends[line - 1]) if line else 0, int(self._ends[line])
        raw = self.data[begin : min(end, begin + 4_000)]
        bare = raw.translate(None, _DIGITS)
        told = self._told.get(bare)
        if told is None:
            self.effort.spent += A_MARK + A_MARK_BYTE * len(raw)
            told = is_suspicious(raw.decode("utf-8", "replace"), words)
            if not any(word in _BY_NUMBER for word in words):
                if len(self._told) >= _MOST_KNOWN:
                    self._told.clear()
                self._told[bare] = told
        return told


def past_chatter(data: bytes, start: int, marks: Ints) -> int:
    """Where the lines of NCCL end that begin at `start`, before the first one with a word of training in it."""
    here = int(np.searchsorted(marks, start))
    until = data.rfind(b"\n", start, int(marks[here])) + 1 if here < len(marks) else len(data)
    run = _CHATTER.match(data, start, until) if until > start else None
    return run.end() if run else start


@cache
def _words() -> tuple[tuple[tuple[tuple[str, int], ...], ...], npt.NDArray[np.uint8]]:
    """What three bytes may stand for: groups of words, each with how far into it the three are, and (2²⁴,) by three bytes, the first one
    lowest, which group it is, from 1 on; 0 for those that no word stands for."""
    stands: dict[bytes, set[tuple[str, int]]] = {}
    for word in (*NEEDLES, *HINTS):
        for three, behind in _rarest(word.encode()):
            stands.setdefault(three, set()).add((word, behind))
    groups = list(dict.fromkeys(tuple(sorted(group)) for group in stands.values()))
    table = np.zeros(1 << 24, dtype=np.uint8)
    for three, group in stands.items():
        table[int.from_bytes(three, "little")] = 1 + groups.index(tuple(sorted(group)))
    return tuple(groups), table


def _rarest(word: bytes) -> list[tuple[bytes, int]]:
    """The three bytes that stand for a word and how far into it they are; of "lr", which stands alone, and "^c" whatever may come before."""
    if len(word) < 3:
        return [(bytes((before, *word)), -1) for before in range(256) if before not in _WORD]
    return [min(((word[n : n + 3], n) for n in range(len(word) - 2)), key=lambda one: _commonness(one[0]))]


@cache
def _in_words() -> npt.NDArray[np.bool_]:
    """(256,) whether a byte is part of a word."""
    return np.isin(np.arange(256), list(_WORD))


def _commonness(three: bytes) -> int:
    return 1000 * (three in _EVERYWHERE) + sum(len(_BY_FREQUENCY) - _BY_FREQUENCY.find(c) if c in _BY_FREQUENCY else 0 for c in three)
