"""Pictures, drawn with matplotlib's SVG backend: curves on a shared step axis, distributions, figures over depth.

The only importer of matplotlib, and only of `matplotlib.figure`: no pyplot, no state. Text stays text, colours are the
stand-ins of `svg.ROLES`, the same exhibits give the same bytes.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from postmortem.model.exhibits import DepthExhibit, DistributionExhibit, Mark
from postmortem.render.figures import number
from postmortem.render.panels import Lettered, Line, Panel, drawable, gaps, mark_word
from postmortem.render.svg import ROLES, polish
from postmortem.render.words import one_line, t

FEW = 40  # points up to which each one is drawn as a dot
_RC = {"svg.fonttype": "none", "svg.hashsalt": "postmortem", "path.simplify": True, "path.simplify_threshold": 0.2, "text.parse_math": False}
_EM = 0.56  # a letter's mean width in units of the font size
_STYLE = {"onset": ("onset", "-", 1.6), "crash": ("crash", "-", 1.6), "visible": ("visible", (0, (4, 3)), 1.2)}


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's measures in pixels."""

    width: float
    left: float
    right: float
    font: float
    tall: float
    low: float


WIDE = Frame(1040, 64, 14, 12, 190, 96)
NARROW = Frame(400, 50, 8, 12, 170, 88)
HERO = Frame(460, 48, 8, 12, 200, 120)
_TITLE = 26
_AXIS = 40
_LETTERS = 18


def curves(panels: Sequence[Panel], marks: Sequence[Mark], letters: Sequence[Lettered], unit: str, frame: Frame, prefix: str, label: str) -> Markup:
    """The panels above each other on one step axis, with marks through all of them."""
    heights = [frame.tall if p.tall else frame.low for p in panels]
    total = sum(heights) + _TITLE * len(panels) + _AXIS + _LETTERS
    figure = Figure(figsize=(frame.width / 72, total / 72), dpi=72)
    figure.patch.set_visible(False)
    low, high = _extent(panels, [m.mark for m in letters])
    y = total - _LETTERS
    first: Axes | None = None
    for panel, height in zip(panels, heights, strict=True):
        y -= _TITLE + height
        box = (frame.left / frame.width, y / total, (frame.width - frame.left - frame.right) / frame.width, height / total)
        axes = figure.add_axes(box, sharex=first)
        if first is None:
            first = axes
            axes.set_xlim(low, high)
        _panel(axes, panel, frame, height)
        for item in letters:
            _mark(axes, item.mark)
        _dress(axes, frame, last=panel is panels[-1])
    assert first is not None
    _place_letters(first, letters, frame, heights[0])
    _checkpoints(axes, marks)
    axes.set_xlabel({"epoch": t("epoch"), "record": t("record")}.get(unit, t("step")), fontsize=frame.font, color=ROLES["muted"])
    return _svg(figure, prefix, label)


def _extent(panels: Sequence[Panel], marks: Sequence[Mark]) -> tuple[float, float]:
    steps = [s for p in panels for line in p.lines for s in (line.curve.steps[0], line.curve.steps[-1])] + [m.step for m in marks]
    low, high = min(steps), max(steps)
    pad = (high - low) * 0.012 or max(abs(low) * 0.05, 0.5)
    return low - pad, high + pad


def _panel(axes: Axes, panel: Panel, frame: Frame, height: float) -> None:
    if panel.scale == "symlog":
        axes.set_yscale("symlog", linthresh=1.0)
    else:
        axes.set_yscale(panel.scale)
    for line in panel.lines:
        _line(axes, line, panel.scale)
    for level in panel.levels:
        if drawable(level.value) and (panel.scale != "log" or level.value > 0):
            axes.axhline(level.value, color=ROLES["level"], linewidth=1, linestyle=(0, (1, 2)))
            axes.annotate(
                one_line(str(level.label), 40), (0, level.value), xycoords=("axes fraction", "data"), xytext=(4, 3), textcoords="offset points",
                fontsize=frame.font - 1, color=ROLES["level"], va="bottom",
            )  # fmt: skip
    _gaps(axes, panel, frame)
    title = one_line(panel.title, 60)
    if panel.scale != "linear":
        title = t("{title}, log scale", title=title)
    up = 1 + 8 / height
    axes.text(0, up, title, transform=axes.transAxes, fontsize=frame.font, fontweight="bold", color=ROLES["ink"])
    inner = frame.width - frame.left - frame.right
    x = (len(title) * _EM + 2) * frame.font / inner
    for line in sorted(panel.lines, key=lambda one: one.role == "earlier"):
        if line.label and (len(panel.lines) > 1 or line.role == "val") and x < 0.8:
            dash = (0, (4, 2)) if line.role == "val" else "-"
            axes.plot(
                [x, x + 18 / inner],
                [up + 4 / height] * 2,
                transform=axes.transAxes,
                clip_on=False,
                color=ROLES[line.role],
                linewidth=2,
                linestyle=dash,
            )
            axes.text(x + 24 / inner, up, line.label, transform=axes.transAxes, fontsize=frame.font, color=ROLES["ink"])
            x += (24 + (len(line.label) * _EM + 1.5) * frame.font) / inner


