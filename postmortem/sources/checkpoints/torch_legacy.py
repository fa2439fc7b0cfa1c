"""Streams of pickles: what `torch.save` wrote before torch 1.6, and plain `pickle.dump`.

torch's stream: the magic number, the protocol (1001), a dict about the machine, the saved value, the list of storage keys, then for
each key eight bytes with its number of elements and the elements (`torch/serialization.py`, `_legacy_save`).
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints.placing import Place
from postmortem.sources.pickles import Pickled, read_pickle
from postmortem.sources.pickles.rebuild import ITEM_SIZES
from postmortem.sources.pickles.records import DEFAULT_LIMITS, Limits, Storage

MAGIC = 0x1950A86A20F9469CFC6C
_MOST_BEHIND = 16  # pickles behind the first
_FIRST_WINDOW = 4 << 20  # bytes
_RNG = re.compile(r"^(?:rng_state|random_states?)(?:_?\d+)*\.(?:pth|pkl|pt|bin)$")
Read = Callable[[int, int], bytes]


def is_rng_state(name: str) -> bool:
    """True for the random number generators' states that transformers and accelerate save beside a checkpoint."""
    return _RNG.match(name.lower()) is not None


def rng_detail() -> Sentence:
    """Why they are left out."""
    return say("states of random number generators are not needed")


@dataclass(slots=True)
class Stream:
    """A pickle and where the storages lie that follow it."""

    pickled: Pickled
    file: str
    offsets: dict[str, tuple[int, int]]  # key → (first byte, bytes that are there)
    truncated: bool = False
    big_endian: bool = False
    dangerous: tuple[str, ...] = ()

    def locate(self, storage: Storage) -> Place | None:
        """Where a storage's bytes are; a view of another one starts within it."""
        place = self.offsets.get(storage.key)
        item = ITEM_SIZES.get(storage.dtype, 1)
        claimed = storage.count * item
        if place is None:
            return Place(self.file, 0, 0, missing=claimed) if self.truncated else None
        start, there = place
        if storage.view is not None:
            first, length = storage.view
            start, there, claimed = start + first * item, max(0, min(there - first * item, length * item)), length * item
        there = min(there, claimed) if claimed else there
        return Place(self.file, start, there, missing=claimed - there if self.truncated else 0)


def read_stream(read: Read, size: int, file: str = "", limits: Limits = DEFAULT_LIMITS) -> Stream | None:
    """Interpret a stream; `read(offset, n)` gives its bytes. None when there is no pickle at its start.

    A plain pickle is a stream of one, with no storages behind it; of pickles that follow only what is dangerous is told.
    """
    first, at, dangerous = _pickle(read, 0, size, limits)
    if first.value != MAGIC or isinstance(first.value, bool):
        dangerous += _behind(read, at, size, limits) if first.problem is None else ()
        nothing = first.value is None and first.problem is not None and first.end < 16
        return (
            None
            if nothing and size > 16 and not first.dangerous
            else Stream(first, file, {}, first.problem is not None and first.end >= size, False, dangerous)
        )
    little, value = True, first
    for part in ("protocol", "machine", "value"):
        value, length, more = _pickle(read, at, size, limits)
        at += length
        dangerous = dangerous + more
        if part == "machine" and isinstance(value.value, dict):
            little = value.value.get("little_endian") is not False
        if value.problem is not None:
            return Stream(value, file, {}, at >= size, not little, dangerous)
    keys, length, more = _pickle(read, at, size, limits)
    at += length
    stream = Stream(value, file, {}, keys.problem is not None, not little, dangerous + more)
    items = {s.key: ITEM_SIZES.get(s.dtype, 1) for s in value.storages}
    for key in keys.value if isinstance(keys.value, list) else ():
        head = read(at, 8)
        if not isinstance(key, str) or len(head) < 8 or key not in items:
            stream.truncated = stream.truncated or len(head) < 8
            break
        (count,) = struct.unpack("<q" if little else ">q", head)
        nbytes = count * items[key]
        if count < 0:
            break
        stream.offsets[key] = (at + 8, max(0, min(nbytes, size - at - 8)))
        at += 8 + nbytes
        if at > size:
            stream.truncated = True
            break
    return stream


def _behind(read: Read, at: int, size: int, limits: Limits) -> tuple[str, ...]:
    """What is dangerous in further pickles, which someone may load one after the other."""
    found: tuple[str, ...] = ()
    for _ in range(_MOST_BEHIND):
        if at >= size or read(at, 1) != b"\x80":
            break
        pickled, length, more = _pickle(read, at, size, limits)
        found += more
        if pickled.problem is not None:
            break
        at += length
    return found


def _pickle(read: Read, at: int, size: int, limits: Limits) -> tuple[Pickled, int, tuple[str, ...]]:
    """The pickle at an offset and its length; looks at growing windows, so that gigabytes of storages behind it are not read."""
    window = _FIRST_WINDOW
    while True:
        data = read(at, min(window, size - at, limits.size))
        pickled = read_pickle(data, limits=limits)
        if pickled.problem is None or pickled.end < len(data) - 16 or len(data) >= min(size - at, limits.size):
            if pickled.problem is not None and len(data) < size - at and pickled.end >= len(data) - 16:
                pickled = replace(pickled, problem=say("the pickle is longer than {limit:,} bytes; the rest was not read", limit=len(data)))
            return pickled, pickled.end, pickled.dangerous
        window *= 8
