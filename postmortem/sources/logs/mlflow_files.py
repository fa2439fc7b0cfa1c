"""MLflow's file store: `<experiment>/<run>/{meta.yaml, metrics/<name>, params/<name>, tags/<name>}`.

A metric's file holds lines of `timestamp_ms value step`; very old ones have no step, new ones may name a data set behind it.
Source: mlflow/store/tracking/file_store.py.
"""

import math
import os
import re
from array import array
from functools import lru_cache
from pathlib import Path

import numpy as np

from postmortem.model.run import Floats, Series, Setting, Source, Status
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.documents import scalar
from postmortem.sources.names import reduction_of, series_name, series_names, setting_name
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "mlflow"

MAX_POINTS = 20_000_000
MAX_PARAM = 64 << 10  # bytes; MLflow itself allows 6,000 characters
MAX_RUNS = 2_000  # looked at, to find the newest
_LONGEST_LINE = 4_096  # bytes
_MAX_METRICS = 2_000  # names listed in one run

_LINE = re.compile(rb"\d{9,16} [^\s]{1,40}(?: -?\d{1,20})?(?: [^\n]*)?\r?(?:\n|$)")
_LINES = re.compile(rb"(?:1\d{12} (?:[-+]?[0-9.]{1,24}(?:e[-+]?\d{1,3})?|nan|-?inf) -?\d{1,20}\r?(?:\n|$))++")
_META_NUMBER = re.compile(r"^(status|start_time|end_time):[ \t]*'?(\d{1,16})'?[ \t]*\r?$", re.MULTILINE)
_OF_A_RUN = re.compile(rb"^run_(?:id|uuid):", re.MULTILINE)
_STATUS = {1: "running", 2: "running", 3: "finished", 4: "failed", 5: "killed"}


def _place(path: str) -> tuple[str, str, str] | None:
    """(run directory, "metrics" | "params" | "tags", name) of a path in a run's directory; None elsewhere."""
    parts = path.split("/")
    for n in range(len(parts) - 2, -1, -1):
        if parts[n] in ("metrics", "params", "tags"):
            return "/".join(parts[:n]), parts[n], "/".join(parts[n + 1 :])
    return None


def claims(candidate: Candidate) -> bool:
    """A run's `meta.yaml`, or a file that lies as MLflow lays it beside one."""
    if candidate.name == "meta.yaml":
        return bool(_OF_A_RUN.search(candidate.head)) or b"artifact_location:" in candidate.head or b"model_id:" in candidate.head
    place = _place(candidate.path)
    if place is None:
        return _alone(candidate)
    if place[1] == "metrics" and _LINE.match(candidate.head):
        return True
    return os.path.lexists(candidate.root / place[0] / "meta.yaml")


def _alone(candidate: Candidate) -> bool:
    """One metric's file, out of its run's directory: nothing but a clock in milliseconds, a value and a step in each line."""
    whole = candidate.head if candidate.size <= len(candidate.head) else candidate.head[: candidate.head.rfind(b"\n") + 1]
    return _LINES.fullmatch(whole) is not None


def read(candidate: Candidate) -> Found:
    """Read one metric, one parameter, or what a run says about itself."""
    try:
        if candidate.name == "meta.yaml":
            return _meta(candidate)
        place = _place(candidate.path)
        if place is None and _alone(candidate):
            inside = _place(candidate.file.as_posix())
            return _metric(candidate, inside[2] if inside and inside[1] == "metrics" else candidate.name)
        if place is None or place[1] == "tags":
            return _skipped(candidate, say("a tag: nothing about training"))
        run, kind, name = place
        passed_over = _passed_over(candidate, run)
        if passed_over is not None:
            return _skipped(candidate, passed_over)
        return _metric(candidate, name, run) if kind == "metrics" else _param(candidate, name)
    except OSError as error:
        return Found(Source(candidate.path, NAME, Status.FAILED, say("cannot be read: {error}", error=error.strerror or ""), candidate.size))


def _skipped(candidate: Candidate, why: Sentence) -> Found:
    return Found(Source(candidate.path, NAME, Status.SKIPPED, why, candidate.size))


# --- one metric -----------------------------------------------------------------------------------------------------


def _metric(candidate: Candidate, name: str, run: str | None = None) -> Found:
    """run : its directory, relative; None for a metric's file that was named alone."""
    columns = array("d"), array("d"), array("d")  # seconds, values, steps
    damaged, foreign, cut = 0, 0, False
    with candidate.file.open("rb") as file:
        while len(columns[0]) < MAX_POINTS and (line := file.readline(_LONGEST_LINE)):
            cut = not line.endswith(b"\n")
            fields = line.split()
            if len(fields) in (4, 6):  # of a logged model: the same values stand in the run's own file
                foreign += 1
                continue
            if not fields:
                continue
            try:
                time, value, step = int(fields[0]) / 1000, float(fields[1]), float(int(fields[2])) if len(fields) > 2 else 0.0
            except (ValueError, IndexError, OverflowError):
                damaged += 1
                continue
            for column, number in zip(columns, (time, value, step), strict=True):
                column.append(number)
        more = bool(file.read(1))
    times, values, steps = (np.frombuffer(c, np.float64).copy() if len(c) else np.empty(0) for c in columns)
    if not len(values) and foreign:
        return _skipped(candidate, say("metrics of a logged model"))
    series = one_series(
        candidate.path,
        name,
        series_name(name) if run is None else _name_beside(candidate.root / run / "metrics", name),
        times=times,
        values=values,
        steps=steps,
    )
    status, detail = Status.READ, None
    if more:
        status, detail = Status.PARTIAL, say("only the first {n} points were read", n=MAX_POINTS)
    elif damaged == 1 and cut:
        status, detail = Status.PARTIAL, say("the last line is cut off")
    elif damaged:
        status, detail = Status.PARTIAL if len(values) else Status.FAILED, say("{n} lines are no metric of MLflow's", n=damaged)
    elif not len(values):
        detail = say("the file holds no values")
    return Found(Source(candidate.path, NAME, status, detail, candidate.size), (series,) if len(values) else ())


