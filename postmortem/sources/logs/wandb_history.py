"""The rows that a run logged to W&B, as series.

W&B's own `_step` counts calls of `log`. Trainers log their real step as a metric and name it with `define_metric`; then that
metric is the axis, as in W&B's own charts.
"""

import fnmatch
import json
import math
import re
from dataclasses import dataclass, field

import numpy as np

from postmortem.model.run import Floats, LoggedHistogram, Series
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.protobuf import BYTES, FIXED64, VARINT, double, signed, walk, zigzag
from postmortem.sources.logs.wandb_rows import Column, Layout, beginning
from postmortem.sources.names import reduction_of, series_names, words

MAX_KEYS = 10_000
MAX_HISTOGRAMS = 50_000
MAX_LAYOUTS = 1_000  # that are compiled
A_WALKED_BYTE = 0.15  # of a row that is read field by field (see `effort`)
_DEEPEST = 4  # levels of nested metrics

_INTERNAL = ("_step", "_runtime", "_timestamp", "_wandb", "_scale")
STEP_KEYS = ("train/global_step", "trainer/global_step", "global_step", "train/step", "iteration", "iter", "iter_num", "step")
_EPOCH_KEYS = ("epoch", "train/epoch", "trainer/epoch", "epochs")
_SPELLED = {"NaN": math.nan, "nan": math.nan, "Infinity": math.inf, "inf": math.inf, "-Infinity": -math.inf, "-inf": -math.inf}
_SYSTEM_KEY = re.compile(r"gpu\.\d{1,3}\.(?:gpu|memory|memoryAllocated|memoryAllocatedBytes)|memory|memory_percent|proc\.memory\.(?:percent|rssMB)")


