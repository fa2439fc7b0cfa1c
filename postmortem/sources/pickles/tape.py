"""What a pickle machine works on: the bytes with a place in them, the stacks, the memo, and the bounds of all of them."""

from postmortem.model.sentence import Sentence, say
from postmortem.sources.pickles.calls import Calls
from postmortem.sources.pickles.records import Limits, Storage


class HaltError(Exception):
    """The machine stops here; the reason becomes the result's `problem`."""

    def __init__(self, reason: Sentence) -> None:
        super().__init__()
        self.reason = reason


class Tape:
    """The state of one interpretation. Every length is compared with the bytes that are left before anything is taken."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.pos = 0
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.height = 0  # values in `marks`
        self.memo: dict[int, object] = {}
        self.work = limits.work
        self.decoded = 0
        self.frame = 0  # where the frame that was opened last ends
        self.odd_keys = 0
        self.omitted = 0
        self.calls = Calls(self._charge)
        self.storages: list[Storage] = []
        self.value: object = None

    def _check(self, work: int) -> None:
        if work - (self.limits.work - self.work) <= 0:
            raise HaltError(say("the pickle has more than {limit:,} instructions; the rest was not read", limit=self.limits.work))
        if self.height + len(self.stack) + len(self.marks) > self.limits.stack:
            raise HaltError(say("the pickle stacks more than {limit:,} values; the rest was not read", limit=self.limits.stack))
        if len(self.memo) > self.limits.memo:
            raise HaltError(say("the pickle remembers more than {limit:,} values; the rest was not read", limit=self.limits.memo))

    def _charge(self, items: int, decoded: int = 0) -> None:
        """Pay for work that one instruction can repeat without paying bytes."""
        self.work -= items
        self.decoded += decoded
        if self.work <= 0 or self.decoded > self.limits.decoded:
            raise HaltError(say("the pickle expands to far more than its size; the rest was not read"))

    def _take(self, n: int) -> bytes:
        if n > len(self.data) - self.pos or n < 0:
            raise HaltError(self._cut())
        start = self.pos
        self.pos = start + n
        if start < self.frame < self.pos:
            self._straddled()
        return self.data[start : start + n]

    def _line(self, longest: int = 1 << 20) -> bytes:
        end = self.data.find(b"\n", self.pos, self.pos + longest + 1)
        if end < 0:
            raise HaltError(self._cut())
        line = self.data[self.pos : end]
        if self.pos < self.frame <= end:
            self._straddled()
        self.pos = end + 1
        return line

    def _straddled(self) -> None:
        """An argument goes beyond the end of its frame: interpreters disagree where the next instruction begins, so that one may be hidden."""
        self.calls.named("pickle", "FRAME")

    def _cut(self) -> Sentence:
        return say("the pickle ends in the middle of an instruction, at byte {at}", at=len(self.data))

    def _why_index(self) -> Sentence:
        if self.pos >= len(self.data):
            return say("the pickle ends before its end marker, at byte {at}", at=len(self.data))
        return say("the pickle holds an instruction that makes no sense, at byte {at}", at=self.pos)

    def _pop_mark(self) -> list[object]:
        items = self.stack
        self.stack = self.marks.pop()
        self.height -= len(self.stack)
        return items
