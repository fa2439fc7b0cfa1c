"""How fast a batch is: runs per second and core, two workers against one, time and memory over the number of runs.

    python tests/benchmarks/bench_batch.py [RUNS]
    python tests/benchmarks/bench_batch.py --many [RUNS]    one batch of 10,000 with JSON alone, looked at after every tenth of it

Runs are hard links to the small fixtures (files under 100 kB; with `--many` under 16 kB: logs alone), so that 10,000 of them cost no disk.
Seconds of processor are those of parent and children; on a machine that does other things they say more than those on the wall.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "fixtures"
SMALL = 100_000  # bytes
LOG_ONLY = 16_000  # bytes
MEASURE = """
import json, resource, sys, time
from pathlib import Path
from postmortem.batch.run import Plan, run_batch
from postmortem.batch.task import Options
start = time.perf_counter()
done = run_batch([sys.argv[1] + "/*"], Plan(Path(sys.argv[2]), Options(reports=sys.argv[3] == "reports"), workers=int(sys.argv[4])))
wall = time.perf_counter() - start
own, children = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"runs": len(done.rows), "lost": sum(r.status != "analysed" for r in done.rows), "wall": wall, "own": own.ru_utime + own.ru_stime,
    "children": children.ru_utime + children.ru_stime, "peak_mb": own.ru_maxrss / 1024, "child_mb": children.ru_maxrss / 1024,
    "index_mb": (Path(sys.argv[2]) / "index.html").stat().st_size / 1e6, "reused": done.reused}))
"""


def jobs(folder: Path, count: int, small: int = SMALL) -> Path:
    """A directory of `count` runs, hard links to fixtures of less than `small` bytes."""
    places = sorted(p for p in FIXTURES.glob("*/*/run") if sum(f.stat().st_size for f in p.rglob("*") if f.is_file()) < small)
    for i in range(count):
        source = places[i % len(places)]
        shutil.copytree(source, folder / f"job{i:05d}", copy_function=os.link if folder.stat().st_dev == source.stat().st_dev else shutil.copy2)
    return folder


def measured(place: Path, output: Path, reports: str, workers: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(place), str(output), reports, str(workers)], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def show(label: str, m: dict[str, float]) -> None:
    per_core = m["runs"] / (m["own"] + m["children"])
    print(
        f"{label:34} {m['runs']:6.0f} runs {m['wall']:7.1f} s  {m['runs'] / m['wall']:6.1f} runs/s  {per_core:6.1f} runs per processor second "
        f"(parent {m['own'] / m['runs'] * 1e3:.1f} ms a run)  parent {m['peak_mb']:.0f} MB, child {m['child_mb']:.0f} MB, index {m['index_mb']:.2f} MB",
        flush=True,
    )


def watched(place: Path, output: Path, count: int) -> None:
    """One batch, and after every tenth of it: processor and wall seconds of that tenth, resident memory of parent and children."""
    output.mkdir()
    with (output / "said").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen([sys.executable, "-c", MEASURE, str(place), str(output), "none", "2"], stdout=said)
        journal, seen, told = output / ".state" / "journal.jsonl", 0, 0
        wall, spent = time.perf_counter(), 0.0
        offset = 0
        while process.poll() is None:
            time.sleep(0.2)
            if journal.exists():
                with journal.open("rb") as file:
                    file.seek(offset)
                    data = file.read()
                offset += len(data)
                seen += data.count(b"\n")
            if seen >= told + count // 10:
                processor, parent, children = usage(process.pid)
                now = time.perf_counter()
                print(
                    f"{seen:6d} runs: {(seen - told) / (now - wall):5.1f} runs/s, {(seen - told) / max(processor - spent, 1e-9):5.1f} runs per "
                    f"processor second in this part; parent {parent:.0f} MB, children {children:.0f} MB",
                    flush=True,
                )
                told, wall, spent = seen, now, processor
        said.seek(0)
        show("all of it", json.loads(said.read()))


def usage(pid: int) -> tuple[float, float, float]:
    """(processor seconds of a process and its children, also ended ones; its resident MB; that of the children)."""
    seconds, memory = 0.0, [0.0, 0.0]
    children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    for n, one in enumerate((pid, *children)):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            seconds += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
            memory[min(n, 1)] += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return seconds, memory[0], memory[1]


def main() -> None:
    if "--many" in sys.argv:
        count = int(next((a for a in sys.argv[1:] if a.isdigit()), "10000"))
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "jobs").mkdir()
            watched(jobs(Path(name) / "jobs", count, LOG_ONLY), Path(name) / "out", count)
        return
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 800
    with tempfile.TemporaryDirectory(dir=FIXTURES.parent if os.access(FIXTURES.parent, os.W_OK) and "--here" in sys.argv else None) as name:
        top = Path(name)
        for count in (most // 4, most // 2, most):
            (top / str(count)).mkdir()
            place = jobs(top / str(count), count)
            show("JSON alone, 1 worker", one := measured(place, top / f"o{count}", "none", 1))
        show("JSON alone, 2 workers", two := measured(top / str(most), top / "o-two", "none", 2))
        print(f"2 workers are {one['wall'] / two['wall']:.2f} × 1 worker (load of the machine: {os.getloadavg()[0]:.1f})")
        start = time.perf_counter()
        again = measured(top / str(most), top / "o-two", "none", 2)
        print(f"nothing to do: {again['reused']:.0f} runs in {time.perf_counter() - start:.1f} s")
        show("with reports, 1 worker", measured(top / str(most // 4), top / "o-reports", "reports", 1))
        print(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB at most in any process")


if __name__ == "__main__":
    main()
