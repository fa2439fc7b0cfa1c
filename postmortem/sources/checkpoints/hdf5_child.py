"""Lists HDF5 files in a process of its own, with limits, because the HDF5 library is C code that trusts its input.

Run as a script: JSON lines on standard input name the files, one answer each goes to standard output: 8 bytes of length,
JSON, 8 bytes of length, the bytes of tensors that have no place of their own in the file. Nothing but h5py is imported.

Refused: external links, soft links, virtual data sets, external storage, plug-in filters. A hard link is followed once.
"""

import io
import json
import os
import re
import resource
import signal
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

SECONDS = 7.0  # of processor time for one file, on which the library may walk in circles
LATEST = 60  # seconds of the clock for one file
ENOUGH = 3.0  # seconds of processor time after which no further object is listed
MEMORY = 4 << 30  # bytes of address space; the libraries alone map more than one
OUTPUT = 1 << 30  # bytes
MOST_OBJECTS = 200_000
DEEPEST = 40
MOST_INLINE = 256 << 20  # bytes of one file
LARGEST_ATTRIBUTE = 16 << 20
LARGEST_UNPACKED = 1 << 30  # bytes of a deflated member of a zip file
_MEGABYTE = 1 << 20


def main() -> None:
    """Answer until standard input ends."""
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, OUTPUT), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 64)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        import h5py
    except ImportError:
        _answer({"missing": "h5py"}, b"")
        return
    for line in sys.stdin:
        signal.alarm(LATEST)  # the default action ends the process: the caller sees which file it was
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        job = json.loads(line)
        blob = bytearray()
        try:
            answer = _list(h5py, job, blob)
        except Exception as error:  # whatever the library says about a file is an answer
            answer, blob = {"error": f"{type(error).__name__}: {error}"[:300]}, bytearray()
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _answer(answer, bytes(blob))


def _answer(answer: dict[str, Any], blob: bytes) -> None:
    text = json.dumps(answer).encode()
    for part in (text, blob):
        sys.stdout.buffer.write(struct.pack("<Q", len(part)))
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


