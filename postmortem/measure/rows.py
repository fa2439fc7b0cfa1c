"""Output units of a weight: rows that are all zero, rows that equal one another."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from postmortem.measure.numbers import Real

ALIKE = 1e-4  # relative to the largest magnitude: symmetry that training keeps is equal to rounding, chance is not

PROBED = 16  # columns that are compared first


@dataclass(frozen=True, slots=True)
class RowFacts:
    dead: float  # share of rows that are exactly 0
    identical: float  # share of rows that equal another row within `ALIKE`
    all_alike: bool  # all rows, or all columns, are the same and not 0: symmetry was never broken


def row_facts(values: Real, shape: tuple[int, ...], *, outputs_last: bool) -> RowFacts | None:
    """Facts of a matrix or kernel given in C order; None below two dimensions or when it is empty. NaN equals nothing."""
    if len(shape) < 2 or not len(values):
        return None
    matrix = values.reshape(-1, shape[-1]).T if outputs_last else values.reshape(shape[0], -1)
    peak = float(np.max(np.abs(matrix)))
    dead = float((~matrix.any(axis=1)).mean())
    if not np.isfinite(peak) or peak == 0:
        return RowFacts(dead, 0.0, all_alike=False)
    tolerance = ALIKE * peak
    rows, columns = matrix.shape
    all_alike = (rows > 1 and _within(matrix, matrix[:1], tolerance)) or (columns > 1 and _within(matrix, matrix[:, :1], tolerance))
    return RowFacts(dead, _identical(matrix, tolerance), all_alike)


def dead_rows(blocks: Iterable[Real], units: int, inner: int, *, outputs_last: bool) -> float:
    """Share of output units without a single nonzero weight, over the blocks of a tensor in C order."""
    alive = np.zeros(units, bool)
    start = 0
    for block in blocks:
        at = np.flatnonzero(block) + start
        alive[at % units if outputs_last else at // inner] = True
        start += len(block)
    return float((~alive).mean())


def _within(matrix: Real, one: Real, tolerance: float) -> bool:
    return bool(np.max(np.abs(matrix[:2] - one[:2] if len(one) > 1 else matrix[:2] - one)) <= tolerance) and bool(
        np.max(np.abs(matrix - one)) <= tolerance
    )


def _identical(matrix: Real, tolerance: float) -> float:
    """Sorted by their sum, equal rows are neighbours; a few columns rule most pairs out. Rows that are 0 count as dead, not as identical."""
    alive = matrix[matrix.any(axis=1)]
    if len(alive) < 2:
        return 0.0
    order = np.argsort(alive.sum(axis=1), kind="stable")
    few = alive[:, :: max(1, alive.shape[1] // PROBED)][order]
    same = np.max(np.abs(np.diff(few, axis=0)), axis=1) <= tolerance
    for i in np.flatnonzero(same):
        same[i] = np.max(np.abs(alive[order[i + 1]] - alive[order[i]])) <= tolerance
    twin = np.zeros(len(alive), bool)
    twin[:-1] |= same
    twin[1:] |= same
    return float(twin.sum()) / len(matrix)
