"""safetensors files, alone or as the shards that a `….safetensors.index.json` names."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from postmortem.model.run import Checkpoint, Source, Status, TensorRef
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.checkpoints.fragments import modified, what_it_is_instead
from postmortem.sources.checkpoints.safetensors_header import BadHeaderError, Header, read_header
from postmortem.sources.checkpoints.steps import step_and_epoch
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "safetensors"
INDEX = ".safetensors.index.json"
_LARGEST_INDEX = 200 << 20  # bytes
_MOST_SHARDS = 10_000
_MOST_FACTS = 64
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def claims(candidate: Candidate) -> bool:
    """By extension, or by a header that starts as this format's do."""
    return candidate.name.lower().endswith(".safetensors") or (candidate.head[8:10] == b'{"' and b'"data_offsets"' in candidate.head)


def claims_index(candidate: Candidate) -> bool:
    return candidate.name.endswith(INDEX)


def read(candidate: Candidate) -> Found:
    """One file. A truncated one still gives the tensors whose bytes are whole."""
    try:
        header = _header(candidate, candidate.path)
    except BadHeaderError as error:
        why = what_it_is_instead(candidate.head, candidate.size) if _something_else(candidate) else error.why
        one = _checkpoint(candidate, Status.FAILED, why, truncated=error.truncated or candidate.size == 0)
        return Found(Source(candidate.path, NAME, Status.FAILED, why, candidate.size), checkpoints=(one,))
    except OSError as error:
        why = say("it cannot be read: {why}", why=error.strerror or type(error).__name__)
        return Found(Source(candidate.path, NAME, Status.FAILED, why, candidate.size))
    status = Status.PARTIAL if header.problems else Status.READ
    detail = _together(header.problems) or _unmeasured(header.unmeasured)
    facts = {**_metadata(header.metadata), **_adapter(candidate)}
    one = replace(
        _checkpoint(candidate, status, detail, truncated=header.truncated),
        tensors=tuple(header.tensors),
        facts=MappingProxyType(facts),
    )
    return Found(Source(candidate.path, NAME, status, detail, candidate.size), checkpoints=(one,))


def read_index(candidate: Candidate) -> Found:
    """The shards that an index names, as one checkpoint. Shards outside of the index's own directory are refused."""
    weight_map = _weight_map(candidate)
    if isinstance(weight_map, Sentence):
        return Found(Source(candidate.path, NAME, Status.FAILED, weight_map, candidate.size))
    tensors: list[TensorRef] = []
    problems: list[Sentence] = []
    files, missing, outside = [candidate.path], [], []
    size, truncated, unmeasured = candidate.size, False, 0
    shards = sorted(set(weight_map.values()))
    for shard in shards[:_MOST_SHARDS]:
        if not _plain(shard):
            outside.append(shard)
            continue
        path = f"{candidate.folder}/{shard}" if candidate.folder else shard
        try:
            header = _header(candidate, path)
        except BadHeaderError as error:
            problems.append(say("{file}: {why}", file=shard, why=error.why))
            truncated = truncated or error.truncated
            files.append(path)
            continue
        except OSError:
            missing.append(shard)
            continue
        files.append(path)
        size += (candidate.root / path).lstat().st_size
        tensors.extend(header.tensors)
        truncated = truncated or header.truncated
        unmeasured += header.unmeasured
        problems.extend(say("{file}: {why}", file=shard, why=str(p)) for p in header.problems)
    if outside:
        problems.insert(0, say("the index names {shard}, which is outside of its directory: not opened", shard=outside[0][:200]))
    if missing:
        names = ", ".join(missing[:3])
        problems.insert(0, say("{n} of {all} shards are missing (shard-missing): {names}", n=len(missing), all=len(shards), names=names[:600]))
    held = {ref.name for ref in tensors}
    lost = [name for name, shard in weight_map.items() if name not in held and shard not in missing and _plain(shard)]
    if lost and not truncated and not unmeasured and not problems:
        problems.append(say("{n:,} tensors of the index are in no shard, the first is {name}", n=len(lost), name=lost[0][:200]))
    status = Status.READ if not problems else Status.PARTIAL if tensors else Status.FAILED
    detail = _together(problems) or _unmeasured(unmeasured)
    if missing and len(problems) > 1:
        detail = say("{n} of {all} shards are missing; {next}; …", n=len(missing), all=len(shards), next=problems[1])
    facts: dict[str, Value] = {"shards": len(shards)}
    if missing:
        facts["missing_shards"] = ", ".join(missing)[:2000]
    one = replace(
        _checkpoint(candidate, status, detail, truncated=truncated),
        tensors=tuple(sorted(tensors, key=lambda ref: ref.name)),
        facts=MappingProxyType(facts),
        files=tuple(files),
        size=size,
    )
    source = Source(candidate.path, NAME, status, detail, candidate.size, refused=bool(outside))
    return Found(source, checkpoints=(one,), consumed=tuple(files[1:]))


