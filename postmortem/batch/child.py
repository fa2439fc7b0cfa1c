"""The process that analyses one run after another. Started by `supervise`, which kills it at the limits.

Frames on both pipes: 8 bytes of length, then JSON. Standard output is the answer's alone: what a library prints goes to
standard error. When the supervisor is gone the process ends, in the middle of a run at the latest when its time is up.
"""

import json
import os
import queue
import signal
import struct
import sys
import threading
import time
from dataclasses import replace
from typing import BinaryIO

from postmortem.batch.fingerprint import with_limits
from postmortem.batch.task import Result, Task
from postmortem.errors import PostmortemError
from postmortem.model.batch import Row, RowStatus
from postmortem.model.codec import decode, encode
from postmortem.model.run import Run
from postmortem.supervision import limit_this

GRACE = 10.0  # seconds after its limit at which an orphan ends itself
_LENGTH = struct.Struct(">Q")


def analysed(task: Task) -> Result:
    """Analyse one run in this process. What goes wrong with it becomes a row; `MemoryError` too."""
    from postmortem.pipeline import analyze
    from postmortem.stated import stated_from

    start = time.perf_counter()
    seen: list[Run] = []
    options = task.options
    try:
        stated = stated_from(options.stated) if options.stated else None
        diagnosis = analyze(task.path, stated=stated, redact=options.redact, with_exhibits=options.reports, seen=seen.append)
        from postmortem.batch.facts import row_of

        row = row_of(task, seen[0] if seen else None, diagnosis, time.perf_counter() - start)
        html = diagnosis.to_html(options.lang) if options.reports and not (options.only_failed and row.good) else ""
        return Result(row, diagnosis.to_json(exhibits=False, indent=None), html)
    except PostmortemError as error:
        return Result(failed(task, RowStatus.UNREADABLE, str(error).replace(task.path, task.name), time.perf_counter() - start))
    except MemoryError:
        return Result(failed(task, RowStatus.MEMORY, f"more than {task.limits.memory} MB of memory were wanted", time.perf_counter() - start))
    except Exception as error:
        return Result(failed(task, RowStatus.CRASHED, _told(error, task), time.perf_counter() - start))


def failed(task: Task, status: RowStatus, reason: str, seconds: float) -> Row:
    """The row of a run that could not be analysed."""
    return Row(task.name, status, with_limits(task.fingerprint, status, task.limits), reason=reason[:400], seconds=round(seconds, 3))


def _told(error: Exception, task: Task) -> str:
    """An exception of the analyzer: what and where. Its text may quote the run, so names of places are left out."""
    trace = error.__traceback__
    where = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if f"{os.sep}postmortem{os.sep}" in file:
            where = f"{file.rpartition(os.sep)[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} in {where or 'a library'}: {str(error)[:200].replace(task.path, task.name)}"


def frame(data: bytes) -> bytes:
    """`data` with its length before it."""
    return _LENGTH.pack(len(data)) + data


def read_frame(stream: BinaryIO) -> bytes | None:
    """One frame, None at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else None


def request(task: Task) -> bytes:
    """A task as it travels."""
    return json.dumps(encode(task)).encode()


def answer(result: Result) -> bytes:
    """A result as it travels."""
    return json.dumps(encode(result), ensure_ascii=False).encode("utf-8", "replace")


def result_from(data: bytes) -> Result:
    """The result that `answer` sent; it can be pickled."""
    result: Result = decode(Result, json.loads(data))
    return replace(result, row=replace(result.row, settings=dict(result.row.settings)))


def main() -> None:
    """Serve tasks from standard input until it ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    import faulthandler

    faulthandler.enable()
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    _prepare()
    out.write(frame(b"ready"))
    out.flush()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, tasks), daemon=True).start()
    while True:
        task: Task = decode(Task, json.loads(tasks.get()))
        _limit(task)
        data = answer(analysed(task))
        _alarm(0)
        out.write(frame(data))
        out.flush()


def _prepare() -> None:
    """Import everything once, before the first clock starts. What is missing in this installation shows here."""
    import postmortem.batch.facts
    import postmortem.pipeline  # noqa: F401
    from postmortem.checklist import checklist
    from postmortem.sources.registry import readers

    checklist()
    readers()


def _listen(stream: BinaryIO, tasks: "queue.SimpleQueue[bytes]") -> None:
    """Take tasks in; the end of the stream means that the supervisor is gone."""
    while (data := read_frame(stream)) is not None:
        tasks.put(data)
    os._exit(0)


def _alarm(seconds: float) -> None:
    """SIGALRM is left at its default, which ends the process whatever it is doing."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit(task: Task) -> None:
    _alarm(task.limits.seconds + GRACE)
    limit_this(task.limits)


if __name__ == "__main__":
    main()
