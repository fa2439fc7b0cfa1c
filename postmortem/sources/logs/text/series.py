"""The columns of a log as series: named once all of them are known, repeats left out, ranks averaged."""

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats, Reduction, Series
from postmortem.sources.logs.parts import is_part
from postmortem.sources.logs.text.places import Settled
from postmortem.sources.logs.text.rows import OF_A_PASS, Column, ColumnKey, Rows
from postmortem.sources.logs.text.unnamed import NAMELESS, is_curve, merits
from postmortem.sources.names import reduction_of, series_names

# BasicSR and its kin: l_pix, l_total; closs; what a generator's parts come to
_LOSS_LIKE = re.compile(r"^l_\w+$|^(?:(?:g|gen|generator) )?total$|^(?!best|min|max|prev|last|[dg]loss|advloss)[a-z]{1,12}loss$", re.IGNORECASE)
_MOST = 0.5  # of the records
_MEASURED = ("train/", "val/", "test/", "reward")
_FEWEST_SAVED = 3  # saved models that make a curve


def to_series(rows: Rows, where: Settled, source: str) -> tuple[Series, ...]:
    """All columns as series, repeats of one row by several ranks merged."""
    out: list[Series] = []
    times, ranks = rows.time.all(), rows.rank.all()
    several = len(np.unique(ranks[np.isfinite(ranks)])) > 1
    names = _lifted(rows) | merits(rows.columns)
    placed = np.flatnonzero(np.isfinite(where.steps) | np.isfinite(where.epochs))
    begin = int(placed[0]) if len(placed) else 0  # what stands before the first counter is configuration
    any_known = any(not c.name.startswith("other/") for c in rows.columns.values())
    alone: set[int] = set()  # of `out`: values that came once and are known by no name
    any_loss = any(c.name.endswith("/loss") for c in rows.columns.values())
    told = {c.name for c in rows.columns.values() if not c.spare}
    trained = any(name.startswith("train/") for name in told)
    spared = any(name.endswith("/loss") for name in told)
    in_full = any(c.printed_in_full and not c.name.startswith("other/") for c in rows.columns.values())  # numbers as they are: 0.0 is zero
    for key, column in rows.columns.items():
        if column.spare and (column.name in told or len(column.rows) < _FEWEST_SAVED or (spared and column.logged_as != NAMELESS)):
            continue
        if column.logged_as == NAMELESS and (trained or not is_curve(column, where.steps)):
            continue
        index = np.frombuffer(column.rows, dtype=np.int64) if len(column.rows) else np.zeros(0, np.int64)
        values = np.frombuffer(column.values, dtype=np.float64) if len(column.rows) else np.zeros(0)
        if np.any(index[1:] < index[:-1]):
            order = np.argsort(index, kind="stable")
            index, values = index[order], values[order]
        later = (index >= begin) & np.append(index[1:] != index[:-1], True)  # said twice of one place: the last counts
        if not later.all():
            index, values = index[later], values[later]
        if not len(index):
            continue
        once = len(index) == 1
        steps, epochs, time = where.steps[index], where.epochs[index], times[index]
        keep = _distinct(steps, epochs, values)
        if not keep.all():
            index, steps, epochs, time, values = index[keep], steps[keep], epochs[keep], time[keep], values[keep]
        if several:
            starts, values = _over_ranks(steps, epochs, values, ranks[index])
            index, steps, epochs, time = index[starts], steps[starts], epochs[starts], time[starts]
        name, logged_as = names.get(key, column.name), column.logged_as
        if once and any_known and column.name.startswith("other/") and not (is_part(column.logged_as) and not any_loss):
            alone.add(len(out))
        if _of_a_pass(key, names, rows):
            logged_as = f"{column.split} {logged_as}"
            name = f"other/{logged_as}"
        elif column.last_batch and _told_whole(column, rows):
            logged_as = f"{column.name.partition('/')[0]} {logged_as}"
            name = f"other/{logged_as}"
        out.append(
            Series(
                name=name, logged_as=logged_as, source=source, steps=steps, values=values,
                epochs=epochs if np.isfinite(epochs).any() else None, times=time if np.isfinite(time).any() else None,
                reduction=_reduction(column, epochs, whole=where.planned_epochs is not None),
                quantum=None if column.printed_in_full or (in_full and not values.any()) else column.quantum, records=index,
            )
        )  # fmt: skip
    if all(len(s) == 1 for s in out):  # where one record is all there is, what stands beside what is known in it counts
        measured = [_place(s) for s in out if s.name.startswith(_MEASURED)]
        alone = {n for n in alone if _place(out[n]) not in measured and not (np.isnan(out[n].steps[0]) and out[n].epochs is None)}
    return tuple(s for n, s in enumerate(out) if n not in alone)


