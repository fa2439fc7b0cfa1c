"""Records that stand over several lines: tables below a header, blocks of a key and a value a line, dicts whose braces are closed later."""

import math
import re
from functools import lru_cache

from postmortem.sources.logs.parts import is_part
from postmortem.sources.logs.text.course import Course
from postmortem.sources.logs.text.keys import Role, role_of, split_in
from postmortem.sources.logs.text.plans import EMPTY, Plan
from postmortem.sources.logs.text.shapes import BRACES, Entry
from postmortem.sources.logs.text.tables import OF_SPACY, PAIRS, cells_of, pair_of, row_of_names, row_of_splits, section_of, wide_pair_of
from postmortem.sources.logs.text.tokens import NUMBERS, number
from postmortem.sources.names import plainness, series_name

MOST_HELD = 200  # lines of one dict
FEWEST_WIDE = 4  # lines of a key, blanks and a number that make a block
_RESULT = re.compile(rb"^\s{1,40}([A-Za-z][\w./-]{0,80}): (\S{1,32})$")


class Multiline(Course):
    """What was read so far of a record that goes on, and the rows that come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.result = False  # below `Result for PPO_CartPole-v0:` of RLlib
        self.block: dict[str, float] = {}
        self.section = ""
        self.wide: list[tuple[Plan, list[bytes]]] = []  # the lines of a block that may be none
        self.told_step = math.nan  # the step at the last block
        self.trial: dict[tuple[str, ...], str] = {}  # whose rows of a table are followed, by its columns
        self.held: list[tuple[Plan, list[bytes]]] = []  # lines of a dict that is still open
        self.open_braces = 0

    def tell(self, plan: Plan, tokens: list[bytes]) -> None:
        """Take in a line of its own."""
        if plan is EMPTY:
            return
        if plan.weak and self.near <= 0 and not (self.placed or self.behind_bar) and plan.of_losses:
            self.nowhere(plan, tokens)
        else:
            self.follow(plan, tokens)

    def hold(self, entry: Entry, tokens: list[bytes]) -> None:
        """Take in a line of a dict that goes over several: what counts in it comes first, wherever it stands."""
        self.held.append((entry.plan, tokens))
        self.open_braces += entry.braces
        if self.open_braces <= 0 or len(self.held) > MOST_HELD:
            self.release()

    def release(self) -> None:
        """The dict is over, or what was read of it has to do."""
        held, self.held, self.open_braces = self.held, [], 0
        for plan, tokens in sorted(held, key=lambda one: not one[0].counts):
            if plan is not EMPTY:
                self.follow(plan, tokens)

    def table_row(self, raw: bytes) -> bool:
        """Take in a line below a header; False for one that is no row of its table."""
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
        if header.keys[:2] == OF_SPACY and not found.get(Role.STEP):  # it adds losses up between two rows: there is one batch before the first
            pairs = [pair for pair in pairs if not pair[0].startswith("LOSS")]
        self.keyed_row(found, pairs)
        return True

    def block_line(self, entry: Entry, raw: bytes) -> bool:
        """Take in a line of a block, `|    loss | 8.8 |`; False for any other."""
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
                self.flush_block()
                return True
            return False
        key, value = pair
        self.rows.rounded |= "e+" in text and role_of(key) in (Role.STEP, Role.GLOBAL, Role.ITERATION)
        if self.section and text.translate({0x2502: "|", 0x2503: "|"}).lstrip().startswith(("|  ", '"')):
            key = f"{self.section}/{key}"
        if key in self.block:
            self.flush_block()
        self.block[key] = value
        return True

    def wide_line(self, entry: Entry, raw: bytes, tokens: list[bytes]) -> bool:
        """Take in a line of a block without lines between its columns; False for any other."""
        pair = wide_pair_of(raw.decode("utf-8", "replace"))
        if pair is None:
            return False
        if pair[0] in self.block or (self.block and not self.wide):
            self.flush_block()
        self.block[pair[0]] = pair[1]
        self.wide.append((entry.plan, tokens))
        return True

    def result_line(self, raw: bytes) -> bool:
        """A line of a result in YAML, whose counters stand among the rest; any other that is not indented ends it."""
        said = _RESULT.match(raw)
        if said and NUMBERS.fullmatch(said[2]):
            self.block.setdefault(said[1].decode(), number(said[2]))
            return True
        if not raw[:1].isspace():
            self.flush_block()
            self.result = False
        return False

    def flush_block(self) -> None:
        """The block is over: a row, or, where wide lines are too few to be one, each line by itself."""
        block, self.block, self.section = self.block, {}, ""
        wide, self.wide = self.wide, []
        if not block:
            return
        if wide and len(wide) < FEWEST_WIDE:
            for plan, tokens in wide:
                self.tell(plan, tokens)
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
