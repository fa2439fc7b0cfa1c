"""JSON lines: one object per record, whatever its keys. Also the structured files that are such lines under other names.

`metrics.jsonl`, detectron2's `metrics.json`, mmcv's `*.log.json`, mmengine's `vis_data/*.json`, DETR's and MAE's `log.txt`,
LLaMA-Factory's `trainer_log.jsonl`, ms-swift's `logging.jsonl`, StyleGAN's `stats.jsonl`.
"""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from postmortem.model.run import EventKind, LogEvent, Reduction, Source, Status
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.logs.axis import within_epoch
from postmortem.sources.logs.beside import split_of_file
from postmortem.sources.logs.blocks import Reading, blocks, head_text, without_collection
from postmortem.sources.logs.curves import Habits, planned, series_of
from postmortem.sources.logs.jsonblocks import columns
from postmortem.sources.logs.jsonrows import RowTaker
from postmortem.sources.logs.numbers import STAND_INS, prints_stand_in
from postmortem.sources.logs.stretches import Extent
from postmortem.sources.logs.table import MOST_COLUMNS, Column, Table
from postmortem.sources.logs.text.boxes import boxed
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "json-lines"
A_BYTE, A_BAD_LINE = 0.025, 5.0  # what is paid for (see `effort`)
_EXCERPT = 400  # bytes of a cut line that are shown
_OWN = (".jsonl", ".ndjson", ".jsonlines")
_BEFORE = 20  # lines
MOSTLY = 0.5  # of the first lines of a file
_EXTENSIONS = (".jsonl", ".ndjson", ".json", ".txt", ".log", ".jsonlines")
# Bare words that Python's json writes and JSON does not know. Made text, which counts as a number again.
_BARE = re.compile(rb"([:\[,]\s*)(-?(?:NaN|Infinity))\b(?=\s*[,}\]])")


def claims(candidate: Candidate) -> bool:
    """A file whose first lines are JSON objects, one per line."""
    if (not candidate.name.lower().endswith(_EXTENSIONS) and "." in candidate.name) or boxed(candidate.head):
        return False
    lines = [line.strip() for line in head_text(candidate.head).splitlines()]
    if candidate.size > len(candidate.head):
        lines = lines[:-1] or lines
    lines = [line for line in lines if line]
    if candidate.name.lower().endswith(_OWN):  # what was printed before the first record went into the same file
        lines = lines[next((n for n, line in enumerate(lines[:_BEFORE]) if line.startswith("{")), 0) :]
    if not lines or not lines[0].startswith("{") or sum(line.startswith("{") for line in lines) < MOSTLY * len(lines):
        return False  # a configuration heads a log of another kind
    if len(lines) == 1 and not candidate.name.lower().endswith((".jsonl", ".ndjson", ".jsonlines", ".log.json", "log.txt")):
        # one object in a .json file is a document; a single very long first line may still be a record
        return candidate.size > len(candidate.head) and lines[0].count("{") > 1 and candidate.name.lower().endswith(".jsonl")
    return _object(lines[0].encode()) is not None or (candidate.size > len(candidate.head) and len(lines) == 1)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(_BARE.sub(rb'\1"\2"', line))
    except orjson.JSONDecodeError:
        try:
            value = orjson.loads(line.decode("utf-8", "replace"))
        except orjson.JSONDecodeError:
            return None
    return value if isinstance(value, dict) else None


def read(candidate: Candidate) -> Found:
    """Every record's numbers as curves. A line that is no JSON object is left out and counted."""
    met = Reading(Extent(candidate.size))
    taker = RowTaker(effort=met.extent.effort)
    bad = 0
    cut, tail = False, b""
    try:
        for block in blocks(candidate.file, met):
            met.extent.effort.spent += A_BYTE * len(block)
            forms = columns(block)
            if forms is not None and taker.take_forms(forms):
                cut = False
                if taker.gathering.full:
                    break
                continue
            with without_collection():
                rows, wrong, cut, stand_ins = _objects(block)
                taker.take(rows, stand_ins=stand_ins)
                del rows
            bad += wrong
            met.extent.effort.spent += A_BAD_LINE * wrong
            tail = block[-_EXCERPT:]
            if taker.gathering.full:
                break
    except OSError as error:
        return Found(
            Source(
                candidate.path, NAME, Status.FAILED, say("it could not be read: {why}", why=error.strerror or say("an input error")), candidate.size
            )
        )
    table = taker.table()
    habits, facts, table = _habits(table)
    series = series_of(table, candidate.path, replace(habits, split=habits.split or split_of_file(candidate)))
    if not series:
        reason = say("none of its {n} lines is a record with numbers", n=table.count + bad)
        return Found(Source(candidate.path, NAME, Status.SKIPPED, reason, candidate.size), facts=facts)
    detail = met.extent.left_out() or _detail(taker, met, bad, cut=cut)
    source = Source(candidate.path, NAME, Status.PARTIAL if detail else Status.READ, detail, candidate.size)
    events: tuple[LogEvent, ...] = ()
    if cut and not met.ends_with_newline:  # the writer died, or has not come further yet
        text = tail.rstrip().rpartition(b"\n")[2].decode("utf-8", "replace")
        events = (LogEvent(EventKind.CUT, text, candidate.path, table.count + bad),)
    return Found(source, series=series, facts=facts, events=events)


