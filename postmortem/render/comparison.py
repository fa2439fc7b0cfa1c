"""A comparison of runs: as an HTML page in the look of the report, as Markdown, and in a terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from postmortem.model.comparison import Comparison, LayerDifference, Parting, RunDifference, SettingDifference, results
from postmortem.model.exhibits import Mark
from postmortem.model.sentence import Sentence, say
from postmortem.render import csp, describe, language, plots, templates
from postmortem.render.figures import number, percent, plain, step
from postmortem.render.markdown import code, escape, say_inline
from postmortem.render.panels import Lettered, Line, Panel, curve_scale, panel_title
from postmortem.render.story import unit
from postmortem.render.words import one_line, severity_text, speak, t

if TYPE_CHECKING:
    from rich.console import Console

ROLES = ("train", "val", "test", "bad", "crash", "first")  # blue, orange, violet, red, black, grey; then again, dashed
FEW = 4  # runs up to which each is named in the picture; beyond, its letter stands there
MOST_PANELS = 12


def render_html(comparison: Comparison, lang: str = "en") -> str:
    """The page. The same comparison and language give the same bytes."""
    with language.speaking(lang):
        style, script = templates.asset("report.css"), templates.asset("report.js") + templates.asset("curves.js")
        return (
            templates.environment()
            .get_template("compare.html.j2")
            .render(
                c=comparison,
                lang=language.current(),
                policy=csp.policy(style, script),
                style=Markup(style),  # noqa: S704 - our own asset
                script=Markup(script),  # noqa: S704 - our own asset
                **parts(comparison),
            )
        )


def parts(comparison: Comparison) -> Mapping[str, Any]:
    """What the templates of a comparison show, also where it is a section of a report."""
    shown, word = panels(comparison), unit_word(comparison.axis)
    letters = _marks(comparison)
    sentences = tuple(s for p in shown for s in describe.panel(p))
    label = t("Curves against {unit}. ", unit=word) + " ".join(speak(s) for s in sentences)
    frames = ((plots.WIDE, "cmpw"), (plots.NARROW, "cmpn")) if shown else ()
    return {
        "compared": comparison,
        "charts_compared": [plots.curves(shown, (), letters, unit=word, frame=frame, prefix=prefix, label=label) for frame, prefix in frames],
        "letters_compared": letters,
        "sentences_compared": sentences,
        "names": names(comparison),
        "unit_compared": word,
        "differences": differences(comparison),
    }


def differences(comparison: Comparison) -> list["Difference"]:
    """Every run but the first against the first."""
    return [Difference(comparison, d) for d in comparison.differences]


class Difference:
    """One run against the good one, as rows of tables."""

    def __init__(self, comparison: Comparison, difference: RunDifference) -> None:
        self.difference = difference
        self.name = names(comparison)[difference.run]
        self.axis = comparison.axis

    def settings(self) -> list[tuple[str, str, str, str]]:
        """(key, value in the good run, value in this run, what kind of setting)."""
        return [(s.key, _stated(s, "good"), _stated(s, "bad"), kind_word(s.kind)) for s in self.difference.settings]

    def curves(self) -> list[tuple[str, str, str, str, str, str]]:
        """(curve, where it parts, good, this, how much of the rest is apart, better or worse)."""
        return [self._curve(p) for p in self.difference.partings]

    def _curve(self, p: Parting) -> tuple[str, str, str, str, str, str]:
        if p.at is None:
            return p.curve, t("equal") if p.equal else t("together"), number(p.good), number(p.bad), "–", ""
        better = "" if p.worse is None else t("worse") if p.worse else t("better")
        return p.curve, at(p.at, self.axis), number(p.good), number(p.bad), percent(p.apart), better

    def layers(self) -> list[tuple[str, ...]]:
        """(tensor, quantity, from which checkpoint on, good, this, ratio, distance, distance of the values)."""
        return [self.layer(d) for d in self.difference.layers]

    def layer(self, d: LayerDifference) -> tuple[str, ...]:
        """A row of the table of tensors."""
        name = d.name if d.other == d.name else f"{d.name} / {d.other}"
        what = t("weights") if d.quantity == "weights" else t("gradient")
        usable = math.isfinite(d.good) and math.isfinite(d.bad) and d.good > 0
        ratio = f"{number(d.bad / d.good, 3)} ×" if usable else "–"
        apart = "–" if d.values is None else number(d.values, 3)
        return name, what, at(d.from_, self.axis), number(d.good, 3), number(d.bad, 3), ratio, number(d.distance, 3), apart


def names(comparison: Comparison) -> list[str]:
    """Names of the runs with a letter each: several may be named alike. Further good runs are marked."""
    marks = [t(" (good)") if 0 < i < comparison.good else "" for i in range(len(comparison.runs))]
    return [f"{chr(65 + i)} {run.name}{mark}" for i, (run, mark) in enumerate(zip(comparison.runs, marks, strict=True))]


def unit_word(axis: str) -> str:
    """What the axis counts."""
    return {"tokens": t("token"), "time": t("hour")}.get(axis) or unit(axis)


def at(place: float | None, axis: str) -> str:
    """A place on the axis in words."""
    return "–" if place is None else t("{unit} {n}", unit=unit_word(axis), n=step(place))


def kind_word(kind: str) -> str:
    """What kind of setting differs."""
    return {"hyper-parameter": t("hyper-parameter"), "environment": t("environment")}.get(kind, t("other setting"))


def _stated(setting: SettingDifference, side: str) -> str:
    return t("not stated") if setting.missing == side else plain(setting.good if side == "good" else setting.bad)


def panels(comparison: Comparison) -> tuple[Panel, ...]:
    """One panel per curve, one line per run, the good one on top."""
    labels, few = names(comparison), len(comparison.runs) <= FEW
    out = []
    for shown in comparison.curves[:MOST_PANELS]:
        lines = [
            Line(c, ROLES[i % len(ROLES)], one_line(labels[i], 28) if few else labels[i][:1], i // len(ROLES) % len(plots.DASHES))
            for i, c in enumerate(shown.curves)
            if c.steps
        ]
        key = shown.name.rpartition("/")[2]
        split = shown.name.rpartition("/")[0]
        words = {"train": t("train"), "val": t("validation"), "test": t("test")}
        title = shown.name if split and split not in words else panel_title(key)
        if split in words:
            title = t("{title} ({split})", title=title, split=words[split])
        out.append(Panel(key, title, tuple(reversed(lines)), curve_scale(key, [line.curve for line in lines])))
    return tuple(out)


def _marks(comparison: Comparison) -> tuple[Lettered, ...]:
    """Where each run parts, with the letter of the run, in order of place."""
    out = []
    for d in comparison.differences:
        first = next((p for p in results(d.partings) if p.at is not None), None)
        if first is not None and first.at is not None:
            out.append(
                Lettered(chr(65 + d.run), Mark(first.at, "parts", say("{name} parts ({curve})", name=names(comparison)[d.run], curve=first.curve)))
            )
    return tuple(sorted(out, key=lambda item: item.mark.step))


def verdict_of(comparison: Comparison, i: int) -> Sentence:
    """The verdict of one run in a line."""
    run = comparison.runs[i]
    return run.title if run.cause_title is None else say("{mode}: {cause}", mode=run.title, cause=run.cause_title)


def render_markdown(comparison: Comparison, lang: str = "en") -> str:
    """GitHub-flavoured Markdown for the text of an issue."""
    with language.speaking(lang):
        return "\n\n".join(_markdown(comparison)) + "\n"


def _markdown(comparison: Comparison) -> list[str]:
    out = [f"## {t('Comparison of {n} runs', n=len(comparison.runs))}"]
    out += [f"**{escape(d.name)}**: {say_inline(d.difference.summary)}" for d in differences(comparison)]
    rows = [
        (
            escape(name),
            say_inline(verdict_of(comparison, i)),
            severity_text(run.severity),
            at(run.first, comparison.axis),
            at(run.last, comparison.axis),
        )
        for i, (name, run) in enumerate(zip(names(comparison), comparison.runs, strict=True))
    ]
    out.append(_table((t("Run"), t("Verdict"), t("Severity"), t("From"), t("To")), rows))
    for d in differences(comparison):
        out.append(f"### {escape(d.name)}")
        out += section(d)
    out += [say_inline(r) for r in comparison.remarks]
    return out


def section(d: Difference) -> list[str]:
    """The tables of one difference in Markdown."""
    out = []
    if d.difference.settings:
        out.append(
            _table((t("Setting"), "A", d.name[:1], t("Kind")), [(code(k, table=True), escape(a), escape(b), w) for k, a, b, w in d.settings()])
        )
    if d.difference.partings:
        out.append(
            _table(
                (t("Curve"), t("Parts at"), "A", d.name[:1], t("Apart from there on"), t("Better or worse")),
                [tuple(map(escape, row)) for row in d.curves()[:20]],
            )
        )
    if d.difference.layers:
        rows = [(code(row[0], table=True), *map(escape, row[1:])) for row in d.layers()]
        heads = (t("Tensor"), t("Quantity"), t("From"), "A", d.name[:1], t("Ratio"), t("Distance"), t("Values apart"))
        out.append(_table(heads, rows))
    out += [say_inline(r) for r in d.difference.remarks]
    return out


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def render_terminal(comparison: Comparison, console: "Console") -> None:
    """What a colleague would say, and the verdict of each run."""
    from rich.text import Text  # not above: the report imports this module for its section, and rich is only for terminals

    shown = names(comparison)
    for i, run in enumerate(comparison.runs):
        severity = t(" [{severity}]", severity=severity_text(run.severity)) if run.severity else ""
        console.print(Text.assemble((f"{one_line(shown[i], 60)}  ", "bold"), one_line(speak(verdict_of(comparison, i)), 200), severity))
    for d in comparison.differences:
        console.print(Text.assemble((f"\n{one_line(shown[d.run], 60)}: ", "bold"), one_line(speak(d.summary), 600)))
        for layer in d.layers[:1]:
            row = Difference(comparison, d).layer(layer)
            told = dict(zip(("name", "quantity", "place", "good", "bad"), row, strict=False))
            console.print(Text(one_line(t("Largest difference: {name}, {quantity}, from {place} on ({good} against {bad})", **told), 300)))
        for remark in d.remarks:
            console.print(Text(speak(remark), "dim"))
    for remark in comparison.remarks:
        console.print(Text(speak(remark), "dim"))
