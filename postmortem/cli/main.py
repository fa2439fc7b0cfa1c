"""The command line. Each command imports what it needs when it runs, so that `--help` is instant.

Exit status: 0 done · 1 `--fail-on` and a finding that severe · 2 usage · 3 nothing readable · 4 internal error · 5 cannot write ·
130 interrupted. Results go to standard output, progress and complaints to standard error.
"""

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from postmortem import __version__
from postmortem.errors import PostmortemError, UsageError

SECONDS = 600.0  # that one command may take when nothing was stated; more for a large run
MOST_ENTRIES = 200_000  # of a run whose size is taken

app = typer.Typer(
    name="postmortem",
    help="What failed in a training run, when, why, and what to change.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class FailOn(StrEnum):
    """Severities for `--fail-on`."""

    fatal = "fatal"
    serious = "serious"
    minor = "minor"


def _version(value: bool) -> None:  # noqa: FBT001
    if value:
        typer.echo(f"postmortem {__version__}")
        raise typer.Exit


@app.callback()
def root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:  # noqa: FBT002
    """What failed in a training run, when, why, and what to change."""


Run = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...", help="A directory, log file, checkpoint, archive (.tar.gz, .zip) or - for a log on standard input.", show_default=False
    ),
]
Alias = Annotated[
    list[str],
    typer.Option("--alias", metavar="KEY=NAME", help="Read a logged key as a canonical series, such as mynll=val/loss.", show_default=False),
]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the document as JSON; - for standard output.", show_default=False)]
Lang = Annotated[str, typer.Option("--lang", metavar="LANG", help="Language of the report: en, zh, or auto for that of the environment.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="S", envvar="POSTMORTEM_TIMEOUT", show_default="600, more for a large run", help="Seconds after which it is given up; 0 for never."
    ),
]
Memory = Annotated[int, typer.Option(metavar="MB", envvar="POSTMORTEM_MEMORY", help="Memory above which reading is given up; 0 for any.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def analyze(
    run: Run,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the HTML report here.", show_default=False)] = None,
    json: Json = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown for an issue; - for standard output.", show_default=False)
    ] = None,
    family: Annotated[str, typer.Option(help="Kind of training: classifier, language-model, gan, …", show_default=False)] = "",
    frozen: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Tensors that are meant to stand still, such as 'backbone.*'.", show_default=False)
    ] = [],  # noqa: B006
    ignore: Annotated[list[str], typer.Option(metavar="MODE", help="A failure mode not to look for.", show_default=False)] = [],  # noqa: B006
    alias: Alias = [],  # noqa: B006
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 when a finding is at least that severe.", show_default=False)] = None,
    no_redact: Annotated[bool, typer.Option("--no-redact", help="Keep home paths, host and user names.")] = False,  # noqa: FBT002
    no_exhibits: Annotated[bool, typer.Option("--no-exhibits", help="Leave curves and histograms out of the JSON.")] = False,  # noqa: FBT002
    lang: Lang = "en",
    baseline: Annotated[
        list[str],
        typer.Option(metavar="GOOD", help="A good run of the same training (or several): where this one parts from it.", show_default=False),
    ] = [],  # noqa: B006
    timeout: Timeout = None,
    memory: Memory = 4096,
) -> None:
    """Say what failed in a run, and write a self-contained HTML report to attach to an issue.

    Without -o, --json or --markdown the report is written to postmortem-RUN.html in the current directory.
    """
    from postmortem.cli.analyze import Outputs, analyze_run

    outputs = Outputs(output, json, markdown, exhibits=not no_exhibits, lang=lang)
    _under_watch(
        lambda: analyze_run(
            run, outputs, family=family, frozen=frozen, ignore=ignore, alias=alias, fail_on=fail_on, redact=not no_redact, baseline=baseline
        ),
        [*run, *baseline], timeout, memory,
    )  # fmt: skip


