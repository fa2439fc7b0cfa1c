"""`postmortem compare`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from postmortem.cli.analyze import progress_line, stated_by_flags
from postmortem.cli.files import default_report, write_result
from postmortem.cli.lang import asked_language
from postmortem.errors import UsageError
from postmortem.model.comparison import Comparison

AXES = ("auto", "step", "epoch", "tokens", "time")


@dataclass(frozen=True, slots=True)
class Asked:
    """What to write where; all None means the HTML page at its default place."""

    html: Path | None
    json: str | None
    markdown: str | None
    by: str
    lang: str
    redact: bool
    good: tuple[str, ...] = ()  # further good runs


def compare_runs(runs: Sequence[str], asked: Asked) -> None:
    """Compare and write. Raises `UsageError` for fewer than two runs and for an axis that there is not."""
    if asked.by not in AXES:
        raise UsageError(f"--by takes one of {', '.join(AXES)}; not {asked.by!r}")
    lang = asked_language(asked.lang)
    from postmortem.pipeline import compare
    from postmortem.render.comparison import render_html, render_markdown

    with progress_line() as progress:
        given = [*runs[:1], *asked.good, *runs[1:]]
        comparison = compare(
            given, by=asked.by, good=1 + len(asked.good), stated=stated_by_flags("", (), (), {}), redact=asked.redact, progress=progress
        )
    if asked.json is not None:
        write_result(asked.json, to_json(comparison))
    if asked.markdown is not None:
        write_result(asked.markdown, render_markdown(comparison, lang))
    if asked.html is not None:
        write_result(asked.html, render_html(comparison, lang))
    if asked.html is None and asked.json is None and asked.markdown is None:
        report = default_report(runs, f"compare-{'-'.join(dict.fromkeys(run.name for run in comparison.runs))}")
        write_result(report, render_html(comparison, lang))
        _show(comparison, report, lang)


def to_json(comparison: Comparison) -> str:
    """The comparison as JSON text (schema "postmortem-comparison/1")."""
    from postmortem.model.codec import dump_comparison

    return dump_comparison(comparison)


def _show(comparison: Comparison, report: Path, lang: str) -> None:
    from rich.console import Console

    from postmortem.render.comparison import render_terminal
    from postmortem.render.language import speaking
    from postmortem.render.words import t

    console = Console(highlight=False, soft_wrap=False)
    shown = report.relative_to(Path.cwd()) if report.is_relative_to(Path.cwd()) else report
    with speaking(lang):
        render_terminal(comparison, console)
        console.print(t("Report: {path}", path=str(shown)), markup=False, soft_wrap=True)
