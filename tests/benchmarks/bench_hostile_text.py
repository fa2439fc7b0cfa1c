"""What text made to be slow costs: processor time of reading it, beside the effort that is counted for it (`postmortem/sources/logs/effort.py`).

Run: `python tests/benchmarks/bench_hostile_text.py [MB]` (128 by default). Counted effort is meant to be no less than the time.
"""

import sys
import tempfile
import time
from pathlib import Path

from postmortem.sources.logs.stretches import Extent
from postmortem.sources.logs.text import reader
from postmortem.sources.reader import Candidate
from tests.hostile.slow_text import KINDS, made

PART = 4 << 20  # bytes that are made; the file is eight such parts again and again


def main() -> None:
    size = int(sys.argv[1] if len(sys.argv) > 1 else 128) << 20
    extents: list[Extent] = []

    def noted(size: int) -> Extent:
        extents.append(Extent(size))
        return extents[-1]

    reader.Extent = noted  # type: ignore[misc, assignment]
    print("kind                                seconds   effort   begin, between, end read (MB)")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "train.log")
        for kind in KINDS:
            parts = [made(kind, min(PART, size), seed) for seed in range(min(8, -(-size // PART)))]
            with file.open("wb") as out:
                for n in range(-(-size // PART)):
                    out.write(parts[n % len(parts)])
            with file.open("rb") as opened:
                head = opened.read(4096)
            begin = time.process_time()
            reader.read(Candidate(file.parent, file.name, file.stat().st_size, head, frozenset({file.name})))
            spent = time.process_time() - begin
            extent = extents[-1]
            parts_read = f"{extent.begin / 1e6:6.1f} {extent.between * extent.stretch / 1e6:6.1f} {extent.end / 1e6:6.1f}"
            print(f"{kind:36s}{spent:7.2f}{extent.effort.spent / 1e6:9.2f}   {parts_read}", flush=True)


if __name__ == "__main__":
    main()
