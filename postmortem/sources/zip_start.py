"""The beginning of a zip file's directory: `zipfile` makes an object of every member, half a kilobyte each, before anyone may count them.

A file whose directory is longer than asked for is shown with a directory that ends earlier; the members themselves stay where they are.
Format: PKWARE APPNOTE 6.3, sections 4.3.12 (central directory) and 4.3.14-16 (its ends).
"""

import io
import os
import struct
from typing import BinaryIO, cast

from postmortem.sources.checkpoints.zip_directory import Window, extent

_CENTRAL_MAGIC = b"PK\x01\x02"
_LENGTHS = struct.Struct("<HHH")  # of name, extra field and comment, 28 bytes into an entry
_ENTRY = 46  # bytes of an entry without those
_ENDS = struct.Struct("<IQHHIIQQQQ IIQI IHHHHIIH")


class _Shown(io.RawIOBase):
    """The first `size` bytes of a file, and others in place of what follows."""

    def __init__(self, file: BinaryIO, size: int, end: bytes) -> None:
        self._file, self._size, self._end, self._at = file, size, end, 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at < self._size:
            data = os.pread(self._file.fileno(), min(len(buffer), self._size - self._at), self._at)
        else:
            data = self._end[self._at - self._size :][: len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size + len(self._end))[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def shortened(file: BinaryIO, most: int) -> BinaryIO:
    """`file` itself, or a view of it in which the directory has its first `most` entries only."""
    window = Window(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    found = extent(window)
    if found is None or found[0] <= most:
        return file
    _, length, start = found
    at, count, data = start, 0, b""
    low = start  # where `data` begins
    while count < most and at < start + length:
        if at + _ENTRY > low + len(data):
            low, data = at, window.read(min(1 << 20, start + length - at), at)
            if len(data) < _ENTRY:
                break
        if data[at - low : at - low + 4] != _CENTRAL_MAGIC:
            return file  # nothing that can be counted: zipfile says what is wrong with it
        at += _ENTRY + sum(_LENGTHS.unpack_from(data, at - low + 28))
        count += 1
    end = min(at, start + length)
    ends = _ENDS.pack(
        0x06064B50, 44, 45, 45, 0, 0, count, count, end - start, start,
        0x07064B50, 0, end, 1,
        0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0,
    )  # fmt: skip
    return cast(BinaryIO, io.BufferedReader(_Shown(file, end, ends)))
