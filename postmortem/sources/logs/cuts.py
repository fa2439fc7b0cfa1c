"""Many pieces of a text at once, told by where they begin and end."""

import numpy as np
import numpy.typing as npt


def joined(codes: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The pieces, one behind the other."""
    lengths = ends - begins
    before = np.cumsum(lengths) - lengths
    return codes[np.repeat(begins - before, lengths) + np.arange(int(lengths.sum()))]


def within(begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.bool_]:
    """(size,) whether a byte is in one of the pieces, which are in order and do not overlap."""
    edges = np.stack((begins, ends), axis=1).ravel()
    lengths = np.diff(edges, prepend=0, append=size)
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
