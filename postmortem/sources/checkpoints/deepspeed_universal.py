"""DeepSpeed's universal checkpoints: `zero/<parameter>/fp32.pt`, `exp_avg.pt`, `exp_avg_sq.pt`, `step.pt` beside the model files of the ranks.

Each file holds one whole tensor, whatever the ranks were that it was trained on; the groups of the optimizer are in `zero/optimizer_state.pt`.
Made from stage 3 they are flat, without steps, and their shapes are in the model file.
Source: deepspeed/checkpoint/ds_to_universal.py, deepspeed/checkpoint/constants.py.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from postmortem.model.run import OptimizerState, ParamGroup, ParamState, TensorRef
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.checkpoints import torch_zip
from postmortem.sources.checkpoints.contents import Contents, contents
from postmortem.sources.checkpoints.deepspeed import groups_of_shapes
from postmortem.sources.checkpoints.flat import Flat
from postmortem.sources.checkpoints.fragments import UNEXPECTED, fragment
from postmortem.sources.checkpoints.naming import plain_names
from postmortem.sources.checkpoints.optimizers import kind_of, optimizer_state
from postmortem.sources.checkpoints.placing import Placer
from postmortem.sources.checkpoints.plain import as_mapping
from postmortem.sources.checkpoints.torch_zip import Archive, open_file
from postmortem.sources.checkpoints.zip_directory import Window
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "deepspeed-universal"
_MODEL = re.compile(r"(zero_pp_rank_0_)?mp_rank_00_model_states\.pt")
_OTHER = re.compile(r"zero_pp_rank_[1-9]\d{0,4}_mp_rank_00_model_states\.pt")  # of the other ranks, stage 3: nothing of the model is in them
_FOLDER, _GROUPS, _WEIGHTS, _STEP = "zero", "optimizer_state.pt", "fp32.pt", "step.pt"
_MOST_PARAMETERS = 200_000
_MOST_SLOTS = 16


def claims(candidate: Candidate) -> bool:
    """The first rank's model file, with a directory `zero` beside it."""
    folder = candidate.file.parent / _FOLDER
    return _MODEL.fullmatch(candidate.name) is not None and _FOLDER in candidate.siblings and folder.is_dir() and not folder.is_symlink()


def read(candidate: Candidate) -> Found:
    """Master weights and optimizer under their parameters' names; the bare model file where the others cannot be read."""
    try:
        found = _read(candidate)
    except UNEXPECTED:
        found = None
    return torch_zip.read(candidate) if found is None else found


class _File:
    """One file that was opened: what was saved, and how to place its tensors."""

    def __init__(self, candidate: Candidate, below: str) -> None:
        """Raises OSError, ValueError when it is no torch zip that can be read."""
        fd = open_file(candidate.file.parent / below)
        if fd is None:
            raise FileNotFoundError(below)
        try:
            self.path = f"{candidate.folder}/{below}" if candidate.folder else below
            window = Window(fd, 0, os.fstat(fd).st_size)
            archive = Archive(window, self.path)
            if archive.pickled is None:
                raise ValueError(below)
            self.size, self.pickled = window.size, archive.pickled
            self.placer = Placer(archive.locate, lambda at, n: window.read(n, at), swapped=archive.big_endian())
            self._take()
        finally:
            os.close(fd)

    def _take(self) -> None:
        """All that is read of it while it is open."""
        value = as_mapping(self.pickled.value)
        self.tensor: TensorRef | None = self.placer.ref("", value.get("param") if value is not None else self.pickled.value)
        self.number = self.placer.number(self.pickled.value) if value is None else None
        self.content = contents(self.pickled.value, self.placer, self.path) if _MODEL.fullmatch(self.path.rpartition("/")[2]) else Contents()
        self.shapes = dict(pair for group in groups_of_shapes((value or {}).get("param_shapes")) for pair in group)
        inner = as_mapping((value or {}).get("optimizer_state_dict")) or value or {}
        memory = as_mapping((as_mapping(inner.get("state")) or {}).get(0)) or {}
        self.step = self.placer.number(memory.get("step"))  # of the first part of the flat optimizer
        groups = inner.get("param_groups")
        self.groups = optimizer_state({"state": {}, "param_groups": groups}, self.placer, self.path).groups if groups is not None else ()


