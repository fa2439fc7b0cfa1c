"""Which columns of a table say where in training a row is: step, epoch, time; and what they mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats
from postmortem.sources.logs.table import Table
from postmortem.sources.names import words

Mask = npt.NDArray[np.bool_]

# Words of a key, joined by a blank, in the order in which they are trusted.
STEP_KEYS = (
    "global step", "trainer global step", "train global step", "step", "steps", "iteration", "iter", "iterations", "it", "itr", "global iter",
    "global iteration", "total timesteps", "time total timesteps", "timesteps", "timestep", "current steps", "num updates", "update", "updates",
    "optimizer step", "update step", "train step", "train steps", "train iter", "num steps", "niter", "n iter", "global batch", "env steps",
    "environment steps", "total env steps", "num env steps", "frames", "num frames", "progress kimg", "kimg", "batch idx", "batch", "batches",
    "minibatch", "global step max steps", "timesteps total", "num env steps sampled lifetime", "env runners num env steps sampled lifetime",
    "training iteration", "step num", "samples seen", "total env interacts", "totalenvinteracts",
    "episode", "episodes", "episode num", "episode number",
)  # fmt: skip
EPOCH_KEYS = (
    "epoch", "epochs", "trainer epoch", "ep", "epoch num", "current epoch", "epoch idx", "train epoch", "epoch number", "progress epoch",
    "epoch id", "epoch index",
)  # fmt: skip
TIME_KEYS = (
    "timestamp", "wall time", "walltime", "time", "time time elapsed", "elapsed time", "elapsed", "runtime", "total time", "train time", "time s",
    "seconds", "elapsed s", "time elapsed", "time total s", "elapsed sec", "wall clock time", "total seconds",
    "timestamp sec", "date", "datetime", "date time", "created at",
)  # fmt: skip
# Bookkeeping that is no curve.
IGNORED_KEYS = frozenset({
    "percentage", "eta", "remaining time", "eta seconds", "total steps", "max steps", "unnamed 0", "index", "progress tick", "total epochs",
    "n parameters",
    "seed", "num train epochs", "time iterations", "iterations total", "remaining",
})  # fmt: skip
_DATED = 1e9  # seconds since 1970: a moment, no length of time
_MILLISECONDS = 1e11  # a timestamp above this is in milliseconds


@dataclass(frozen=True, slots=True)
class Axis:
    """Where each row is. steps, epochs, times : (count,) or None; NaN where a row does not say. keys : columns used up."""

    steps: Floats | None
    epochs: Floats | None
    times: Floats | None
    keys: frozenset[str]


def plain(key: str) -> str:
    """A key's words joined by blanks."""
    return " ".join(words(key))


def has_axis(keys: Sequence[str]) -> bool:
    """Whether any key says step or epoch."""
    return any(plain(k) in STEP_KEYS or plain(k) in EPOCH_KEYS for k in keys)


def is_clock(key: str) -> bool:
    """Whether a key names a point in time."""
    return plain(key) in TIME_KEYS


def _first(table: Table, wanted: Sequence[str], by_name: Mapping[str, str]) -> str | None:
    return next((by_name[w] for w in wanted if w in by_name and len(table.columns[by_name[w]])), None)


def _counts(values: Floats) -> bool:
    """Whether a column can be a counter: whole numbers, or fractions that hardly ever go back. Seconds per step are neither."""
    known = values[np.isfinite(values)]
    return bool(np.array_equal(known, np.floor(known))) or int(np.count_nonzero(np.diff(known) < 0)) <= len(known) // 20


def find_axis(table: Table, *, step_key: str | None = None) -> Axis:
    """The axis of a table. `step_key` is the column that the format itself names."""
    by_name: dict[str, str] = {}
    for key in table.columns:
        by_name.setdefault(plain(key), key)
    epoch_key = _first(table, EPOCH_KEYS, by_name)
    step_key = (
        step_key
        if step_key in table.columns
        else _first(table, [k for k in STEP_KEYS if k in by_name and _counts(table.columns[by_name[k]].values)], by_name)
    )
    keys = {k for k in table.columns if plain(k) in IGNORED_KEYS or k == ""}
    keys.update(k for k in table.columns if plain(k) in STEP_KEYS or plain(k) in EPOCH_KEYS)
    epochs = table.columns[epoch_key].spread(table.count) if epoch_key else None
    steps = table.columns[step_key].spread(table.count) if step_key else None
    if steps is not None and epochs is None and step_key and "frac" in step_key:
        steps = None
    time_key, times = _times(table, by_name)
    if time_key:
        keys.add(time_key)
    return Axis(steps, epochs, times, frozenset(keys))


