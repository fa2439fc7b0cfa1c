"""JSON, YAML and TOML documents as plain data, within limits. Nothing is constructed: tags become text, aliases are counted."""

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from postmortem.model.sentence import Sentence, say
from postmortem.sources.logs.blocks import head_text

LARGEST_CONFIG = 4 << 20  # bytes
DEEPEST = 64  # levels
MOST_NODES = 200_000
_LARGEST_TOML = 256 << 10  # bytes
_LIGHT = 8 << 20  # bytes; a smaller document is not weighed
MOST_WEIGHT = 256 << 20  # bytes of memory that a document may take as objects
_LONGEST_INTEGER = 300  # digits


class Unreadable(Exception):
    """A document that is none, or too much. `why` is for the report. Never leaves a reader."""

    def __init__(self, why: Sentence) -> None:
        super().__init__(str(why))
        self.why = why


def load(path: Path, *, limit: int = LARGEST_CONFIG, kind: str = "") -> Any:
    """The document in a file, by its extension or `kind` ("json", "yaml", "toml"). Raises `Unreadable`."""
    kind = kind or {"yml": "yaml"}.get(path.suffix.lower().lstrip("."), path.suffix.lower().lstrip("."))
    try:
        if path.stat().st_size > limit:
            raise Unreadable(say("it is larger than {n} MiB", n=limit >> 20))
        raw = path.read_bytes()
    except OSError as error:
        raise Unreadable(say("it could not be read: {why}", why=error.strerror or say("an input error"))) from error
    if len(raw) > _LIGHT and _weight(raw) > MOST_WEIGHT:
        raise Unreadable(say("it holds too many values to be read as one document"))
    parse: Callable[[bytes], Any] = {"json": json_of, "yaml": yaml_of, "toml": _toml}.get(kind, json_of)
    return parse(raw)


def _weight(raw: bytes) -> int:
    """Bytes of memory that a JSON text takes as objects, about: `[[],[],…` takes twenty times its size."""
    return 64 * (raw.count(b"[") + raw.count(b"{")) + 32 * raw.count(b",") + 64 * raw.count(b":")


def json_of(raw: bytes) -> Any:
    """JSON text as data; Python's bare NaN and Infinity, and a byte-order mark, are accepted. Raises `Unreadable`."""
    if not raw.strip():
        raise Unreadable(say("it is empty"))
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(head_text(raw), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise Unreadable(say("it is no JSON, or it is cut off")) from error


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONGEST_INTEGER else math.copysign(math.inf, -1 if digits.startswith("-") else 1)


def _toml(raw: bytes) -> Any:
    # the standard library's reader takes the square of a key's length
    if len(raw) > _LARGEST_TOML or any(line.partition(b"=")[0].count(b".") > DEEPEST for line in raw.splitlines()):
        raise Unreadable(say("it is larger or nested more deeply than any configuration"))
    try:
        return tomllib.loads(head_text(raw))
    except (ValueError, RecursionError) as error:
        raise Unreadable(say("it is no TOML")) from error


# --- YAML -----------------------------------------------------------------------------------------------------------

_NULLS = frozenset({"", "~", "null", "Null", "NULL", "none", "None"})
_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_INT = re.compile(r"[+-]?\d(?:_?\d)*")
_FLOAT = re.compile(r"[+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_SPECIAL = {".nan": math.nan, "nan": math.nan, ".inf": math.inf, "+.inf": math.inf, "inf": math.inf, "-.inf": -math.inf, "-inf": -math.inf}


def yaml_of(raw: bytes) -> Any:
    """The first YAML document as data. Raises `Unreadable`.

    Scalars follow YAML 1.1, but `1e-3` is a number, as the people who write it mean. A tagged node (`!!python/object…`) is
    the plain data below it. What aliases repeat counts every time that it is repeated.
    """
    import yaml

    text = head_text(raw)
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        events = yaml.parse(text, Loader=loader)
        return _Builder(events).document()
    except (yaml.YAMLError, ValueError, RecursionError, StopIteration) as error:
        raise Unreadable(say("it is no YAML, or it is cut off")) from error


class _Builder:
    """Data from a stream of events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self.events = events
        self.nodes = 0
        self.anchors: dict[str, tuple[Any, int]] = {}  # value and the number of nodes in it

    def document(self) -> Any:
        for event in self.events:
            if type(event).__name__ in ("StreamStartEvent", "DocumentStartEvent"):
                continue
            if type(event).__name__ == "StreamEndEvent":
                raise Unreadable(say("it is empty"))
            return self.node(event, 0)
        raise Unreadable(say("it is empty"))

    def node(self, event: Any, depth: int) -> Any:
        self.nodes += 1
        if depth > DEEPEST or self.nodes > MOST_NODES:
            raise Unreadable(say("it is nested too deeply or repeats itself too often"))
        kind = type(event).__name__
        if kind == "AliasEvent":
            value, size = self.anchors.get(event.anchor, (None, 0))
            self.nodes += size
            return value
        before = self.nodes
        value = self._scalar(event) if kind == "ScalarEvent" else self._sequence(depth) if kind == "SequenceStartEvent" else self._mapping(depth)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.nodes - before + 1)
        return value

    def _scalar(self, event: Any) -> Any:
        return event.value if event.style in ("'", '"', "|", ">") or event.tag == "tag:yaml.org,2002:str" else scalar(event.value)

    def _sequence(self, depth: int) -> list[Any]:
        out: list[Any] = []
        for event in self.events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            out.append(self.node(event, depth + 1))
        return out

    def _mapping(self, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for event in self.events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self.node(event, depth + 1)
            value = self.node(next(self.events), depth + 1)
            if key == "<<":
                for one in value if isinstance(value, list) else [value]:
                    if isinstance(one, dict):
                        self.nodes += len(one)
                        merged = {**one, **merged}
            elif isinstance(key, str | int | float | bool) or key is None:
                out[str(key)] = value
        return {**merged, **out}


def scalar(text: str) -> str | int | float | bool | None:
    """What a plain YAML scalar means; numbers as people write them."""
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if len(text) < 100:
        if _INT.fullmatch(text):
            return int(text.replace("_", ""))
        if _FLOAT.fullmatch(text):
            return float(text.replace("_", ""))
    return _SPECIAL.get(text.lower(), text)
