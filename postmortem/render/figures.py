"""Numbers as a reader wants them: as many digits as mean something, the same everywhere."""

import math

from postmortem.model.sentence import Value
from postmortem.render.words import t

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def number(value: float | None, digits: int = 4) -> str:
    """`value` with `digits` significant digits: 0.47, 2.303, 12,345, 1.2e+6, NaN, inf; "–" for None."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "−inf"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e15 or size < 1e-3:
        mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent):+d}" if "." in mantissa else f"{mantissa}e{int(exponent):+d}"
    elif value == int(value) or size >= 10**digits:
        text = f"{size:,.0f}" if size < 1e7 or value == int(value) else f"{size:.{digits - 1}e}"
    else:
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
        text = f"{size:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"−{text}" if value < 0 else text


def step(value: float | None) -> str:
    """A step or epoch: whole from 20 on, else with at most two decimals; "–" for None."""
    if value is None or not math.isfinite(value):
        return number(value)
    return number(float(round(value)) if abs(value) >= 20 else round(value, 2), 15)


def short(value: float | None) -> str:
    """`value` in a cell of a heat map: two significant digits, at most seven characters."""
    if value is None or not math.isfinite(value) or value == 0:
        return number(value)
    size = abs(value)
    sign = "−" if value < 0 else ""
    if size >= 1e5 or size < 1e-3:
        mantissa, exponent = f"{size:.1e}".split("e")
        return f"{sign}{mantissa}e{int(exponent)}"
    return f"{sign}{size:.{max(0, 1 - math.floor(math.log10(size)))}f}"


def percent(share: float | None) -> str:
    """A share as a percentage: 97%, 0.3%, <0.1%, >99.9%."""
    if share is None or math.isnan(share):
        return "–"
    if share >= 1 or share <= 0:
        return f"{share:.0%}"
    if share > 0.999:
        return ">99.9%"
    if share < 0.001:
        return "<0.1%"
    return f"{share:.1%}" if share > 0.99 or share < 0.01 else f"{share:.0%}"


def size(count: int) -> str:
    """Bytes with a decimal unit: 9.4 MB."""
    value = float(count)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def weight(value: float) -> str:
    """A weight in log-odds, signed: +2.1, −0.4, 0."""
    rounded = round(value, 1)
    return "0" if rounded == 0 else f"{'+' if rounded > 0 else '−'}{abs(rounded):.1f}"


def hours(value: float) -> str:
    """A duration: 42 s, 12 min, 1.9 h, 3.2 days."""
    if value < 1 / 60:
        return f"{value * 3600:.0f} s"
    if value < 1:
        return f"{value * 60:.0f} min"
    return f"{value:.1f} h" if value < 48 else t("{n} days", n=f"{value / 24:.1f}")


def plain(value: Value) -> str:
    """A hyper-parameter's value as it would be written: 0.01, true, sgd."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
