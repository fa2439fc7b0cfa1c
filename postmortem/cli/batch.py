"""`postmortem batch`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from postmortem.cli.text import plain
from postmortem.errors import UsageError
from postmortem.model.diagnosis import Severity


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    output: Path
    lists: Sequence[str] = ()
    reports: bool = True
    only_failed: bool = False
    since: str = ""
    workers: int = 0
    timeout: float = 60.0
    memory: int = 4096
    shard: str = ""
    merge: bool = False
    cluster: str = ""
    retry: bool = False
    fail_on: str | None = None
    redact: bool = True
    family: str = ""
    frozen: Sequence[str] = ()
    ignore: Sequence[str] = ()
    alias: Sequence[str] = ()
    as_json: bool = False
    lang: str = "en"


def run_jobs(jobs: Sequence[str], asked: Asked) -> int:
    """Analyse or merge, say what came out, and return the exit status."""
    from postmortem.batch.facts import as_severe
    from postmortem.batch.merge import merge
    from postmortem.batch.run import Plan, run_batch
    from postmortem.batch.task import Options
    from postmortem.cli.analyze import aliases
    from postmortem.cli.lang import asked_language
    from postmortem.supervision import Limits

    if not jobs and not asked.lists:
        raise UsageError("name the runs: directories, globs, @FILE, or - for a list of paths on standard input")
    if asked.timeout <= 0 or asked.memory <= 0 or asked.workers < 0:
        raise UsageError("--timeout, --memory and --workers take positive numbers")
    lang = asked_language(asked.lang)
    if asked.merge:
        done = merge([Path(job) for job in jobs], asked.output, only_failed=asked.only_failed, lang=lang)
    else:
        options = Options(
            asked.reports, asked.only_failed, asked.redact, lang, "", asked.family, tuple(asked.frozen), tuple(asked.ignore),
            tuple(aliases(asked.alias).items()),
        )  # fmt: skip
        _check(options.stated)
        plan = Plan(asked.output, options, Limits(asked.timeout, asked.memory), asked.workers, asked.since, asked.shard, asked.cluster, asked.retry)
        done = run_batch(jobs, plan, lists=asked.lists, stream=sys.stderr)
    for remark in done.remarks:
        sys.stderr.write(f"postmortem: {plain(remark)}\n")
    hostile = sum(bool(row.refused) for row in done.rows)
    _say(done.batch.runs, done.reused, hostile, asked.output, lang, as_json=asked.as_json)
    return 1 if asked.fail_on is not None and any(as_severe(row, Severity(asked.fail_on)) for row in done.rows) else 0


def _check(stated: object) -> None:
    """Raises `UsageError` before the first run instead of in every row."""
    from collections.abc import Mapping

    from postmortem.stated import stated_from

    if isinstance(stated, Mapping) and stated:
        stated_from(stated)


def _say(runs: int, reused: int, hostile: int, output: Path, lang: str, *, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps({"runs": runs, "reused": reused, "refused": hostile, "output": os.fspath(output)}))  # noqa: T201
        return
    from postmortem.render.language import speaking
    from postmortem.render.words import t

    text = (output / "summary.md").read_text(encoding="utf-8")
    print(plain(text.split("\n\n")[0].lstrip("# ").replace("\\", "")))  # noqa: T201
    print(plain(text.split("\n\n")[1].replace("\\", "")))  # noqa: T201
    with speaking(lang):
        if hostile:
            print(plain(t("Runs with hostile content, which was refused: {n}", n=hostile)))  # noqa: T201
        print(plain(t("Index: {file}", file=str(output / "index.html"))))  # noqa: T201
