"""The JSON Schema of a document, made from the dataclasses. `schema.json` beside this module is the published copy.

A minor version adds fields, which readers ignore when they do not know them. A field that goes, is renamed or changes its
meaning makes another major version: "postmortem/2".
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, Union

from postmortem.model.diagnosis import SCHEMA, Diagnosis
from postmortem.model.sentence import Sentence

_POLICY = (
    "Fields are only ever added within postmortem/1: ignore those that you do not know. "
    "Numbers that are not finite are the strings nan, inf and -inf."
)
_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}
_SENTENCE = {
    "type": "object",
    "properties": {
        "template": {"type": "string"},
        "values": {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    {"type": ["string", "number", "boolean", "null"]},
                    {"type": "object", "properties": {"number": {"enum": ["nan", "inf", "-inf"]}}, "required": ["number"]},
                    {"type": "object", "properties": {"sentence": {"$ref": "#/$defs/sentence"}}, "required": ["sentence"]},
                ]
            },
        },
    },
    "required": ["template", "values"],
}


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what `dump` writes."""
    definitions: dict[str, Any] = {"number": _NUMBER, "sentence": _SENTENCE}
    top = _dataclass(Diagnosis, definitions)
    top["properties"]["schema"] = {"const": SCHEMA}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A diagnosis of a training run ({SCHEMA})",
        "$comment": _POLICY,
        **top,
        "$defs": dict(sorted(definitions.items())),
    }


def _dataclass(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    properties: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name, hint = field.name.rstrip("_"), hints[field.name]
        properties[name] = _of(hint, definitions)
        if hint is Sentence or (typing.get_origin(hint) is not tuple and Sentence in typing.get_args(hint)):
            properties[f"{name}_sentence"] = {"$ref": "#/$defs/sentence"}
        elif Sentence in typing.get_args(hint):
            properties[f"{name}_sentence"] = {"type": "array", "items": {"$ref": "#/$defs/sentence"}}
    return {"type": "object", "properties": properties, "required": [f.name.rstrip("_") for f in dataclasses.fields(kind)]}


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        options = [a for a in arguments if a is not type(None)]
        if set(options) >= {str, int, float}:
            return {"type": ["string", "number", "boolean", "null"]}
        one = _of(options[0], definitions)
        return {"anyOf": [one, {"type": "null"}]} if type(None) in arguments else one
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if hint is Sentence:
        return {"type": "string"}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # a type that holds itself ends here
            definitions[hint.__name__] = _dataclass(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if hint is float:
        return {"$ref": "#/$defs/number"}
    return {"type": {str: "string", int: "integer", bool: "boolean"}[hint]}
