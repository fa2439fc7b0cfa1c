"""From lines to records: what each line is, whether it tells an event or a setting. `multiline.py` keeps records that go on, `course.py` makes
rows of them."""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from postmortem.sources.logs.crash import Watch, Where, is_suspicious
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.text.course import NEAR
from postmortem.sources.logs.text.dumps import Dump
from postmortem.sources.logs.text.histories import History
from postmortem.sources.logs.text.multiline import Multiline
from postmortem.sources.logs.text.noise import Told
from postmortem.sources.logs.text.ranks import unranked
from postmortem.sources.logs.text.settings import MAX_CONFIG, Settings, Wanted, wanted
from postmortem.sources.logs.text.shapes import MAX_LINE, NOISE, Entry, Shapes, hints
from postmortem.sources.logs.text.tables import PAIRS, opens_pairs
from postmortem.sources.logs.text.tokens import mask, moment, number

MAX_EARLY = 5_000  # lines
MAX_ASKED = 16  # of one shape: what they say first is what counts
_DONE = re.compile(rb"^(?:[^\n]{0,80}[:\]|>] ?)?(?:all )?(?:done|finished|completed?)[.! ]*$", re.IGNORECASE)
_GLUED = re.compile(rb"(?:/s|s/it)(?:, [^\]\n]{1,400})?\](?=\s*[^\s\],:|])")
_NAMED = re.compile(rb"Epoch ([0-9]{1,6}): ")
_ANOTHER = re.compile(rb"(?<=[0-9]) Epoch [0-9]{1,6}/[0-9]{1,6}\s*$")  # what a pass over the validation set says of itself, behind a bar
# What is paid for (see `effort`):
A_LINE, A_BYTE = 5.0, 0.1  # of a line that is read by itself
A_LOOK, A_LOOK_BYTE = 35.0, 0.1  # at a line of many shapes: may it tell a crash?
A_NUMBER, A_VALUE = 0.5, 3.0
A_WATCHED = 20.0  # a line that may tell a crash
A_SETTING_BYTE = 0.2  # of a line that may hold settings


