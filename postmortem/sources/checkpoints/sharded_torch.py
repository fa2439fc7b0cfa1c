"""Weights in several torch files that a `….bin.index.json` names: one checkpoint, complete only when every shard is there."""

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from postmortem.model.run import Checkpoint, Source, Status, TensorRef
from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints import torch_zip
from postmortem.sources.checkpoints.fragments import failed, modified
from postmortem.sources.checkpoints.steps import step_and_epoch
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "torch-sharded"
_INDICES = (".bin.index.json", ".pt.index.json", ".pth.index.json")
_LARGEST_INDEX = 64 << 20  # bytes
_MOST_SHARDS = 10_000


def claims(candidate: Candidate) -> bool:
    """By name."""
    return candidate.name.endswith(_INDICES)


def read(candidate: Candidate) -> Found:
    """The shards that the index names, as one checkpoint. A name that leaves the index's directory is not opened."""
    names = _weight_map(candidate)
    if isinstance(names, Sentence):
        return failed(candidate, NAME, names)
    shards = sorted(set(names.values()))
    tensors: list[TensorRef] = []
    missing: list[str] = []
    parts: list[Checkpoint] = []
    for shard in shards[:_MOST_SHARDS]:
        one = _shard(candidate, shard)
        if one is None:
            missing.append(shard)
        else:
            parts.append(one)
            tensors.extend(t for t in one.tensors if t.name in names or not names)
    problems = [say("{file}: {why}", file=p.path.rpartition("/")[2], why=p.detail) for p in parts if p.detail is not None]
    if missing:
        problems.insert(0, say("{n} of {all} shards are missing, such as {name}", n=len(missing), all=len(shards), name=missing[0][:200]))
    status = Status.READ if not problems else Status.PARTIAL if tensors else Status.FAILED
    detail = problems[0] if problems else None
    step, epoch = step_and_epoch(candidate.path)
    files = (candidate.path, *(p.path for p in parts))
    refused = tuple(dict.fromkeys(name for p in parts for name in p.refused))
    one_checkpoint = Checkpoint(
        candidate.path,
        NAME,
        status,
        step,
        epoch,
        detail,
        tensors=tuple(tensors),
        facts=MappingProxyType({"shards": len(shards), **({"missing_shards": ", ".join(missing)[:2000]} if missing else {})}),
        files=files,
        size=candidate.size + sum(p.size for p in parts),
        modified=modified(candidate),
        truncated=any(p.truncated for p in parts),
        refused=refused,
    )
    source = Source(candidate.path, NAME, status, detail, candidate.size, refused=bool(refused))
    return Found(source, checkpoints=(one_checkpoint,), consumed=files[1:])


def _weight_map(candidate: Candidate) -> Mapping[str, str] | Sentence:
    try:
        with candidate.file.open("rb") as file:
            data: Any = json.loads(file.read(_LARGEST_INDEX))
    except (OSError, ValueError, RecursionError, MemoryError):
        return say("the index cannot be read")
    found = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(found, dict) or not all(isinstance(shard, str) for shard in found.values()):
        return say("the index has no weight_map")
    return found


def _shard(candidate: Candidate, name: str) -> Checkpoint | None:
    """The fragment of one shard, None when there is no such file in the index's own directory."""
    if not name or name in (".", "..") or set(name) & {"/", "\\", "\0"}:
        return None
    path = f"{candidate.folder}/{name}" if candidate.folder else name
    file = candidate.root / path
    try:
        if file.is_symlink() or not file.is_file():
            return None
        with file.open("rb") as opened:
            head = opened.read(4096)
        found = torch_zip.read(Candidate(candidate.root, path, file.stat().st_size, head, candidate.siblings))
    except OSError:
        return None
    if not found.checkpoints:
        return Checkpoint(path, torch_zip.NAME, Status.FAILED, detail=found.source.detail, files=(path,))
    return replace(found.checkpoints[0], path=path)


READER = Reader(NAME, claims, read)
