"""Runs to make batches of, and processes that misbehave in their child's place."""

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[2] / "fixtures"
# small ones: log only, or log and a few small checkpoints
KINDS = {
    "killed": "crash/killed",
    "error": "crash/python-error",
    "healthy": "healthy/pytorch-text-log",
    "steep": "exploding-gradients/learning-rate-too-high",
    "flat": "loss-not-decreasing/learning-rate-too-high-blind",
}

# A child that behaves by the run's name: hangs, eats memory, dies, raises, prints; else it works as it should.
PLANTED = """
import os, sys, time
import postmortem.pipeline as pipeline
real = pipeline.analyze
def planted(path, **options):
    name = os.path.basename(path)
    if "hang" in name:
        time.sleep(600)
    if "greedy" in name:
        pile = []
        while True:
            pile.append(bytes(bytearray(os.urandom(4096) * 2048)))
            time.sleep(0.01)
    if "exit" in name:
        os._exit(7)
    if "segv" in name:
        os.kill(os.getpid(), 11)
    if "memoryerror" in name:
        raise MemoryError
    if "raise" in name:
        raise ZeroDivisionError("of " + str(path))
    if "once" in name and not os.path.exists(str(path) + ".seen"):
        open(str(path) + ".seen", "w").close()
        os.kill(os.getpid(), 9)
    if "chatty" in name:
        print("x" * 100_000); sys.stdout.flush(); os.write(1, b"y" * 100_000)
    if "slow" in name:
        time.sleep(0.3)
    return real(path, **options)
pipeline.analyze = planted
from postmortem.batch.child import main
main()
"""


def run(folder: Path, kind: str, name: str) -> Path:
    """A copy of a fixture's run."""
    return Path(shutil.copytree(FIXTURES / KINDS[kind] / "run", folder / name))


def jobs(folder: Path, names: Iterable[str], kind: str = "killed") -> Path:
    """A directory of copies of one run."""
    for name in names:
        run(folder, kind, name)
    return folder


def plant(folder: Path) -> tuple[str, ...]:
    """The command of a child that misbehaves by name."""
    script = folder / "planted_child.py"
    script.write_text(PLANTED, encoding="utf-8")
    return (sys.executable, "-P", str(script))


def rows(output: Path) -> dict[str, dict[str, Any]]:
    """The lines of `runs.jsonl` by name."""
    found = [json.loads(line) for line in (output / "runs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({r["name"] for r in found}) == len(found)
    return {r["name"]: r for r in found}
