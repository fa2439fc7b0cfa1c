"""Float32 keys: the top 16 bits of a float32 are a logarithmic histogram key (sign, 8 bits exponent, 7 bits mantissa).

A bin spans at most 2⁻⁷ of its value, so its midpoint is within 2⁻⁸ (relative) of every value in it. Display histograms
are cut at key boundaries, so they are the same whether they were made from values or from counted keys.
"""

import numpy as np
import numpy.typing as npt

from postmortem.model.tensors import Histogram

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
DISPLAY_BINS = 60  # at most; two more where rounding needs them
OCTAVES = 12  # below the largest magnitude that a display histogram resolves; smaller values share the bin about zero
_PER_OCTAVE = 128  # keys per factor of two

_LARGEST = 0x7F80  # the key of infinity

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


def ranks(count: int) -> Ints:
    """0-based ranks of `QUANTILES` among `count` sorted values: the smallest value with at least that share at or below it."""
    return np.maximum(np.ceil(np.array(QUANTILES) * count - 1e-9).astype(np.int64) - 1, 0)


def signed_keys(values: npt.NDArray[np.float32]) -> Ints:
    """Signed magnitude keys of finite float32 values: monotone in the value, 0 for what is nearest to zero."""
    bits = values.view(np.uint32) >> np.uint32(16)
    magnitude = (bits & np.uint32(0x7FFF)).astype(np.int64)
    return np.where(bits & np.uint32(0x8000), -magnitude, magnitude)


def key_floor(key: Ints) -> Doubles:
    """The magnitude at which the bin of a magnitude key starts."""
    bits = np.where(key >= _LARGEST, np.uint32(0x7F7FFFFF), key.astype(np.uint32) << np.uint32(16))  # the largest finite number bounds the last bin
    return bits.view(np.float32).astype(np.float64)


def display(keys: Ints, below: Ints | None = None) -> Histogram:
    """A signed, logarithmic histogram of values from their signed keys in ascending order: one key for each value, or `below`, how many values
    have each of the keys before the first, the second, …, and in all (one more than there are keys)."""
    if not len(keys):
        return Histogram((), ())
    lowest, highest = int(keys[0]), int(keys[-1])
    floor = max(max(-lowest, highest) - OCTAVES * _PER_OCTAVE, 0)
    low, high = _folded(lowest, floor), _folded(highest, floor)
    width = -(-(high - low + 1) // DISPLAY_BINS)
    start = low // width * width  # multiples of the width, so zero starts a bin
    bounds = start + width * np.arange((high - start) // width + 2)
    at = np.searchsorted(keys, np.where(bounds > 0, bounds + floor, bounds - floor))
    made = np.diff(at if below is None else below[at])
    return Histogram(tuple(_edges(bounds, floor).tolist()), tuple(made.tolist()))


def _folded(key: int, floor: int) -> int:
    """A signed key that counts from a floor of magnitude, below which all is 0."""
    return max(key - floor, 0) + min(key + floor, 0)


def _edges(bounds: Ints, floor: int) -> Doubles:
    """Where the bins of folded keys start: bin 0 is symmetric about zero, negative bins start at their larger magnitude."""
    magnitude = np.minimum(np.where(bounds > 0, bounds, 1 - bounds) + floor, _LARGEST)
    return np.where(bounds > 0, 1.0, -1.0) * key_floor(magnitude)
