"""What is known of those who write delimited logs: how a file is laid out, and what each writer's columns mean."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from postmortem.model.run import Floats, Reduction, Series
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.logs.axis import has_axis, plain
from postmortem.sources.logs.beside import split_of_file
from postmortem.sources.logs.curves import Habits, planned, series_of
from postmortem.sources.logs.detection import PART, parts_of_loss
from postmortem.sources.logs.numbers import MISSING_WORDS, number
from postmortem.sources.logs.table import Column, Table
from postmortem.sources.logs.unlabelled import MOSTLY, behind_counter, metric_of, stem_of
from postmortem.sources.names import names_a_loss, series_name
from postmortem.sources.reader import Candidate

_DELIMITERS = (",", "\t", ";", "|")
_YOLO_ROW = re.compile(r"\s*\d+/\d+\s+[\d.]+G(?:\s+\S+){8,14}")
_YOLO_FIELDS = (
    "epoch", "gpu_mem", "train/box_loss", "train/obj_loss", "train/cls_loss", "train/loss", "labels", "imgsz", "metrics/precision", "metrics/recall",
    "metrics/mAP_0.5", "metrics/mAP_0.5:0.95", "val/box_loss", "val/obj_loss", "val/cls_loss",
)  # fmt: skip
# Columns of a data set rather than of a log.
_DATA_COLUMNS = frozenset({
    "id", "image", "filename", "file", "path", "label", "labels", "text", "prediction", "pred", "target", "y true", "y pred", "class", "image id",
    "filepath", "file name", "sentence", "question", "answer", "ground truth", "y", "image path", "feature", "layer", "param", "parameter",
})  # fmt: skip
_LOG_QUANTITIES = ("loss", "accuracy", "perplexity")
_WIDEST = 20_000  # columns
_A_LOG = re.compile(r"(?i)loss|(?:^|[_\W])(?:log|train|training|history|curve)(?:[_\W]|$)")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is laid out. header : column names as written, stripped; () when there is none."""

    delimiter: str
    header: tuple[str, ...]
    skip: int  # lines before the first row of data
    preamble: str = ""  # a first line that is no row: `#{"t_start": …}`


def layout_of(head: str) -> Layout | None:
    """The layout as the first lines show it, None when they show no table."""
    lines = head.splitlines()
    at = next((n for n, line in enumerate(lines) if line.strip()), None)
    if at is None:
        return None
    preamble = ""
    if lines[at].startswith("#"):
        if at + 1 < len(lines) and (lines[at].startswith("#{") or not any(d in lines[at] for d in _DELIMITERS)):
            preamble, at = lines[at], at + 1
        else:
            lines[at] = lines[at].lstrip("# ")
    if lines[at].startswith("%") and at + 1 < len(lines):  # torch.Logger: a title for each curve
        titles = tuple(t.strip("% ") for t in lines[at].rstrip().split("\t"))
        return Layout("\t", titles, at + 1, lines[at]) if any(map(_is_quantity, titles)) else None
    if _YOLO_ROW.fullmatch(lines[at]):
        return Layout(" ", _YOLO_FIELDS[: len(lines[at].split())], at)
    counts = {d: lines[at].count(d) for d in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda d: counts[d])
    if not counts[delimiter]:
        cells = [lines[at].strip().strip('"')]
        return Layout(",", tuple(cells), at + 1, preamble) if _is_quantity(cells[0]) else None
    cells = [c.strip() for c in next(csv.reader([lines[at]], delimiter=delimiter), [])]
    if not 1 < len(cells) <= _WIDEST:
        return None
    numeric = [number(c) is not None for c in cells]
    if all(n or c.lower() in MISSING_WORDS for n, c in zip(numeric, cells, strict=True)):
        return Layout(delimiter, (), at, preamble)
    if any(numeric[1:]) and sum(numeric) > len(cells) // 2:
        return None
    return Layout(delimiter, tuple(cells), at + 1, preamble)


def _is_quantity(key: str) -> bool:
    return series_name(key).partition("/")[2] in _LOG_QUANTITIES


