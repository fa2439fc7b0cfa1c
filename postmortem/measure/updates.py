"""How tensors moved between checkpoints: sums that add up over blocks."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postmortem.measure.numbers import Real

Doubles = npt.NDArray[np.float64]


@dataclass(slots=True)
class Movement:
    """Running sums over the blocks of one tensor in two checkpoints, a before b; and over the change before (z → a)."""

    before: float = 0.0  # Σ a²
    after: float = 0.0  # Σ b²
    moved: float = 0.0  # Σ (b − a)²
    moved_before: float = 0.0  # Σ (a − z)²
    together: float = 0.0  # Σ (b − a)(a − z)
    identical: bool = True
    comparable: bool = True

    def add(self, a: Real, b: Real, z: Real | None = None) -> None:
        """Take in a block of each."""
        if len(a) != len(b) or (z is not None and len(z) != len(a)):
            self.comparable = False
            return
        first = a.astype(np.float64)
        second = b.astype(np.float64)
        step = second - first
        self.before += float(np.dot(first, first))
        self.after += float(np.dot(second, second))
        self.moved += float(np.dot(step, step))
        if z is not None:
            earlier = first - z.astype(np.float64)
            self.moved_before += float(np.dot(earlier, earlier))
            self.together += float(np.dot(step, earlier))

    @property
    def relative_change(self) -> float:
        """‖b − a‖ / ‖a‖; inf when a is 0 and b is not, 0 when both are."""
        return _ratio(self.moved, self.before)

    @property
    def norm_ratio(self) -> float:
        """‖b‖ / ‖a‖; 1 when both are 0."""
        return 1.0 if self.before == 0 and self.after == 0 else _ratio(self.after, self.before)

    @property
    def cosine(self) -> float | None:
        """Of the angle between this change and the one before; None when one of them is 0 or not finite."""
        size = self.moved * self.moved_before
        if not (0 < size < math.inf) or not math.isfinite(self.together):
            return None
        return max(-1.0, min(1.0, self.together / math.sqrt(self.moved) / math.sqrt(self.moved_before)))


def _ratio(above: float, below: float) -> float:
    if below == 0:
        return math.nan if math.isnan(above) else 0.0 if above == 0 else math.inf
    if math.isinf(above) and math.isinf(below):
        return math.nan
    return math.sqrt(above / below)
