"""Values that only their split names, `Train: 0.91, Val: 0.83`: accuracies or losses, told from the other series and from where they go; and
values that nothing names."""

import numpy as np

from postmortem.model.run import Floats
from postmortem.sources.logs.text.keys import split_in
from postmortem.sources.logs.text.rows import Column, ColumnKey
from postmortem.sources.names import words

NAMELESS = "(no name)"
_FEWEST = 5  # values that make a curve of what nobody named
PERCENT = 10.0  # times the loss beside it: what is above 1 and a share is in per cent
_FINE = 1.1e-6  # the last digit of a loss that nothing but its step stands before; weights of classes have fewer


def is_curve(column: Column, steps: Floats) -> bool:
    """Whether values without any name, `0:\\t2.512345678` of WaveGlow, are those of a training: enough, finely printed, at steps that count on.

    steps : of all rows, (rows,).
    """
    at = steps[np.frombuffer(column.rows, dtype=np.int64)]
    fine = column.printed_in_full or (column.quantum is not None and column.quantum <= _FINE)
    return len(at) >= _FEWEST and fine and bool(np.all(np.diff(at) > 0))


def merits(columns: dict[ColumnKey, Column]) -> dict[ColumnKey, str]:
    """New names of columns that were taken for losses and are accuracies: what is a share, or per cent beside a loss, rises in training."""
    unnamed = {key: column for key, column in columns.items() if column.name.endswith("/loss") and _is_split(column.logged_as)}
    if not unnamed:
        return {}
    losses = [c for key, c in columns.items() if key not in unnamed and not c.spare and len(c.values)]
    beside = next((c for c in losses if c.name == "train/loss"), None)
    alone = [(key, c) for key, c in unnamed.items() if not c.name.startswith("train/")]
    if beside is not None and len(alone) == len(unnamed):  # `loss=1.1 | val=1.2`
        said = {c.name for c in losses}
        return {key: c.name.replace("/loss", "/accuracy") for key, c in alone if c.name in said or _runs_against(c, beside)}
    named = beside is not None
    if _rises([c for c in unnamed.values() if len(c.values)], 100.0 if named else 1.0):
        return {key: column.name.replace("/loss", "/accuracy") for key, column in unnamed.items()}
    return {}


def _is_split(key: str) -> bool:
    return len(words(key)) == 1 and bool(split_in(key))


def _runs_against(column: Column, loss: Column) -> bool:
    """A share that rises while the loss falls, or the other way round, in the first half of what was logged: later a loss may rise by overfitting."""
    _, mine, of_loss = np.intersect1d(np.array(column.rows), np.array(loss.rows), return_indices=True)
    values, losses = np.array(column.values)[mine], np.array(loss.values)[of_loss]
    known = np.isfinite(values) & np.isfinite(losses)
    values, losses = values[known], losses[known]
    if len(values) < 2 or values.min() < 0.0 or values.max() > 100.0 or (values.max() > 1.0 and np.median(values) < PERCENT * np.median(losses)):
        return False
    half = max(2, (len(values) + 1) // 2)
    return bool(np.sum((values[:half] - values[:half].mean()) * (losses[:half] - losses[:half].mean())) < 0)


def _rises(columns: list[Column], most: float) -> bool:
    """All lie between 0 and `most`, and that of the training set ends above its begin."""
    values: list[Floats] = [np.frombuffer(c.values, dtype=np.float64) for c in columns]
    trained = [v for c, v in zip(columns, values, strict=True) if c.name == "train/loss"]
    shares = all(np.isfinite(v).all() and v.min() >= 0.0 and v.max() <= most for v in values)
    return shares and bool(trained) and bool(trained[0][-1] > trained[0][0])
