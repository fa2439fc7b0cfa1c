"""What a log tells beside numbers: crashes, kills, guards, overflows, warnings, beginnings and ends.

Every rule needs a context that only such a line has; the bare words "nan", "error" or "overflow" match nothing, because
logs print configurations, metrics and source code. Tracebacks are collected per rank, for their lines interleave.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from signal import Signals
from types import MappingProxyType

from postmortem.model.run import EventKind, LogEvent
from postmortem.model.sentence import Value
from postmortem.sources.logs.aftermath import OF_LAUNCHERS, SURVIVABLE, WENT_ON, Where, signal_of, that_count
from postmortem.sources.logs.crash_rules import ABOUT_EXCEPTION, RULES, is_suspicious
from postmortem.sources.logs.death_rules import CAPACITY, SIZE
from postmortem.sources.logs.rules import Rule

__all__ = ["Watch", "Where", "is_suspicious"]

MAX_TEXT = 2_000  # characters of an excerpt
MAX_TRACEBACK = 200  # lines
MAX_STRAY = 200  # lines of other ranks within one traceback
MOST = {EventKind.OVERFLOW: 5_000, EventKind.CHECKPOINT_SAVED: 1_000}
MOST_OF_A_KIND = 60

_PREFIX = re.compile(
    r"^(?:\s{0,8}(?:\[rank(?P<a>\d{1,6})\]:|\[default(?P<b>\d{1,4})\]:|(?P<c>\d{1,4}): |\(\w{1,40} pid=\d{1,9}(?:, ip=[\d.]{1,40})?\)|"
    r"\[rank:? (?P<d>\d{1,6})\]))\s?",
    re.IGNORECASE,
)
_RANK = re.compile(r"\b(?:\[?[Rr]ank:? |global rank |rank=)(\d{1,6})\b")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):")
_FRAME = re.compile(r'^\s*File "([^"]{1,400})", line (\d{1,9})(?:, in (\S{1,200}))?')
_BEGINS = re.compile(rb'\s{0,8}(?:Traceback \(most recent call last\):|File "[^"\n]{1,400}", line \d{1,9}, in \S)')
_EXCEPTION = re.compile(
    r"^(?P<type>(?:[A-Za-z_][\w]{0,60}\.){0,8}[A-Za-z_]\w{0,80}(?:Error|Exception|Interrupt|Exit|Warning|Failure|Timeout|Killed|Stop|NotFound|OutOfMemory|Died|Refused|Expired))"
    r"(?::\s?(?P<message>.*))?$"
)
_ANY_EXCEPTION = re.compile(r"^(?P<type>(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,80})(?::\s(?P<message>.*))?$")
_LIBRARY = re.compile(r"site-packages|dist-packages|/lib/python\d|lib/python\d\.\d|<frozen|/torch/|\\lib\\|^<")
_AT = re.compile(r"\b(global[_ ]?step|step|iteration|iter|epoch)[ _=:]{1,3}(\d{1,12})\b", re.IGNORECASE)
_TERMINATE = re.compile(r"^terminate called after throwing an instance of '(?P<type>[^']{1,200})'")
_NEWEST = frozenset({EventKind.STARTED, EventKind.RESUMED, EventKind.FINISHED})  # of which, where there are many, the last one tells most
_LOGGING = re.compile(r"(?:^|[\\/])logging[\\/]__init__\.py$")
_OF_THE_END = frozenset({EventKind.SIGNAL, EventKind.KILLED, EventKind.HANG, EventKind.EXCEPTION})
_INFORMS = re.compile(r"^[\d: .,/-]{8,40} ?[IW] tensorflow/")  # TensorFlow goes on after these; what it dies of it raises
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(slots=True)
class _Open:
    """A traceback that is being read."""

    first_line: int
    lines: list[str]
    frames: list[tuple[str, str, str]] = field(default_factory=list)  # file, line, function
    raised: "tuple[str, str] | None" = None  # type, message
    more: int = 0  # lines of the message after the first
    stray: int = 0  # lines of others in between


class Watch:
    """Collects the events of one log, line by line."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.events: list[LogEvent] = []
        self._open: dict[int | None, _Open] = {}
        self._kinds: Counter[EventKind] = Counter()
        self._seen: Counter[tuple[EventKind, str]] = Counter()
        self._where = Where(0)
        self._at: list[Where] = []  # of each event
        self._left_out = (0, -1)  # records before which a batch was left out, and the last of them

    @property
    def reading(self) -> bool:
        """Inside a traceback: every line is wanted."""
        return bool(self._open)

    def line(self, text: str, where: Where) -> bool:
        """Take in one line. True when it belongs to a traceback or tells an event: then its numbers are no metrics."""
        self._where = where
        rank, body = _peel(text)
        if _TRACEBACK.search(body):
            opened = self._open.get(rank)
            if opened is not None and opened.raised is not None:
                self._close(rank)
                opened = None
            if opened is None:
                self._open[rank] = _Open(where.line, [body.strip()])
            else:
                opened.lines.append(body.strip())
            return True
        opened = self._open.get(rank) or (self._open.get(None) if rank is None else None)
        if opened is not None and self._continue(opened, rank, body):
            return True
        if _FRAME.match(body) and opened is None and rank is not None:  # a traceback whose head was cut off
            self._open[rank] = opened = _Open(where.line, [])
            return self._continue(opened, rank, body)
        return self._single(body, rank if rank is not None else _rank_in(text), where)

    def add_finished(self, text: str, where: Where) -> None:
        """The log's last line says that it is done."""
        self._add(EventKind.FINISHED, text.strip(), None, where, {})

    def add_started(self, text: str, where: Where) -> None:
        """Something was under way when the log ended, and nothing else is known of it."""
        if not self.events and not self._open:
            self._add(EventKind.STARTED, text.strip(), None, where, {})

    def gap(self) -> None:
        """Lines are left out: what was being read ends here."""
        for rank in list(self._open):
            self._close(rank)

    def end(self, reached: Where | None = None) -> tuple[LogEvent, ...]:
        """The log is over. What training went on from for long is left out: something caught, a warning, an earlier job's death.

        reached : the log's end; None when records and bytes were not counted.
        """
        self.gap()
        return tuple(sorted(that_count(self.events, self._at, reached, self._left_out[0]), key=lambda e: e.line))

    # -- tracebacks

    def _continue(self, opened: _Open, rank: int | None, body: str) -> bool:
        if opened.raised is not None:
            if body.strip() and body[:1] in " \t" and opened.more < 12 and not _FRAME.match(body):
                opened.more += 1
                opened.lines.append(body.rstrip()[:400])
                opened.raised = (opened.raised[0], f"{opened.raised[1]} {body.strip()}"[:1000])
                return True
            self._close(rank)
            return False
        if not body.strip():
            return True
        frame = _FRAME.match(body)
        if frame:
            opened.frames.append((frame[1], frame[2], frame[3] or ""))
        elif body[:1] not in " \t":
            found = _EXCEPTION.match(body.strip()) or _ANY_EXCEPTION.match(body.strip())
            if found is None:
                opened.stray += 1
                if opened.stray > MAX_STRAY or not opened.frames:
                    self._close(rank)
                return False
            opened.raised = (found["type"], (found["message"] or "").strip())
        if len(opened.lines) > MAX_TRACEBACK:
            del opened.lines[1:51]  # the end is what tells
            del opened.frames[:-MAX_TRACEBACK]
        opened.lines.append(body.rstrip()[:400])
        return True

    def _close(self, rank: int | None) -> None:
        opened = self._open.pop(rank)
        if opened.raised is None and len(opened.frames) == 0:
            return
        if opened.frames and opened.frames[0][2] == "emit" and _LOGGING.search(opened.frames[0][0]):
            return  # `--- Logging error ---`: the module prints what a message was not to be made of, and goes on
        kind_name, message = opened.raised or ("", "")
        short = kind_name.rpartition(".")[2]
        message = message.strip().removeprefix("what():").strip()
        data: dict[str, Value] = {"exception": short, "message": message[:600]}
        own = next((f for f in reversed(opened.frames) if not _LIBRARY.search(f[0])), opened.frames[-1] if opened.frames else None)
        if own is not None:
            data["frame"] = f"{own[0]}:{own[1]}"
            data["frame_function"] = own[2]
        kind = EventKind.EXCEPTION
        said = f"{kind_name}: {message}"
        for rule in RULES:
            if rule.kind in ABOUT_EXCEPTION:
                match = rule.pattern.search(said)
                if match:
                    kind = rule.kind
                    data |= {k: v for k, v in _data(rule, match, said).items() if v not in WENT_ON}
                    break
        if short in OF_LAUNCHERS and (told := _signal_in(said)):
            kind = EventKind.SIGNAL
            data |= told
        if short == "KeyboardInterrupt":
            kind = EventKind.INTERRUPTED
        if short == "MemoryError":
            kind = EventKind.OUT_OF_MEMORY
            data["where"] = "host"
        where = replace(self._where, line=opened.first_line)
        self._add(kind, "\n".join(_trimmed(opened.lines)), rank, where, data)

    # -- single lines

    def _single(self, body: str, rank: int | None, where: Where) -> bool:
        text = body.strip()[:1500]
        for rule in RULES:
            match = rule.pattern.search(text)
            if match is None:
                continue
            kind = rule.kind
            if kind in SURVIVABLE and _INFORMS.match(text):
                return False
            data = _data(rule, match, text)
            if (
                kind == EventKind.OVERFLOW
                and data.get("scale") == data.get("attempted")
                and isinstance(data.get("scale"), float)
                and float(data["scale"] or 0) <= 1.0
            ):
                kind = EventKind.LOSS_SCALE_FLOOR
            raised = _EXCEPTION.match(text)
            if raised and kind in ABOUT_EXCEPTION:
                data = {k: v for k, v in data.items() if v not in WENT_ON}
                data |= {"exception": raised["type"].rpartition(".")[2], "message": (raised["message"] or "")[:600]}
            self._add(kind, text, rank, where, data)
            return data.get("about") not in WENT_ON and (kind in ABOUT_EXCEPTION or kind in _OF_THE_END)
        thrown = _TERMINATE.match(text)
        if thrown:  # `what():  …` goes on in an indented line
            self._open[rank] = _Open(where.line, [text], raised=(thrown["type"], ""))
            return True
        raised = _EXCEPTION.match(text)
        if raised and raised["type"][:1].isupper() | ("." in raised["type"]) and not raised["type"].endswith("Warning"):
            if text.endswith(":") and raised["message"]:  # the message goes on in indented lines
                self._open[rank] = _Open(where.line, [text], raised=(raised["type"], raised["message"]))
                return True
            self._add(
                EventKind.EXCEPTION, text, rank, where, {"exception": raised["type"].rpartition(".")[2], "message": (raised["message"] or "")[:600]}
            )
            return True
        return False

    def _add(self, kind: EventKind, text: str, rank: int | None, where: Where, data: Mapping[str, Value]) -> None:
        if data.get("about") == "skipped" and where.rows != self._left_out[1]:
            self._left_out = (self._left_out[0] + 1, where.rows)
        alike = (kind, re.sub(r"\d+", "0", text[:300]))
        self._seen[alike] += 1
        self._kinds[kind] += 1
        most = MOST.get(kind, MOST_OF_A_KIND)
        repeated = self._seen[alike] > (16 if kind not in MOST else most)
        if self._kinds[kind] > most or repeated:
            if kind not in _NEWEST:
                return
            last = max((n for n, e in enumerate(self.events) if e.kind == kind), default=None)
            if last is not None:
                del self.events[last], self._at[last]
        self._at.append(where)
        clean = _CONTROL.sub("", text)[:MAX_TEXT]
        self.events.append(LogEvent(kind, clean, self.source, where.line, where.step, where.epoch, where.time, rank, MappingProxyType(dict(data))))


