"""What `wandb` leaves in a run's directory: the `.wandb` transaction log, the last values, the configuration, the machine.

The `.wandb` file holds everything, also of runs that were never uploaded. Only the records that say something about training
are looked at. Field numbers: wandb/proto/wandb_internal.proto.
"""

import math
import os
import re
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from postmortem.model.run import EventKind, LogEvent, Source, Status
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.config import flatten, settings_of
from postmortem.sources.logs import wandb_files
from postmortem.sources.logs.crash import Watch, Where, is_suspicious
from postmortem.sources.logs.protobuf import BYTES, VARINT, MalformedError, signed, walk
from postmortem.sources.logs.stretches import Extent
from postmortem.sources.logs.wandb_history import History, item, timestamp
from postmortem.sources.logs.wandb_records import BLOCK, MAGIC, Framing, records
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "wandb"

MAX_CONFIG = 10_000  # entries
A_RECORD, A_BYTE = 4.0, 0.03  # what is paid for (see `effort`)
CONSOLE = 1 << 20  # bytes of console output that are kept: the last ones, where a crash is

_ANSI = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_DIGITS = re.compile(r"[\d█▏▎▍▌▋▊▉#| ]+")
_LINES = re.compile(r"[\r\n]+")
_LONGEST_LINE = 8_000  # characters

_HISTORY, _OUTPUT, _CONFIG, _STATS, _METRIC, _OUTPUT_RAW, _RUN, _EXIT, _PREEMPTING, _ENVIRONMENT = 2, 4, 5, 7, 12, 13, 17, 18, 23, 26


def claims(candidate: Candidate) -> bool:
    """The transaction log by its magic, the other files by their names."""
    if candidate.head.startswith(MAGIC) or candidate.name.endswith(".wandb"):
        return True
    return wandb_files.claims(candidate)


def read(candidate: Candidate) -> Found:
    """Read one file of a W&B run."""
    try:
        if candidate.head.startswith(MAGIC) or candidate.name.endswith(".wandb"):
            return _read_log(candidate)
        return wandb_files.read(candidate, NAME)
    except OSError as error:
        return Found(Source(candidate.path, NAME, Status.FAILED, say("cannot be read: {error}", error=error.strerror or ""), candidate.size))


@dataclass(slots=True)
class _Log:
    """What has been read of one `.wandb` file so far."""

    path: str
    history: History
    config: dict[str, object] = field(default_factory=dict)
    console: deque[bytes] = field(default_factory=deque)
    console_size: int = 0
    facts: dict[str, Value] = field(default_factory=dict)
    events: list[LogEvent] = field(default_factory=list)
    damaged: int = 0

    def take(self, data: bytes) -> None:
        """One record. Raises `MalformedError`."""
        for number, wire, a, b in walk(data, 0, len(data)):
            if wire != BYTES:
                continue
            if number == _HISTORY:
                self.history.add(data, a, b)
            elif number in (_OUTPUT, _OUTPUT_RAW):
                self._output(data, a, b)
            elif number == _CONFIG:
                self._config(data, a, b)
            elif number == _STATS:
                self.history.measure(data, a, b)
            elif number == _METRIC:
                self.history.define(data, a, b)
            elif number == _RUN:
                self._run(data, a, b)
            elif number == _EXIT:
                self._exit(data, a, b)
            elif number == _ENVIRONMENT:
                gpus = next((v for n, w, v, _ in walk(data, a, b) if n == 19 and w == VARINT), 0)
                if 0 < gpus < 10_000:
                    self.facts["gpus"] = gpus
            elif number == _PREEMPTING and not any(e.kind == EventKind.PREEMPTED for e in self.events):
                self.events.append(LogEvent(EventKind.PREEMPTED, "wandb: the run was marked as preempting", self.path))

    def _output(self, data: bytes, start: int, end: int) -> None:
        for number, wire, a, b in walk(data, start, end):
            if number == 3 and wire == BYTES:
                self.console.append(data[max(a, b - CONSOLE) : b])
                self.console_size += min(b - a, CONSOLE)
        while self.console_size > CONSOLE and len(self.console) > 1:
            self.console_size -= len(self.console.popleft())

    def _config(self, data: bytes, start: int, end: int) -> None:
        for number, wire, a, b in walk(data, start, end):
            if number == 1 and wire == BYTES:
                path, value = item(data, a, b)
                key = ".".join(path)
                if key and not key.startswith("_wandb") and len(self.config) < MAX_CONFIG:
                    self.config[key] = value

    def _run(self, data: bytes, start: int, end: int) -> None:
        starting_step, resumed = 0, False
        for number, wire, a, b in walk(data, start, end):
            if number == 4 and wire == BYTES:
                self._config(data, a, b)
            elif number == 17 and wire == BYTES:
                self.facts["started_at"] = timestamp(data, a, b)
            elif number == 14 and wire == VARINT:
                starting_step = signed(a)
            elif number == 18 and wire == VARINT:
                resumed = bool(a)
        if resumed and not any(e.kind == EventKind.RESUMED for e in self.events):
            self.events.append(LogEvent(EventKind.RESUMED, "wandb: the run was resumed", self.path, step=float(starting_step)))

    def _exit(self, data: bytes, start: int, end: int) -> None:
        code, runtime = 0, 0
        for number, wire, a, _ in walk(data, start, end):
            if number == 1 and wire == VARINT:
                code = signed(a)
            elif number == 2 and wire == VARINT:
                runtime = signed(a)
        self.facts["exit_code"] = code
        self.facts["finished"] = code == 0
        started = self.facts.get("started_at")
        if runtime > 0 and isinstance(started, float):
            self.facts["ended_at"] = started + runtime


