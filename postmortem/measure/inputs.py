"""How unevenly the inputs of a layer are scaled, as its gradient remembers it.

The gradient of a weight is ∂L/∂z_i · x_j, so the mean square of a column over all rows is E[x_j²] times something that is the same for all
columns (where input and error are independent): the optimizer's second moment shows the RMS of every input beside that of the others.
"""

import math

import numpy as np

from postmortem.measure.numbers import as_real
from postmortem.measure.reading import NotWholeError, TensorFiles
from postmortem.measure.structure import Layout
from postmortem.measure.trajectory import dtype_of
from postmortem.model.run import ParamState
from postmortem.model.tensors import InputScales, Role

FEWEST, MOST = 4, 64  # inputs: features of a table; beyond lie pixels and bags of words, rare ones among them
_SQUARES = ("exp_avg_sq", "square_avg", "sum")
_MOMENTUM = "momentum_buffer"


def input_scales(files: TensorFiles, state: ParamState, place: Layout | None) -> InputScales | None:
    """Of one weight matrix (outputs, inputs) of float numbers; None for another tensor, or where the optimizer remembers nothing of it.

    A column without any gradient does not count. A momentum buffer shows the sizes with noise: only `largest` is taken from it.
    """
    slot = next((s for s in (*_SQUARES, _MOMENTUM) if s in state.slots), None)
    if slot is None or place is None or place.role != Role.WEIGHT:
        return None
    ref = state.slots[slot]
    inputs = ref.shape[0 if place.outputs_last else -1] if len(ref.shape) == 2 else 0
    if not FEWEST <= inputs <= MOST or not ref.count or not dtype_of(ref).startswith(("float", "bfloat")):
        return None
    try:
        values = as_real(files.whole(ref), dtype_of(ref)).astype(np.float64).reshape(ref.shape)
    except NotWholeError:
        return None
    squares = values if slot != _MOMENTUM else values * values
    power = squares.mean(axis=1 if place.outputs_last else 0)
    power = power[np.isfinite(power) & (power > 0)]
    if len(power) < FEWEST:
        return None
    sizes = 0.5 * np.log10(power)
    low, middle, high = np.quantile(sizes, [0.25, 0.5, 0.75])
    return InputScales(len(sizes), float(sizes.max() - middle), math.nan if slot == _MOMENTUM else float(high - low))
