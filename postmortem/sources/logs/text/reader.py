"""The reader of plain-text logs: what a training job printed, in whatever habit."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from postmortem.model.run import EventKind, LogEvent, Series, Setting, Source, Status
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.logs.beside import split_of_file
from postmortem.sources.logs.blocks import Reading
from postmortem.sources.logs.crash import of_a_traceback
from postmortem.sources.logs.detection import with_total_of_console
from postmortem.sources.logs.encodings import encoding_of
from postmortem.sources.logs.parts import with_sum_of_parts
from postmortem.sources.logs.stretches import Extent
from postmortem.sources.logs.text.bars import Redraws
from postmortem.sources.logs.text.keys import split_in
from postmortem.sources.logs.text.lines import Chunk, chunks
from postmortem.sources.logs.text.megatron import with_lost_losses
from postmortem.sources.logs.text.noise import CHATTER, Part, Sieve, Words, past_chatter
from postmortem.sources.logs.text.periods import first_lines, last_lines
from postmortem.sources.logs.text.places import Settled, settle
from postmortem.sources.logs.text.runs import Repeats
from postmortem.sources.logs.text.scan import Scan
from postmortem.sources.logs.text.series import to_series
from postmortem.sources.logs.text.shapes import NOISE
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "text-log"
_ENDINGS = (".log", ".txt", ".out", ".err", ".stderr", ".stdout", ".console", ".output")
_OTHERS = (
    ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".md", ".rst", ".html", ".xml", ".py", ".sh", ".ipynb", ".cfg",
    ".ini", ".js", ".css",
    ".c",
    ".cu", ".cpp", ".h", ".lock", ".diff", ".patch", ".npy", ".npz", ".pt", ".pth", ".bin", ".ckpt", ".png", ".jpg", ".svg",
)  # fmt: skip
_NOT_LOGS = {
    "requirements.txt",
    "vocab.txt",
    "merges.txt",
    "license.txt",
    "readme.txt",
    "license",
    "readme",
    "makefile",
    "dockerfile",
    "latest",
    "cmakelists.txt",
}
_FRAMEWORKS = (
    ("lightning", frozenset({"lightning"})),
    ("transformers", frozenset({"transformers"})),
    ("keras", frozenset({"keras"})),
    ("megatron", frozenset({"megatron"})),
    ("fairseq", frozenset({"fairseq"})),
    ("mmengine", frozenset({"mmengine"})),
    ("detectron2", frozenset({"detectron2"})),
    ("caffe", frozenset({"caffe"})),
    ("darknet", frozenset({"darknet"})),
    ("marian", frozenset({"marian"})),
)
A_BYTE = 0.02  # of what is taken by the stretch or passed over: the least that a byte costs (see `effort`)
_CHATTER = 50  # lines in a chunk that are worth a look for what they do not say
_RISEN = 1.5  # times its first value: a rate that is warmed up
_BLANK = b"\n" * 30  # blank lines: more than a period has
_BLANKS = re.compile(rb"\n++")
_CONTROL = frozenset(range(32)) - {0, 8, 9, 10, 12, 13, 27}


def claims(candidate: Candidate) -> bool:
    """Any file that looks like text and has a name that logs have."""
    name = candidate.name.lower()
    if name.endswith((".csv", ".tsv")):
        return of_a_traceback(candidate.head)
    if name in _NOT_LOGS or name.endswith(_OTHERS) or not candidate.size:
        return False
    stem, dot, ending = name.rpartition(".")
    named = name.endswith(_ENDINGS) or not dot or not stem
    rotated = ending.isdigit() or (ending[:1] in ("o", "e") and ending[1:].isdigit())
    if not named and not rotated and not any(f"{e}." in name or f"{e}-" in name or f"{e}_" in name for e in _ENDINGS) and "log" not in name:
        return False
    return looks_like_text(candidate.head)


def looks_like_text(head: bytes) -> bool:
    """UTF-8, UTF-16, GBK or Latin-1 text; a few control bytes and runs of NUL (a disk that was full) are forgiven."""
    if encoding_of(head):
        return True
    body = head.replace(b"\x00", b"")
    if not body or len(body) * 2 < len(head):
        return False
    odd = sum(1 for b in body if b in _CONTROL)
    if odd > 0.02 * len(body):
        return False
    try:
        body[: len(body) - 3].decode()
    except UnicodeDecodeError as error:
        if error.start >= len(body) - 8:
            return True
        high = sum(1 for b in body if b >= 0x7F)
        return high < (0.2 if odd else 0.6) * len(body) and odd * 200 <= len(body)  # tables drawn in GBK are half high bytes
    return True


def read(candidate: Candidate) -> Found:
    """Everything that a log tells. Never raises; what could not be read is in the source's detail."""
    met = Reading(Extent(candidate.size))
    scan = Scan(candidate.path, met.extent.effort)
    repeats, bars = Repeats(scan), Redraws(scan)
    cut: LogEvent | None = None
    problem: Sentence | None = None
    numbered: int | None = None  # lines before the first part that was left out
    try:
        for chunk in chunks(candidate.file, met):
            if chunk.apart:
                scan.gap()
                numbered = chunk.first_line - 1 if numbered is None else numbered
            met.extent.effort.spent += A_BYTE * len(chunk.data)
            cut = _lines(scan, repeats, bars, chunk, candidate.path)
    except OSError as error:
        problem = say("the file could not be read to its end: {why}", why=error.strerror or say("an input error"))
    scan.end()
    events = scan.watch.end(scan.reached()) + ((cut,) if cut else ())
    if numbered is not None:
        events = tuple(replace(e, line=0) if e.line > numbered else e for e in events)
    where = settle(scan.rows)
    series = _of_the_file(
        tuple(with_sum_of_parts(with_total_of_console(with_lost_losses(to_series(scan.rows, where, candidate.path))))), split_of_file(candidate)
    )
    facts = _facts(scan, where)
    problem = problem or met.extent.left_out()
    if met.too_long and not (problem and series):
        problem = say("{n} lines were left out because they are too long", n=met.too_long)
    status, detail = (Status.PARTIAL, problem) if problem else (Status.READ, None)
    if not problem and not series and not events and not scan.settings.found:
        status, detail = Status.SKIPPED, say("no metric, event or setting was recognised in it")
    settings = tuple(s for s in scan.settings.found.values() if not (_warming(s, series) or _first_epoch(s, scan.rows.lowest_epoch)))
    source = Source(path=candidate.path, reader=NAME, status=status, detail=detail, size=candidate.size)
    return Found(source=source, series=series, events=events, settings=settings, facts=MappingProxyType(facts))


