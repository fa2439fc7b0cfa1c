"""A table of a structured log as series: names, axis, what a value stands for, how finely it was printed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from postmortem.model.run import Floats, Reduction, Series
from postmortem.model.sentence import Value
from postmortem.sources.logs.axis import EPOCH_KEYS, STEP_KEYS, Axis, Mask, beside_the_row_before, epochs_done, find_axis, plain, within_epoch
from postmortem.sources.logs.numbers import quantum
from postmortem.sources.logs.table import Column, Table
from postmortem.sources.names import reduction_of, series_name, series_names, words

_SPLIT_COLUMNS = ("split", "phase", "mode", "stage", "type", " type", "subset", "partition", "set", "kind", "name")
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "dev": "val",
    "evaluation": "val",
    "test": "test",
}
_EVALUATED = ("val", "test")


@dataclass(frozen=True, slots=True)
class Habits:
    """What a format says beyond its columns."""

    step_key: str | None = None
    epoch_base: int | None = None  # of a whole epoch counter; None: from the data
    epochs_are_done: bool = False  # the epoch column counts epochs done, whole or not
    train: Reduction = Reduction.UNKNOWN  # what a training value stands for
    row_is_epoch: bool = False  # every row ends an epoch, even where no column counts them
    renamed: Mapping[str, str] = field(default_factory=dict)  # canonical names that the format knows better
    split: str = ""  # of keys that do not say
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows that are looked at: all, or those of one split. `said` is what the split column says of them, "" without one."""

    mask: Mask
    split: str
    said: str
    axis: Axis
    dense: bool  # each row is one epoch
    ends: Mask  # further rows at the ends of epochs: evaluations that share the counters


def split_column(table: Table) -> str | None:
    """A text column that says per row which split the row is about ("train", "val_epoch"), None without one."""
    for key, cells in table.texts.items():
        if plain(key) in _SPLIT_COLUMNS and len(cells) >= 0.5 * table.count:
            said = {(words(c) or ("",))[0] for c in set(cells.values())}
            if said & set(_SPLITS) and len(said) <= 8 and (plain(key) != "name" or said <= set(_SPLITS)):
                return key
    return None


def series_of(table: Table, source: str, habits: Habits | None = None) -> tuple[Series, ...]:
    """All curves of a table, in the order of its columns."""
    habits = habits or Habits()
    by_split = split_column(table)
    if by_split is None:
        return _one_split(table, source, habits, _rows(table, habits, np.ones(table.count, dtype=bool), habits.split))
    cells = table.texts[by_split]
    out: list[Series] = []
    evaluated = np.zeros(table.count, dtype=bool)
    evaluated[[row for row, cell in cells.items() if _SPLITS.get((words(cell) or ("",))[0]) in _EVALUATED]] = True
    for text in dict.fromkeys(cells.values()):
        mask = np.zeros(table.count, dtype=bool)
        mask[[row for row, cell in cells.items() if cell == text]] = True
        said = words(text) or ("",)
        split = _SPLITS.get(said[0], "")
        if split:
            out.extend(_one_split(table, source, habits, _rows(table, habits, mask, split, text, evaluated=evaluated)))
    return tuple(out)


def _rows(table: Table, habits: Habits, mask: Mask, split: str, said: str = "", *, evaluated: Mask | None = None) -> _Rows:
    axis = beside_the_row_before(table, find_axis(table, step_key=habits.step_key))
    dense = (_one_row_per_epoch(table, axis, mask) and not habits.epochs_are_done) or habits.row_is_epoch
    steps, epochs = axis.steps, axis.epochs
    if epochs is None and steps is None and (dense or _looks_per_epoch(table, axis, split)):
        dense, epochs = True, np.arange(1, table.count + 1, dtype=np.float64)
    shared = steps is not None and not np.any(np.diff(steps[np.isfinite(steps)]) < 0)
    if said and not shared:  # counters of the other rows are none of ours
        steps = None if steps is None else np.where(mask, steps, np.nan)
        epochs = None if epochs is None else np.where(mask, epochs, np.nan)
    if steps is not None and epochs is not None:
        steps = within_epoch(steps, epochs)
    ends = evaluated if shared and evaluated is not None else np.zeros(table.count, dtype=bool)
    return _Rows(mask, split, said, replace(axis, steps=steps, epochs=epochs), dense, ends)