def _header(candidate: Candidate, path: str) -> Header:
    """Raises OSError when there is no such regular file, `BadHeaderError` when it is no safetensors file."""
    handle = os.open(candidate.root / path, _OPEN_FLAGS)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        return read_header(file, status.st_size, path)


def _weight_map(candidate: Candidate) -> dict[str, str] | Sentence:
    """Tensor → shard, or why there is none."""
    if candidate.size > _LARGEST_INDEX:
        return say("the index is larger than {n} MB", n=_LARGEST_INDEX >> 20)
    try:
        with candidate.file.open("rb") as file:
            data = json.loads(file.read(_LARGEST_INDEX))
    except OSError as error:
        return say("it cannot be read: {why}", why=error.strerror or type(error).__name__)
    except (ValueError, RecursionError, MemoryError):
        return what_it_is_instead(candidate.head, candidate.size) if _something_else(candidate) else say("the index is not JSON")
    found = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(found, dict) or not all(isinstance(shard, str) for shard in found.values()):
        return say("the index has no weight_map")
    return found


def _plain(shard: str) -> bool:
    """A file's own name, nothing else."""
    return bool(shard) and shard not in (".", "..") and not set(shard) & {"/", "\\", "\0"} and PurePosixPath(shard).name == shard


def _something_else(candidate: Candidate) -> bool:
    start = candidate.head[:200].lstrip().lower()
    return candidate.size == 0 or start.startswith((b"version https://git-lfs", b"<!doctype", b"<html", b"<?xml"))


def _checkpoint(candidate: Candidate, status: Status, detail: Sentence | None, *, truncated: bool) -> Checkpoint:
    step, epoch = step_and_epoch(candidate.path)
    return Checkpoint(
        candidate.path, NAME, status, step, epoch, detail,
        files=(candidate.path,), size=candidate.size, modified=modified(candidate), truncated=truncated,
    )  # fmt: skip


def _together(problems: list[Sentence]) -> Sentence | None:
    if len(problems) < 2:
        return problems[0] if problems else None
    if len(problems) == 2:
        return say("{first}; {second}", first=problems[0], second=problems[1])
    return say("{first}; {second}; and {n} more problems", first=problems[0], second=problems[1], n=len(problems) - 2)


def _unmeasured(count: int) -> Sentence | None:
    return say("{n:,} tensors have a packed element type that is not measured", n=count) if count else None


def _metadata(metadata: Mapping[str, str]) -> dict[str, Value]:
    """What the writer noted; `format` says "pt", "tf", "flax" or "mlx"."""
    return {f"metadata.{key[:100]}": value[:500] for key, value in list(metadata.items())[:_MOST_FACTS]}


def _adapter(candidate: Candidate) -> dict[str, Value]:
    """Facts of a PEFT adapter: its weights are a small part of the model, and the rest is frozen by intent."""
    if not candidate.name.startswith("adapter_model"):
        return {}
    facts: dict[str, Value] = {"adapter": True}
    config: Any = None
    if "adapter_config.json" in candidate.siblings:
        folder = candidate.root / candidate.folder
        try:
            handle = os.open(folder / "adapter_config.json", _OPEN_FLAGS)
            with os.fdopen(handle, "rb") as file:
                config = json.loads(file.read(1 << 20))
        except (OSError, ValueError, RecursionError):
            return facts
    if isinstance(config, dict):
        for key in ("peft_type", "r", "lora_alpha", "lora_dropout", "base_model_name_or_path", "bias"):
            value = config.get(key)
            if isinstance(value, str | int | float | bool):
                facts[f"adapter.{key}"] = value[:500] if isinstance(value, str) else value
    return facts


READERS = (Reader(NAME, claims_index, read_index), Reader(NAME, claims, read))
