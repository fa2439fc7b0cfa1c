"""Tables in a log: a header row and rows of numbers under it, or blocks of key and value in two columns."""

import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache

from postmortem.sources.logs.text.keys import Role, is_noise, may_count, role_of, split_in
from postmortem.sources.logs.text.tokens import NUMBERS, number
from postmortem.sources.names import of_validation, series_name

MAX_COLUMNS = 64
OF_SPACY = ("E", "#")  # how spaCy's table begins: epoch and step
MAX_KEY = 40  # characters of the name of a row
_RULE = re.compile(r"^[\s|+:=\-─━═┃│┼╋┿╂├┤┏┓┗┛┡┩└┘┌┐┬┴╇╈]+$")
_EDGE = str.maketrans({"│": "|", "┃": "|", "║": "|"})
_WIDE = re.compile(r"\s{2,}|\t")
_PAIR = re.compile(r"^\s*\|\s{0,40}([A-Za-z][\w /@.%()-]{0,60}?)\s*\|\s*(\S{1,32})\s*\|\s*$")
_WIDE_PAIR = re.compile(r"^([A-Za-z][\w/.@%()-]{0,60}(?: [\w/.@%()-]{1,60}){0,4})\s{2,60}(\S{1,32})\s*$")
_TWO_COLUMNS = re.compile(r"^-{4,120} {1,4}-{3,60}\s*$")
_SECTION = re.compile(r"^\s*\|\s*([A-Za-z][\w-]{0,40})/\s*\|\s*\|\s*$")
_JSON_SECTION = re.compile(r'^\s+"([A-Za-z][\w-]{0,40})": \{\s*$')
_JSON_PAIR = re.compile(r'^\s+"([^"]{1,80})":\s*"?([^",{}\[\]]{1,32})"?,?\s*$')
_TWO_WORDS = re.compile(r"\b(train|training|valid|validation|val|test|eval) (?=(?:loss|acc|accuracy|error)(?:\s|$))", re.IGNORECASE)
_LIST = re.compile(r"\[([^\[\]]{0,400})\]")  # `[1.5e+00, 8.2e-02]`: a loss of DeepXDE by its terms
_QUANTITY = re.compile(r"(?i)|metrics?|names?|quantity|measures?|scores?|results?|stats?|phase|split|set|")  # above the names of quantities
_NAMED = re.compile(r"(?i)components?|networks?|nets?|models?|modules?|parts?|player|agent|phase|split|set|subset|data ?set|data|mode|stage|loader")
_MISSING = {"", "-", "none", "na", "n/a", "null", "_", "no log", "+", "*"}  # a mark, such as skorch's at the epochs that it saved


@dataclass(frozen=True, slots=True)
class Header:
    """Columns of a table: what separates the cells, and of each column its key, role and series name."""

    style: str  # "|", ",", "\t" or " "
    keys: tuple[str, ...]
    roles: tuple[Role | None, ...]
    names: tuple[str, ...]
    of_rows: bool = False  # each row says by a name what it is about: `component | loss`
    splits: tuple[str, ...] = ()  # of the columns behind the first, where each row is a quantity: `METRIC | TRAIN | VALIDATION`

    def about(self, split: str) -> "Header":
        """The same header of a table that a heading says to be about another set than the training's."""
        if split not in ("val", "test") or self.of_rows:
            return self
        names = tuple(series_name(k, split_in(k) or split) if n else "" for k, n in zip(self.keys, self.names, strict=True))
        keys = tuple(f"{split} {k}" if n.startswith("other/") and not split_in(k) else k for k, n in zip(self.keys, names, strict=True))
        return replace(self, keys=keys, names=tuple(f"other/{k}" if n.startswith("other/") else n for k, n in zip(keys, names, strict=True)))


PAIRS = Header("pairs", ("",), (None,), ("",))  # below a rule of two columns: a key and a value a row


def is_rule(text: str) -> bool:
    """A line that only draws."""
    return bool(_RULE.match(text))


