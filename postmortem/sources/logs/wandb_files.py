"""The small files of a W&B run: `wandb-summary.json` (last values) and `wandb-metadata.json` (the machine).

Its `config.yaml` is a configuration file like others: `postmortem.sources.config` reads it.
"""

import datetime as dt
import math
from pathlib import Path
from typing import Any

import numpy as np

from postmortem.model.run import Series, Source, Status
from postmortem.model.sentence import Value, say
from postmortem.sources.documents import Unreadable, load
from postmortem.sources.logs.wandb_history import STEP_KEYS
from postmortem.sources.names import reduction_of, series_names
from postmortem.sources.reader import Candidate, Found

MOST_VALUES = 5_000
SUMMARY, METADATA = "wandb-summary.json", "wandb-metadata.json"
_SUMMARY_KEYS = (b'"_runtime"', b'"_step"', b'"_timestamp"')
_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def claims(candidate: Candidate) -> bool:
    """By their names; a summary under another name by the keys that W&B adds."""
    return candidate.name in (SUMMARY, METADATA) or _is_summary(candidate)


def _is_summary(candidate: Candidate) -> bool:
    return candidate.name == SUMMARY or (candidate.name.endswith(".json") and all(key in candidate.head for key in _SUMMARY_KEYS))


def read(candidate: Candidate, reader: str) -> Found:
    """Read one of them."""
    try:
        data = load(candidate.file, kind="json")
    except Unreadable as error:
        return Found(Source(candidate.path, reader, Status.FAILED, error.why, candidate.size))
    if not isinstance(data, dict):
        return Found(Source(candidate.path, reader, Status.FAILED, say("not the mapping that W&B writes"), candidate.size))
    source = Source(candidate.path, reader, Status.READ, None, candidate.size)
    return _summary(candidate, source, data) if _is_summary(candidate) else Found(source, facts=_machine(data))


def _summary(candidate: Candidate, source: Source, data: dict[str, Any]) -> Found:
    """Last values as series of one point: little, but a last loss of NaN says much. Left out where the whole log is there."""
    folder = candidate.file.parent
    for place in (folder, folder.parent) if candidate.folder else (folder,):
        if any(name.endswith(".wandb") for name in _names(place)):
            return Found(Source(source.path, source.reader, Status.SKIPPED, say("the .wandb file holds the whole history"), source.size))
    values = {k: _number(v) for k, v in data.items() if not k.startswith("_")}
    known = {k: v for k, v in list(values.items())[:MOST_VALUES] if v is not None}
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


def _names(place: Path) -> list[str]:
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
