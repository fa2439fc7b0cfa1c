"""Which curve is drawn where: panels on one shared step axis, their scale, and the marks with their letters."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from postmortem.model.diagnosis import Diagnosis
from postmortem.model.exhibits import CurveExhibit, Exhibits, Level, Mark
from postmortem.render.words import t

DRAWABLE = 1e100  # larger values are drawn as if they were infinite
TINY = 1e-100
DECADES = 100.0  # highest / lowest from which on a logarithmic scale shows more
MARK_LETTERS = 12
SPLITS = ("train", "val", "test")
LETTERED = ("onset", "crash", "visible", "resume", "best-validation", "turn", "gap", "bad-checkpoint", "lr-phase", "spike")  # most telling first

# What is worth a panel of its own, in reading order; the last word of a curve's name decides.
_PANELS = (
    "loss",
    "accuracy",
    "error",
    "perplexity",
    "score",
    "f1",
    "auc",
    "mae",
    "mse",
    "reward",
    "lr",
    "grad_norm",
    "loss_scale",
    "throughput",
    "step_time",
    "data_time",
)
_LINEAR = frozenset({"accuracy", "lr", "score", "f1", "auc", "throughput"})
_TALL = frozenset({"loss"})


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a panel. `role` is its class: train, val, test, only, or earlier for another attempt. `dash` is a place in `plots.DASHES`."""

    curve: CurveExhibit
    role: str
    label: str
    dash: int = 0


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of the stack."""

    key: str
    title: str
    lines: tuple[Line, ...]
    scale: str  # linear, log, symlog
    levels: tuple[Level, ...] = ()

    @property
    def tall(self) -> bool:
        """Whether it deserves more height."""
        return self.key in _TALL


@dataclass(frozen=True, slots=True)
class Lettered:
    """A mark with the letter that stands in the plot and in the legend."""

    letter: str
    mark: Mark


def panels(exhibits: Exhibits) -> tuple[tuple[Panel, ...], tuple[Panel, ...]]:
    """The main panels, and those of curves outside of the vocabulary. What was logged once has no course, and no panel."""
    newest = max((c.attempt for c in exhibits.curves), default=0)
    groups: dict[str, list[CurveExhibit]] = {}
    for curve in exhibits.curves:
        if curve.steps:
            split, _, quantity = curve.name.rpartition("/")
            known = quantity in _PANELS and split in ("", *SPLITS)
            groups.setdefault(quantity if known else curve.name, []).append(curve)
    order = [*(key for key in _PANELS if key in groups), *sorted(key for key in groups if key not in _PANELS)]
    made = [_panel(key, groups[key], newest, exhibits.levels) for key in order if any(len(c.steps) > 1 for c in groups[key])]
    return tuple(p for p in made if p.key in _PANELS), tuple(p for p in made if p.key not in _PANELS)


def telling(diagnosis: Diagnosis, main: Sequence[Panel]) -> Panel | None:
    """The panel that shows the verdict best."""
    finding = diagnosis.finding(diagnosis.verdict.mode)
    for name in finding.show if finding else ():
        for panel in main:
            if any(line.curve.name == name for line in panel.lines):
                return panel
    return main[0] if main else None


def _panel(key: str, curves: Sequence[CurveExhibit], newest: int, levels: Iterable[Level]) -> Panel:
    ranked = sorted(curves, key=lambda c: (c.attempt == newest, -_rank(c.name)))
    lines = tuple(Line(c, role := _role(c, newest), _label(c, newest), int(role == "val")) for c in ranked)
    names = {c.name for c in curves}
    return Panel(key, panel_title(key), lines, curve_scale(key, curves), _levels(levels, names))


def _levels(levels: Iterable[Level], names: Iterable[str]) -> tuple[Level, ...]:
    """The horizontal lines of some curves, each once."""
    known = set(names)
    return tuple({(level.value, level.label): level for level in levels if level.curve in known}.values())


def _rank(name: str) -> int:
    split = name.rpartition("/")[0]
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def _role(curve: CurveExhibit, newest: int) -> str:
    if curve.attempt != newest:
        return "earlier"
    split = curve.name.rpartition("/")[0]
    return split if split in SPLITS else "only"


def _label(curve: CurveExhibit, newest: int) -> str:
    split = curve.name.rpartition("/")[0]
    words = {"train": t("train"), "val": t("validation"), "test": t("test")}.get(split, "")
    if curve.attempt != newest:
        return t("{name} (attempt {n})", name=words, n=curve.attempt + 1).strip()
    return words


def panel_title(key: str) -> str:
    """The title of a panel, by the last word of its curves' names."""
    known = {
        "loss": t("Loss"),
        "accuracy": t("Accuracy"),
        "error": t("Error rate"),
        "perplexity": t("Perplexity"),
        "lr": t("Learning rate"),
        "grad_norm": t("Gradient norm"),
        "loss_scale": t("Loss scale"),
        "throughput": t("Throughput"),
        "step_time": t("Time per step"),
        "data_time": t("Time waiting for data"),
        "score": t("Score"),
        "reward": t("Reward"),
    }
    return known.get(key) or key.removeprefix("other/")


