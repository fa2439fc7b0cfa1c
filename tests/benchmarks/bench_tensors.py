"""How fast tensors are measured, against a plain read of the same cached file and against torch's own statistics.

    python tests/benchmarks/bench_tensors.py [MiB] [directory]

All figures of a table come from one run, so ratios hold where absolute speeds do not: reading, measuring on one thread and on two,
torch's mean, std, min, max, norm, isfinite and histc on tensors already in memory.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from postmortem.measure import kernels
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.reading import TensorFiles
from postmortem.measure.tally import Tally
from postmortem.model.run import Checkpoint, Run, Status, TensorRef

PARTS = 8  # tensors per file


def best(times: int, work: Callable[[], object]) -> float:
    out = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        out = min(out, time.perf_counter() - start)
    return out


def write(root: Path, dtype: str, megabytes: int) -> list[TensorRef]:
    values = (np.random.default_rng(0).standard_normal((megabytes << 20) // 4 // PARTS) * 0.02).astype(np.float32)
    data = values.tobytes() if dtype == "float32" else (values.view(np.uint32) >> 16).astype(np.uint16).tobytes() * 2
    count = len(data) // (4 if dtype == "float32" else 2)
    with (root / dtype).open("wb") as file:
        for _ in range(PARTS):
            file.write(data)
    return [TensorRef(f"t{i}.weight", dtype, i * len(data), dtype, (count // 1024, 1024), (1024, 1), len(data)) for i in range(PARTS)]


def plain_read(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    buffer = memoryview(bytearray(1 << 20))
    at = 0
    while got := os.preadv(descriptor, [buffer], at):
        at += got
    os.close(descriptor)


def measure(root: Path, refs: list[TensorRef]) -> None:
    with TensorFiles(root) as files:
        for ref in refs:
            tally = Tally(ref.dtype)
            for raw in files.blocks(ref):
                tally.add(raw, kernels)
            tally.figures(lambda *_: None)


def on_threads(root: Path, refs: list[TensorRef], threads: int) -> None:
    workers = [threading.Thread(target=measure, args=(root, refs[i::threads])) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def torch_statistics(tensor: torch.Tensor) -> None:
    tensor.mean(), tensor.std(), tensor.min(), tensor.max(), tensor.norm(), torch.isfinite(tensor).all(), torch.histc(tensor, 64)


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        root = Path(folder)
        for dtype in ("float32", "bfloat16"):
            compare(root, dtype, megabytes)


def compare(root: Path, dtype: str, megabytes: int) -> None:
    """Print one row."""
    refs = write(root, dtype, megabytes)
    size = sum(r.nbytes for r in refs)
    measure(root, refs[:1])
    read = best(4, lambda: plain_read(root / dtype))
    one = best(4, lambda: measure(root, refs))
    two = best(4, lambda: on_threads(root, refs, 2))
    part = torch.from_file(str(root / dtype), size=refs[0].count, dtype=getattr(torch, dtype)).clone().float()
    torch_time = best(1, lambda: torch_statistics(part)) * PARTS
    run = Run("bench", root, checkpoints=(Checkpoint(dtype, "raw", Status.READ, step=1, tensors=tuple(refs)),))
    whole = best(2, lambda: measure_checkpoints(run))
    print(
        f"{dtype}: {size >> 20} MiB  read {size / read / 1e9:.1f} GB/s  one thread {size / one / 1e9:.1f} ({read / one:.2f} of the read)  "
        f"two {size / two / 1e9:.1f} ({read / two:.2f})  torch {size / torch_time / 1e9:.2f} (× {torch_time / one:.0f})  "
        f"measure_checkpoints {size / whole / 1e9:.1f} ({read / whole:.2f})"
    )
    (root / dtype).unlink()


if __name__ == "__main__":
    main()
