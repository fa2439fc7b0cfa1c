"""How tensors moved between checkpoints: sums that add up over blocks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postmortem.measure.numbers import Real
from postmortem.measure.reading import Raw
from postmortem.measure.tally import Kernels, Plain
from postmortem.measure.tensors import exponent_of
from postmortem.model.tensors import GradientStats


@dataclass(slots=True)
class Movement:
    """Running sums over the blocks of one tensor in two checkpoints, a before b; and over the change before (z → a).

    All of them are divided by two to the power of twice `exponent`, 0 unless float64 holds numbers whose squares it cannot.
    """

    before: float = 0.0  # Σ a²
    after: float = 0.0  # Σ b²
    moved: float = 0.0  # Σ (b − a)²
    moved_before: float = 0.0  # Σ (a − z)²
    together: float = 0.0  # Σ (b − a)(a − z)
    count: int = 0
    exponent: int = 0
    identical: bool = True
    still_rows: float | None = None  # share of rows that did not change by a bit; of a large tensor as far as some of its columns show
    comparable: bool = True

    def add(self, a: Real, b: Real, z: Real | None, kernels: Kernels) -> None:
        """Take in a block of each."""
        if len(a) != len(b):
            self.comparable = False
        if not self.comparable:
            return
        if z is not None and len(z) != len(a):
            z = None
        single = a.dtype == b.dtype == np.float32 and (z is None or z.dtype == np.float32)
        exponent = 0
        if not single:
            exponent = exponent_of(max(_peak(x) for x in (a, b, z) if x is not None))
        if exponent:
            a, b, z = (None if x is None else np.ldexp(x.astype(np.float64), -exponent) for x in (a, b, z))  # type: ignore[assignment]
        sums = (kernels if single else Plain).movement(a, b, z)  # type: ignore[arg-type]
        self._take(sums, len(a), exponent)

    def _take(self, sums: Sequence[float], count: int, exponent: int) -> None:
        """Add sums that were divided by two to the power of twice `exponent`."""
        own = (self.before, self.after, self.moved, self.moved_before, self.together)
        common = max(e for e, known in ((self.exponent, own), (exponent, sums)) if any(known)) if any(own) or any(sums) else 0
        self.before, self.after, self.moved, self.moved_before, self.together = (
            _shifted(mine, self.exponent - common) + _shifted(more, exponent - common) for mine, more in zip(own, sums, strict=True)
        )
        self.exponent = common
        self.count += count

    def compare(self, a: Raw, b: Raw) -> None:
        """Compare the bits of a block of each."""
        if self.identical:
            self.identical = a.dtype == b.dtype and len(a) == len(b) and bool(np.array_equal(a.view(np.uint8), b.view(np.uint8)))

    def merge(self, other: "Movement") -> None:
        """Add what lies behind in the same tensors. `still_rows` is of the whole and told later."""
        self._take((other.before, other.after, other.moved, other.moved_before, other.together), other.count, other.exponent)
        self.identical &= other.identical
        self.comparable &= other.comparable

    @property
    def relative_change(self) -> float:
        """‖b − a‖ / ‖a‖; inf when a is 0 and b is not, 0 when both are."""
        return _ratio(self.moved, self.before)

    @property
    def rms(self) -> float:
        """RMS of b − a over all elements, nan when there are none; NaN and Inf go through."""
        return float(np.ldexp(math.sqrt(self.moved / self.count), self.exponent)) if self.count else math.nan

    @property
    def norm_ratio(self) -> float:
        """‖b‖ / ‖a‖; 1 when both are 0."""
        return 1.0 if self.before == 0 and self.after == 0 else _ratio(self.after, self.before)

    @property
    def cosine(self) -> float | None:
        """Of the angle between this change and the one before; None when one of them is 0 or not finite."""
        if not (0 < self.moved < math.inf and 0 < self.moved_before < math.inf and math.isfinite(self.together)):
            return None
        return max(-1.0, min(1.0, self.together / math.sqrt(self.moved) / math.sqrt(self.moved_before)))


def effective_rate(rms: float, steps: float | None, before: GradientStats | None, after: GradientStats, kind: str) -> float | None:
    """RMS(Δw) / (steps · RMS of what a step is made of): the learning rate where all steps point the same way, less where they do not.

    A step of Adam is made of m̂ / √v̂, whose RMS is taken as RMS(m̂) / RMS(√v̂) (`mean_ratio`); one of SGD of the momentum buffer. What they
    came to at the first and the last of the steps stands for those between as a straight line. Where the earlier checkpoint has no such memory
    the last speaks for all. Decay counts as movement. None for other optimizers, unknown steps, and where nothing is finite.

    rms : of b − a, in units of the weights. steps : between the checkpoints. before, after : gradients in them. kind : of the optimizer.
    """
    made = _direction(after, kind)
    if steps is None or not steps > 0 or made is None:
        return None
    first = None if before is None else _direction(before, kind)
    mean = made if first is None or not math.isfinite(first) else (first * (steps - 1) + made * (steps + 1)) / (2 * steps)
    rate = rms / (steps * mean) if mean > 0 else math.nan
    return rate if math.isfinite(rate) else None


def _direction(gradient: GradientStats, kind: str) -> float | None:
    """RMS of what a step is made of after that checkpoint's last gradient; None for an optimizer of which that is not known."""
    if gradient.source == "adam" and "amsgrad" not in kind:
        return gradient.mean_ratio or math.nan
    return gradient.rms if gradient.source == "momentum" and "sgd" in kind else None


def _peak(values: Real) -> float:
    """The largest finite magnitude, 0 without any."""
    size = np.abs(values)
    return float(np.max(size, where=np.isfinite(size), initial=0.0))


def _shifted(total: float, by: int) -> float:
    """A sum of squares of values that are divided by another power of two."""
    return float(np.ldexp(total, 2 * by)) if by else total


def _ratio(above: float, below: float) -> float:
    if below == 0:
        return math.nan if math.isnan(above) else 0.0 if above == 0 else math.inf
    if math.isinf(above) and math.isinf(below):
        return math.nan
    return math.sqrt(above / below)
