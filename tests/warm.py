"""The command line in children of a process that has imported everything: quick, where the start of a process is not what is tested.

python tests/warm.py FOLDER        requests as JSON lines on standard input: a command, answered by its process's number, or one to wait for, by its exit status
"""

import gc
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TextIO

SECONDS = 120.0  # of the clock, for one command
STREAMS = {"0": os.O_RDONLY, "1": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "2": os.O_WRONLY | os.O_CREAT | os.O_TRUNC}


@dataclass(frozen=True)
class Warm:
    """A process that forks a child per command. Streams are files in `folder`."""

    folder: Path
    process: "subprocess.Popen[str]"

    def __call__(self, arguments: Sequence[str], cwd: Path, stdin: bytes = b"") -> "subprocess.CompletedProcess[str]":
        """What a command does in a directory, in the surroundings that this process has now."""
        (self.folder / "0").write_bytes(stdin)
        status = self.wait(self._start(arguments, cwd, {}), SECONDS)
        return subprocess.CompletedProcess(list(arguments), status, (self.folder / "1").read_text("utf-8"), (self.folder / "2").read_text("utf-8"))

    def start(self, arguments: Sequence[str], cwd: Path, code: str, **environment: str) -> "Going":
        """A command that goes on, in a session of its own, after `code` was run in its process. It has no standard input."""
        (self.folder / "0").write_bytes(b"")
        for name in ("1", "2"):
            (self.folder / name).unlink(missing_ok=True)
        os.mkfifo(self.folder / "1")
        stdout = os.open(self.folder / "1", os.O_RDONLY | os.O_NONBLOCK)
        pid = self._start(arguments, cwd, environment, code=code)
        os.set_blocking(stdout, True)
        stderr = (self.folder / "2").open(encoding="utf-8")
        for name in ("1", "2"):
            (self.folder / name).unlink()  # the next command has others
        return Going(self, pid, os.fdopen(stdout, encoding="utf-8"), stderr)

    def _start(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], **more: object) -> int:
        """The number of the process that is the command."""
        return self._ask({"arguments": list(arguments), "cwd": os.fsdecode(cwd), "environment": {**os.environ, **environment}, **more}, SECONDS)

    def wait(self, pid: int, seconds: float) -> int:
        """The status of a process that was started here, once it has ended."""
        return self._ask({"wait": pid}, seconds)

    def _ask(self, request: Mapping[str, object], seconds: float) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], seconds)[0], f"it took longer than {seconds} s"
        return int(self.process.stdout.readline())


@dataclass
class Going:
    """A command that was started. What it writes until it ends fits into a pipe."""

    warm: Warm
    pid: int
    stdout: TextIO
    stderr: TextIO
    returncode: int | None = None

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = SECONDS) -> tuple[str, str]:
        """What it wrote and has not been read, once it has ended."""
        self.returncode = self.warm.wait(self.pid, timeout)
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()


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


def child(request: dict[str, object], streams: Sequence[int]) -> None:
    """Become the command: what a shell would have set, then `main`, which leaves the process."""
    for number, handle in enumerate(streams):
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    tempfile.tempdir = None  # as the environment says
    os.chdir(str(request["cwd"]))
    sys.argv = ["postmortem", *request["arguments"]]  # type: ignore[misc]
    from postmortem.cli.main import main

    status = 0
    try:
        if "code" in request:
            os.setsid()
            exec(str(request["code"]), {"__name__": "__main__"})
        main()
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else 0
    except BaseException:
        status = 1
        traceback.print_exc()
    finally:
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
        request = json.loads(line)
        if "wait" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
            continue
        streams = [os.open(folder / name, flags, 0o600) for name, flags in STREAMS.items()]  # before anybody reads from them
        pid = os.fork()
        if not pid:
            child(request, streams)
        for handle in streams:
            os.close(handle)
        print(pid, flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
