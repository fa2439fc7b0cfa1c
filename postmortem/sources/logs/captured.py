"""The file that `postmortem.Recorder` writes inside a training job. Its format is described in `postmortem/capture`.

A line whose checksum does not fit is left out; the last one may be cut off by a kill. Series of steps keep the names that the job
gave them; those of batches are `data/…`, those of layers `gradients/<parameter>/rms`, `activations/<module>/dead_share` and so on.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson

from postmortem.model.run import EventKind, Floats, LogEvent, LoggedHistogram, Reduction, Series, Source, Status
from postmortem.model.sentence import Sentence, Value, say
from postmortem.model.text import seen
from postmortem.sources.config import flatten, settings_of
from postmortem.sources.logs.blocks import Reading, blocks
from postmortem.sources.logs.crash import Watch, Where
from postmortem.sources.logs.stretches import Extent
from postmortem.sources.names import reduction_of, series_names
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "capture"
FORMAT = "postmortem-capture/1"
FOLD = 22  # bits of float32 below a histogram's key
MOST_KEYS = 8192  # series of one file
MOST_POINTS = 20_000_000
MOST_HISTOGRAMS = 20_000
MOST_EVENTS = 100
LONGEST_NAME = 300
LAYERS = ("gradients", "weights", "updates", "activations")
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_FINITE_KEYS = 0xFF << 1  # of magnitudes; from here on Inf and NaN

Row = tuple[float, float, float, float]  # step, epoch, time, value


def claims(candidate: Candidate) -> bool:
    """A checksum, a blank, and the first record's format."""
    return candidate.name.endswith(".postmortem") or (candidate.head[8:10] == b" {" and b'"postmortem-capture/' in candidate.head[:200])


