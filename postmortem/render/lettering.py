"""Where the names of marks stand above a plot, none overlapping another. Widths are in pixels; a letter is `em` wide on average."""

import math
from collections.abc import Sequence

from postmortem.render.panels import LETTERED, Lettered, mark_word
from postmortem.render.words import breadth

Placed = list[tuple[float, str, str]]  # where it starts, the text, the mark's kind
GAP = 6.0


def letters(at: Sequence[tuple[Lettered, float]], width: float, em: float) -> Placed:
    """A letter for each mark, with its word where there is room before the next one."""
    out: Placed = []
    taken = -math.inf
    for i, (item, x) in enumerate(at):
        until = at[i + 1][1] - 1.6 * em if i + 1 < len(at) else width
        full = f"{item.letter} {mark_word(item.mark.kind)}"
        text = full if x + breadth(full) * em < until else item.letter
        start = max(x - 0.6 * em, taken)
        out.append((start, text, item.mark.kind))
        taken = start + (breadth(text) + 0.9) * em
    return out


def words(at: Sequence[tuple[Lettered, float]], width: float, em: float) -> Placed:
    """A word for each mark, the most telling ones first, to the right or the left of the mark; those without room are left out."""
    out: Placed = []
    taken: list[tuple[float, float]] = []
    for item, x in sorted(at, key=lambda pair: LETTERED.index(pair[0].mark.kind)):
        text = mark_word(item.mark.kind)
        length = breadth(text) * em
        for start in (x - 4, x - length + 4):
            if start >= 0 and start + length <= width + 2 * em and all(start > b + GAP or start + length < a - GAP for a, b in taken):
                out.append((start, text, item.mark.kind))
                taken.append((start, start + length))
                break
    return out