@app.command()
def batch(
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="JOBS...", help="Directories to search, runs, globs, @FILE or - for a list of paths.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Write index, tables and reports here.")] = Path("triage"),
    from_: Annotated[list[str], typer.Option("--from", metavar="FILE", help="A list of paths, one per line.", show_default=False)] = [],  # noqa: B006
    no_reports: Annotated[bool, typer.Option("--no-reports", help="Write no HTML report per run: several times as fast.")] = False,  # noqa: FBT002
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Leave healthy runs out of index, table and reports.")] = False,  # noqa: FBT002
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="Only runs with a file changed since a date, or in the last 7d or 12h.", show_default=False)
    ] = "",
    workers: Annotated[int, typer.Option(metavar="N", help="Runs at a time; 0 for one per processor.")] = 0,
    timeout: Annotated[float, typer.Option(metavar="S", help="Seconds after which a run is given up.")] = 60.0,
    memory: Annotated[int, typer.Option(metavar="MB", help="Memory above which a run is given up.")] = 4096,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only the I-th of N parts, for job arrays; then --merge.", show_default=False)] = "",
    merge: Annotated[bool, typer.Option("--merge", help="JOBS are output directories of batches: gather them.")] = False,  # noqa: FBT002
    cluster: Annotated[str, typer.Option(metavar="ADDRESS", help="Work on a Dask cluster: dask://HOST:PORT.", show_default=False)] = "",
    retry: Annotated[bool, typer.Option("--retry", help="Try runs again whose analysis failed.")] = False,  # noqa: FBT002
    family: Annotated[str, typer.Option(help="Kind of training of all runs: classifier, language-model, gan, …", show_default=False)] = "",
    frozen: Annotated[list[str], typer.Option(metavar="PATTERN", help="Tensors that are meant to stand still.", show_default=False)] = [],  # noqa: B006
    ignore: Annotated[list[str], typer.Option(metavar="MODE", help="A failure mode not to look for.", show_default=False)] = [],  # noqa: B006
    alias: Alias = [],  # noqa: B006
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 when any run has a finding at least that severe.", show_default=False)] = None,
    no_redact: Annotated[bool, typer.Option("--no-redact", help="Keep home paths, host and user names.")] = False,  # noqa: FBT002
    json: AsJson = False,  # noqa: FBT002
    lang: Lang = "en",
) -> None:
    """Say which of many runs failed for which reason, grouped and sorted by what they cost.

    Interrupted, the same command goes on where it stopped; later it does again only what has changed.
    """
    from postmortem.cli.batch import Asked, run_jobs

    asked = Asked(
        output, from_, not no_reports, only_failed, since, workers, timeout, memory, shard, merge, cluster, retry, fail_on, not no_redact,
        family, frozen, ignore, alias, json, lang,
    )  # fmt: skip
    raise typer.Exit(run_jobs(jobs or [], asked))


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="GOOD BAD...", help="A good run, and one or more to hold against it.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the HTML page here.", show_default=False)] = None,
    json: Json = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown; - for standard output.", show_default=False)
    ] = None,
    good: Annotated[
        list[str], typer.Option("--good", metavar="RUN", help="A further good run: how good runs differ is what the others may.", show_default=False)
    ] = [],  # noqa: B006
    by: Annotated[str, typer.Option(metavar="AXIS", help="Compare by step, epoch, tokens or time; auto chooses.")] = "auto",
    no_redact: Annotated[bool, typer.Option("--no-redact", help="Keep home paths, host and user names.")] = False,  # noqa: FBT002
    lang: Lang = "en",
    timeout: Timeout = None,
    memory: Memory = 4096,
) -> None:
    """Say from where on runs differ from a good one, and in which settings, curves and tensors."""
    from postmortem.cli.compare import Asked, compare_runs

    asked = Asked(output, json, markdown, by, lang, redact=not no_redact, good=tuple(good))
    _under_watch(lambda: compare_runs(runs, asked), [*runs, *good], timeout, memory)


@app.command()
def checklist(
    item: Annotated[str | None, typer.Argument(metavar="[ID]", help="A failure mode or a cause.", show_default=False)] = None,
    json: AsJson = False,  # noqa: FBT002
    lang: Lang = "en",
) -> None:
    """List the failure modes, or explain one mode or cause as a colleague would."""
    from postmortem.cli.checklist import show_checklist

    show_checklist(item, as_json=json, lang=lang)