@dataclass(slots=True)
class History:
    """Rows in the order of the file."""

    path: str
    effort: Effort
    count: int = 0  # rows
    columns: dict[str, Column] = field(default_factory=dict)
    system: dict[str, Column] = field(default_factory=dict)  # `rows` holds indices into system_times
    system_times: list[float] = field(default_factory=list)
    axes: dict[str, str] = field(default_factory=dict)  # metric → metric that is its axis
    patterns: list[tuple[str, str]] = field(default_factory=list)
    defined: list[str] = field(default_factory=list)
    histograms: list[tuple[int, str, Floats, Floats]] = field(default_factory=list)  # row, key, edges, counts
    crowded: int = 0
    columns_by_key: dict[bytes, Column] = field(default_factory=dict)  # the same columns, by the key as it stands in the file
    layouts: dict[bytes, Layout] = field(default_factory=dict)  # of the rows, by what they begin with
    compiled: int = 0
    open: Layout | None = None  # that of the last rows, which it may hold
    nested: list[tuple[tuple[str, ...], object]] = field(default_factory=list)  # of the row that is being read

    def add(self, data: bytes, start: int, end: int) -> None:
        """One `HistoryRecord`. Raises `MalformedError`."""
        row = self.count
        self.count += 1
        layout = self.layouts.get(beginning(data, start))
        if layout is not self.open:
            self.flush()
        if layout is not None and layout.take(data, start, end, row):
            self.open = layout
            return
        self.flush()
        self._walk(data, start, end, row)
        if self.compiled < MAX_LAYOUTS and (layout := Layout.of(data, start, end, self.columns_by_key)) is not None:
            self.layouts[beginning(data, start)] = layout
            self.compiled += 1

    def flush(self) -> None:
        """Bring the columns up to date with the rows."""
        if self.open is not None:
            self.open.flush()
            self.open = None

    def _walk(self, data: bytes, start: int, end: int, row: int) -> None:
        """Field by field."""
        self.effort.spent += A_WALKED_BYTE * (end - start)
        self.nested.clear()  # of a row that broke off
        stated: int | None = None
        while end - start > 2 and data[start] == 0x0A and data[start + 1] < 0x80:  # items of less than 128 bytes, read without a walk
            stop = start + 2 + data[start + 1]
            if stop > end:
                break
            self._item(data, start + 2, stop, row)
            start = stop
        for number, wire, a, b in walk(data, start, end):
            if number == 1 and wire == BYTES:
                self._item(data, a, b, row)
            elif number == 2 and wire == BYTES:
                stated = next((signed(v) for n, w, v, _ in walk(data, a, b) if n == 1 and w == VARINT), 0)
        if self.nested:
            self._join(row)
        step = self.columns.get("_step")
        if stated is not None and (step is None or not step.rows or step.rows[-1] != row):
            self._number("_step", row, float(stated))

    def _item(self, data: bytes, start: int, end: int, row: int) -> None:
        # The usual layout, read without a walk: one short key, then a short value_json (field 16).
        size = data[start + 1] if end - start > 6 and data[start] in (0x0A, 0x12) else 0x80
        at = start + 2 + size
        if size < 0x80 and at + 3 <= end and data[at] == 0x82 and data[at + 1] == 1 and data[at + 2] < 0x80 and at + 3 + data[at + 2] == end:
            raw_key, text = data[start + 2 : at], data[at + 3 : end]
            column = self.columns_by_key.get(raw_key)
            try:
                value: object = float(text)
            except ValueError:
                value = _parsed(text)
            if column is not None and isinstance(value, float):
                column.rows.append(row)
                column.values.append(value)
                return
            key = raw_key.decode("utf-8", "replace")
            self._value(key, row, value)
            if key in self.columns:
                self.columns_by_key[raw_key] = self.columns[key]
            return
        path, value = item(data, start, end)
        if len(path) > 1:
            self.nested.append((path, value))
        elif path:
            self._value(path[0], row, value)

    def _join(self, row: int) -> None:
        """Put together what wandb took apart: a nested metric is written leaf by leaf, and so are typed objects (`_type`)."""
        typed: dict[str, dict[str, object]] = {".".join(path[:-1]): {} for path, _ in self.nested if path[-1] == "_type"}
        for path, value in self.nested:
            for n in range(len(path) - 1, 0, -1):
                owner = typed.get(".".join(path[:n]))
                if owner is not None:
                    inner = owner.setdefault(path[n], {}) if len(path) == n + 2 else owner
                    if isinstance(inner, dict):
                        inner[path[-1]] = value
                    break
            else:
                self._value(".".join(path), row, value)
        for key, whole in typed.items():
            self._value(key, row, whole)
        self.nested.clear()

    def _value(self, key: str, row: int, value: object, depth: int = 0) -> None:
        if isinstance(value, bool) or value is None or not key:
            return
        if isinstance(value, int | float):
            self._number(key, row, _real(value))
        elif isinstance(value, str) and value in _SPELLED:
            self._number(key, row, _SPELLED[value])
        elif isinstance(value, dict):
            if value.get("_type") == "histogram":
                buckets = _histogram(value)
                if buckets is not None and len(self.histograms) < MAX_HISTOGRAMS:
                    self.histograms.append((row, key, *buckets))
            elif "_type" not in value and depth < _DEEPEST:
                for name, inner in value.items():
                    self._value(f"{key}.{name}", row, inner, depth + 1)

    def _number(self, key: str, row: int, value: float) -> None:
        column = self.columns.get(key)
        if column is None:
            if len(self.columns) >= MAX_KEYS:
                self.crowded += 1
                return
            column = self.columns[key] = Column()
        column.rows.append(row)
        column.values.append(value)

    def define(self, data: bytes, start: int, end: int) -> None:
        """One `MetricRecord`: which metric is the axis of which."""
        name = pattern = axis = ""
        for number, wire, a, b in walk(data, start, end):
            if wire == BYTES and number in (1, 2, 4):
                said = data[a : min(b, a + 1000)].decode("utf-8", "replace")
                name, pattern, axis = (said, pattern, axis) if number == 1 else (name, said, axis) if number == 2 else (name, pattern, said)
            elif number == 5 and wire == VARINT and 0 < a <= len(self.defined):
                axis = self.defined[a - 1]
        if len(self.defined) < MAX_KEYS:
            self.defined.append(name or pattern)
            if axis and name:
                self.axes[name] = axis
            elif axis and pattern and len(self.patterns) < 100:
                self.patterns.append((pattern, axis))

    def measure(self, data: bytes, start: int, end: int) -> None:
        """One `StatsRecord`: what the machine was doing, between the rows."""
        time = math.nan
        found: list[tuple[str, float]] = []
        for number, wire, a, b in walk(data, start, end):
            if number == 2 and wire == BYTES:
                time = timestamp(data, a, b)
            elif number == 3 and wire == BYTES:
                path, value = item(data, a, b)
                key = ".".join(path)
                if isinstance(value, int | float) and _SYSTEM_KEY.fullmatch(key):
                    found.append((key, _real(value)))
        if not found:
            return
        self.system_times.append(time)
        for key, value in found:
            if key in self.system or len(self.system) < 200:
                column = self.system.setdefault(key, Column())
                column.rows.append(len(self.system_times) - 1)
                column.values.append(value)

    # --- as series --------------------------------------------------------------------------------------------------

    def series(self) -> tuple[Series, ...]:
        """One per metric, on its axis."""
        self.flush()
        own = self._spread("_step")
        times = self._spread("_timestamp")
        default, epochs = self._default_axis(), self._spread(next((k for k in _EPOCH_KEYS if k in self.columns), ""))
        used = {default, *_INTERNAL, *(k for k in _EPOCH_KEYS if k in self.columns)}
        used |= {axis for axis in (*self.axes.values(), *(a for _, a in self.patterns)) if axis in self.columns}
        keys = [k for k in self.columns if k not in used]
        names = series_names(keys)
        steps_of: dict[str, Floats] = {}
        out: list[Series] = []
        for key in keys:
            column = self.columns[key]
            rows = np.frombuffer(column.rows, np.int64).copy()
            axis = self._axis(key) or default
            on_epochs = bool(words(axis)) and words(axis)[-1] in ("epoch", "epochs")
            if not on_epochs and axis not in steps_of:
                steps_of[axis] = own if axis == "_step" else self._carried(axis)
            steps = own if on_epochs else steps_of[axis]
            clock = self._carried(axis) if on_epochs else epochs
            out.append(
                Series(
                    names[key], key, self.path, steps[rows], np.frombuffer(column.values).copy(),
                    epochs=clock[rows] if np.isfinite(clock[rows]).any() else None, times=times[rows] if np.isfinite(times[rows]).any() else None,
                    reduction=reduction_of(key),
                )
            )  # fmt: skip
        return (*out, *self._system(steps_of.get(default, own), times))

    def logged_histograms(self) -> tuple[LoggedHistogram, ...]:
        """What `wandb.watch` and `wandb.Histogram` logged."""
        self.flush()
        default = self._default_axis()
        steps = self._spread("_step") if default == "_step" else self._carried(default)
        return tuple(LoggedHistogram(key, self.path, float(steps[row]), edges, counts) for row, key, edges, counts in self.histograms)

    def _axis(self, key: str) -> str:
        axis = self.axes.get(key) or next((a for pattern, a in self.patterns if fnmatch.fnmatchcase(key, pattern)), "")
        return axis if axis in self.columns else ""

    def _default_axis(self) -> str:
        """The metric that most rows have as their step: a well-known name that never goes back; else W&B's own."""
        for key in STEP_KEYS:
            column = self.columns.get(key)
            if column is None or 2 * len(column.rows) < self.count:
                continue
            values = np.frombuffer(column.values)
            if np.isfinite(values).all() and not np.any(np.diff(values) < 0) and np.array_equal(values, np.floor(values)):
                return key
        return "_step"

    def _spread(self, key: str) -> Floats:
        """(rows,) the metric in each row, NaN where the row does not have it."""
        out = np.full(self.count, np.nan)
        column = self.columns.get(key)
        if column is not None:
            out[np.frombuffer(column.rows, np.int64)] = np.frombuffer(column.values)
        return out

    def _carried(self, key: str) -> Floats:
        """(rows,) the metric as last logged, NaN before the first."""
        column = self.columns[key]
        at = np.searchsorted(np.frombuffer(column.rows, np.int64), np.arange(self.count), side="right") - 1
        return np.where(at >= 0, np.frombuffer(column.values)[np.maximum(at, 0)], np.nan)

    def _system(self, steps: Floats, times: Floats) -> tuple[Series, ...]:
        """Machine statistics have a clock only: their step is where the rows were at that time."""
        known = np.isfinite(steps) & np.isfinite(times)
        if known.sum() < 2:
            return ()
        order = np.argsort(times[known], kind="stable")
        clock = np.asarray(self.system_times)
        at = np.interp(clock, times[known][order], steps[known][order])
        out: list[Series] = []
        for key, column in self.system.items():
            rows = np.frombuffer(column.rows, np.int64)
            values = np.frombuffer(column.values).copy()
            out.append(Series(f"other/system/{key}", f"system/{key}", self.path, at[rows], values, times=clock[rows], reduction=reduction_of("")))
        return tuple(out)


