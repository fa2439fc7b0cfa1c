"""How long the figures of one curve take, against sorting the same numbers: `python tests/benchmarks/bench_curves.py`."""

import time
from collections.abc import Callable

import numpy as np

from postmortem.measure.curves import curve_stats
from postmortem.measure.decimate import keep_index
from postmortem.measure.gap import gap_stats
from postmortem.measure.schedule import schedule_stats
from postmortem.model.run import Reduction, Series


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of `repeats` runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def make(n: int, name: str) -> Series:
    rng = np.random.default_rng(0)
    values = 0.4 + 2 * np.exp(-np.arange(n) / (0.2 * n)) + 0.05 * rng.standard_t(3, size=n)
    return Series(name, name, "train.log", np.arange(n, dtype=np.float64), values, reduction=Reduction.STEP)


def row(n: int) -> str:
    train, val, lr = make(n, "train/loss"), make(n // 100, "val/loss"), make(n, "lr")
    sort = best_of(5, lambda: np.sort(train.values))
    works = (lambda: curve_stats(train), lambda: gap_stats(train, val), lambda: schedule_stats(lr, ()), lambda: keep_index(train.values))
    cells = [f"{seconds * 1e3:8.1f} ms {seconds / sort:5.1f}×" for seconds in (best_of(3, w) for w in works)]
    return f"{n:>9} {sort * 1e3:7.2f} ms {' '.join(f'{c:>18}' for c in cells)}"


def main() -> None:
    print(f"{'points':>9} {'np.sort':>10} {'curve_stats':>18} {'gap_stats':>18} {'schedule_stats':>18} {'decimate':>18}")
    for n in (10_000, 100_000, 1_000_000):
        print(row(n))


if __name__ == "__main__":
    main()