def _place(series: Series) -> tuple[str, str]:
    """Where its first value is."""
    return repr(series.steps[0]), repr(None if series.epochs is None else series.epochs[0])


def _of_a_pass(key: ColumnKey, names: Mapping[ColumnKey, str], rows: Rows) -> bool:
    """Whether an evaluation logs under the name that training logs something under, `time` of a step and `time` of a batch of the evaluation."""
    name, logged_as, evaluated, *_ = key
    if not evaluated or not names.get(key, name).startswith(OF_A_PASS):
        return False
    return any(other[1] == logged_as and not other[2] and len(column.values) for other, column in rows.columns.items())


def _told_whole(column: Column, rows: Rows) -> bool:
    """Whether what is but the last batch of each epoch, beside its mean, is told of the whole epoch as often: `loss 0.61 (1.88)`, `Val Loss 1.88`."""
    alike = (c for c in rows.columns.values() if c.name == column.name and c.summary and not (c.last_batch or c.spare))
    return not column.name.startswith("other/") and any(len(c.rows) >= len(column.rows) > 1 for c in alike)


def _reduction(column: Column, epochs: Floats, *, whole: bool) -> Reduction:
    """What a value stands for, by its key and by the epochs that are done at each, (n,). `whole`: the log's rows are epochs."""
    said = reduction_of(column.logged_as)
    several = np.isfinite(epochs).all() and len(np.unique(np.ceil(epochs))) < _MOST * len(epochs)  # below the heading of one
    if column.name.startswith(("val", "test")) or ((column.summary or whole) and not several):
        return Reduction.EPOCH
    return said if said != Reduction.UNKNOWN else column.reduction


def _lifted(rows: Rows) -> dict[ColumnKey, str]:
    """A split whose only loss has an unknown name (`l_pix`) takes that for its loss."""
    out: dict[ColumnKey, str] = {}
    present = {c.name for c in rows.columns.values() if len(c.values)}
    for split in sorted({c.split for c in rows.columns.values()}):
        columns = {k: c for k, c in rows.columns.items() if c.split == split}
        found = series_names([c.logged_as for c in columns.values()], split)
        for key, column in columns.items():
            name = found.get(column.logged_as, column.name)
            if column.name.startswith("other/") and not name.startswith("other/") and name not in present:
                out[key] = name
        alike = [k for k, c in columns.items() if _LOSS_LIKE.match(c.logged_as) and len(c.values)]
        wanted = f"{split or 'train'}/loss"
        if len({k[1] for k in alike}) == 1 and not {wanted, "train/loss"} & present:  # of steps, of whole epochs
            out.update({k: wanted for k in alike if k not in out and columns[k].name.startswith("other/")})
    return out


def _distinct(steps: Floats, epochs: Floats, values: Floats) -> "npt.NDArray[np.bool_]":
    """False for a record that repeats the one before it: same place, same value."""
    if len(values) < 2:
        return np.ones(len(values), dtype=bool)
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    known = np.isfinite(steps[1:])
    for axis in (steps, epochs):
        same &= (axis[1:] == axis[:-1]) | (np.isnan(axis[1:]) & np.isnan(axis[:-1]))
    return np.concatenate([[True], ~(same & known)])


def _over_ranks(steps: Floats, epochs: Floats, values: Floats, ranks: Floats) -> tuple["npt.NDArray[np.int64]", Floats]:
    """The first record of each place and the mean over ranks that report the same step, or the same epoch without one, one after the other;
    NaN when one of them is NaN."""
    nowhere = np.isnan(steps[1:]) & np.isnan(steps[:-1]) & (epochs[1:] == epochs[:-1])
    same = (ranks[1:] != ranks[:-1]) & np.isfinite(ranks[1:]) & ((steps[1:] == steps[:-1]) | nowhere)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    if len(starts) == len(values):
        return starts, values
    return starts, np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))