def curve_scale(key: str, curves: Iterable[CurveExhibit]) -> str:
    """The scale on which curves show most: linear, log or symlog."""
    values = [v for c in curves for v in c.values if drawable(v)]
    if not values or key in _LINEAR:
        return "linear"
    low, high = min(values), max(values)
    if low > 0:
        return "log" if high / max(low, TINY) >= DECADES else "linear"
    typical = median(abs(v) for v in values)
    return "symlog" if max(high, -low) > 1e4 * max(typical, TINY) or max(high, -low) > 1e30 else "linear"


def drawable(value: float) -> bool:
    """Whether a value has a place on an axis."""
    return math.isfinite(value) and abs(value) < DRAWABLE


def lettered(marks: Iterable[Mark]) -> tuple[Lettered, ...]:
    """The marks that get a letter, in order of step: the most telling ones, each step and kind once."""
    wanted: dict[tuple[str, float], Mark] = {}
    for mark in marks:
        if mark.kind in LETTERED and math.isfinite(mark.step):
            wanted.setdefault((mark.kind, mark.step), mark)
    chosen = sorted(wanted.values(), key=lambda m: (LETTERED.index(m.kind), m.step))[:MARK_LETTERS]
    return tuple(Lettered(chr(65 + i), m) for i, m in enumerate(sorted(chosen, key=lambda m: (m.step, LETTERED.index(m.kind)))))


def mark_word(kind: str) -> str:
    """What a mark stands for, short enough for a plot."""
    return {
        "onset": t("onset"),
        "visible": t("visible"),
        "spike": t("spike"),
        "resume": t("resumed"),
        "checkpoint": t("checkpoint"),
        "bad-checkpoint": t("bad checkpoint"),
        "best-validation": t("best validation"),
        "turn": t("turn"),
        "gap": t("gap opens"),
        "crash": t("died"),
        "parts": t("parts"),
        "lr-phase": t("learning rate"),
    }.get(kind, kind)


def gaps(curve: CurveExhibit) -> tuple[tuple[float, float, str], ...]:
    """Stretches of points that are not finite: (first step, last step, "NaN" | "inf" | "NaN/inf")."""
    out: list[tuple[float, float, str]] = []
    kinds: set[str] = set()
    start = end = 0.0
    for step, value in zip(curve.steps, curve.values, strict=False):
        if drawable(value):
            if kinds:
                out.append((start, end, "/".join(sorted(kinds))))
                kinds = set()
            continue
        start = start if kinds else step
        end = step
        kinds.add("NaN" if math.isnan(value) else "inf")
    if kinds:
        out.append((start, end, "/".join(sorted(kinds))))
    return tuple(out)
