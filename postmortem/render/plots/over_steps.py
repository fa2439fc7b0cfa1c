"""Curves above each other on one step axis, with marks through all of them."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, MaxNLocator

from postmortem.model.exhibits import Level, Mark
from postmortem.render import lettering
from postmortem.render.figures import number
from postmortem.render.panels import TINY, Lettered, Line, Panel, drawable, gaps
from postmortem.render.plots.canvas import AXIS, EM, decades, defaults, svg, ticks_below, ticks_left
from postmortem.render.svg import ROLES
from postmortem.render.ticks import tick, ticks
from postmortem.render.words import breadth, one_line, speak, t

FEW = 40  # points up to which each one is drawn as a dot
MOST_GAPS = 200
MOST_DASHED = 400  # points of a line that can still be told to be dashed
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1.2, 1.4)), (0, (7, 2, 1.2, 2)))
_STYLE = {"onset": ("onset", "-", 1.6), "parts": ("onset", "-", 1.2), "crash": ("crash", "-", 1.6), "visible": ("visible", (0, (4, 3)), 1.2)}


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's measures in pixels."""

    width: float
    left: float
    right: float
    font: float
    tall: float
    low: float
    words: bool = False  # marks are named in the picture, without letters


WIDE = Frame(1040, 58, 20, 12, 190, 96)
NARROW = Frame(400, 48, 20, 12, 170, 88)
HERO = Frame(500, 48, 20, 12, 190, 190, words=True)
MOVES = "moves"  # what stands at a step, and goes with it when a reader zooms
_TITLE = 26
_LETTERS = 18


@defaults()
def curves(
    panels: Sequence[Panel], marks: Sequence[Mark], letters: Sequence[Lettered], *, unit: str, frame: Frame, prefix: str, label: str
) -> Markup:
    """The panels above each other on one step axis, with marks through all of them."""
    heights = [frame.tall if p.tall else frame.low for p in panels]
    top = _LETTERS if letters else 0
    total = sum(heights) + _TITLE * len(panels) + AXIS + top
    figure = Figure(figsize=(frame.width / 72, total / 72), dpi=72)
    figure.patch.set_visible(False)
    low, high = _extent(panels, [m.mark for m in letters])
    letters = [item for item in letters if low <= item.mark.step <= high]
    y = float(total - top)
    first: Axes | None = None
    scales: list[tuple[object, ...]] = []
    for k, (panel, height) in enumerate(zip(panels, heights, strict=True)):
        y -= _TITLE + height
        box = (frame.left / frame.width, y / total, (frame.width - frame.left - frame.right) / frame.width, height / total)
        axes = figure.add_axes(box, sharex=first)
        if first is None:
            first = axes
            axes.set_xlim(low, high)
        _panel(axes, panel, frame, height, k)
        for item in letters:
            _mark(axes, item.mark)
        names = [[f"{k}-{n}", line.label] for n, line in reversed(list(enumerate(panel.lines)))]
        scales.append((total - y - height, total - y, *map(float, axes.get_ylim()), panel.scale, one_line(panel.title, 60), names))
    assert first is not None
    _name_marks(first, letters, frame, heights[0])
    _checkpoints(axes, marks)
    whole = all(s == int(s) for p in panels for line in p.lines for s in line.curve.steps if math.isfinite(s))
    own = sorted({s for p in panels for line in p.lines for s in line.curve.steps if low <= s <= high})
    steps = own if len(own) < 3 else MaxNLocator(9 if frame.width > 600 else 5, integer=whole).tick_values(low, high)
    counted = {"epoch": t("epoch"), "record": t("record"), "step": t("step")}.get(unit, one_line(unit, 24))
    ticks_below(axes, steps, [number(v, 6) for v in steps], frame.font - 1, counted)
    ruler = {"x": (frame.left, frame.width - frame.right, low, high), "panels": scales}
    return svg(figure, prefix, label, ruler=json.dumps(ruler, ensure_ascii=False, separators=(",", ":")))


def _extent(panels: Sequence[Panel], marks: Sequence[Mark]) -> tuple[float, float]:
    """The axis: all steps of the curves, and the marks that are not far from them."""
    steps = [s for p in panels for line in p.lines for s in line.curve.steps if abs(s) < 1e15]
    low, high = min(steps, default=0.0), max(steps, default=1.0)
    room = (high - low) * 0.5 or 1.0
    near = [m.step for m in marks if low - room <= m.step <= high + room]
    low, high = min([low, *near]), max([high, *near])
    pad = (high - low) * 0.012 or max(abs(low) * 0.05, 0.5)
    return low - pad, high + pad