def _line(axes: Axes, line: Line, scale: str) -> None:
    curve = line.curve
    values = [_on_scale(v, scale) for v in curve.values]
    colour = ROLES[line.role]
    dash = (0, (4, 2)) if line.role == "val" and len(values) <= 400 else "-"
    few = sum(1 for v in values if not math.isnan(v)) <= FEW
    thin = bool(curve.smooth) or line.role == "earlier"
    axes.plot(
        curve.steps, values, color=colour, linewidth=0.8 if thin else 1.5, alpha=0.45 if thin else None, linestyle=dash,
        marker="o" if few else None, markersize=3, markeredgewidth=0,
    )  # fmt: skip
    if curve.smooth:
        axes.plot(curve.steps, [_on_scale(v, scale) for v in curve.smooth], color=colour, linewidth=1.8, linestyle=dash)


def _on_scale(value: float, scale: str) -> float:
    if not drawable(value) or (scale == "log" and value <= 1e-200):
        return math.nan
    return value


def _gaps(axes: Axes, panel: Panel, frame: Frame) -> None:
    low, high = axes.get_xlim()
    least = (high - low) * 0.003
    told: set[str] = set()
    for line in panel.lines:
        if line.role == "earlier":
            continue
        for start, end, kind in gaps(line.curve)[:200]:
            axes.axvspan(start, max(end, start + least), color=ROLES["nan"], alpha=0.13, linewidth=0)
            if kind not in told and len(told) < 2:
                near_end = (start - low) / (high - low) > 0.8
                axes.annotate(
                    kind, (start, 1), xycoords=("data", "axes fraction"), xytext=(-3 if near_end else 3, -3 - (frame.font + 1) * len(told)),
                    textcoords="offset points", fontsize=frame.font - 1, color=ROLES["nan"], va="top", ha="right" if near_end else "left",
                )  # fmt: skip
                told.add(kind)


def _mark(axes: Axes, mark: Mark) -> None:
    role, dash, width = _STYLE.get(mark.kind, ("mark", (0, (2, 3)), 1.0))
    axes.axvline(mark.step, color=ROLES[role], linewidth=width, linestyle=dash, zorder=1.5)


def _place_letters(axes: Axes, letters: Sequence[Lettered], frame: Frame, height: float) -> None:
    """Letters above the top panel; with the word where there is room, nothing overlapping."""
    low, high = axes.get_xlim()
    inner = frame.width - frame.left - frame.right
    at = [(item.mark.step - low) / (high - low) * inner for item in letters]
    taken = -math.inf
    for i, (item, x) in enumerate(zip(letters, at, strict=True)):
        until = at[i + 1] - frame.font * 0.9 if i + 1 < len(at) else inner
        full = f"{item.letter} {mark_word(item.mark.kind)}"
        text = full if x + len(full) * _EM * frame.font < until else item.letter
        start = max(x - frame.font * 0.35, taken)
        role = _STYLE.get(item.mark.kind, ("mark",))[0]
        axes.text(
            start / inner, 1 + (_TITLE + 2) / height, text, transform=axes.transAxes, fontsize=frame.font, fontweight="bold", color=ROLES[role], clip_on=False,
        )  # fmt: skip
        taken = start + (len(text) * _EM + 0.5) * frame.font


def _checkpoints(axes: Axes, marks: Sequence[Mark]) -> None:
    for kind, role, shape in (("checkpoint", "ink", "^"), ("bad-checkpoint", "bad", "X")):
        steps = [m.step for m in marks if m.kind == kind and math.isfinite(m.step)]
        if steps:
            axes.plot(
                steps, [0.0] * len(steps), transform=axes.get_xaxis_transform(), linestyle="none", marker=shape, markersize=6, color=ROLES[role],
                markeredgewidth=0, clip_on=False, zorder=5,
            )  # fmt: skip


def _dress(axes: Axes, frame: Frame, *, last: bool) -> None:
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(ROLES["muted"])
    axes.spines["bottom"].set_linewidth(0.8)
    axes.grid(axis="y", color=ROLES["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", which="both", length=0, labelsize=frame.font - 1, labelcolor=ROLES["muted"], labelbottom=last, pad=5)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
    elif axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: number(v, 3)))
    axes.xaxis.set_major_locator(MaxNLocator(9 if frame.width > 600 else 5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: number(v, 6)))


