"""Configurations that a log prints as a block, one `KEY: value` a line: their numbers are settings, never records."""

import re
from dataclasses import dataclass, field

from postmortem.sources.logs.text.tokens import NUMBER

WORDS = 3  # lines with a word for a value that a block needs before its numbers are taken for settings
CHANGES = 3  # values of one key that show it to be measured after all
_LONE = re.compile(r"^[\s|>*-]{0,4}(?P<key>[A-Za-z_][\w.\-/]{0,60})\s?[:=]\s?(?P<value>(?:[^:=]|:(?=//)){0,120})$")
_OPENS = re.compile(r"\bNamespace\([^()]{1,200}$")
_ITEM = re.compile(r"^\s{0,20}- ?[^:=]{1,60}$")  # of a list in YAML: the block goes on


@dataclass(frozen=True, slots=True)
class Lone:
    """A line that is one key and one value: `number`, or `word` without any number in it, or neither."""

    key: str
    word: bool
    number: bool


def lone_of(shape: str) -> Lone | None:
    """What a shape says when it is a single `key: value`, None for any other."""
    match = _LONE.match(shape)
    if match is None:
        return Lone("", word=False, number=False) if _ITEM.match(shape) else None
    value = match["value"].strip().removesuffix(",")
    return Lone(match["key"], bool(value) and NUMBER not in value, value == NUMBER)


@dataclass(slots=True)
class Dump:
    """Watches for such a block. `values`: what the keys of numbers that were taken for settings have shown."""

    words: int = 0
    values: dict[str, set[bytes]] = field(default_factory=dict)

    def over(self, shape: str) -> None:
        """Another kind of line ends the block, or begins one: `Namespace(batch_size=64,` with a setting in each line below."""
        self.words = WORDS if "Namespace(" in shape and _OPENS.search(shape) else 0

    def holds(self, line: Lone, tokens: list[bytes]) -> bool:
        """Whether a line's number is a setting of the block under way."""
        if line.word:
            self.words += 1
        if not line.number or self.words < WORDS:
            return False
        shown = self.values.setdefault(line.key, set())
        if len(shown) < CHANGES:
            shown.add(tokens[0])
        return len(shown) < CHANGES
