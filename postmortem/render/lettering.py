"""Where the names of marks and levels stand in a plot, none overlapping another. Widths are in pixels; a letter is `em` wide on average."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Placing:
    """Where the name of a horizontal line stands: its anchor in pixels, the side that is anchored, above or below the line."""

    x: float
    y: float
    side: str  # left, right
    above: bool


def beside(y: float, size: tuple[float, float], room: tuple[float, float], lines: Sequence[Sequence[tuple[float, float]]]) -> Placing:
    """The place beside a horizontal line at `y` where the fewest curves run through a text of `size` (width, height), in axes of size `room`.

    `lines` are points in pixels, in order of x. At the right end and above the line where nothing speaks against it.
    """
    (length, height), (width, tall) = size, room
    best: tuple[int, Placing] | None = None
    for right in (True, False):
        for above in (True, False):
            low = y + 3 if above else y - 3 - height
            if not (low >= -1 and low + height <= tall + 1):
                continue
            start = width - 4 - length if right else 4.0
            crossed = sum(_crosses(line, start + length * i / 8, low - 2, low + height + 2) for line in lines for i in range(9))
            if best is None or crossed < best[0]:
                best = crossed, Placing(width - 4 if right else 4.0, y + 3 if above else y - 3, "right" if right else "left", above)
    return best[1] if best else Placing(width - 4, y + (3 if y < tall / 2 else -3), "right", y < tall / 2)


def _crosses(line: Sequence[tuple[float, float]], x: float, low: float, high: float) -> bool:
    """Whether a line of points has a height between two limits at `x`."""
    if not line or not line[0][0] <= x <= line[-1][0]:
        return False
    i = max(1, bisect_left(line, x, key=lambda point: point[0]))
    (x0, y0), (x1, y1) = line[i - 1], line[min(i, len(line) - 1)]
    return low <= (y0 if x1 <= x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)) <= high
