"""The files of a finished batch: table, summary, index. Each whole or not at all."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from postmortem.batch.files import replacing, write
from postmortem.batch.groups import group_id, signature, summarize
from postmortem.model.batch import Batch, Row
from postmortem.model.sentence import Sentence, Value
from postmortem.render.words import one_line

COLUMNS = (
    "name", "status", "reason", "mode", "cause", "severity", "confidence", "cause_confidence", "onset", "axis", "steps", "steps_after_onset",
    "hours_after_onset", "gpu_hours_after_onset", "outcome", "family", "framework", "exception", "frame", "layer", "node", "user", "image", "week",
    "report", "seconds", "summary", "refused",
)  # fmt: skip
SETTINGS = 30  # columns for hyper-parameters, those that most runs have
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "|", "%")


def write_outputs(directory: Path, rows: Sequence[Row], *, only_failed: bool, notes: Sequence[Sentence] = (), lang: str = "en") -> Batch:
    """Write `runs.csv`, `summary.md` and `index.html`, the last two in `lang`, and return what they say. Raises `OutputError`."""
    from postmortem.render.batch_index import render_index
    from postmortem.render.batch_summary import render_summary

    batch = summarize(rows, notes)
    shown = [row for row in rows if not (only_failed and row.good and not row.refused)]
    with replacing(directory / "runs.csv") as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="", write_through=True)
        _table(text, shown)
        text.flush()
        text.detach()
    write(directory / "summary.md", render_summary(batch, {row.name: row for row in shown}, lang))
    write(directory / "index.html", render_index(batch, shown, {row.name: group_id(signature(row)) for row in shown}, lang))
    return batch


def _table(file: io.TextIOWrapper, rows: Sequence[Row]) -> None:
    counts: dict[str, int] = {}
    for row in rows:
        for name in row.settings:
            counts[name] = counts.get(name, 0) + 1
    settings = sorted(sorted(counts, key=lambda n: (-counts[n], n))[:SETTINGS])
    out = csv.writer(file, lineterminator="\n")
    out.writerow([*COLUMNS, "group", *(cell(f"setting.{name}") for name in settings)])
    for row in rows:
        group = "" if row.good else group_id(signature(row))
        out.writerow([*(cell(getattr(row, name)) for name in COLUMNS), group, *(cell(row.settings.get(name)) for name in settings)])


def cell(value: Value) -> str | int | float | None:
    """A value as a spreadsheet may see it: text that would be taken for a formula or a command gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = one_line(str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or value.startswith(_FORMULA) else text