def distributions(layers: Sequence[tuple[str, tuple[DistributionExhibit, ...]]], prefix: str, label: str) -> Markup:
    """Ridgelines: per layer the histogram of its last checkpoint, filled, and of its first one as an outline."""
    width, row, font = 400.0, 30.0, 11.0
    total = row * len(layers) + _AXIS + 14
    figure = Figure(figsize=(width / 72, total / 72), dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_axes((8 / width, _AXIS / total, (width - 16) / width, (total - _AXIS - 4) / total))
    low, high = _central([d for _, shown in layers for d in shown])
    axes.set_xlim(low, high)
    axes.set_ylim(-0.05, len(layers) + 0.35)
    for i, (name, shown) in enumerate(layers):
        base = float(len(layers) - 1 - i)
        axes.axhline(base, color=ROLES["grid"], linewidth=0.8)
        for k, exhibit in enumerate(shown):
            xs, ys = _outline(exhibit, low, high)
            if k == len(shown) - 1:
                axes.fill_between(xs, [base + 0.95 * y for y in ys], base, color=ROLES["last"], alpha=0.45, linewidth=0)
            axes.plot(xs, [base + 0.95 * y for y in ys], color=ROLES["last" if k == len(shown) - 1 else "first"], linewidth=1.1)
        axes.annotate(
            _middle(name, 40), (0, base), xycoords=("axes fraction", "data"), xytext=(0, row * 0.45), textcoords="offset points", fontsize=font,
            color=ROLES["ink"],
        )  # fmt: skip
    axes.yaxis.set_major_locator(NullLocator())
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(ROLES["muted"])
    axes.tick_params(axis="x", length=0, labelsize=font, labelcolor=ROLES["muted"])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: number(v, 3)))
    axes.set_xlabel(t("value"), fontsize=font, color=ROLES["muted"])
    return _svg(figure, prefix, label)


def _central(shown: Sequence[DistributionExhibit]) -> tuple[float, float]:
    """The range that holds 99.8% of each of the distributions."""
    low, high = math.inf, -math.inf
    for exhibit in shown:
        whole, passed = sum(exhibit.counts), 0
        for i, count in enumerate(exhibit.counts):
            if passed <= 0.001 * whole < passed + count:
                low = min(low, exhibit.edges[i])
            if passed < 0.999 * whole <= passed + count:
                high = max(high, exhibit.edges[i + 1])
            passed += count
    return (low, high) if low < high else (-1.0, 1.0)


def _outline(exhibit: DistributionExhibit, low: float, high: float) -> tuple[list[float], list[float]]:
    """A histogram as a density over bin centres, its peak at 1."""
    xs: list[float] = []
    ys: list[float] = []
    for left, right, count in zip(exhibit.edges, exhibit.edges[1:], exhibit.counts, strict=False):
        if right > left and right >= low and left <= high:
            xs.append((left + right) / 2)
            ys.append(count / (right - left))
    peak = max(ys, default=0.0) or 1.0
    return xs, [y / peak for y in ys]


def depth(shown: Sequence[DepthExhibit], prefix: str, label: str) -> Markup:
    """A figure per layer, input at the top, on a logarithmic axis; one line per checkpoint."""
    layers = shown[0].layers
    width, font = 400.0, 11.0
    row = 20.0 if len(layers) <= 40 else max(1.0, 800.0 / len(layers))
    names = 150.0
    total = max(120.0, row * len(layers)) + _AXIS + 26
    figure = Figure(figsize=(width / 72, total / 72), dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_axes((names / width, _AXIS / total, (width - names - 12) / width, (total - _AXIS - 26) / total))
    axes.set_xscale("log")
    roles = ("first", "middle", "last")[-len(shown) :] if len(shown) != 2 else ("first", "last")
    x = 0.0
    for exhibit, role in zip(shown, roles, strict=False):
        values = [math.nan if v is None or not drawable(v) or v <= 1e-200 else v for v in exhibit.values]
        axes.plot(
            values, range(len(values)), color=ROLES[role], linewidth=1.4, marker="o" if len(layers) <= 60 else None, markersize=4, markeredgewidth=0,
            linestyle=(0, (4, 2)) if role == "first" else "-",
        )  # fmt: skip
        text = one_line(exhibit.checkpoint, 18)
        axes.plot(
            [x, x + 0.07], [1 + 14 / (total - _AXIS - 26)] * 2, transform=axes.transAxes, clip_on=False, color=ROLES[role], linewidth=1.8,
            linestyle=(0, (4, 2)) if role == "first" else "-",
        )  # fmt: skip
        axes.text(x + 0.09, 1 + 10 / (total - _AXIS - 26), text, transform=axes.transAxes, fontsize=font, color=ROLES["ink"])
        x += 0.13 + len(text) * _EM * font / (width - names - 12)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    every = max(1, math.ceil(len(layers) / 40))
    axes.set_yticks(range(0, len(layers), every), [_middle(layers[i], 24) for i in range(0, len(layers), every)])
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(ROLES["muted"])
    axes.grid(color=ROLES["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", which="both", length=0, labelsize=font, labelcolor=ROLES["muted"])
    axes.tick_params(axis="y", labelcolor=ROLES["ink"])
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: number(v, 2)))
    return _svg(figure, prefix, label)


def _middle(name: str, limit: int) -> str:
    """A long name with its middle left out: both ends of a layer's name tell it apart."""
    flat = one_line(name)
    if len(flat) <= limit:
        return flat
    head = (limit - 1) // 3
    return f"{flat[:head]}…{flat[-(limit - 1 - head) :]}"


def _svg(figure: Figure, prefix: str, label: str) -> Markup:
    with mpl.rc_context(_RC):
        out = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return polish(out.getvalue(), prefix, label)
