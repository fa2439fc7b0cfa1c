"""DeepSpeed's ZeRO: optimizer states (stage 3: weights too) that lie flattened, one share per rank, put under their parameters' names.

`mp_rank_MM_model_states.pt` names the parameters in order and their shapes (`param_shapes`); each rank's `…optim_states.pt` holds a share.
Source: deepspeed/utils/zero_to_fp32.py, deepspeed/checkpoint/constants.py.
"""

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from postmortem.model.run import TensorRef
from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints import torch_zip
from postmortem.sources.checkpoints.contents import contents
from postmortem.sources.checkpoints.flat import Flat
from postmortem.sources.checkpoints.fragments import UNEXPECTED, fragment
from postmortem.sources.checkpoints.naming import plain_names
from postmortem.sources.checkpoints.placing import Placer
from postmortem.sources.checkpoints.plain import as_list, as_mapping
from postmortem.sources.checkpoints.torch_zip import Archive, open_file
from postmortem.sources.checkpoints.zero_shares import Rank, Shapes, cut, fits, unflatten
from postmortem.sources.checkpoints.zip_directory import Window
from postmortem.sources.pickles.records import Record
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "deepspeed"
_MODEL = re.compile(r"(?:zero_pp_rank_0_)?mp_rank_(\d{2,4})_model_states\.pt")
_OPTIM = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_(\d{1,5})_mp_rank_(\d{2,4})_?optim_states\.pt")
_MOST_RANKS = 4_096
_MOST_PARAMETERS = 200_000
_MOST_GROUPS = 256  # of an optimizer


@dataclass(slots=True)
class _Shares:
    """All ranks' shares, and the files that they are in."""

    ranks: list[Rank] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    missing: int = 0
    size: int = 0  # bytes
    dangerous: dict[str, None] = field(default_factory=dict)


def claims(candidate: Candidate) -> bool:
    """A model file with an optimizer's shares beside it."""
    model = _MODEL.fullmatch(candidate.name)
    return model is not None and bool(_shares(candidate, model[1]))


def _shares(candidate: Candidate, model_rank: str) -> dict[int, str]:
    """Data-parallel rank → name of its file."""
    found = (m for m in map(_OPTIM.fullmatch, candidate.siblings) if m is not None and m[2] == model_rank)
    return dict(sorted((int(m[1]), m[0]) for m in found))


def read(candidate: Candidate) -> Found:
    """The model and its optimizer as one checkpoint; the bare model file where the shares do not fit it."""
    alone = torch_zip.read(candidate)
    try:
        with ExitStack() as stack:
            found = _read(candidate, stack)
    except UNEXPECTED:
        found = None
    return alone if found is None else found


def _archive(candidate: Candidate, name: str, stack: ExitStack) -> Archive | None:
    fd = open_file(candidate.file.parent / name)
    if fd is None:
        return None
    stack.callback(os.close, fd)
    window = Window(fd, 0, os.fstat(fd).st_size)
    if not window.read(4, 0).startswith(b"PK\x03\x04"):
        return None
    archive = Archive(window, f"{candidate.folder}/{name}" if candidate.folder else name)
    return archive if archive.pickled is not None and not archive.directory.truncated else None


def _placer(archive: Archive) -> Placer:
    return Placer(archive.locate, lambda at, n: archive.window.read(n, at), swapped=archive.big_endian())


def _read(candidate: Candidate, stack: ExitStack) -> Found | None:
    model = _MODEL.fullmatch(candidate.name)
    main = _archive(candidate, candidate.name, stack)
    state = as_mapping(main.pickled.value) if main is not None and main.pickled is not None else None
    if model is None or main is None or main.pickled is None or state is None:
        return None
    placer = _placer(main)
    content = contents(main.pickled.value, placer, candidate.path)
    groups = groups_of_shapes(state.get("param_shapes"))
    shares = _gathered(candidate, model[1], state, stack)
    stage = max((_stage(rank.optimizer.get("zero_stage")) for rank in shares.ranks), default=0)
    problem: Sentence | None = None
    if shares.missing:
        problem = say("{n} of {all} ranks' files are missing", n=shares.missing, all=shares.missing + len(shares.ranks))
        content.facts["missing_shards"] = shares.missing
    elif not groups:
        problem = say("the ranks' shares of the optimizer are flat, and the model file does not say which parameter their numbers belong to")
    else:
        problem = unflatten(content, groups, shares.ranks, stage, candidate.path)
    if stage == 3 and not problem:
        frozen = _frozen(candidate, model[1], len(shares.ranks), state, stack)
        content.tensors = (*content.tensors, *frozen)
    content.facts["zero_stage"] = stage
    refused = tuple(dict.fromkeys((*main.pickled.dangerous, *shares.dangerous)))
    found = fragment(candidate, NAME, content, [problem, main.pickled.problem, placer.problem()], dangerous=refused)
    consumed = (*shares.files, *_other_models(candidate, model[1]))
    whole = tuple(replace(c, files=(candidate.path, *consumed), size=c.size + shares.size) for c in found.checkpoints)
    return replace(found, checkpoints=whole, consumed=consumed) if whole else None


