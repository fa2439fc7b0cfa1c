"""numpy's `.npz` archives and `.npy` files (Marian, JAX scripts, dumps of arrays). Arrays of objects are pickles and are refused.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. The header is a Python literal; it is matched
by a pattern of what numpy writes, nothing is evaluated.
"""

import math
import os
import re
import zlib
from dataclasses import dataclass, field
from types import MappingProxyType

from postmortem.model.run import Checkpoint, Reduction, Series, Source, Status, TensorRef
from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints.fragments import modified
from postmortem.sources.checkpoints.placing import in_order
from postmortem.sources.checkpoints.steps import step_and_epoch
from postmortem.sources.checkpoints.zip_directory import DEFLATED, STORED, Member, Window, first_member, located, read_directory
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "npz"
MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"^\{'descr': '([<>|=])([fiubc])(\d{1,2})', 'fortran_order': (True|False), 'shape': \(((?:\d{1,18}, ){0,31}\d{1,18}|),?\), ?\}\s*$"
)
_OBJECTS = re.compile(r"'descr': '\|O'")
_LONGEST_HEADER = 65_536  # bytes
_MOST_INLINE = 256 << 20  # bytes of one file that are unpacked or reordered in memory
_LARGEST_EVALUATIONS = 64 << 20  # bytes
_MOST_MEMBERS = 200_000
_SIZES = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,), "c": (8, 16)}
_KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
# Archives of results rather than of weights.
_RESULTS = frozenset(
    {"timesteps", "results", "ep_lengths", "predictions", "y_pred", "y_true", "labels", "logits", "x_train", "y_train", "x_test", "y_test"}
)


@dataclass(frozen=True, slots=True)
class Array:
    """What the header of one array says."""

    dtype: str
    big: bool
    fortran: bool
    shape: tuple[int, ...]
    start: int  # bytes of header before the data
    nbytes: int


@dataclass(slots=True)
class _Reading:
    tensors: list[TensorRef] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    inline: int = 0


def claims(candidate: Candidate) -> bool:
    """By extension, or by the first member of a zip file."""
    if candidate.name.lower().endswith((".npz", ".npy")) or candidate.head.startswith(MAGIC):
        return True
    return first_member(candidate.head).endswith(b".npy")


def read(candidate: Candidate) -> Found:
    try:
        handle = os.open(candidate.file, _OPEN_FLAGS)
    except OSError as error:
        return _failed(candidate, say("it cannot be read: {why}", why=error.strerror or type(error).__name__))
    try:
        window = Window(handle, 0, os.fstat(handle).st_size)
        if candidate.head.startswith(MAGIC):
            return _one_array(candidate, window)
        return _archive(candidate, window)
    finally:
        os.close(handle)


def header(data: bytes) -> Array | str:
    """The header of an array from its first bytes; "object", "cut" or "odd" when there is none to use."""
    if len(data) < 12:
        return "cut" if MAGIC.startswith(data[:6]) else "odd"
    if not data.startswith(MAGIC) or data[6] not in (1, 2, 3):
        return "odd"
    wide = data[6] > 1
    length = int.from_bytes(data[8:12] if wide else data[8:10], "little")
    start = (12 if wide else 10) + length
    if length > _LONGEST_HEADER:
        return "odd"
    if len(data) < start:
        return "cut"
    text = data[start - length : start].decode("latin-1")
    match = _HEADER.match(text)
    if match is None:
        return "object" if _OBJECTS.search(text) else "odd"
    order, kind, size, fortran, shape = match.groups()
    extents = tuple(int(n) for n in shape.split(", ") if n)
    if int(size) not in _SIZES[kind]:
        return "odd"
    dtype = "bool" if kind == "b" else f"{_KINDS[kind]}{8 * int(size)}"
    return Array(dtype, order == ">" and size != "1", fortran == "True", extents, start, math.prod(extents) * int(size))