@dataclass(slots=True)
class _Capture:
    """What the records of one file tell."""

    path: str
    logged: dict[str, list[Row]] = field(default_factory=dict)  # under the job's own keys
    named: dict[str, list[Row]] = field(default_factory=dict)  # under names of ours
    histograms: list[LoggedHistogram] = field(default_factory=list)
    events: list[LogEvent] = field(default_factory=list)
    configuration: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Value] = field(default_factory=dict)
    points: int = 0
    records: int = 0
    crowded: bool = False
    foreign: str = ""

    def take(self, record: Mapping[str, Any]) -> None:
        """One record."""
        self.records += 1
        match record.get("k"):
            case "start":
                self._start(record)
            case "config":
                self._configured(record.get("config"))
                if record.get("framework") in ("pytorch", "transformers", "lightning", "keras", "accelerate"):
                    self.facts["framework"] = record["framework"]
            case "model":
                self._model(record.get("facts"))
            case "resumed":
                self._resumed(record)
            case "steps":
                self._steps(record)
            case "data":
                self._data(record)
            case "layers":
                self._layers(record)
            case "event":
                self._event(record)
            case "end":
                self._end(record)

    # --- numbers ----------------------------------------------------------------------------------------------------

    def _point(self, table: dict[str, list[Row]], name: object, row: Row) -> None:
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            return
        if name not in table and len(self.logged) + len(self.named) >= MOST_KEYS:
            self.crowded = True
            return
        if self.points >= MOST_POINTS:
            self.crowded = True
            return
        self.points += 1
        table.setdefault(name, []).append(row)

    def _steps(self, record: Mapping[str, Any]) -> None:
        steps, times, epochs, values = (record.get(k) for k in ("s", "t", "e", "v"))
        if not isinstance(steps, list) or not isinstance(values, dict):
            return
        for key, column in values.items():
            if not isinstance(column, list):
                continue
            for n, (step, cell) in enumerate(zip(steps, column, strict=False)):
                at, value = _number(step), _number(cell)
                if at is not None and value is not None:
                    self._point(self.logged, key, (at, _at(epochs, n), _at(times, n), value))

    def _data(self, record: Mapping[str, Any]) -> None:
        step, values, labels = _number(record.get("s")), record.get("v"), record.get("labels")
        if step is None or not isinstance(values, dict):
            return
        for key, cell in values.items():
            value = _number(cell)
            if value is not None:
                self._point(self.named, f"data/{key}", (step, math.nan, math.nan, value))
        if isinstance(labels, dict) and labels and len(self.histograms) < MOST_HISTOGRAMS:
            pairs = sorted((c, n) for c, n in ((_number(k), _number(v)) for k, v in labels.items()) if c is not None and n is not None)
            classes = np.array([c for c, _ in pairs])
            if len(classes) and np.isfinite(classes).all() and np.all(np.diff(classes) > 0.5):
                edges, counts = _around(classes, np.array([n for _, n in pairs]))
                self.histograms.append(LoggedHistogram(f"data/{str(record.get('split'))[:40]}_labels", self.path, step, edges, counts))

    def _layers(self, record: Mapping[str, Any]) -> None:
        step, what, names, values, drawn = (record.get(k) for k in ("s", "what", "names", "v", "h"))
        at, scale = _number(step), _number(record.get("scale")) or 1.0
        if not 0 < scale < math.inf:
            return
        if at is None or what not in LAYERS or not isinstance(names, list) or not isinstance(values, dict):
            return
        for statistic, column in values.items():
            if isinstance(column, list):
                for name, cell in zip(names, column, strict=False):
                    value = _number(cell)
                    if value is not None:
                        self._point(self.named, f"{what}/{name}/{statistic}", (at, math.nan, math.nan, value))
        for name, pair in zip(names, drawn if isinstance(drawn, list) else [], strict=False):
            found = _histogram(pair)
            if found is not None and len(self.histograms) < MOST_HISTOGRAMS:
                self.histograms.append(LoggedHistogram(f"{what}/{str(name)[:LONGEST_NAME]}", self.path, at, found[0] / scale, found[1]))

    # --- words ------------------------------------------------------------------------------------------------------

    def _start(self, record: Mapping[str, Any]) -> None:
        if record.get("format") != FORMAT:
            self.foreign = str(record.get("format"))[:60]
        self._configured(record.get("config"))
        for key in ("versions", "git"):
            if isinstance(record.get(key), dict):
                self.configuration.setdefault(key, {}).update(record[key])
        started = _number(record.get("time"))
        if started is not None:
            self.facts["started_at"] = started
            self.events.append(LogEvent(EventKind.STARTED, "the recorder begins", self.path, time=started))
        gpus = _number(record.get("gpus"))
        if gpus is not None and gpus > 0:
            self.facts["gpus"] = int(gpus)
        self.facts |= {"status": "running", "finished": False}  # whatever a recorder before it said

    def _configured(self, config: object) -> None:
        if isinstance(config, dict):
            self.configuration.update(config)

    def _model(self, facts: object) -> None:
        if not isinstance(facts, dict):
            return
        told = {k: v for k, v in facts.items() if k != "groups"}
        groups = facts.get("groups")
        if isinstance(groups, list) and groups and isinstance(groups[0], dict):
            told |= {f"group.{k}": v for k, v in groups[0].items()}
        for key, value in told.items():
            if value not in ([], None):
                self.configuration.setdefault(key, value)
        self.facts.setdefault("framework", "pytorch")

    def _resumed(self, record: Mapping[str, Any]) -> None:
        step = _number(record.get("s"))
        if step is not None and len(self.events) < MOST_EVENTS:
            text = f"the recorder goes on at step {step:g}"
            self.events.append(LogEvent(EventKind.RESUMED, text, self.path, step=step, time=_number(record.get("time"))))

    def _event(self, record: Mapping[str, Any]) -> None:
        if len(self.events) >= MOST_EVENTS:
            return
        step, time = _number(record.get("s")), _number(record.get("time"))
        text = str(record.get("text") or "")
        if record.get("kind") == "interrupted":
            self.events.append(LogEvent(EventKind.INTERRUPTED, _clean(text[-500:]), self.path, step=step, time=time))
            return
        watch = Watch(self.path)
        for line in text.splitlines()[-400:]:
            watch.line(line[:2000], Where(0, step=step, time=time))
        found = watch.end()
        batch = record.get("batch")
        told = {f"batch_{k}": v for k, v in batch.items() if isinstance(v, int | float | str)} if isinstance(batch, dict) else {}
        own: dict[str, Value] = {"exception": str(record.get("type"))[:80], "message": str(record.get("message"))[:600]}
        own |= {"frame": str(record.get("frame"))[:200], "frame_function": str(record.get("function"))[:80], **dict(list(told.items())[:20])}
        if not found:
            self.events.append(LogEvent(EventKind.EXCEPTION, _clean(text), self.path, step=step, time=time, data=MappingProxyType(own)))
        for one in found:
            data = MappingProxyType({**one.data, **own}) if one is found[-1] else one.data
            self.events.append(LogEvent(one.kind, one.text, self.path, 0, step, None, time, one.rank, data))

    def _end(self, record: Mapping[str, Any]) -> None:
        self.facts["status"] = "finished" if record.get("status") == "finished" else "failed"
        if record.get("status") == "finished":
            self.facts["finished"] = True
        ended = _number(record.get("time"))
        if ended is not None:
            self.facts["ended_at"] = ended

    # --- together ---------------------------------------------------------------------------------------------------

    def series(self) -> tuple[Series, ...]:
        """All curves."""
        names = series_names(self.logged)
        out = [self._series(names[key], key, rows) for key, rows in self.logged.items()]
        out += [self._series(name, name, rows, Reduction.STEP) for name, rows in self.named.items()]
        return tuple(out)

    def _series(self, name: str, key: str, rows: list[Row], reduction: Reduction | None = None) -> Series:
        table = np.array(rows, np.float64)
        if key == "loss" and self.facts.get("framework") == "transformers":
            reduction = Reduction.WINDOW  # the Trainer logs means over its logging steps
        return Series(
            name=name, logged_as=key, source=self.path, steps=table[:, 0], values=table[:, 3], epochs=_known(table[:, 1]), times=_known(table[:, 2]),
            reduction=reduction or _reduction(key),
        )  # fmt: skip