@app.command()
def inspect(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint file or directory.", show_default=False)],
    json: AsJson = False,  # noqa: FBT002
    timeout: Timeout = None,
    memory: Memory = 4096,
) -> None:
    """Measure the tensors of a checkpoint: shapes, moments, zeros, NaN, gradients from optimizer state. Nothing in it is executed."""

    def work() -> None:
        from postmortem.cli.inspect import inspect_checkpoint

        inspect_checkpoint(checkpoint, as_json=json)

    _under_watch(work, [checkpoint], timeout, memory)


@app.command()
def sources(
    run: Run,
    alias: Alias = [],  # noqa: B006
    json: AsJson = False,  # noqa: FBT002
    timeout: Timeout = None,
    memory: Memory = 4096,
) -> None:
    """Show which files were read, how each series was understood, what was left out and why."""

    def work() -> None:
        from postmortem.cli.sources import show_sources

        show_sources(run, alias, as_json=json)

    _under_watch(work, run, timeout, memory)


@app.command()
def render(
    file: Annotated[str, typer.Argument(metavar="FILE.json", help="A document written by analyze --json; - for standard input.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the HTML report here.", show_default=False)] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown; - for standard output.", show_default=False)
    ] = None,
    json: Json = None,
    lang: Lang = "en",
) -> None:
    """Make a report from a JSON document, on any machine, without the run."""
    from postmortem.cli.render import render_file

    render_file(file, output, markdown, json, lang)


def main() -> None:
    """The entry point."""
    sys.exit(_status(_command))


def _command() -> int | None:
    """What the command line asks for, on streams that take any character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale without the characters of a report is no reason to fail
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its remarks on homes that cannot be written
    status: int | None = app(prog_name="postmortem", standalone_mode=False)
    return status


class _AnsweredError(Exception):
    """The process that did the work has said everything."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


def _under_watch(work: Callable[[], int | None], runs: Sequence[str], timeout: float | None, memory: int) -> None:
    """Do `work` in a process that is ended at the limits. Raises `UsageError` and `_AnsweredError`."""
    from postmortem.supervision import Limits, supervised

    if memory < 0 or (timeout is not None and not timeout >= 0):
        raise UsageError("--timeout and --memory take positive numbers, or 0 for no limit")
    limits = Limits(SECONDS if timeout is None else timeout, memory)
    size = None if timeout is not None else lambda: _size(runs)
    raise _AnsweredError(supervised(lambda: _status(work), limits, size=size, patient="-" in runs))


def _size(runs: Sequence[str]) -> int:
    """Bytes of files, as far as they are counted."""
    total, seen = 0, 0
    for run in runs:
        for top, _, names in os.walk(run) if Path(run).is_dir() else [("", [], [run])]:
            for name in names[: MOST_ENTRIES - seen]:
                seen += 1
                with suppress(OSError):
                    total += Path(top, name).lstat().st_blocks * 512
            if seen >= MOST_ENTRIES:
                return total
    return total


def _status(work: Callable[[], int | None]) -> int:
    """Do `work`; its exit status. Errors become one sentence and a status."""
    try:
        status = work()  # of the parser: that of `typer.Exit`; None without
        sys.stdout.flush()
        if status == 130:
            return _complain("interrupted", 130)
    except _AnsweredError as done:
        return done.status
    except PostmortemError as error:
        return _complain(str(error), error.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", 130)
    except typer.Exit as done:
        return done.exit_code
    except SystemExit as done:
        return 0 if done.code == 1 else done.code if isinstance(done.code, int) else 0  # 1: rich, when a reader of standard output is gone
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _complain("the analysis was given up: more memory was wanted than --memory and the system allow", 4)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of the option parser
            return _complain(error.format_message(), 2)
        if os.environ.get("POSTMORTEM_TRACEBACK"):
            traceback.print_exc()
            return 1
        text = (
            f"internal error: {type(error).__name__}: {error}. Please report it with the output of POSTMORTEM_TRACEBACK=1 {' '.join(sys.argv[:2])} …"
        )
        return _complain(text, 4)
    return status if isinstance(status, int) else 0


def _complain(text: str, status: int) -> int:
    from postmortem.cli.text import plain

    sys.stderr.write(f"postmortem: {plain(text)}\n")
    return status