def _signal_in(said: str) -> dict[str, Value]:
    """What a launcher's exception says of the signal that ended a process; {} for nothing."""
    found = (_data(rule, match, said) for rule in RULES if rule.kind == EventKind.SIGNAL and (match := rule.pattern.search(said)))
    return next((data for data in found if signal_of(data)), {})


def of_a_traceback(head: bytes) -> bool:
    """Whether a file begins with a traceback, or with what is left of one: whatever its name says, it is no table."""
    return _BEGINS.match(head) is not None


def _peel(text: str) -> tuple[int | None, str]:
    """Rank and rest of a line that says which rank printed it."""
    match = _PREFIX.match(text)
    if match is None:
        return None, text
    rank = next((int(v) for v in match.groupdict().values() if v is not None), None)
    return rank, text[match.end() :]


def _rank_in(text: str) -> int | None:
    match = _RANK.search(text[:400])
    return int(match[1]) if match else None


def _data(rule: Rule, match: re.Match[str], text: str) -> dict[str, Value]:
    data: dict[str, Value] = dict(rule.data)
    for name, found in match.groupdict().items():
        if found is not None:
            value = _scalar(found)
            data[name.rstrip("0123456789")] = float(found) if name in ("scale", "attempted") else value
    if rule.kind == EventKind.SIGNAL and "signal" not in data and (number := Signals.__members__.get(str(data.get("name")))):
        data["signal"] = int(number)
    if rule.kind in (EventKind.RESUMED, EventKind.CHECKPOINT_SAVED):
        at = _AT.search(text)
        if at:
            data["epoch" if at[1].lower() == "epoch" else "step"] = float(at[2])
    if rule.kind == EventKind.OUT_OF_MEMORY:
        asked, capacity = re.search(SIZE, text), re.search(CAPACITY, text)
        if asked:
            data["asked"] = asked["asked"]
        if capacity:
            data["capacity"] = capacity["capacity"] or capacity["capacity2"]
    return data


def _scalar(text: str) -> Value:
    try:
        return float(text) if "." in text or "e" in text.lower() else int(text)
    except ValueError:
        return text


def _trimmed(lines: list[str]) -> list[str]:
    """Head and tail of a long traceback: at most `MAX_TEXT` characters, the exception kept."""
    if sum(len(line) + 1 for line in lines) <= MAX_TEXT:
        return lines
    tail: list[str] = []
    room = MAX_TEXT - len(lines[0]) - 10
    for line in reversed(lines[1:]):
        room -= len(line) + 1
        if room < 0:
            break
        tail.append(line)
    return [lines[0], "  …", *reversed(tail)]
