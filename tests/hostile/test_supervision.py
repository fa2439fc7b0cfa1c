"""A single command is analysed in a process that can be ended: what hangs, eats memory or dies costs one sentence."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postmortem import supervision
from postmortem.errors import GivenUpError
from postmortem.supervision import Limits, doing, supervised
from tests.hostile.harness import good_log
from tests.warm import Going, Warm

PRELUDE = "import sys, os, time, signal, ctypes, subprocess, tempfile, pathlib, postmortem.sources as s\nfrom postmortem.supervision import doing\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A run and an empty directory for temporary files, which has to be empty afterwards."""
    good_log(tmp_path / "run")
    (tmp_path / "tmp").mkdir()
    yield tmp_path
    assert list((tmp_path / "tmp").iterdir()) == []


WARM: list[Warm] = []


@pytest.fixture(scope="module", autouse=True)
def _warm(a_warm_process: Warm) -> None:
    WARM[:] = [a_warm_process]


def start(place: Path, code: str, *arguments: str, command: str = "analyze") -> Going:
    """The command line, with `code` instead of discovery."""
    script = f"{PRELUDE}def planted(*a, **k):\n    doing('model.pt')\n    tempfile.mkdtemp()\n    {code}\ns.discover = planted\n"
    return WARM[0].start([command, *arguments, str(place / "run")], place, script, TMPDIR=str(place / "tmp"))


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        ("time.sleep(100)", ["--timeout", "1"], "it took longer than the time limit"),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(100)", ["--timeout", "1"], "time limit"),
        ("x = [bytearray(b'x' * (1 << 20)) for i in range(400) if not time.sleep(0.003)]; time.sleep(100)", ["--memory", "300"], "more than 300 MB"),
        ("bytearray(1 << 44)", [], "more memory was wanted"),
        ("ctypes.string_at(0)", [], "SIGSEGV"),
        ("os.abort()", [], "SIGABRT"),
        ("os.kill(os.getpid(), 9)", [], "SIGKILL"),
    ],
)
@pytest.mark.parametrize("command", ["analyze", "sources"])
def test_what_would_hurt_is_one_sentence(place: Path, command: str, code: str, arguments: list[str], words: str) -> None:
    begun = time.monotonic()
    going = start(place, code, *arguments, command=command)
    out, err = going.communicate(timeout=60)
    assert (out, err.count("\n"), going.returncode) == ("", 1, 4)
    assert words in err
    if "SIG" in words or "took" in words:
        assert " at model.pt: " in err
    assert time.monotonic() - begun < 40
    assert not list(place.glob("*.html"))


@pytest.mark.parametrize(
    ("number", "status", "words"), [(signal.SIGINT, 130, "postmortem: interrupted\n"), (signal.SIGTERM, 143, "postmortem: interrupted\n")]
)
@pytest.mark.parametrize(
    "code", ["print('here', flush=True); time.sleep(60)", "signal.signal(15, signal.SIG_IGN); print('here', flush=True); time.sleep(60)"]
)
def test_a_signal_ends_both(place: Path, number: int, status: int, words: str, code: str) -> None:
    """Also a process that heeds none."""
    going = start(place, code)
    assert going.stdout.readline() == "here\n"
    going.send_signal(number)
    _, err = going.communicate(timeout=20)
    assert going.returncode == status
    assert err == words or (number == signal.SIGTERM and not err)


def test_a_terminal_interrupts_both_at_once(place: Path) -> None:
    going = start(place, "print('here', flush=True); time.sleep(60)")
    going.stdout.readline()
    os.killpg(going.pid, signal.SIGINT)
    assert going.communicate(timeout=20)[1] == "postmortem: interrupted\n"
    assert going.returncode == 130


def test_an_interrupt_that_comes_in_a_destructor_is_not_lost(place: Path) -> None:
    """Python prints what a destructor raises, and goes on; a terminal's Ctrl-C may come just then."""
    code = "D = type('D', (), {'__del__': lambda _: (os.kill(os.getpid(), signal.SIGTERM), [0 for _ in range(10**4)])})\n    D()\n    time.sleep(20)"
    process = start(place, code)
    out, err = process.communicate(timeout=30)
    assert "Traceback" not in err, err
    assert "Exception ignored" not in err, err
    assert not out
    assert process.returncode not in (0, -signal.SIGKILL)


def test_the_child_ends_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    good_log(tmp_path / "run")
    going = start(tmp_path, "print(os.getpid(), flush=True); time.sleep(60)")
    child = int(going.stdout.readline())
    assert child != going.pid
    going.kill()
    going.communicate()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or ") Z " in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.1)
    pytest.fail("it went on")


def test_a_training_job_that_is_still_piped_in_has_time(place: Path) -> None:
    script = "from postmortem.cli.main import main\nmain()"
    going = subprocess.Popen(
        [sys.executable, "-c", script, "analyze", "-", "--timeout", "4", "--json", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(place / "tmp")},
    )  # fmt: skip
    time.sleep(5)
    out, err = going.communicate((place / "run" / "train.log").read_bytes(), timeout=60)
    assert going.returncode == 0, err
    assert b'"exploding-gradients"' in out


@pytest.mark.parametrize("wrong", [["--timeout", "-1"], ["--memory", "-5"], ["--timeout", "nan"], ["--timeout", "x"]])
def test_wrong_limits_are_a_usage_error(place: Path, wrong: list[str]) -> None:
    going = start(place, "pass", *wrong)
    assert going.communicate(timeout=30)[1].count("\n") == 1
    assert going.returncode == 2


def test_status_and_word_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert supervised(lambda: 7, Limits()) == 7
    assert supervised(os.getpid, Limits(0, 0)) == os.getpid()  # no limits, no fork

    def slow() -> int:
        doing("a\0b.pt")
        time.sleep(1.5)
        return 3

    with pytest.raises(GivenUpError, match=r"at a\?b\.pt"):
        supervised(slow, Limits(0.3, 0))
    monkeypatch.setattr(supervision, "PER_SECOND", 1)
    assert supervised(slow, Limits(0.3, 0), size=lambda: 30) == 3  # a large run has more time
    with pytest.raises(GivenUpError):
        supervised(slow, Limits(0.3, 0), size=lambda: 0)
    assert not list(tmp_path.iterdir())
