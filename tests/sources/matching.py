"""Texts that a regular expression matches, made from its own parts: each branch of each choice comes up in turn, what may be left out is now and then."""

import re
from collections.abc import Iterator
from functools import cache
from random import Random
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

PRINTED = "".join(map(chr, range(32, 127)))
CLASSES = {
    c.CATEGORY_DIGIT: str.isdigit, c.CATEGORY_SPACE: str.isspace, c.CATEGORY_WORD: lambda s: s.isalnum() or s == "_",
    c.CATEGORY_NOT_DIGIT: lambda s: not s.isdigit(), c.CATEGORY_NOT_SPACE: lambda s: not s.isspace(), c.CATEGORY_NOT_WORD: lambda s: not (s.isalnum() or s == "_"),
}  # fmt: skip
MORE = 3  # repetitions beyond the fewest, at most


def texts(pattern: "re.Pattern[str]", count: int) -> Iterator[str]:
    """Made so, where they are matched: what a look ahead or behind forbids is left out. Also in other cases of the letters, where they still are."""
    rng = Random(0)
    turns: dict[int, int] = {}
    tree = _parser.parse(pattern.pattern, pattern.flags)
    for _ in range(count):
        text = _text(tree, rng, turns, {})
        for made in (text, text.swapcase(), "".join(rng.choice((sign.lower(), sign.upper())) for sign in text)):
            if pattern.search(made):
                yield made


def _text(items: Any, rng: Random, turns: dict[int, int], groups: dict[int, str]) -> str:
    return "".join(_part(op, of, rng, turns, groups) for op, of in items)


def _part(op: Any, of: Any, rng: Random, turns: dict[int, int], groups: dict[int, str]) -> str:
    def inner(items: Any) -> str:
        return _text(items, rng, turns, groups)

    if op is c.LITERAL:
        return chr(of)
    if op is c.NOT_LITERAL:
        return rng.choice(PRINTED.replace(chr(of), ""))
    if op is c.ANY:
        return rng.choice(PRINTED)
    if op is c.IN:
        return rng.choice(_within(tuple((kind, tuple(what) if isinstance(what, tuple) else what) for kind, what in of)))
    if op is c.BRANCH:
        turns[id(of)] = turns.get(id(of), -1) + 1
        return inner(of[1][turns[id(of)] % len(of[1])])
    if op is c.SUBPATTERN:
        groups[of[0]] = inner(of[3])
        return groups[of[0]]
    if op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
        low, high, what = of
        return "".join(inner(what) for _ in range(rng.randint(low, min(high, low + MORE))))
    if op is c.ATOMIC_GROUP:
        return inner(of)
    if op is c.GROUPREF:
        return groups.get(of, "")
    if op is c.ASSERT and of[0] > 0 and not rng.randrange(2):  # what must follow, where nothing that is made says so
        return inner(of[1])
    return ""  # places, and what must not be there


@cache
def _within(items: Any) -> str:
    negated = items[0][0] is c.NEGATE

    def one(op: Any, of: Any, sign: str) -> bool:
        if op is c.LITERAL:
            return sign == chr(of)
        if op is c.RANGE:
            return of[0] <= ord(sign) <= of[1]
        return bool(CLASSES[of](sign))

    return "".join(sign for sign in PRINTED if negated != any(one(op, of, sign) for op, of in items[negated:])) or "\t"
