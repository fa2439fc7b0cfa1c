"""`postmortem sources`: what was found in a run and how it was understood."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
from postmortem.model.run import Run, Source
from postmortem.redact import redact
from postmortem.sources import read_run
from postmortem.sources.archives import opened
from postmortem.stated import listed, stated_beside
from postmortem.supervision import doing

_FOLDED = 12  # files of one directory that take one row
_UNBROKEN = 100_000  # columns, where the output is no terminal


def show_sources(runs: Sequence[str], alias: Sequence[str], *, as_json: bool) -> None:
    """Print files, series, what was left out of them, and checkpoints of a run."""
    for text in runs:
        if not Path(text).exists():
            raise UsageError(f"there is no {text}")
    named = aliases(alias)
    with ExitStack() as stack:
        places = [stack.enter_context(opened(Path(text))) for text in runs]
        refused = [source for place in places for source in place.skipped]
        stated, own = stated_beside([p.directory for p in places])
        run = redact(
            read_run(
                [p.directory for p in places],
                name=places[0].name if len(places) == 1 else "",
                aliases={**stated.aliases, **named},
                refused=refused,
                progress=lambda what, _: doing(what),
            )
        )
        run = listed(run, own)
    known = {s.logged_as for attempt in (run, *run.earlier) for s in attempt.series} | {s.logged_as for s in run.left_out}
    for key in named.keys() - known:
        sys.stderr.write(f"postmortem: no series is logged as {key!r}\n")
    if as_json:
        print(json.dumps(as_data(run), indent=1, allow_nan=False))  # noqa: T201
        return
    terminal = sys.stdout.isatty()
    _print(run, Console(highlight=False, width=None if terminal else _UNBROKEN))


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
        "left_out": [encode(s) for s in run.left_out],
        "settings": [encode(s) for s in run.settings],
        "events": [{"kind": e.kind.value, "line": e.line, "source": e.source, "text": encode(e.text[:300])} for e in run.events],
        "checkpoints": [{"path": c.path, "format": c.format, "step": c.step, "epoch": c.epoch, "status": c.status.value, "tensors": len(c.tensors),
                         "optimizer": c.optimizer.kind if c.optimizer else None} for c in run.checkpoints],
    }  # fmt: skip


def _cell(value: object) -> Text:
    return Text(plain(str(value)))


def _table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table, nothing where it has no rows. A line is broken on a terminal only: other programs read whole lines."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=not console.is_terminal)
    for row in rows:
        table.add_row(*map(_cell, row))
    if table.row_count:
        console.print(table)


def _files(sources: Sequence[Source]) -> Iterator[tuple[str, str, str, str]]:
    """A row for each file; one for many of a directory of which nothing else is to be said (a tracking store has a file for each setting)."""
    alike = Counter(map(_kind, sources))
    said: set[tuple[str, str, str, str]] = set()
    for source in sources:
        kind = status, reader, folder, detail = _kind(source)
        if not folder or alike[kind] < _FOLDED:
            yield status, reader, source.path, detail
        elif kind not in said:
            said.add(kind)
            yield status, reader, f"{folder}/ ({alike[kind]} files)", detail


def _kind(source: Source) -> tuple[str, str, str, str]:
    return source.status.value, source.reader or "-", source.path.rpartition("/")[0], str(source.detail or "")


def _print(run: Run, console: Console) -> None:
    _table(console, "Files", ("status", "reader", "file", "detail"), _files(run.sources))
    series = (
        (s.name, s.logged_as, len(s), f"{s.steps[0]:g}–{s.steps[-1]:g}", f"{s.values[0]:.4g} → {s.values[-1]:.4g}", s.source)
        for s in run.series
        if len(s)
    )
    _table(console, f"Series (axis: {run.axis})", ("name", "logged as", "points", "steps", "first → last", "file"), series)
    left_out = ((s.name, s.logged_as, s.points, s.source, s.why) for s in run.left_out)
    _table(console, "Left out", ("name", "logged as", "points", "file", "why"), left_out)
    checkpoints = (
        ("-" if c.step is None else f"{c.step:g}", c.path, c.format, len(c.tensors), c.optimizer.kind if c.optimizer else "-", c.status.value)
        for c in run.checkpoints
    )
    _table(console, "Checkpoints", ("step", "path", "format", "tensors", "optimizer", "status"), checkpoints)