def item(data: bytes, start: int, end: int) -> tuple[tuple[str, ...], object]:
    """(path of the key, value) of a HistoryItem, ConfigItem, SummaryItem or StatsItem; None for a value that is none of JSON's."""
    key = ""
    nested: list[str] = []
    value: object = None
    for number, wire, a, b in walk(data, start, end):
        if wire == BYTES:
            if number == 1:
                key = data[a : min(b, a + 1000)].decode("utf-8", "replace")
            elif number == 2 and len(nested) < 20:
                nested.append(data[a : min(b, a + 1000)].decode("utf-8", "replace"))
            elif number == 7:
                value = data[a:b].decode("utf-8", "replace")
            elif number in (8, 16):
                value = _parsed(data[a:b])
        elif wire == VARINT and number == 4:
            value = bool(a)
        elif wire == VARINT and number == 5:
            value = zigzag(a)
        elif wire == FIXED64 and number == 6:
            value = double(data, a)
    return tuple(nested) or ((key,) if key else ()), value


def timestamp(data: bytes, start: int, end: int) -> float:
    """A google.protobuf.Timestamp as seconds since 1970."""
    seconds = nanos = 0
    for number, wire, a, _ in walk(data, start, end):
        if wire == VARINT and number == 1:
            seconds = signed(a)
        elif wire == VARINT and number == 2:
            nanos = signed(a)
    return seconds + nanos * 1e-9


def _parsed(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _real(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _histogram(value: dict[str, object]) -> tuple[Floats, Floats] | None:
    """Edges and counts of a logged wandb.Histogram; None when it is none."""
    packed = value.get("packedBins")
    try:
        counts: Floats = np.asarray(value.get("values"), np.float64)
        grid = np.arange(len(counts) + 1)
        edges: Floats = np.asarray(float(packed["min"]) + float(packed["size"]) * grid if isinstance(packed, dict) else value.get("bins"), np.float64)
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    if counts.ndim != 1 or edges.shape != grid.shape or not len(counts):
        return None
    sound = np.isfinite(edges).all() and np.isfinite(counts).all() and (np.diff(edges) > 0).all() and (counts >= 0).all() and counts.sum() > 0
    return (edges, counts) if sound else None