def _one_split(table: Table, source: str, habits: Habits, rows: _Rows) -> tuple[Series, ...]:
    axis, mask = rows.axis, rows.mask
    columns: dict[str, Column] = {}
    for key, column in table.columns.items():
        if key in axis.keys or key in habits.left_out:
            continue
        inside = slice(None) if mask.all() else mask[column.rows]
        if len(column.rows[inside]):
            columns[key] = Column(column.rows[inside], column.values[inside], column.unit)
    if rows.said and rows.split in _EVALUATED:  # what such a row repeats of the training, such as lr
        columns = {k: c for k, c in columns.items() if "/" in series_name(k, rows.split)}
    names = series_names(columns, rows.split) | {k: n for k, n in habits.renamed.items() if k in columns}
    reductions = {key: _reduction(key, names[key], column, rows, habits.train) for key, column in columns.items()}
    at_end = rows.ends | rows.dense
    for key, column in columns.items():
        if reductions[key] == Reduction.EPOCH and "/" in names[key] and not names[key].startswith("other/"):
            at_end[column.rows] = True
    epochs = axis.epochs
    if epochs is not None and not habits.epochs_are_done:
        epochs = epochs_done(epochs, axis.steps, at_end, habits.epoch_base)
    axis = replace(axis, epochs=epochs)
    return tuple(
        _series(Curve(names[k], k, source, reductions[k]), c, axis, c.unit if c.unit is not None else quantum(c.values))
        for k, c in columns.items()
        if names[k] != "epoch"
    )


@dataclass(frozen=True, slots=True)
class Curve:
    """What a series is called, where it is from and what its values stand for."""

    name: str
    key: str
    source: str
    reduction: Reduction


def _series(curve: Curve, column: Column, axis: Axis, step: float | None) -> Series:
    def at(where: Floats | None) -> Floats | None:
        return None if where is None else where if len(column) == len(where) else where[column.rows]

    steps = at(axis.steps)
    return Series(
        name=curve.name,
        logged_as=curve.key,
        source=curve.source,
        steps=np.full(len(column), np.nan) if steps is None else steps,
        values=column.values,
        epochs=at(axis.epochs),
        times=at(axis.times),
        reduction=curve.reduction,
        quantum=step,
        records=column.rows.astype(np.int64, copy=False),
    )


def _one_row_per_epoch(table: Table, axis: Axis, mask: Mask) -> bool:
    """Whether no epoch has two rows (a counter that starts again begins another run)."""
    if axis.epochs is None:
        return False
    epochs = axis.epochs[mask]
    if not np.isfinite(epochs).all() or not np.array_equal(epochs, np.floor(epochs)):
        return False
    if len(epochs) == 1:
        return axis.steps is None or any(plain(k).startswith(("val", "eval", "test")) for k in table.columns)
    return bool(np.all(np.diff(epochs) != 0))


def _looks_per_epoch(table: Table, axis: Axis, split: str) -> bool:
    """No counter at all, but every row holds training and validation values: rows are epochs (a saved Keras history)."""
    names = series_names([k for k, c in table.columns.items() if len(c) == table.count and k not in axis.keys], split).values()
    return {"val", "train"} <= {name.partition("/")[0] for name in names}


def planned(table: Table) -> tuple[Table, dict[str, Value]]:
    """What the counters say that they count to (`step: "10/438"`, `total_steps`), and the table without it."""
    facts: dict[str, Value] = {}
    left_out: set[str] = set()
    for key, column in table.columns.items():
        base, _, said = key.rpartition(":")
        name = plain(base)
        if said == "total" and base in table.columns:
            left_out.add(key)
        elif plain(key) in ("total steps", "max steps", "total iters", "total iterations"):
            name = "step"
        elif plain(key) in ("total epochs", "num train epochs", "max epochs"):
            name = "epoch"
        else:
            continue
        if column.values[0] > 0 and np.ptp(column.values) == 0:
            fact = "planned_epochs" if name in EPOCH_KEYS else "planned_steps" if name in STEP_KEYS else ""
            if fact:
                facts[fact] = float(column.values[0])
    return Table(table.count, {k: c for k, c in table.columns.items() if k not in left_out}, table.texts), facts


def _reduction(key: str, name: str, column: Column, rows: _Rows, train: Reduction) -> Reduction:
    said = reduction_of(key)
    if said != Reduction.UNKNOWN:
        return said
    split = name.partition("/")[0].partition(".")[0]
    if split in _EVALUATED or "epoch" in words(rows.said):
        return Reduction.EPOCH
    if "iter" in words(rows.said):
        return train
    if rows.dense:
        return Reduction.EPOCH
    if split != "train":
        return Reduction.UNKNOWN
    return Reduction.EPOCH if rows.axis.epochs is not None and _once_per_epoch(column, rows.axis.epochs) else train


def _once_per_epoch(column: Column, epochs: Floats) -> bool:
    """A sparse column with one value in each epoch that the table knows (but for one that was cut off)."""
    own = epochs[column.rows]
    if not 1 < len(own) < len(epochs) or not np.array_equal(own, np.floor(own)) or np.any(np.diff(own) <= 0):
        return False
    return len(np.unique(epochs[np.isfinite(epochs)])) - len(own) <= 1
