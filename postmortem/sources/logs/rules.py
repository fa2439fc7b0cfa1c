"""What a rule about a line of a log is: the event that it tells, the words by which it is suspected, and the pattern."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from postmortem.model.run import EventKind
from postmortem.model.sentence import Value

NUMBER = r"(?P<{}>\d{{1,40}}(?:\.\d{{0,40}})?(?:[eE][-+]?\d{{1,4}})?)"


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of line. `data` are constant; named groups of the pattern are added (numbers as numbers)."""

    kind: EventKind
    needles: tuple[str, ...]  # lower case: one of them is in every line that the pattern matches
    pattern: re.Pattern[str]
    data: Mapping[str, Value] = field(default_factory=dict)


def rule(kind: EventKind, needles: str, pattern: str, *, case: bool = True, **data: Value) -> Rule:
    """A rule; `needles` are parted by `|`. As long as the pattern allows: a short word is in many lines that tell nothing."""
    return Rule(kind, tuple(needles.split("|")), re.compile(pattern, re.NOFLAG if case else re.IGNORECASE), data)
