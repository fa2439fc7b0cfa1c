"""A process that reads what strangers made, and one that ends it at its limits. Shared by single commands and by `batch`.

What is supervised cannot hang its reader, fill memory or disk, or take the program down with it: it is killed, and what it
was at is said in one sentence. Where the system cannot fork, a single command runs without a supervisor.
"""

import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from postmortem.errors import GivenUpError

LOOK = 0.05  # seconds between two looks at a child's memory
STOOD_STILL = 1.0  # seconds between two looks that count at most: a suspended terminal or machine is no slow run
SPARE = 2048  # MB of address space for data beyond twice the limit of resident memory
MOST_WRITTEN = 24 << 30  # bytes of one file; an archive unpacks to 20 GiB at most
PER_SECOND = 20 << 20  # bytes of a run that buy a further second when no time was stated
UNSAID = 254  # exit status of a child that was interrupted before or after its work, which says so
PATIENCE = 3.0  # seconds for a child to tidy up after an interrupt
A_MOMENT = 0.01  # seconds, in which the callback ends that an interrupt came in

_reports: list[int] = []  # in a supervised process: the pipe on which it says what it is at


class End(StrEnum):
    """Why a supervised process gave no answer."""

    CRASHED = "crashed"
    TIMEOUT = "timeout"
    MEMORY = "memory"


class EndedError(Exception):
    """The process's answer will not come."""

    def __init__(self, end: End, reason: str) -> None:
        super().__init__(reason)
        self.end = end


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may cost before it is given up; 0: whatever it needs."""

    seconds: float = 60.0
    memory: int = 4096  # MB of resident memory


def limit_this(limits: Limits) -> None:
    """Bound this process's address space and the files it writes, as far as the system knows such bounds; no core dumps."""
    try:
        import resource
    except ImportError:  # the supervisor watches the clock alone
        return
    wanted = {resource.RLIMIT_FSIZE: MOST_WRITTEN, resource.RLIMIT_CORE: 0}
    if limits.memory:
        wanted[resource.RLIMIT_DATA] = (2 * limits.memory + SPARE) << 20
    for kind, most in wanted.items():
        soft, hard = resource.getrlimit(kind)
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (min(b for b in (most, soft, hard) if b != resource.RLIM_INFINITY), hard))