class Scan(Multiline):
    """The state of one reading. `line` is fed every line that no run of equal shapes took."""

    def __init__(self, source: str, effort: Effort) -> None:
        super().__init__()
        self.effort = effort
        self.watch = Watch(source)
        self.settings = Settings(source)
        self.last_text = b""
        self.line_number: Callable[[], int] = lambda: 0  # of the line that is being read
        self.read = 0  # bytes of the chunks so far
        self.offset: Callable[[], int] = lambda: 0  # of that line, in bytes
        self.early = 0  # lines before the first record that were asked for settings
        self.asked: Counter[str] = Counter()  # how many of each shape
        self.shapes = Shapes(effort)
        self.told = Told(effort)
        self.dump = Dump()
        self.history = History()
        self.closing = 0  # lines of a closing summary still to skip

    @property
    def noisy(self) -> bool:
        """Mostly noise, and not amid an event: what has no word of training and tells no event can be left out."""
        return (self.shapes.many or (self.placed and self.shapes.idlers)) and not self.watch.reading

    # -- one line

    def line(self, raw: bytes) -> Entry | None:
        """Take in one line and return what is known of its shape, None for a blank one.

        What a progress bar has glued to its end counts as a line of its own.
        """
        if not raw:
            self.effort.spent += A_LINE
            self.blank()
            return None
        at = raw.find(b"Epoch ")
        named = _NAMED.match(raw, at) if at > 0 and raw[at - 1 : at].isdigit() else None
        if named:  # `ETA: 0s - loss: 1.25Epoch 00001: val_loss improved from inf to 1.5`
            self._line(raw[:at])
            self.name_bar(float(named[1]))
            self._line(raw[at:])
            return NOISE
        if at > 0 and b"- ETA: " in raw:
            return self._line(_ANOTHER.sub(b"", raw))
        if b"it]" in raw or b"/s]" in raw or b"it/s, " in raw or b"s/it, " in raw:
            glued = _GLUED.search(raw)
            if glued:
                self._line(raw[: glued.end()])
                self.behind_bar = True
                entry = self._line(raw[glued.end() :])
                self.behind_bar = False
                return entry
        return self._line(raw)

    def _line(self, raw: bytes) -> Entry | None:
        """Returns what is known of the line's shape, None for a blank line."""
        self.effort.spent += A_LINE + A_BYTE * len(raw)
        if len(raw) > MAX_LINE:
            self._long(raw)
            raw = raw[:MAX_LINE]
        if not raw.strip():
            self.blank()
            return None
        self.last_text = raw
        if self.noisy and not hints(raw):
            self.effort.spent += A_LOOK + A_LOOK_BYTE * len(raw)
            if is_suspicious(text := raw.decode("utf-8", "replace")):
                self.watch.line(text, self._where())
            return NOISE
        masked, tokens = mask(raw)
        entry = self.shapes.entry(masked, raw, amid=self.placed)
        self.effort.spent += A_NUMBER * len(tokens) + A_VALUE * len(entry.plan.values)
        self.near -= 1
        time = moment(raw)
        if time is not None:
            self.note_time(time)
        said = unranked(raw.lstrip()) if entry.ranked else raw
        watched = entry.suspicious or self.watch.reading
        if watched:
            self.effort.spent += A_WATCHED
        if watched and self.watch.line(raw.decode("utf-8", "replace"), self._where()):
            return entry
        if self.asks(entry):
            self.early += 1
            self.asked[entry.shape] += 1
            self.effort.spent += A_SETTING_BYTE * len(said)
            self.settings.line(said.decode("utf-8", "replace"))
        if entry.lone is None:
            self.dump.over(entry.shape)
        elif self.dump.holds(entry.lone, tokens):
            return entry
        self._take(entry, said, tokens)
        return entry

    def asks(self, entry: Entry) -> bool:
        """Whether a line is asked for settings."""
        early = entry.settings == Wanted.EARLY and not self.placed and self.early < MAX_EARLY and self.asked[entry.shape] < MAX_ASKED
        return early or entry.settings == Wanted.ALWAYS

    def _long(self, raw: bytes) -> None:
        """A line too long to be a record may be a configuration."""
        if len(raw) <= MAX_CONFIG and not self.placed:
            text = raw.decode("utf-8", "replace")
            if wanted(text) == Wanted.ALWAYS:
                self.settings.line(text)

    def _where(self) -> Where:
        """Where training was, for an event."""
        counted = self.behind_bar and math.isnan(self.epoch) and not self.bar[0] < self.step  # the bar counts steps
        step, epoch, time = (None if math.isnan(v) else v for v in (self.bar[0] if counted else self.step, self.epoch, self.time))
        return Where(self.line_number(), step, epoch, time, self.offset(), len(self.rows))

    def reached(self) -> Where:
        """The end of what was read."""
        return replace(self._where(), offset=self.read)

    def _take(self, entry: Entry, raw: bytes, tokens: list[bytes]) -> None:
        if self.wide and not entry.wide:
            self.flush_block()
        if entry.final:
            self.closing = 0 if tokens and "{" in entry.shape else 24
            return
        if self.closing:
            self.closing -= not raw.startswith(b"  ")  # indented: of the summary, however long it is
            return
        if entry.header is not None:
            self.table = entry.header.about(self.split)
            return
        if self.result and (self.result_line(raw) or raw[:1].isspace()):
            return
        if raw.startswith(b"Result for "):
            self.flush_block()
            self.result = True
            return
        if entry.history and self.history.line(entry.shape, [number(t) for t in tokens]):
            return
        if entry.rule:
            self.flush_block()
            if self.table is None and opens_pairs(raw.decode("utf-8", "replace")):
                self.table = PAIRS
            return
        if self.table is not None and tokens and self.table_row(raw):
            return
        if entry.wide and self.wide_line(entry, raw, tokens):
            return
        if entry.pair and self.block_line(entry, raw):
            return
        if entry.heading:
            self.split = "" if entry.heading == "train" else entry.heading
            if self.split and not (math.isnan(self.step) and math.isnan(self.epoch)):
                self.near = NEAR  # what follows is about where training is
            return
        if entry.braces or self.held:
            self.hold(entry, tokens)
        else:
            self.tell(entry.plan, tokens)

    def chatter(self, lines: list[bytes], number: int) -> None:
        """`number` lines that say nothing were passed over; `lines` are the first and the last of them."""
        self.near -= number
        self.dump.over("")
        for line in lines:
            time = moment(line)
            if time is not None:
                self.note_time(time)
        self.last_text = lines[-1]

    def blank(self, lines: int = 1) -> None:
        """Take in lines with nothing in them."""
        self.near -= lines
        self.dump.over("")
        self.closing = 0
        if self.held:
            self.release()
        self.flush_block()

    def gap(self) -> None:
        """Lines are left out: nothing that was said before them tells where training is now."""
        self.end_of_part()
        self.lose()
        self.closing = 0
        self.dump = Dump()
        self.watch.gap()

    def end_of_part(self) -> None:
        """What was waiting counts."""
        self.release()
        self.flush_block()
        self.arrive()

    def end(self) -> None:
        """The log is over."""
        self.end_of_part()
        self.firsts.settle(self)
        for name, key, rounds in self.history.untold({c.name for c in self.rows.columns.values()}):
            self.by_round(name, key, rounds)
        last = self.last_text.decode("utf-8", "replace")
        if _DONE.match(self.last_text):
            self.watch.add_finished(last, self._where())
        elif not len(self.rows) and self.bar[0] < self.bar[1]:  # a bar that was still being drawn, and no metric
            self.watch.add_started(last, self._where())
