"""The small files of a W&B run: `wandb-summary.json` (last values), `config.yaml`, `wandb-metadata.json` (the machine)."""

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import yaml

from postmortem.model.run import Series, Setting, Source, Status
from postmortem.model.sentence import Value, say
from postmortem.sources.logs.wandb_history import STEP_KEYS
from postmortem.sources.names import reduction_of, series_names, setting_name
from postmortem.sources.reader import Candidate, Found

MAX_FILE = 4 << 20  # bytes
MAX_YAML = 256 << 10  # bytes; YAML is read in plain Python
MAX_SETTINGS = 5_000
_DEEPEST = 12
_LONGEST = 2_000  # characters of a text

SUMMARY, METADATA = "wandb-summary.json", "wandb-metadata.json"
_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def claims(candidate: Candidate) -> bool:
    """`config.yaml` only where W&B wrote it: every entry is a mapping with a `value`, and `_wandb` is one of them."""
    if candidate.name in (SUMMARY, METADATA):
        return True
    return candidate.name == "config.yaml" and (b"\n_wandb:" in b"\n" + candidate.head or b"wandb_version:" in candidate.head)


def read(candidate: Candidate, reader: str) -> Found:
    """Read one of them. Raises OSError."""
    limit = MAX_YAML if candidate.name == "config.yaml" else MAX_FILE
    if candidate.size > limit:
        return Found(Source(candidate.path, reader, Status.SKIPPED, say("larger than {limit} kB", limit=limit >> 10), candidate.size))
    with candidate.file.open("rb") as file:
        raw = file.read(limit)
    try:
        data = _yaml(raw) if candidate.name == "config.yaml" else json.loads(raw)
    except (ValueError, RecursionError, yaml.YAMLError, AttributeError, TypeError, KeyError, IndexError, OverflowError):
        return Found(Source(candidate.path, reader, Status.FAILED, say("not the JSON or YAML that W&B writes"), candidate.size))
    if not isinstance(data, dict):
        return Found(Source(candidate.path, reader, Status.FAILED, say("not the mapping that W&B writes"), candidate.size))
    source = Source(candidate.path, reader, Status.READ, None, candidate.size)
    if candidate.name == SUMMARY:
        return _summary(candidate, source, data)
    if candidate.name == METADATA:
        return Found(source, facts=_machine(data))
    config = {str(k): v["value"] if isinstance(v, dict) and "value" in v else v for k, v in data.items() if k not in ("_wandb", "wandb_version")}
    return Found(source, settings=settings(config, candidate.path))


class _Loader(yaml.SafeLoader):
    """Plain data only, and no merge keys: they make a short file expand without bound."""

    def flatten_mapping(self, node: Any) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError


def _yaml(raw: bytes) -> Any:
    return yaml.load(raw, _Loader)  # noqa: S506 - a SafeLoader


# --- settings -------------------------------------------------------------------------------------------------------


def settings(config: Mapping[str, object], file: str) -> tuple[Setting, ...]:
    """Each leaf of a configuration as a setting, under its dotted path."""
    out: list[Setting] = []
    for key, value in _leaves(config, "", 0):
        if len(out) >= MAX_SETTINGS:
            break
        out.append(Setting(setting_name(key), key, value, file))
    return tuple(out)


def _leaves(value: object, key: str, depth: int) -> Iterator[tuple[str, Value]]:
    if isinstance(value, Mapping):
        if depth < _DEEPEST:
            for name, inner in value.items():
                yield from _leaves(inner, f"{key}.{name}"[-_LONGEST:] if key else str(name)[:_LONGEST], depth + 1)
    elif value is None or isinstance(value, bool | int | float):
        if key:
            yield key, value
    elif isinstance(value, str):
        if key:
            yield key, value[:_LONGEST]
    elif isinstance(value, list | tuple) and key and len(value) <= 16 and all(v is None or isinstance(v, str | int | float) for v in value):
        yield key, json.dumps(list(value))[:_LONGEST]


# --- the last values and the machine --------------------------------------------------------------------------------


def _summary(candidate: Candidate, source: Source, data: dict[str, Any]) -> Found:
    """Last values as series of one point: little, but a last loss of NaN says much. Left out where the whole log is there."""
    folder = candidate.file.parent
    for place in (folder, folder.parent) if candidate.folder else (folder,):
        if any(name.endswith(".wandb") for name in _names(place)):
            return Found(Source(source.path, source.reader, Status.SKIPPED, say("the .wandb file holds the whole history"), source.size))
    values = {k: _number(v) for k, v in data.items() if not k.startswith("_")}
    known = {k: v for k, v in list(values.items())[:MAX_SETTINGS] if v is not None}
    step = next((known[key] for key in STEP_KEYS if known.get(key) is not None), _number(data.get("_step")))
    time = _number(data.get("_timestamp"))
    names = series_names(known)
    series = tuple(
        Series(
            names[key], key, candidate.path, np.array([math.nan if step is None else step]), np.array([value]),
            times=None if time is None else np.array([time]), reduction=reduction_of(key),
        )
        for key, value in known.items()
    )  # fmt: skip
    return Found(Source(source.path, source.reader, Status.READ, say("last values only: the history is not here"), source.size), series)


def _names(place: Any) -> list[str]:
    try:
        return [p.name for p in place.iterdir()]
    except OSError:
        return []


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return _SPELLED.get(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _machine(data: dict[str, Any]) -> dict[str, Value]:
    facts: dict[str, Value] = {}
    gpus = data.get("gpu_count", data.get("gpuCount"))
    if isinstance(gpus, int) and 0 < gpus < 10_000:
        facts["gpus"] = gpus
    started = data.get("startedAt")
    if isinstance(started, str):
        try:
            facts["started_at"] = dt.datetime.fromisoformat(started[:32]).replace(tzinfo=dt.UTC).timestamp()
        except (ValueError, OverflowError):
            return facts
    return facts
