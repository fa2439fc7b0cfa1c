"""Heat maps of layers × checkpoints as tables: every cell a number and a shade, readable without colour."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from postmortem.model.exhibits import HeatmapExhibit
from postmortem.model.sentence import Sentence, say
from postmortem.render.figures import number, short

SHADES = 8
LEAST = 0.6  # decades from the lightest to the darkest shade: a few per cent look like a few per cent
LARGE = 1500  # cells from which on a table would be slow to lay out and is drawn as a picture
_LINEAR = frozenset({"zero-share", "non-finite"})


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    shade: str  # h0 … h7, hn for NaN or inf, hx for not measured


@dataclass(frozen=True, slots=True)
class Heatmap:
    """One quantity. `rows` for a table; for a large one `picture` (an SVG) and the rows that stand out."""

    quantity: str
    title: Sentence
    meaning: Sentence
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    low: str  # the least and the largest shaded value, "" when nothing was measured
    high: str
    logarithmic: bool
    broken: bool  # whether a cell is NaN or infinite
    alternative: Sentence
    picture: Markup | None
    layers: int


def heatmap(exhibit: HeatmapExhibit) -> Heatmap:
    """The table of an exhibit, or its picture when there are too many cells."""
    values = [v for row in exhibit.values for v in row if v is not None and math.isfinite(v)]
    edges = _edges(values, linear=exhibit.quantity in _LINEAR)
    large = len(exhibit.layers) * len(exhibit.columns) > LARGE
    pairs = list(zip(exhibit.layers, exhibit.values, strict=False))
    shown = _standing_out(pairs) if large else pairs
    title, meaning = _words(exhibit.quantity)
    return Heatmap(
        exhibit.quantity,
        title,
        meaning,
        exhibit.columns,
        tuple((name, tuple(Cell(short(v), _shade(v, edges)) for v in row)) for name, row in shown),
        short(edges[0]) if edges else "",
        short(edges[-1]) if edges else "",
        exhibit.quantity not in _LINEAR,
        any(v is not None and not math.isfinite(v) for row in exhibit.values for v in row),
        _alternative(exhibit, values),
        _picture(exhibit, edges) if large else None,
        len(exhibit.layers),
    )


def _words(quantity: str) -> tuple[Sentence, Sentence]:
    known = {
        "rms": (say("Size of weights"), say("Root mean square of each layer's values.")),
        "std": (say("Spread of weights"), say("Standard deviation of each layer's values.")),
        "relative-change": (say("Relative change"), say("Norm of the change since the checkpoint before, over the norm of the weights.")),
        "zero-share": (say("Share of zeros"), say("Share of each layer's values that are exactly zero.")),
        "gradient-rms": (say("Size of gradients"), say("Root mean square of each layer's gradient.")),
        "non-finite": (say("NaN and Inf"), say("Number of values of each layer that are NaN or infinite.")),
    }
    return known.get(quantity) or (say("{quantity}", quantity=quantity.replace("-", " ")), say("As measured in each layer and checkpoint."))


def _edges(values: Sequence[float], *, linear: bool) -> tuple[float, ...]:
    """Limits of the shades: equal steps of the logarithm, of the value itself for shares and counts."""
    if not values:
        return ()
    if linear:
        low, high = 0.0, max(*values, 0.0) if len(values) > 1 else max(values[0], 0.0)
        return tuple(high * i / SHADES for i in range(SHADES + 1)) if high > 0 else (low, low)
    sizes = sorted(abs(v) for v in values if v != 0)
    if not sizes:
        return (0.0, 0.0)
    low, high = math.log10(sizes[0]), math.log10(sizes[-1])
    if high - low < 0.01:
        return (sizes[0], sizes[-1])
    room = max(0.0, LEAST - (high - low)) / 2
    low, high = low - room, high + room
    return tuple(10 ** (low + (high - low) * i / SHADES) for i in range(SHADES + 1))


def _shade(value: float | None, edges: Sequence[float]) -> str:
    if value is None:
        return "hx"
    if not math.isfinite(value):
        return "hn"
    size = abs(value)
    return f"h{max(0, min(SHADES - 1, sum(1 for e in edges[1:-1] if size >= e)))}"


def _standing_out(pairs: Sequence[tuple[str, tuple[float | None, ...]]]) -> list[tuple[str, tuple[float | None, ...]]]:
    """Of many layers those that are worth a row: with NaN or inf, the smallest, the largest, the first and the last."""

    def last(row: tuple[float | None, ...]) -> float:
        finite = [v for v in row if v is not None and math.isfinite(v)]
        return abs(finite[-1]) if finite else 0.0

    order = sorted(range(len(pairs)), key=lambda i: last(pairs[i][1]))
    broken = [i for i, (_, row) in enumerate(pairs) if any(v is not None and not math.isfinite(v) for v in row)]
    chosen = {0, len(pairs) - 1, *order[:5], *order[-5:], *broken[:10]}
    return [pairs[i] for i in sorted(chosen)]


def _picture(exhibit: HeatmapExhibit, edges: Sequence[float]) -> Markup:
    """Cells of one shade as one path each, runs of equal shade merged; stretched to the width of the page."""
    paths: dict[str, list[str]] = {}
    for i, row in enumerate(exhibit.values):
        start = 0
        shades = [_shade(v, edges) for v in row]
        for j in range(1, len(shades) + 1):
            if j == len(shades) or shades[j] != shades[start]:
                paths.setdefault(shades[start], []).append(f"M{start} {i}h{j - start}v1h-{j - start}z")
                start = j
    drawn = Markup("").join(Markup('<path class="{}" d="{}"/>').format(shade, "".join(parts)) for shade, parts in sorted(paths.items()))
    return Markup('<svg class="heat" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        len(exhibit.columns), len(exhibit.layers), drawn
    )


def _alternative(exhibit: HeatmapExhibit, values: Sequence[float]) -> Sentence:
    """What the picture shows, in words."""
    cells = [(v, i, j) for i, row in enumerate(exhibit.values) for j, v in enumerate(row) if v is not None]
    finite = [c for c in cells if math.isfinite(c[0])]
    broken = len(cells) - len(finite)
    if not values:
        return say("{n} layers, nothing measured.", n=len(exhibit.layers))
    low, high = min(finite, key=lambda c: abs(c[0])), max(finite, key=lambda c: abs(c[0]))
    range_ = say(
        "From {low} ({a}, {b}) to {high} ({c}, {d}).",
        low=number(low[0], 3),
        a=exhibit.layers[low[1]],
        b=exhibit.columns[low[2]],
        high=number(high[0], 3),
        c=exhibit.layers[high[1]],
        d=exhibit.columns[high[2]],
    )
    return say("{range} Cells that are NaN or infinite: {n}.", range=range_, n=broken) if broken else range_
