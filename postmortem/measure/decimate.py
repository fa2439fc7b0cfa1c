"""Fewer points that look the same: the lowest and highest of each stretch, and everything that is not finite."""

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats

MOST = 2000


def keep_index(values: Floats, most: int = MOST) -> npt.NDArray[np.intp]:
    """Increasing indices of at most `most` (≥ 8) points of `values` (n,).

    Kept: first and last, the lowest and highest finite value of every stretch (so every extremum and spike of the whole), and
    of each stretch the first value that is not finite and the first finite one after it, so that a gap begins where it begins.
    """
    n = len(values)
    if n <= most:
        return np.arange(n)
    finite = np.isfinite(values)
    parts = [np.array([0, n - 1])]
    edges = np.flatnonzero(finite[1:] != finite[:-1]) + 1  # first of each run of the other kind
    buckets = max(1, (most - 2) // (2 if bool(np.all(finite)) else 4))
    size = -(-n // buckets)
    starts = np.arange(0, n, size)
    padded = np.full(len(starts) * size, np.nan)
    padded[:n] = np.where(finite, values, np.nan)
    table = padded.reshape(len(starts), size)
    low = np.where(np.isnan(table), np.inf, table)
    parts.append(starts + np.argmin(low, axis=1))
    parts.append(starts + np.argmax(np.where(np.isnan(table), -np.inf, table), axis=1))
    if len(edges):
        # the first edge into a gap and the first out of it, per stretch
        for into in (True, False):
            some = edges[finite[edges] != into]
            first = np.unique(some // size, return_index=True)[1]
            parts.append(some[first])
    index: npt.NDArray[np.intp] = np.unique(np.concatenate(parts))
    return index[index < n]
