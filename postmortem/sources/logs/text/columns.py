"""What a slot of many lines says, and with how many digits it was printed."""

from collections.abc import Iterable

import numpy as np

from postmortem.model.run import Floats
from postmortem.sources.logs.text.plans import NO, Slot
from postmortem.sources.logs.text.rows import Column
from postmortem.sources.logs.text.tokens import mask, number, quantum

SAMPLED = 200  # values per series whose printed digits are looked at


def values_of(slot: Slot, numbers: Floats) -> Floats:
    """(lines,) what a slot says, of (lines, numbers); NaN where a ratio is one of nothing."""
    values: Floats = numbers[:, slot.index]
    if slot.total != NO:
        total = numbers[:, slot.total]
        values = np.divide(values, total, out=np.full(len(numbers), np.nan), where=total != 0)
    return values / 100.0 if slot.percent else values * slot.times if slot.times != 1.0 else values


def look_at(column: Column, slot: Slot, lines: Iterable[bytes]) -> None:
    """Look at the digits of one value in each line, as long as there were not enough."""
    for line in lines:
        if column.sampled >= SAMPLED:
            return
        tokens = mask(line)[1]
        if slot.index < len(tokens):
            sample(column, tokens[slot.index], slot, [number(t) for t in tokens])


def sample(column: Column, token: bytes, slot: Slot, numbers: list[float]) -> None:
    """Look at the printed digits of one value."""
    column.sampled += 1
    if b"e" in token.lower() and number(token) == 0.0:
        return  # 0.00e+00 is no small number rounded: the exponent would show it
    unit = quantum(token)
    if slot.total != NO:
        unit = 1.0 / numbers[slot.total] if numbers[slot.total] else None
    elif unit is None:
        column.full += 1
        return
    if unit is not None:
        unit *= 0.01 if slot.percent else abs(slot.times)
        column.quantum = unit if column.quantum is None else min(column.quantum, unit)
