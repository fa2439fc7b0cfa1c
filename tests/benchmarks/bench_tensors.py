"""How fast tensors are measured, against a plain read of the same cached file and against torch's own statistics.

    python tests/benchmarks/bench_tensors.py [MiB] [directory] [rounds]

All figures of a table come from one run. Each round reads the file plainly (through one page-aligned buffer of 1 MiB, which is the
fastest place that a buffer can have), measures it on one thread and on two, and counts the top 16 bits of what is already in
memory; the ratios are of the medians over the rounds. Where the system tells (Linux), times during which others took more than a tenth of
a processor do not count, as long as three are left: with two threads on two processors nothing else shows what two threads do. How many
counted stands behind. `cpu` is by processor time instead of the clock: the same on an idle machine, and still meaningful on a busy one. `ceiling` is what one thread could reach if everything but bare counting were free: on a file
system whose files can be looked at where they are cached (ext4 and XFS of this machine, see `measure/leased.py`) nothing is copied. One counter is
stored for each element, and where a processor commits stores to one cache line per cycle no loop counts more than one element per cycle:
at 3.6 GHz 14.5 GB/s of float32 and 7.2 GB/s of 16-bit numbers. Where files are copied (tmpfs, network), the copy comes on top.
`measure_checkpoints` also looks for rows that are equal or dead, and must not be much slower where it finds them in every tensor. From 512 MiB
on it takes two threads, also where all is one tensor, which is cut for them. torch's mean, std, min, max, norm, isfinite and histc run on one thread over tensors already in memory.

The same comparison without this file and without torch, on any safetensors file that fits the page cache (the second of two runs
of each counts; the second command includes the interpreter's start, so take a file of 4 GB or more):

    time dd if=model.safetensors of=/dev/null bs=1M
    time postmortem inspect model.safetensors
"""

import mmap
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from postmortem.measure import checkpoints, kernels
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.reading import TensorFiles
from postmortem.measure.tally import KEYS, Tally
from postmortem.model.run import Checkpoint, Run, Status, TensorRef

PARTS = 8  # tensors per file
WIDTH = 1024  # elements of a row
QUIET = 0.1  # processors that others may take while something is timed
TICKS = 0.02  # seconds by which the system's own count may be off
FEWEST = 3  # times that a median is of


class Timed(NamedTuple):
    clock: float  # seconds
    busy: float  # seconds of processor time
    others: float  # processors that others took meanwhile; 0 where the system does not tell


def timed(work: Callable[[], object]) -> Timed:
    before, start, busy = all_busy(), time.perf_counter(), time.process_time()
    work()
    clock, busy = time.perf_counter() - start, time.process_time() - busy
    return Timed(clock, busy, max(all_busy() - before - busy - TICKS, 0.0) / clock)


def all_busy() -> float:
    """Seconds that all processors have worked for anybody."""
    try:
        ticks = [int(n) for n in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]]
    except OSError:
        return 0.0
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # neither idle nor waiting for a disk


def of_quiet(times: list[Timed]) -> list[Timed]:
    """Those during which others left the machine alone; all where there are too few."""
    quiet = [t for t in times if t.others <= QUIET]
    return quiet if len(quiet) >= FEWEST else times


