"""From lines to records: what each line is, whether it tells an event or a setting, tables and blocks. `course.py` makes rows of the records."""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from postmortem.sources.logs.crash import Watch, Where, is_suspicious
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.parts import is_part
from postmortem.sources.logs.text.course import NEAR, Course
from postmortem.sources.logs.text.dumps import Dump
from postmortem.sources.logs.text.histories import History
from postmortem.sources.logs.text.keys import Role, role_of, split_in
from postmortem.sources.logs.text.noise import Told
from postmortem.sources.logs.text.plans import EMPTY, Plan
from postmortem.sources.logs.text.ranks import unranked
from postmortem.sources.logs.text.settings import MAX_CONFIG, Settings, Wanted, wanted
from postmortem.sources.logs.text.shapes import BRACES, MAX_LINE, NOISE, Entry, Shapes, hints
from postmortem.sources.logs.text.tables import PAIRS, cells_of, opens_pairs, pair_of, row_of_names, row_of_splits, section_of, wide_pair_of
from postmortem.sources.logs.text.tokens import NUMBERS, mask, moment, number
from postmortem.sources.names import plainness, series_name

MAX_EARLY = 5_000  # lines
MOST_HELD = 200  # lines of one dict
FEWEST_WIDE = 4  # lines of a key, blanks and a number that make a block
MAX_ASKED = 16  # of one shape: what they say first is what counts
_DONE = re.compile(rb"^(?:[^\n]{0,80}[:\]|>] ?)?(?:all )?(?:done|finished|completed?)[.! ]*$", re.IGNORECASE)
_RESULT = re.compile(rb"^\s{1,40}([A-Za-z][\w./-]{0,80}): (\S{1,32})$")
_GLUED = re.compile(rb"(?:/s|s/it)(?:, [^\]\n]{1,400})?\](?=\s*[^\s\],:|])")
_NAMED = re.compile(rb"Epoch ([0-9]{1,6}): ")
_ANOTHER = re.compile(rb"(?<=[0-9]) Epoch [0-9]{1,6}/[0-9]{1,6}\s*$")  # what a pass over the validation set says of itself, behind a bar
# What is paid for (see `effort`):
A_LINE, A_BYTE = 5.0, 0.1  # of a line that is read by itself
A_LOOK, A_LOOK_BYTE = 35.0, 0.1  # at a line of many shapes: may it tell a crash?
A_NUMBER, A_VALUE = 0.5, 3.0
A_WATCHED = 20.0  # a line that may tell a crash
A_SETTING_BYTE = 0.2  # of a line that may hold settings