@lru_cache(maxsize=512)
def header_of(text: str) -> Header | None:
    """The header that a line without numbers is; None when it is none: it needs a counter and a known quantity."""
    text = (text if text.isascii() else text.translate(_EDGE)).strip()
    text = text[1:].lstrip() if text.startswith("# ") else text  # as a comment
    if not text or len(text) > 2000 or text.endswith((":", ".")):
        return None
    if not may_count(text):
        return _of_splits(text) or _of_rows(text)
    for style, cells in _splits(text):
        keys = tuple(c.strip().strip("\"'") for c in cells)
        if not 2 <= len(keys) <= MAX_COLUMNS or not all(0 < len(k) <= 40 for k in keys):
            continue
        roles = tuple(role_of(k) for k in keys)
        counted = (Role.EPOCH, Role.STEP, Role.GLOBAL, *([Role.ITERATION] if style == "|" else []))
        if roles[0] is None and not any(r in counted for r in roles):
            continue
        if keys[:2] == OF_SPACY:  # epoch, step, losses of the components, scores on the development set
            roles = (Role.EPOCH, Role.STEP, *roles[2:])
        names = tuple("" if r else series_name(k, split_in(k) or ("val" if keys[1] == OF_SPACY[1] else "")) for k, r in zip(keys, roles, strict=True))
        renamed = of_validation(dict(zip(keys, names, strict=True)))
        names = tuple(renamed.get(k, n) for k, n in zip(keys, names, strict=True))
        if not any(n and not n.startswith("other/") for n in names) and not _losses(keys):
            continue
        if any(len(k.split()) > 4 for k in keys):
            continue
        return Header(style, keys, roles, names)
    return None


def _of_splits(text: str) -> Header | None:
    """The header of a table with a row for each quantity and a column for each set: `METRIC | TRAIN | VALIDATION`."""
    for style, cells in _splits(text):
        keys = tuple(c.strip().strip("\"'") for c in cells)
        splits = tuple(split_in(k) if len(k.split()) == 1 else "" for k in keys[1:])
        if len(set(splits) - {""}) == len(splits) > 1 and _QUANTITY.fullmatch(keys[0].rpartition(" - ")[2]):  # behind what a logger puts before it
            return Header(style, keys, (None,) * len(keys), keys, splits=splits)
    return None


def _of_rows(text: str) -> Header | None:
    """The header of a table with a row for each part of a model or each set, and a column for each quantity: `component | loss | accuracy`."""
    for style, cells in _splits(text):
        keys = tuple(c.strip().strip("\"'") for c in cells)
        names = tuple(series_name(k) for k in keys)
        known = [n for n in names[1:] if n.startswith("train/") or n in ("reward", "lr")]
        if 2 <= len(keys) <= MAX_COLUMNS and _NAMED.fullmatch(keys[0]) and known and all(0 < len(k) <= MAX_KEY for k in keys):
            return Header(style, keys, (None,) * len(keys), names, of_rows=True)
    return None


def row_of_names(header: Header, text: str) -> list[tuple[str, str, float]] | None:
    """(key, series name, value) of each cell of a row that begins with the name of what it is about; None when the line is no such row.

    A row of a whole set, `train` or `validation`, has the series that the columns name; one of a part of a model, `generator (test)`, none of those.
    """
    text = text.translate(_EDGE).strip()
    label, cells = _labelled(header, text)
    tokens = [c.rstrip("%").encode("utf-8", "replace") for c in cells]
    if len(cells) != len(header.keys) - 1 or not any(c.isalpha() for c in label) or len(label) > MAX_KEY or not all(map(NUMBERS.fullmatch, tokens)):
        return None
    split, part = split_in(label), " ".join(w for w in re.findall(r"[\w.-]+", label) if not split_in(w))
    whole = part.lower() in ("", "set", "data", "dataset")
    keys = [" ".join(w for w in (split.removeprefix("train"), part, k) if w) for k in header.keys[1:]]
    names = [series_name(k, split) if whole else f"other/{key}" for k, key in zip(header.keys[1:], keys, strict=True)]
    names = [f"other/{key}" if n.startswith("other/") else n for n, key in zip(names, keys, strict=True)]
    of_hundred = [0.01 if c.endswith("%") else 1.0 for c in cells]
    return [(k, n, number(t) * h) for k, n, t, h in zip(keys, names, tokens, of_hundred, strict=True)]


def _labelled(header: Header, text: str) -> tuple[str, list[str]]:
    """The name that a row begins with, and its other cells."""
    if header.style in ("|", ",", "\t"):
        label, *cells = [c.strip() for c in text.strip("|").split(header.style)]
        return label, cells
    cells = text.split()
    n = len(header.keys) - 1
    return " ".join(cells[:-n]), cells[-n:]


def row_of_splits(header: Header, text: str) -> list[tuple[str, str, float]] | None:
    """(key, series name, value) of each cell of a row that says one quantity of several sets; None when the line is no such row."""
    text = text.translate(_EDGE).strip()
    cells = [c.strip() for c in (text.strip("|").split("|") if header.style == "|" else re.split(r"\t|(?<=\S)\s+(?=[-+.\dnNiI]\S*(?:\s|$))", text))]
    key = cells[0].rpartition(" - ")[2].strip(" :")
    values = [c.rstrip("%").encode("utf-8", "replace") for c in cells[1:]]
    if len(values) != len(header.splits) or not key or len(key) > MAX_KEY or not all(map(NUMBERS.fullmatch, values)):
        return None
    of_hundred = [0.01 if c.endswith("%") else 1.0 for c in cells[1:]]
    names = [series_name(key, s) for s in header.splits]
    return [
        (f"{s} {key}", f"other/{s} {key}" if n.startswith("other/") else n, number(v) * h)
        for s, n, v, h in zip(header.splits, names, values, of_hundred, strict=True)
    ]


