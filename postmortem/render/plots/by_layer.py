"""Figures of layers, input at the top: distributions as ridgelines, and one figure per layer over depth."""

import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from postmortem.model.exhibits import DepthExhibit, DistributionExhibit
from postmortem.render.layers import central, density, short_names
from postmortem.render.panels import TINY, drawable
from postmortem.render.plots.canvas import AXIS, EM, decades, defaults, svg, ticks_below, ticks_left
from postmortem.render.svg import ROLES
from postmortem.render.ticks import tick, ticks
from postmortem.render.words import breadth, one_line, t


@defaults()
def distributions(layers: Sequence[tuple[str, tuple[DistributionExhibit, ...]]], prefix: str, label: str) -> Markup:
    """Ridgelines: per layer the histogram of its last checkpoint, filled, and of its first one as a dashed outline."""
    width, font, row = 480.0, 11.0, 26.0
    names = short_names([name for name, _ in layers])
    margin = _margin(names, font)
    total = row * (len(layers) + 0.6) + AXIS
    figure = Figure(figsize=(width / 72, total / 72), dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_axes((margin / width, AXIS / total, (width - margin - 12) / width, (total - AXIS) / total))
    low, high = central([d for _, shown in layers for d in shown])
    axes.set_xlim(low, high)
    axes.set_ylim(-0.1, len(layers) + 0.5)
    for i, (_, shown) in enumerate(layers):
        base = float(len(layers) - 1 - i)
        axes.axhline(base, color=ROLES["grid"], linewidth=0.8)
        for exhibit in reversed(shown):
            xs, ys = density(exhibit, low, high)
            heights = [base + 1.3 * y for y in ys]
            if exhibit is shown[-1]:
                axes.fill_between(xs, heights, base, color=ROLES["last"], alpha=0.3, linewidth=0)
                axes.plot(xs, heights, color=ROLES["last"], linewidth=1.3)
            else:
                axes.plot(xs, heights, color=ROLES["first"], linewidth=1.1, linestyle=(0, (3, 2)))
    axes.set_axis_off()
    ticks_left(axes, [len(layers) - 1 - i + 0.25 for i in range(len(layers))], names, font, "ink", grid=False)
    values = list(MaxNLocator(5).tick_values(low, high))
    ticks_below(axes, values, ticks(values), font, t("value"))
    return svg(figure, prefix, label)


@defaults()
def depth(shown: Sequence[DepthExhibit], prefix: str, label: str, tallest: float) -> Markup:
    """A figure per layer, input at the top, on a logarithmic axis; one line per checkpoint. At most `tallest` pixels for the layers."""
    layers = shown[0].layers
    width, font = 480.0, 11.0
    row = min(22.0, max(0.5, tallest / len(layers)))
    names = short_names(layers)
    margin = _margin(names, font)
    total = max(120.0, row * len(layers)) + AXIS + 26
    figure = Figure(figsize=(width / 72, total / 72), dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_axes((margin / width, AXIS / total, (width - margin - 12) / width, (total - AXIS - 26) / total))
    axes.set_xscale("log")
    roles = ("first", "middle", "last")[-len(shown) :] if len(shown) != 2 else ("first", "last")
    x = 0.0
    for exhibit, role in zip(shown, roles, strict=False):
        values = [math.nan if v is None or not drawable(v) or v <= TINY else v for v in exhibit.values]
        axes.plot(
            values, range(len(values)), color=ROLES[role], linewidth=1.4, marker="o" if len(layers) <= 60 else None, markersize=4, markeredgewidth=0,
            linestyle=(0, (4, 2)) if role == "first" else "-",
        )  # fmt: skip
        text = one_line(exhibit.checkpoint, 18)
        axes.plot(
            [x, x + 0.07], [1 + 14 / (total - AXIS - 26)] * 2, transform=axes.transAxes, clip_on=False, color=ROLES[role], linewidth=1.8,
            linestyle=(0, (4, 2)) if role == "first" else "-",
        )  # fmt: skip
        axes.text(x + 0.09, 1 + 10 / (total - AXIS - 26), text, transform=axes.transAxes, fontsize=font, color=ROLES["ink"])
        x += 0.13 + breadth(text) * EM * font / (width - margin - 12)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    every = max(1, math.ceil(1.4 * font / row))
    axes.set_axis_off()
    axes.autoscale_view()
    axes.set_xlim(*axes.get_xlim())
    ticks_left(axes, range(0, len(layers), every), names[::every], font, "ink", grid=True)
    values = decades(*axes.get_xlim())
    ticks_below(axes, values, [tick(v) for v in values], font, grid=True)
    axes.plot([0, 1], [0, 0], transform=axes.transAxes, color=ROLES["muted"], linewidth=0.8, clip_on=False)
    return svg(figure, prefix, label)


def _margin(names: Sequence[str], font: float) -> float:
    """Room for the names of layers, in pixels."""
    return max(40.0, max(map(len, names)) * EM * 1.05 * font + 12)
