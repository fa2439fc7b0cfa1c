"""The pictures of a page with their captions: what is drawn, how often, and what is said for those who do not see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from markupsafe import Markup

from postmortem.model.diagnosis import Diagnosis
from postmortem.model.exhibits import DepthExhibit, DistributionExhibit
from postmortem.model.sentence import Sentence
from postmortem.render import describe, plots
from postmortem.render.heatmap import heatmap
from postmortem.render.panels import Panel, lettered, panels
from postmortem.render.story import unit
from postmortem.render.words import speak, t

T = TypeVar("T")
RIDGES = 24  # layers in a ridgeline plot
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
    key = _telling(diagnosis, main)
    hero = None
    if key is not None:
        label = " ".join(speak(s) for s in describe.panel(key))
        chief = [item for item in letters if item.mark.kind in HERO_MARKS]
        hero = plots.curves((key,), shown.marks, chief, unit=axis, frame=plots.HERO, prefix="hero", label=label)
    return {
        "hero": hero,
        "charts": charts,
        "letters": letters,
        "has_checkpoints": any(m.kind == "checkpoint" for m in shown.marks),
        "heatmaps": [heatmap(h) for h in shown.heatmaps if h.layers and h.columns],
        "ridges": _ridges(shown.distributions),
        "depths": _depths(shown.depths),
    }


def _telling(diagnosis: Diagnosis, main: Sequence[Panel]) -> Panel | None:
    """The panel that shows the verdict best."""
    finding = diagnosis.finding(diagnosis.verdict.mode)
    for name in finding.show if finding else ():
        for panel in main:
            if any(line.curve.name == name for line in panel.lines):
                return panel
    return main[0] if main else None


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
    out = []
    titles = {"gradient-rms": t("Gradients from input to output"), "relative-change": t("Change of weights from input to output")}
    meanings = {
        "gradient-rms": t("Root mean square of the gradient of each layer"),
        "relative-change": t("Norm of the change over the norm of the weights, per layer"),
    }
    for k, quantity in enumerate(dict.fromkeys(d.quantity for d in shown)):
        some = [d for d in shown if d.quantity == quantity and d.layers]
        same = [d for d in some if d.layers == some[-1].layers]
        if same:
            chosen = [same[0], same[len(same) // 2], same[-1]] if len(same) > 2 else same
            meaning = t(
                "{what}, input at the top; from {source}.", what=meanings.get(quantity, quantity), source=chosen[-1].source or t("checkpoints")
            )
            label = speak(describe.depth(chosen))
            out.append(Picture(titles.get(quantity, quantity), meaning, plots.depth(chosen, f"d{k}", label)))
    return out


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly chosen, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