def _panel(axes: Axes, panel: Panel, frame: Frame, height: float, place: int) -> None:
    axes.set_axis_off()
    if panel.scale == "symlog":
        axes.set_yscale("symlog", linthresh=1.0)
    else:
        axes.set_yscale(panel.scale)
    for n, line in enumerate(panel.lines):
        _line(axes, line, panel.scale, f"series-{place}-{n}")
    levels = [level for level in panel.levels if drawable(level.value) and (panel.scale != "log" or level.value > 0)]
    for level in levels:
        axes.axhline(level.value, color=ROLES["level"], linewidth=1, linestyle=(0, (1, 2)))
    _limits(axes, panel)
    for level in levels:
        _level(axes, level, panel, frame)
    _gaps(axes, panel, frame)
    if any(drawable(v) for line in panel.lines for v in line.curve.values):
        low, high = axes.get_ylim()
        values = decades(low, high) if panel.scale == "log" else list(_locator(axes, panel.scale).tick_values(low, high))
        labels = ticks(values) if panel.scale == "linear" else [tick(v) for v in values]
        ticks_left(axes, values, labels, frame.font - 1, "muted", grid=True)
    axes.plot([0, 1], [0, 0], transform=axes.transAxes, color=ROLES["muted"], linewidth=0.8, clip_on=False)
    title = one_line(panel.title, 60)
    if panel.scale != "linear":
        title = t("{title}, log scale", title=title)
    up = 1 + 8 / height
    axes.text(0, up, title, transform=axes.transAxes, fontsize=frame.font, fontweight="bold", color=ROLES["ink"])
    inner = frame.width - frame.left - frame.right
    x = (breadth(title) * EM + 2) * frame.font / inner
    for line in reversed(panel.lines):
        if line.label and (len(panel.lines) > 1 or line.role == "val") and x < 0.8:
            axes.plot(
                [x, x + 18 / inner],
                [up + 4 / height] * 2,
                transform=axes.transAxes,
                clip_on=False,
                color=ROLES[line.role],
                linewidth=2,
                linestyle=DASHES[line.dash],
            )
            axes.text(x + 24 / inner, up, line.label, transform=axes.transAxes, fontsize=frame.font, color=ROLES["ink"])
            x += (24 + (breadth(line.label) * EM + 1.5) * frame.font) / inner


def _locator(axes: Axes, scale: str) -> Locator:
    return MaxNLocator(4) if scale == "linear" else axes.yaxis.get_major_locator()