def _one_array(candidate: Candidate, window: Window) -> Found:
    """A lone `.npy`: an array of results more often than a model. It is told about, and no checkpoint."""
    found = header(window.read(_LONGEST_HEADER + 12, 0))
    if isinstance(found, str):
        why = _why(found)
        return Found(Source(candidate.path, NAME, Status.SKIPPED if found == "object" else Status.FAILED, why, candidate.size, refused=False))
    shape = "×".join(str(n) for n in found.shape) or "1"
    if window.size < found.start + found.nbytes:
        return Found(Source(candidate.path, NAME, Status.FAILED, say("the file is cut: an array of {shape} {dtype}", shape=shape, dtype=found.dtype)))
    why = say("an array of {shape} {dtype}: it does not say what it is", shape=shape, dtype=found.dtype)
    return Found(Source(candidate.path, NAME, Status.SKIPPED, why, candidate.size))


def _archive(candidate: Candidate, window: Window) -> Found:
    directory = read_directory(window)
    if directory is None:
        if candidate.head.startswith(b"PK"):
            return _failed(candidate, say("the file is cut: the end of the archive is missing"), truncated=True)
        return _failed(candidate, say("the file is empty") if not candidate.size else say("this is no .npz archive"), truncated=not candidate.size)
    reading = _Reading()
    for member in list(directory.members.values())[:_MOST_MEMBERS]:
        if member.name.endswith(".npy"):
            _member(reading, candidate, window, member)
        else:
            reading.odd.append(member.name)
    names = {ref.name.lower() for ref in reading.tensors}
    if {"timesteps", "results"} <= names and (series := _evaluations(reading, window, candidate.path)):
        return Found(Source(candidate.path, NAME, Status.READ, None, candidate.size), series=series)
    if names & _RESULTS or not reading.tensors:
        why = say("arrays that are no weights: {names}", names=", ".join(sorted(names)[:5])[:300]) if names else _first(reading)
        why = why or directory.problem or say("it holds no arrays")
        return Found(Source(candidate.path, NAME, Status.SKIPPED, why, candidate.size))
    problem = _first(reading) or directory.problem
    status = Status.PARTIAL if problem else Status.READ
    step, epoch = step_and_epoch(candidate.path)
    one = Checkpoint(
        candidate.path,
        NAME,
        status,
        step,
        epoch,
        problem,
        tensors=tuple(reading.tensors),
        facts=MappingProxyType({"layout": "keras"} if "special:model.yml" in names else {}),  # Marian multiplies as Keras does: (in, out)
        files=(candidate.path,),
        size=candidate.size,
        modified=modified(candidate),
        truncated=bool(reading.cut) or directory.truncated,
    )
    return Found(Source(candidate.path, NAME, status, problem, candidate.size), checkpoints=(one,))


def _evaluations(reading: _Reading, window: Window, path: str) -> tuple[Series, ...]:
    """What Stable-Baselines' EvalCallback saves: returns of the episodes of each evaluation, (evaluations, episodes)."""
    import numpy as np

    arrays = {}
    for ref in reading.tensors:
        if ref.name in ("timesteps", "results", "ep_lengths") and ref.nbytes <= _LARGEST_EVALUATIONS:
            data = ref.inline if ref.inline is not None else window.read(ref.nbytes, ref.offset)
            if len(data) == ref.nbytes and ref.strides == in_order(ref.shape) and not ref.dtype.startswith(("complex", "bool")):
                arrays[ref.name] = np.frombuffer(data, ref.dtype).reshape(ref.shape).astype(np.float64)
    steps, results = arrays.get("timesteps"), arrays.get("results")
    if steps is None or results is None or steps.ndim != 1 or results.ndim != 2 or len(steps) != len(results) or not results.size:
        return ()
    series = (Series("val/reward", "results", path, steps, results.mean(axis=1), reduction=Reduction.EPOCH),)
    lengths = arrays.get("ep_lengths")
    if lengths is None or lengths.shape != results.shape:
        return series
    return (*series, Series("other/ep_lengths", "ep_lengths", path, steps, lengths.mean(axis=1), reduction=Reduction.EPOCH))


