"""What the system sees of an analysis, C libraries included: nothing outside the run is opened, nothing is started, nothing is connected to."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hostile.checkpoints import CHECKPOINTS
from tests.hostile.harness import good_log, state
from tests.hostile.logs import LOGS
from tests.hostile.places import PLACES

CASES = {**CHECKPOINTS, **LOGS, **PLACES}
LEFT_OUT = re.compile(r"bomb|10\^|2 GB|deep")  # those for time and memory, which are tested without strace, which slows them down
PARTS = 3
CALLS = "openat,open,creat,execve,execveat,socket,connect,bind,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mkdir,mkdirat,truncate"
STOPS = ("-f", "--seccomp-bpf")  # at the calls asked for alone, not at every call: four times as quick
INTERPRETER = tuple(
    {os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *filter(None, sys.path), Path(__file__).parents[2])}
)
SYSTEM = (
    "/usr/lib", "/lib", "/usr/local/lib", "/etc/ld.so", "/usr/share", "/etc/localtime", "/etc/locale", "/dev/null", "/dev/urandom", "/proc/", "/sys/devices/system/",
    "/sys/fs/cgroup", "/sys/kernel/mm", "/etc/nsswitch.conf", "/etc/passwd", "/etc/ssl/openssl.cnf",
)  # fmt: skip
OPENED = re.compile(r"(?:openat|open|creat)\(.*\) = \d+<(.*)>$")
CHANGED = re.compile(r"(?:unlink|unlinkat|rename|renameat2?|link|linkat|symlink|symlinkat|mkdir|mkdirat|truncate)\((.*)\) = 0$")


def traced(arguments: Sequence[str], folder: Path, home: Path) -> list[str]:
    """The calls of a command and of all that it starts."""
    log = folder / "trace"
    (folder / "scratch").mkdir()
    command = ["strace", *STOPS, "-y", "-qq", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(log), *arguments]
    done = subprocess.run(command, cwd=folder, env=surroundings(home, folder / "scratch"), capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


def surroundings(home: Path, scratch: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(home), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1", "POSTMORTEM_TIMEOUT": "300"}


def wrong(calls: Sequence[str], read: Path, write: Sequence[Path]) -> list[str]:
    """The calls that reading `read` and writing in `write` do not need."""
    out = []
    ours = tuple(str(p.resolve()) for p in write)
    readable = (*ours, str(read.resolve()), *INTERPRETER, *SYSTEM)
    for line in calls:
        call = line.partition(" ")[2].lstrip()
        opened = OPENED.match(call)
        if opened:
            writes = re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", call) and opened[1] != "/dev/null"
            if not opened[1].startswith(ours if writes else readable) or (opened[1] == "/etc/passwd" and "O_CLOEXEC" not in call):
                out.append(call)
        elif call.startswith("exec") and call.endswith(" = 0"):
            if f'["{sys.executable}", "-P"' not in call and '["uname", "-p"]' not in call:  # the latter is Python's `platform`
                out.append(call)
        elif call.startswith(("connect", "bind")) or (call.startswith("socket") and "AF_UNIX" not in call):
            if "/nscd/" not in call:  # libc asks who the user is
                out.append(call)
        elif (changed := CHANGED.match(call)) and not all(str(Path(p)).startswith(ours) for p in re.findall(r'"(/[^"]*)"', changed[1])):
            out.append(call)
    return out


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which matplotlib has looked for fonts (once, with `fc-list`) and numba has its cache."""
    tried = subprocess.run(["strace", *STOPS, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace cannot trace here: {tried.stderr.strip()[:100]}")
    folder = tmp_path_factory.mktemp("home")
    good_log(folder / "run")
    arguments = [sys.executable, "-P", "-m", "postmortem", "analyze", str(folder / "run"), "-o", str(folder / "report.html")]
    subprocess.run(arguments, env=surroundings(folder, folder), check=True, capture_output=True)
    return folder


@needs_strace
@pytest.mark.slow("every hostile run again, under strace; `test_end_to_end.py` watches the same runs by an audit hook in the ordinary run")
@pytest.mark.parametrize("part", range(PARTS))
def test_the_system_sees_nothing_but_the_run(part: int, home: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    good_log(run)
    for n, name in enumerate([name for name in CASES if not LEFT_OUT.search(name)][part::PARTS]):
        folder = run / f"{n:02d}" / "run"
        folder.mkdir(parents=True)
        CASES[name].build(folder)
    before = state(run)
    calls = traced([sys.executable, "-P", "-m", "postmortem", "analyze", str(run), "-o", str(out / "report.html")], tmp_path, home)
    assert (out / "report.html").stat().st_size > 10_000
    assert any(str(run / "train.log") in call for call in calls)
    assert wrong(calls, run, (out, home, tmp_path / "scratch")) == []
    assert state(run) == before
    assert list((tmp_path / "scratch").iterdir()) == []


@needs_strace
def test_it_would_be_seen(home: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    code = "import os, socket\nopen('/etc/hostname').read()\nopen('beside', 'w').close()\nos.system('true')\nsocket.socket()\nos.mkdir(os.path.abspath('new'))"
    calls = traced([sys.executable, "-P", "-c", code], tmp_path, home)
    seen = wrong(calls, run, (home,))
    for part in ("/etc/hostname", "beside", "execve(", "AF_INET", "mkdir"):
        assert any(part in call for call in seen), part
