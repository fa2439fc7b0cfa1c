"""What separates some runs from others: counts, Fisher's exact test, Holm's correction. No model, no promise of a cause."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from postmortem.model.batch import Contrast, Row
from postmortem.model.sentence import Value

FEWEST = 5  # runs on each side
KNOWN = 0.5  # share of the runs whose value must be known
LEVEL = 0.05  # of significance, after correction
CUTS = 20  # cut points of a number at most
MOST_VALUES = 200  # different words of an attribute at most: beyond, it is a name
_NO_ORDER = frozenset({"seed"})  # numbers whose size means nothing
_TOLERANCE = 1e-7  # relative; tables as improbable as the observed one count as such

Mask = npt.NDArray[np.bool_]


def fisher(inside: int, of_inside: int, outside: int, of_outside: int) -> float:
    """Two-sided p of Fisher's exact test for the table [[inside, of_inside − inside], [outside, of_outside − outside]].

    The sum of the probabilities of all tables with these margins that are no more probable than this one (as R and scipy do).
    1.0 when a margin is empty.
    """
    n = of_inside + of_outside
    having = inside + outside
    if not (0 < of_inside < n and 0 < having < n):
        return 1.0
    logs = _log_factorials(n)
    low, high = max(0, having - of_outside), min(having, of_inside)
    k = np.arange(low, high + 1)
    constant = logs[having] + logs[n - having] + logs[of_inside] + logs[of_outside] - logs[n]
    log_p = constant - logs[k] - logs[having - k] - logs[of_inside - k] - logs[of_outside - having + k]
    p = np.exp(log_p)
    return float(min(1.0, p[p <= p[inside - low] * (1 + _TOLERANCE)].sum()))


_table: npt.NDArray[np.float64] = np.zeros(1)


def _log_factorials(n: int) -> npt.NDArray[np.float64]:
    """ln 0! … ln n!"""
    global _table  # noqa: PLW0603 - grows with the largest batch
    if len(_table) <= n:
        _table = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))
    return _table


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given."""
    out = [1.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, ps[index] * (len(ps) - rank)))
        out[index] = highest
    return out


class Attributes:
    """The attributes of all rows as columns, made once and asked for many contrasts."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.names, self._columns = _columns(rows)
        self.size = len(rows)

    def contrasts(self, inside: Mask, outside: Mask, *, against: str = "healthy", most: int = 5) -> tuple[Contrast, ...]:
        """What is more frequent among the rows of `inside` than among those of `outside`, or less, beyond chance: most certain first.

        Masks are (rows,). Per attribute the most telling value (or cut point, of a number) is tested and its p multiplied
        by how many were looked at; over the attributes Holm's correction holds the chance of any false one at 5%.
        """
        if int(inside.sum()) < FEWEST or int(outside.sum()) < FEWEST:
            return ()
        found: list[Contrast] = []
        for name, (words, numbers) in zip(self.names, self._columns, strict=True):
            best = _best_number(name, numbers, inside, outside) if numbers is not None else _best_word(name, words, inside, outside)
            if best is not None:
                found.append(best)
        corrected = holm([c.p for c in found])
        kept = [replace(c, against=against, p=p) for c, p in zip(found, corrected, strict=True) if p < LEVEL]
        return tuple(sorted(kept, key=lambda c: (c.p, c.attribute))[:most])


_Column = tuple[npt.NDArray[np.object_], npt.NDArray[np.float64] | None]


def _columns(rows: Sequence[Row]) -> tuple[list[str], list[_Column]]:
    raw: dict[str, list[Value]] = {}
    plain: Mapping[str, Callable[[Row], Value]] = {
        "node": lambda r: r.node,
        "user": lambda r: r.user,
        "image": lambda r: r.image,
        "week": lambda r: r.week,
        "framework": lambda r: r.framework,
        "family": lambda r: r.family,
    }
    for i, row in enumerate(rows):
        told: Iterable[tuple[str, Value]] = [*row.settings.items(), *((name, get(row) or None) for name, get in plain.items())]
        for name, value in told:
            if value is not None and name not in _NO_ORDER:
                raw.setdefault(name, [None] * len(rows))[i] = value
    names, columns = [], []
    for name in sorted(raw):
        values = raw[name]
        known = [v for v in values if v is not None]
        if len(set(known)) < 2 and len(known) == len(rows):
            continue  # the same everywhere
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known) and len(set(known)) > 2
        words = np.array([None if v is None else _word(v) for v in values], dtype=object)
        numbers = np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64) if numeric else None
        names.append(name)
        columns.append((words, numbers))
    return names, columns


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _enough(known: Mask, inside: Mask, outside: Mask) -> bool:
    a, b = int((known & inside).sum()), int((known & outside).sum())
    return a >= FEWEST and b >= FEWEST and a >= KNOWN * int(inside.sum()) and b >= KNOWN * int(outside.sum())


def _best_word(name: str, words: npt.NDArray[np.object_], inside: Mask, outside: Mask) -> Contrast | None:
    known: Mask = np.array([w is not None for w in words], dtype=bool)
    if not _enough(known, inside, outside):
        return None
    values = sorted({str(w) for w in words[known & (inside | outside)]})
    if not 2 <= len(values) <= MOST_VALUES:
        return None
    tested = [(value, words == value) for value in values]
    return _best(name, [(f"= {value}", having) for value, having in tested], known & inside, known & outside)


def _best_number(name: str, numbers: npt.NDArray[np.float64], inside: Mask, outside: Mask) -> Contrast | None:
    known: Mask = ~np.isnan(numbers)
    if not _enough(known, inside, outside):
        return None
    values = np.unique(numbers[known & (inside | outside)])
    if len(values) < 2:
        return None
    cuts = values[1:] if len(values) - 1 <= CUTS else values[np.unique(np.linspace(1, len(values) - 1, CUTS).round().astype(int))]
    return _best(name, [(f"≥ {_figure(cut)}", numbers >= cut) for cut in cuts], known & inside, known & outside)


def _figure(cut: float) -> str:
    """A cut point to four digits, without an exponent where numbers of parameters or samples are written without one."""
    return f"{float(f'{cut:.4g}'):,.0f}" if 1e4 <= abs(cut) < 1e9 else f"{cut:.4g}"


def _best(name: str, tested: Sequence[tuple[str, Mask]], inside: Mask, outside: Mask) -> Contrast | None:
    of_inside, of_outside = int(inside.sum()), int(outside.sum())
    out: list[Contrast] = []
    for value, having in tested:
        a, b = int((having & inside).sum()), int((having & outside).sum())
        out.append(Contrast(name, value, a, of_inside, b, of_outside, "healthy", fisher(a, of_inside, b, of_outside)))
    best = min(out, key=lambda c: (c.p, c.value), default=None)
    if best is None:
        return None
    if best.inside * of_outside < best.outside * of_inside and best.value.startswith("≥"):  # say it of those that have more of it
        best = replace(best, value=f"< {best.value[2:]}", inside=of_inside - best.inside, outside=of_outside - best.outside)
    return replace(best, p=min(1.0, best.p * len(tested)))