def no_log(layout: Layout) -> Sentence | None:
    """Why a table is no log of a training, None when it may be one."""
    if not layout.header or has_axis(layout.header) or layout.preamble.startswith("#{"):
        return None
    keys = [plain(k) for k in layout.header]
    if not _DATA_COLUMNS.isdisjoint(keys):
        return say("it looks like a data set: no column counts steps or epochs")
    if {"wall time", "value"} <= set(keys) or any(names_a_loss(k) or _is_quantity(k) for k in layout.header):
        return None
    return say("no column counts steps or epochs, and none is a loss or an accuracy")


# --- what a layout says ---------------------------------------------------------------------------------------------


def series_by_layout(table: Table, layout: Layout, candidate: Candidate) -> tuple[tuple[Series, ...], dict[str, Value]]:
    table, facts = planned(table)
    keys = table.columns.keys()
    if layout.preamble.startswith("#{") and {"r", "l"} <= keys:
        return _monitor(table, layout, candidate.path), facts
    table = _pivoted(table)
    table, renamed = _exported(table, candidate.name)
    habits = Habits(renamed=renamed)
    lightning = ("hparams.yaml" in candidate.siblings and "step" in keys) or re.search(r"(?:^|/)version_\d+/", candidate.path) is not None
    if lightning and "step" in keys:
        habits = Habits(epoch_base=0, train=Reduction.STEP, renamed=renamed)
        facts["framework"] = "lightning"
    elif _keras(layout.header) and "epoch" in table.columns:  # not when its column holds no number
        habits = Habits(epoch_base=None if table.columns["epoch"].values[0] == 1 else 0, renamed=renamed)  # from 1: a history that was saved by hand
    elif any(k.startswith("metrics/") for k in keys) and any(PART.fullmatch(k) for k in keys):
        table = _with_totals(table)
        habits = Habits(renamed={k: n for k in table.columns if k.startswith("metrics/") for n in (series_name(k, "val"),)} | renamed)
    elif {"epoch", "steps"} <= keys and (table.columns["steps"].values == -1).any():
        table, habits = _with_ends_of_epochs(table), Habits(epochs_are_done=True, split="val", renamed=renamed)
    if not layout.header:
        table = _with_counter_first(table, candidate.name)
        habits = Habits(renamed=_first_is_loss(table, candidate.name))
    return series_of(table, candidate.path, replace(habits, split=habits.split or split_of_file(candidate))), facts


def _keras(header: Sequence[str]) -> bool:
    """`epoch`, then sorted keys, among them Keras' own `loss`."""
    rest = list(header[1:])
    return bool(header) and header[0] == "epoch" and "loss" in rest and rest == sorted(rest) and "step" not in rest


def _monitor(table: Table, layout: Layout, path: str) -> tuple[Series, ...]:
    """Stable-Baselines' Monitor: one row per episode with its return `r`, its length `l` and the seconds `t` since the start."""
    lengths = table.columns["l"].spread(table.count)
    steps = np.cumsum(np.nan_to_num(lengths))
    times = table.columns["t"].spread(table.count) if "t" in table.columns else None
    try:
        start = json.loads(layout.preamble[1:2000]).get("t_start", 0.0)
    except (ValueError, AttributeError, RecursionError):
        start = 0.0
    if times is not None and isinstance(start, int | float):
        times = times + float(start)
    out = []
    for key, name in (("r", "reward"), ("l", "other/episode length")):
        column = table.columns[key]
        at = column.rows
        out.append(
            Series(
                name, key, path, steps[at], column.values, None, None if times is None else times[at], Reduction.STEP, 1e-6 if key == "r" else None
            )
        )
    return tuple(out)


def _pivoted(table: Table) -> Table:
    """A long table, one value per row with its name beside it, made wide."""
    name = next((k for k in table.texts if plain(k) in ("tag", "metric", "name", "key", "metric name", "variable")), None)
    value = next((k for k in table.columns if plain(k) in ("value", "metric value", "val")), None)
    if name is None or value is None:
        return table
    values = table.columns[value].spread(table.count)
    cells = table.texts[name]
    tags = list(dict.fromkeys(cells.values()))
    if len(tags) > 200:
        return table
    columns = {k: c for k, c in table.columns.items() if k != value}
    for tag in tags:
        rows = np.array([row for row, text in cells.items() if text == tag], dtype=np.int64)
        rows = rows[np.isin(rows, table.columns[value].rows)]
        columns[tag] = Column(rows, values[rows])
    return Table(table.count, columns, {k: t for k, t in table.texts.items() if k != name})


