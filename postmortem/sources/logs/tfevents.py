"""TensorBoard event files (`*tfevents*`): every scalar, histograms, hyper-parameters, session starts.

Never a sample: all points of the file, in file order; duplicates and steps that go back are kept, cutting is `assemble`'s.
The checksum of each length is verified, because a wrong length loses everything behind it; that of the data is not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from postmortem.model.run import EventKind, Floats, LogEvent, LoggedHistogram, Series, Source, Status
from postmortem.model.sentence import Sentence, say
from postmortem.sources.axes import by_the_clock
from postmortem.sources.config import flatten, settings_of
from postmortem.sources.documents import Unreadable, json_of, scalar
from postmortem.sources.logs import tfevents_scan, tfevents_values
from postmortem.sources.logs.detection import with_totals
from postmortem.sources.logs.protobuf import VARINT, MalformedError, walk
from postmortem.sources.logs.tfevents_scan import BAD_CRC, MAX_TAGS, RECORD_LOG, SIMPLE, Columns
from postmortem.sources.names import reduction_of, series_names, words
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "tensorboard"

COMPILED_ABOVE = 4 << 20  # bytes; below, plain Python is done before numba is loaded
CHUNK = 8 << 20  # bytes read at a time
MAX_RECORD = 16 << 20  # bytes; larger records are pictures, graphs, embeddings
MAX_HISTOGRAMS = 50_000
MAX_SETTINGS = 2_000
MOST_POINTS = 8_000_000  # of one file; of more every second one is kept, then every fourth …
LARGE = 256 << 20  # bytes; of a larger file the first chunk tells how many points it holds
_SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "eval": "val", "evaluation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

Scan = Callable[[bytes], Columns]
_Points: TypeAlias = tuple[npt.NDArray[Any], ...]  # tags, steps, walls, values, whether from a tensor: (n,) each


_VERSION = b"brain.Event:"  # in the first record of every file
_FIRST_RECORD = 64  # bytes


def claims(candidate: Candidate) -> bool:
    """By name, or by the version that the first record states: a file may have been renamed on its way."""
    return "tfevents" in candidate.name or _VERSION in candidate.head[:_FIRST_RECORD]


def read(candidate: Candidate) -> Found:
    """Read one event file. Several files of one directory are one run; `assemble` joins them."""
    log = _EventFile(candidate.path)
    try:
        with candidate.file.open("rb", buffering=0) as file, np.errstate(all="ignore"):
            for data, columns in _scanned(file, candidate.size, log):
                log.take(data, columns)
                if candidate.size > LARGE and not log.expected:
                    log.expect(candidate.size // max(len(data), 1))
            return log.found(candidate)
    except OSError as error:
        return Found(Source(candidate.path, NAME, Status.FAILED, say("cannot be read: {error}", error=error.strerror or ""), candidate.size))


def split_of_folder(folder: str) -> str:
    """ "train", "val" or "test" when the directory says so, else "": Keras writes `train/` and `validation/`, `add_scalars` `Loss_val/`."""
    parts = folder.split("/") if folder else []
    if parts:
        last = [_SPLIT_WORDS[w] for w in words(parts[-1]) if w in _SPLIT_WORDS]
        if len(set(last)) == 1:
            return last[0]
    return next((_SPLIT_WORDS[p.lower()] for p in reversed(parts[:-1]) if p.lower() in _SPLIT_WORDS), "")


def curve_of_folder(folder: str, tag: str) -> str:
    """The curve that a file of one tag is, of several with that tag, "" elsewhere: `add_scalars("metrics", {"recall": …})` writes to
    `metrics_recall/`, tensorboardX to `metrics/recall/`."""
    before, _, last = folder.rpartition("/")
    prefix = tag.replace("/", "_") + "_"
    if last.startswith(prefix):
        return last.removeprefix(prefix)
    return last if before == tag or before.endswith("/" + tag) else ""


def _scanner(size: int) -> Scan:
    if size < COMPILED_ABOVE:
        return tfevents_scan.scan
    try:
        from postmortem.sources.logs import tfevents_compiled

        tfevents_compiled.scan(b"")
    except Exception:  # numba is missing or does not fit this numpy or Python
        return tfevents_scan.scan
    return tfevents_compiled.scan


def _scanned(file: BinaryIO, size: int, log: "_EventFile") -> Iterator[tuple[bytes, Columns]]:
    """Buffers and what was found in them. At most a chunk and a record are in memory; the file may still be growing."""
    scan = _scanner(size)
    at = 0  # offset in the file of the first byte that was not taken
    carry = b""
    while True:
        block = file.read(max(min(CHUNK, size - at - len(carry)), 0))
        data = carry + block if carry else block
        columns = scan(data)
        yield data, columns
        at += columns.next
        carry = data[columns.next :]
        if columns.reason == BAD_CRC:
            log.stopped = say("the record at byte {at} has a damaged length; nothing behind it can be read", at=at)
            return
        length = tfevents_scan.length_is_sound(carry, 0)[0] + 16 if len(carry) >= 12 else 0
        if length > size - at or (not block and carry):
            log.stopped = say("the last record is cut off at byte {at} (still being written, or the process was killed)", at=at)
            return
        if length > MAX_RECORD:
            log.oversized += 1
            at += length
            file.seek(at)
            carry = b""
        elif not block:
            return


@dataclass
class _EventFile:
    """What has been read of one file so far."""

    path: str
    ids: dict[bytes, int] = field(default_factory=dict)
    chunks: list[_Points] = field(default_factory=list)
    plugins: dict[int, str] = field(default_factory=dict)
    histograms: list[LoggedHistogram] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)
    events: list[LogEvent] = field(default_factory=list)
    records: int = 0
    damaged: int = 0
    crowded: int = 0
    oversized: int = 0
    lost_histograms: int = 0
    stopped: Sentence | None = None
    held: int = 0  # points
    expected: int = 0  # points, of a large file
    stride: int = 1  # of that many points of a tag one was kept
    seen: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(MAX_TAGS, np.int64))  # points of each tag, once not all are kept

    def take(self, data: bytes, columns: Columns) -> None:
        """Add one buffer's rows."""
        self.records += columns.records
        self.damaged += columns.damaged
        self.crowded += columns.crowded
        if not len(columns.tags):
            return
        mine = np.array([self._id(name) for name in columns.names] + [MAX_TAGS], np.int64)  # the last is RECORD_LOG's
        tags = mine[columns.tags]
        values = columns.values
        keep = columns.ends <= 0
        for row in np.flatnonzero(columns.ends > 0).tolist():
            try:
                value = self._decode(data, columns, row, int(tags[row]))
            except MalformedError:
                self.damaged += 1
                continue
            if value is not None:
                values[row] = value
                keep[row] = True
        over = tags == MAX_TAGS
        self.crowded += int((keep & over).sum())
        keep &= ~over
        if self.stride > 1:
            keep[keep] = self._in_turn(tags[keep])
        from_tensor = columns.ends != SIMPLE
        self.chunks.append(
            (tags[keep].astype(np.uint16), columns.steps[keep].astype(np.float64), columns.walls[keep], values[keep], from_tensor[keep])
        )
        self.held += len(self.chunks[-1][0])
        if self.held > MOST_POINTS:
            self._thin()

    def expect(self, chunks: int) -> None:
        """The file has so many chunks like the first: take no more of it than there is room for."""
        self.expected = max(1, self.held * chunks)
        while self.held and self.expected > MOST_POINTS * self.stride:
            self._thin()

    def _in_turn(self, tags: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Of each tag's points every `stride`-th, counted over the file, and the last one here: the file may end with it."""
        order = np.argsort(tags, kind="stable")
        ranked = tags[order]
        first = np.flatnonzero(np.diff(ranked, prepend=-1))
        sizes = np.diff(np.append(first, len(ranked)))
        place = np.arange(len(ranked)) - np.repeat(first, sizes)
        turn = (place + self.seen[ranked]) % self.stride == 0
        turn[first + sizes - 1] = True
        self.seen[ranked[first]] += sizes
        out = np.empty(len(tags), dtype=bool)
        out[order] = turn
        return out

    def _thin(self) -> None:
        """Keep every second of each tag's points."""
        tags, steps, walls, values, tensors = self._columns()
        kept = self._every_other(tags)
        self.stride *= 2
        self.chunks = [(tags[kept], steps[kept], walls[kept], values[kept], tensors[kept])]
        self.held = len(kept)

    @staticmethod
    def _every_other(tags: npt.NDArray[np.uint16]) -> npt.NDArray[np.intp]:
        order = np.argsort(tags, kind="stable")
        first = np.flatnonzero(np.diff(tags[order].astype(np.int32), prepend=-1))
        sizes = np.diff(np.append(first, len(order)))
        place = np.arange(len(order)) - np.repeat(first, sizes)
        return np.sort(order[(place % 2 == 0) | (place == np.repeat(sizes, sizes) - 1)])

    def _columns(self) -> _Points:
        """All points so far, column by column; the chunks are used up."""
        parts = [list(column) for column in zip(*self.chunks, strict=True)]
        self.chunks = []
        out = []
        for part in parts:
            out.append(np.concatenate(part))
            part.clear()
        return tuple(out)

    def _id(self, name: bytes) -> int:
        known = self.ids.get(name)
        if known is None:
            if len(self.ids) >= MAX_TAGS:
                return MAX_TAGS
            known = self.ids[name] = len(self.ids)
        return known

    def _decode(self, data: bytes, columns: Columns, row: int, tag: int) -> float | None:
        """The number of a value that is one; other values go where they belong."""
        start, end = int(columns.starts[row]), int(columns.ends[row])
        step, wall = float(columns.steps[row]), float(columns.walls[row])
        if columns.tags[row] == RECORD_LOG:
            self._session(data, start, end, step, wall)
            return None
        name = columns.names[int(columns.tags[row])].decode("utf-8", "replace")
        value = tfevents_values.summary(data, start, end)
        if value.plugin:
            self.plugins[tag] = value.plugin
        plugin = self.plugins.get(tag, "")
        if plugin == "hparams":
            for key, hyperparameter in tfevents_values.hyperparameters(value.content).items():
                self._setting(key, hyperparameter)
        elif value.histogram is not None:
            self._histogram(name, step, value.histogram)
        elif value.strings:
            for key, setting in _settings_in_text(value.strings):
                self._setting(key, setting)
        elif value.tensor is not None and plugin == "histograms":
            buckets = tfevents_values.rows_of_three(value.tensor)
            if buckets is not None:
                self._histogram(name, step, buckets)
        elif value.tensor is not None and len(value.tensor) == 1 and plugin in ("", "scalars"):
            return float(value.tensor[0])
        return None

    def _histogram(self, name: str, step: float, buckets: tuple[Floats, Floats]) -> None:
        if len(self.histograms) < MAX_HISTOGRAMS:
            self.histograms.append(LoggedHistogram(name, self.path, step, *buckets))
        else:
            self.lost_histograms += 1

    def _setting(self, key: str, value: object) -> None:
        if len(self.settings) < MAX_SETTINGS:
            self.settings.setdefault(key, value)

    def _session(self, data: bytes, start: int, end: int, step: float, wall: float) -> None:
        """TensorFlow's own trainers log each start of a session; at a later step it is a resume."""
        status = next((a for number, wire, a, _ in walk(data, start, end) if number == 1 and wire == VARINT), 0)
        if status == 1 and len(self.events) < 1000:
            kind = EventKind.RESUMED if step > 0 else EventKind.STARTED
            self.events.append(LogEvent(kind, "SessionLog START", self.path, step=step, time=wall or None))

    def found(self, candidate: Candidate) -> Found:
        """Everything, with one series per tag."""
        starts = [float(c[2][0]) for c in self.chunks if len(c[2]) and c[2][0] > 0]
        series = self._series(candidate.folder)
        empty = not (series or self.histograms or self.settings or self.events)
        notes = self._notes(empty=empty)
        status = Status.READ
        if self.stopped is not None or self.damaged or self.crowded or self.lost_histograms or self.stride > 1:
            status = Status.PARTIAL if self.records else Status.FAILED
        detail = notes[0] if notes else None
        source = Source(candidate.path, NAME, status, detail, candidate.size)
        facts = {"started_at": starts[0]} if starts else {}
        return Found(
            source, tuple(series), tuple(self.histograms), tuple(self.events), settings_of(flatten(self.settings), candidate.path), facts=facts
        )

    def _notes(self, *, empty: bool) -> list[Sentence]:
        """What was not read, the most important first."""
        notes: list[Sentence] = []
        if self.stopped is not None:
            notes.append(self.stopped)
        if self.damaged:
            notes.append(say("{n} damaged records were left out", n=self.damaged))
        if self.stride > 1:
            notes.append(say("it holds more than {limit:,} points: of each curve one in {n} was read", limit=MOST_POINTS, n=self.stride))
        if self.crowded:
            notes.append(say("values of more than {limit} tags were left out", limit=MAX_TAGS))
        if self.lost_histograms:
            notes.append(say("only the first {limit} histograms were read", limit=MAX_HISTOGRAMS))
        if self.oversized:
            notes.append(say("{n} records above {limit} MiB (pictures, graphs) were left out", n=self.oversized, limit=MAX_RECORD >> 20))
        if empty and not notes:
            notes.append(say("the file holds no values"))
        return notes

    def _series(self, folder: str) -> list[Series]:
        if not self.chunks:
            return []
        split = split_of_folder(folder)
        tags, steps, walls, values, tensors = self._columns()
        order = np.argsort(tags, kind="stable")  # 16 bits: a radix sort
        tags = tags[order]
        steps = steps[order]
        walls = walls[order]
        values = values[order]
        tensors = tensors[order]
        tag_names = [name.decode("utf-8", "replace") for name in self.ids]
        bounds = np.flatnonzero(np.diff(tags)) + 1
        parts: list[tuple[int, str, slice | npt.NDArray[np.intp]]] = []
        for a, b in zip([0, *bounds.tolist()], [*bounds.tolist(), len(tags)], strict=True):
            if a == b:
                continue
            part: slice | npt.NDArray[np.intp] = slice(a, b)
            if self.plugins.get(int(tags[a]), "scalars") != "scalars":  # a picture's or a plot's tensor is no curve
                part = np.flatnonzero(~tensors[a:b]) + a
            if len(found := order[part]):
                parts.append((int(found[0]), tag_names[int(tags[a])], part))
        parts.sort(key=lambda p: p[0])  # in order of appearance
        if len(parts) == 1 and not split and (curve := curve_of_folder(folder, parts[0][1])):
            parts = [(place, f"{key}/{curve}", part) for place, key, part in parts]
        names = series_names([key for _, key, _ in parts], split)
        curves = by_the_clock(
            [
                Series(names[key], key, self.path, steps[part], values[part], times=_clock(walls[part]), reduction=reduction_of(key))
                for _, key, part in parts
            ]
        )
        return with_totals(curves)


def _clock(walls: Floats) -> Floats | None:
    return walls if walls.any() else None


def _settings_in_text(strings: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Hyper-parameters that a trainer logged as text: a JSON object (Hugging Face) or a two-column Markdown table (CleanRL)."""
    for content in strings:
        stripped = content.strip().removeprefix("```json").removesuffix("```").strip()
        if stripped.startswith("{"):
            try:
                data = json_of(stripped.encode("utf-8", "replace"))
            except Unreadable:
                continue
            if isinstance(data, dict):
                yield from data.items()
        elif stripped.startswith("|"):
            rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in stripped.split("\n")]
            if len(rows) > 2 and len(rows[0]) == 2 and set(rows[1][0]) <= set("-: "):
                yield from ((row[0], scalar(row[1])) for row in rows[2:] if len(row) == 2 and row[0])


READER = Reader(NAME, claims, read)
