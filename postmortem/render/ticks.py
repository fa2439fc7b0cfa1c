"""What stands beside the ticks of an axis: one notation for all of them, no more digits than tell them apart."""

import math
from collections.abc import Sequence
from itertools import pairwise

from postmortem.render.figures import number

MOST_DECIMALS = 6


def tick(value: float) -> str:
    """A number of a logarithmic axis, short: 0.001, 10,000, 1e6, 3e−9."""
    if value == 0 or 1e-3 <= abs(value) < 1e5 or not math.isfinite(value):
        return number(value, 3)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")


def ticks(values: Sequence[float]) -> list[str]:
    """Numbers of a linear axis, all with the same decimals and, where they are very small or large, the same power of ten."""
    largest = max((abs(v) for v in values), default=0.0)
    apart = min((b - a for a, b in pairwise(values) if b > a), default=largest)
    if largest == 0 or not math.isfinite(largest) or apart <= 0:
        return [tick(v) for v in values]
    power = 0 if 1e-3 <= largest < 1e5 else math.floor(math.log10(largest))
    decimals = _decimals(apart / 10.0**power)
    if decimals > MOST_DECIMALS:
        return [tick(v) for v in values]
    end = f"e{power}" if power else ""
    return ["0" if abs(v) < apart / 1e3 else f"{v / 10.0**power:,.{decimals}f}{end}".replace("-", "−") for v in values]


def _decimals(apart: float) -> int:
    """The least number of decimals that shows steps of `apart` exactly, to two significant digits."""
    least = max(0, -math.floor(math.log10(apart)))
    return least if math.isclose(round(apart, least), apart, rel_tol=1e-3) else least + 1
