"""What pictures of layers need beside the drawing: short names, histograms as outlines, the range worth showing."""

import math
from collections.abc import Sequence

from postmortem.model.exhibits import DistributionExhibit
from postmortem.render.words import one_line


def central(shown: Sequence[DistributionExhibit]) -> tuple[float, float]:
    """The range that holds 99.8% of each of the distributions."""
    low, high = math.inf, -math.inf
    for exhibit in shown:
        whole, passed = sum(exhibit.counts), 0
        for i, count in enumerate(exhibit.counts):
            if passed <= 0.001 * whole < passed + count:
                low = min(low, exhibit.edges[i])
            if passed < 0.999 * whole <= passed + count:
                high = max(high, exhibit.edges[i + 1])
            passed += count
    return (low, high) if low < high else (-1.0, 1.0)


def outline(exhibit: DistributionExhibit, low: float, high: float) -> tuple[list[float], list[float]]:
    """A histogram as a density over bin centres, its peak at 1."""
    xs: list[float] = []
    ys: list[float] = []
    for left, right, count in zip(exhibit.edges, exhibit.edges[1:], exhibit.counts, strict=False):
        if right > left and right >= low and left <= high:
            xs.append((left + right) / 2)
            ys.append(count / (right - left))
    peak = max(ys, default=0.0) or 1.0
    return xs, [y / peak for y in ys]


def short_names(layers: Sequence[str], limit: int = 24) -> list[str]:
    """Names of layers without the leading and trailing parts that all of them share, and with their middle left out where still too long."""
    parts = [one_line(name).split(".") for name in layers]
    least = min(len(p) for p in parts)
    head = next((i for i in range(least - 1) if len({p[i] for p in parts}) > 1), max(0, least - 1))
    tail = next((i for i in range(least - head - 1) if len({p[-1 - i] for p in parts}) > 1), max(0, least - head - 1))
    return [_middle(".".join(p[head : len(p) - tail]), limit) for p in parts] if len(layers) > 1 else [_middle(".".join(parts[0]), limit)]


def _middle(name: str, limit: int) -> str:
    """A long name with its middle left out: both ends of a layer's name tell it apart."""
    if len(name) <= limit:
        return name
    head = (limit - 1) // 3
    return f"{name[:head]}…{name[-(limit - 1 - head) :]}"
