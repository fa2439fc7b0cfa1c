"""The header of a safetensors file: 8 bytes of length, JSON, then the tensors' bytes.

Format: https://github.com/huggingface/safetensors#format. Read here rather than by that library because it refuses a whole
file for one damaged entry, and a truncated checkpoint still holds whole tensors.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, BinaryIO

import orjson

from postmortem.model.run import TensorRef
from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints.placing import in_order

LARGEST_HEADER = 100_000_000  # bytes, the format's own limit
MOST_TENSORS = 250_000  # entries of a header that is looked into, at about 10 µs each
_MOST_DIMENSIONS = 64
# Name in the file → numpy's (or torch's) name, bits per element.
DTYPES: Mapping[str, tuple[str, int]] = MappingProxyType({
    "F64": ("float64", 64), "F32": ("float32", 32), "F16": ("float16", 16), "BF16": ("bfloat16", 16),
    "F8_E4M3": ("float8_e4m3fn", 8), "F8_E5M2": ("float8_e5m2", 8), "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8), "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "I64": ("int64", 64), "I32": ("int32", 32), "I16": ("int16", 16), "I8": ("int8", 8),
    "U64": ("uint64", 64), "U32": ("uint32", 32), "U16": ("uint16", 16), "U8": ("uint8", 8),
    "BOOL": ("bool", 8), "C64": ("complex64", 64), "C128": ("complex128", 128),
})  # fmt: skip
_PACKED = frozenset({"F4", "F6_E2M3", "F6_E3M2", "I4", "U4"})  # several elements in a byte: listed by the format, not measured here


class BadHeaderError(Exception):
    """There is no usable header. Stays inside the reader."""

    def __init__(self, why: Sentence, *, truncated: bool = False) -> None:
        super().__init__(str(why))
        self.why = why
        self.truncated = truncated


@dataclass(slots=True)
class Header:
    """What one file holds."""

    tensors: list[TensorRef] = field(default_factory=list)  # sorted by name: the format itself orders by type and name, not by module
    metadata: Mapping[str, str] = field(default_factory=dict)
    problems: list[Sentence] = field(default_factory=list)
    truncated: bool = False
    unmeasured: int = 0  # tensors of packed element types


def read_header(file: BinaryIO, size: int, path: str) -> Header:
    """Read the header of an open file of `size` bytes. Raises `BadHeaderError` when nothing of it can be used."""
    start = file.read(8)
    if len(start) < 8:
        raise BadHeaderError(say("the file ends within its first 8 bytes"), truncated=True)
    length = int.from_bytes(start, "little")
    if length > LARGEST_HEADER:
        raise BadHeaderError(say("its header would be {length:,} bytes long: this is no safetensors file", length=length))
    if length > size - 8:
        raise BadHeaderError(say("the file ends within its header: {missing:,} bytes are missing", missing=length - (size - 8)), truncated=True)
    entries = _entries(file.read(length))
    metadata = entries.pop("__metadata__", {})
    header = Header(metadata={k: v for k, v in metadata.items() if isinstance(v, str)} if isinstance(metadata, dict) else {})
    _place(header, entries, 8 + length, size - 8 - length, path)
    return header


def _entries(raw: bytes) -> dict[str, Any]:
    if raw.count(b"{") > MOST_TENSORS or raw.count(b"[") > 2 * MOST_TENSORS:
        raise BadHeaderError(say("its header lists more than {n:,} tensors", n=MOST_TENSORS))
    try:
        entries = orjson.loads(raw)
        if not isinstance(entries, dict) or not _surely_unique(raw, entries):
            entries = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except BadHeaderError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        if not raw.strip(b"\0"):
            raise BadHeaderError(say("its header holds only zero bytes: the file was never written out"), truncated=True) from error
        raise BadHeaderError(say("its header is not JSON")) from error
    if not isinstance(entries, dict):
        raise BadHeaderError(say("its header is not a JSON object"))
    return entries


def _surely_unique(raw: bytes, entries: dict[str, Any]) -> bool:
    """No key stands twice: the text holds no more strings than those that came out of it.

    The fast parser keeps the last of two equal keys, and so drops at least one string. Without escapes a quotation mark
    begins or ends a string.
    """
    if b"\\" in raw:
        return False
    strings = 0
    for value in entries.values():
        if type(value) is not dict:
            return False
        strings += 1 + len(value) + sum(type(item) is str for item in value.values())
    return raw.count(b'"') == 2 * strings


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise BadHeaderError(say("its header names {name} twice", name=twice[:200]))
    return out


def _place(header: Header, entries: dict[str, Any], data: int, available: int, path: str) -> None:
    """References for the entries whose bytes are in the file; `data` is where they start, `available` how many there are."""
    placed: list[tuple[int, int, str, str, tuple[int, ...]]] = []
    refused: list[str] = []
    for name, entry in entries.items():
        span = _span(entry)
        if span is None:
            refused.append(name)
        else:
            placed.append((*span[:2], name, *span[2:]))
    placed.sort()
    end = furthest = 0
    cut = overlapping = 0
    for first, last, name, dtype, shape in placed:
        furthest = max(furthest, last)
        if first < end and first != last:
            overlapping += 1
            continue
        end = max(end, last)
        if last > available:
            cut += 1
        elif dtype in DTYPES:
            header.tensors.append(TensorRef(name, path, data + first, DTYPES[dtype][0], shape, in_order(shape), last - first))
        else:
            header.unmeasured += 1
    header.tensors.sort(key=lambda ref: ref.name)
    if cut:
        header.truncated = True
        missing = furthest - available
        header.problems.append(say("the file is cut: {missing:,} bytes are missing, and with them {n:,} tensors", missing=missing, n=cut))
    elif available > furthest and not refused:
        header.problems.append(say("{extra:,} bytes follow behind the last tensor", extra=available - furthest))
    if refused:
        header.problems.append(say("{n:,} entries do not describe a tensor, the first is {name}", n=len(refused), name=refused[0][:200]))
    if overlapping:
        header.problems.append(say("{n:,} tensors overlap others and were left out", n=overlapping))


def _span(entry: Any) -> tuple[int, int, str, tuple[int, ...]] | None:
    """(begin, end, dtype, shape) of an entry that is consistent in itself."""
    if not isinstance(entry, dict):
        return None
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        return None
    if len(offsets) != 2 or len(shape) > _MOST_DIMENSIONS or not all(type(n) is int and 0 <= n < 1 << 63 for n in (*shape, *offsets)):
        return None
    first, last = offsets
    if dtype in DTYPES:
        if math.prod(shape) * DTYPES[dtype][1] != 8 * (last - first):
            return None
    elif first > last or not (dtype in _PACKED or dtype[:1] in "FIUBCQ"):
        return None
    return first, last, dtype, tuple(shape)