def beside_the_row_before(table: Table, axis: Axis) -> Axis:
    """The axis, where rows that say nothing of where they are hold other columns than those that do: each is where the row before it is.

    `{"step": 10, "loss": 2.5}`, then `{"grad_norm": 1.5}`: two lines of one record. What stands before the first counter stays nowhere.
    """
    told = [numbers for numbers in (axis.steps, axis.epochs) if numbers is not None]
    if not told:
        return axis
    placed = np.any(np.isfinite(told), axis=0)
    if placed.all() or not placed.any():
        return axis
    beside = [placed[c.rows] for k, c in table.columns.items() if k not in axis.keys and len(c)]
    if any(0 < np.count_nonzero(p) < len(p) for p in beside):
        return axis
    before = np.maximum.accumulate(np.where(placed, np.arange(table.count), 0))  # row 0, which may be nowhere, before the first of them
    steps, epochs = (None if numbers is None else numbers[before] for numbers in (axis.steps, axis.epochs))
    return replace(axis, steps=steps, epochs=epochs)


def _times(table: Table, by_name: Mapping[str, str]) -> tuple[str | None, Floats | None]:
    """A clock goes forward; a column called `time` may as well hold seconds per step."""
    for name in TIME_KEYS:
        key = by_name.get(name)
        if key is None:
            continue
        values = table.columns[key].values
        known = values[np.isfinite(values)]
        if len(known) < len(values) or len(known) < 1:
            continue
        backwards = int(np.count_nonzero(np.diff(known) < 0))
        clock = name in ("timestamp", "wall time", "walltime", "time time elapsed", "elapsed time", "elapsed", "runtime", "time elapsed")
        if backwards > max(1, len(known) // 20) and not clock:
            continue
        if not clock and len(known) > 1 and known[-1] <= known[0]:
            continue
        if not clock and len(known) > 4 and known[0] < _DATED and known[-1] - known[0] < 0.5 * known[0]:
            continue
        times = table.columns[key].spread(table.count)
        return key, times / 1000.0 if known[0] > _MILLISECONDS else times
    return None, None


def within_epoch(steps: Floats, epochs: Floats) -> Floats:
    """Unroll a counter that starts again with each epoch into a global one; any other counter is returned as it is."""
    known = np.isfinite(steps) & np.isfinite(epochs)
    s, e = steps[known], epochs[known]
    if len(s) < 4 or not np.array_equal(e, np.floor(e)):
        return steps
    falls = np.flatnonzero(np.diff(s) < 0)
    if not len(falls) or not np.all(np.diff(e)[falls] > 0) or np.any(np.diff(e) < 0) or len(falls) < 0.5 * (len(np.unique(e)) - 1):
        return steps
    length = float(s.max())
    gaps = np.diff(s)
    if np.any(s == 0):
        length += float(np.median(gaps[gaps > 0])) if np.any(gaps > 0) else 1.0
    return np.where(known, (epochs - e[0]) * length + steps, np.nan)


def epochs_done(epochs: Floats, steps: Floats | None, at_end: Mask, base: int | None) -> Floats:
    """Epochs completed at each row: (n,) from a printed epoch counter.

    A fractional counter is left as it is. A whole one names the epoch under way: 0-based when it is ever 0 (or when `base`
    says so). Rows at the end of an epoch (an evaluation, an epoch's mean) count it as done; the others lie inside it, by
    their step where steps and ends of epochs lie on one line, else at its beginning; without steps all count it as done.
    """
    known = np.isfinite(epochs)
    whole = epochs[known]
    if not len(whole) or not np.array_equal(whole, np.floor(whole)):
        return epochs
    first = (0 if float(whole.min()) == 0 else 1) if base is None else base
    begun = epochs - first
    done = np.where(at_end, begun + 1, begun)
    if steps is None:
        return begun + 1  # several records of one epoch are spread over it later, up to its end
    if at_end.all():
        return done
    ends = at_end & known & np.isfinite(steps)
    if np.count_nonzero(ends) < 2 or np.ptp(steps[ends]) == 0 or np.ptp(done[ends]) == 0:
        return done
    slope = float(np.ptp(done[ends]) / np.ptp(steps[ends]))
    at = int(np.flatnonzero(ends)[0])
    line = done[at] + slope * (steps - steps[at])
    if np.max(np.abs(line[ends] - done[ends])) > 0.05:
        return done
    inside = np.where(known, np.clip(line, begun, begun + 1), np.maximum(line, 0.0))
    return np.where((at_end & known) | ~np.isfinite(inside), done, inside)
