"""The frame of a `.wandb` file: a 7-byte header, then a LevelDB log of protobuf records.

Blocks of 32,768 bytes, counted from the start of the file; in them fragments of `crc32 | length uint16 | type` and their
payload. Source: wandb/sdk/internal/datastore.py; LevelDB's log format. The checksum is zlib's, of type and payload.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from postmortem.sources.logs.stretches import Extent

MAGIC = b":W&B"
_FILE_HEADER = 7  # bytes: ":W&B", 0xBEE1, version
BLOCK = 32_768
_READ = 32 * BLOCK  # bytes at a time
_FRAGMENT = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_CRC_OF_TYPE = tuple(zlib.crc32(bytes([kind])) for kind in range(256))

MAX_RECORD = 16 << 20  # bytes; larger records are left out


@dataclass(slots=True)
class Framing:
    """What was met on the way; complete once the records are used up."""

    records: int = 0
    damaged: int = 0  # blocks or records that were left out
    oversized: int = 0
    cut: bool = False  # the file ends inside a record


def records(path: Path, extent: Extent, met: Framing) -> Iterator[bytes]:
    """The payload of each record. After damage it goes on at the next block, as LevelDB does. Raises OSError.

    Of a very large file only parts are read, whole blocks each; records that are cut by that are left out.
    """
    parts: list[bytes] = []
    size = 0
    started = False
    first, lost = True, False  # lost: what a part begins with may belong to a record whose begin was left out
    for block, apart in _blocks(path, extent):
        at = _FILE_HEADER if first else 0
        first = False
        if apart:
            started, lost, parts = False, True, []
        while len(block) - at >= _FRAGMENT.size:
            crc, length, kind = _FRAGMENT.unpack_from(block, at)
            if kind == 0 and length == 0 and crc == 0:  # zero padding, or a file that was reserved and not written
                break
            at += _FRAGMENT.size
            if length > len(block) - at:
                if len(block) < BLOCK:
                    met.cut = True
                else:
                    met.damaged += 1
                started = False
                break
            payload = block[at : at + length]
            at += length
            if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or zlib.crc32(payload, _CRC_OF_TYPE[kind]) != crc:
                met.damaged += 1
                started = False
                break
            if kind in (_FULL, _FIRST):
                lost = False
            if kind == _FULL:
                met.damaged += started
                started = False
                met.records += 1
                yield payload
                continue
            if kind == _FIRST:
                met.damaged += started
                parts, size, started = [payload], length, True
                continue
            if not started:
                met.damaged += not lost
                continue
            size += length
            if size <= MAX_RECORD:
                parts.append(payload)
            if kind == _LAST:
                started = False
                if size > MAX_RECORD:
                    met.oversized += 1
                else:
                    met.records += 1
                    yield b"".join(parts)
                parts = []
        else:
            if at < len(block) < BLOCK:
                met.cut = True
    met.cut = met.cut or started


def _blocks(path: Path, extent: Extent) -> Iterator[tuple[bytes, bool]]:
    for piece in extent.pieces(path, _READ):
        for at in range(0, len(piece.data), BLOCK):
            yield piece.data[at : at + BLOCK], piece.apart and not at