def _read_log(candidate: Candidate) -> Found:
    met, extent = Framing(), Extent(candidate.size, unit=BLOCK)
    log = _Log(candidate.path, History(candidate.path, extent.effort))
    with np.errstate(all="ignore"):
        for record in records(candidate.file, extent, met):
            extent.effort.spent += A_RECORD + A_BYTE * len(record)
            try:
                log.take(record)
            except MalformedError:
                log.damaged += 1
        series, histograms = log.history.series(), log.history.logged_histograms()
    exited = "exit_code" in log.facts
    status, detail = _status(log, met, extent, exited=exited, anything=bool(met.records))
    if not exited:
        log.facts["finished"] = False
    settings = settings_of(flatten(log.config), candidate.path)
    return Found(
        Source(candidate.path, NAME, status, detail, candidate.size), series, histograms, (*log.events, *_console_events(candidate, log)), settings,
        facts={k: v for k, v in log.facts.items() if not (isinstance(v, float) and not math.isfinite(v))},
    )  # fmt: skip


def _status(log: _Log, met: Framing, extent: Extent, *, exited: bool, anything: bool) -> tuple[Status, Sentence | None]:
    if not anything:
        if met.damaged or met.cut:
            return Status.FAILED, say("no record could be read")
        return Status.READ, say("the file holds no records: a process that is killed early leaves it so")
    if part := extent.left_out():
        return Status.PARTIAL, part
    if met.damaged or log.damaged:
        return Status.PARTIAL, say("{n} damaged records were left out", n=met.damaged + log.damaged)
    if met.cut:
        return Status.PARTIAL, say("the last record is cut off (still being written, or the process was killed)")
    if met.oversized or log.history.crowded:
        return Status.PARTIAL, say("{n} values or records beyond the limits were left out", n=met.oversized + log.history.crowded)
    if not exited:
        return Status.READ, say("there is no exit record: the process was killed or is still running")
    return Status.READ, None


def _console_events(candidate: Candidate, log: _Log) -> tuple[LogEvent, ...]:
    """What the console tells about the end, unless the same console lies beside it as `output.log`."""
    if not log.console or os.path.lexists(candidate.file.parent / "files" / "output.log") or "output.log" in candidate.siblings:
        return ()
    watch = Watch(candidate.path)
    text = _ANSI.sub("", b"".join(log.console).decode("utf-8", "replace"))
    told: dict[str, bool] = {}  # a progress bar has thousands of lines of one shape
    for n, line in enumerate(_LINES.split(text), 1):
        shape = _DIGITS.sub("0", line[:300])
        suspicious = told.get(shape)
        if suspicious is None:
            suspicious = told[shape] = is_suspicious(line)
        if suspicious or watch.reading:
            watch.line(line[:_LONGEST_LINE], Where(n))
    return watch.end()


READER = Reader(NAME, claims, read)
