"""What HDF5 files hold, listed by one limited child process for all such files of a directory."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from postmortem.model.run import TensorRef
from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints.placing import in_order

MAGIC = b"\x89HDF\r\n\x1a\n"
_CHILD = Path(__file__).with_name("hdf5_child.py")
_SECONDS = 120  # for one child with all its files
_LARGEST_ANSWER = 256 << 20  # bytes of JSON
_LARGEST_BLOB = 512 << 20
_MOST_CRASHES = 8  # children started again for the files behind one on which the library crashed
_PATIENCE = 12.0  # seconds after which none is started again: two files on which it walked in circles


@dataclass(frozen=True, slots=True)
class Job:
    """One file to list: HDF5 bytes at `start` of `path`; `packed` bytes of deflate stream there when not None."""

    path: str
    start: int
    size: int
    packed: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    path: str
    address: int  # of its header in the file: grows in the order of writing, but for holes that are filled later
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listing:
    """What one file holds."""

    groups: tuple[Group, ...] = ()  # parents before children
    tensors: Mapping[str, TensorRef] = field(default_factory=lambda: MappingProxyType({}))  # by path in the file
    values: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # of data sets that are one number
    addresses: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # of the headers of data sets, by path
    others: int = 0  # data sets that hold no numbers
    refused: tuple[str, ...] = ()
    problem: Sentence | None = None
    failed: bool = False
    cut: bool = False  # bytes that the file's own header counts on are missing

    def attributes(self, path: str) -> Mapping[str, Any]:
        """Attributes of a group, empty when there is no such group."""
        return next((g.attributes for g in self.groups if g.path == path), {})


def listings(jobs: Sequence[Job], file: Mapping[str, str]) -> dict[Job, Listing]:
    """List files. `file` maps a job's path to the run-relative path that references carry. Never raises about a file."""
    out: dict[Job, Listing] = {}
    rest = list(jobs)
    ends = time.monotonic() + _PATIENCE
    for _ in range(_MOST_CRASHES):
        answers = list(_ask(rest))
        for job, (answer, blob) in zip(rest, answers, strict=False):
            out[job] = _listing(answer, blob, job, file[job.path])
        rest = rest[len(answers) :]
        if not rest:
            break
        if any(listing.problem is _MISSING for listing in out.values()):
            out.update(dict.fromkeys(rest, Listing(problem=_MISSING, failed=True)))
            return out
        out[rest[0]] = Listing(problem=say("the HDF5 library gave up on it: it crashed, or took too long or too much memory"), failed=True)
        rest = rest[1:]
        if not rest or time.monotonic() > ends:
            break
    out.update(dict.fromkeys(rest, Listing(problem=say("it was not opened: the HDF5 library crashed on other files of this directory"), failed=True)))
    return out


_MISSING = say("HDF5 files need the package h5py: pip install h5py")


def _ask(jobs: Sequence[Job]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The child's answers, in order; fewer than jobs when it ended before."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HDF5_", "H5"))}
    environment |= {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    lines = "".join(json.dumps({"path": j.path, "start": j.start, "size": j.size, "packed": j.packed}) + "\n" for j in jobs)
    with tempfile.TemporaryFile() as out:
        with suppress(subprocess.TimeoutExpired, OSError):
            # -P: the script's own directory holds modules that are called like libraries
            command = [sys.executable, "-P", str(_CHILD)]
            subprocess.run(  # noqa: S603 - a constant command
                command, input=lines.encode(), stdout=out, stderr=subprocess.DEVNULL, env=environment, timeout=_SECONDS, check=False
            )
        out.seek(0)
        while True:
            text = _piece(out, _LARGEST_ANSWER)
            blob = _piece(out, _LARGEST_BLOB) if text is not None else None
            if text is None or blob is None:
                return
            try:
                answer = json.loads(text)
            except (ValueError, RecursionError):
                return
            if not isinstance(answer, dict):
                return
            yield answer, blob


def _piece(out: IO[bytes], largest: int) -> bytes | None:
    head = out.read(8)
    if len(head) < 8:
        return None
    (length,) = struct.unpack("<Q", head)
    if length > largest:
        return None
    data = out.read(length)
    return data if len(data) == length else None


def _listing(answer: dict[str, Any], blob: bytes, job: Job, file: str) -> Listing:
    if "missing" in answer:
        return Listing(problem=_MISSING, failed=True)
    if "error" in answer:
        why = str(answer["error"])
        cut = "truncated" in why
        reason = say("the file is cut: it is shorter than its header says") if cut else say("the HDF5 library refuses it: {why}", why=why)
        return Listing(problem=reason, failed=True, cut=cut)
    tensors: dict[str, TensorRef] = {}
    values: dict[str, float] = {}
    addresses: dict[str, int] = {}
    others = large = 0
    for entry in answer["datasets"]:
        path, dtype, shape, offset, size = entry["path"], entry["dtype"], tuple(entry["shape"]), entry["offset"], entry["nbytes"]
        addresses[path] = int(entry.get("address", 0))
        if "value" in entry:
            values[path] = entry["value"]
        if not dtype:
            others += 1
        elif "inline" in entry:
            data = blob[entry["inline"] : entry["inline"] + size]
            tensors[path] = TensorRef(path, file, 0, dtype, shape, in_order(shape), size, inline=data)
        elif offset >= 0 and offset + size <= job.size:
            tensors[path] = TensorRef(path, file, job.start + offset, dtype, shape, in_order(shape), size)
        else:
            large += 1
    notes = [str(note) for note in answer["notes"]]
    problem: Sentence | None = None
    if answer.get("cut"):
        problem = say("the file is cut: {missing:,} bytes are missing, and with them {n} tensors", missing=int(answer["cut"]), n=large + len(notes))
    elif not answer["listed"]:
        problem = say("it holds more objects than can be listed in good time: {n:,} data sets were", n=len(answer["datasets"]))
    elif notes:
        problem = say("{n} objects in it are damaged, the first: {why}", n=len(notes), why=notes[0])
    elif large:
        problem = say("{n} data sets are too large to be unpacked in memory, or lie outside of the file", n=large)
    groups = tuple(Group(g["path"], g["address"], g["attributes"]) for g in answer["groups"])
    return Listing(
        groups,
        MappingProxyType(tensors),
        MappingProxyType(values),
        MappingProxyType(addresses),
        others,
        tuple(answer["refused"]),
        problem,
        cut=bool(answer.get("cut")),
    )


_Key = tuple[str, int, int]  # path, size, mtime in ns
_KEPT = 256  # listings
_cache: OrderedDict[_Key, Listing] = OrderedDict()


def listing(job: Job, file: str, neighbours: Sequence[tuple[Job, str]]) -> Listing:
    """The listing of one file; its neighbours, which will be asked for next, are listed by the same child."""
    wanted = _key(job)
    if wanted not in _cache:
        fresh = [(j, f) for j, f in neighbours if _key(j) not in _cache][: _KEPT - 1]
        batch = [(job, file), *((j, f) for j, f in fresh if j != job)]
        for one, found in listings([j for j, _ in batch], {j.path: f for j, f in batch}).items():
            _cache[_key(one)] = found
    found = _cache.pop(wanted)  # each file is read once
    while len(_cache) > _KEPT:
        _cache.popitem(last=False)
    return found


def _key(job: Job) -> _Key:
    try:
        status = os.lstat(job.path)
    except OSError:
        return job.path, -1, -1
    return job.path, status.st_size, status.st_mtime_ns
