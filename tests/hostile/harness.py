"""Hostile runs, analysed under watch: what a test asks for and what it gets."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = 4 << 30  # bytes of address space; the libraries map most of one
RESIDENT = 1 << 20  # kB that may really be used
SECONDS = 180.0  # of the clock: the machine may be busy
WITHIN = 40.0  # seconds of processor time for a run of damaged files: on a quiet machine the longest takes 8, a cost that is not linear hours


@dataclass(frozen=True)
class Done:
    """What one command did."""

    status: int
    seen: list[str]
    peak: int  # kB
    seconds: float  # of processor time
    late: bool
    stdout: str
    stderr: str


class Zygote:
    """A process that has imported everything and forks a watched child per command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        scratch = folder / "scratch"
        home = folder / "home"
        scratch.mkdir()
        home.mkdir()
        environment = {
            **os.environ, "TMPDIR": str(scratch), "HOME": str(home), "MPLCONFIGDIR": str(home / "mpl"),
            "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "SOURCE_DATE_EPOCH": "0", "COLUMNS": "200",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }  # fmt: skip
        self.scratch = scratch
        script = Path(__file__).with_name("zygote.py")
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, cwd=folder
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", line

    def __call__(self, arguments: Sequence[str], *, folder: Path, read: Sequence[Path] = (), write: Sequence[Path] = (), **more: Any) -> Done:
        self.count += 1
        streams = self.folder / f"streams{self.count}"
        request = {
            "arguments": list(arguments), "folder": str(folder), "read": [str(p) for p in read], "streams": str(streams),
            "write": [str(p) for p in (*write, self.scratch, self.folder / "home")], "limits": {"RLIMIT_AS": MEMORY, "RLIMIT_CORE": 0}, "seconds": SECONDS, **more,
        }  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        out, err = (Path(f"{streams}.{name}").read_bytes().decode("utf-8", "replace") for name in ("stdout", "stderr"))
        return Done(told["status"], told["seen"], told["peak"], told["seconds"], told.get("late", False), out, err)

    def left(self) -> list[str]:
        """Temporary files that were left behind."""
        return sorted(p.name for p in self.scratch.iterdir())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def zygote(folder: Path) -> Iterator[Zygote]:
    """One for a module of tests."""
    one = Zygote(folder)
    try:
        yield one
    finally:
        one.close()


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Names, kinds, sizes, mtimes and contents of everything below a directory; nothing is followed or waited for."""
    out: dict[str, tuple[object, ...]] = {}
    for top, folders, files in os.walk(os.fsencode(folder)):
        for name in (*folders, *files):
            path = os.path.join(top, name)  # noqa: PTH118
            status = os.lstat(path)
            content = b""
            if os.path.isfile(path) and not os.path.islink(path) and status.st_blocks < 1 << 16:  # noqa: PTH113, PTH114
                with open(path, "rb") as file:  # noqa: PTH123
                    digest = hashlib.blake2b()
                    while status.st_size < 1 << 26 and (piece := file.read(1 << 20)):
                        digest.update(piece)
                    content = digest.digest()
            out[os.fsdecode(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink, content)
    return out


def good_log(run: Path) -> None:
    """A log of a run that diverged: its verdict is known and rests on nothing else."""
    run.mkdir(parents=True, exist_ok=True)
    lines = []
    loss = 2.3
    for step in range(0, 400, 5):
        loss = loss * 0.985 if step < 200 else loss * 1.35
        shown = "nan" if step > 380 else f"{loss:.5g}"
        lines.append(f"step {step} loss {shown} lr 0.5 grad_norm {1.0 if step < 200 else loss * 3:.4g}")
    (run / "train.log").write_text("\n".join(lines) + "\n")
