"""The document as JSON and back: `load(dump(d)) == d`, and what is rendered from either is the same.

Numbers that are not finite are the strings "nan", "inf", "-inf" in numeric fields. A `Sentence` field `x` is its rendered
English under `x`, with template and values beside it under `x_sentence`; lists of sentences likewise. A trailing underscore
of a field's name is dropped. Unknown keys are ignored when reading, so a newer minor version can be read. `schema()` is the
JSON Schema of what is written.
"""

import dataclasses
import json
import math
import re
import string
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any, Union

from postmortem.errors import DocumentError
from postmortem.model.comparison import COMPARISON, Comparison
from postmortem.model.diagnosis import SCHEMA, Diagnosis
from postmortem.model.exhibits import Exhibits
from postmortem.model.schema import schema
from postmortem.model.sentence import Sentence

__all__ = ["decode", "dump", "encode", "load", "schema"]

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def dump(diagnosis: Diagnosis, *, exhibits: bool = True, indent: int | None = 1) -> str:
    """JSON text of a document. `exhibits=False` leaves curves and histograms out (batch, `--no-exhibits`)."""
    if not exhibits:
        comparison = diagnosis.comparison and dataclasses.replace(diagnosis.comparison, curves=())
        diagnosis = dataclasses.replace(diagnosis, exhibits=Exhibits(), comparison=comparison)
    data = encode(diagnosis)
    first = {key: data[key] for key in ("schema", "tool")}
    return json.dumps({**first, **data}, ensure_ascii=False, allow_nan=False, indent=indent) + "\n"


def dump_comparison(comparison: Comparison, *, indent: int | None = 1) -> str:
    """JSON text of a comparison of runs (schema "postmortem-comparison/1")."""
    return json.dumps({"schema": comparison.schema, **encode(comparison)}, ensure_ascii=False, allow_nan=False, indent=indent) + "\n"


def load_comparison(text: str | bytes) -> Comparison:
    """Read a comparison. Raises `DocumentError` when it is none."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("schema") != COMPARISON:
            raise DocumentError(f"this JSON is not a comparison: its schema is not {COMPARISON}")
        return typing.cast(Comparison, decode(Comparison, data))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DocumentError(f"this comparison is damaged: {error!r}") from error


def load(text: str | bytes) -> Diagnosis:
    """Read a document. Raises `DocumentError` when it is none, or one of another major version."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"this is not JSON: {error}") from error
    if not isinstance(data, dict) or not str(data.get("schema", "")).startswith("postmortem/"):
        raise DocumentError("this JSON is not a postmortem document: it has no schema 'postmortem/…'")
    if data["schema"] != SCHEMA:
        raise DocumentError(f"this document has the schema {data['schema']}; this version reads {SCHEMA}")
    try:
        return typing.cast(Diagnosis, decode(Diagnosis, data))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise DocumentError(f"this document is damaged: {error!r}") from error


def encode(value: object) -> Any:
    """A dataclass, mapping, sequence or scalar as JSON data."""
    if isinstance(value, float):
        return value if math.isfinite(value) else ("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")  # lone surrogates from odd file names
    if isinstance(value, Sentence):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Any] = {}
        for f in dataclasses.fields(value):
            item = getattr(value, f.name)
            name = f.name.rstrip("_")
            out[name] = encode(item)
            if isinstance(item, Sentence):
                out[f"{name}_sentence"] = _parts(item)
            elif isinstance(item, tuple) and item and all(isinstance(i, Sentence) for i in item):
                out[f"{name}_sentence"] = [_parts(i) for i in item]
        return out
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [encode(v) for v in value]
    if type(value).__module__ == "numpy" and hasattr(value, "item"):  # a scalar
        return encode(value.item())
    raise TypeError(f"{type(value).__name__} has no place in a document")


def _parts(sentence: Sentence) -> dict[str, Any]:
    return {"template": sentence.template, "values": {k: _boxed(v) for k, v in sentence.values.items()}}


def _boxed(value: object) -> Any:
    """A sentence's value: text stays text, so non-finite numbers need a box to be told from the word "nan"."""
    if isinstance(value, float) and not math.isfinite(value):  # also numpy's
        return {"number": encode(value)}
    if isinstance(value, Sentence):
        return {"sentence": _parts(value)}
    return encode(value)


def _unboxed(value: Any) -> Any:
    if isinstance(value, dict) and "sentence" in value:
        return _sentence(value["sentence"])
    return _NON_FINITE[value["number"]] if isinstance(value, dict) else _scalar(value)


def _scalar(value: Any) -> Any:
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError("text, a number, true, false or null expected")
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def decode(kind: Any, data: Any) -> Any:
    """JSON data as a value of the annotated type `kind`. Raises TypeError or ValueError when it does not fit."""
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(typing.get_args(kind), data)
    if origin is tuple:
        (item, *_) = typing.get_args(kind)
        if not isinstance(data, list):
            raise TypeError("a list expected")
        return tuple(decode(item, d) for d in data)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        item = typing.get_args(kind)[1]
        return MappingProxyType({k: decode(item, v) for k, v in data.items()})
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, data)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(data)
    if kind is float:
        if isinstance(data, str):
            return _NON_FINITE[data]
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise TypeError(f"{data!r} is no number")
        float(data)  # an integer that is too large for one
        return data
    if kind in (str, int, bool):
        if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
            raise TypeError(f"{data!r} is no {kind.__name__}")
        return data
    raise TypeError(f"cannot read {kind}")


def _decode_union(options: tuple[Any, ...], data: Any) -> Any:
    if data is None:
        return None
    if set(options) >= {str, int, float}:  # a `Value`: text is text
        return _scalar(data)
    rest = [o for o in options if o is not type(None)]
    if len(rest) != 1:
        raise TypeError(f"ambiguous {options}")
    return decode(rest[0], data)


def _decode_dataclass(kind: type, data: Any) -> Any:
    if not isinstance(data, dict):
        raise TypeError(f"{kind.__name__} expected")
    values: dict[str, Any] = {}
    hints = _hints(kind)
    for f in dataclasses.fields(kind):
        name = f.name.rstrip("_")
        if name not in data:
            continue  # a default, or a TypeError from the constructor
        parts = data.get(f"{name}_sentence")
        if parts is None:
            values[f.name] = decode(hints[f.name], data[name])
        elif isinstance(parts, list) and data[name] is not None:
            values[f.name] = tuple(_sentence(p) for p in parts)
        else:
            values[f.name] = _sentence(parts)
    return kind(**values)


_SPEC = re.compile(r"(?:.?[<>=^])?[-+ ]?#?0?\d{0,2}[,_]?(?:\.\d{1,2})?[a-zA-Z%]?")  # widths that fill no memory


def _sentence(parts: Any) -> Sentence:
    template = parts["template"]
    if not isinstance(template, str):
        raise TypeError("a template is text")
    for _, _, spec, _ in string.Formatter().parse(template):
        if spec and not _SPEC.fullmatch(spec):
            raise ValueError(f"the format {spec[:20]!r} is none of this program's")
    return Sentence(template, MappingProxyType({str(k): _unboxed(v) for k, v in parts["values"].items()}))