def _exported(table: Table, filename: str) -> tuple[Table, dict[str, str]]:
    """Tables that W&B's and TensorBoard's pages export: `run - metric` with __MIN and __MAX; `Wall time, Step, Value`."""
    keys = list(table.columns)
    if {"wall time", "step", "value"} == {plain(k) for k in keys}:
        value = next(k for k in keys if plain(k) == "value")
        stem = filename.rpartition(".")[0]
        name = series_name(stem.rpartition("tag-")[2])
        return table, {value: name if not name.startswith("other/") else f"other/{stem}"}
    curves = [k for k in keys if " - " in k and not k.endswith(("__MIN", "__MAX"))]
    if not any(f"{k}__MIN" in table.columns for k in curves):
        return table, {}
    columns = {k: c for k, c in table.columns.items() if not k.endswith(("__MIN", "__MAX"))}
    first_run = curves[0].partition(" - ")[0]
    renamed = {k: series_name(k.rpartition(" - ")[2]) if k.startswith(f"{first_run} - ") else f"other/{k}" for k in curves}
    return Table(table.count, columns, table.texts), renamed


def _with_totals(table: Table) -> Table:
    """The sums of the parts of a detector's loss, as further columns."""
    columns = dict(table.columns)
    for split in ("train", "val"):
        parts = parts_of_loss(columns, split)
        if not parts:
            continue
        total: Floats = np.sum([columns[k].spread(table.count) for k in parts], axis=0)
        missing = np.all([~np.isin(np.arange(table.count), columns[k].rows) for k in parts], axis=0)
        rows = np.flatnonzero(~missing)
        columns[f"{split}/total_loss"] = Column(rows, np.round(total[rows], 10))
    return Table(table.count, columns, table.texts)


def _with_ends_of_epochs(table: Table) -> Table:
    """sentence-transformers' evaluators count steps within an epoch, -1 at its end: the rows of an epoch are spread over it."""
    columns = {k: c for k, c in table.columns.items() if k != "steps"}
    epochs = table.columns["epoch"].spread(table.count)
    _, firsts, places, counts = np.unique(np.sort(epochs), return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(epochs, kind="stable")
    within = np.empty(table.count)
    within[order] = (np.arange(table.count) - firsts[places] + 1) / counts[places]
    columns["epoch"] = Column(np.arange(table.count), epochs + within)
    return Table(table.count, columns, table.texts)


def _first_is_loss(table: Table, name: str) -> dict[str, str]:
    """Without a header: what stands behind the counter, in a file whose name speaks of a loss or a log, is taken for the loss."""
    first = next((k for k in table.columns if k not in ("step", "epoch")), None)
    if first is None or table.columns.keys().isdisjoint(("step", "epoch")):
        return {}
    known = behind_counter(name) or ("train/loss" if _A_LOG.search(name) else "")
    return {first: known} if known else {}


def _with_counter_first(table: Table, name: str) -> Table:
    """No header: a first column of whole numbers that increase counts steps; in a file called after a metric, one that stays or rises by one
    counts epochs. What the others are, nobody says: each is called after its file."""
    first = table.columns.get("column 1")
    counter = _counts(first.values, metric_of(name) != "") if first is not None else ""
    columns = {f"{stem_of(name)}: {k}": c for k, c in table.columns.items() if not (counter and k == "column 1")}
    return Table(table.count, ({counter: first} if counter and first is not None else {}) | columns, table.texts)


def _counts(values: Floats, named: bool) -> str:  # noqa: FBT001
    """What a first column counts: "step", "epoch" or "" for nothing."""
    if len(values) < 2 or not np.array_equal(np.floor(values), values):
        return ""
    rises = np.diff(values)
    if np.mean(rises > 0) >= MOSTLY:
        return "step"
    return "epoch" if named and values[0] in (0, 1) and values[-1] > values[0] and set(np.unique(rises).tolist()) <= {0.0, 1.0} else ""