def _member(reading: _Reading, candidate: Candidate, window: Window, member: Member) -> None:
    name = member.name.removesuffix(".npy")
    found = located(window, member)
    if found is None:
        reading.cut.append(name)
        return
    if found.method not in (STORED, DEFLATED):
        reading.odd.append(name)
        return
    stored = found.method == STORED
    wanted = _LONGEST_HEADER + 12
    array = header(window.read(min(wanted, found.packed), found.data) if stored else _inflated(window, found, wanted))
    if isinstance(array, str):
        {"object": reading.objects, "cut": reading.cut}.get(array, reading.odd).append(name)
        return
    if (found.packed if stored else found.size) < array.start + array.nbytes:
        reading.cut.append(name)
        return
    if stored and not array.big:
        strides = in_order(array.shape[::-1])[::-1] if array.fortran else in_order(array.shape)
        offset = found.data + array.start
        reading.tensors.append(TensorRef(name, candidate.path, offset, array.dtype, array.shape, strides, array.nbytes))
        return
    if reading.inline + array.nbytes > _MOST_INLINE:
        reading.odd.append(name)
        return
    whole = array.start + array.nbytes
    data = (window.read(whole, found.data) if stored else _inflated(window, found, whole))[array.start :]
    if len(data) < array.nbytes:
        reading.cut.append(name)
        return
    reading.inline += array.nbytes
    reading.tensors.append(
        TensorRef(name, candidate.path, 0, array.dtype, array.shape, in_order(array.shape), array.nbytes, inline=_plain(data, array))
    )


def _inflated(window: Window, member: Member, wanted: int) -> bytes:
    """The first `wanted` bytes of a deflated member; fewer when it is damaged."""
    unpacker, out, at = zlib.decompressobj(-15), bytearray(), 0
    try:
        while at < member.packed and len(out) < wanted and not unpacker.eof:
            piece = window.read(min(member.packed - at, 1 << 20), member.data + at)
            if not piece:
                break
            at += len(piece)
            out += unpacker.decompress(piece, wanted - len(out))
            while unpacker.unconsumed_tail and len(out) < wanted:
                out += unpacker.decompress(unpacker.unconsumed_tail, wanted - len(out))
    except zlib.error:
        return bytes(out)
    return bytes(out)


def _plain(data: bytes, array: Array) -> bytes:
    """In C order, little endian."""
    if not array.big and not array.fortran:
        return data
    import numpy as np

    kind = np.dtype(array.dtype)
    values = np.frombuffer(data, kind.newbyteorder(">" if array.big else "<")).reshape(array.shape, order="F" if array.fortran else "C")
    return np.ascontiguousarray(values, kind.newbyteorder("<")).tobytes()


def _first(reading: _Reading) -> Sentence | None:
    """One sentence about members that were not read; the gravest reason first."""
    for names, why in (
        (reading.cut, say("their bytes are missing")),
        (reading.objects, say("they are pickled objects, which are not opened")),
        (reading.odd, say("they are in a form that is not read")),
    ):
        if names:
            return say("{n} members were left out, the first is {name}: {why}", n=len(names), name=names[0][:200], why=why)
    return None


def _why(reason: str) -> Sentence:
    if reason == "object":
        return say("an array of pickled objects, which is not opened")
    return say("the file is cut within its header") if reason == "cut" else say("its header is not as numpy writes it")


def _failed(candidate: Candidate, why: Sentence, *, truncated: bool = False) -> Found:
    step, epoch = step_and_epoch(candidate.path)
    one = Checkpoint(
        candidate.path, NAME, Status.FAILED, step, epoch, why,
        files=(candidate.path,), size=candidate.size, modified=modified(candidate), truncated=truncated,
    )  # fmt: skip
    return Found(Source(candidate.path, NAME, Status.FAILED, why, candidate.size), checkpoints=(one,))


READER = Reader(NAME, claims, read)
