"""Runs made of raw bytes: tensors written one after the other into a file, with references to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from postmortem.model.run import Checkpoint, OptimizerState, ParamGroup, ParamState, Run, Status, TensorRef


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    out, step = [], 1
    for size in reversed(shape):
        out.append(step)
        step *= size
    return tuple(reversed(out))


class RawFile:
    """Appends arrays to `root/name` and hands out references."""

    def __init__(self, root: Path, name: str, pad: int = 3) -> None:
        self.root, self.name, self.data = root, name, bytearray(b"\xee" * pad)

    def add(self, tensor: str, array: np.ndarray, dtype: str | None = None) -> TensorRef:
        array = np.asarray(array)
        shape = array.shape
        data = np.ascontiguousarray(array).tobytes()
        ref = TensorRef(tensor, self.name, len(self.data), dtype or array.dtype.name, shape, strides_of(shape), len(data))
        self.data += data
        (self.root / self.name).write_bytes(self.data)
        return ref


def checkpoint(
    root: Path,
    name: str,
    tensors: Mapping[str, np.ndarray],
    step: float | None = None,
    *,
    optimizer: OptimizerState | None = None,
    facts: Mapping[str, object] | None = None,
) -> Checkpoint:
    file = RawFile(root, name)
    refs = tuple(file.add(k, np.asarray(v)) for k, v in tensors.items())
    return Checkpoint(name, "raw", Status.READ, step=step, tensors=refs, optimizer=optimizer, facts=facts or {})


def torch_optimizer(root: Path, name: str, optimizer: object, kind: str, param_names: Sequence[str] = ()) -> OptimizerState:
    """What the torch reader makes of `optimizer.state_dict()`."""
    saved = optimizer.state_dict()
    file = RawFile(root, name)
    states = []
    for key, slots in saved["state"].items():
        refs = {k: file.add(f"{key}.{k}", v.detach().numpy()) for k, v in slots.items() if k != "step" and hasattr(v, "detach")}
        step = slots.get("step")
        states.append(ParamState(key, None if step is None else float(step), refs))
    groups = []
    for group in saved["param_groups"]:
        settings: dict[str, object] = {}
        for k, v in group.items():
            if k == "params":
                continue
            if isinstance(v, tuple):
                settings |= {f"{k}.{i}": p for i, p in enumerate(v)}
            else:
                settings[k] = v
        groups.append(ParamGroup(tuple(group["params"]), settings, tuple(param_names)))
    return OptimizerState(kind, tuple(groups), tuple(states), name)


def run_of(root: Path, *checkpoints: Checkpoint) -> Run:
    return Run("run", root, checkpoints=checkpoints)
