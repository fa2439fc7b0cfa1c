"""A file's pages looked at where the system caches them instead of copied out of there, which is half of what reading costs.

A map of a file that shrinks kills whoever touches it behind the new end (SIGBUS). So pages are mapped only under a read lease (fcntl(2),
`F_SETLEASE`, Linux): the system grants one while nobody has the file open for writing, and whoever opens it for writing or truncates it
afterwards waits until the lease is given back. It is held for one window at a time, and given back as soon as somebody waits and another
block, or the next tensor, is asked for: a training that overwrites its checkpoint is held up for milliseconds. Pages are brought in before
they are touched, so what cannot be read is an error and no signal.

Nothing is mapped, and the caller reads, where a lease is refused (a file of somebody else, or one that is being written), on file systems
other than those known to keep their files to one machine, and where pages are cached one by one, so that mapping them takes longer than
copying. What is left: a process that is stopped (not killed) in the middle of a window holds up a writer for as long as the system waits for a
lease (45 s), and does not survive being continued if the file was truncated then.
"""

import contextlib
import ctypes
import mmap
import os
import signal
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

if sys.platform == "linux":
    import fcntl

Raw = npt.NDArray[np.generic]
Identity = tuple[int, int]  # st_dev, st_ino

FROM = 1 << 20  # bytes of a tensor from which a lease is worth being taken
WINDOW = 64 << 20  # bytes that are mapped at once; the system's own work for one is as much as counting a mebibyte
WINDOWS = 16  # held at once at most
ALIGNED = 8  # bytes: elements, and the words that the compiled loops take, begin at a multiple of it
LOCAL = frozenset({"ext4", "xfs"})  # no other machine can shrink their files, and they cache in large pieces
DEAR = 25e-6 / (1 << 20)  # seconds of processor time per byte, 40 GB/s: where mapping takes longer, copying is as good
HICCUP = 200e-6  # seconds that mapping may take longer than that before it counts
_HUGE = 2 << 20  # bytes that one entry of the upper page table shows
_POPULATE_READ = 22  # MADV_POPULATE_READ (Linux 5.14)


class PageCache:
    """Looks at the cached pages of files; `close` when done. One per thread."""

    def __init__(self) -> None:
        self._held = 0
        self._kept: _Window | None = None  # for the next tensor, which often lies near
        self._mapping: dict[Identity, tuple[float, int]] = {}  # seconds and bytes so far

    def close(self) -> None:
        """Give back what is kept."""
        self._drop(self._kept)
        self._kept = None

    def give_way(self) -> None:
        """Give back what is kept if somebody waits for it."""
        if self._kept is not None and self._kept.wanted():
            self.close()

    def blocks(
        self, path: Path, descriptor: int, span: tuple[int, int], kind: np.dtype[np.generic], size: int, *, keep: bool = False
    ) -> Generator[Raw, None, int]:
        """An open file as arrays of `size` bytes (the last is shorter), for as long as its pages can be looked at; how many bytes those were.

        span : offset and number of bytes. An array is valid until the next one is asked for or the generator is closed; until then, whoever
        asks must not open the file for writing. With `keep` the window stays for what is asked for next, and so does this, until `close`.
        """
        self.give_way()
        offset, total = span
        if sys.platform != "linux" or total < FROM or offset % ALIGNED or self._held >= WINDOWS:
            return 0
        found = os.fstat(descriptor)
        same = (found.st_dev, found.st_ino)
        if _file_systems().get(found.st_dev) not in LOCAL:
            return 0
        window, self._kept = (self._kept, None) if keep else (None, self._kept)
        try:
            for start in range(0, total, most := max(WINDOW // size, 1) * size):
                length = min(most, total - start)
                if window is None or not window.shows(same, offset + start, length):
                    self._drop(window)
                    window = self._open(path, same, offset + start, length, reach=WINDOW if keep else 0)
                pages = self._pages(window, offset + start, length)
                if window is None or pages is None:
                    return start
                for at in range(0, length, size):
                    if at and window.wanted():
                        return start + at
                    yield pages[at : at + size].view(kind)
            if keep:
                self._kept, window = window, None
            return total
        finally:
            self._drop(window)

    def _dear(self, same: Identity) -> bool:
        seconds, nbytes = self._mapping.get(same, (0.0, 0))
        return seconds > HICCUP + DEAR * nbytes

    def _open(self, path: Path, same: Identity, offset: int, length: int, *, reach: int) -> "_Window | None":
        """A window on these bytes of a file, and on what lies behind them up to `reach` bytes; None where it cannot be had."""
        if self._dear(same):
            return None
        try:
            own = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a lease is that of an opening: no two share one
        except OSError:
            return None
        try:
            fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGURG)  # who waits is told of by a signal that is ignored, instead of SIGIO, which kills
            fcntl.fcntl(own, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(own, fcntl.F_SETOWN, 0)  # and better by none
            now = os.fstat(own)
            if (now.st_dev, now.st_ino) == same and now.st_size >= offset + length:  # not replaced since, nor cut
                low = offset // _HUGE * _HUGE
                high = min(-(-(offset + max(length, reach)) // _HUGE) * _HUGE, now.st_size)
                pages = np.frombuffer(mmap.mmap(own, high - low, access=mmap.ACCESS_COPY, offset=low), np.uint8)
                self._held += 1
                return _Window(own, same, low, pages)
        except (OSError, ValueError):
            pass
        _give_back(own)
        return None

    def _pages(self, window: "_Window | None", offset: int, length: int) -> Raw | None:
        """These bytes, all of them in memory; None where they cannot be brought there, or only as slowly as by copying."""
        if window is None or self._dear(window.same):
            return None
        start = time.thread_time()
        wanted = window.pages[offset - window.offset : offset - window.offset + length]
        head = wanted.ctypes.data % mmap.PAGESIZE
        failed = _advise()(wanted.ctypes.data - head, length + head, _POPULATE_READ)
        seconds, nbytes = self._mapping.get(window.same, (0.0, 0))
        self._mapping[window.same] = (seconds + time.thread_time() - start, nbytes + length)
        return None if failed else wanted

    def _drop(self, window: "_Window | None") -> None:
        if window is not None:
            self._held -= 1
            _give_back(window.own)


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a file that is mapped under a lease. The map goes when the last array that shows a part of it does.

    It is private and writable (what is written goes to a copy of the page), as the compiled loops ask for.
    """

    own: int  # the file, opened for this
    same: Identity
    offset: int
    pages: npt.NDArray[np.uint8]

    def shows(self, same: Identity, offset: int, length: int) -> bool:
        return same == self.same and self.offset <= offset and offset + length <= self.offset + len(self.pages)

    def wanted(self) -> bool:
        """Somebody waits for the lease."""
        return fcntl.fcntl(self.own, fcntl.F_GETLEASE) != fcntl.F_RDLCK


def _give_back(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # there was none
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(descriptor)


@cache
def _advise() -> "ctypes._NamedFuncPointer":
    """madvise(2): Python's own keeps the interpreter locked while a disk is read."""
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return advise


@cache
def _file_systems() -> dict[int, str]:
    """The type of each mounted file system, by device."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            fields, _, kind = line.partition(" - ")
            major, _, minor = fields.split(" ")[2].partition(":")
            found[os.makedev(int(major), int(minor))] = kind.split(" ")[0]
    return found
