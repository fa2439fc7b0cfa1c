"""Files of nothing but numbers, `loss.csv` with a value a line or `train_log.txt` with counter and values: their name says what they are."""

import re
from itertools import pairwise

from postmortem.sources.logs.numbers import MISSING_WORDS, number
from postmortem.sources.logs.text.keys import split_in
from postmortem.sources.names import series_names, words

MOSTLY = 0.95  # share of forward steps of a counter, restarts apart
_FEWEST = 3  # lines that show what a file holds
_MOST_CELLS = 8  # in a line: more are data
_QUANTITIES = ("loss", "accuracy", "perplexity")  # that a name may speak of by itself
_LOGS = frozenset({"log", "logs", "history", "record", "records", "curve", "curves"})
_DELIMITERS = (",", ";", "\t", " ")
_FIRST_CELL = re.compile(r"[,;\s]")


def metric_of(filename: str) -> str:
    """The canonical name of the metric that a file is named after, `val_acc.txt` → "val/accuracy"; "" for none.

    A figure of merit other than an accuracy needs a word for a log beside it: `map.txt` may be any map.
    """
    stem = stem_of(filename)
    name = series_names([stem])[stem]
    split, slash, quantity = name.partition("/")
    if split == "other":
        return ""
    return name if (slash and quantity in _QUANTITIES) or _is_log(filename) else ""


def behind_counter(filename: str) -> str:
    """What stands behind a counter in a file named like this: its metric, or the loss of the split whose log it is; "" for any other name."""
    stem = stem_of(filename)
    split = split_in(stem.replace("_", " "))
    return metric_of(filename) or (f"{split}/loss" if split and _is_log(filename) else "")


def stem_of(filename: str) -> str:
    """A file's name without what tells its format."""
    return filename.rpartition(".")[0] or filename


def headed_by_pandas(head: str) -> bool:
    """Whether the first line of a file of numbers is the name that pandas gives a column without one, `0`: a count above values that are none."""
    first, *values = [line.strip().strip('"') for line in head.splitlines() if line.strip()] or [""]
    return first == "0" and len(values) > 1 and not any(value.lstrip("+-").isdecimal() for value in values[:_FEWEST])


def delimiter_of_numbers(filename: str, head: str, *, whole: bool) -> tuple[str, int] | None:
    """(delimiter, numbers a line) of a file of nothing but numbers in a log's name: one a line, or a counter and values. None for any other.

    head : its first characters; `whole` says that there are no more.
    """
    lines = [line.strip() for line in (head.splitlines() if whole else head.splitlines()[:-1])]
    lines = [line for line in lines if line]
    if len(lines) < _FEWEST or number(_FIRST_CELL.split(lines[0], maxsplit=1)[0]) is None:
        return None
    delimiter = next((d for d in _DELIMITERS if d in lines[0]), "")
    rows = [[line] if not delimiter else line.split() if delimiter == " " else line.split(delimiter) for line in lines]
    width = len(rows[0])
    if width > _MOST_CELLS or any(len(row) != width or not all(map(_is_cell, row)) for row in rows):
        return None
    if width == 1:
        return (",", 1) if metric_of(filename) else None
    return (delimiter, width) if behind_counter(filename) and counts([number(row[0]) for row in rows]) else None


def counts(values: list[float | None]) -> bool:
    """Whether a first column counts: whole numbers that rise, but where a run starts again."""
    known = [v for v in values if v is not None and v == v // 1]
    if len(known) < max(len(values), 2):
        return False
    return sum(b > a for a, b in pairwise(known)) >= MOSTLY * (len(known) - 1)


def _is_log(filename: str) -> bool:
    return not _LOGS.isdisjoint(words(stem_of(filename))) or filename.lower().endswith(".log")


def _is_cell(text: str) -> bool:
    return number(text) is not None or text.strip().lower() in MISSING_WORDS