def write(root: Path, dtype: str, megabytes: int, rows: str = "distinct") -> list[TensorRef]:
    size = np.dtype(np.float32 if dtype == "float32" else np.uint16).itemsize
    values = (np.random.default_rng(0).standard_normal(((megabytes << 20) // size // PARTS // WIDTH, WIDTH)) * 0.02).astype(np.float32)
    if rows == "twins":
        values[: len(values) // 2] = values[-(len(values) // 2) :]
    elif rows == "dead":
        values[::10] = 0
    data = values.tobytes() if dtype == "float32" else (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    name = f"{dtype}-{rows}"
    with (root / name).open("wb") as file:
        for _ in range(PARTS):
            file.write(data)
    return [TensorRef(f"t{i}.weight", name, i * len(data), dtype, values.shape, (WIDTH, 1), len(data)) for i in range(PARTS)]


def run_of(root: Path, refs: list[TensorRef]) -> Run:
    return Run("bench", root, checkpoints=(Checkpoint(refs[0].file, "raw", Status.READ, step=1, tensors=tuple(refs)),))


def plain_read(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    buffer = memoryview(mmap.mmap(-1, 1 << 20))
    at = 0
    while got := os.preadv(descriptor, [buffer], at):
        at += got
    os.close(descriptor)


def bare_count(block: np.ndarray, times: int) -> None:
    counts = np.zeros(KEYS, np.int64)
    for _ in range(times):
        if block.dtype == np.float32:
            kernels.count_float32(block, counts, 0.0, 0.0)
        else:
            kernels.count_keys(block, counts)


def measure(root: Path, refs: list[TensorRef]) -> None:
    with TensorFiles(root) as files:
        for ref in refs:
            tally = Tally(ref.dtype)
            for raw in files.blocks(ref, long=True):
                tally.add(raw, kernels)
            tally.figures(lambda *_: None)


def on_threads(root: Path, refs: list[TensorRef], threads: int) -> None:
    workers = [threading.Thread(target=measure, args=(root, refs[i::threads])) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def timed_best(root: Path, refs: list[TensorRef]) -> float:
    """Seconds of processor time, the fastest of three."""
    return min(timed(lambda: measure(root, refs)).busy for _ in range(3))


def torch_statistics(tensor: torch.Tensor) -> None:
    tensor.mean(), tensor.std(), tensor.min(), tensor.max(), tensor.norm(), torch.isfinite(tensor).all(), torch.histc(tensor, 64)


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 9
    torch.set_num_threads(1)
    checkpoints.COMPILED_FROM = 0  # numba's start-up is not what is measured
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        root = Path(folder)
        for dtype in ("float32", "bfloat16"):
            compare(root, dtype, megabytes, rounds)


def compare(root: Path, dtype: str, megabytes: int, rounds: int) -> None:
    """Print the figures of one element type."""
    refs = write(root, dtype, megabytes)
    size = sum(r.nbytes for r in refs)
    run, twins, dead = (run_of(root, r) for r in (refs, write(root, dtype, megabytes, "twins"), write(root, dtype, megabytes, "dead")))
    one = replace(refs[0], shape=(sum(r.shape[0] for r in refs), WIDTH), nbytes=size)
    single = run_of(root, [one])
    path = root / refs[0].file
    measure(root, refs[:1])
    with TensorFiles(root) as files:
        block = np.array(next(files.blocks(refs[0])))
    block = block.view(np.uint16) if block.itemsize == 2 else block
    work: dict[str, Callable[[], object]] = {
        "plain read": lambda: plain_read(path),
        "bare counting": lambda: bare_count(block, size // block.nbytes),
        "one thread": lambda: measure(root, refs),
        "two threads": lambda: on_threads(root, refs, 2),
        "measure_checkpoints": lambda: measure_checkpoints(run),
        "  rows that have twins": lambda: measure_checkpoints(twins),
        "  a tenth of rows dead": lambda: measure_checkpoints(dead),
        "  all one tensor": lambda: measure_checkpoints(single),
    }
    times: dict[str, list[Timed]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, task in work.items():
            times[name].append(timed(task))
    kept = {name: of_quiet(rows) for name, rows in times.items()}
    clock = {name: statistics.median(t.clock for t in rows) for name, rows in kept.items()}
    busy = {name: statistics.median(t.busy for t in rows) for name, rows in kept.items()}
    part = torch.from_file(str(path), size=refs[0].count, dtype=getattr(torch, dtype)).clone().float()
    torch_times = [timed(lambda: torch_statistics(part)) for _ in range(3)]
    torch_clock, torch_busy = (statistics.median(t[i] for t in torch_times) * PARTS for i in range(2))
    print(f"{dtype}, {size >> 20} MiB, medians of {rounds}")
    for name in work:
        print(
            f"  {name:22} {size / clock[name] / 1e9:5.1f} GB/s  {clock['plain read'] / clock[name]:.2f} of the read"
            f"  (cpu {size / busy[name] / 1e9:.1f} GB/s, {busy['plain read'] / busy[name]:.2f})  {sum(t.others <= QUIET for t in times[name])} quiet"
        )
    parts = [refs[:1], refs[: PARTS // 4], refs]
    print(
        "  one thread at three sizes   ",
        "  ".join(f"{sum(r.nbytes for r in p) >> 20} MiB: {sum(r.nbytes for r in p) / timed_best(root, p) / 1e9:.1f} GB/s" for p in parts),
    )
    ceiling = busy["plain read"] / busy["bare counting"]
    print(
        f"  {'ceiling, one thread':22} {ceiling:.2f} of the read    "
        f"torch {size / torch_clock / 1e9:.2f} GB/s (one thread × {torch_clock / clock['one thread']:.0f}); "
        f"cpu {size / torch_busy / 1e9:.2f} (× {torch_busy / busy['one thread']:.0f})"
    )
    for checkpoint in (*run.checkpoints, *twins.checkpoints, *dead.checkpoints):
        (root / checkpoint.path).unlink()


if __name__ == "__main__":
    main()
