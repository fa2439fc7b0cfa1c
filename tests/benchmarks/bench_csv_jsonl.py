"""Reading speed of large CSV and JSON-lines logs, beside plain standard-library loops over the same bytes (processor time).

python tests/benchmarks/bench_csv_jsonl.py [MB]
"""

import csv
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from postmortem.sources.logs import csv as csv_reader
from postmortem.sources.logs import jsonl as jsonl_reader
from postmortem.sources.reader import Candidate, Found


def dense_csv(rows: int) -> str:
    rng = random.Random(0)
    body = "".join(f"{i // 100},{i},{rng.random()!r},{rng.random()!r},{rng.random() * 1e-3!r}\r\n" for i in range(rows))
    return "epoch,step,train_loss,grad_norm,lr\r\n" + body


def short_csv(rows: int) -> str:
    rng = random.Random(0)
    return "step,loss,acc\n" + "".join(f"{i},{rng.random():.4f},{rng.random():.3f}\n" for i in range(rows))


def noted_csv(rows: int) -> str:
    rng = random.Random(0)
    return "step,when,loss,acc\n" + "".join(f"{i},12:{i // 60 % 60:02d}:{i % 60:02d},{rng.random():.6f},{rng.random()!r}\n" for i in range(rows))


def sparse_csv(rows: int) -> str:
    rng = random.Random(0)
    lines = (
        f"{i // 100},{i},,,{rng.random()!r}\n" if i % 100 == 99 else f"{i // 100},{i},{rng.random()!r},{rng.random() * 1e-3!r},\n"
        for i in range(rows)
    )
    return "epoch,step,train_loss,lr-Adam,val_loss\n" + "".join(lines)


def plain_jsonl(rows: int) -> str:
    rng = random.Random(0)
    return "".join(
        f'{{"step": {i}, "epoch": {i // 100}, "loss": {rng.random()!r}, "lr": {rng.random() * 1e-3!r}, "grad_norm": {rng.random()!r}}}\n'
        for i in range(rows)
    )


def mixed_jsonl(rows: int) -> str:
    rng = random.Random(0)
    lines = (
        f'{{"step": {i}, "val_loss": {rng.random()!r}}}\n'
        if i % 20 == 0
        else f'{{"step": {i}, "train_loss": {rng.random()!r}, "lr": {rng.random()!r}}}\n'
        for i in range(rows)
    )
    return "".join(lines)


def nan_jsonl(rows: int) -> str:
    return "".join(f'{{"step": {i}, "train_loss": NaN, "lr": 0.001, "grad_norm": Infinity}}\n' for i in range(rows))


def csv_loop(path: Path) -> int:
    with path.open(newline="") as file:
        return sum(len({k: float(v) for k, v in row.items() if v}) for row in csv.DictReader(file))


def csv_rows(path: Path) -> int:
    with path.open(newline="") as file:
        return sum(len((int(row["step"]), row["when"], float(row["loss"]), float(row["acc"]))) for row in csv.DictReader(file))


def json_loop(path: Path) -> int:
    with path.open() as file:
        return sum(len(json.loads(line)) for line in file)


def best(run: Callable[[], object], times: int = 3) -> float:
    spent = []
    for _ in range(times):
        start = time.process_time()
        run()
        spent.append(time.process_time() - start)
    return min(spent)


def main(megabytes: float) -> None:
    cases = [
        (dense_csv, "csv", csv_reader.read, csv_loop), (short_csv, "csv", csv_reader.read, csv_loop), (sparse_csv, "csv", csv_reader.read, csv_loop),
        (noted_csv, "csv", csv_reader.read, csv_rows),
        (plain_jsonl, "jsonl", jsonl_reader.read, json_loop), (mixed_jsonl, "jsonl", jsonl_reader.read, json_loop), (nan_jsonl, "jsonl", jsonl_reader.read, json_loop),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for make, extension, read, loop in cases:
            per_row = len(make(1000)) / 1000
            path = Path(folder) / f"log.{extension}"
            path.write_text(make(int(megabytes * 1e6 / per_row)), newline="")
            size = path.stat().st_size
            candidate = Candidate(path.parent, path.name, size, path.read_bytes()[:4096])

            def ours(read: Callable[[Candidate], Found] = read, candidate: Candidate = candidate) -> Found:
                return read(candidate)

            points = sum(len(s) for s in ours().series)
            mine, plain = best(ours), best(lambda loop=loop, path=path: loop(path), 1)
            print(
                f"{make.__name__:12s} {size / 1e6:6.1f} MB {points:9,d} points  {size / 1e6 / mine:6.0f} MB/s   plain loop {size / 1e6 / plain:5.0f} MB/s   x{plain / mine:.1f}"
            )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 40.0)