def _reduction(key: str) -> Reduction:
    """What a key says; the recorder's own `loss` is one step's."""
    return Reduction.STEP if key == "loss" else reduction_of(key)


def _known(column: Floats) -> Floats | None:
    return column.copy() if np.isfinite(column).any() else None


def _at(column: object, n: int) -> float:
    value = _number(column[n]) if isinstance(column, list) and n < len(column) else None
    return math.nan if value is None else value


def _number(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        if value in _SPECIAL:
            return _SPECIAL[value]
        return float(value) if value.removeprefix("-").isdecimal() and len(value) < 20 else None
    return None


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in seen(text))[-2000:]


def _around(classes: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Bins of width 1 about class numbers, with empty bins between those that are apart."""
    edges, filled = [float(classes[0]) - 0.5], []
    for at, n in zip(classes.tolist(), counts.tolist(), strict=True):
        if at - 0.5 > edges[-1]:
            edges.append(at - 0.5)
            filled.append(0.0)
        edges.append(at + 0.5)
        filled.append(n)
    return np.array(edges), np.array(filled)


def _histogram(pair: object) -> tuple[Floats, Floats] | None:
    """Edges and counts of [keys, counts], in the order of the values, one wide empty bin in each gap; None for anything else."""
    if (
        not isinstance(pair, list)
        or len(pair) != 2
        or not all(isinstance(p, list) and 0 < len(p) <= 1024 for p in pair)
        or len(pair[0]) != len(pair[1])
    ):
        return None
    keys, counts = pair
    if not all(isinstance(k, int) and 0 <= k < 1024 and (k & 0x1FF) < _FINITE_KEYS for k in keys):
        return None
    if not all(isinstance(n, int) and 0 <= n < 1 << 53 for n in counts):
        return None
    bins = []
    for key, count in zip(keys, counts, strict=True):
        low, high = _value(key & 0x1FF), _value((key & 0x1FF) + 1)
        bins.append((-high, -low, count) if key & 0x200 else (low, high, count))
    bins.sort()
    edges, filled = [bins[0][0]], []
    for low, high, count in bins:
        if low > edges[-1]:
            edges.append(low)
            filled.append(0.0)
        if high > edges[-1]:
            edges.append(high)
            filled.append(float(count))
    return np.array(edges), np.array(filled)


def _value(magnitude: int) -> float:
    """The smallest magnitude with that key; the one after the last finite one is 2¹²⁸."""
    if magnitude >= _FINITE_KEYS:
        return 2.0**128
    return float(np.array([magnitude << FOLD], np.uint32).view(np.float32)[0])


def read(candidate: Candidate) -> Found:
    """Every record whose checksum fits."""
    met = Reading(Extent(candidate.size))
    capture = _Capture(candidate.path)
    bad, last_bad = 0, False
    try:
        for block in blocks(candidate.file, met):
            for line in block.split(b"\n"):
                if not line:
                    continue
                record = _record(line)
                last_bad = record is None
                if record is None:
                    bad += 1
                else:
                    capture.take(record)
    except OSError as error:
        return Found(Source(candidate.path, NAME, Status.FAILED, say("it could not be read: {why}", why=error.strerror or "error"), candidate.size))
    status, detail = _status(capture, met, bad, last_bad=last_bad)
    settings = settings_of(flatten(capture.configuration), candidate.path)
    return Found(
        Source(candidate.path, NAME, status, detail, candidate.size), capture.series(), tuple(capture.histograms), tuple(capture.events), settings,
        facts=capture.facts,
    )  # fmt: skip


def _record(line: bytes) -> dict[str, Any] | None:
    if line[8:9] != b" ":
        return None
    try:
        if int(line[:8], 16) != zlib.crc32(line[9:]):
            return None
        value = orjson.loads(line[9:])
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _status(capture: _Capture, met: Reading, bad: int, *, last_bad: bool) -> tuple[Status, Sentence | None]:
    if not capture.records:
        return Status.FAILED, say("no record could be read")
    if part := met.extent.left_out():
        return Status.PARTIAL, part
    if capture.foreign:
        return Status.PARTIAL, say("it is of another version, {format}: what is understood of it was read", format=capture.foreign)
    if bad + met.too_long > (last_bad and not met.ends_with_newline):
        return Status.PARTIAL, say("{n} damaged records were left out", n=bad + met.too_long)
    if bad:
        return Status.PARTIAL, say("the last record is cut off (still being written, or the process was killed)")
    if capture.crowded:
        return Status.PARTIAL, say("only the first {keys} series and {points} points were read", keys=MOST_KEYS, points=MOST_POINTS)
    if capture.facts.get("status") == "running":
        return Status.READ, say("there is no end record: the process was killed or is still running")
    return Status.READ, None


READER = Reader(NAME, claims, read)
