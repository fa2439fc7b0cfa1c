"""How a run ended, as far as its own words and counters tell."""

from collections.abc import Mapping, Sequence

import numpy as np

from postmortem.model.run import EventKind, LogEvent, Outcome, Series
from postmortem.model.sentence import Value
from postmortem.sources.logs.aftermath import WENT_ON

_FATAL = frozenset({
    EventKind.EXCEPTION, EventKind.OUT_OF_MEMORY, EventKind.COLLECTIVE, EventKind.DEVICE_ASSERT, EventKind.SIGNAL, EventKind.KILLED,
    EventKind.TIME_LIMIT, EventKind.PREEMPTED, EventKind.DISK_FULL, EventKind.DATA_LOADER, EventKind.HARDWARE, EventKind.HANG,
    EventKind.NON_FINITE_GUARD, EventKind.LOSS_SCALE_FLOOR,
})  # fmt: skip

LATEST = 1e11  # seconds since 1970; a clock that shows more is none
QUIET, RECORDS = 600.0, 50  # seconds; distances between two records
_NUMERICS = frozenset({EventKind.NON_FINITE_GUARD, EventKind.LOSS_SCALE_FLOOR})
_BEGINNINGS = frozenset({EventKind.STARTED, EventKind.RESUMED})


def of_the_last_job(events: Sequence[LogEvent]) -> tuple[LogEvent, ...]:
    """Without what ended an earlier job in the same log: one that starts or resumes below it.

    events : of each file in the order of its lines, not that of time where a launcher tells at last that its program failed.
    What says that numbers went wrong stays, for a job may go on from there.
    """
    now = _of_the_last_job(events)
    told = {e.source for e, last in zip(events, now, strict=True) if last and e.kind == EventKind.SIGNAL and e.data.get("exit_code") == 1}
    return tuple(e for e, last in zip(events, now, strict=True) if last or e.source in told or e.kind not in _FATAL - _NUMERICS)


def _of_the_last_job(events: Sequence[LogEvent]) -> list[bool]:
    """Of each event: no job starts or resumes below it in its log, nor later in a piece of it."""
    begins = {e.source: n for n, e in enumerate(events) if e.kind in _BEGINNINGS}
    started: dict[str, float] = {}
    for e in events:
        if e.kind in _BEGINNINGS and e.time is not None and (log := _pieces_of(e.source)):
            started[log] = max(e.time, started.get(log, e.time))
    return [
        n > begins.get(e.source, -1) and not (e.time is not None and e.time < started.get(_pieces_of(e.source), e.time)) for n, e in enumerate(events)
    ]


def _pieces_of(source: str) -> str:
    """The log that a restart goes on with in a file of the next number, as the recorder does; "" for a log that is one file."""
    log, numbered, _ = source.rpartition("-") if source.endswith(".postmortem") else ("", "", "")
    return log if numbered else ""


def silent(series: Sequence[Series], now: float) -> bool:
    """Nothing was recorded for far longer than between two records. `now` in seconds since 1970; False where no times were recorded."""
    times = [s.times[np.abs(s.times) < LATEST] for s in series if s.times is not None]
    last = max((float(t[-1]) for t in times if len(t)), default=None)
    apart = max((float(np.ptp(t)) / (len(t) - 1) for t in times if len(t) > 1), default=0.0)
    return last is not None and now - last > max(QUIET, RECORDS * apart)


def outcome(
    events: Sequence[LogEvent], facts: Mapping[str, Value], last_step: float | None, planned_steps: float | None, *, gone: bool = False
) -> Outcome:
    """How the run ended, as far as its own words and counters tell.

    events : in the order of their files' names and lines. What a log survived, because it starts or resumes below it, does not count.
    gone : a tracking server calls a run that was killed "running" for ever; this one has not spoken for long.
    """
    status = str(facts.get("status") or "")
    code = facts.get("exit_code")
    alive = [(n, e.kind) for n, (e, last) in enumerate(zip(events, _of_the_last_job(events), strict=True)) if last]
    last_finish = max((n for n, kind in alive if kind == EventKind.FINISHED), default=-1)
    interrupted = [n for n, kind in alive if kind == EventKind.INTERRUPTED]
    fatal = [n for n, kind in alive if kind in _FATAL and events[n].data.get("about") not in WENT_ON]
    if interrupted and (not fatal or interrupted[-1] >= fatal[0]):
        return "cancelled"
    if fatal and fatal[-1] > last_finish and code != 0:
        return "crashed"
    if status == "failed" or (code is not None and code not in (0, 255)):
        return "crashed"
    if code == 255 or status == "killed":
        return "cancelled" if code == 255 else "crashed"
    if any(kind == EventKind.EARLY_STOPPED for _, kind in alive):
        return "early-stopped"
    if last_finish >= 0 or status == "finished" or facts.get("finished") is True or code == 0:
        return "finished"
    if last_step is not None and planned_steps and last_step >= 0.97 * planned_steps - 1:
        return "finished"
    if any(kind == EventKind.CUT for _, kind in alive):
        return "crashed"
    if status == "running":
        return "crashed" if gone and planned_steps and last_step is not None else "running"
    return "unknown"
