"""A whole batch: find the runs, analyse what is not finished yet, gather."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import TextIO

from postmortem.batch import supervise
from postmortem.batch.child import failed
from postmortem.batch.cluster import cluster_executor
from postmortem.batch.facts import pseudonym
from postmortem.batch.files import report_name, write
from postmortem.batch.find import FoundRun, find_runs, named
from postmortem.batch.fingerprint import fingerprint, with_limits
from postmortem.batch.journal import Journal, Place
from postmortem.batch.outputs import write_outputs
from postmortem.batch.progress import Progress
from postmortem.batch.task import Options, Result, Task
from postmortem.errors import NothingReadable, OutputError, PostmortemError, UsageError
from postmortem.model.batch import Batch, Row, RowStatus
from postmortem.render.language import known
from postmortem.supervision import Limits

PathIn = str | PathLike[str]
IN_FLIGHT = 3  # tasks per worker that are handed over before they are needed
_UNITS = {"m": 1 / 1440, "h": 1 / 24, "d": 1.0, "w": 7.0}  # days


@dataclass(frozen=True, slots=True)
class Plan:
    """Which runs, how, and where the results go."""

    output: Path
    options: Options = field(default_factory=Options)
    limits: Limits = field(default_factory=Limits)
    workers: int = 0  # 0: as many as there are processors
    since: str = ""  # a date (2026-07-01) or an age (7d, 12h)
    shard: str = ""  # "3/16"
    cluster: str = ""  # dask://HOST:PORT
    retry: bool = False  # analyse again what could not be analysed


@dataclass(frozen=True, slots=True)
class Finished:
    """A batch that is done: what the index says, a row per run in order of name, and how many were not to be done again."""

    batch: Batch
    rows: tuple[Row, ...]
    reused: int
    remarks: tuple[str, ...] = ()


def batch(
    paths: PathIn | Sequence[PathIn],
    output: PathIn,
    *,
    reports: bool = True,
    only_failed: bool = False,
    since: str = "",
    workers: int = 0,
    timeout: float = 60.0,
    memory: int = 4096,
    redact: bool = True,
    lang: str = "en",
    cluster: str = "",
    executor: Executor | None = None,
) -> Finished:
    """Analyse many runs and write `index.html`, `runs.jsonl`, `runs.csv`, `summary.md` and a report per run to `output`.

    paths : directories (searched for runs), files, globs, `@FILE` with a list of paths.
    workers : processes at a time; 0 for one per processor.
    timeout, memory : seconds and MB that one run may take before it is given up with a row that says so.
    lang : "en" or "zh", of the index, the summary and the reports.
    cluster, executor : where to work instead: "dask://HOST:PORT", or any `concurrent.futures.Executor`.
    Called again it goes on where it was interrupted, and does again what has changed.
    Raises `UsageError`, `NothingReadable` when no run could be read, and `OutputError`.
    """
    given = [os.fspath(p) for p in ([paths] if isinstance(paths, str | PathLike) else paths)]
    options = Options(reports=reports, only_failed=only_failed, redact=redact, lang=known(lang))
    plan = Plan(Path(output), options, Limits(timeout, memory), workers, since, cluster=cluster)
    return run_batch(given, plan, executor=executor)


def run_batch(
    arguments: Sequence[str], plan: Plan, *, lists: Sequence[str] = (), executor: Executor | None = None, stream: TextIO | None = None
) -> Finished:
    """The same for the command line. `stream` is where progress is told; None tells none."""
    newest = _since(plan.since)
    shard = _shard(plan.shard)
    paths, remarks = find_runs(arguments, lists)
    if not paths:
        raise NothingReadable("no run was found there")
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(plan.output))
        # shards must agree on pseudonyms without knowing each other
        key = sha256("\0".join([*arguments, *lists]).encode("utf-8", "replace")).hexdigest()[:32] if shard else journal.key()
        options = replace(plan.options, key=key)
        runs = [r for r in named(paths, (lambda user: pseudonym(options, "user", user)) if options.redact else None) if _mine(r, shard)]
        progress = Progress(len(runs), stream, lang=plan.options.lang) if stream is not None else None
        names: set[str] = set()
        tasks = 0
        pending = _pending(runs, plan, options, newest, journal, names, progress)
        with _working(plan, executor) as (pool, at_once):
            for result in _done(pool, pending, at_once * IN_FLIGHT):
                journal.add(_stored(result, plan.output))
                tasks += 1
                if progress is not None:
                    progress.finish(lost=result.row.status is not RowStatus.ANALYSED)
        if progress is not None:
            progress.close()
        rows = journal.gather(names)
        summary = write_outputs(plan.output, rows, only_failed=plan.options.only_failed, lang=options.lang)
    if rows and not shard and not any(row.status is RowStatus.ANALYSED for row in rows):
        raise NothingReadable(f"none of {len(rows)} runs could be analysed; the first, {rows[0].name}: {rows[0].reason}")
    return Finished(summary, tuple(rows), len(rows) - tasks, tuple(remarks))


def _pending(
    runs: Iterable[FoundRun], plan: Plan, options: Options, newest: float, journal: Journal, names: set[str], progress: Progress | None
) -> Iterator[Task]:
    """The tasks that are not finished, made as they are needed; `names` gathers all runs that belong to the batch."""
    for run in runs:
        mark, modified = fingerprint(run.path, options)
        if modified < newest:
            if progress is not None:
                progress.total -= 1
            continue
        names.add(run.name)
        place = journal.places.get(run.name)
        if place is not None and _unchanged(place, mark, plan):
            if progress is not None:
                progress.reuse()
            continue
        yield Task(run.name, str(run.path), mark, modified, options, plan.limits)


def _unchanged(place: Place, mark: str, plan: Plan) -> bool:
    """Whether a run that was finished need not be done again."""
    if place.fingerprint != with_limits(mark, place.status, plan.limits):
        return False
    if place.status != RowStatus.ANALYSED:
        return not plan.retry
    if not plan.options.reports or (plan.options.only_failed and place.good):
        return True
    try:
        return bool(place.report) and (plan.output / place.report).stat().st_size == place.report_bytes
    except OSError:
        return False


def _stored(result: Result, output: Path) -> Result:
    """Write the report. Raises `OutputError`."""
    row = result.row
    if result.html:
        file = report_name(row.name)
        try:
            (output / "reports").mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write in {output}: {error.strerror or error}") from error
        row = replace(row, report=f"reports/{file}", report_bytes=write(output / "reports" / file, result.html, durable=False))
    return replace(result, row=row)


@contextmanager
def _working(plan: Plan, executor: Executor | None) -> Iterator[tuple[Executor, int]]:
    """The executor to use and how many runs it works on at a time. Whatever ends the block, no child is left behind."""
    if executor is not None:
        yield executor, int(getattr(executor, "_max_workers", 0) or os.cpu_count() or 1)
        return
    if plan.cluster:
        with cluster_executor(plan.cluster) as (remote, threads):
            yield remote, threads
        return
    workers = plan.workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else plan.workers or os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers, thread_name_prefix="postmortem-batch")  # each thread watches over one child
    supervise.resume()
    try:
        yield pool, workers
    except BaseException:
        supervise.interrupt()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        supervise.stop_children()


def _done(pool: Executor, tasks: Iterator[Task], most: int) -> Iterator[Result]:
    """Results as they come. At most `most` tasks are handed over at a time, so that memory does not grow with their number."""
    waiting: dict[Future[Result], Task] = {}
    more = True
    while more or waiting:
        while more and len(waiting) < most:
            task = next(tasks, None)
            if task is None:
                more = False
            else:
                waiting[pool.submit(supervise.analyze_one, task)] = task
        finished, _ = wait(waiting, return_when=FIRST_COMPLETED) if waiting else (set(), None)
        for future in finished:
            task = waiting.pop(future)
            try:
                yield future.result()
            except PostmortemError:
                raise
            except Exception as error:  # the executor gave it up: its worker died again and again
                yield Result(failed(task, RowStatus.CRASHED, f"{type(error).__name__}: the worker that analysed it went away", 0.0))


def _since(text: str) -> float:
    """Seconds since 1970 of a date or an age; 0 for "". Raises `UsageError`."""
    if not text:
        return 0.0
    if text[-1] in _UNITS and text[:-1].replace(".", "", 1).isdigit():
        return (datetime.now(UTC) - timedelta(days=float(text[:-1]) * _UNITS[text[-1]])).timestamp()
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(f"--since takes a date such as 2026-07-01 or an age such as 7d or 12h; not {text!r}") from None


def _shard(text: str) -> tuple[int, int] | None:
    """(index from 0, number) of "3/16"; None for "". Raises `UsageError`."""
    if not text:
        return None
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second)):
        raise UsageError(f"--shard takes I/N with I from 1 to N, such as 3/16; not {text!r}")
    return int(first) - 1, int(second)


def _mine(run: FoundRun, shard: tuple[int, int] | None) -> bool:
    """Whether a run belongs to the shard: told from its name, so that runs that come or go move no others."""
    if shard is None:
        return True
    return int.from_bytes(sha256(run.name.encode("utf-8", "replace")).digest()[:8], "big") % shard[1] == shard[0]