def _gathered(candidate: Candidate, model_rank: str, state: Mapping[object, object], stack: ExitStack) -> _Shares:
    out = _Shares()
    names = _shares(candidate, model_rank)
    for name in list(names.values())[:_MOST_RANKS]:
        archive = _archive(candidate, name, stack)
        value = as_mapping(archive.pickled.value) if archive is not None and archive.pickled is not None else None
        optimizer = as_mapping(value.get("optimizer_state_dict")) if value is not None else None
        if archive is None or optimizer is None:
            out.missing += 1
            continue
        out.ranks.append(Rank(optimizer, _placer(archive)))
        out.files.append(archive.file)
        out.size += archive.window.size
        if archive.pickled is not None:
            out.dangerous.update(dict.fromkeys(archive.pickled.dangerous))
    counted = [n for n in (state.get("dp_world_size"), *(_partitions(r.optimizer) for r in out.ranks[:1])) if isinstance(n, int) and 0 < n <= 1 << 20]
    out.missing = max(out.missing, *(n - len(out.ranks) for n in counted), 0) if counted else out.missing
    return out


def _stage(value: object) -> int:
    """A number, or one of an enumeration, which is pickled as a call with it: `ZeroStageEnum(3)`. 0 for neither."""
    if isinstance(value, Record) and isinstance(value.args, tuple) and len(value.args) == 1:
        value = value.args[0]
    return value if isinstance(value, int) else 0


def _partitions(optimizer: Mapping[object, object]) -> int | None:
    """How many shares there are; a list has one number for each group, with experts' groups smaller."""
    count = optimizer.get("partition_count")
    several = [n for n in as_list(count) or () if isinstance(n, int)]
    return count if isinstance(count, int) else max(several, default=None)


def groups_of_shapes(value: object) -> list[Shapes]:
    """Names and shapes by group, in the order in which they were flattened."""
    listed = as_list(value)
    out: list[Shapes] = []
    if listed is not None and len(listed) > _MOST_GROUPS:
        return []
    for group in listed if listed is not None else (value,):
        shapes: Shapes = []
        for name, shape in (as_mapping(group) or {}).items():
            size = _size(shape)
            if not isinstance(name, str) or size is None or len(shapes) >= _MOST_PARAMETERS:
                return []
            shapes.append((name[:300], size))
        if shapes:
            names = plain_names([name for name, _ in shapes])
            out.append([(name, size) for name, (_, size) in zip(names, shapes, strict=True)])
    return out


def _size(value: object) -> tuple[int, ...] | None:
    """A `torch.Size`, which is pickled as a call with a tuple."""
    if isinstance(value, Record) and isinstance(value.args, tuple) and len(value.args) == 1:
        value = value.args[0]
    numbers = as_list(value)
    if numbers is None or not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
        return None
    return tuple(n for n in numbers if isinstance(n, int))


# --- further files --------------------------------------------------------------------------------------------------


def _other_models(candidate: Candidate, model_rank: str) -> tuple[str, ...]:
    """Stage 3 leaves a model file per rank: the weights lie elsewhere, so that one is enough."""
    if not candidate.name.startswith("zero_pp_rank_0_"):
        return ()
    alike = re.compile(rf"zero_pp_rank_[1-9]\d*_mp_rank_{model_rank}_model_states\.pt")
    return tuple(f"{candidate.folder}/{n}" if candidate.folder else n for n in sorted(candidate.siblings) if alike.fullmatch(n))


def _frozen(candidate: Candidate, model_rank: str, ranks: int, state: Mapping[object, object], stack: ExitStack) -> tuple[TensorRef, ...]:
    """Parameters without an optimizer: stage 3 cuts them too, and each rank's model file has a share."""
    shapes = [pair for group in groups_of_shapes(state.get("frozen_param_shapes")) for pair in group]
    if not shapes or not candidate.name.startswith("zero_pp_rank_0_"):
        return ()
    shares: list[tuple[dict[str, object], Placer]] = []
    for rank in range(ranks):
        archive = _archive(candidate, f"zero_pp_rank_{rank}_mp_rank_{model_rank}_model_states.pt", stack)
        value = as_mapping(archive.pickled.value) if archive is not None and archive.pickled is not None else None
        if archive is None or value is None:
            return ()
        parts = {k: v for k, v in (as_mapping(value.get("frozen_param_fragments")) or {}).items() if isinstance(k, str)}
        shares.append((dict(zip(plain_names(list(parts)), parts.values(), strict=True)), _placer(archive)))
    out: list[TensorRef] = []
    for name, shape in shapes:
        refs = [placer.ref("", parts.get(name)) for parts, placer in shares]
        flats = [Flat([r]) for r in refs if r is not None]
        if len(flats) == ranks and fits(flats, [(name, shape)], 3):
            out.extend(ref for _, ref in cut(flats, [(name, shape)], 3, ""))
    return tuple(out)


READER = Reader(NAME, claims, read)
