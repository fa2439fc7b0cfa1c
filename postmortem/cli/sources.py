"""`postmortem sources`: what was found in a run and how it was understood."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from postmortem.cli.analyze import aliases
from postmortem.cli.text import plain
from postmortem.errors import UsageError
from postmortem.model.codec import encode
from postmortem.model.run import Run
from postmortem.redact import redact
from postmortem.sources import read_run
from postmortem.sources.archives import opened


def show_sources(runs: Sequence[str], alias: Sequence[str], *, as_json: bool) -> None:
    """Print files, series, settings and checkpoints of a run."""
    for text in runs:
        if not Path(text).exists():
            raise UsageError(f"there is no {text}")
    with ExitStack() as stack:
        places = [stack.enter_context(opened(Path(text))) for text in runs]
        refused = [source for place in places for source in place.skipped]
        run = redact(
            read_run([p.directory for p in places], name=places[0].name if len(places) == 1 else "", aliases=aliases(alias), refused=refused)
        )
    if as_json:
        print(json.dumps(as_data(run), indent=1, allow_nan=False))  # noqa: T201
        return
    console = Console(highlight=False)
    _print_sources(run, console)
    _print_series(run, console)


def as_data(run: Run) -> dict[str, Any]:
    """The same as JSON data."""
    return {
        "name": run.name,
        "axis": run.axis,
        "outcome": run.outcome,
        "steps_per_epoch": run.steps_per_epoch,
        "attempts": [encode(a) for a in run.attempts],
        "sources": [encode(s) for s in run.sources],
        "series": [
            {
                "name": s.name,
                "logged_as": s.logged_as,
                "source": s.source,
                "reduction": s.reduction.value,
                "points": len(s),
                "first_step": encode(float(s.steps[0])),
                "last_step": encode(float(s.steps[-1])),
                "first": encode(float(s.values[0])),
                "last": encode(float(s.values[-1])),
            }
            for s in run.series if len(s)
        ],
        "settings": [encode(s) for s in run.settings],
        "events": [{"kind": e.kind.value, "line": e.line, "source": e.source, "text": encode(e.text[:300])} for e in run.events],
        "checkpoints": [{"path": c.path, "format": c.format, "step": c.step, "epoch": c.epoch, "status": c.status.value, "tensors": len(c.tensors),
                         "optimizer": c.optimizer.kind if c.optimizer else None} for c in run.checkpoints],
    }  # fmt: skip


def _cell(value: object) -> Text:
    return Text(plain(str(value)))


def _print_sources(run: Run, console: Console) -> None:
    table = Table(title="Files", title_justify="left", box=None, pad_edge=False)
    for name in ("status", "reader", "file", "detail"):
        table.add_column(name, overflow="fold")
    for source in run.sources:
        table.add_row(source.status.value, source.reader or "-", _cell(source.path), _cell(source.detail or ""))
    console.print(table)


def _print_series(run: Run, console: Console) -> None:
    table = Table(title=f"Series (axis: {run.axis})", title_justify="left", box=None, pad_edge=False)
    for name in ("name", "logged as", "points", "steps", "first → last", "file"):
        table.add_column(name, overflow="fold")
    for s in run.series:
        if len(s):
            span, ends = f"{s.steps[0]:g}–{s.steps[-1]:g}", f"{s.values[0]:.4g} → {s.values[-1]:.4g}"
            table.add_row(_cell(s.name), _cell(s.logged_as), str(len(s)), span, ends, _cell(s.source))
    console.print(table)
