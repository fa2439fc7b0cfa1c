"""Every scalar of an event file, beside TensorBoard's own reader on the same file: wall time and processor time, best of several.

python tests/benchmarks/bench_events.py [SCALARS]        (needs torch to write the file and tensorboard to compare)

Both hold all points in the end: `EventAccumulator(size_guidance={"scalars": 0})` keeps them, its default samples 10,000 per tag.
"""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from postmortem.sources.logs import tfevents
from postmortem.sources.reader import Candidate, Found

TAGS = ("train/loss", "train/lr", "train/grad_norm", "train/accuracy")


def write(folder: Path, scalars: int) -> Path:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder), max_queue=100_000)
    for step in range(scalars // len(TAGS)):
        for tag in TAGS:
            writer.add_scalar(tag, 1.0 / (step + 1), step, walltime=1.7e9 + step)
    writer.close()
    return next(folder.glob("*tfevents*"))


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Seconds of the fastest run: wall, processor."""
    walls, processors = [], []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return min(walls), min(processors)


def read(path: Path) -> Found:
    with path.open("rb") as file:
        head = file.read(4096)
    return tfevents.READER.read(Candidate(path.parent, path.name, path.stat().st_size, head))


def accumulate(path: Path) -> dict[str, int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {tag: len(accumulator.Scalars(tag)) for tag in accumulator.Tags()["scalars"]}


def main() -> None:
    warnings.simplefilter("ignore")
    scalars = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), scalars)
        cold = time.perf_counter()
        found = read(path)
        cold = time.perf_counter() - cold
        assert {s.logged_as: len(s) for s in found.series} == accumulate(path)
        rows = {"compiled": timed(lambda: read(path), 7)}
        tfevents.COMPILED_ABOVE = 1 << 60
        rows["plain Python"] = timed(lambda: read(path), 2)
        rows["EventAccumulator"] = timed(lambda: accumulate(path), 2)
        print(f"{scalars:,} scalars, {path.stat().st_size / 1e6:.1f} MB; first read with numba's start-up {cold:.2f} s")
        wall, processor = rows["EventAccumulator"]
        for name, (w, p) in rows.items():
            print(
                f"{name:18} wall {w:8.4f} s  processor {p:8.4f} s  {scalars / w / 1e6:7.2f} M/s  ratio {wall / w:6.1f} wall, {processor / p:6.1f} processor"
            )


if __name__ == "__main__":
    main()
