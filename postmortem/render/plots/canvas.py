"""What every picture is drawn on: matplotlib as it is shipped, text that stays text, names of values beside an axis, and the way out as SVG."""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from postmortem.render.svg import ROLES, polish

_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "postmortem",
    "path.simplify": True,
    "path.simplify_threshold": 0.2,
    "text.parse_math": False,
}
EM = 0.56  # a letter's mean width in units of the font size
AXIS = 40  # pixels under the axes for the names of values and what they count


@contextmanager
def defaults() -> Iterator[None]:
    """matplotlib as it is shipped, whatever the user's own settings are: the same bytes everywhere."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the reader's fonts count, not matplotlib's
        yield


def ticks_left(axes: Axes, values: Sequence[float], labels: Sequence[str], font: float, role: str, *, grid: bool) -> None:
    """Names of values, or of rows, beside an axis. Drawn by hand: matplotlib's tick objects take most of the time of a picture."""
    low, high = sorted(axes.get_ylim())
    shown = [(v, text) for v, text in zip(values, labels, strict=True) if low <= v <= high]
    beside = axes.get_yaxis_transform()
    if grid and shown:
        xs = [0.0, 1.0, math.nan] * len(shown)
        ys = [y for v, _ in shown for y in (v, v, math.nan)]
        axes.plot(xs, ys, transform=beside, color=ROLES["grid"], linewidth=0.8, zorder=0.5)
    for value, text in shown:
        axes.text(-7 / axes.bbox.width, value, text, transform=beside, fontsize=font, color=ROLES[role], ha="right", va="center_baseline")


def ticks_below(axes: Axes, values: Sequence[float], labels: Sequence[str], font: float, title: str = "", *, grid: bool = False) -> None:
    """Names of values under an axis, and what they count."""
    low, high = sorted(axes.get_xlim())
    shown = [(v, text) for v, text in zip(values, labels, strict=True) if low <= v <= high]
    below = axes.get_xaxis_transform()
    if grid and shown:
        xs = [x for v, _ in shown for x in (v, v, math.nan)]
        axes.plot(xs, [0.0, 1.0, math.nan] * len(shown), transform=below, color=ROLES["grid"], linewidth=0.8, zorder=0.5)
    for value, text in shown:
        axes.text(value, -7 / axes.bbox.height, text, transform=below, fontsize=font, color=ROLES["muted"], ha="center", va="top", gid="tick")
    if title:
        axes.text(0.5, -(font + 13) / axes.bbox.height, title, transform=axes.transAxes, fontsize=font, color=ROLES["muted"], ha="center", va="top")


def decades(low: float, high: float) -> list[float]:
    """Powers of ten between two limits; where there are fewer than two, twos and fives as well."""
    inside: list[float] = []
    for numbers in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        inside = [float(v) for v in LogLocator(subs=numbers, numticks=5).tick_values(low, high) if low <= v <= high]
        if len(inside) > 1:
            return inside
    return inside or [float(v) for v in MaxNLocator(3).tick_values(low, high) if low <= v <= high]


def svg(figure: Figure, prefix: str, label: str, **data: str) -> Markup:
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return polish(out.getvalue(), prefix, label, data)
