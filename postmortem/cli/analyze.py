"""`postmortem analyze`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from postmortem.cli.files import default_report, write_result
from postmortem.errors import UsageError
from postmortem.measure import Stated
from postmortem.model.diagnosis import Diagnosis, FindingStatus, Severity

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What to write where; all None means the HTML report at its default place. With a report on disk the verdict is shown as well."""

    html: Path | None
    json: str | None
    markdown: str | None
    exhibits: bool = True
    lang: str = "en"

    @property
    def asked(self) -> bool:
        return self.html is not None or self.json is not None or self.markdown is not None


def analyze_run(
    runs: Sequence[str],
    outputs: Outputs,
    *,
    family: str,
    frozen: Sequence[str],
    ignore: Sequence[str],
    alias: Sequence[str],
    fail_on: str | None,
    redact: bool,
    baseline: Sequence[str] = (),
) -> int:
    """Analyse, write, and return the exit status."""
    from postmortem.cli.lang import asked_language
    from postmortem.cli.text import plain
    from postmortem.pipeline import analyze
    from postmortem.stated import READER

    lang = asked_language(outputs.lang)

    with progress_line() as progress:
        stated = stated_by_flags(family, frozen, ignore, aliases(alias))
        diagnosis = analyze(
            runs,
            stated=stated,
            redact=redact,
            with_exhibits=outputs.exhibits or outputs.html is not None or not outputs.asked,
            progress=progress,
            baseline=list(baseline) or None,
        )
    for source in diagnosis.run.sources:
        if source.reader == READER and source.detail is not None:
            sys.stderr.write(f"postmortem: {plain(f'{source.path}: {source.detail}')}\n")
    if outputs.json is not None:
        write_result(outputs.json, diagnosis.to_json(exhibits=outputs.exhibits))
    if outputs.markdown is not None:
        write_result(outputs.markdown, diagnosis.to_markdown(lang))
    report = outputs.html if outputs.asked else default_report(runs, diagnosis.run.name)
    if report is not None:
        write_result(report, diagnosis.to_html(lang))
        if "-" not in (str(report), outputs.json, outputs.markdown):  # what is piped on stays what was asked for
            _show(diagnosis, report, lang)
    return 1 if fail_on is not None and _as_severe(diagnosis, Severity(fail_on)) else 0


def _show(diagnosis: Diagnosis, report: Path, lang: str) -> None:
    from rich.console import Console

    from postmortem.render.language import speaking
    from postmortem.render.terminal import render_terminal
    from postmortem.render.words import t

    console = Console(highlight=False, soft_wrap=False)
    shown = report.relative_to(Path.cwd()) if report.is_relative_to(Path.cwd()) else report
    with speaking(lang):
        render_terminal(diagnosis, console)
        console.print(t("Report: {path}", path=str(shown)), markup=False, soft_wrap=True)


def _as_severe(diagnosis: Diagnosis, least: Severity) -> bool:
    return any(f.status == FindingStatus.PRESENT and f.severity is not None and f.severity.rank >= least.rank for f in diagnosis.findings)


def aliases(texts: Sequence[str]) -> dict[str, str]:
    """`KEY=NAME` pairs. Raises `UsageError`."""
    from postmortem.sources.names import BARE, QUANTITIES, SPLITS, is_series_name

    out: dict[str, str] = {}
    for text in texts:
        key, equals, name = text.rpartition("=")
        if not equals or not key or not name:
            raise UsageError(f"--alias takes KEY=NAME, such as mynll=val/loss; not {text!r}")
        if not is_series_name(name):
            known = f"{'|'.join(SPLITS)}/{'|'.join(QUANTITIES)}, or {', '.join(BARE)}"
            raise UsageError(f"{name!r} is not the name of a series that is known; names are {known}")
        out[key] = name
    return out


def stated_by_flags(family: str, frozen: Sequence[str], ignore: Sequence[str], named: dict[str, str]) -> Stated | None:
    """What flags state; None when there are none (then `postmortem.toml` is looked for)."""
    from postmortem.stated import stated_from

    if not (family or frozen or ignore or named):
        return None
    return stated_from(MappingProxyType({"family": family, "frozen": list(frozen), "ignore": list(ignore), "aliases": named}))


@contextmanager
def progress_line() -> Iterator[Progress]:
    """One line on standard error that is rewritten in place; only on a terminal, and only after a second. The supervisor hears all of it."""
    from postmortem.supervision import doing

    if not sys.stderr.isatty():
        yield lambda what, _: doing(what)
        return
    import time

    from postmortem.cli.text import plain

    start, shown = time.monotonic(), False

    def show(what: str, share: float) -> None:
        nonlocal shown
        doing(what)
        if time.monotonic() - start > 1.0:
            shown = True
            sys.stderr.write(f"\r\x1b[K{share:4.0%} {plain(what)[:60]}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
