"""A panel of curves as a Mermaid chart, which GitHub and GitLab draw in the text of an issue."""

import math
from collections.abc import Sequence

from postmortem.render.panels import Panel, drawable
from postmortem.render.sparkline import joined, stretches
from postmortem.render.words import listed, t

POINTS = 60
FEWEST = 8  # points of a curve that is worth a chart
COLOURS = {"train": "#2f7fc1", "only": "#2f7fc1", "val": "#d9691e", "test": "#9a5bb8"}  # seen on white and on black


def chart(panel: Panel, title: str, unit: str) -> str:
    """The newest curves of a panel over the steps that all of them have finite values for; "" when there is no such stretch.

    `title` and `unit` are words of ours, never a text of the run.
    """
    lines = [line for line in panel.lines if line.role in COLOURS and sum(map(drawable, line.curve.values)) >= FEWEST]
    if not lines or panel.scale == "symlog":
        return ""
    log = panel.scale == "log"
    ends = [[s for s, v in zip(line.curve.steps, line.curve.values, strict=False) if drawable(v) and (v > 0 or not log)] for line in lines]
    if not all(ends):
        return ""
    first, last = max(e[0] for e in ends), min(e[-1] for e in ends)
    if not first < last:
        return ""
    rows = [joined(stretches(line.curve, first, last, log=log, width=POINTS)) for line in lines]
    until = min((k for row in rows for k, v in enumerate(row) if v is not None and math.isnan(v)), default=POINTS)
    drawn = [(line, _whole(row[:until])) for line, row in zip(lines, rows, strict=True)]
    if until < FEWEST or not all(row for _, row in drawn):
        return ""
    order = list(reversed(drawn))
    colours = ",".join(COLOURS[line.role] for line, _ in order)
    colour = {"train": t("blue"), "only": t("blue"), "val": t("orange"), "test": t("violet")}
    what = listed(t("{what} ({how})", what=line.label, how=colour[line.role]) for line, _ in order if line.label)
    low, high = min(min(row) for _, row in drawn), max(max(row) for _, row in drawn)
    named = t("log10 of {title}", title=title) if log else title
    return "\n".join((
        f'%%{{init: {{"themeVariables": {{"xyChart": {{"plotColorPalette": "{colours}"}}}}}}}}%%',
        "xychart-beta",
        f'    title "{title}{t(": ")}{what}"' if what else f'    title "{title}"',
        f'    x-axis "{unit}" {first:.6g} --> {first + (last - first) * until / POINTS:.6g}',
        f'    y-axis "{named}" {low:.4g} --> {high if high > low else low + 1:.4g}',
        *(f"    line [{', '.join(f'{v:.4g}' for v in row)}]" for _, row in order),
    ))  # fmt: skip


def _whole(row: Sequence[float | None]) -> list[float]:
    """A row without holes at its ends; empty when nothing is left of it."""
    real = [v for v in row if v is not None]
    if not real:
        return []
    ahead = next(i for i, v in enumerate(row) if v is not None)
    return [real[0]] * ahead + [v if v is not None else real[-1] for v in row[ahead:]]
