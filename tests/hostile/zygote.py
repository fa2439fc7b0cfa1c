"""Runs the command line over hostile runs, each in a forked child with limits, under an audit hook.

    python zygote.py        requests as JSON lines on standard input, an answer per line on standard output

The parent imports everything and analyses one harmless run first, so that what a child imports, compiles, opens or starts
afterwards is due to the input. A request names the arguments, the places that may be read and written, and the limits.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import re
import resource
import select
import signal
import sys
import sysconfig
import traceback
from pathlib import Path

ALLOWED_IMPORTS = frozenset(sys.stdlib_module_names) | {
    "postmortem", "numpy", "orjson", "yaml", "_yaml", "jinja2", "markupsafe", "matplotlib", "rich", "typer", "click", "numba", "PIL",
    "pygments", "dateutil", "six", "packaging", "pyparsing", "cycler", "kiwisolver", "contourpy", "mpl_toolkits", "cython_runtime", "scipy",
}  # fmt: skip
NEVER = frozenset({
    "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.startfile", "os.link", "os.symlink", "os.chown", "os.putenv", "os.unsetenv",
    "socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "ctypes.dlopen", "ctypes.dlsym", "pickle.find_class",
    "marshal.loads", "marshal.load", "builtins.input", "urllib.Request", "webbrowser.open", "shutil.unpack_archive", "pty.spawn", "code.__new__",
    "sqlite3.enable_load_extension", "sqlite3.load_extension", "ftplib.connect", "telnetlib.Telnet.open", "smtplib.connect", "os.forkpty",
})  # fmt: skip
PROJECT = Path(__file__).resolve().parents[2]
CODE = tuple(
    {str(PROJECT / "postmortem"), str(PROJECT / "templates"), *map(os.path.realpath, (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()))}
)
SYSTEM = (
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/etc/localtime",
    "/usr/share",
    "/proc/mounts",
)
CHILD = str(PROJECT / "postmortem" / "sources" / "checkpoints" / "hdf5_child.py")


class Watch:
    """Notes what a child does that reading a run does not need."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.notes = -1  # a file, which processes forked from this one write to as well
        self.forks = 0
        self.armed = False
        self.read: tuple[str, ...] = ()
        self.write: tuple[str, ...] = ()

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if not self.armed or len(self.seen) > 20:
            return
        self.armed = False
        try:
            if what := self.wrong(event, args):
                self.seen.append("")
                os.write(self.notes, f"{event}: {what}"[:300].replace("\n", " ").encode("utf-8", "replace") + b"\n")
        finally:
            self.armed = True

    def wrong(self, event: str, args: tuple[object, ...]) -> str:
        if event in ("os.putenv", "os.unsetenv") and b"PYDANTIC" in bytes(args[0]):  # type: ignore[arg-type]
            return ""  # typer, while it starts
        if event == "os.fork":  # the supervisor's, one
            self.forks += 1
            return "" if self.forks == 1 else "again"
        if event == "os.kill":
            return "" if self.own(int(str(args[0]))) else repr(args)
        if event in NEVER:
            if event.startswith("marshal") and self.importing():
                return ""
            return repr(args)
        if event == "import":
            top = str(args[0]).partition(".")[0]
            return "" if top in ALLOWED_IMPORTS else repr(args[0])
        if event in ("exec", "compile"):
            return self.code(event, args)
        if event == "subprocess.Popen":
            command = [str(part) for part in args[1]]  # type: ignore[attr-defined]
            return "" if command == [sys.executable, "-P", CHILD] else repr(command)
        if event == "open":
            return self.opened(args)
        if event in (
            "os.remove",
            "os.rename",
            "os.mkdir",
            "os.rmdir",
            "os.truncate",
            "os.chmod",
            "os.utime",
            "shutil.rmtree",
            "os.mkfifo",
            "tempfile.mkstemp",
        ):
            return self.changed(args[:2] if event == "os.rename" else args[:1])
        if event in ("os.listdir", "os.scandir"):
            return self.looked(args[0])
        return ""

    def code(self, event: str, args: tuple[object, ...]) -> str:
        """Code comes from the program's own files, or is made by a library while it is imported."""
        name = str(args[1]) if event == "compile" else getattr(args[0], "co_filename", "?")
        if name.startswith((*CODE, "<frozen")) or os.path.realpath(name).startswith(CODE):
            return ""
        return "" if self.importing() else f"{name}: {str(args[0])[:100]!r}"

    def importing(self) -> bool:
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return True
            frame = frame.f_back
        return False

    def opened(self, args: tuple[object, ...]) -> str:
        path, mode, flags = args[0], str(args[1] or ""), args[2] if isinstance(args[2], int) else 0
        if isinstance(path, int):
            return ""
        writes = bool(set(mode) & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        place = self.place(path)
        if place.startswith(self.write) or place == "/dev/null":
            return ""
        if writes:
            return f"writes {place}"
        if re.fullmatch(r"/proc/\d+/statm", place):  # the supervisor's look at a child's memory
            return ""
        return "" if place.startswith((*self.read, *CODE, *SYSTEM)) else f"reads {place}"

    @staticmethod
    def own(pid: int) -> bool:
        """Whether a process is a child of this one."""
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return int(stat.rpartition(")")[2].split()[1]) == os.getpid()

    def changed(self, paths: tuple[object, ...]) -> str:
        places = [self.place(path) for path in paths if path is not None]
        return "" if all(place.startswith(self.write) for place in places) else f"changes {places}"

    def looked(self, path: object) -> str:
        place = self.place(path) if path is not None else os.getcwd()  # noqa: PTH109
        return "" if place.startswith((*self.read, *self.write, *CODE, *SYSTEM)) or isinstance(path, int) else f"lists {place}"

    @staticmethod
    def place(path: object) -> str:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
        return os.path.realpath(text)


WATCH = Watch()


def warm(folder: str) -> None:
    """Import whatever an analysis imports, by doing one."""
    from postmortem.cli.main import app
    from postmortem.sources.registry import readers

    readers()
    import sqlite3  # noqa: F401
    import zipfile  # noqa: F401

    import yaml  # noqa: F401

    os.environ.update(POSTMORTEM_TIMEOUT="0", POSTMORTEM_MEMORY="0")  # in this process
    run = Path(folder, "warm")
    run.mkdir()
    lines = [f"epoch {i} train_loss {2.0 / (i + 1):.4f} val_loss {2.2 / (i + 1):.4f} lr 0.01" for i in range(30)]
    run.joinpath("train.log").write_text("\n".join(lines) + "\n")
    run.joinpath("config.yaml").write_text("lr: 0.01\n")
    import numpy as np

    np.savez(run / "model.npz", **{"a.weight": np.ones((4, 4), np.float32)})
    for more in (["-o", f"{folder}/warm.html"], ["--json", f"{folder}/warm.json", "--markdown", f"{folder}/warm.md"], []):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.chdir(folder), contextlib.suppress(BaseException):
            app(["analyze", str(run), *more], prog_name="postmortem", standalone_mode=False)
    with contextlib.redirect_stdout(io.StringIO()):
        for command in ("sources", "inspect"):
            with contextlib.suppress(BaseException):
                app([command, str(run)], prog_name="postmortem", standalone_mode=False)
    del os.environ["POSTMORTEM_TIMEOUT"], os.environ["POSTMORTEM_MEMORY"]


def child(request: dict[str, object], out: int) -> None:
    """Never returns: runs the command line in this process and leaves with its status."""
    streams = Path(str(request["streams"]))
    for number, name in ((1, "stdout"), (2, "stderr")):
        handle = os.open(f"{streams}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w", closefd=False), encoding="utf-8", errors="replace") for n in (1, 2))
    for kind, most in request["limits"].items():  # type: ignore[attr-defined]
        resource.setrlimit(getattr(resource, kind), (most, most))
    os.environ.update(request.get("environment", {}))  # type: ignore[arg-type]
    for name in request.get("unset", ()):  # type: ignore[attr-defined]
        os.environ.pop(name, None)
    for name in request.get("missing", ()):  # type: ignore[attr-defined]
        for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            del sys.modules[module]
        sys.modules[name] = None  # type: ignore[assignment]
    for place, limit in request.get("smaller", {}).items():  # type: ignore[attr-defined]
        module, _, name = place.rpartition(".")
        assert getattr(importlib.import_module(module), name) > limit
        setattr(sys.modules[module], name, limit)
    os.chdir(str(request["folder"]))
    if request.get("user"):
        os.setgid(int(str(request["user"])))
        os.setuid(int(str(request["user"])))
    sys.argv = ["postmortem", *request["arguments"]]  # type: ignore[misc]
    WATCH.read = tuple(os.path.realpath(p) for p in request["read"])  # type: ignore[attr-defined]
    WATCH.write = tuple(os.path.realpath(p) for p in request["write"])  # type: ignore[attr-defined]
    import tempfile

    tempfile.tempdir = None
    from postmortem.cli.main import main

    status = 0
    WATCH.notes = os.open(f"{streams}.notes", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    WATCH.armed = True
    try:
        if request.get("canary"):
            exec(compile(str(request["canary"]), "<canary>", "exec"))
        main()
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        status = 99
    WATCH.armed = False
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    seen = os.pread(WATCH.notes, 1 << 20, 0).decode("utf-8", "replace")
    used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    os.write(out, json.dumps({"status": status, "seen": seen.split("\n")[:-1], "peak": peak, "seconds": used}).encode())
    os._exit(0)


def answer(request: dict[str, object]) -> dict[str, object]:
    """What became of one child; it is killed after its time, and interrupted first if asked."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        os.setpgid(0, 0)
        try:
            child(request, write)
        finally:
            os._exit(98)
    os.close(write)
    limit = float(str(request["seconds"]))
    if request.get("interrupt_after") is not None:
        ready, _, _ = select.select([read], [], [], float(str(request["interrupt_after"])))
        if not ready:
            os.kill(pid, signal.SIGINT)
    ready, _, _ = select.select([read], [], [], limit)
    told = b""
    if ready:
        while piece := os.read(read, 1 << 16):
            told += piece
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    os.close(read)
    _, status = os.waitpid(pid, 0)
    return json.loads(told) if told else {"status": -1, "seen": [], "peak": 0, "seconds": limit, "died": status, "late": not ready}


def main() -> None:
    sys.modules["numba"] = None  # type: ignore[assignment] - compiling is code that is made and run; the plain paths read the same
    sys.addaudithook(WATCH)
    warm(sys.argv[1])
    gc.freeze()  # what is there stays, and is not copied into each child by a collection
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
