"""Which of a log's events count once all of it was read: what training went on from and what is but a consequence are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postmortem.model.run import EventKind, LogEvent
from postmortem.model.sentence import Value

BUFFERED = 16 << 10  # bytes: twice what Python holds back of a standard output that is no terminal
RECORDS_AFTER = 10
OFTEN = 0.2  # share of the records before which a batch was left out; below, there are such batches in the data, and training goes on without them
SURVIVABLE = frozenset({EventKind.EXCEPTION, EventKind.COLLECTIVE, EventKind.DATA_LOADER, EventKind.OUT_OF_MEMORY, EventKind.DISK_FULL})
WENT_ON = ("skipped", "said")  # a loss that is not finite, of which no line says that the program ended because of it
# Exceptions by which a launcher tells how what it had started ended.
OF_LAUNCHERS = frozenset({"ChildFailedError", "ProcessExitedException", "SpawnException", "CalledProcessError", "SignalException"})
LAUNCHERS = frozenset({"torchrun", "accelerate", "deepspeed", "colossalai", "launch.py", "run.py"})
_WAITS = frozenset({"waiting", "suspected", "passed"})  # what is said of a barrier or a kernel while nobody knows how it ends
_TERMINATED, _BY_SIGNAL, _HIGHEST = 15, 128, 64  # SIGTERM; what shells add to a signal; the last one that there is


@dataclass(frozen=True, slots=True)
class Where:
    """Where training was when the line was printed."""

    line: int
    step: float | None = None
    epoch: float | None = None
    time: float | None = None
    offset: int = 0  # bytes before the line
    rows: int = 0  # records before the line


def that_count(events: Sequence[LogEvent], places: Sequence[Where], reached: Where | None, left_out: int) -> list[LogEvent]:
    """The events without those that training went on from, and without what a launcher tells of a process that a signal ended.

    places : of each event. reached : the log's end; None when records and bytes were not counted.
    left_out : records before which a batch was left out because its loss was not finite.
    """
    kept = list(events)
    if reached is not None:
        rarely = left_out < OFTEN * reached.rows and reached.rows >= RECORDS_AFTER
        came = max((at.offset for e, at in zip(events, places, strict=True) if e.data.get("about") == "passed"), default=-1)
        kept = [
            e
            for e, at in zip(events, places, strict=True)
            if not (_survived(e.kind, at, reached) or _went_on(e, at, reached, rarely=rarely) or _came(e, at, reached, came))
        ]
    named = any(e.data.get("exception") for e in kept)  # of interleaved tracebacks some lose their last line
    kept = [e for e in kept if not named or e.kind != EventKind.EXCEPTION or e.data.get("exception")]
    by_signal = _ended_by_signal(kept)
    return [e for e in kept if not (by_signal and _of_a_launcher(e))]


def _of_a_launcher(event: LogEvent) -> bool:
    """Its exception, or its traceback, cut off before the exception was named."""
    if event.kind != EventKind.EXCEPTION:
        return False
    program = str(event.data.get("frame", "")).partition(":")[0].rpartition("/")[2]
    return event.data.get("exception") in OF_LAUNCHERS or (not event.data.get("exception") and program in LAUNCHERS)


def _survived(kind: EventKind, at: Where, reached: Where) -> bool:
    """Records follow far below: more text than a buffer holds that is only written out as the process dies."""
    return kind in SURVIVABLE and reached.rows - at.rows >= RECORDS_AFTER and reached.offset - at.offset > BUFFERED


def _went_on(event: LogEvent, at: Where, reached: Where, *, rarely: bool) -> bool:
    """A loss that was not finite for once: the batch was left out as few others were, or many records follow."""
    about = event.data.get("about") if event.kind == EventKind.NON_FINITE_GUARD else ""
    return (about == "skipped" and rarely) or (about == "said" and reached.rows - at.rows >= RECORDS_AFTER)


def _came(event: LogEvent, at: Where, reached: Where, came: int) -> bool:
    """What was waited for came in the end: a record follows, or `came` bytes from the begin a line that says so."""
    return event.data.get("about") in _WAITS and (reached.rows > at.rows or came >= at.offset)


def _ended_by_signal(events: Sequence[LogEvent]) -> bool:
    """A signal ended a process: any but the one by which a launcher ends the others once the first has failed by itself."""
    told = [e.data for e in events if e.kind in (EventKind.SIGNAL, EventKind.KILLED)]
    signals = {signal_of(data) for data in told} - {None}
    return bool(signals - {_TERMINATED}) or (bool(signals) and all(signal_of(data) for data in told))


def signal_of(data: Mapping[str, Value]) -> int | None:
    """The number of the signal that a process ended by: -9 and 137 are 9."""
    code = data.get("signal", data.get("exit_code"))
    if not isinstance(code, int):
        return None
    number = code if "signal" in data else -code if code < 0 else code - _BY_SIGNAL
    return number if 0 < number <= _HIGHEST else None
