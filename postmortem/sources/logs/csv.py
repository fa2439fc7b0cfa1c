"""Delimited text: Lightning's and Keras' CSV loggers, Ultralytics' results, Stable-Baselines' progress and monitor files,
tables exported by W&B and TensorBoard, `loss.tsv`, and whatever else people write row by row."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from postmortem.model.run import EventKind, LogEvent, Source, Status
from postmortem.model.sentence import Sentence, say
from postmortem.sources.logs.axis import is_clock
from postmortem.sources.logs.blocks import Reading, blocks, head_text
from postmortem.sources.logs.crash import of_a_traceback
from postmortem.sources.logs.csvblocks import Beside, cells_of, parse, parse_beside
from postmortem.sources.logs.csvwriters import Layout, layout_of, no_log, series_by_layout
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.numbers import MISSING_WORDS, fixed_decimals, instant, number
from postmortem.sources.logs.stretches import Extent
from postmortem.sources.logs.table import MOST_COLUMNS, Gathering
from postmortem.sources.logs.unlabelled import delimiter_of_numbers, headed_by_pandas, stem_of
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "csv"
FEWEST_ROWS, A_FEW_ROWS, FEW_DIGITS, ALL_DIGITS = 3, 4096, 10, 14  # rows; bytes; characters of a number
A_BYTE, A_COLUMN, A_CELL, A_LOOSE_CELL = 0.025, 6.0, 0.3, 2.5  # what is paid for (see `effort`): bytes, columns of a block, cells by themselves
MOST_RAGGED = 100_000  # rows of another width, before a file without others is given up
# `tensor(3.17, device='cuda:0')`, quoted or not: a number. The comma in it ends no cell.
_TENSOR = re.compile(rb"(\"?)tensor\(([-+.\w]{1,40})(?:,[^()\n\"]{0,80})?\)\1")
_BLANK_LINES = re.compile(rb"\n\n+")
_PRINTED_ROWS, _PRINTED_BYTES = 200, 1 << 16  # that show how finely columns are printed
MOST_DISTINCT_TEXTS = 2_000  # in one block, before a column without numbers is given up


def claims(candidate: Candidate) -> bool:
    """A `.csv` or `.tsv`, or a text file whose first lines are a header and rows that fit it."""
    name = candidate.name.lower()
    if name.endswith((".csv", ".tsv", ".csv.txt")):
        return not of_a_traceback(candidate.head)
    if not (name.endswith((".txt", ".log", ".dat", ".tab")) or "." not in name):
        return False
    text = head_text(candidate.head)
    if delimiter_of_numbers(candidate.name, text, whole=candidate.size <= len(candidate.head)):
        return True
    lines = text.splitlines()[:4]
    layout = layout_of(text)
    if layout is None or len(lines) < 2:
        return False
    if layout.delimiter == " ":
        return True
    if (
        not layout.header
        or layout.delimiter == "|"
        or no_log(layout) is not None
        or len(layout.header) < (1 if layout.preamble.startswith("%") else 2)
        or any(len(h) > 60 for h in layout.header)
    ):
        return False
    row = lines[layout.skip].split(layout.delimiter) if layout.skip < len(lines) else []
    row = row[:-1] if layout.preamble.startswith("%") and row and not row[-1].strip() else row
    return len(row) == len(layout.header) and all(number(c) is not None or c.strip().lower() in MISSING_WORDS for c in row)


def read(candidate: Candidate) -> Found:
    """Every numeric column as a curve. Cells that are empty are no points; a cut last row is left out."""
    head = head_text(candidate.head if candidate.size <= len(candidate.head) else _longer_head(candidate))
    numbers = delimiter_of_numbers(candidate.name, head, whole=candidate.size <= len(candidate.head))
    if numbers:
        delimiter, width = numbers
        layout: Layout | None = Layout(delimiter, (stem_of(candidate.name),) if width == 1 else (), int(width == 1 and headed_by_pandas(head)))
    else:
        layout = layout_of(head)
    if layout is None:
        return _none(candidate, say("it holds no table with a header row"))
    reason = None if numbers else no_log(layout)
    if reason:
        return _none(candidate, reason)
    met = Reading(Extent(candidate.size))
    rows = Rows(layout, met.extent.effort)
    before, cut = b"", ""
    try:
        for block in blocks(candidate.file, met):
            if not met.ends_with_newline and _is_cut(block, before, layout.delimiter.encode()):  # the last row, by itself
                cut = block.decode("utf-8", "replace").rstrip("\n")
                break
            rows.take(block)
            before = block[-A_FEW_ROWS:]
            if rows.gathering.full or rows.ragged > max(MOST_RAGGED, 10 * rows.gathering.count):
                break
    except (OSError, csv.Error) as error:
        source = Source(candidate.path, NAME, Status.FAILED, say("it could not be read: {why}", why=str(error)[:200]), candidate.size)
        return Found(source)
    table = rows.gathering.table(rows.keys)
    series, facts = series_by_layout(table, layout, candidate)
    if not series:
        return _none(candidate, say("it has a header and no rows with numbers") if not table.count else say("none of its columns is a curve"))
    detail = met.extent.left_out() or (say("its last row is cut off") if cut else _detail(rows, met))
    source = Source(candidate.path, NAME, Status.PARTIAL if detail else Status.READ, detail, candidate.size)
    return Found(source, series=series, facts=facts, events=(LogEvent(EventKind.CUT, cut, candidate.path, table.count + 1),) if cut else ())


def _is_cut(last: bytes, before: bytes, delimiter: bytes) -> bool:
    """The writer died in the middle of the last row: it has fewer cells than the rows before it, or its last number, where those have all
    digits of a float, has far fewer."""
    rows = [row.split(delimiter) for row in before.split(b"\n")[1:-1]]
    cells = last.rstrip(b"\n").split(delimiter)
    if not rows or len({len(row) for row in rows}) > 1 or len(cells) != len(rows[0]):
        return bool(rows) and len(cells) < min(map(len, rows))
    return len(rows) >= FEWEST_ROWS and len(cells[-1]) <= FEW_DIGITS and all(len(row[-1]) >= ALL_DIGITS for row in rows)


def _longer_head(candidate: Candidate) -> bytes:
    """A header of thousands of columns does not fit the usual first bytes."""
    if b"\n" in candidate.head:
        return candidate.head
    try:
        with candidate.file.open("rb") as file:
            return file.read(1 << 20)
    except OSError:
        return candidate.head


def _none(candidate: Candidate, reason: Sentence) -> Found:
    return Found(Source(candidate.path, NAME, Status.SKIPPED, reason, candidate.size))


def _detail(rows: "Rows", met: Reading) -> Sentence | None:
    if rows.gathering.full:
        return say("it is too large: only its first {n:,} rows were read", n=rows.gathering.count)
    if rows.gathering.narrowed:
        return say("only its first {n:,} columns were read", n=MOST_COLUMNS)
    if met.too_long:
        return say("{n} lines were left out because they are too long", n=met.too_long)
    if rows.ragged:
        return say("{n} rows have another number of cells than the header", n=rows.ragged)
    return None


@dataclass(slots=True)
class Rows:
    """Takes blocks of rows: plain numbers at once, anything else row by row."""

    layout: Layout
    effort: Effort
    gathering: Gathering = field(default_factory=Gathering)
    keys: tuple[str, ...] = ()
    ragged: int = 0
    _skipped: int = 0
    _mixed: bool = False  # the last block had columns of other things than numbers
    _texts: set[str] = field(default_factory=set)  # columns of ever new texts

    def __post_init__(self) -> None:
        self.keys = _unique(self.layout.header)

    def take(self, block: bytes) -> None:
        """Add the rows of a block."""
        while self._skipped < self.layout.skip and block:
            _, _, block = block.partition(b"\n")
            self._skipped += 1
        if not block or block.isspace():
            return
        if b"tensor(" in block:
            block = _TENSOR.sub(rb"\2", block)
        if self.layout.delimiter == ";" and b"," in block and b"." not in block:  # where a comma is the decimal point
            block = block.replace(b",", b".")
        if not self.keys:
            first = block.lstrip(b"\n").partition(b"\n")[0].decode("utf-8", "replace")
            self.keys = tuple(f"column {n + 1}" for n in range(len(first.split(None if self.layout.delimiter == " " else self.layout.delimiter))))
        delimiter = self.layout.delimiter.encode()
        self.effort.spent += A_BYTE * len(block) + A_COLUMN * len(self.keys)
        if delimiter == b" ":
            self._row_by_row(block.decode("utf-8", "replace"))
            return
        if self.gathering.count < _PRINTED_ROWS:
            self._printed(block)
        width = len(self.keys)
        if width == 1:  # a blank line looks like a row of one empty cell
            block = _BLANK_LINES.sub(b"\n", block)
        parsed = self._at_once(block, delimiter)
        if parsed is None and b"\n\n" in block:
            block = _BLANK_LINES.sub(b"\n", block)
            parsed = self._at_once(block, delimiter)
        if parsed is None:
            repeated = self.layout.header and max(self.layout.header, key=len).encode() in block
            cells = None if repeated or not self.keys else cells_of(block, delimiter, len(self.keys))
            if cells is None:
                self._row_by_row(block.decode("utf-8", "replace"))
                return
            self.effort.spent += A_CELL * len(cells)
            for n, key in enumerate(self.keys):
                self._column(key, self.gathering.count, cells[n :: len(self.keys)])
            self.gathering.count += len(cells) // len(self.keys)
            return
        for n, texts in parsed.texts.items():
            self._column(self.keys[n], self.gathering.count, texts)
        where = np.arange(self.gathering.count, self.gathering.count + len(parsed.values))
        for n, column in enumerate(parsed.numeric):
            key, values, present = self.keys[column], parsed.values[:, n], None if parsed.present is None else parsed.present[:, n]
            if present is None or present.all():
                self.gathering.add(key, where, values)
            elif present.any():
                self.gathering.add(key, where[present], values[present])
        self.gathering.count += len(where)

    def _at_once(self, block: bytes, delimiter: bytes) -> Beside | None:
        """A block of which all columns hold numbers, or all of some; None for any other."""
        width = len(self.keys)
        unwanted = {n for n, key in enumerate(self.keys) if key in self._texts}
        beside = parse_beside(block, delimiter, width, unwanted) if self._mixed else None
        if beside is not None:
            return beside
        parsed = parse(block, delimiter, width)
        found = Beside(range(width), *parsed) if parsed else None if self._mixed else parse_beside(block, delimiter, width, unwanted)
        self._mixed = found is not None and parsed is None
        return found

    def _printed(self, block: bytes) -> None:
        """How finely each column is printed, from its first rows."""
        head = block[:_PRINTED_BYTES].decode("utf-8", "replace").splitlines()
        rows = [row for line in head[:_PRINTED_ROWS] if len(row := line.replace('"', "").split(self.layout.delimiter)) == len(self.keys)]
        fixed = {key: found for key, cells in zip(self.keys, zip(*rows, strict=True), strict=bool(rows)) if (found := fixed_decimals(cells))}
        formats = {places for places, padded in fixed.values() if padded}  # one format often prints all columns
        for key, (places, _) in fixed.items():
            if places in formats:
                self.gathering.add_unit(key, float(f"1e-{places}"))

    def _row_by_row(self, text: str) -> None:
        rows = [line.split() for line in text.splitlines()] if self.layout.delimiter == " " else _rows(text, self.layout.delimiter)
        self.effort.spent += A_LOOSE_CELL * sum(map(len, rows))
        width = len(self.keys)
        kept: list[list[str]] = []
        for row in rows:
            if not row or (len(row) == 1 and width > 1 and not row[0].strip()):
                continue
            while len(row) > width and not row[-1].strip():
                row.pop()
            if (
                self.layout.header[:1] == (row[0].strip(),) and tuple(c.strip() for c in row) == self.layout.header
            ):  # a run appended to the file of another one
                continue
            if len(row) != width:
                self.ragged += 1
            else:
                kept.append(row)
        start = self.gathering.count
        for key, cells in zip(self.keys, zip(*kept, strict=True), strict=bool(kept)):
            self._column(key, start, cells)
        self.gathering.count += len(kept)

    def _column(self, key: str, start: int, cells: Sequence[str]) -> None:
        if key in self._texts:
            return
        said: Sequence[int] = range(len(cells)) if "" not in cells else [n for n, cell in enumerate(cells) if cell]
        try:
            values = np.array(list(map(float, cells if len(said) == len(cells) else [cells[n] for n in said])), dtype=np.float64)
        except ValueError:
            pass
        else:
            self.gathering.add(key, np.array(said, dtype=np.int64) + start, values)
            return
        seen: dict[str, float | None] = {}
        clock = is_clock(key)
        at: list[int] = []
        found: list[float] = []
        totals: list[float] = []
        for n in said:
            cell = cells[n].strip()
            value = seen.get(cell)
            if value is None and cell not in seen:
                value = number(cell)
                if value is None and clock:
                    value = instant(cell)
                seen[cell] = value
                if len(seen) > MOST_DISTINCT_TEXTS and not found:
                    self._texts.add(key)  # times of day, messages: no split and no name of a metric
                    return
            if value is None:
                if cell.lower() in MISSING_WORDS:
                    continue
                done, slash, total = cell.partition("/")
                if not (slash and done.isdecimal() and total.isdecimal() and len(cell) < 20):
                    self.gathering.add_text(key, start + n, cell)
                    continue
                value = float(done)
                totals.append(float(total))
            at.append(start + n)
            found.append(value)
        if at:
            self.gathering.add(key, np.array(at, dtype=np.int64), np.array(found))
        if len(totals) == len(at) > 0:
            self.gathering.add(f"{key}:total", np.array(at, dtype=np.int64), np.array(totals))


def _rows(text: str, delimiter: str) -> Sequence[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:  # a field larger than the module's limit, a stray quote
        return [line.split(delimiter) for line in text.splitlines()]


def _unique(header: Sequence[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    out: list[str] = []
    for name in header:
        count = seen[name] = seen.get(name, 0) + 1
        out.append(name if count == 1 else f"{name}.{count - 1}")
    return tuple(out)


READER = Reader(NAME, claims, read)
