"""The command line in children of a process that has imported everything: quick, where the start of a process is not what is tested.

python tests/warm.py FOLDER        requests as JSON lines on standard input, the exit status of each on standard output
"""

import gc
import json
import os
import pkgutil
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

SECONDS = 120.0  # of the clock, for one command


@dataclass(frozen=True)
class Warm:
    """A process that forks a child per command. Streams are files in `folder`."""

    folder: Path
    process: "subprocess.Popen[str]"

    def __call__(self, arguments: Sequence[str], cwd: Path, stdin: bytes = b"") -> "subprocess.CompletedProcess[str]":
        """What a command does in a directory, in the surroundings that this process has now."""
        (self.folder / "0").write_bytes(stdin)
        request = {"arguments": list(arguments), "cwd": os.fsdecode(cwd), "environment": dict(os.environ)}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], SECONDS)[0], f"it took longer than {SECONDS} s"
        status = int(self.process.stdout.readline())
        return subprocess.CompletedProcess(list(arguments), status, (self.folder / "1").read_text("utf-8"), (self.folder / "2").read_text("utf-8"))


@contextmanager
def warm(folder: Path) -> Iterator[Warm]:
    """One for a module of tests."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-P", __file__, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            yield Warm(folder, process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(SECONDS)


def child(request: dict[str, object], folder: Path) -> None:
    """Become the command: what a shell would have set, then `main`, which leaves the process."""
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), (2, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
        handle = os.open(folder / str(number), flags, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    os.chdir(str(request["cwd"]))
    sys.argv = ["postmortem", *request["arguments"]]  # type: ignore[misc]
    from postmortem.cli.main import main

    status = 0
    try:
        main()
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve(folder: Path) -> None:
    """Import what an analysis imports, by doing one in a child's place; then fork for each request."""
    import postmortem.cli

    run = folder / "warm"
    run.mkdir()
    (run / "train.log").write_text("".join(f"epoch {i} train_loss {2.0 / (i + 1):.4f} lr 0.01\n" for i in range(30)))
    postmortem.analyze(run).to_html()
    for command in pkgutil.iter_modules(postmortem.cli.__path__):
        import_module(f"postmortem.cli.{command.name}")
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            child(json.loads(line), folder)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
