"""Pictures, drawn with matplotlib's SVG backend: curves on a shared step axis, distributions, figures over depth.

The only importer of matplotlib, and only of `matplotlib.figure`: no pyplot, no state. Text stays text, colours are the
stand-ins of `svg.ROLES`, the same exhibits give the same bytes.
"""

from postmortem.render.plots.by_layer import depth, distributions
from postmortem.render.plots.over_steps import DASHES, HERO, NARROW, WIDE, Frame, curves

__all__ = ["DASHES", "HERO", "NARROW", "WIDE", "Frame", "curves", "depth", "distributions"]