def _of_the_file(series: tuple[Series, ...], split: str) -> tuple[Series, ...]:
    """What a file beside that of training measured, where its lines do not say of which set it is."""
    if not split or any(s.name.startswith(("val/", "test/")) or s.name == "grad_norm" for s in series):
        return series
    unsaid = [s.name.startswith("train/") and not split_in(s.logged_as) for s in series]
    return tuple(replace(s, name=f"{split}/{s.name.removeprefix('train/')}") if u else s for s, u in zip(series, unsaid, strict=True))


def _warming(setting: Setting, series: Sequence[Series]) -> bool:
    """What stands in a record for the first time is no setting: a learning rate that the log then shows to rise."""
    if setting.name != "learning_rate" or not isinstance(setting.value, int | float):
        return False
    rates = [s.values for s in series if s.logged_as == setting.key and len(s) > 1]
    return any(r[0] == setting.value and np.nanmax(r) > _RISEN * r[0] for r in rates)


def _first_epoch(setting: Setting, lowest: float) -> bool:
    """`Epoch: 0` above the first record names an epoch, and is no number of epochs."""
    return setting.name == "epochs" and setting.key.lower() == "epoch" and setting.value == lowest


class _Cursor:
    """Where in a chunk the reading is; counts lines only when it is asked."""

    def __init__(self, chunk: Chunk, before: int) -> None:
        self.chunk = chunk
        self.before = before  # bytes of earlier chunks
        self.part: Part | None = None  # what is read instead of the chunk
        self.offset = 0  # in what is read
        self.counted = 0
        self.number = chunk.first_line

    def _here(self) -> int:
        return self.part.place(self.offset) if self.part else self.offset

    def place(self) -> int:
        """Bytes before the line that begins at `offset`."""
        return self.before + self._here()

    def line_number(self) -> int:
        """The number, in the file, of the line that begins at `offset`."""
        here = self._here()
        if here > self.counted:
            self.number += self.chunk.line_ends(self.counted, here)
            self.counted = here
        return self.number