def _read(candidate: Candidate) -> Found | None:
    main = _File(candidate, candidate.name)
    files = [main]
    folder = candidate.file.parent / _FOLDER
    weights: dict[str, TensorRef] = {}
    states: list[ParamState] = []
    unread: list[str] = []
    names = sorted(_directories(folder))
    for name, param in zip(names, plain_names(names), strict=True):
        found: dict[str, TensorRef] = {}
        step: float | None = None
        for slot in sorted(p.name for p in (folder / name).glob("*.pt"))[:_MOST_SLOTS]:
            try:
                one = _File(candidate, f"{_FOLDER}/{name}/{slot}")
            except (OSError, ValueError):
                unread.append(f"{_FOLDER}/{name}/{slot}")
                continue
            files.append(one)
            step = one.number if slot == _STEP else step
            if one.tensor is not None and slot != _STEP:
                found[slot.removesuffix(".pt")] = one.tensor
        shape = main.shapes.get(param, ())
        found = {slot: Flat([ref]).shaped(ref.name, shape) if ref.count == math.prod(shape) else ref for slot, ref in found.items()}
        if (master := found.pop(_WEIGHTS.removesuffix(".pt"), None)) is not None:
            weights[param] = replace(master, name=param)
        if found:
            slots = {slot: replace(ref, name=f"{param}.{slot}") for slot, ref in found.items()}
            states.append(ParamState(param, step, MappingProxyType(slots)))
    if not names:
        return None
    content = main.content
    order = {t.name: n for n, t in enumerate(content.tensors)}
    masters = sorted(weights.values(), key=lambda t: order.get(t.name, len(order)))
    content.tensors = (*masters, *(t for t in content.tensors if t.name not in weights))
    content.optimizer = _optimizer(candidate, files, states)
    problem = say("{n} of its files cannot be read", n=len(unread)) if unread else None
    above = f"{candidate.folder}/" if candidate.folder else ""
    return _found(candidate, content, files, problem, [above + name for name in unread])


def _directories(folder: os.PathLike[str]) -> list[str]:
    with os.scandir(folder) as listing:
        return [entry.name for _, entry in zip(range(_MOST_PARAMETERS), listing, strict=False) if entry.is_dir(follow_symlinks=False)]


def _optimizer(candidate: Candidate, files: list[_File], states: list[ParamState]) -> OptimizerState:
    """All parameters in one group, with the settings that all groups share: which group a parameter was in is not saved."""
    shared: Mapping[str, Value] = {}
    try:
        files.append(_File(candidate, f"{_FOLDER}/{_GROUPS}"))
        groups = files[-1].groups
        shared = {k: v for k, v in groups[0].settings.items() if all(g.settings.get(k) == v for g in groups)} if groups else {}
    except (OSError, ValueError):
        pass
    states = [replace(s, step=files[-1].step) if s.step is None else s for s in states]
    group = ParamGroup(tuple(s.param for s in states), MappingProxyType(dict(shared)))
    return OptimizerState(kind_of((group,), states), (group,), tuple(states), files[-1].path)


def _found(candidate: Candidate, content: Contents, files: list[_File], problem: Sentence | None, unread: list[str]) -> Found:
    dangerous = tuple(dict.fromkeys(name for f in files for name in f.pickled.dangerous))
    found = fragment(candidate, NAME, content, [problem, files[0].pickled.problem], dangerous=dangerous)
    above = f"{candidate.folder}/" if candidate.folder else ""
    others = (above + name for name in sorted(candidate.siblings) if _OTHER.fullmatch(name))
    consumed = (*(f.path for f in files[1:]), *unread, *others)
    whole = tuple(replace(c, files=(candidate.path, *consumed), size=sum(f.size for f in files)) for c in found.checkpoints)
    return replace(found, checkpoints=whole, consumed=consumed)


READER = Reader(NAME, claims, read)