def _losses(keys: tuple[str, ...]) -> bool:
    return any("loss" in k.lower() for k in keys)


def _splits(text: str) -> list[tuple[str, list[str]]]:
    out: list[tuple[str, list[str]]] = []
    if "|" in text:
        out.append(("|", text.strip("|").split("|")))
    if "," in text:
        out.append((",", text.split(",")))
    if "\t" in text:
        out.append(("\t", text.split("\t")))
    wide = _WIDE.split(text)
    if len(wide) >= 2 and all(len(w.split()) == 1 for w in wide):
        out.append((" ", wide))
    elif len(wide) >= 2:
        out.append(("  ", wide))
    # `epoch train loss valid loss accuracy` of fastai: which set, and what of it
    out.append((" ", [word.replace("\0", " ") for word in _TWO_WORDS.sub("\\1\0", text).split()]))
    return out


def cells_of(header: Header, text: str) -> list[float | None] | None:
    """The numbers of a row under a header, None for an empty cell; None when the line is no row of the table."""
    text = text.translate(_EDGE).strip()
    if "[" in text:
        text = _LIST.sub(_summed, text)
    if header.style == "|":
        cells = [c.strip() for c in text.strip("|").split("|")]
    elif header.style in (",", "\t"):
        cells = [c.strip() for c in text.split(header.style)]
    else:
        cells = text.split()
    wanted = len(header.keys)
    if len(cells) < max(2, wanted - (2 if header.style.startswith(" ") else 1)) or (len(cells) > wanted and not header.style.startswith(" ")):
        return None
    values: list[float | None] = []
    numbers = 0
    for place, cell in enumerate(cells[:wanted]):
        token = cell.strip("\"'%")
        if token.lower() in _MISSING:
            values.append(None)
            continue
        first, slash, _ = token.partition("/")
        raw = first.encode("utf-8", "replace")
        match = NUMBERS.match(raw)
        if match is None or (match.end() != len(raw) and not (slash or re.match(rb"^(?:[a-zA-Z%]{1,3}|:)", raw[match.end() :]))):
            if header.style == "|" and header.names[place].startswith("other/"):
                values.append(None)  # words: `| PPO_CartPole_00000 | RUNNING |`
                continue
            return None
        if match.end() != len(raw) or ":" in token:
            values.append(None)
            numbers += 1
            continue
        values.append(number(match[0]))
        numbers += 1
    if values[0] is None and header.roles[0] is not None:
        return None
    return values if numbers * 2 >= len(cells[:wanted]) else None


def _summed(cell: re.Match[str]) -> str:
    """The sum of a cell that is a list, of the terms of a loss."""
    tokens = [t.strip().encode("utf-8", "replace") for t in cell[1].split(",") if t.strip()]
    return f"{math.fsum(map(number, tokens)):.12g}" if tokens and all(map(NUMBERS.fullmatch, tokens)) else "-" if not tokens else cell[0]


def pair_of(text: str) -> tuple[str, float] | None:
    """Key and value of a row of a two-column block: `|    loss | 8.8 |`, or `"main/loss": 1.2,` of a JSON block."""
    match = _PAIR.match(text.translate(_EDGE)) or _JSON_PAIR.match(text)
    if match is None:
        return None
    raw = match[2].encode("utf-8", "replace")
    found = NUMBERS.fullmatch(raw)
    return (match[1].strip(), number(raw)) if found and not is_noise(match[1].strip()) else None


def opens_pairs(text: str) -> bool:
    """`--------  ------`: the rule above and below rows of a key and a value, as tabulate draws them for rlkit and garage."""
    return _TWO_COLUMNS.match(text) is not None


def wide_pair_of(text: str) -> tuple[str, float] | None:
    """Key and value of such a row."""
    match = _WIDE_PAIR.match(text)
    found = NUMBERS.fullmatch(match[2].encode("utf-8", "replace")) if match else None
    return (match[1].strip(), number(found[0])) if match and found else None


def section_of(text: str) -> str:
    """The section that a row of a block opens: `| train/ | |` or, in JSON, `"train": {` → "train"; "" for none."""
    match = _SECTION.match(text.translate(_EDGE)) or _JSON_SECTION.match(text)
    return match[1] if match else ""
