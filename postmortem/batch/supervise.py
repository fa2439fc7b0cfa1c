"""One run under supervision: `analyze_one(task)` is the unit that any executor is handed.

The thread that runs it keeps one child process, which imports the package once and analyses run after run. A run that
hangs, eats memory or brings the process down costs that run alone: the child is killed and the next run gets a new one.
"""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from contextlib import suppress

from postmortem.batch.child import failed, frame, request, result_from
from postmortem.batch.task import Result, Task
from postmortem.errors import PostmortemError
from postmortem.model.batch import RowStatus
from postmortem.supervision import End, EndedError, death, heard

# -P: the working directory may hold anything, and must not be imported from
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "postmortem.batch.child")
START = 120.0  # seconds until a child has to be ready
MOST_ANSWER = 512 << 20  # bytes
MOST_RUNS = 500  # per child: what leaks in a library ends with it
MOST_SAID = 1 << 20  # bytes on standard error
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

_children: "weakref.WeakSet[Child]" = weakref.WeakSet()
_mine = threading.local()
_stopping = threading.Event()


class StartError(PostmortemError):
    """No process can be started that analyses runs: nothing is wrong with the run, and going on with the next is no use."""


class Child:
    """A process that analyses runs, one at a time."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._reading = threading.Lock()  # held while its answer is waited for: nobody else closes what is read then
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
        self.process = subprocess.Popen(  # noqa: S603 - our own module
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, start_new_session=True, env=environment, bufsize=0
        )
        _children.add(self)
        self.runs = 0
        try:
            self._read(time.monotonic() + START, 0)
        except EndedError as ended:
            said = self._last_words()
            self.kill()
            raise StartError(f"the process that analyses runs cannot be started: {said or ended}") from ended

    @property
    def spent(self) -> bool:
        """Whether a new one should take over."""
        return self.runs >= MOST_RUNS or self.process.poll() is not None or os.fstat(self._said.fileno()).st_size > MOST_SAID

    def ask(self, task: Task) -> Result:
        """The result of a run. Raises `EndedError` when the process had to be killed or died."""
        self.runs += 1
        deadline = time.monotonic() + task.limits.seconds
        try:
            stdin = self.process.stdin
            assert stdin is not None
            stdin.write(frame(request(task)))
        except (OSError, ValueError):  # ValueError: closed
            raise EndedError(End.CRASHED, self._death()) from None
        try:
            return result_from(self._read(deadline, task.limits.memory))
        except (ValueError, TypeError, KeyError) as error:
            raise EndedError(End.CRASHED, f"the answer was damaged: {type(error).__name__}") from error

    def _read(self, deadline: float, memory: int) -> bytes:
        """One frame before the deadline, while the process keeps within `memory` MB (0: whatever it needs)."""
        stdout = self.process.stdout
        assert stdout is not None
        with self._reading:
            if stdout.closed:  # killed by another thread before it was read from
                raise EndedError(End.CRASHED, self._death())
            file = stdout.fileno()
            got = bytearray()
            wanted = 8
            while True:
                chunk = heard(file, self.process.pid, deadline - time.monotonic(), memory)
                if chunk is None:
                    continue
                if not chunk:
                    raise EndedError(End.CRASHED, self._death())
                got += chunk
                if wanted == 8 and len(got) >= 8:
                    wanted = 8 + int.from_bytes(got[:8], "big")
                    if wanted > MOST_ANSWER:
                        raise EndedError(End.CRASHED, "the answer was too large")
                if len(got) >= wanted > 8:
                    return bytes(got[8:wanted])

    def _death(self) -> str:
        """How the process ended, in words."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)
        return death(self.process.poll())

    def _last_words(self) -> str:
        """The last line on standard error."""
        size = os.fstat(self._said.fileno()).st_size
        tail = os.pread(self._said.fileno(), 2000, max(0, size - 2000)).decode("utf-8", "replace").strip()
        return tail.rpartition("\n")[2][:300]

    def kill(self) -> None:
        """End the process and what it started, from any thread: the one that reads its answer sees it end, and closes it itself."""
        if self.process.poll() is None:
            with suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(self.process.pid, signal.SIGKILL)
                else:
                    self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10.0)
        if not self._reading.acquire(blocking=False):
            return
        try:
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            self._said.close()
            _children.discard(self)
        finally:
            self._reading.release()


def analyze_one(task: Task) -> Result:
    """Analyse one run; whatever happens becomes a row. A child that died without being asked to is given a second chance."""
    start = time.monotonic()
    for attempt in (1, 2):
        try:
            return _child().ask(task)
        except EndedError as ended:
            _drop()
            if ended.end is not End.CRASHED or attempt == 2 or _stopping.is_set():
                return Result(failed(task, RowStatus(ended.end), str(ended), time.monotonic() - start))
        except BaseException:
            _drop()
            raise
    raise AssertionError


def stop_children() -> None:
    """Kill all children of this process: the batch was interrupted or is over."""
    for child in list(_children):
        child.kill()


def interrupt() -> None:
    """No second chances from now on, then kill."""
    _stopping.set()
    stop_children()


def resume() -> None:
    """Second chances again."""
    _stopping.clear()


def _child() -> Child:
    child: Child | None = getattr(_mine, "child", None)
    if child is None or child.spent:
        _drop()
        if _stopping.is_set():  # it was killed by the interruption: none takes over
            raise EndedError(End.CRASHED, "the batch was interrupted")
        child = _mine.child = Child()
        if _stopping.is_set():  # the interruption came while it started, and has not seen it
            child.kill()
    return child


def _drop() -> None:
    child: Child | None = getattr(_mine, "child", None)
    if child is not None:
        child.kill()
        _mine.child = None


atexit.register(stop_children)
