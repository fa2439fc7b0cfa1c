"""The history of a federated training as Flower keeps it: lists of `[round, value]`, by who measured. Round 0 is before training."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from postmortem.sources.logs.curves import Habits
from postmortem.sources.logs.table import Column, Table
from postmortem.sources.names import series_name

ROUNDS = re.compile(r'\s*\{\s*"(?:losses|metrics)_(?:distributed|centralized)(?:_fit)?"\s*:\s*[\[{]')  # how such a document begins
_KEY = re.compile(r"(?:losses|metrics)_(distributed|centralized)(_fit)?")
_MOST = 1 << 53


def table_of_rounds(document: dict[str, Any]) -> tuple[Table, Habits]:
    """One row a round. What the server measured is of the validation set; what the clients did is, where the server measured nothing."""
    lists = {key: (where, found) for key, where, found in _lists(document) if found}
    rounds = sorted({number for _, found in lists.values() for number in found})
    on_server = any(where == "centralized" for where, _ in lists.values())
    columns = {"epoch": Column(np.arange(len(rounds)), np.array(rounds, dtype=np.float64))}
    names: dict[str, str] = {}
    for key, (where, found) in lists.items():
        rows = [n for n, number in enumerate(rounds) if number in found]
        columns[key] = Column(np.array(rows, dtype=np.int64), np.array([found[rounds[n]] for n in rows], dtype=np.float64))
        split = "train" if where == "fit" else "val" if where == "centralized" or not on_server else ""
        names[key] = series_name(key.partition("/")[2] or "loss", split) if split else f"other/{key}"
    return Table(len(rounds), columns), Habits(epochs_are_done=True, renamed=names)


def _lists(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[int, float]]]:
    """Key, who measured ("centralized", "distributed", or "fit" of clients at training) and values by round."""
    for key, value in document.items():
        match = _KEY.fullmatch(key)
        where = "fit" if match and match[2] else match[1] if match else ""
        if match and isinstance(value, list):
            yield key, where, _by_round(value)
        elif match and isinstance(value, dict):
            for name, cells in value.items():
                yield f"{key}/{name}", where, _by_round(cells if isinstance(cells, list) else [])


def _by_round(cells: list[Any]) -> dict[int, float]:
    """Values by round of `[[round, value], …]`; what is anything else is left out."""
    pairs = [cell for cell in cells if isinstance(cell, list) and len(cell) == 2]
    return {a: float(b) for a, b in pairs if isinstance(a, int) and 0 <= a < _MOST and (type(b) is float or (type(b) is int and abs(b) < _MOST))}