def _lines(scan: Scan, repeats: Repeats, bars: Redraws, chunk: Chunk, path: str) -> LogEvent | None:
    """Read a chunk. A last line that is cut is left out and returned."""
    whole = chunk.data.rfind(b"\n") + 1 if chunk.cut else len(chunk.data)
    data, rest = chunk.data[:whole], chunk.data[whole:]
    cursor = _Cursor(chunk, scan.read)
    scan.line_number, scan.offset = cursor.line_number, cursor.place
    scan.read += len(chunk.data)
    words = Words(data) if data.count(CHATTER) > _CHATTER else None
    sieve: Sieve | None = None
    start = 0
    while start < whole:
        if scan.noisy:
            sieve = sieve or Sieve(data, scan.told)
            cursor.part = part = sieve.part(start)
            scan.shapes.tells = scan.told.of
            _some(scan, repeats, bars, cursor, part.data, 0, None)
            scan.shapes.tells = None
            start = part.end
        else:
            cursor.part = None
            start = _some(scan, repeats, bars, cursor, data, start, words)
    if rest:
        cursor.part, cursor.offset = None, whole
    if rest and scan.shapes.ends_early(rest):
        return LogEvent(EventKind.CUT, rest[:400].decode("utf-8", "replace"), path, cursor.line_number())
    if rest:
        scan.line(rest)
    return None


def _some(scan: Scan, repeats: Repeats, bars: Redraws, cursor: _Cursor, data: bytes, start: int, words: Words | None) -> int:
    """Read lines from `start` on: line by line, and by the stretch where shapes repeat. Returns where that ends: at the end of the text, or
    where the rest is better read without its noise."""
    while start < len(data):
        begin, start = start, bars.take(data, start)
        if start > begin:
            cursor.offset = data.rfind(b"\n", 0, start - 1) + 1  # of the last line that was taken
            repeats.saw(bars.entry)
            continue
        if words and not (scan.watch.reading or scan.closing or scan.block):
            start = past_chatter(data, begin, words.training)
            if start > begin:
                scan.chatter([*first_lines(data[begin:start], 1), *last_lines(data[begin:start], 1)], data.count(b"\n", begin, start))
                repeats.saw(NOISE)
                continue
        end = data.find(b"\n", start)
        before, cursor.offset = cursor.offset, start
        line = data[start:end]
        entry = scan.line(line)
        period = repeats.saw(entry)
        if entry is None:
            cursor.offset = before  # of the last line with something in it
        elif entry.plan.progress:
            bars.saw(entry, line)
        start = end + 1
        if data.startswith(_BLANK, start):
            begin, start = start, _BLANKS.match(data, start).end()  # type: ignore[union-attr]
            scan.blank(start - begin)
            repeats.saw(None)
        elif start < len(data) and (period := period or repeats.resumed(data, start)):
            begin, start = start, repeats.take(period, data, start)
            if start > begin:
                cursor.offset = data.rfind(b"\n", 0, start - 1) + 1
        if cursor.part is None and scan.noisy:
            break
    return start


def _facts(scan: Scan, where: Settled) -> dict[str, Value]:
    finished = any(e.kind == EventKind.FINISHED for e in scan.watch.events)
    gpus = next((s.value for s in scan.settings.found.values() if s.name == "gpus"), None)
    found = {
        "planned_steps": scan.planned_steps if not math.isnan(scan.planned_steps) else where.planned,
        "planned_epochs": scan.planned_epochs if not math.isnan(scan.planned_epochs) else where.planned_epochs,
        "steps_per_epoch": where.per_epoch,
        "started_at": scan.first_time,
        "ended_at": scan.last_time,
    }
    facts: dict[str, Value] = {k: v for k, v in found.items() if v is not None and math.isfinite(v) and v > 0}
    if finished:
        facts["finished"] = True
    if isinstance(gpus, int | float):
        facts["gpus"] = gpus
    framework = next((name for name, known in _FRAMEWORKS if scan.shapes.saw & known), "")
    if framework:
        facts["framework"] = framework
    return facts


READER = Reader(NAME, claims, read)
