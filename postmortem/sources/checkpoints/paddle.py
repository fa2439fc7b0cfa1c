"""PaddlePaddle's `.pdparams`, `.pdopt` and the like: pickles of a dict of numpy arrays, read as data.

A state dict says under `StructuredToParameterName@@` how the optimizer calls each parameter (`linear_0.w_0`); the optimizer's file holds
`linear_0.w_0_moment1_0` and, of Adam's kin, powers of the betas in place of a step.
Source: paddle/framework/io.py (`_build_saved_state_dict`), optimizer/optimizer.py (`_add_accumulator`), optimizer/adam.py.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from postmortem.model.run import OptimizerState, ParamGroup, ParamState, TensorRef
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.checkpoints.contents import Contents, contents
from postmortem.sources.checkpoints.fragments import UNEXPECTED, failed, fragment, stopped_at, what_it_is_instead
from postmortem.sources.checkpoints.optimizers import kind_of
from postmortem.sources.checkpoints.placing import Placer
from postmortem.sources.checkpoints.plain import as_mapping
from postmortem.sources.checkpoints.torch_legacy import Stream, read_stream
from postmortem.sources.checkpoints.torch_zip import open_file
from postmortem.sources.checkpoints.zip_directory import Window
from postmortem.sources.pickles.records import Array
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "paddle"
_ENDINGS = (".pdparams", ".pdopt", ".pdema", ".pdstates")
_NAMES = "StructuredToParameterName@@"
_BETAS = (0.9, 0.999)  # its optimizers' defaults
_NEAR = 0.02  # of a step, as a share: powers are float32
_UNDERFLOWS = 700.0  # steps after which 0.9**step is no normal float32
# Accumulators and what torch calls the same, which is how they are measured.
_SLOTS = {
    "moment1": "exp_avg", "moment2": "exp_avg_sq", "moment2_max": "max_exp_avg_sq", "velocity": "momentum_buffer", "moment": "sum",
    "mean_square": "square_avg", "mean_grad": "grad_avg", "inf_norm": "exp_inf",
    "avg_squared_grad": "square_avg", "avg_squared_update": "acc_delta",
}  # fmt: skip
_ACCUMULATOR = re.compile(rf"(.{{1,300}}?)(?:_fp32_master_\d+)?__?({'|'.join(_SLOTS)}|beta1_pow_acc|beta2_pow_acc)_\d+")


def claims(candidate: Candidate) -> bool:
    """By name."""
    return candidate.name.lower().endswith(_ENDINGS)


def read(candidate: Candidate) -> Found:
    """Read a file of weights or of an optimizer. Never raises."""
    try:
        return _read(candidate)
    except UNEXPECTED as error:
        return failed(candidate, NAME, stopped_at(error))


def _read(candidate: Candidate) -> Found:
    stream = _stream(candidate.file, candidate.path)
    if stream is None:
        return failed(candidate, NAME, what_it_is_instead(candidate.head, candidate.size), truncated=candidate.size == 0)
    placer = Placer(lambda _: None, lambda *_: b"")  # every array lies in the pickle
    value = as_mapping(stream.pickled.value) or {}
    told = {key: item for key, item in value.items() if key != _NAMES}
    if any(isinstance(key, str) and _ACCUMULATOR.fullmatch(key) for key in told):
        found = _optimizer(told, _called(candidate), placer, candidate.path)
    else:
        arrays = {key: item for key, item in told.items() if isinstance(item, Array)}
        found = contents({"state_dict": arrays} if arrays else told, placer, candidate.path)
        found.tensors = tuple(_wide(ref) for ref in found.tensors)
        found.facts["layout"] = NAME
    cut = say("the file is cut: it ends at byte {size:,}, before its content does", size=candidate.size) if stream.truncated else None
    problems: list[Sentence | None] = [cut, None if stream.truncated else stream.pickled.problem, placer.problem()]
    return fragment(candidate, NAME, found, problems, truncated=stream.truncated, dangerous=stream.dangerous)


def _stream(file: Path, path: str) -> Stream | None:
    fd = open_file(file)
    if fd is None:
        return None
    try:
        window = Window(fd, 0, os.fstat(fd).st_size)
        return read_stream(lambda at, n: window.read(n, at), window.size, path)
    finally:
        os.close(fd)


def _wide(ref: TensorRef) -> TensorRef:
    """numpy has no bfloat16: its bits are saved as uint16, which no parameter is."""
    return replace(ref, dtype="bfloat16") if ref.dtype == "uint16" else ref


def _called(candidate: Candidate) -> dict[str, str]:
    """The model's names by the optimizer's, from the weights that lie beside; empty without them."""
    beside = candidate.file.with_suffix(".pdparams")
    if beside == candidate.file or beside.name not in candidate.siblings:
        return {}
    stream = _stream(beside, "")
    table = as_mapping((as_mapping(stream.pickled.value) or {}).get(_NAMES)) if stream else None
    return {own: name for name, own in (table or {}).items() if isinstance(own, str) and isinstance(name, str)}


def _optimizer(told: Mapping[object, object], called: Mapping[str, str], placer: Placer, source: str) -> Contents:
    """The optimizer's state under the model's names, and its schedule."""
    slots: dict[str, dict[str, TensorRef]] = {}
    powers: dict[str, dict[str, float]] = {}
    for key, item in told.items():
        match = _ACCUMULATOR.fullmatch(key) if isinstance(key, str) else None
        if match is None or not isinstance(item, Array):
            continue
        name, slot = called.get(match[1], match[1]), match[2]
        if slot in _SLOTS:
            ref = placer.ref(f"{name}.{_SLOTS[slot]}", item)
            slots.setdefault(name, {}).update({} if ref is None else {_SLOTS[slot]: _wide(ref)})
        elif (power := placer.number(item)) is not None:
            powers.setdefault(name, {})[slot] = power
    steps = {name: step for name, found in powers.items() if (step := _step(found)) is not None}
    states = tuple(ParamState(name, steps.get(name), MappingProxyType(found)) for name, found in slots.items())
    schedule = as_mapping(told.get("LR_Scheduler")) or {}
    scheduler: dict[str, Value] = {k: v for k, v in schedule.items() if isinstance(k, str) and isinstance(v, int | float)}
    settings: dict[str, Value] = {"lr": scheduler["last_lr"]} if "last_lr" in scheduler else {}
    if steps:
        settings |= {"betas.0": _BETAS[0], "betas.1": _BETAS[1]}
    groups = (ParamGroup(tuple(slots), MappingProxyType(settings)),)
    return Contents(optimizer=OptimizerState(kind_of(groups, states), groups, states, source), scheduler=scheduler)


def _step(powers: Mapping[str, float]) -> float | None:
    """How many updates there were: a power begins at its beta and is multiplied by it each time. None unless both agree on the default betas."""
    counts = [
        math.log(powers[slot]) / math.log(beta) - 1.0
        for slot, beta in zip(("beta1_pow_acc", "beta2_pow_acc"), _BETAS, strict=True)
        if 0.0 < powers.get(slot, 0.0) < 1.0
    ]
    if not counts or (len(counts) == 1 and counts[0] < _UNDERFLOWS):
        return None
    agree = len(counts) == 1 or counts[0] > _UNDERFLOWS or abs(counts[0] - counts[1]) <= max(0.5, _NEAR * counts[1])
    return float(round(counts[-1])) if agree else None


READER = Reader(NAME, claims, read)
