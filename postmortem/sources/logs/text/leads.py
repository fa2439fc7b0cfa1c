"""What stands before a number: the key that it belongs to, and whether that is one of the plain ones that nearly all numbers have."""

import re
from functools import lru_cache

from postmortem.sources.logs.text.keys import is_noise, role_of, split_in
from postmortem.sources.names import words

MAX_KEY = 60  # characters
CODE = re.compile(r"\.(?:py|cpp|cc|cu|cuh|h|hpp|c|go|rs)$|\bline$|\bpid$")
EPOCH_AFTER = re.compile(r"^\s?(?:st|nd|rd|th)?[ -]?epoch(?:\(es\)|\b(?!/s))", re.IGNORECASE)
MULTIPLE = re.compile(r"^[KMBT](?![A-Za-z])")
MILLI = re.compile(r"^ ?ms\b")
SPEED = re.compile(r"^\s?(?:m?s|min|sec|seconds)/(?:it|itr|iter|step|batch)\b|^\s?(?:it|its|itrs?|iters?|steps?|batch(?:es)?)/s\b", re.IGNORECASE)
SECONDS = re.compile(r"^ ?(?:m?s|secs?|seconds|mins?|minutes|h|hours?)\b", re.IGNORECASE)
COUNTER_KEY = re.compile(r"(?:^|[\s:])(global_step|epoch|step|iteration|iter|batch|update)\s*$", re.IGNORECASE)
PER = re.compile(
    r"\b(?:per|fps|loss|time|times|samples|number|num|of|size|max|total|log|save|every|each|warmup|ms|s|sec|seconds|learning|skipped|nan|last|best)\b",
    re.IGNORECASE,
)
_KEY_END = re.compile(r"(?:(?<!\s)\s*(?:[:=~≈]|->|\bis|\bwas|\bequals)){1,8}\s*$|(?<!\s)\s+$")
_KEY_ENDS = (":", "=", "~", "≈", "->", "is", "was", "equals")
_SO_FAR = re.compile(r"(?<!\s)\s++so far$")
# ` nll_loss=`, `, grad_norm: `: one word, and what says that a value follows.
_PLAIN = re.compile(r",? ([A-Za-z_](?:[\w/]{0,50}\w)?)[:=] ?")
_BORN = re.compile(r",? [A-Za-z_]")  # how such a lead begins: what stands there is no unit of the number before


def key_of(piece: str) -> tuple[str, str]:
    """A piece's key, and what stands before it and a colon: "Test set: Average loss: " → ("Average loss", "Test set")."""
    key = piece.rstrip()
    if key.endswith(_KEY_ENDS):
        key = _KEY_END.sub("", piece)
    if key.endswith("so far"):
        key = _SO_FAR.sub("", key)
    key = key.strip(" \t*>#~-<:=")
    cut = max(key.rfind("="), key.rfind(":"))
    before = ""
    if cut >= 0:
        before, key = key[:cut], key[cut + 1 :]
    return key.strip(" .\t*>#~-<:="), before


@lru_cache(maxsize=16_384)
def plain_key(lead: str) -> tuple[str, bool]:
    """The key of a number with nothing before it but one word, and whether that word names a split; ("", False) where more has to be asked:
    where the word counts, names but a split, or may be no key at all."""
    found = _PLAIN.fullmatch(lead)
    if found is None:
        return "", False
    key = found[1]
    parts, split = words(key), split_in(key)
    counter = COUNTER_KEY.search(key)
    odd = is_noise(key) or role_of(key) is not None or counter or CODE.search(key) or len(key) > MAX_KEY or key.lower() == "episode"
    return ("", False) if odd or not parts or (split and all(split_in(w) for w in parts)) else (key, bool(split))


@lru_cache(maxsize=16_384)
def plain_end(trail: str) -> bool:
    """Whether what follows a number begins with the next one's key: it says nothing of the number before it."""
    if not _BORN.match(trail):
        return False
    return not any(unit.match(trail) for unit in (EPOCH_AFTER, MULTIPLE, MILLI, SPEED, SECONDS))
