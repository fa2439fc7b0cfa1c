"""Every field of a measured checkpoint, and of the checkpoints together, against slow definitions: random and adversarial tensors, several saves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from postmortem.measure import checkpoints, trajectory
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.model.run import Checkpoint, OptimizerState, ParamGroup, ParamState, Run, Setting, Status, TensorRef
from postmortem.model.tensors import CheckpointStats, GradientStats, TensorStats, UpdateStats, WeightSummary
from tests.measure.raw import RawFile, strides_of
from tests.measure.slow_checkpoints import FIRST, SECOND, Memory, Save, gradients, summary, updates, windows
from tests.measure.slow_tensors import CONTENTS, SMALLEST_NORMAL, Made, content, figures, numbers

HEADS = 2
FLOATS = tuple(d for d in SMALLEST_NORMAL if not d.startswith("complex"))
SHAPES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "wte.weight": ((9, 6), "embedding"), "layers.0.weight": ((8, 6), "weight"), "layers.0.bias": ((8,), "bias"),
    "attn.q_proj.weight": ((8, 8), "weight"), "norm.weight": ((8,), "norm-gain"), "norm.bias": ((8,), "norm-bias"), "conv.weight": ((4, 3, 3, 2), "weight"),
    "conv.bias": ((4,), "bias"), "bn.weight": ((4,), "norm-gain"), "bn.bias": ((4,), "norm-bias"), "bn.running_mean": ((4,), "running-mean"),
    "bn.running_var": ((4,), "running-var"), "bn.num_batches_tracked": ((), "buffer"), "temperature": ((), "other"), "wide.weight": ((6, 10), "weight"),
    "wide.bias": ((10,), "bias"), "none.weight": ((0, 4), "weight"), "one.weight": ((1, 1), "weight"), "head.weight": ((5, 8), "weight"),
    "head.bias": ((5,), "bias"),
}  # fmt: skip
HOWS = (("drawn",), ("same", "drawn", "rows"), ("scaled", "same"), ("same", "drawn", "rows", "scaled", "cast", "shaped", "gone"))
LONELY = ("wte.weight", "attn.q_proj.weight", "temperature", "one.weight")  # whose neighbours mean the same without them
OF_ROWS = ("dead_rows", "identical_rows", "row_cosine", "repeated_rows", "twin_heads")
STEPS = (10.0, 20.0, 25.0, 40.0)
KEPT = (*range(8), *range(9, 17))  # columns of the kernel (of 18) that are kept where it passes as a large tensor does
CLOSE = {"rel": 1e-6, "nan_ok": True}


def planted(tensor: torch.Tensor, how: str) -> torch.Tensor:
    """With rows that are equal, zero, or heads that are."""
    t = tensor.clone()
    if t.dim() > 1 and t.numel() and len(t) > 3:
        half = len(t) // 2
        if how == "twins":
            t[1] = t[3]
        elif how == "dead":
            t[2] = torch.zeros_like(t[2])
        elif how == "heads":
            t[half : 2 * half] = t[:half]
        elif how == "near":
            t[1] = (t[3].to(torch.float64) * (1 + 1e-6)).to(t.dtype) if not t.is_complex() else t[3]
    return t


def after(made: Made, name: str, how: str, kind: str, seed: int) -> Made | None:
    """The same tensor in the next checkpoint."""
    t = made.tensor
    if how == "gone" and name in LONELY:
        return None
    if how == "shaped":
        return replace(made, tensor=t.reshape(t.shape[::-1]) if t.dim() == 4 or made.role == "embedding" else t)
    if made.dtype == "int64":
        return replace(made, tensor=t + 1)
    if how == "scaled":
        return replace(made, tensor=(t * 0.75).to(t.dtype) if t.is_complex() else (t.to(torch.float64) * 0.75).to(t.dtype))
    if how == "cast" and not t.is_complex():
        return replace(made, tensor=t.to(torch.float32 if made.dtype != "float32" else torch.float16))
    if how in ("drawn", "rows"):
        new = content(kind, made.dtype, t.numel(), seed).reshape(t.shape)
        if how == "rows" and t.dim() > 1 and len(t):
            new[0] = t[0]
        return replace(made, tensor=new)
    return made


def saves_of(
    seed: int, count: int, *, dtypes: Sequence[str], kinds: Sequence[str], hows: Sequence[str], optimizer: tuple[str, float, float]
) -> list[Save]:
    """Checkpoints of one network. Each tensor is of one of the types and contents, and goes on in one of the ways, by chance.

    Magnitudes of one tensor stay within 1e154 of each other, beyond which float64 does not hold the squares of both.
    """
    rng = np.random.default_rng(seed)
    kinds = [k for k in kinds if k != "bits" or not {"float64", "complex128"} & {*dtypes}]
    tensors: dict[str, Made] = {}
    for name, (shape, role) in SHAPES.items():
        dtype = "int64" if role == "buffer" else str(rng.choice(dtypes))
        if dtype.startswith("complex") and role not in ("weight", "embedding"):
            dtype = "float32"
        flat = content(str(rng.choice(kinds)), dtype, math.prod(shape), seed + len(tensors))
        if role == "running-var":
            flat = (flat.to(torch.float64).abs().clamp(max=200) + 0.05).to(flat.dtype)
        t = planted(flat.reshape(shape), str(rng.choice(["", "", "twins", "dead", "heads", "near"])))
        trainable = rng.choice([None, True, False]) if name == "head.weight" else None
        tensors[name] = Made(t, role, name == "wide.weight", shape[0] // HEADS if "q_proj" in name else None, trainable)
    saves = [Save("c0.bin", STEPS[0], tensors)]
    for i in range(1, count):
        new = {
            n: after(m, n, str(rng.choice(hows)), str(rng.choice(kinds)), seed + 100 * i + k) for k, (n, m) in enumerate(saves[-1].tensors.items())
        }
        saves.append(Save(f"c{i}.bin", STEPS[i], {n: m for n, m in new.items() if m is not None}))
    if optimizer[0]:
        saves = [replace(s, memory=memory(s, *optimizer, rng)) if rng.random() < 0.9 else s for s in saves]
    return [replace(s, gradients=gradients(s)) for s in saves]


def memory(save: Save, kind: str, decay: float, scale: float, rng: np.random.Generator) -> Memory:
    chosen = {
        "adam": {"beta1": 0.9, "beta2": 0.98, "eps": 1e-8}, "adamw": {"beta1": 0.9, "beta2": 0.98, "eps": 1e-8}, "rmsprop": {"alpha": 0.9, "eps": 1e-8},
        "adagrad": {"eps": 1e-10}, "sgd": {"momentum": 0.75},
    }[kind]  # fmt: skip
    slots: dict[str, dict[str, torch.Tensor]] = {}
    for name in (n for n in SHAPES if n in save.tensors and save.tensors[n].role not in ("buffer", "running-mean", "running-var")):
        shape = save.tensors[name].tensor.shape
        mean = torch.from_numpy(np.asarray(rng.standard_normal(shape) * scale, np.float32))
        square = torch.from_numpy(np.asarray(rng.chisquare(2, shape) * scale**2 * (rng.random(shape) < 0.9), np.float32))
        if rng.random() < 0.1 and square.numel():
            square.reshape(-1)[0] = float(rng.choice([math.nan, math.inf, -1.0]))
        if rng.random() < 0.1:
            square = torch.zeros_like(square)
        slots[name] = ({FIRST[kind]: mean} if kind in FIRST else {}) | ({SECOND[kind]: square} if kind in SECOND else {})
    return Memory(kind, {**chosen, "weight_decay": decay, "lr": 0.1}, dict.fromkeys(slots, save.step - 2), slots)


def written(root: Path, saves: list[Save], layout: str) -> Run:
    """Turned round or with gaps between the elements, where that is asked for; 64-bit words begin anywhere."""
    out = []
    for save in saves:
        data, refs = bytearray(b"\xee" * 3), []
        for name, made in save.tensors.items():
            t = made.tensor
            strides, held = strides_of(t.shape), t.contiguous().reshape(-1)
            if layout == "turned" and t.dim() > 1:
                axes = tuple(reversed(range(t.dim())))
                held, back = t.permute(axes).contiguous().reshape(-1), strides_of([t.shape[i] for i in axes])
                strides = tuple(back[t.dim() - 1 - i] for i in range(t.dim()))
            nbytes = t.numel() * t.element_size()
            refs.append(TensorRef(name, save.path, len(data), made.dtype, tuple(t.shape), strides, nbytes, requires_grad=made.trainable))
            data += held.view(torch.uint8).numpy().tobytes() if nbytes else b""
        (root / save.path).write_bytes(data)
        out.append(
            Checkpoint(save.path, "raw", Status.READ, step=save.step, tensors=tuple(refs), optimizer=stored(root, save), facts={"order": "known"})
        )
    return Run("run", root, checkpoints=tuple(out), settings=(Setting("num_attention_heads", "num_attention_heads", HEADS, "config.json"),))


def stored(root: Path, save: Save) -> OptimizerState | None:
    if save.memory is None:
        return None
    m, file = save.memory, RawFile(root, f"{save.path}.opt")
    (root / file.name).write_bytes(b"")
    states = tuple(ParamState(i, m.steps[n], {k: file.add(f"{i}.{k}", t.numpy()) for k, t in m.slots[n].items()}) for i, n in enumerate(m.slots))
    return OptimizerState(m.kind, (ParamGroup(tuple(range(len(states))), m.settings, tuple(m.slots)),), states, file.name)


def agree(told: object, wanted: object, where: str, **within: Any) -> None:
    within = {**CLOSE, **within}
    if wanted is ...:
        return
    if isinstance(wanted, float) or (isinstance(wanted, tuple) and wanted and isinstance(wanted[0], float)):
        assert told == pytest.approx(wanted, **within), where
    elif isinstance(wanted, dict):
        assert dict(told) == pytest.approx(wanted, **within) if all(isinstance(v, float) for v in wanted.values()) else dict(told) == wanted, where  # type: ignore[call-overload]
    elif isinstance(wanted, tuple) and any(isinstance(v, float) for v in wanted):
        assert told[0] == wanted[0] and told[1] == pytest.approx(wanted[1], **within), where  # type: ignore[index]  # noqa: PT018
    else:
        assert told == wanted, where


def same_tensor(told: TensorStats, made: Made, way: str, layout: str) -> None:
    wanted = {**figures(made)}
    if (
        way != "held" and layout == "turned" and min(made.tensor.shape, default=0) > 1
    ):  # of a large tensor that is read in another order no rows are kept
        wanted |= dict.fromkeys(OF_ROWS)
    elif way != "held" and told.name == "conv.weight":
        wanted |= {"row_cosine": ...}  # told from 16 of 18 columns
        if hidden(made):  # rows that show nothing there are not compared with others
            for field in ("identical_rows", "repeated_rows"):
                assert wanted[field] is ... or 0 <= getattr(told, field) <= wanted[field], field  # type: ignore[operator]
            wanted |= {"identical_rows": ..., "repeated_rows": ...}
    assert wanted.keys() == {f.name for f in fields(TensorStats)} - {"name", "histogram"}
    exact = way == "held" or made.dtype in ("float16", "bfloat16")
    size = 0.0 if math.isnan(wanted["rms"]) else wanted["rms"]  # type: ignore[arg-type]
    for field, value in wanted.items():
        within: dict[str, float] = {"mean": {"abs": size * 1e-11}, "std": {"abs": size * 1e-10}, "scale": {"abs": 1e-6}, "initial_distance": {"abs": 1e-6}, "row_cosine": {"abs": 1e-5}}.get(field, {"abs": 0.0})  # fmt: skip
        if field in ("quantiles", "kurtosis") and not exact:
            if made.dtype in ("float64", "complex128") or (field == "kurtosis" and wanted["std"] <= size * 1e-7):  # type: ignore[operator]
                continue  # counted as float32
            within = {"rel": 2.0**-8 if field == "quantiles" else 0.05, "abs": 1e-40 if field == "quantiles" else 0.05}
        elif field == "kurtosis":
            if wanted["std"] <= size * 1e-6:  # type: ignore[operator]
                continue
            within = {"abs": 1e-4}
        if field in ("initial", "initial_distance", "scale") and wanted["std"] < size * 1e-9:  # type: ignore[operator]
            continue  # rounding alone
        agree(getattr(told, field), value, f"{told.name}.{field}", **within)
    histogram(told, made)


def hidden(made: Made) -> bool:
    """Two rows or more hold something in the columns of the kernel that are not kept alone."""
    rows = made.rows()
    return rows is not None and int((rows.any(axis=1) & ~rows[:, KEPT].any(axis=1)).sum()) > 1


def histogram(told: TensorStats, made: Made) -> None:
    """Bins that touch: from an edge on where it is above 0, behind it where it is below; two of them hold the extremes."""
    values = numbers(made.tensor).reshape(-1)
    top = np.finfo(np.float32).max
    values = np.clip(values[np.isfinite(values)], -top, top).astype(np.float32).astype(np.float64)
    edges, counts = told.histogram.edges, told.histogram.counts
    assert len(edges) == len(counts) + 1 or (not len(values) and edges == counts == ())
    assert all(a < b for a, b in pairwise(edges))
    if not len(values):
        return
    assert edges[0] <= values.min()
    assert values.max() <= edges[-1]
    over = [len(values), *(int((values >= e).sum() if e > 0 else (values > e).sum()) for e in edges[1:-1]), 0]
    assert list(counts) == [a - b for a, b in pairwise(over)]


@given(
    st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([*((d,) for d in SMALLEST_NORMAL), FLOATS, ("float32", "bfloat16")]),
    st.sampled_from([("normal",), ("normal", "sparse"), CONTENTS]), st.sampled_from(HOWS),
    st.tuples(st.sampled_from(["", "adam", "adamw", "rmsprop", "adagrad", "sgd"]), st.sampled_from([0.0, 1e-3, 0.5]), st.sampled_from([1.0, 1e-9, 1e-23, 1e15])),
    st.sampled_from(["plain", "turned"]), st.sampled_from(["held", "counted", "compiled"]),
)  # fmt: skip
@example(402342, 3, ("float8_e4m3fn",), ("normal", "sparse"), HOWS[1], ("adamw", 0.0, 1e-23), "plain", "compiled")  # rows that the sample hides
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_field_of_checkpoints(
    tmp_path: Path, seed: int, count: int, dtypes: Sequence[str], kinds: Sequence[str], hows: Sequence[str], optimizer: tuple[str, float, float],
    layout: str, way: str,
) -> None:  # fmt: skip
    with pytest.MonkeyPatch.context() as patched, np.errstate(all="ignore"):
        saves = saves_of(seed, count, dtypes=dtypes, kinds=kinds, hows=hows, optimizer=optimizer)
        patched.setattr(trajectory, "DIRECT", 1 << 17 if way == "held" else -1)
        patched.setattr(checkpoints, "COMPILED_FROM", 0 if way == "compiled" else 1 << 60)
        patched.setattr(checkpoints, "LEAST_BLOCK", 33)
        patched.setattr(checkpoints, "BUFFERS", 0)
        found, together, _ = measure_checkpoints(written(tmp_path, saves, layout))
        moves = updates(saves)
        assert len(found) == len(saves)
        for told, save, moved, i in zip(found, saves, moves, range(len(saves)), strict=True):
            assert (told.path, told.step, told.epoch, told.unread, told.prior is None) == (save.path, save.step, None, (), no_prior(save))
            assert [t.name for t in told.tensors] == list(save.tensors)
            for t in told.tensors:
                same_tensor(t, save.tensors[t.name], way, layout)
            assert told.non_finite == tuple(t.name for t in told.tensors if t.nan + t.positive_inf + t.negative_inf)
            assert [u.name for u in told.updates] == [n for n in save.tensors if n in moved]
            for u in told.updates:
                assert moved[u.name].keys() == {f.name for f in fields(UpdateStats)} - {"name"}
                for field, value in moved[u.name].items():
                    if field == "still_rows" and way != "held" and u.still_rows is not None and value is not None:
                        assert u.still_rows >= value  # of a large tensor some columns are looked at
                    elif field != "still_rows" or way == "held" or layout == "plain":
                        agree(getattr(u, field), value, f"{u.name}.{field}", **({"abs": 1e-6} if field == "cosine" else {}))
            before = next((s for s in reversed(saves[:i]) if s.gradients), None)
            wanted = [*save.gradients.items(), *(windows(before, save) if before is not None else {}).items()]
            assert [g.name for g in told.gradients] == [n for n, _ in wanted]
            for g, (name, one) in zip(told.gradients, wanted, strict=True):
                assert one.keys() == {f.name for f in fields(GradientStats)} - {"name", "inputs"}
                for field, value in one.items():
                    agree(getattr(g, field), value, f"{name}.{field}", rel=1e-4)
            assert (told.optimizer is None) == (save.memory is None)
            assert told.optimizer is None or (told.optimizer.kind, told.optimizer.step) == (save.memory.kind, max(save.memory.steps.values()))  # type: ignore[union-attr]
        whole = summary(saves)
        assert whole.keys() == {f.name for f in fields(WeightSummary)} - {"input_scales"}
        unknown = () if way == "held" else ("first_row_cosine", "running_var_lag") + (("zero_rows", "symmetric_share") if layout == "turned" else ())
        for field, value in whole.items():
            middles = way != "held" and any(word in field for word in ("gain", "hidden_bias", "running_var"))  # of counted values
            agree(
                getattr(together, field),
                ... if field in unknown else value,
                field,
                **({"rel": 2.0**-7, "abs": 2.0**-7} if middles else {"rel": 1e-4, "abs": 1e-5}),
            )
    assert {f.name for f in fields(CheckpointStats)} == {"path", "step", "epoch", "tensors", "gradients", "updates", "optimizer", "unread", "prior"}


def no_prior(save: Save) -> bool:
    bias = save.tensors.get("head.bias")
    return bias is None or not np.isfinite(numbers(bias.tensor)).all()