def _limits(axes: Axes, panel: Panel) -> None:
    """Fix the limits. A nearly constant curve does not fill its panel with noise; a learning rate is read against zero."""
    values = [v for line in panel.lines for v in line.curve.values if drawable(v)] + [level.value for level in panel.levels if drawable(level.value)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    axes.autoscale_view()
    axes.set_ylim(*axes.get_ylim())
    if panel.scale == "linear" and panel.key == "lr" and low >= 0 < high:
        axes.set_ylim(0, high * 1.12)
    elif (panel.scale == "linear" and 0 < high - low < 0.1 * max(abs(low), abs(high))) or low == high != 0:
        middle, half = (low + high) / 2, max(0.08 * max(abs(low), abs(high)), TINY)  # 0.08 × the least float is none
        axes.set_ylim(middle - half, middle + half)


def _level(axes: Axes, level: Level, panel: Panel, frame: Frame) -> None:
    """The name of a horizontal line, above or below it, at the end where the curves leave most room."""
    inner, high = axes.bbox.width, axes.bbox.height
    text, font = one_line(speak(level.label), 40), frame.font - 1
    _, share = axes.transAxes.inverted().transform(axes.transData.transform((0, level.value)))
    at = lettering.beside(share * high, (breadth(text) * EM * font, font), (inner, high), [_drawn(axes, line, panel.scale) for line in panel.lines])
    axes.text(
        at.x / inner, at.y / high, text, transform=axes.transAxes, fontsize=font, color=ROLES["level"], va="bottom" if at.above else "top",
        ha=at.side,
    )  # fmt: skip


def _line(axes: Axes, line: Line, scale: str, gid: str) -> None:
    curve = line.curve
    values = [_on_scale(v, scale) for v in curve.values]
    colour = ROLES[line.role]
    dash = DASHES[line.dash if len(values) <= MOST_DASHED else 0]
    few = sum(1 for v in values if not math.isnan(v)) <= FEW
    thin = bool(curve.smooth) or line.role == "earlier"
    axes.plot(
        curve.steps, values, color=colour, linewidth=1.0 if thin else 1.5, alpha=0.5 if thin else None, linestyle=dash,
        marker="o" if few else None, markersize=3 if len(values) > 1 else 6, markeredgewidth=0, gid=gid,
    )  # fmt: skip
    if curve.smooth:
        axes.plot(curve.steps, [_on_scale(v, scale) for v in curve.smooth], color=colour, linewidth=1.8, linestyle=dash, gid=MOVES)


def _drawn(axes: Axes, line: Line, scale: str) -> list[tuple[float, float]]:
    """The points of a line in pixels from the lower left corner of the axes."""
    points = [(s, v) for s, v in zip(line.curve.steps, line.curve.values, strict=False) if not math.isnan(_on_scale(v, scale))]
    if not points:
        return []
    return [(float(x - axes.bbox.x0), float(y - axes.bbox.y0)) for x, y in axes.transData.transform(points)]


def _on_scale(value: float, scale: str) -> float:
    if not drawable(value) or (scale == "log" and value <= TINY):
        return math.nan
    return value


def _gaps(axes: Axes, panel: Panel, frame: Frame) -> None:
    """Shade where a curve is NaN or infinite, once for all curves of the panel."""
    low, high = axes.get_xlim()
    least = (high - low) * 0.003
    found = sorted(g for line in panel.lines if line.role != "earlier" for g in gaps(line.curve))
    merged: list[tuple[float, float]] = []
    for start, end, _ in found:
        stop = max(end, start + least)
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    for start, end in merged[:MOST_GAPS]:
        axes.axvspan(start, end, color=ROLES["nan"], alpha=0.09, linewidth=0, gid=MOVES)
    kinds = "/".join(sorted({k for _, _, kind in found for k in kind.split("/")}))
    if found:
        start = found[0][0]
        near_end = (start - low) / (high - low) > 0.8
        axes.text(
            start + (-4 if near_end else 4) / axes.bbox.width * (high - low),
            1 - 4 / axes.bbox.height,
            kinds,
            transform=axes.get_xaxis_transform(),
            fontsize=frame.font - 1,
            color=ROLES["nan"],
            va="top",
            ha="right" if near_end else "left",
            gid=MOVES,
        )


def _mark(axes: Axes, mark: Mark) -> None:
    role, dash, width = _STYLE.get(mark.kind, ("mark", (0, (2, 3)), 1.0))
    axes.axvline(mark.step, color=ROLES[role], linewidth=width, linestyle=dash, zorder=1.5, gid=MOVES)


def _name_marks(axes: Axes, letters: Sequence[Lettered], frame: Frame, height: float) -> None:
    """Letters or words above the top panel."""
    low, high = axes.get_xlim()
    inner = frame.width - frame.left - frame.right
    at = [(item, (item.mark.step - low) / (high - low) * inner) for item in letters]
    for x, text, kind in (lettering.words if frame.words else lettering.letters)(at, inner, frame.font * EM):
        role = _STYLE.get(kind, ("mark",))[0]
        axes.text(
            x / inner,
            1 + (_TITLE + 2) / height,
            text,
            transform=axes.transAxes,
            fontsize=frame.font,
            fontweight="bold",
            color=ROLES[role],
            clip_on=False,
            gid=MOVES,
        )


def _checkpoints(axes: Axes, marks: Sequence[Mark]) -> None:
    for kind, role, shape in (("checkpoint", "ink", "^"), ("bad-checkpoint", "bad", "X")):
        steps = [m.step for m in marks if m.kind == kind and math.isfinite(m.step)]
        if steps:
            axes.plot(
                steps, [0.0] * len(steps), transform=axes.get_xaxis_transform(), linestyle="none", marker=shape, markersize=6, color=ROLES[role],
                markeredgewidth=0, clip_on=False, zorder=5, gid=MOVES,
            )  # fmt: skip
