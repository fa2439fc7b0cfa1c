"""A curve in one line of text."""

import math

from postmortem.model.exhibits import CurveExhibit
from postmortem.render.panels import drawable

_BARS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "×"


def sparkline(curve: CurveExhibit, first: float, last: float, *, log: bool, width: int = 32) -> str:
    """`curve` between steps `first` and `last` in `width` characters.

    The mean of each stretch as a bar, × where a value is NaN or infinite, a space where there is none.
    """
    stretches: list[list[float]] = [[] for _ in range(width)]
    span = (last - first) or 1.0
    for step, value in zip(curve.steps, curve.values, strict=False):
        stretches[max(0, min(width - 1, int((step - first) / span * width)))].append(value)
    means: list[float | None] = []
    for values in stretches:
        finite = [_scaled(v, log=log) for v in values if drawable(v) and (v > 0 or not log)]
        means.append(math.nan if any(not math.isfinite(v) for v in values) else sum(finite) / len(finite) if finite else None)
    real = [m for m in means if m is not None and not math.isnan(m)]
    low, high = (min(real), max(real)) if real else (0.0, 0.0)
    return "".join(_bar(m, low, high) for m in means).rstrip()


def _scaled(value: float, *, log: bool) -> float:
    return math.log10(value) if log else value


def _bar(mean: float | None, low: float, high: float) -> str:
    if mean is None:
        return " "
    if math.isnan(mean):
        return NOT_FINITE
    if high <= low:
        return _BARS[3]
    return _BARS[min(len(_BARS) - 1, int((mean - low) / (high - low) * len(_BARS)))]
