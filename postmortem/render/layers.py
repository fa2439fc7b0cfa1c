"""What pictures of layers need beside the drawing: short names, histograms as outlines, the range worth showing."""

import math
from collections.abc import Sequence

from postmortem.model.exhibits import DistributionExhibit
from postmortem.render.words import one_line

BINS = 80  # of a drawn distribution


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


def density(exhibit: DistributionExhibit, low: float, high: float, bins: int = BINS) -> tuple[list[float], list[float]]:
    """A histogram as a density over `bins` equal bins of [low, high], its peak at 1: bin centres and heights.

    The bins of the exhibit are narrow near zero and wide far from it; each one's count is spread evenly over what it covers.
    """
    width = (high - low) / bins
    mass = [0.0] * (bins + 2)  # one empty bin at each end
    for left, right, count in zip(exhibit.edges, exhibit.edges[1:], exhibit.counts, strict=False):
        if not count or right < low or left > high or not (math.isfinite(left) and math.isfinite(right)):
            continue
        first, last = max(0, int((max(left, low) - low) / width)), min(bins - 1, int((min(right, high) - low) / width))
        for k in range(first, last + 1):
            covered = min(right, low + (k + 1) * width) - max(left, low + k * width)
            mass[k + 1] += count * (max(0.0, covered) / (right - left) if right > left else 1.0 / (last - first + 1))
    smooth = [0.0, *(0.25 * mass[k - 1] + 0.5 * mass[k] + 0.25 * mass[k + 1] for k in range(1, bins + 1)), 0.0]
    peak = max(smooth) or 1.0
    return [low + (k - 0.5) * width for k in range(bins + 2)], [m / peak for m in smooth]


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
