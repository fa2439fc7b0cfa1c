"""Text alternatives of pictures, generated from what the pictures are drawn from."""

import math
from collections.abc import Sequence

from postmortem.model.exhibits import CurveExhibit, DepthExhibit, DistributionExhibit
from postmortem.model.sentence import Sentence, say
from postmortem.render.figures import number
from postmortem.render.panels import Line, Panel, gaps
from postmortem.render.words import t


def curve(name: str, exhibit: CurveExhibit) -> Sentence:
    """Start, lowest, highest, end and the holes of a curve in one sentence."""
    finite = [(s, v) for s, v in zip(exhibit.steps, exhibit.values, strict=False) if math.isfinite(v)]
    holes = gaps(exhibit)
    if not finite:
        return say("{name}: none of {n} values is finite.", name=name, n=exhibit.points)
    low, high = min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])
    facts = {
        "name": name,
        "first": number(finite[0][1], 3),
        "low": number(low[1], 3),
        "low_at": number(low[0], 6),
        "high": number(high[1], 3),
        "high_at": number(high[0], 6),
        "last": number(finite[-1][1], 3),
        "last_at": number(finite[-1][0], 6),
    }
    if holes:
        return say(
            "{name}: starts at {first}, lowest {low} at {low_at}, highest {high} at {high_at}, last finite value {last} at {last_at}; "
            "{kind} first at {hole}.",
            **facts,
            kind=holes[0][2],
            hole=number(holes[0][0], 6),
        )
    return say("{name}: starts at {first}, lowest {low} at {low_at}, highest {high} at {high_at}, ends at {last}.", **facts)


def panel(shown: Panel) -> tuple[Sentence, ...]:
    """One sentence per curve of a panel."""
    return tuple(curve(_name(shown, line), line.curve) for line in reversed(shown.lines))


def _name(shown: Panel, line: Line) -> str:
    return t("{title}, {label}", title=shown.title, label=line.label) if line.label else shown.title


def distributions(layers: Sequence[tuple[str, tuple[DistributionExhibit, ...]]]) -> Sentence:
    """How the widths of the distributions differ."""
    widths = [(name, _spread(shown[-1])) for name, shown in layers]
    low, high = min(widths, key=lambda w: w[1]), max(widths, key=lambda w: w[1])
    return say(
        "Distributions of {n} layers; narrowest in {a} (standard deviation about {low}), widest in {b} (about {high}).",
        n=len(layers),
        a=low[0],
        low=number(low[1], 2),
        b=high[0],
        high=number(high[1], 2),
    )


def _spread(exhibit: DistributionExhibit) -> float:
    """Standard deviation of a histogram, from its bin centres."""
    whole = sum(exhibit.counts)
    if not whole:
        return 0.0
    centres = [(a + b) / 2 for a, b in zip(exhibit.edges, exhibit.edges[1:], strict=False)]
    mean = sum(c * n for c, n in zip(centres, exhibit.counts, strict=False)) / whole
    return math.sqrt(sum((c - mean) ** 2 * n for c, n in zip(centres, exhibit.counts, strict=False)) / whole)


def depth(shown: Sequence[DepthExhibit]) -> Sentence:
    """The first layer against the last one."""
    last = shown[-1]
    finite = [v for v in last.values if v is not None and math.isfinite(v)]
    if not finite:
        return say("{n} layers, none with a finite value.", n=len(last.layers))
    return say(
        "{n} layers from input to output: {first} in the first measured layer, {last} in the last one, smallest {low}, largest {high} "
        "(checkpoint {at}).",
        n=len(last.layers),
        first=number(finite[0], 2),
        last=number(finite[-1], 2),
        low=number(min(finite), 2),
        high=number(max(finite), 2),
        at=last.checkpoint,
    )
