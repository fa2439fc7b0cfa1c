"""How a line states settings: key and value in the forms in which scripts print them."""

import re

from postmortem.sources.languages import to_english
from postmortem.sources.setting_names import setting_name

Pair = tuple[str, str]

# `[config] lr = 0.1`; `Overriding: learning_rate = 0.1` of nanoGPT's configurator
_CONFIG_PREFIX = re.compile(r"^(?:\[[\d :,./-]{6,40}\]\s*)?(?:\[(?:config|options|args|setting)\w{0,10}\]|Overriding:)\s*", re.IGNORECASE)
_LOGGED = re.compile(
    r"^(?:\[?[\d/.:,\-T ]{8,40}\]?)?\s{0,3}(?:\[[^\]]{1,80}\]\s{0,3}){0,3}(?:[\s|\-:]{0,4}(?:DEBUG|INFO|NOTICE)\b[\]\s|"
    r"\-:]{0,4}(?:(?P<logger>[\w.]{1,60})(?::\d{1,6})?[:\]>| -]{1,4})?)?(?:>>\s{1,3})?"
)
_DEFAULT = re.compile(r"\s{1,40}\[default: [^\]]{0,80}\]\s*$")  # what CycleGAN's options print behind a value that was given
_LABEL = re.compile(r"^[\s|>-]{0,12}[A-Za-z][\w ]{0,40}:\s{1,4}(?=[A-Za-z_][\w.]{0,60}\s?=)")  # `Params: lr=0.1 | bs=32`
_SEGMENT = re.compile(r"(?<![:=\s])\s{2,}(?![:=\s])|\s?[|│┃]\s?|,\s|;\s")
_LINE = re.compile(
    r"""^[\s|│┃>*#+•\-({\['"]{0,12}(?P<key>[A-Za-z_][\w ./\-]{0,60}?)['"]?\s{0,40}(?:=>|->|→|[:=])\s{0,40}(?P<value>\S.{0,200}?)\s*$"""
)
_TUPLE = re.compile(r"""^\s{0,12}[(\[]['"](?P<key>[A-Za-z_][\w.\-]{0,60})['"],\s(?P<value>\S.{0,200}?)[)\]],?\s*$""")
_PLAIN = re.compile(r"^\s{0,12}(?P<key>[A-Za-z]\w{0,40}_\w{1,40}|lr|epochs|seed|dropout|momentum|optimizer)\s(?P<value>[\w.+\-]{1,40})$")
_ASSIGNED = re.compile(r"(?<!\S)[+]{0,2}(?P<key>[A-Za-z_][\w.]{0,60})=(?P<value>[^\s,;=]{1,80})(?!\S)")  # `lr=0.1 batch_size=32`
_CELLS = re.compile(r"\s{2,}|\t|\s?[|│┃]\s?")
_EDGES = " \t|│┃*#"
_KEY = re.compile(r"^['\"]?[A-Za-z_][\w ./\-]{0,60}['\"]?$")
_NUMBER = r"(?P<value>\d{1,12}(?:\.\d{1,12})?(?:e-?\d{1,3})?)(?![\w.%/])"
# `Training with Adam, learning rate 0.001, batch size 32, for 30 epochs`
_SPOKEN = re.compile(
    r"(?<![\w-])(?P<key>learning[ _-]rate|lr|batch[ _-]?size|weight[ _-]decay|dropout|momentum)(?: of| is)? " + _NUMBER, re.IGNORECASE
)
_SPAN = re.compile(r"\b(?:training|train|fit|fitting|run|running)\b[^.\n]{0,80}?\bfor (?P<value>\d{1,6}) (?P<key>epochs)\b", re.IGNORECASE)
_EPOCHS = re.compile(r"(?<![\w.])(?P<value>\d{1,6}) (?P<key>epochs)\b")


def _without_prefix(text: str) -> str:
    """A line without its date, level and logger; of `INFO - lr: 0.1` it is no logger that is called `lr`."""
    prefix = _LOGGED.match(text)
    if prefix is None:
        return text
    whole = text[prefix.start("logger") :] if prefix["logger"] else ""
    pair = _LINE.match(whole)
    return whole if pair and setting_name(pair["key"].strip()) else text[prefix.end() :]


def is_declared(text: str) -> bool:
    """The line says of itself that it is one of a configuration."""
    return _CONFIG_PREFIX.match(text) is not None


def pairs_of(text: str) -> list[Pair]:
    """Keys and values that a line states, in its order and as they are printed. Whether a key names a setting is the caller's to ask."""
    body = _LABEL.sub("", _DEFAULT.sub("", _without_prefix(_CONFIG_PREFIX.sub("", text))))
    if not body.isascii():
        body = to_english(body)
    told = _TUPLE.match(body) or _PLAIN.match(body)
    if told:
        return [(told["key"], told["value"])]
    parts = [p for p in _SEGMENT.split(body.strip()) if p]
    pairs = [m for m in (_LINE.match(p) for p in parts) if m]
    if len(pairs) > 1:
        return [_of(m) for m in pairs]
    assigned = [(m["key"], m["value"]) for m in _ASSIGNED.finditer(body)]
    if len(assigned) > 1:
        return assigned
    whole = _LINE.match(body)
    if whole:
        return [_of(whole)]
    spoken = [(m["key"], m["value"]) for m in _SPOKEN.finditer(body)]
    return _in_cells(body) or spoken + [(m["key"], m["value"]) for m in (_EPOCHS if spoken else _SPAN).finditer(body)]


def _of(pair: "re.Match[str]") -> Pair:
    opened = pair["value"].rstrip(" ({[")  # `Optimizer: AdamW (`, `model=dict(`: the rest stands in the lines below
    return pair["key"].strip(), "" if opened == "dict" else opened


def _in_cells(body: str) -> list[Pair]:
    """`| lr | 0.1 | batch_size | 32 |`, and the columns of a listing without lines."""
    cells = [c.strip() for c in _CELLS.split(body.strip(_EDGES))]
    if len(cells) % 2 or not 2 <= len(cells) <= 8 or not all(_KEY.match(c) for c in cells[::2]):
        return []
    return [(key.strip("'\""), value) for key, value in zip(cells[::2], cells[1::2], strict=True)]