def resident(pid: int) -> int:
    """Bytes of resident memory of a process, 0 where the system does not say."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - asked for often
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def heard(file: int, pid: int, left: float, memory: int) -> bytes | None:
    """What a child wrote within a look's time; b"" at the end of its stream, None for nothing yet.

    `left` in seconds, `memory` in MB (0: whatever it needs). Raises `EndedError` when either is spent.
    """
    if left <= 0:
        raise EndedError(End.TIMEOUT, "it took longer than the time limit")
    ready, _, _ = select.select([file], [], [], min(left, LOOK))
    if ready:
        return os.read(file, 1 << 20)
    if memory and resident(pid) > memory << 20:
        raise EndedError(End.MEMORY, f"it took more than {memory} MB of memory")
    return None


def death(code: int | None) -> str:
    """How a process ended, in words: its exit status, or the negative number of the signal that ended it."""
    if code is None:
        return "the analyzing process closed its pipe"
    if code >= 0:
        return f"the analyzing process ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the analyzing process was ended by {name}"


def doing(what: str) -> None:
    """Tell the supervisor what is being read, if there is one; its last word is part of the sentence when this process is ended."""
    word = what.encode("utf-8", "replace")[:300].replace(b"\0", b"?") + b"\0"
    for pipe in _reports:
        with suppress(OSError):
            os.write(pipe, word)


def supervised(work: Callable[[], int], limits: Limits, *, size: Callable[[], int] | None = None, patient: bool = False) -> int:
    """The exit status of `work`, done in a fork of this process that is killed at the limits.

    size : bytes of the run, asked for when the time is up; each `PER_SECOND` of them buys a second.
    patient : the clock starts with the first `doing` (standard input may be a training job that still runs).
    Raises `GivenUpError` when the process was ended or died, `KeyboardInterrupt` when it did not heed one. No limits, no fork.
    """
    if not hasattr(os, "fork") or not (limits.seconds or limits.memory):
        return work()
    with _private_folder() as folder:
        return _Forked(work, limits, folder).status(size, patient=patient)


class _Forked:
    """One fork of this process and what is known of it."""

    def __init__(self, work: Callable[[], int], limits: Limits, folder: str | None) -> None:
        self.limits = limits
        self.at = ""  # its last word
        self.signals: list[int] = []  # that this process was sent
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.words, report = os.pipe()
        held, self.hold = os.pipe()  # closes with this process
        passed_on = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.words)
            os.close(self.hold)
            _work(work, limits, folder, report, held, mask)
        os.close(report)
        os.close(held)
        self.before = {number: signal.signal(number, self._pass_on) for number in passed_on}
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _pass_on(self, number: int, _: object) -> None:
        self.signals.append(number)
        os.kill(self.pid, signal.SIGTERM if len(self.signals) == 1 else signal.SIGKILL)

    def status(self, size: Callable[[], int] | None, *, patient: bool) -> int:
        """Wait for the end. Raises as `supervised`."""
        try:
            try:
                self._watch(size, patient=patient)
            finally:
                for number, handler in self.before.items():
                    signal.signal(number, handler)
                os.close(self.words)
        except BaseException as error:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            if isinstance(error, KeyboardInterrupt) and self._terminated:
                return 128 + self.signals[0]
            if isinstance(error, EndedError):
                raise GivenUpError(f"the analysis was given up{self._where()}: {error}; --timeout and --memory allow more") from error
            raise
        finally:
            os.close(self.hold)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self._terminated:
            return 128 + self.signals[0]
        if self.signals and (code < 0 or code == UNSAID):
            raise KeyboardInterrupt
        if code >= 0:
            return code
        raise GivenUpError(f"the analysis came to an end{self._where()}: {death(code)}. Please report it")

    def _watch(self, size: Callable[[], int] | None, *, patient: bool) -> None:
        most = self.limits.seconds or float("inf")
        spent, last, since = 0.0, time.monotonic(), 0.0
        while True:
            word = heard(self.words, self.pid, most - spent, self.limits.memory)
            if word == b"":
                return
            if word:
                self.at = word.rstrip(b"\0").rpartition(b"\0")[2].decode("utf-8", "replace")
                patient = False
            now = time.monotonic()
            passed, last = min(now - last, STOOD_STILL), now
            spent += 0.0 if patient else passed
            if spent >= most and size is not None:
                most, size = max(most, size() / PER_SECOND), None
            since += passed if self.signals else 0.0
            if since > PATIENCE:
                raise KeyboardInterrupt

    @property
    def _terminated(self) -> bool:
        """Whether this process was told to end by something other than Ctrl-C."""
        return bool(self.signals) and self.signals[0] != signal.SIGINT

    def _where(self) -> str:
        return f" at {self.at}" if self.at else ""


def _work(work: Callable[[], int], limits: Limits, folder: str | None, report: int, held: int, mask: "set[int] | set[signal.Signals]") -> NoReturn:
    """The forked process: never returns into the frames of the one that it was forked from."""
    status = GivenUpError.exit_status
    try:
        _reports.append(report)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the supervisor passes on one
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupted)
        sys.unraisablehook = _lost
        if folder is not None:
            tempfile.tempdir = folder
        limit_this(limits)
        threading.Thread(target=_end_with, args=(held,), daemon=True).start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = work()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
    except KeyboardInterrupt:
        status = UNSAID
    finally:
        os._exit(status)


def _interrupted(_: int, __: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: tidying up is not interrupted
    raise KeyboardInterrupt


def _lost(what: "sys.UnraisableHookArgs") -> None:
    """An interrupt that came where none can be raised, in a destructor or in the callback of a weak reference, comes again a moment later."""
    if not isinstance(what.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(what)
        return
    signal.signal(signal.SIGTERM, _interrupted)
    threading.Timer(A_MOMENT, os.kill, (os.getpid(), signal.SIGTERM)).start()


def _end_with(held: int) -> None:
    """End this process when the other end of a pipe is closed, which only the supervisor holds."""
    os.read(held, 1)
    os._exit(130)


@contextmanager
def _private_folder() -> Iterator[str | None]:
    """A directory for temporary files that is emptied whatever becomes of the process that uses it; None where there is no place for one."""
    try:
        folder = tempfile.mkdtemp(prefix="postmortem-")
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
