"""JSON documents that hold a history: `{metric: [values]}` as Keras and plain scripts save it, arrays of records as Chainer
and ESPnet write them, AllenNLP's one file per epoch, and TensorBoard's exported `[[wall time, step, value], …]`."""

import re
from collections import Counter
from itertools import islice
from typing import Any

import numpy as np

from postmortem.model.run import Setting, Source, Status
from postmortem.model.sentence import say
from postmortem.sources.config import MOST_SETTINGS, flatten, settings_of
from postmortem.sources.documents import Unreadable, load
from postmortem.sources.logs.blocks import head_text
from postmortem.sources.logs.curves import Habits, planned, series_of
from postmortem.sources.logs.jsonrows import RowTaker
from postmortem.sources.logs.numbers import number
from postmortem.sources.logs.rounds import ROUNDS, table_of_rounds
from postmortem.sources.logs.table import MOST_COLUMNS, Column, Table
from postmortem.sources.logs.text.keys import split_in
from postmortem.sources.logs.unlabelled import metric_of, stem_of
from postmortem.sources.names import names_a_loss, series_name
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "json-history"
_LARGEST = 256 << 20  # bytes
_VALUE = r'(?:"?-?(?:[\d.]|Infinity)|NaN)'
_LISTS = re.compile(rf'\s*\{{\s*"[^"]{{1,100}}"\s*:\s*(?:\{{\s*"[^"]{{1,100}}"\s*:\s*)?\[\s*{_VALUE}')
_LOSSES = re.compile(rf'"[^"]{{0,60}}(?i:loss)[^"]{{0,40}}"\s*:\s*\[\s*{_VALUE}')
_BY_SPLIT = re.compile(
    rf'\s*\{{\s*"(?i:train|val|test)[^"]{{0,20}}"\s*:\s*\[\s*\{{[^{{}}]{{0,2000}}"[^"]{{0,60}}(?i:loss)[^"]{{0,40}}"\s*:\s*{_VALUE}'
)
_LIST_ALONE = re.compile(rf"\s*+\[\s*+{_VALUE}[^\[\]{{]*+(?:\]\s*+)?")  # a list of numbers alone, or how it begins
_RECORDS = re.compile(r'\s*\[\s*\{\s*"')
_TRIPLES = re.compile(r"\s*\[\s*\[\s*\d{9,}(?:\.\d+)?\s*,\s*\d+\s*,")
_ONE_EPOCH = re.compile(r"metrics_epoch_(\d{1,9})\.json")
_ALLENNLP = re.compile(r'\s*\{[^{}\[\]]{0,2000}"training_epochs"\s*:')
_HISTORIES = ("history", "training_history", "train_history", "epochs", "logs", "log", "records")
_COUNTED = re.compile(r"(?:(epoch|step|iteration|round)[ _-]?)?(\d{1,9})", re.IGNORECASE)
_FEWEST_COUNTED = 2
_NESTED = 3  # levels of `{"train": {"loss": […]}}`


def claims(candidate: Candidate) -> bool:
    """A JSON document that starts like a history."""
    name = candidate.name.lower()
    if name.endswith((".json", ".txt", ".log")) and _LIST_ALONE.fullmatch(head_text(candidate.head)):
        return bool(metric_of(candidate.name))
    if not (name.endswith(".json") or name == "log"):
        return False
    head = head_text(candidate.head)
    if _ONE_EPOCH.fullmatch(name) or _ALLENNLP.match(head) or ROUNDS.match(head):
        return True
    lists = _LISTS.match(head) or (head.lstrip().startswith("{") and ("history" in name or _LOSSES.search(head) or _BY_SPLIT.match(head)))
    return bool(_RECORDS.match(head) or _TRIPLES.match(head) or (lists and not _is_config(name)))


def _is_config(name: str) -> bool:
    return "config" in name or "args" in name or "hparams" in name or "params" in name


def read(candidate: Candidate) -> Found:
    """Every list of numbers, or every record's numbers, as curves."""
    try:
        document = load(candidate.file, limit=_LARGEST, kind="json")
    except Unreadable as error:
        return Found(Source(candidate.path, NAME, Status.FAILED, error.why, candidate.size))
    one_epoch = _ONE_EPOCH.fullmatch(candidate.name.lower())
    habits = Habits()
    configured: dict[str, Any] = {}
    if isinstance(document, dict) and (one_epoch or "training_epochs" in document):
        epoch = int(one_epoch[1]) if one_epoch else number(str(document.get("epoch"))) or 0
        row = {"epoch": epoch, **{k: v for k, v in document.items() if k != "epoch" and not k.startswith(("best_", "peak_"))}}
        table = _table_of_rows([row])
        habits = Habits(epoch_base=0, row_is_epoch=True)
    elif isinstance(document, list) and document and metric_of(candidate.name) and not {dict, list} & set(map(type, document)):
        table = Table(len(document), {stem_of(candidate.name): _column(document)})
    elif isinstance(document, list):
        table, habits = _of_list(document, candidate.name)
    elif isinstance(document, dict) and ROUNDS.match(head_text(candidate.head)):
        table, habits = table_of_rounds(document)
    elif isinstance(document, dict) and (listed := _records_in(document)):
        table, habits = _of_list(listed, candidate.name)
    elif isinstance(document, dict):
        configured = {k: v for k, v in document.items() if _is_config(k.lower()) and isinstance(v, dict)}
        table = _of_lists({k: v for k, v in document.items() if k not in configured})
    else:
        table = Table(0, {})
    table, facts = planned(table)
    series = series_of(table, candidate.path, habits)
    if not series:
        return Found(Source(candidate.path, NAME, Status.SKIPPED, say("it is a JSON document without a history of numbers"), candidate.size))
    return Found(
        Source(candidate.path, NAME, Status.READ, None, candidate.size), series=series, facts=facts, settings=_settings(configured, candidate.path)
    )


