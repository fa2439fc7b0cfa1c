"""The usual initialisation that the spread of a weight is nearest to.

std as each rule sets it, from fan-in and fan-out: torch's Linear and Conv (uniform to ±1/√fan_in, so 1/√(3·fan_in)), LeCun 1/√fan_in, Kaiming
√(2/fan_in) (He et al., 2015), Xavier √(2/(fan_in + fan_out)) (Glorot & Bengio, 2010), 0.02 (GPT-2, BERT), 1 for embeddings (torch).
"""

import math

from postmortem.measure.structure import Layout
from postmortem.model.tensors import Role


def usual(place: Layout) -> dict[str, float]:
    """Standard deviations by rule, for a tensor of this place; nothing for what is not drawn at random."""
    if place.role == Role.EMBEDDING:
        return {"0.02": 0.02, "unit": 1.0}
    if place.role != Role.WEIGHT or not place.fan_in or not place.fan_out:
        return {}
    return {
        "torch": 1 / math.sqrt(3 * place.fan_in),
        "lecun": 1 / math.sqrt(place.fan_in),
        "kaiming": math.sqrt(2 / place.fan_in),
        "xavier": math.sqrt(2 / (place.fan_in + place.fan_out)),
        "0.02": 0.02,
    }


def nearest(std: float, place: Layout) -> tuple[str | None, float | None]:
    """The nearest rule and log10(std / what it sets); (None, None) for a spread of 0 or nan, or where no rule applies."""
    if not 0 < std < math.inf:
        return None, None
    distances = {rule: math.log10(std / expected) for rule, expected in usual(place).items()}
    best = min(distances, key=lambda rule: abs(distances[rule]), default=None)
    return best, None if best is None else distances[best]
