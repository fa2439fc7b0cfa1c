"""How much of what an optimizer remembers is weight decay, not gradient.

L2 decay adds λw to the gradient before it reaches the optimizer's memory (Adam's `weight_decay`, as opposed to AdamW's: Loshchilov &
Hutter, 2019). Where the gradient is smaller than λw the memory tells λw: a gradient that vanished looks alive.
"""

import math
from collections.abc import Mapping

from postmortem.model.sentence import Value

UNCOUPLED = ("adamw", "lion", "adafactor", "lamb", "keras", "adam-8bit")  # these shrink the weights themselves
TOO_MUCH = 4.0  # decay's mean square over the memory's: more than that cannot be in it


def coupled(kind: str, settings: Mapping[str, Value]) -> bool | None:
    """Whether decay goes through the optimizer's memory. None for what may be either: before torch 2.6 AdamW was saved as Adam is."""
    if any(word in kind.lower() for word in UNCOUPLED) or settings.get("decoupled_weight_decay") is True:
        return False
    if "decoupled_weight_decay" in settings or "adam" not in kind.lower():
        return True
    return None


def shares(expected: Mapping[str, float], told: Mapping[str, float], *, sure: bool) -> dict[str, float]:
    """Share of the remembered mean square that decay alone accounts for, at most 1, by parameter.

    expected : RMS of λw as the memory would hold it. told : RMS of what it holds. sure : decay is known to go through the memory; if it is
    not, one parameter whose memory holds much less than that shows that it does not, and nothing is decay's.
    """
    found = {n: _square_ratio(e, told[n]) for n, e in expected.items() if n in told}
    if not sure and any(s > TOO_MUCH for s in found.values()):
        return dict.fromkeys(found, 0.0)
    return {n: min(s, 1.0) for n, s in found.items()}


def _square_ratio(part: float, whole: float) -> float:
    if math.isnan(part) or math.isnan(whole):
        return 0.0
    ratio = part / whole if whole > 0 else 0.0
    return ratio * ratio if whole > 0 else math.inf if part > 0 else 0.0
