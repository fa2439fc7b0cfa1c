"""A few shapes that repeat, as one compiled pattern, and the numbers of a stretch of them as one matrix."""

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import orjson

from postmortem.model.run import Floats
from postmortem.sources.logs.text.plans import EMPTY, NO, Plan
from postmortem.sources.logs.text.rows import NAN
from postmortem.sources.logs.text.shapes import Entry
from postmortem.sources.logs.text.tokens import LEADING_DATE, MOMENT, MOMENTS, NUMBER, PLAIN, mask, moment, number

MAX_NUMBERS = 256  # of one period
_MOMENT = MOMENTS.pattern
_WORD_END = re.compile(  # where a number does not stand without a blank, as `tokens.NUMBERS` has it
    r"(?<![Ee]poch)(?<!batch)(?<!step)(?<!\[rank)(?<!\[default)(?<![Ee]poch #)(?<![Ii]teration #)(?<![Ee]pisode #)(?<!\[#)(?<!^#)"
    r"(?<!\b[Ee]p)(?<!\b[Ii]ter)(?<=[\w.@#])$",
    re.ASCII,
)
_BLANKS = re.compile(r"([ \t]+)")
_NUMERIC = set("0123456789+-.eE")
_NO_NUMBER = bytes(b for b in range(256) if chr(b) not in _NUMERIC)
_NAN = re.compile(rb"(?<=,)[-+]?nan(?:\.0|\(ind\))?(?=,)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Period:
    """A period that can be read at once: the pattern of one or more repeats, its literals, and where each line's numbers are."""

    entries: tuple[Entry, ...]
    pattern: bytes  # empty for a progress bar, which only a template can read
    separators: tuple[bytes, ...]  # what stands between numbers, longest first, blanks and moments removed
    head: int  # bytes before the first number of the period
    tail: int  # bytes after its last
    mark: bytes  # what each separator has once, so that all else may be left out; empty where there is no such thing
    counts: tuple[int, ...]  # numbers of each line
    moments: bool
    silent: bool = False  # its lines say nothing, whatever their numbers are


def runnable(entry: Entry) -> bool:
    """A shape whose lines can be read by the thousand."""
    plan = entry.plan
    if (
        entry.suspicious
        or entry.header
        or entry.heading
        or entry.rule
        or entry.braces
        or entry.final
        or entry.pair
        or len(entry.shape) > 1_000
        or "====" in entry.shape
        or "%||" in entry.shape
    ):
        return False
    if plan is EMPTY:
        return True
    return not (plan.bar or plan.progress or plan.weak or plan.by_itself or evaluates(plan) or (plan.keyless and not plan.values))


def evaluates(plan: Plan) -> bool:
    """A line of a pass over an evaluation set: only its last state counts."""
    return plan.split in ("val", "test") and plan.batch != NO


def _drawn(entry: Entry) -> bool:
    """A line that is drawn again and again: a progress bar, or a pass over an evaluation set that reports as it goes."""
    plan = entry.plan
    told = not (entry.suspicious or entry.header or entry.heading or entry.rule or entry.final or entry.pair)
    told = told and not (entry.lone and (entry.lone.word or entry.lone.number))
    drawn = (plan.batch != NO and (plan.bar or evaluates(plan))) or (plan.progress and not plan.bar and plan.counts)
    return told and drawn and not plan.done and plan.rank == NO and len(entry.shape) <= 1_000


def _silent(entry: Entry) -> bool:
    """A line that says nothing beyond that it is there, and when, unless it is close to a record."""
    plan = entry.plan
    told = entry.suspicious or entry.header or entry.heading or entry.rule or entry.final or entry.pair or entry.lone
    counter = plan.keyless and not plan.values and plan.epoch == NO and plan.step == NO  # `shard 3 of 500`
    idle = plan is EMPTY or ((counter or (plan.weak and not plan.of_losses)) and not plan.progress and not plan.bar)
    return idle and not (told or "Namespace(" in entry.shape or "====" in entry.shape or "%||" in entry.shape or len(entry.shape) > 1_000)


def _begins_well(entries: tuple[Entry, ...]) -> bool:
    """No line leans on a counter of the period before: some rotation of the same period begins with its counters."""
    plans = [e.plan for e in entries if e.plan is not EMPTY]
    counting = [p.counts for p in plans]
    if any(counting) and not counting[0]:
        return False
    epochs = [p.epoch != NO for p in plans]
    return not any(epochs) or epochs[0]


def period_of(entries: tuple[Entry, ...]) -> Period | None:
    """The pattern of a period, not compiled yet; None when it cannot be read at once."""
    if len(entries) == 1 and _drawn(entries[0]):
        return Period(entries, b"", (), 0, 0, b"", (entries[0].shape.count(NUMBER),), moments=MOMENT in entries[0].shape)
    if all(_silent(e) for e in entries):
        counts = tuple(e.shape.count(NUMBER) for e in entries)
        return Period(entries, b"", (), 0, 0, b"", counts, moments=any(MOMENT in e.shape for e in entries), silent=True) if any(counts) else None
    if not all(runnable(e) for e in entries) or not any(e.plan.values for e in entries) or not _begins_well(entries):
        return None
    literals: list[bytes] = [b""]
    pattern: list[bytes] = []
    for entry in entries:
        parts = entry.shape.split(NUMBER)
        for n, part in enumerate(parts):
            if n:
                literals.append(b"")
                pattern.append(PLAIN)
            pattern.append(_flexible(part, behind_number=n > 0, before_number=n < len(parts) - 1))
            literals[-1] += "".join(part.replace(MOMENT, "").split()).encode()
        literals[-1] += b"\n"
        pattern.append(rb"\n")
    if len(literals) < 2 or len(literals) > MAX_NUMBERS:
        return None
    around = literals[-1] + literals[0]
    inner = [*literals[1:-1], around]
    if not all(any(c not in _NUMERIC for c in s.decode()) for s in inner):
        return None
    counts = tuple(e.shape.count(NUMBER) for e in entries)
    separators = tuple(sorted(set(inner), key=len, reverse=True))
    moments = any(MOMENT in e.shape for e in entries)
    whole = rb"(?:" + b"".join(pattern) + rb")++"
    return Period(entries, whole, separators, len(literals[0]), len(literals[-1]), _mark_of(separators), counts, moments)


@lru_cache(maxsize=256)
def compiled(pattern: bytes) -> re.Pattern[bytes] | None:
    """A period's pattern: costs milliseconds, so that it is made only where lines differ too much for a template."""
    try:
        return re.compile(pattern)
    except (re.error, RecursionError):
        return None


def _flexible(part: str, *, behind_number: bool, before_number: bool) -> bytes:
    """A literal as a pattern: as many blanks as one likes where it has some, and before a number that is not glued to a word."""
    words = part.split()
    if not words:
        return rb"[ \t]++" if behind_number and before_number else rb"[ \t]*+"
    pieces: list[bytes] = [] if behind_number else [rb"[ \t]*+"]
    body = part.rstrip() if behind_number else part.strip()
    for chunk in _BLANKS.split(body):
        if not chunk.strip():
            pieces.append(rb"[ \t]{2,}+" if chunk == "  " else re.escape(chunk.encode()))  # two say another thing than one, three the same as two
            continue
        for n, piece in enumerate(chunk.split(MOMENT)):
            if n:
                pieces.append(rb"(?:" + _MOMENT + rb")")
            pieces.append(re.escape(piece.encode()))
    if before_number and _WORD_END.search(words[-1]):
        pieces.append(rb"[ \t]++")
    elif before_number and words[-1][-1] in ")]":
        pieces.append(rb"(?:[ \t]++|(?![-+]))")
    elif before_number and words[-1][-1].isascii() and words[-1][-1].isalnum():  # `step41`, not `step.41`
        pieces.append(rb"(?:[ \t]++|(?=[0-9]))")
    else:
        pieces.append(rb"[ \t]*+")
    return b"".join(pieces)


def numbers_of(period: Period, stretch: bytes) -> Floats | None:
    """(repeats, numbers of a period) float64; None when they do not come out even."""
    text = (_without_dates(period, stretch) or MOMENTS.sub(b"", stretch)) if period.moments else stretch
    width, repeats = sum(period.counts), stretch.count(b"\n") // len(period.entries)
    values = _values(period, text, width * repeats)
    if values.shape != (width * repeats,):
        return None
    matrix: Floats = values.reshape(-1, width)
    offsets = np.cumsum((0, *period.counts))
    counters = [int(offsets[j]) + slot for j, e in enumerate(period.entries) for slot in e.plan.counters]
    if counters and not np.isfinite(matrix[:, counters]).all():
        return None
    lines = len(period.entries)
    for row, some in ((0, first_lines(stretch, lines)), (-1, last_lines(stretch, lines))):
        expected = [number(t) for line in some for t in mask(line)[1]]
        if not np.array_equal(matrix[row], np.array(expected), equal_nan=True):
            return None
    return matrix


def _values(period: Period, text: bytes, number_of_them: int) -> Floats:
    """The numbers of a text without moments."""
    values = _listed(_marked(text, period.separators, period.mark)) if period.mark else None
    if values is not None and len(values) == number_of_them:
        return values
    text = _between(period, text)
    values = _listed(text)
    if values is None:
        values = _listed(_NAN.sub(b"null", b"," + text + b",")[1:-1])
    return np.array([number(t) for t in text.split(b",")], dtype=np.float64) if values is None else values


def _listed(text: bytes) -> Floats | None:
    """Numbers with commas between them; None when some are no JSON."""
    try:
        return np.array(orjson.loads(b"[" + text + b"]"), dtype=np.float64)
    except (orjson.JSONDecodeError, ValueError, TypeError, OverflowError):
        return None


def _marked(text: bytes, separators: Sequence[bytes], mark: bytes) -> bytes:
    """The numbers of a text with commas between them, by a mark that each separator has; words that stand for numbers leave nothing."""
    text = text.translate(bytes.maketrans(mark, b","), _NO_NUMBER.translate(None, mark)).strip(b",eE")
    for left in sorted({s[: s.index(mark)].translate(None, _NO_NUMBER) for s in separators} - {b""}, key=len, reverse=True):
        text = text.replace(left + b",", b",")
    return text


def _mark_of(separators: Sequence[bytes]) -> bytes:
    """A byte that each separator has once, and of those that numbers have only an `e` before it; b"" when there is none."""
    for mark in (b":", b"="):
        halves = [s.split(mark) for s in separators]
        if all(len(h) == 2 and not h[0].translate(None, _NO_NUMBER + b"eE") and not h[1].translate(None, _NO_NUMBER) for h in halves):
            return mark
    return b""


def _between(period: Period, text: bytes) -> bytes:
    """The numbers of a text with commas in place of what is between them."""
    text = text.translate(None, b" \t")
    text = text[period.head : len(text) - period.tail]
    for separator in period.separators:
        text = text.replace(separator, b",")
    return text


def first_lines(stretch: bytes, n: int) -> list[bytes]:
    """The first lines, without a copy of all that follows."""
    out: list[bytes] = []
    start = 0
    while len(out) < n and start < len(stretch):
        end = stretch.find(b"\n", start)
        out.append(stretch[start:end])
        start = end + 1
    return out


def last_lines(stretch: bytes, n: int) -> list[bytes]:
    """The last lines of a stretch that ends with a line end."""
    out: list[bytes] = []
    end = len(stretch) - 1
    while len(out) < n and end >= 0:
        start = stretch.rfind(b"\n", 0, end) + 1
        out.append(stretch[start:end])
        end = start - 1
    return out[::-1]


def _without_dates(period: Period, stretch: bytes) -> bytes:
    """The stretch with the dates at its line starts blanked; b"" when there are other moments or widths differ."""
    lines = len(period.entries)
    if any(e.shape.count(MOMENT) > 1 or (MOMENT in e.shape and not e.shape.startswith((MOMENT, "[" + MOMENT))) for e in period.entries):
        return b""
    buffer = np.frombuffer(stretch, dtype=np.uint8).copy()
    starts = np.concatenate([[0], np.flatnonzero(buffer == 10)[:-1] + 1])
    for j, line in enumerate(first_lines(stretch, lines)):
        if MOMENT not in period.entries[j].shape:
            continue
        match = LEADING_DATE.match(line)
        if match is None:
            return b""
        begin, end = match.start("year"), match.end()
        whole = MOMENTS.match(line, begin)
        if whole is None or whole.end() != end:
            return b""
        places = _places(buffer, end - begin)
        at = starts[j::lines] + begin
        if at[-1] >= len(places) or not _alike(places[at], line[begin:end]):
            return b""
        places[at] = b" " * (end - begin)
    return buffer.tobytes()


def times_of(period: Period, stretch: bytes, n: int) -> list[Floats | None]:
    """Of each line of the period the moments at its start, (n,); None where its lines have none."""
    out: list[Floats | None] = [None] * len(period.entries)
    if not period.moments:
        return out
    lines = len(period.entries)
    buffer = np.frombuffer(stretch, dtype=np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(buffer == 10)[:-1] + 1])
    first = first_lines(stretch, lines)
    for j in range(lines):
        if moment(first[j]) is None:
            continue
        fast = _fixed_width(buffer, starts[j::lines], first[j])
        if fast is None:
            every = stretch.split(b"\n")[j::lines]
            fast = np.array([NAN if (t := moment(line)) is None else t for line in every[:n]], dtype=np.float64)
        out[j] = fast
    return out