def one_series(source: str, key: str, name: str, *, times: Floats, values: Floats, steps: Floats) -> Series:
    """A metric as a series, in the order of the clock: lines need not be sorted. Where no caller gave a step, all are 0, and none is known."""
    order = np.argsort(times, kind="stable")
    times, values, steps = times[order], values[order], steps[order]
    if len(steps) > 1 and not steps.any():
        steps = np.full(len(steps), math.nan)
    return Series(name, key, source, steps, values, times=times, reduction=reduction_of(key))


def _name_beside(folder: Path, key: str) -> str:
    """The canonical name of a metric, seen beside the run's other metrics: of several losses the plainest is the loss."""
    keys = {key}
    pending = [""]
    while pending and len(keys) < _MAX_METRICS:
        below = pending.pop()
        try:
            with os.scandir(folder / below) as entries:
                for entry in entries:
                    path = f"{below}/{entry.name}" if below else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if path.count("/") < 8 and len(pending) < _MAX_METRICS:
                            pending.append(path)
                    elif len(keys) < _MAX_METRICS:
                        keys.add(path)
        except OSError:
            continue
    return series_names(sorted(keys))[key]


# --- one parameter, one run -----------------------------------------------------------------------------------------


def _param(candidate: Candidate, name: str) -> Found:
    if candidate.size > MAX_PARAM:
        return _skipped(candidate, say("larger than {limit} kB", limit=MAX_PARAM >> 10))
    with candidate.file.open("rb") as file:
        text = file.read(MAX_PARAM).decode("utf-8", "replace")
    setting = Setting(setting_name(name), name, scalar(text.strip()) if len(text) < 100 else text[:2000], candidate.path)
    return Found(Source(candidate.path, NAME, Status.READ, None, candidate.size), settings=(setting,))


def _meta(candidate: Candidate) -> Found:
    """Status and times of a run. The few numbers are picked out by line: no YAML is interpreted."""
    if not _OF_A_RUN.search(candidate.head):
        return _skipped(candidate, say("about an experiment or a model, not about a run"))
    passed_over = _passed_over(candidate, candidate.folder)
    if passed_over is not None:
        return _skipped(candidate, passed_over)
    numbers = {key: int(number) for key, number in _META_NUMBER.findall(candidate.head.decode("utf-8", "replace"))}
    source = Source(candidate.path, NAME, Status.READ, None, candidate.size)
    return Found(source, facts=run_facts(_STATUS.get(numbers.get("status", 0), ""), numbers.get("start_time"), numbers.get("end_time")))


def run_facts(status: str, start: int | None, end: int | None) -> dict[str, Value]:
    """What `assemble` knows, from MLflow's status and times in milliseconds."""
    facts: dict[str, Value] = {}
    if status:
        facts["status"] = status
        facts["finished"] = status == "finished"
    if start:
        facts["started_at"] = start / 1000
    if end:
        facts["ended_at"] = end / 1000
    return facts


# --- several runs in one store --------------------------------------------------------------------------------------


def _passed_over(candidate: Candidate, run: str) -> Sentence | None:
    """Why a file is not read when its store holds a newer run that logged something; None when this is the newest."""
    if not run:
        return None
    parts = run.split("/")
    if len(parts) > 1 and parts[-2] == "models":
        return say("metrics of a logged model")
    store = candidate.root.joinpath(*parts[:-2])
    newest, runs = _newest(str(store), 2 if len(parts) > 1 else 1, _stamp(store.joinpath(*parts[-2:-1])))
    mine = "/".join(parts[-2:])
    if runs < 2 or newest in ("", mine):
        return None
    return say("the store holds {runs} runs; {newest}, the newest, is read", runs=runs, newest=newest.rpartition("/")[2])


def _stamp(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=16)
def _newest(store: str, levels: int, _stamp: int) -> tuple[str, int]:
    """(directory relative to the store, how many runs) of the run with metrics that started last. Not above the run that is read."""
    found: list[tuple[int, str]] = []
    for folder in _folders(store) if levels == 2 else [""]:
        for run in _folders(os.path.join(store, folder)):  # noqa: PTH118
            if len(found) >= MAX_RUNS:
                break
            path = Path(store, folder, run)
            start = _start(path)
            if start is not None:
                found.append((start, f"{folder}/{run}" if folder else run))
    return (max(found)[1] if found else ""), len(found)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(names)[:MAX_RUNS]


def _start(run: Path) -> int | None:
    """Start of a run that logged a metric, in milliseconds; None for anything else."""
    try:
        with (run / "meta.yaml").open("rb") as file:
            head = file.read(_LONGEST_LINE)
        if not _OF_A_RUN.search(head) or b"lifecycle_stage: deleted" in head:
            return None
        with os.scandir(run / "metrics") as entries:
            if next(entries, None) is None:
                return None
    except OSError:
        return None
    numbers = {key: int(number) for key, number in _META_NUMBER.findall(head.decode("utf-8", "replace"))}
    return numbers.get("start_time", 0)


FILES = Reader(NAME, claims, read)
