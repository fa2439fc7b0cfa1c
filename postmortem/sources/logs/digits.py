"""Numbers read by column from their runs of digits, eight digits at a time, where float64 gives exactly what `float` does."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats

Ints = npt.NDArray[np.int64]

MOST_DIGITS = 18  # of a number in an int64
_MOST_DECIMALS = 16  # more make a whole number that is seldom exact
_EXACT = 1 << 53  # whole numbers up to here, divided by powers of ten up to 22, round as `float` does
_POWERS: Floats = np.array([float(f"1e{n}") for n in range(23)])
_WHOLE_POWERS = 10 ** np.arange(19, dtype=np.int64)
_TOKEN = re.compile(rb"([-+]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([-+]?)([0-9]+))?")
_BEFORE = 24  # bytes that may be looked at before a text
_JOINED = (
    (np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(2561), np.uint64(8)),
    (np.uint64(0x00FF00FF00FF00FF), np.uint64(6553601), np.uint64(16)),
    (np.uint64(0x0000FFFF0000FFFF), np.uint64(42949672960001), np.uint64(32)),
)


@dataclass(frozen=True, slots=True)
class Printed:
    """How a number is printed: which runs of digits make it, -1 for none, counted within a repeat. `constant` has no digits: nan."""

    whole: int = -1
    decimals: int = -1
    exponent: int = -1
    negative: bool = False
    shrinks: bool = False  # the exponent is negative
    before: int = 0  # bytes of the token before its first digit
    after: int = 0  # bytes of the token behind its last
    constant: float | None = None


def printed_as(token: bytes, runs: Sequence[int]) -> Printed | None:
    """How a number is printed that these runs of digits make; None when that cannot be read by column."""
    match = _TOKEN.fullmatch(token)
    if match is None or not (match[2] or match[3]):
        return None
    names = [name for name, digits in (("whole", match[2]), ("decimals", match[3]), ("exponent", match[5])) if digits]
    if len(names) != len(runs):
        return None
    before, after = (len(token) - len(rest) for rest in (token.lstrip(b"+-."), token.rstrip(b".")))
    return Printed(**dict(zip(names, runs, strict=True)), negative=match[1] == b"-", shrinks=match[4] == b"-", before=before, after=after)


class Digits:
    """The digits of a text."""

    def __init__(self, text: bytes) -> None:
        self._eights = np.ndarray(len(text) + _BEFORE - 7, "<u8", bytes(_BEFORE) + text, strides=(1,))  # from each place on

    def before(self, places: Ints, widths: Ints) -> Ints:
        """(n,) the number that the digits before each place make, at most eight of them, `widths` at most."""
        spare = ((8 - widths).clip(0, 8) * 8).astype(np.uint64)  # bits of what is no digit of it
        eight = self._eights[places + (_BEFORE - 8)]
        eight >>= spare
        eight <<= spare
        for mask, factor, bits in _JOINED:  # neighbours become one number: digits, then pairs, then fours
            eight &= mask
            eight *= factor
            eight >>= bits
        return eight.view(np.int64)

    def whole(self, stops: Ints, widths: Ints) -> Ints | None:
        """(n,) the whole numbers that runs of digits make; None when they are too large. `widths` : (n,), or (1,) for all."""
        widest = int(widths.max(initial=0))
        if widest > MOST_DIGITS:
            return None
        value = self.before(stops, widths)
        for done in range(8, widest, 8):
            value += self.before(stops - done, widths - done) * 10**done
        return value

    def numbers(self, printed: Printed, runs: Callable[[int], tuple[Ints, Ints]]) -> Floats | None:
        """(n,) float64; None where that is not sure to be exact. `runs` tells where a run of digits stops and how wide it is, both (n,).

        By whole numbers below 2⁵³ and powers of ten up to 22, which float64 holds exactly: one division, one rounding.
        """
        power: Ints = np.zeros(1, dtype=np.int64)
        value = self.whole(*_even(*runs(printed.whole))) if printed.whole >= 0 else np.zeros(1, dtype=np.int64)
        if value is None:
            return None
        if printed.decimals >= 0:
            stops, widths = _even(*runs(printed.decimals))
            if int(widths.max()) > _MOST_DECIMALS:
                return None
            decimals = self.whole(stops, widths)
            if decimals is None or int(value.max()) >= 10 ** (MOST_DIGITS - int(widths.max())):
                return None
            value = value * _WHOLE_POWERS[widths] + decimals
            power = -widths
        if printed.exponent >= 0:
            exponent = self.whole(*_even(*runs(printed.exponent)))
            if exponent is None:
                return None
            power = power - exponent if printed.shrinks else power + exponent
        if int(value.max()) > _EXACT:
            return None
        low, high = int(power.min()), int(power.max())
        if low < -22 or high > 22:
            return None
        if low == high == 0:
            out = value.astype(np.float64)
        elif high <= 0:
            out = value / _POWERS[-power]
        else:
            out = np.where(power < 0, value / _POWERS[np.maximum(-power, 0)], value * _POWERS[np.maximum(power, 0)])
        return -out if printed.negative else out


def _even(stops: Ints, widths: Ints) -> tuple[Ints, Ints]:
    """One width for all where they are the same."""
    return stops, widths[:1] if (widths == widths[:1]).all() else widths
