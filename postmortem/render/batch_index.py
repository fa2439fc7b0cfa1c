"""The index of a batch: one self-contained page, quick with ten thousand runs, readable without JavaScript.

The rows travel as one block of JSON, a line per run without repeated words; the script shows a page of them at a time.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from postmortem.model.batch import Batch, Group, Row, RowStatus
from postmortem.model.diagnosis import Severity
from postmortem.model.sentence import say
from postmortem.render import batch_words, csp, language, templates
from postmortem.render.language import translated
from postmortem.render.words import one_line, severity_word, speak, t

GROUPS = 60  # with a heading of their own; the others are in the table
STATIC = 100  # rows that are there without JavaScript
CAUSES = 15  # in the overview
NAMED = 6  # runs of a group that are linked
_SUMMARY = 180  # characters
_REPORT = re.compile(r"reports/[A-Za-z0-9._=+-]{1,200}\.html")
_LEVELS = "0123456789abcdefghijklmnopqrstuv"
_SHOWN = say("{n} of {all} runs, page {page} of {pages}")
_SEVERITY = {"fatal": 3, "serious": 2, "minor": 1}


def render_index(batch: Batch, rows: Sequence[Row], group_of: Mapping[str, str], lang: str = "en") -> str:
    """The page. `rows` are those of the table, `group_of` a row's group by the row's name."""
    with language.speaking(lang):
        return _page(batch, rows, group_of)


def _page(batch: Batch, rows: Sequence[Row], group_of: Mapping[str, str]) -> str:
    style = templates.asset("report.css") + templates.asset("batch.css")
    script = templates.asset("batch.js")
    ordered = sorted(rows, key=_order)
    by_name = {row.name: row for row in rows}
    highest = max((n for _, _, n in batch.modes), default=1)
    return (
        templates.environment()
        .get_template("batch.html.j2")
        .render(
            b=batch,
            lang=language.current(),
            words=batch_words,
            policy=csp.policy(style, script),
            style=Markup(style),  # noqa: S704 - our own asset
            script=Markup(script),  # noqa: S704 - our own asset
            headline=speak(batch_words.headline(batch)),
            tally=batch_words.tally(batch),
            refused=batch_words.refusals(rows),
            modes=[(title, n, n / batch.runs, n / highest) for _, title, n in batch.modes],
            causes=batch.causes[:CAUSES],
            more_causes=max(0, len(batch.causes) - CAUSES),
            groups=[_group(n, g, by_name) for n, g in enumerate(batch.groups[:GROUPS])],
            more_groups=max(0, len(batch.groups) - GROUPS),
            rows=[_static(row) for row in ordered[:STATIC]],
            shown=len(rows),
            data=Markup(_embedded(_data(batch, ordered, group_of))),  # noqa: S704 - JSON without any "<"
        )
    )


def _order(row: Row) -> tuple[int, float, float, str]:
    """The worst and most costly first; what was not analysed after all others that are not healthy."""
    rank = _SEVERITY.get(row.severity or "", 0)
    kind = -rank if row.failed else 1 if row.mode == "inconclusive" else 2 if row.status is not RowStatus.ANALYSED else 3
    return (kind, -(row.gpu_hours_after_onset or row.hours_after_onset or 0.0), -(row.steps_after_onset or 0.0), row.name)


def _group(number: int, group: Group, rows: Mapping[str, Row]) -> dict[str, Any]:
    return {
        "g": group,
        "number": number,
        "title": batch_words.title(group),
        "because": batch_words.because(group),
        "tone": "none" if group.mode in tuple(RowStatus) or group.mode == "inconclusive" else _worst(group, rows),
        "runs": [(name, report(rows[name])) for name in group.runs[:NAMED] if name in rows],
        "more": max(0, len(group.runs) - NAMED),
        "layers": batch_words.layers_words(group),
        "contrasts": [batch_words.contrast(c, t("of them")) for c in group.contrasts],
        "reason": rows[group.runs[0]].reason if group.runs and group.runs[0] in rows else "",
    }


def _worst(group: Group, rows: Mapping[str, Row]) -> str:
    known = [rows[name].severity or "" for name in group.runs if name in rows]
    return max(known, key=lambda s: _SEVERITY.get(s, 0), default="") or "none"


def _static(row: Row) -> dict[str, Any]:
    return {
        "name": one_line(row.name, 120),
        "report": report(row),
        "what": row.title or batch_words.status_words(row),
        "cause": row.cause_title,
        "severity": row.severity if row.failed else None,
        "onset": row.onset,
        "cost": batch_words.row_cost(row),
        "curve": Markup(path(row.curve)),  # noqa: S704 - digits and letters made here
        "curve_name": row.curve_name,
        "summary": one_line(row.summary or row.reason, _SUMMARY),
    }


def report(row: Row) -> str:
    """Where a row's report is, relative to the index; "" where there is none, or the name is not one of ours."""
    return row.report if _REPORT.fullmatch(row.report) else ""


def path(curve: str) -> str:
    """The `d` of an SVG path in a box of 40 × 32: a line through the levels of a curve, a gap where it is not finite."""
    out: list[str] = []
    pen = "M"
    for x, level in enumerate(curve):
        y = _LEVELS.find(level)
        if y < 0:
            pen = "M"
        else:
            out.append(f"{pen}{x} {31 - y}")
            pen = "L"
    return "".join(out)


def _data(batch: Batch, rows: Sequence[Row], group_of: Mapping[str, str]) -> dict[str, Any]:
    words: dict[str, int] = {}

    def word(text: str) -> int:
        return words.setdefault(one_line(text, _SUMMARY), len(words))

    number = {group.id: n for n, group in enumerate(batch.groups)}
    listed = [
        [
            one_line(row.name, 200),
            word(row.title or batch_words.status_words(row)),
            word(row.cause_title),
            _SEVERITY.get(row.severity or "", 0) if row.failed else 0,
            _plain(row.confidence),
            _plain(row.onset),
            _plain(row.gpu_hours_after_onset),
            _plain(row.hours_after_onset),
            _plain(row.steps_after_onset),
            number.get(group_of.get(row.name, ""), -1),
            row.curve,
            report(row).removeprefix("reports/"),
            word(row.summary or row.reason),
            word(row.user),
            word(row.node),
            word(row.week),
            row.axis if row.axis in batch_words.AXES else "step",
        ]
        for row in rows
    ]
    groups = [one_line(": ".join(p for p in (batch_words.title(g), batch_words.because(g)) if p), 120) for g in batch.groups]
    return {"words": list(words), "groups": groups, "rows": listed, "labels": _labels()}


def _labels() -> dict[str, str]:
    """What the script says, its `{fields}` still to be filled."""
    return {
        "back": t("Back"),
        "on": t("On"),
        "filter": t("Filter"),
        "verdict": t("Verdict"),
        "group": t("Group"),
        "all": t("all"),
        "shown": translated(_SHOWN.template),
        "gpu": translated("{n} GPU-h"),
        **{axis: translated(words.template) for axis, words in batch_words.AXES.items()},
        **{severity.value: severity_word(severity) for severity in Severity},
    }


def _plain(value: float | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.4g}")


def _embedded(data: dict[str, Any]) -> str:
    """JSON that is safe inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