class _Part(io.RawIOBase):
    """A stretch of a file as a file: a member that a zip archive stores as it is."""

    def __init__(self, handle: int, start: int, size: int, padded: int = 0) -> None:
        self._handle, self._start, self._there, self._size, self._at = handle, start, size, max(size, padded), 0

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self._size - self._at))
        there = min(wanted, max(0, self._there - self._at))
        data = os.pread(self._handle, there, self._start + self._at).ljust(wanted, b"\0")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _list(h5py: Any, job: dict[str, Any], blob: bytearray) -> dict[str, Any]:
    """Objects of one file. `job`: path, start and size of the HDF5 bytes in it, packed (deflated bytes) or None."""
    handle = os.open(job["path"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        start = job["start"]
        if job["packed"] is not None:
            source: Any = io.BytesIO(_unpacked(handle, start, job["packed"]))
            start = -1
        else:
            source = _Part(handle, start, job["size"])
        try:
            with h5py.File(source, "r", driver="fileobj", locking=False) as file:
                return _walk(h5py, file, start, blob)
        except OSError as error:
            # A file that is cut: with zeros for what is missing, its directory can often still be read.
            whole = re.search(r"truncated file: eof = \d{1,18}, sblock->base_addr = \d{1,18}, stored_eof = (\d{1,15})", str(error))
            if not whole or job["packed"] is not None:
                raise
        with h5py.File(_Part(handle, start, job["size"], int(whole[1])), "r", driver="fileobj", locking=False) as file:
            answer = _walk(h5py, file, start, blob, job["size"])
            return {**answer, "cut": int(whole[1]) - job["size"]}
    finally:
        os.close(handle)


def _unpacked(handle: int, start: int, packed: int) -> bytes:
    unpacker, out, at = zlib.decompressobj(-15), bytearray(), 0
    while at < packed and not unpacker.eof:
        piece = os.pread(handle, min(packed - at, _MEGABYTE), start + at)
        if not piece:
            break
        at += len(piece)
        out += unpacker.decompress(piece, LARGEST_UNPACKED + 1 - len(out))
        if len(out) > LARGEST_UNPACKED:
            raise ValueError("it unpacks to more than a gigabyte")
    return bytes(out)


def _walk(h5py: Any, file: Any, start: int, blob: bytearray, cut: int | None = None) -> dict[str, Any]:
    """Groups and data sets. `cut`: bytes that are really there, None when all are."""
    groups: list[dict[str, Any]] = []
    datasets: list[dict[str, Any]] = []
    refused: list[str] = []
    notes: list[str] = []
    seen: set[int] = set()
    stack: list[tuple[str, Any, int]] = [("", file, 0)]
    ends = time.process_time() + ENOUGH
    listed = True
    while stack and listed:
        path, group, depth = stack.pop()
        address = int(h5py.h5o.get_info(group.id).addr)
        if address in seen:
            continue
        seen.add(address)
        groups.append({"path": path, "address": address, "attributes": _attributes(h5py, group)})
        for name in _names(group, notes):
            listed = len(groups) + len(datasets) + len(refused) < MOST_OBJECTS and time.process_time() < ends
            if not listed:
                break
            below = f"{path}/{name}" if path else name
            try:
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    refused.append(f"{'external link' if isinstance(link, h5py.ExternalLink) else 'link'} {below}")
                    continue
                item = group[name]
                if isinstance(item, h5py.Group):
                    if depth < DEEPEST:
                        stack.append((below, item, depth + 1))
                elif isinstance(item, h5py.Dataset):
                    _dataset(below, item, start, blob, datasets, refused, cut)
                    if datasets and datasets[-1]["path"] == below:
                        datasets[-1]["address"] = int(h5py.h5o.get_info(item.id).addr)
            except Exception as error:  # one damaged object leaves the others
                notes.append(f"{below}: {type(error).__name__}: {error}"[:300])
    return {"groups": groups, "datasets": datasets, "refused": refused[:100], "notes": notes[:100], "listed": listed}


def _names(group: Any, notes: list[str]) -> Iterator[str]:
    try:
        yield from group
    except Exception as error:  # a damaged directory of the group
        notes.append(f"{type(error).__name__}: {error}"[:300])


def _attributes(h5py: Any, item: Any) -> dict[str, Any]:
    """Attributes that are text, lists of text, or a number."""
    out: dict[str, Any] = {}
    for count, name in enumerate(item.attrs):
        if count >= 64:
            break
        try:
            if h5py.h5a.open(item.id, name.encode()).get_storage_size() > LARGEST_ATTRIBUTE:
                continue
            out[name] = _plain(item.attrs[name])
        except Exception:  # noqa: S112 - an attribute that cannot be read says nothing
            continue
    return {name: value for name, value in out.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str | int | float | bool):
        return value
    tolist: Callable[[], Any] | None = getattr(value, "tolist", None)
    listed = tolist() if tolist else None
    if isinstance(listed, list):
        return [_plain(item) for item in listed] if len(listed) <= 100_000 and all(isinstance(i, str | bytes) for i in listed) else None
    return _plain(listed) if listed is not None and not hasattr(listed, "tolist") else None


def _dataset(path: str, item: Any, start: int, blob: bytearray, out: list[dict[str, Any]], refused: list[str], cut: int | None) -> None:
    if item.is_virtual or item.external:
        refused.append(f"data of another file {path}")
        return
    kind = item.dtype
    if item.shape is None or kind.kind not in "fiub" or kind.itemsize > 8 or kind.subdtype is not None:
        out.append({"path": path, "dtype": "", "shape": list(item.shape or ()), "offset": -1, "nbytes": 0})
        return
    size = int(kind.itemsize)
    for extent in item.shape:
        size *= int(extent)
    entry = {"path": path, "dtype": str(kind.newbyteorder("=")), "shape": [int(n) for n in item.shape], "nbytes": size, "offset": -1}
    offset = item.id.get_offset() if item.chunks is None else None
    if cut is not None and (offset is None or offset + size > cut or kind.byteorder == ">"):
        out.append(entry)  # what is missing would read as zeros
        return
    if not item.shape:
        value = item[()]
        entry["value"] = float(value)
    if offset is not None and start >= 0 and kind.byteorder in "=<|" and item.id.get_storage_size() == size:
        entry["offset"] = int(offset)
    elif len(blob) + size <= MOST_INLINE:
        entry["inline"] = len(blob)
        blob += item[()].astype(kind.newbyteorder("<")).tobytes()
    out.append(entry)


if __name__ == "__main__":
    main()
