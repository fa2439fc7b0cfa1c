"""Lines that can say nothing of training: what NCCL tells of its channels, and all but a few once a log has turned out to be mostly noise."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from postmortem.sources.logs.crash_rules import NEEDLES, is_suspicious
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.text.shapes import HINTS, MAX_LINE

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
        number = table.take(block[:-2] | block[1:-1] << np.uint32(8) | block[2:] << np.uint32(16))
        found = np.flatnonzero(number != 0)
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

    def place(self, offset: int) -> int:
        """Where in the text the line at an offset of `data` is."""
        block = bisect_right(self.begins, offset) - 1
        return self.places[block] + offset - self.begins[block] if block >= 0 else self.end


class Told:
    """Which lines of a noisy log may tell an event, each kind asked once."""

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self._known: dict[bytes, bool] = {}  # by their text without digits

    def ask(self, line: bytes, words: Sequence[str]) -> bool:
        """Of a line that has words of a crash in it."""
        key = line if any(word in _BY_NUMBER for word in words) else line.translate(None, _DIGITS)
        told = self._known.get(key)
        if told is None:
            self.effort.spent += A_MARK + A_MARK_BYTE * len(line)
            told = is_suspicious(line.decode("utf-8", "replace"), words)
            if len(self._known) < _MOST_KNOWN:
                self._known[key] = told
        return told

    def of(self, line: bytes) -> bool:
        """Of a line that was asked about, or had no word of a crash in it."""
        if len(self._known) >= _MOST_KNOWN:
            return is_suspicious(line.decode("utf-8", "replace"))
        return self._known.get(line.translate(None, _DIGITS), False) or self._known.get(line, False)


class Sieve:
    """A piece of text of which only the lines are read that have a word of training in them or may tell of a crash."""

    def __init__(self, data: bytes, told: Told) -> None:
        self.data, self._told = data, told
        self.words = Words(data)
        codes = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(codes == 10) + 1
        ends = ends if len(ends) and ends[-1] == len(data) else np.append(ends, len(data))
        self._bounds: Ints = np.concatenate(([0], ends))  # of the lines
        self._blank = ~np.logical_or.reduceat(codes > 32, self._bounds[:-1]) if len(codes) else np.zeros(0, bool)
        self._kept = np.zeros(len(ends), dtype=bool)
        self._kept[self._line_of(self.words.training)] = True
        last = np.flatnonzero(~self._blank)
        self._kept[last[-1:]] = True  # it may say that the run is over
        places, words = self.words.crash
        self._asked = list(zip(self._line_of(places).tolist(), words, strict=True))
        self._next = 0

    def part(self, start: int) -> Part:
        """The lines from the one at `start` on, up to one that may begin a traceback."""
        first = int(self._line_of(np.array([start]))[0])
        stop = self._opening(first) + 1
        kept = self._kept[first:stop].copy()
        blank = np.flatnonzero(self._blank[first:stop] & ~kept)
        runs = np.cumsum(kept)[blank]
        kept[blank[runs != np.append(-1, runs[:-1])]] = True  # one in each run of what is left out
        places, ends = self._blocks(kept, first)
        begins = [0, *accumulate(b - a for a, b in zip(places, ends, strict=True))][:-1]
        return Part(b"".join(self.data[a:b] for a, b in zip(places, ends, strict=True)), begins, places, int(self._bounds[stop]))

    def _line_of(self, places: Ints) -> Ints:
        found: Ints = np.searchsorted(self._bounds[1:], places, side="right")
        return found

    def _blocks(self, kept: npt.NDArray[np.bool_], first: int) -> tuple[list[int], list[int]]:
        """Where blocks of lines that are kept begin and end in the text."""
        inside = np.zeros(len(kept) + 2, dtype=bool)
        inside[1:-1] = kept
        bounds = self._bounds[np.flatnonzero(inside[1:] != inside[:-1]) + first].tolist()
        return bounds[::2], bounds[1::2]

    def _opening(self, first: int) -> int:
        """The first line from `first` on that may begin a traceback; the last line when none does. Lines before it that tell an event are kept."""
        while self._next < len(self._asked):
            line: int = self._asked[self._next][0]
            until = self._next
            while until < len(self._asked) and self._asked[until][0] == line:
                until += 1
            begin, end = self._bounds[line : line + 2].tolist()
            raw = self.data[begin : min(end, begin + MAX_LINE)].rstrip(b"\n")
            words = [word for _, word in self._asked[self._next : until]]
            self._next = until
            if line >= first and self._told.ask(raw, words):
                self._kept[line] = True
                if "traceback" in words or raw.endswith(b":"):
                    return line
        return len(self._bounds) - 2


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