def _detail(taker: RowTaker, met: Reading, bad: int, *, cut: bool) -> Sentence | None:
    if bad == 1 and cut:
        return say("its last line is cut off")
    if bad:
        return say("{n} lines are no JSON objects", n=bad)
    if taker.gathering.full:
        return say("it is too large: only its first {n:,} records were read", n=taker.gathering.count)
    if taker.gathering.narrowed:
        return say("only its first {n:,} keys were read", n=MOST_COLUMNS)
    if met.too_long:
        return say("{n} lines were left out because they are too long", n=met.too_long)
    return None


_USUAL = tuple((b": " + word.encode(), b":" + stand_in) for word, stand_in in STAND_INS.items())
_OTHERS = tuple(
    ((before + word).encode(), before.strip(" ").encode() + stand_in) for before in (": -", ":-", ":") for word, stand_in in STAND_INS.items()
)


def _objects(block: bytes) -> tuple[list[dict[str, Any]], int, bool, bool]:
    """Objects of a block of lines, how many lines are none, whether the last line is one of those, and whether numbers stand in for words."""
    body = block.strip()
    quick = body.replace(b"\n", b",")
    words = _non_finite(body)
    if words and prints_stand_in(body):
        return *_one_by_one(body.split(b"\n")), False
    if words:
        for word, stand_in in _USUAL:
            quick = quick.replace(word, stand_in)
        if b"NaN" in quick or b"Infinity" in quick:
            for word, stand_in in _OTHERS:
                quick = quick.replace(word, stand_in)
    try:
        rows = orjson.loads(b"[" + quick + b"]")
    except orjson.JSONDecodeError:
        rows = None
    if rows is not None and len(rows) == body.count(b"\n") + 1 and set(map(type, rows)) == {dict}:
        return rows, 0, False, words
    return *_one_by_one(body.split(b"\n")), False


def _non_finite(text: bytes) -> bool:
    """Whether words that strict JSON does not know are in it; a search for one letter comes first, which is ten times as fast."""
    return (b"N" in text and b"NaN" in text) or (b"I" in text and b"Infinity" in text)


def _one_by_one(lines: list[bytes]) -> tuple[list[dict[str, Any]], int, bool]:
    rows: list[dict[str, Any]] = []
    bad = 0
    last_bad = False
    for line in lines:
        text = line.strip().removesuffix(b",")
        if not text or text in (b"[", b"]"):
            continue
        row = _object(text)
        last_bad = row is None
        if row is None:
            bad += 1
        else:
            rows.append(row)
    return rows, bad, last_bad


def _habits(table: Table) -> tuple[Habits, dict[str, Value], Table]:
    """What the writer's own conventions are, told by the keys."""
    table, facts = planned(table)
    keys = table.columns.keys()
    if "current_steps" in keys or "global_step/max_steps" in keys:  # LLaMA-Factory, ms-swift: callbacks of the transformers Trainer
        facts["framework"] = "transformers"
        return Habits(train=Reduction.WINDOW, epochs_are_done=True), facts, table
    if {"mode", "iter"} <= keys | table.texts.keys() and "mode" in table.texts:  # mmcv
        return Habits(train=Reduction.WINDOW), facts, _without_validation_counter(table)
    if {"data_time", "iter", "step"} <= keys:  # mmengine
        return Habits(step_key="iter", train=Reduction.WINDOW), facts, _with_epochs_of_evaluations(table)
    if "snapshot_pkl" in table.texts:
        return Habits(), facts, _with_snapshots(table)
    if {"data_time", "iteration"} <= keys:  # detectron2: medians over 20 iterations
        return Habits(train=Reduction.WINDOW), facts, table
    return Habits(), facts, table


def _without_validation_counter(table: Table) -> Table:
    """mmcv counts the validation loader in `iter` of a validation row: put such a row where training was."""
    cells = table.texts["mode"]
    columns = dict(table.columns)
    iters = columns["iter"].spread(table.count)
    is_val = np.zeros(table.count, dtype=bool)
    is_val[[row for row, text in cells.items() if text.startswith("val")]] = True
    steps = np.where(is_val, np.nan, iters)
    if "epoch" in columns:
        steps = within_epoch(steps, columns["epoch"].spread(table.count))
    last = np.maximum.accumulate(np.where(np.isfinite(steps), np.arange(table.count), 0))
    columns["iter"] = Column(np.arange(table.count), steps[last])
    return Table(table.count, columns, table.texts)


def _with_epochs_of_evaluations(table: Table) -> Table:
    """mmengine's evaluation rows of an epoch-based loop have no `iter` and the epoch as `step`: put them where training was."""
    columns = dict(table.columns)
    iters = columns["iter"].spread(table.count)
    known = np.isfinite(iters)
    last = np.maximum.accumulate(np.where(known, np.arange(table.count), 0))
    columns["iter"] = Column(np.arange(table.count), iters[last])
    if "epoch" in columns:
        epochs = columns["epoch"].spread(table.count)
        filled = np.where(np.isfinite(epochs), epochs, epochs[last])
        columns["epoch"] = Column(np.arange(table.count), filled)
    rows = range(table.count)
    return Table(table.count, columns, {**table.texts, "mode": {row: "train" if known[row] else "val" for row in rows}})


def _with_snapshots(table: Table) -> Table:
    """StyleGAN's evaluations name the snapshot, whose number is thousands of images."""
    cells = {row: re.search(r"(\d{3,9})", text) for row, text in table.texts["snapshot_pkl"].items()}
    found = {row: float(match[1]) for row, match in cells.items() if match}
    column = Column(np.array(list(found), dtype=np.int64), np.array(list(found.values())))
    return Table(table.count, {**table.columns, "kimg": column}, table.texts)


READER = Reader(NAME, claims, read)
