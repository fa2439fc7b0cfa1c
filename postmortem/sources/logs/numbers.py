"""Printed numbers: what a cell says, and how finely its column was printed."""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from postmortem.model.run import Floats

# A cell that says nothing. Distinct from NaN, which was logged.
MISSING_WORDS = frozenset({"", "na", "n/a", "none", "null", "-", "--", "_", "nil", "<na>", "missing", "undefined"})
_NAN = frozenset({"nan", "nan.0", "-nan", "+nan", "nan(ind)", "-nan(ind)", "1.#qnan", "-1.#ind", "1.#ind", "nan%"})
_INF = {
    **dict.fromkeys(("inf", "+inf", "infinity", "+infinity", "inf.0", "1.#inf"), math.inf),
    **dict.fromkeys(("-inf", "-infinity", "-1.#inf"), -math.inf),
}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?%?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_TENSOR = re.compile(r"(?:tensor|array|np\.float\d+|jnp\.float\d+)\(\[?\s*([^,\])]+)[,\])].*")
_LONGEST_NUMBER = 400  # digits
_DECIMALS = re.compile(r"[+-]?\d{1,30}\.(\d{1,30})")
_ENOUGH = 3  # different values that show a rounding

# Numbers in place of words that a strict JSON parser refuses, in text that prints no such number itself.
# As long as the word and a blank before it: bytes of one length are replaced where they stand.
STAND_INS = {"NaN": b"8e99", "Infinity": b"7.0000e99"}
_PRINTED = (b"e99", b"e+99", b"E99", b"E+99")
_NAN_STAND_IN, _INF_STAND_IN = 8e99, 7e99

SAMPLE = 400  # values that decide about the printed precision
FULL_PRECISION = 8  # significant digits from which on a value counts as printed in full


def prints_stand_in(text: bytes) -> bool:
    """A number of the size of stand-ins is printed in a text: nothing may stand in for words there."""
    return (b"e" in text or b"E" in text) and any(map(text.__contains__, _PRINTED))


def restored(values: Floats) -> Floats:
    """The same array with stand-ins replaced, in place, by what they stand for."""
    size = np.abs(values)
    if np.any(size >= _INF_STAND_IN):
        values[size == _NAN_STAND_IN] = math.nan
        values[values == _INF_STAND_IN] = math.inf
        values[values == -_INF_STAND_IN] = -math.inf
    return values


def number(text: str) -> float | None:
    """The number that a cell says, `nan` where it says so, None when it says nothing or something else."""
    cell = text.strip().strip("\"'").strip().lower()
    if cell in MISSING_WORDS or len(cell) > _LONGEST_NUMBER:
        return None
    if cell in _NAN:
        return math.nan
    if cell in _INF:
        return _INF[cell]
    if _NUMBER.fullmatch(cell):
        return float(cell.rstrip("%"))
    if "," in cell and _THOUSANDS.fullmatch(cell):
        return float(cell.replace(",", ""))
    if cell.startswith("[") and cell.endswith("]"):
        return number(cell[1:-1])
    inside = _TENSOR.fullmatch(cell) if "(" in cell else None
    return number(inside[1]) if inside else None


def seconds(text: str) -> float | None:
    """A duration such as "0:02:12", "1 day, 0:08:23", "46m 13s" in seconds, None when it is none."""
    cell = text.strip().lower()
    days, comma, clock = cell.partition(",")
    total = 0.0
    if comma:
        count = re.fullmatch(r"(\d{1,6}) days?", days)
        if count is None:
            return None
        total, cell = 86400.0 * int(count[1]), clock.strip()
    hms = re.fullmatch(r"(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d+)?)", cell)
    if hms:
        return total + 3600.0 * int(hms[1]) + 60.0 * int(hms[2]) + float(hms[3])
    parts = cell.split()
    units = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
    if not parts or comma:
        return None
    for part in parts:
        if part[-1] not in units or not part[:-1].isdecimal() or len(part) > 10:
            return None
        total += units[part[-1]] * int(part[:-1])
    return total


def instant(text: str) -> float | None:
    """A date with a time of day as seconds since 1970, None for anything else. Without a zone it counts as UTC."""
    if not 16 <= len(text) <= 40 or not text[:4].isdecimal():
        return None
    try:
        when = datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def digits(value: float) -> tuple[int, int]:
    """Significant digits and decimal places of a finite value's shortest spelling; 0.0314 has (3, 4), 2.5e-05 has (2, 6)."""
    _, figures, exponent = Decimal(repr(value)).normalize().as_tuple()
    return len(figures), max(-int(exponent), 0)


def quantum(values: Floats) -> float | None:
    """The smallest difference that the digits of values written in their shortest spelling can show, None for full precision.

    Values that were rounded before have as many decimals as fit, all but those that end in zeros by chance. Few values, or
    decimals of every number, tell nothing: 0.001 and 0.5 are themselves, and 0.0 among them is exactly zero.
    """
    known = np.isfinite(values)
    finite = values if known.all() else values[known]
    sample = np.unique(finite[:: max(1, len(finite) // SAMPLE)][:SAMPLE])
    told: list[int] = []  # decimal places of values of more than one digit
    for value in sample.tolist():
        figures, places = digits(value)
        if figures >= FULL_PRECISION:
            return None
        if figures > 1:
            told.append(places)
    most = max(told, default=0)
    return float(f"1e-{most}") if most and told.count(most) >= max(_ENOUGH, len(told) / 2) else None


def fixed_decimals(cells: Iterable[str]) -> tuple[int, bool] | None:
    """How many decimals all cells have, and whether zeros at an end show that they were printed so; None where they differ.

    Without such zeros the cells may be the shortest spellings of full numbers: 0.5 and 0.0 are, 0.00100000 is not.
    """
    places: set[int] = set()
    padded = False
    for cell in cells:
        match = _DECIMALS.fullmatch(cell.strip())
        if match is None:
            if number(cell) is not None and math.isfinite(number(cell) or 0.0):
                return None
            continue
        places.add(len(match[1]))
        padded = padded or (len(match[1]) > 1 and match[1].endswith("0"))
    return (places.pop(), padded) if len(places) == 1 else None
