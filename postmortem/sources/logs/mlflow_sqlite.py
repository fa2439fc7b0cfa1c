"""MLflow's SQLite store (`mlflow.db`): the newest run of it.

The data base is copied with its write-ahead log before it is opened: SQLite may write to what it opens, and a run is never
written into. Views, virtual tables and triggers of an input are not used; a query is stopped after a time.
Tables: mlflow/store/tracking/dbmodels/models.py. There `is_nan` marks a NaN (its value is 0), ±1.8e308 an infinity.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from array import array
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from postmortem.model.run import Series, Source, Status
from postmortem.model.sentence import Sentence, say
from postmortem.sources.config import settings_of
from postmortem.sources.documents import scalar
from postmortem.sources.logs.mlflow_files import MAX_POINTS, NAME, one_series, run_facts
from postmortem.sources.names import series_names
from postmortem.sources.reader import Candidate, Found, Reader

MAX_STORE = 2 << 30  # bytes
MAX_METRICS = 20_000
MAX_PARAMS = 5_000
MOST_ROWS = 2_000_000  # of metrics that are read; of more one in so many
_LAST_ROWS = 1_000  # that are read in any case
TIME_LIMIT = 30.0  # seconds
SHORTEST = 5.0  # seconds that a small store may take
PACE = 20e6  # bytes per second that a large one must reach
_JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_LONGEST_VALUE = 1 << 20  # bytes of one text in the data base
_INFINITE = 1.7976931348623157e308


_Numbers: TypeAlias = "array[float]"
_NEWEST_FIRST = """SELECT run_uuid, status, start_time, end_time FROM runs
    WHERE lifecycle_stage IS NOT 'deleted' ORDER BY start_time DESC, run_uuid LIMIT 100000"""

_VALUES = """SELECT "key", value, timestamp, step, is_nan FROM metrics
    WHERE run_uuid = ? AND (rowid % ? = 0 OR rowid > ?) ORDER BY rowid"""


def claims(candidate: Candidate) -> bool:
    """By SQLite's magic; whether it is MLflow's shows when it is opened."""
    return candidate.head.startswith(b"SQLite format 3\0") and candidate.name.endswith((".db", ".sqlite", ".sqlite3"))


def read(candidate: Candidate) -> Found:
    """Read the newest run of a store."""
    if candidate.size > MAX_STORE:
        return _without(candidate, Status.SKIPPED, say("larger than {limit} GiB", limit=MAX_STORE >> 30))
    try:
        with tempfile.TemporaryDirectory(prefix="postmortem-") as folder:
            copy = Path(folder, "store.db")
            consumed, refused = _copied(candidate, copy)
            connection = sqlite3.connect(f"{copy.as_uri()}?mode=rw", uri=True)
            try:
                found = _read(candidate, _guarded(connection, candidate.size), consumed)
            finally:
                connection.close()
            return _with_refusal(found, refused) if refused else found
    except OSError as error:
        return _without(candidate, Status.FAILED, say("cannot be read: {error}", error=error.strerror or ""))
    except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError, MemoryError):
        return _without(candidate, Status.FAILED, say("SQLite cannot read this data base: it is damaged, or took too long"))


def _without(candidate: Candidate, status: Status, why: Sentence) -> Found:
    return Found(Source(candidate.path, NAME, status, why, candidate.size))


def _with_refusal(found: Found, journal: str) -> Found:
    status = Status.PARTIAL if found.source.status is Status.READ else found.source.status
    why = say("its journal {journal} names a further file, which SQLite would read and delete: the journal was not used", journal=journal)
    return replace(found, source=replace(found.source, status=status, detail=why, refused=True))


def _copied(candidate: Candidate, copy: Path) -> tuple[tuple[str, ...], str]:
    """Copy the data base with what was not yet merged into it; the names of those further files, and of a journal that was refused."""
    shutil.copyfile(candidate.file, copy, follow_symlinks=False)
    taken: list[str] = []
    refused = ""
    for end in ("-wal", "-journal"):
        beside = candidate.file.with_name(candidate.name + end)
        if candidate.name + end in candidate.siblings and beside.is_file() and not beside.is_symlink() and beside.stat().st_size <= MAX_STORE:
            merged = copy.with_name(copy.name + end)
            shutil.copyfile(beside, merged, follow_symlinks=False)
            taken.append(candidate.path + end)
            if end == "-journal" and _names_a_file(merged):
                merged.unlink()
                refused = candidate.path + end
    return tuple(taken), refused


def _names_a_file(journal: Path) -> bool:
    """Whether a rollback journal ends with the name of a super-journal, a file anywhere that SQLite opens and deletes (fileformat2, 3.1)."""
    with journal.open("rb") as file:
        file.seek(-min(8, journal.stat().st_size), os.SEEK_END)
        return file.read(8) == _JOURNAL_MAGIC


def _guarded(connection: sqlite3.Connection, size: int) -> sqlite3.Connection:
    """Limits on what a hostile data base can cost: pages that point to themselves make endless tables of a few bytes."""
    ends = time.monotonic() + min(TIME_LIMIT, SHORTEST + size / PACE)
    connection.set_progress_handler(lambda: int(time.monotonic() > ends), 100_000)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _read(candidate: Candidate, store: sqlite3.Connection, consumed: tuple[str, ...]) -> Found:
    tables = {
        str(name) for name, sql in store.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'") if "VIRTUAL" not in str(sql).upper()[:40]
    }
    if not {"runs", "metrics", "params"} <= tables:
        return _without(candidate, Status.SKIPPED, say("a SQLite data base that is no MLflow store"))
    runs = store.execute(_NEWEST_FIRST).fetchall()
    if not runs:
        return _without(candidate, Status.READ, say("the store holds no runs"))
    chosen = next((r for r in runs[:1000] if store.execute("SELECT 1 FROM metrics WHERE run_uuid = ? LIMIT 1", (r[0],)).fetchone()), runs[0])
    count, last = store.execute("SELECT count(*), max(rowid) FROM metrics WHERE run_uuid = ?", (chosen[0],)).fetchone()
    stride = max(1, -(-count // MOST_ROWS))
    series, lost = _metrics(candidate, store, chosen[0], stride, last or 0)
    params = store.execute('SELECT "key", value FROM params WHERE run_uuid = ? ORDER BY "key" LIMIT ?', (chosen[0], MAX_PARAMS)).fetchall()
    settings = settings_of(((str(key), scalar(str(value)) if len(str(value)) < 100 else str(value)[:2000]) for key, value in params), candidate.path)
    status, detail = Status.READ, None
    if lost:
        status, detail = Status.PARTIAL, say("{n} values beyond the limits or of a wrong type were left out", n=lost)
    elif stride > 1:
        status, detail = (
            Status.PARTIAL,
            say("it holds {n:,} values: one in {stride} was read, and the last {last:,}", n=last, stride=stride, last=_LAST_ROWS),
        )
    elif len(runs) > 1:
        detail = say("the store holds {runs} runs; {newest}, the newest with metrics, is read", runs=len(runs), newest=str(chosen[0])[:64])
    start, end = (value if isinstance(value, int) else None for value in chosen[2:4])
    facts = run_facts({"SCHEDULED": "running"}.get(str(chosen[1]), str(chosen[1]).lower()[:20]), start, end)
    return Found(Source(candidate.path, NAME, status, detail, candidate.size), series, settings=settings, facts=facts, consumed=consumed)


def _metrics(candidate: Candidate, store: sqlite3.Connection, run: object, stride: int, last: int) -> tuple[tuple[Series, ...], int]:
    """One series per metric, in the order in which the values came in."""
    columns: dict[str, tuple[_Numbers, _Numbers, _Numbers]] = defaultdict(lambda: (array("d"), array("d"), array("d")))
    lost = points = 0
    rows = store.execute(_VALUES, (run, stride, last - _LAST_ROWS if stride > 1 else last))
    for key, value, stamp, step, is_nan in rows:
        usable = isinstance(key, str) and isinstance(value, int | float) and isinstance(stamp, int) and isinstance(step, int)
        if not usable or points >= MAX_POINTS or (key not in columns and len(columns) >= MAX_METRICS):
            lost += 1
            continue
        points += 1
        number = float("nan") if is_nan else value if abs(value) < _INFINITE else float("inf") * value
        for column, item in zip(columns[key], (stamp / 1000, float(number), float(step)), strict=True):
            column.append(item)
    names = series_names(columns)
    series = []
    for key, numbers in columns.items():
        times, values, steps = (np.frombuffer(c).copy() for c in numbers)
        series.append(one_series(candidate.path, key, names[key], times=times, values=values, steps=steps))
    return tuple(series), lost


SQLITE = Reader(NAME, claims, read)
