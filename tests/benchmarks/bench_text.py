"""How fast text logs are read, beside a plain loop of `re.findall` over the same lines in the same run.

Run: `python tests/benchmarks/bench_text.py`. The ratio is what can be compared between machines. With `--sizes` each log is also read
at a quarter and at four times its length: the cost is linear but for what it takes to learn the log's habits, once.
"""

import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from postmortem.sources.logs.text import READER
from postmortem.sources.reader import Candidate

_PAIRS = re.compile(rb"(\w+)[:=]\s*([-+0-9.eE]+)")
R = random.Random(0)
WORDS = [
    "once",
    "upon",
    "a",
    "time",
    "there",
    "was",
    "little",
    "girl",
    "who",
    "lived",
    "near",
    "the",
    "river",
    "and",
    "every",
    "morning",
    "she",
    "would",
    "walk",
    "along",
    "its",
    "bank",
    "with",
    "her",
    "dog",
]

# Each as so many times its usual length.
LOGS: dict[str, Callable[[float], str]] = {
    "step: N loss: N lr: N": lambda k: "".join(f"step: {n} loss: {R.random() * 3:.3f} lr: 1e-03\n" for n in range(int(k * 400_000))),
    "dated, with evaluations": lambda k: "".join(
        f"2024-01-02 {n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d},{n % 1000:03d} INFO train: epoch {n // 5000 + 1} step {n} loss={R.random():.5f} lr=3.00e-03\n"
        + (f"2024-01-02 00:00:00,000 INFO train: [eval] epoch {n // 5000 + 1} val_loss={R.random():.5f}\n" if n % 500 == 499 else "")
        for n in range(int(k * 200_000))
    ),
    "megatron, two lines a record": lambda k: "".join(
        f" iteration {n:8d}/  400000 | consumed samples: {n * 2048:12d} | learning rate: {R.random() / 1e4:.3E} | lm loss: {R.random() * 3:.6E} | grad norm: {R.random():.3f} |\ntime (ms)\n"
        for n in range(int(k * 60_000))
    ),
    "dict lines": lambda k: "".join(
        f"{{'loss': {R.random():.4f}, 'grad_norm': {R.random()!r}, 'learning_rate': {R.random() / 1e3!r}, 'epoch': {n / 1000:.2f}}}\n"
        for n in range(int(k * 100_000))
    ),
    "progress bars": lambda k: (
        "\r".join(
            f"Epoch 0: {n // 500:3d}%|{'█' * (n // 5000)}| {n}/50000 [00:05<00:33, 33.1it/s, loss={R.random():.3f}]" for n in range(int(k * 50_000))
        )
        + "\n"
    ),
    "Keras bars": lambda k: "".join(
        f"Epoch {e + 1}/40\n"
        + "".join(
            f"\r{n:4d}/1000 [{'=' * (30 * n // 1000):.<30}] - ETA: {9 - n // 112}s - loss: {R.random():.4f} - acc: {R.random():.4f}"
            for n in range(1, 1001)
        )
        + "\n"
        for e in range(int(k * 40))
    ),
    "bars beside dicts (HF Trainer)": lambda k: "".join(
        "".join(f"\r {n % 1000 / 10:3.0f}%|{'█' * (n % 1000 // 100):10s}| {n}/50000 [00:05<00:33, 33.1it/s]" for n in range(r * 50, r * 50 + 50))
        + f"\n{{'loss': {R.random():.4f}, 'grad_norm': {R.random():.4f}, 'learning_rate': {R.random() / 1e3!r}, 'epoch': {r / 100:.2f}}}\n"
        for r in range(int(k * 1000))
    ),
    "a downloader's line": lambda k: "".join(
        f"[{n % 8}] fetched shard {n} of 80000 from the bucket at {R.random() * 100:.1f} MB per second\n" for n in range(int(k * 80_000))
    ),
    "a sample of prose every record": lambda k: "".join(
        f"step: {n} loss: {R.random() * 3:.3f} lr: 1e-03\n" + "".join(" ".join(R.choices(WORDS, k=12)) + "\n" for _ in range(20))
        for n in range(int(k * 4_000))
    ),
    "noise of other programs": lambda k: "".join(
        f"2024-01-02 {n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d} DEBUG urllib3.connectionpool: https://hub:443 "
        f'"GET /api/{R.randbytes(8).hex()}/{"abcdefgh"[n % 8]}{n} HTTP/1.1" 200 {R.randbytes(4).hex()}\n'
        for n in range(int(k * 50_000))
    ),
    "noise of NCCL, no two lines alike": lambda k: "".join(
        f"node{n % 7}:{n}:{n} [{n % 4}] NCCL INFO Channel {n % 12:02d} : {n % 64}[1a000] -> {n % 63}[8a000] {R.random().hex()}\n"
        for n in range(int(k * 50_000))
    ),
}


def seconds(work: Callable[[], object]) -> float:
    """Processor time, the faster of two runs."""
    best = float("inf")
    for _ in range(2):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def rate(folder: Path, text: str) -> tuple[float, float, float]:
    """Bytes, MB/s, and how many times as fast as the plain loop."""
    file = folder / "train.log"
    file.write_text(text, encoding="utf-8")
    size = file.stat().st_size
    with file.open("rb") as handle:
        candidate = Candidate(folder, file.name, size, handle.read(4096))
    ours = seconds(lambda: READER.read(candidate))
    plain = seconds(lambda: [_PAIRS.findall(line) for line in file.open("rb")])
    return size, size / 1e6 / ours, plain / ours


def main() -> None:
    sizes = "--sizes" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for name, make in LOGS.items():
            size, speed, ratio = rate(Path(folder), make(1))
            others = "".join(f"  x {k:g}: {rate(Path(folder), make(k))[1]:6.1f}" for k in (0.25, 4) if sizes)
            sys.stdout.write(f"{name:34s} {size / 1e6:6.1f} MB  {speed:6.1f} MB/s  {ratio:5.2f} x the plain loop{others}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
