"""Sentences as data: an English template and its values, rendered late.

A report can so be rendered in another language, and nothing that came from an input is ever part of a template.
"""

import math
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Union

Value = str | int | float | bool | None
Said = Union[Value, "Sentence"]  # a sentence within a sentence is rendered with it, in the same language

_FORMATTER = string.Formatter()


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence (or title) of a report.

    `template` is a literal of this package with `{name:format}` fields; `values` fill them: numbers, text, other
    sentences. A value that does not fit its format (a NaN for an integer format, None for a number) is shown as Python prints it, never raised about.
    """

    template: str
    values: Mapping[str, Said] = field(default_factory=lambda: MappingProxyType({}))

    def __str__(self) -> str:
        return render(self.template, self.values)

    def __hash__(self) -> int:
        return hash((self.template, tuple(sorted(self.values.items(), key=lambda kv: kv[0]))))


def say(template: str, /, **values: Said) -> Sentence:
    """Make a sentence: `say("{n} layers", n=3)`. `template` must be a literal, never a text from an input."""
    return Sentence(template, MappingProxyType(values))


def fields(template: str) -> Iterator[str]:
    """Names of the fields of a template."""
    for _, name, _, _ in _FORMATTER.parse(template):
        if name:
            yield name


EXACT = 1e15  # below it every whole number is a float
GROUPED = 1e4  # from here on decimals say nothing, and thousands are set apart
WRITTEN_OUT = 1e7  # below it a large number is written with all its figures


def _readable(text: str, spec: str, value: Said) -> str:
    """A number in the general format as people write it: 5,000 for 5e+03, 1.2e7 for 1.2e+07, and whole numbers in `g` with all figures."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return text
    if spec.endswith(("f", "%")) and abs(value) >= GROUPED:
        return format(value, f",.0{spec[-1]}")
    if "e" not in text or not spec.endswith("g"):
        return text
    if spec == "g" and value == int(value) and abs(value) < EXACT:
        return f"{value:,.0f}"
    if 1 <= abs(value) < WRITTEN_OUT:
        return f"{float(text):,.0f}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}"


def render(template: str, values: Mapping[str, Said]) -> str:
    """Fill `template`. Only plain names are fields: attribute and index access of `str.format` is not interpreted."""
    parts: list[str] = []
    for literal, name, spec, _ in _FORMATTER.parse(template):
        parts.append(literal)
        if name is None:
            continue
        value = values.get(name)
        try:
            parts.append(_readable(format(value, spec or ""), spec or "", value))
        except (ValueError, TypeError):
            parts.append(str(value))
    return "".join(parts)
