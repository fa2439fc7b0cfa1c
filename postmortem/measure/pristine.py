"""Weights that still look as they were drawn: what a single checkpoint can tell of tensors that never moved.

Uniform initialisations have hard bounds. A layer that was stepped even a little has elements beyond them, so a tensor of
thousands of elements that fills an interval of one of the usual widths, evenly and without one element outside, was never updated.
Normal initialisations have no bounds and are not recognised. Bounds: `torch.nn` (Linear, Conv: 1/√fan_in; recurrent: 1/√hidden),
He et al. 2015, Glorot & Bengio 2010, LeCun et al. 1998.
"""

import math
from collections.abc import Iterator

from postmortem.model.tensors import TensorStats

FEWEST = 200  # elements; with fewer the extremes say too little
SLACK = 1e-6  # relative: bounds are computed in float32
REACH = 12.0  # the extremes of n uniform elements lie within 12/n of the bounds, but for once in 100,000 tensors
FLAT = 0.2  # distance of the excess kurtosis from −1.2, that of a uniform distribution
GATES = (1, 3, 4)  # rows per hidden unit of a plain recurrent layer, a GRU and an LSTM


def as_drawn(tensor: TensorStats) -> bool:
    """Whether all elements lie evenly within the bounds of a usual uniform initialisation. False for normal ones, whatever happened."""
    if tensor.count < FEWEST or tensor.non_finite or tensor.low >= 0 or abs(tensor.kurtosis + 1.2) > FLAT:
        return False
    widest, narrower = max(-tensor.low, tensor.high), min(-tensor.low, tensor.high)
    return any(widest <= bound * (1 + SLACK) and narrower >= bound * (1 - REACH / tensor.count) for bound in _bounds(tensor))


def _bounds(tensor: TensorStats) -> Iterator[float]:
    if tensor.fan_in:
        fan_out = tensor.count / tensor.fan_in
        receptive = math.prod(tensor.shape[2:]) if len(tensor.shape) > 2 else 1
        yield from (math.sqrt(g / tensor.fan_in) for g in (1.0, 3.0, 6.0))
        yield from (math.sqrt(6.0 / (tensor.fan_in + fan_out * times)) for times in {1, receptive})
    if len(tensor.shape) == 2:
        yield from (math.sqrt(gates / tensor.shape[0]) for gates in GATES)
