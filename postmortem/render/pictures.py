"""The pictures of a page with their captions: what is drawn, how often, and what is said for those who do not see it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from markupsafe import Markup

from postmortem.model.diagnosis import Diagnosis
from postmortem.model.exhibits import DepthExhibit, DistributionExhibit, HeatmapExhibit
from postmortem.model.sentence import Sentence
from postmortem.render import describe, plots
from postmortem.render.heatmap import heatmap
from postmortem.render.panels import Lettered, Panel, drawable, gaps, lettered, panels, telling
from postmortem.render.story import unit
from postmortem.render.words import speak, t

T = TypeVar("T")
RIDGES = 24  # layers in a ridgeline plot
DEPTH_HEIGHT = 800.0  # pixels for the layers of a picture over depth
HERO_HEIGHT = 260.0  # pixels for the layers of a picture over depth in the first screen
HERO_MARKS = frozenset({"onset", "crash", "resume"})
MOST_OTHERS = 40  # panels of curves outside of the vocabulary


@dataclass(frozen=True, slots=True)
class Chart:
    """A stack of panels in two widths."""

    wide: Markup
    narrow: Markup
    sentences: tuple[Sentence, ...]
    folded: bool
    caption: str


@dataclass(frozen=True, slots=True)
class Picture:
    title: str
    meaning: str
    svg: Markup


def pictures(diagnosis: Diagnosis) -> Mapping[str, Any]:
    """What the templates show: hero, charts, letters, heatmaps, ridges, depths."""
    shown, axis = diagnosis.exhibits, diagnosis.run.axis
    main, rest = panels(shown)
    letters = lettered(shown.marks)
    charts = []
    for panels_, folded in ((main, False), (rest[:MOST_OTHERS], bool(main))):
        if panels_:
            sentences = tuple(s for p in panels_ for s in describe.panel(p))
            label = t("Curves against {unit}. ", unit=unit(axis)) + " ".join(speak(s) for s in sentences)
            prefix = "o" if folded else "c"
            caption = t("Other curves ({n})", n=len(rest)) if folded else ""
            wide = plots.curves(panels_, shown.marks, letters, unit=axis, frame=plots.WIDE, prefix=f"{prefix}w", label=label)
            narrow = plots.curves(panels_, shown.marks, letters, unit=axis, frame=plots.NARROW, prefix=f"{prefix}n", label=label)
            charts.append(Chart(wide, narrow, sentences, folded, caption))
    return {
        "hero": _hero(diagnosis, main, letters),
        "charts": charts,
        "letters": letters,
        "has_checkpoints": any(m.kind == "checkpoint" for m in shown.marks),
        "heatmaps": [heatmap(h) for h in _worth_showing(shown.heatmaps)],
        "ridges": _ridges(shown.distributions),
        "depths": _depths(shown.depths),
    }


def _hero(diagnosis: Diagnosis, main: Sequence[Panel], letters: Sequence[Lettered]) -> Picture | None:
    """The one picture of the first screen: the panel that shows the verdict, or gradients over depth where no curve does."""
    depths = _by_depth(diagnosis.exhibits.depths, "gradient-rms")
    if diagnosis.verdict.mode == "vanishing-gradients" and depths:
        return _depth(depths, "hero", HERO_HEIGHT)
    key = telling(diagnosis, main)
    if key is None or all(sum(map(drawable, line.curve.values)) < 2 and not gaps(line.curve) for line in key.lines):
        return None
    label = " ".join(speak(s) for s in describe.panel(key))
    chief = [item for item in letters if item.mark.kind in HERO_MARKS]
    drawn = plots.curves((key,), diagnosis.exhibits.marks, chief, unit=diagnosis.run.axis, frame=plots.HERO, prefix="hero", label=label)
    return Picture(key.title, "", drawn)


def _worth_showing(shown: Sequence[HeatmapExhibit]) -> list[HeatmapExhibit]:
    """Heat maps with something in them; that of the spread only where it says something else than that of the size."""
    size = next((h for h in shown if h.quantity == "rms"), None)
    return [h for h in shown if h.layers and h.columns and not (h.quantity == "std" and size is not None and _alike(h, size))]


def _alike(one: HeatmapExhibit, other: HeatmapExhibit) -> bool:
    """Whether two heat maps agree within 5% in every cell."""
    pairs = [(a, b) for row, beside in zip(one.values, other.values, strict=False) for a, b in zip(row, beside, strict=False)]
    return one.layers == other.layers and one.columns == other.columns and all(
        (a is None) == (b is None) and (a is None or b is None or a == b or abs(a - b) <= 0.05 * abs(b) or (math.isnan(a) and math.isnan(b)))
        for a, b in pairs
    )  # fmt: skip


def _ridges(shown: Sequence[DistributionExhibit]) -> list[Picture]:
    out = []
    titles = {"weight": t("Distribution of weights"), "gradient": t("Distribution of gradients")}
    for k, quantity in enumerate(dict.fromkeys(d.quantity for d in shown)):
        layers: dict[str, list[DistributionExhibit]] = {}
        for d in shown:
            if d.quantity == quantity and d.counts and sum(d.counts) > 0:
                layers.setdefault(d.layer, []).append(d)
        ends = [(name, (ds[0], ds[-1]) if len(ds) > 1 else (ds[0],)) for name, ds in layers.items()]
        some = spread(ends, RIDGES)
        if not some:
            continue
        first, last = some[0][1][0].checkpoint, some[0][1][-1].checkpoint
        meaning = (
            t("Checkpoint {last} filled, {first} as an outline.", first=first, last=last) if first != last else t("Checkpoint {last}.", last=last)
        )
        if len(some) < len(ends):
            meaning = t("{meaning} {n} of {m} layers, evenly chosen.", meaning=meaning, n=len(some), m=len(ends))
        label = speak(describe.distributions(some))
        out.append(Picture(titles.get(quantity, quantity), meaning, plots.distributions(some, f"r{k}", label)))
    return out


def _depths(shown: Sequence[DepthExhibit]) -> list[Picture]:
    found = [(k, _by_depth(shown, quantity)) for k, quantity in enumerate(dict.fromkeys(d.quantity for d in shown))]
    return [_depth(chosen, f"d{k}", DEPTH_HEIGHT) for k, chosen in found if chosen]


def _depth(chosen: Sequence[DepthExhibit], prefix: str, tallest: float) -> Picture:
    titles = {"gradient-rms": t("Gradients from input to output"), "relative-change": t("Change of weights from input to output")}
    meanings = {
        "gradient-rms": t("Root mean square of the gradient of each layer"),
        "relative-change": t("Norm of the change over the norm of the weights, per layer"),
    }
    newest = chosen[-1]
    what = meanings.get(newest.quantity, newest.quantity)
    meaning = t("{what}, input at the top; from {source}. A line per checkpoint.", what=what, source=newest.source or t("checkpoints"))
    drawn = plots.depth(chosen, prefix, speak(describe.depth(chosen)), tallest=tallest)
    return Picture(titles.get(newest.quantity, newest.quantity), meaning, drawn)


def _by_depth(shown: Sequence[DepthExhibit], quantity: str) -> list[DepthExhibit]:
    """The first, the middle and the last checkpoint of a quantity, of those that have the newest one's layers."""
    some = [d for d in shown if d.quantity == quantity and d.layers]
    same = [d for d in some if d.layers == some[-1].layers]
    return [same[0], same[len(same) // 2], same[-1]] if len(same) > 2 else same


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly chosen, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
