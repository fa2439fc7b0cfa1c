"""A batch that is killed again and again, over real, corrupt, hanging, dying and hostile runs: nothing lost, nothing done twice.

    python -m tests.batch.endurance --runs 1000 --kills 12 [--of DIR]

Copies the runs of DIR (the fixtures, unless given) to as many as asked for, plants faults among them, makes one batch without
interruption and one that gets `kill -9` at random moments and is started again each time, and compares what they leave.
"""

import argparse
import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from postmortem.batch.journal import lines
from tests.batch import places

LIMIT = 20.0  # seconds for one run, also on a machine that does other things
EVERY = 100  # runs, one of which is planted with each of these
PLANTED = ("corrupt", "cut", "hang", "segv", "raise", "fifo", "hostile")
COMMAND = (
    "import sys; from postmortem.batch import supervise\nsupervise.COMMAND = eval(sys.argv.pop(1))\nfrom postmortem.cli.main import main; main()\n"
)
OWN = ("seconds",)  # fields of a row that no two batches have alike


@dataclass(frozen=True)
class Told:
    """What the comparison found."""

    runs: int
    statuses: dict[str, int]
    kills: int
    finished_at_kills: tuple[int, ...]
    redone: tuple[str, ...]  # finished before a kill and written again after it
    different: tuple[str, ...]  # files of the output that differ
    left: tuple[str, ...]  # processes and half-written files
    seconds: tuple[float, float]  # on the clock: without interruption, with


def make(folder: Path, count: int, sources: Sequence[Path], faults: Sequence[str], seed: int) -> None:
    """`count` runs, some of them planted."""
    chance = random.Random(seed)
    for n in range(count):
        fault = faults[n % EVERY] if n % EVERY < len(faults) else ""
        run = folder / f"{n:05d}{'-' if fault else ''}{fault}"
        shutil.copytree(sources[n % len(sources)], run)
        (run / "copy.md").write_text(f"{n} {chance.random()}\n", encoding="utf-8")
        if fault:
            plant(run, fault, chance, n)


def plant(run: Path, fault: str, chance: random.Random, n: int) -> None:
    """Damage a run. What hangs, dies or raises is made to by `places.plant`, by the run's name."""
    files = [p for p in sorted(run.rglob("*")) if p.is_file()]
    for file in files if fault in ("corrupt", "cut") else ():
        data = bytearray(file.read_bytes())
        for _ in range(len(data) // 50 if fault == "corrupt" else 0):
            data[chance.randrange(len(data))] = chance.randrange(256)
        file.write_bytes(bytes(data) if fault == "corrupt" else bytes(data)[: len(data) * 2 // 3])
    if fault == "fifo":
        os.mkfifo(run / "train.log.fifo")
        (run / "loop").symlink_to(run)
        (run / "device.log").symlink_to("/dev/zero")
    if fault == "hostile":
        from tests.hostile.pickled import PAYLOADS, STORAGE, saved, with_tensor

        for at, name in enumerate(list(PAYLOADS)[n % 7 :: 7]):
            (run / f"{at}.pt").write_bytes(saved(with_tensor(PAYLOADS[name][0]), STORAGE))
        (run / "bomb.log").write_bytes(b"x" * (9 << 20))


def started(child: tuple[str, ...], jobs: Path, output: Path, *more: str) -> "subprocess.Popen[bytes]":
    arguments = ["batch", str(jobs / "*"), "-o", str(output), "--timeout", str(LIMIT), "--json", *more]
    return subprocess.Popen([sys.executable, "-c", COMMAND, repr(child), *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def finished(output: Path) -> dict[str, tuple[object, int]]:
    """Finished runs: the seconds that each took, which no second analysis would take again, and when its report was written, 0 without one."""
    out = {}
    for file in ("runs.jsonl", ".state/journal.jsonl"):
        for _, _, data in lines(output / file):
            report = output / str(data.get("report") or "nothing")
            out[str(data["name"])] = (data["seconds"], report.stat().st_mtime_ns if report.is_file() else 0)
    return out


def settled(file: Path) -> object:
    """The content of a file of a batch, without what no two batches have alike."""
    data = file.read_bytes()
    if file.name == "runs.jsonl":
        return [{k: v for k, v in json.loads(line).items() if k not in OWN} for line in data.splitlines()]
    if file.name == "runs.csv":
        return [{k: v for k, v in row.items() if k not in OWN} for row in csv.DictReader(io.StringIO(data.decode()))]
    return data


def endure(
    folder: Path, count: int, kills: int, sources: Sequence[Path], *, faults: Sequence[str] = PLANTED, more: Sequence[str] = (), seed: int = 1
) -> Told:
    """Both batches and what is left of them."""
    jobs, whole, again = folder / "jobs", folder / "whole", folder / "again"
    make(jobs, count, sources, faults, seed)
    child = places.plant(folder)
    begun = time.monotonic()
    out, _ = started(child, jobs, whole, *more).communicate()
    alone = time.monotonic() - begun
    assert json.loads(out)["runs"] == count
    (again / ".state").mkdir(parents=True)
    shutil.copy2(whole / ".state" / "key", again / ".state" / "key")  # the same pseudonyms
    chance, done, redone, at_kills = random.Random(seed), {}, [], []
    begun, spent = time.monotonic(), 0.0
    while len(at_kills) < kills:
        process = started(child, jobs, again, *more)
        wait = chance.uniform(0.3, 2.0) * max(2.0, alone / (kills + 1))
        try:
            process.communicate(timeout=wait)
            break  # it came to its end
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        now = finished(again)
        redone += [name for name, when in done.items() if now.get(name) != when]
        done = now
        at_kills.append(len(now))
    started(child, jobs, again, *more).communicate()
    spent = time.monotonic() - begun
    now = finished(again)
    redone += [name for name, when in done.items() if now.get(name) != when]
    names = {p.relative_to(d) for d in (whole, again) for p in d.rglob("*") if p.is_file() and ".state" not in p.parts}
    different = [str(n) for n in sorted(names) if not ((whole / n).is_file() and (again / n).is_file() and settled(whole / n) == settled(again / n))]
    time.sleep(1)
    left = [str(p) for p in again.rglob("*.part")] + [p.name for p in Path("/proc").glob("[0-9]*") if child[-1] in _command(p.name)]
    statuses = Counter(str(data["status"]) for _, _, data in lines(again / "runs.jsonl"))
    return Told(count, dict(statuses), len(at_kills), tuple(at_kills), tuple(redone), tuple(different), tuple(left), (alone, spent))


def _command(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_text(errors="replace").rstrip("\0").rpartition("\0")[2]
    except OSError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.batch.endurance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--no-reports", action="store_true")
    parser.add_argument("--of", type=Path, help="a directory of runs")
    parser.add_argument("--keep", type=Path, help="a new directory that is not removed")
    asked = parser.parse_args()
    sources = sorted(p for p in asked.of.iterdir() if p.is_dir()) if asked.of else sorted(places.FIXTURES.glob("*/*/run"))
    with tempfile.TemporaryDirectory() as scratch:
        print(endure(asked.keep or Path(scratch), asked.runs, asked.kills, sources, more=["--no-reports"] if asked.no_reports else []))


if __name__ == "__main__":
    main()
