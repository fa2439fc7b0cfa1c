"""Reading speed of W&B's offline `.wandb` log, beside a loop that only walks its framing, and json.loads of the same values.

python tests/benchmarks/bench_wandb.py [rows]
"""

import json
import math
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from postmortem.sources.logs import wandb
from postmortem.sources.logs.stretches import Extent
from postmortem.sources.logs.wandb_records import BLOCK, Framing, records
from postmortem.sources.reader import Candidate

_KEYS = ("train/loss", "train/grad_norm", "lr", "_step", "_runtime", "_timestamp")
_BLOCK, _HEAD = 32_768, 7


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def history(n: int) -> bytes:
    """A record as wandb writes it: keys nested (2), values as JSON text (16), the step (2) beside them."""
    values = (3 * math.exp(-n / 5e4) + 1e-3 * (n % 7), 1.0 + n % 13 / 7, 1e-3 * (1 - n / 1e6), n, n * 0.031, 1.7e9 + n * 0.031)
    items = b"".join(field(1, field(2, key.encode()) + field(16, json.dumps(value).encode())) for key, value in zip(_KEYS, values, strict=True))
    return varint(1 << 3) + varint(n + 1) + field(2, items + field(2, varint(1 << 3) + varint(n)))


def write(path: Path, rows: int) -> None:
    """LevelDB's log framing: 7-byte heads, records split at blocks of 32 KiB counted from the start of the file."""
    out = bytearray(struct.pack("<4sHB", b":W&B", 0xBEE1, 0))
    for n in range(rows):
        data, first = history(n), True
        while data or first:
            room = _BLOCK - len(out) % _BLOCK
            if room < _HEAD:
                out += b"\0" * room
                continue
            piece, data = data[: room - _HEAD], data[room - _HEAD :]
            kind = (1 if not data else 2) if first else (3 if data else 4)
            out += struct.pack("<IHB", zlib.crc32(piece, zlib.crc32(bytes([kind]))), len(piece), kind) + piece
            first = False
    path.write_bytes(out)


def best(run: Callable[[], object], times: int = 3) -> float:
    spent = []
    for _ in range(times):
        start = time.process_time()
        run()
        spent.append(time.process_time() - start)
    return min(spent)


def framing(path: Path) -> int:
    return sum(len(record) for record in records(path, Extent(path.stat().st_size, unit=BLOCK), Framing()))


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run-abc.wandb"
        write(path, rows)
        size = path.stat().st_size
        candidate = Candidate(path.parent, path.name, size, path.read_bytes()[:4096])
        series = wandb.READER.read(candidate).series
        assert {len(s) for s in series} == {rows}, {s.name: len(s) for s in series}
        ours, walk = best(lambda: wandb.READER.read(candidate)), best(lambda: framing(path))
        texts = [json.dumps(float(v)) for s in series for v in s.values]
        plain = best(lambda: [json.loads(text) for text in texts], 1)
        print(f"{size / 1e6:.1f} MB, {rows:,} records, {len(series)} series: {size / 1e6 / ours:.1f} MB/s")
        print(f"framing alone {size / 1e6 / walk:.1f} MB/s; json.loads of the {len(texts):,} values alone {size / 1e6 / plain:.1f} MB/s of file")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