def _fixed_width(buffer: "npt.NDArray[np.uint8]", starts: "npt.NDArray[np.int64]", first: bytes) -> Floats | None:
    """Dates that are printed in one width, read by column; None when they are not."""
    match = LEADING_DATE.match(first)
    if match is None:
        return None
    width = match.end()
    places = _places(buffer, width)
    if starts[-1] >= len(places) or not _alike(found := places[starts], first[:width]):
        return None
    cells = found.view(np.uint8).reshape(len(starts), width).T.copy()  # (width, n)
    fields = {name: _decimal(cells, match.span(name)) for name in ("year", "month", "day", "hour", "minute", "second")}
    year = fields["year"] + (2000 if match.end("year") - match.start("year") == 2 else 0)
    stamps = (year * 10_000 + fields["month"] * 100 + fields["day"]).astype(np.int64)
    days, which = np.unique(stamps, return_inverse=True)
    try:
        origins = np.array([calendar.timegm((int(d) // 10_000, int(d) // 100 % 100, int(d) % 100, 0, 0, 0, 0, 0, 0)) for d in days], dtype=np.float64)
    except (ValueError, OverflowError):
        return None
    seconds: Floats = origins[which] + fields["hour"] * 3600 + fields["minute"] * 60 + fields["second"]
    if match["part"]:
        seconds = seconds + _decimal(cells, match.span("part")) / 10 ** len(match["part"])
    return seconds


def _decimal(cells: "npt.NDArray[np.uint8]", span: tuple[int, int]) -> Floats:
    """Of columns of digits, (width, n), the number that those in the span make, (n,)."""
    out: Floats = np.zeros(cells.shape[1])
    for column in range(*span):
        out = out * 10 + (cells[column] - 48.0)
    return out


def _places(buffer: "npt.NDArray[np.uint8]", width: int) -> "npt.NDArray[np.void]":
    """The `width` bytes from each place of the buffer on, as one element that is copied at once."""
    return np.ndarray(max(len(buffer) - width + 1, 0), f"V{width}", buffer, strides=(1,))


def _alike(found: "npt.NDArray[np.void]", example: bytes) -> bool:
    """All are like the example, digit for digit and otherwise the same."""
    model = np.frombuffer(example, np.uint8)
    cells = found.view(np.uint8).reshape(len(found), len(model))
    digits = (model >= 48) & (model <= 57)
    outside = (cells - np.where(digits, 48, model).astype(np.uint8)) > np.where(digits, 9, 0).astype(np.uint8)  # wraps round below
    return not outside.any()
