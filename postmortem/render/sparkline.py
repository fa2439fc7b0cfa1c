"""A curve in one line of text, and the means over equal stretches of steps that it is made of."""

import math
from collections.abc import Sequence

from postmortem.model.exhibits import CurveExhibit
from postmortem.render.panels import drawable

_BARS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "×"


def sparkline(curve: CurveExhibit, first: float, last: float, *, log: bool, width: int = 32) -> str:
    """`curve` between steps `first` and `last` in `width` characters.

    The mean of each stretch as a bar, × where a value is NaN or infinite, a space before the first and after the last point;
    between points that are further apart the bars lie on a line.
    """
    means = joined(stretches(curve, first, last, log=log, width=width))
    real = [m for m in means if m is not None and not math.isnan(m)]
    low, high = (min(real), max(real)) if real else (0.0, 0.0)
    return "".join(_bar(m, low, high) for m in means).rstrip()


def stretches(curve: CurveExhibit, first: float, last: float, *, log: bool, width: int) -> list[float | None]:
    """The mean of the finite values (or their log10) in each of `width` equal stretches; NaN where one is not finite, None where there is none."""
    found: list[list[float]] = [[] for _ in range(width)]
    span = (last - first) or 1.0
    for step, value in zip(curve.steps, curve.values, strict=False):
        if first <= step <= last:
            found[max(0, min(width - 1, int((step - first) / span * width)))].append(value)
    means: list[float | None] = []
    for values in found:
        finite = [math.log10(v) if log else v for v in values if drawable(v) and (v > 0 or not log)]
        means.append(math.nan if any(not math.isfinite(v) for v in values) else math.fsum(v / len(finite) for v in finite) if finite else None)
    return means


def joined(means: Sequence[float | None]) -> list[float | None]:
    """Empty stretches between two finite ones filled along a straight line."""
    out = list(means)
    last: int | None = None
    for i, mean in enumerate(means):
        if mean is None:
            continue
        before = means[last] if last is not None else None
        if last is not None and before is not None and math.isfinite(before) and math.isfinite(mean):
            for k in range(last + 1, i):
                out[k] = before + (mean - before) * (k - last) / (i - last)
        last = i
    return out


def _bar(mean: float | None, low: float, high: float) -> str:
    if mean is None:
        return " "
    if math.isnan(mean):
        return NOT_FINITE
    if high <= low:
        return _BARS[3]
    return _BARS[min(len(_BARS) - 1, int((mean - low) / (high - low) * len(_BARS)))]