class Scan(Course):
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
        self.result = False  # below `Result for PPO_CartPole-v0:` of RLlib
        self.block: dict[str, float] = {}
        self.section = ""
        self.wide: list[tuple[Plan, list[bytes]]] = []  # the lines of a block that may be none
        self.told_step = math.nan  # the step at the last block
        self.trial: dict[tuple[str, ...], str] = {}  # whose rows of a table are followed, by its columns
        self.closing = 0  # lines of a closing summary still to skip
        self.held: list[tuple[Plan, list[bytes]]] = []  # lines of a dict that is still open
        self.open_braces = 0

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
            self._flush_block()
        if entry.final:
            self.closing = 0 if tokens and "{" in entry.shape else 24
            return
        if self.closing:
            self.closing -= not raw.startswith(b"  ")  # indented: of the summary, however long it is
            return
        if entry.header is not None:
            self.table = entry.header.about(self.split)
            return
        if self.result and (self._result_line(raw) or raw[:1].isspace()):
            return
        if raw.startswith(b"Result for "):
            self._flush_block()
            self.result = True
            return
        if entry.history and self.history.line(entry.shape, [number(t) for t in tokens]):
            return
        if entry.rule:
            self._flush_block()
            if self.table is None and opens_pairs(raw.decode("utf-8", "replace")):
                self.table = PAIRS
            return
        if self.table is not None and tokens and self._table_row(raw):
            return
        if entry.wide and self._wide_line(entry, raw, tokens):
            return
        if entry.pair and self._block_line(entry, raw):
            return
        if entry.heading:
            self.split = "" if entry.heading == "train" else entry.heading
            if self.split and not (math.isnan(self.step) and math.isnan(self.epoch)):
                self.near = NEAR  # what follows is about where training is
            return
        if entry.braces or self.held:
            self._hold(entry, tokens)
        else:
            self._tell(entry.plan, tokens)

    def _tell(self, plan: Plan, tokens: list[bytes]) -> None:
        """Take in a line of its own."""
        if plan is EMPTY:
            return
        if plan.weak and self.near <= 0 and not (self.placed or self.behind_bar) and plan.of_losses:
            self.nowhere(plan, tokens)
        else:
            self.follow(plan, tokens)

    def _hold(self, entry: Entry, tokens: list[bytes]) -> None:
        """Take in a line of a dict that goes over several: what counts in it comes first, wherever it stands."""
        self.held.append((entry.plan, tokens))
        self.open_braces += entry.braces
        if self.open_braces <= 0 or len(self.held) > MOST_HELD:
            self._release()

    def _release(self) -> None:
        held, self.held, self.open_braces = self.held, [], 0
        for plan, tokens in sorted(held, key=lambda one: not one[0].counts):
            if plan is not EMPTY:
                self.follow(plan, tokens)

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
            self._release()
        self._flush_block()

    def gap(self) -> None:
        """Lines are left out: nothing that was said before them tells where training is now."""
        self.end_of_part()
        self.lose()
        self.closing = 0
        self.dump = Dump()
        self.watch.gap()

    def end_of_part(self) -> None:
        """What was waiting counts."""
        self._release()
        self._flush_block()
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

    # -- tables and blocks

    def _table_row(self, raw: bytes) -> bool:
        header = self.table
        if header is None:
            return False
        text = raw.decode("utf-8", "replace")
        if header is PAIRS:
            pair = wide_pair_of(text)
            if pair:
                self.block[pair[0]] = pair[1]
            else:
                self.table = None
            return pair is not None
        if header.splits:
            row = row_of_splits(header, text)
            if row:
                self.keyed_row({}, row, beneath=True)
            return row is not None
        if header.of_rows:
            named = row_of_names(header, text)
            if named:
                self.keyed_row({}, named, beneath=True)
            return named is not None
        cells = cells_of(header, text)
        if cells is None:
            return False
        if header.style == "|" and header.roles[0] is None and cells[0] is None:  # each row is named: only the first of those trials is followed
            name = text.strip().strip("|").partition("|")[0].strip()
            if self.trial.setdefault(header.keys, name) != name:
                return True
        found = {role: value for role, value in zip(header.roles, cells, strict=False) if role is not None and value is not None}
        pairs = [(k, n, v) for k, n, r, v in zip(header.keys, header.names, header.roles, cells, strict=False) if r is None and v is not None and n]
        self.keyed_row(found, pairs)
        return True

    def _block_line(self, entry: Entry, raw: bytes) -> bool:
        text = raw.decode("utf-8", "replace")
        section = section_of(text)
        if section:
            self.section = section
            return True
        pair = pair_of(text)
        if pair is None:
            if entry.shape in ("}", "},") and self.section and self.block:
                self.section = ""
                return True
            if entry.shape in BRACES:
                self._flush_block()
                return True
            return False
        key, value = pair
        self.rows.rounded |= "e+" in text and role_of(key) in (Role.STEP, Role.GLOBAL, Role.ITERATION)
        if self.section and text.translate({0x2502: "|", 0x2503: "|"}).lstrip().startswith(("|  ", '"')):
            key = f"{self.section}/{key}"
        if key in self.block:
            self._flush_block()
        self.block[key] = value
        return True

    def _wide_line(self, entry: Entry, raw: bytes, tokens: list[bytes]) -> bool:
        pair = wide_pair_of(raw.decode("utf-8", "replace"))
        if pair is None:
            return False
        if pair[0] in self.block or (self.block and not self.wide):
            self._flush_block()
        self.block[pair[0]] = pair[1]
        self.wide.append((entry.plan, tokens))
        return True

    def _result_line(self, raw: bytes) -> bool:
        """A line of a result in YAML, whose counters stand among the rest; any other that is not indented ends it."""
        said = _RESULT.match(raw)
        if said and NUMBERS.fullmatch(said[2]):
            self.block.setdefault(said[1].decode(), number(said[2]))
            return True
        if not raw[:1].isspace():
            self._flush_block()
            self.result = False
        return False

    def _flush_block(self) -> None:
        block, self.block, self.section = self.block, {}, ""
        wide, self.wide = self.wide, []
        if not block:
            return
        if wide and len(wide) < FEWEST_WIDE:
            for plan, tokens in wide:
                self._tell(plan, tokens)
            return
        found: dict[Role, float] = {}
        values: dict[str, float] = {}
        for key, value in block.items():
            role = role_of(key) or role_of(key.rpartition("/")[2])
            if role is not None:
                found.setdefault(role, value)
            else:
                values[key] = value
        split = "" if found else self.split
        plainest: dict[str, str] = {}  # of several keys of one series
        for key in sorted(values, key=plainness):
            plainest.setdefault(_name_of(key, split), key)
        names = {key: name for name, key in plainest.items()}
        pairs = [(key, names.get(key, f"other/{key}"), value) for key, value in values.items()]
        if not found and not any(not name.startswith("other/") or is_part(key) for key, name, _ in pairs):
            return
        beneath, self.told_step = self.step != self.told_step, self.step
        self.keyed_row(found, pairs, beneath=beneath)


@lru_cache(maxsize=4096)
def _name_of(key: str, split: str) -> str:
    """The canonical name of a key; `split` is what the heading above says, where the key itself says nothing of it."""
    return series_name(key, split_in(key) or split)