def _records_in(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Records that a document has under one name, `{"history": [{…}, …]}`, or by what counts them, `{"epoch_1": {…}, …}`; none of any other."""
    named = next((v for k, v in document.items() if k.lower() in _HISTORIES and isinstance(v, list)), [])
    if named and set(map(type, named)) == {dict}:
        return named
    counted = [(found, row) for key, row in document.items() if isinstance(row, dict) and (found := _COUNTED.fullmatch(key))]
    if len(counted) < _FEWEST_COUNTED or len(counted) < len(document):
        return []
    return [{(found[1] or "epoch").lower(): int(found[2]), **row} for found, row in counted]


def _settings(configured: dict[str, Any], path: str) -> tuple[Setting, ...]:
    """What a history says of the configuration that it belongs to."""
    return settings_of(islice(flatten(configured), MOST_SETTINGS), path)


def _table_of_rows(rows: list[dict[str, Any]]) -> Table:
    taker = RowTaker()
    taker.take(rows)
    return taker.table()


def _of_list(document: list[Any], filename: str) -> tuple[Table, Habits]:
    if document and all(isinstance(row, list) and len(row) == 3 for row in document):
        try:
            values = np.array(document, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return Table(0, {}), Habits()
        stem = filename.rpartition(".")[0].rpartition("tag-")[2]
        rows = np.arange(len(values))
        table = Table(len(values), {"wall time": Column(rows, values[:, 0]), "step": Column(rows, values[:, 1]), stem: Column(rows, values[:, 2])})
        return table, Habits(renamed={stem: series_name(stem)})
    rows_ = [row for row in document if isinstance(row, dict)]
    table = _table_of_rows(rows_)
    return (table, Habits()) if _is_log(table) else (Table(0, {}), Habits())


def _is_log(table: Table) -> bool:
    """Records of a training rather than of a data set: something counts, or something is a loss."""
    from postmortem.sources.logs.axis import has_axis

    keys = list(table.columns)
    return has_axis(keys) or any(series_name(k).partition("/")[2] in ("loss", "accuracy") for k in keys)


def _of_lists(document: dict[str, Any]) -> Table:
    """Lists of numbers by key, and records listed by split; those of the most common length, which is that of epochs, are rows of one table."""
    columns: dict[str, Column] = {}
    longest = 0

    def walk(node: dict[str, Any], prefix: str, depth: int) -> None:
        nonlocal longest
        for key, value in node.items():
            if len(columns) >= MOST_COLUMNS:
                return
            if isinstance(value, list) and value and not {dict, list} & set(map(type, value)):
                columns[prefix + str(key)] = _column(value)
                longest = max(longest, len(value))
            elif isinstance(value, list) and value and split_in(str(key)) and set(map(type, value)) == {dict}:
                records = _table_of_rows(value)
                columns.update({f"{prefix}{key}/{k}": c for k, c in records.columns.items()})
                longest = max(longest, records.count)
            elif isinstance(value, dict) and depth < _NESTED:
                walk(value, prefix if key == "history" else f"{prefix}{key}/", depth + 1)

    walk(document, "", 0)
    columns = {k: c for k, c in columns.items() if len(c)}
    known = ("loss", "accuracy", "error", "perplexity", "score", "mae", "mse", "f1", "auc")
    lengths = Counter(len(c) for c in columns.values())
    told = any(series_name(k).partition("/")[2] in known or (names_a_loss(k) and lengths[len(c)] > 1) for k, c in columns.items())
    return Table(longest, columns) if told else Table(0, {})


def _column(cells: list[Any]) -> Column:
    if set(map(type, cells)) <= {int, float}:
        return Column(np.arange(len(cells)), np.array(cells, dtype=np.float64))
    numbers = [_cell(cell) for cell in cells]
    said = [n for n, one in enumerate(numbers) if one is not None]
    return Column(np.array(said, dtype=np.int64), np.array([numbers[n] for n in said], dtype=np.float64))


def _cell(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    return float(value) if isinstance(value, int | float) else number(value) if isinstance(value, str) else None


READER = Reader(NAME, claims, read)
