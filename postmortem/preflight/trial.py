"""A few training steps on one batch of a copied model, with everything looked at that a person would look at."""

import math
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from postmortem.capture.samples import drawn, norm
from postmortem.capture.watching import LIMITS, NEAR_LIMIT, RECTIFIED, WEIGHTED
from postmortem.model.run import TensorRef

HERE = Path(__file__).parent
SECONDS = 60.0  # after which no further step is begun
FIXED_SCALE = 1024.0  # of the loss under float16, in place of a scaler that has to be tuned first
FEW_ROWS = 8  # samples and positions below which a silent unit says nothing


@dataclass(frozen=True, slots=True)
class Gradient:
    """Of one parameter after the first backward. A parameter without one has `missing`."""

    name: str
    missing: bool
    used: bool  # its module ran in the forward pass
    size: int = 0  # elements
    rms: float = 0.0
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 0.0
    non_finite: int = 0
    weight_rms: float = 0.0
    matrix: bool = False  # two axes or more


@dataclass(slots=True)
class Seen:
    """What the first forward pass showed, module by module, in the order of execution."""

    ran: set[str] = field(default_factory=set)
    first_bad: str = ""  # the module that made non-finite values of finite ones
    first_bad_kind: str = ""
    between: bool = False  # it was handed such values, which no module before it had put out
    dead: dict[str, float] = field(default_factory=dict)
    saturated: dict[str, float] = field(default_factory=dict)
    sizes: list[tuple[str, float]] = field(default_factory=list)  # RMS of each leaf's output


@dataclass(slots=True)
class Trial:
    """The outcome. `losses` are before each update, and the last one after all of them."""

    losses: list[float] = field(default_factory=list)
    gradients: list[Gradient] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    outputs: tuple[int, ...] = ()
    output_range: tuple[float, float] | None = None
    outputs_finite: bool = True
    probabilities: bool = False  # the outputs are probabilities, and the criterion takes logits
    broadcast: tuple[str, str] | None = None  # shapes of outputs and labels that an element-wise loss stretches to each other
    before: tuple[TensorRef, ...] = ()
    after: tuple[TensorRef, ...] = ()
    error: BaseException | None = None
    error_text: str = ""
    learning_rate: float | None = None
    updates: dict[str, float] = field(default_factory=dict)  # of the first step, by parameter: how far it moved over its size
    raised_from: float | None = None  # the learning rate that a warm-up had left
    steps: int = 0


def bytes_of(model: Any) -> int:
    """Bytes of its parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))


def references(model: Any) -> tuple[TensorRef, ...]:
    """All parameters and buffers with their bytes, as a checkpoint would hold them."""
    out = []
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        out.append(reference(name, tensor, requires_grad=tensor.requires_grad if tensor.is_leaf else None))
    return tuple(out)


def reference(name: str, tensor: Any, *, requires_grad: bool | None = None) -> TensorRef:
    """One tensor with its bytes."""
    import torch

    host = tensor.detach().cpu().contiguous()
    data = host.reshape(-1).view(torch.uint8).numpy().tobytes() if host.numel() else b""
    return TensorRef(name, "", 0, str(host.dtype).removeprefix("torch."), tuple(host.shape), tuple(host.stride()), len(data), data, (), requires_grad)


def hooks(model: Any, seen: Seen) -> list[Any]:
    """Set hooks on every leaf that fill `seen`. They come off by `remove()`."""

    def hook(name: str) -> Any:
        def look(module: Any, inputs: Any, output: Any) -> None:
            import torch

            seen.ran.add(name)
            tensors = [
                t for t in (output if isinstance(output, list | tuple) else (output,)) if isinstance(t, torch.Tensor) and t.is_floating_point()
            ]
            given = [t for t in inputs if isinstance(t, torch.Tensor) and t.is_floating_point()]
            if not tensors or not tensors[0].numel():
                return
            out = tensors[0].detach()
            kind = type(module).__name__
            if not seen.first_bad and not bool(torch.isfinite(out).all()):
                seen.first_bad, seen.first_bad_kind = name, kind
                seen.between = not all(bool(torch.isfinite(t).all()) for t in given)
            seen.sizes.append((name, float(norm(out)) / math.sqrt(out.numel())))
            if kind in RECTIFIED:
                share = _silent(out)
                if share is not None:
                    seen.dead[name] = share
            elif kind in LIMITS:
                low, high = LIMITS[kind]
                margin = NEAR_LIMIT * (high - low)
                seen.saturated[name] = float(((out < low + margin) | (out > high - margin)).float().mean())
            elif kind in WEIGHTED and given and len(seen.sizes) > 1:
                share = _silent(given[0].detach())
                if share is not None:
                    seen.dead[f"{name} (its inputs)"] = share

        return look

    import torch

    leaves = [(n, m) for n, m in model.named_modules() if not any(True for _ in m.children())]
    tables = [(n, m) for n, m in leaves if isinstance(m, torch.nn.Embedding | torch.nn.EmbeddingBag)]
    return [module.register_forward_hook(hook(name)) for name, module in leaves] + [m.register_forward_pre_hook(_within(n)) for n, m in tables]


def _within(name: str) -> Any:
    """Raises on an index that the table has no row for: an accelerator would not raise, but be lost to the whole process."""

    def look(module: Any, inputs: Any) -> None:
        rows, ids = module.num_embeddings, inputs[0] if inputs else None
        if ids is not None and ids.numel():
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= rows:
                raise IndexError(f"index {low if low < 0 else high} is out of range of {name}, which has {rows} rows")

    return look


def _silent(tensor: Any) -> float | None:
    """Share of units that are exactly 0 for all samples and positions; None for too few of those."""
    if tensor.dim() < 2:
        return None
    axis = 1 if tensor.dim() > 3 else -1
    rows = tensor.movedim(axis, 0).reshape(tensor.shape[axis], -1)
    return None if rows.shape[1] < FEW_ROWS else float((rows == 0).all(1).float().mean())


def gradients_of(model: Any, ran: set[str] | None, scale: float = 1.0) -> list[Gradient]:
    """The gradient of every trainable parameter. `ran` are the leaves that ran, None when that is not known."""
    import torch

    out = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        owner = name.rpartition(".")[0]
        used = ran is None or owner in ran or not any(owner == n for n, m in model.named_modules() if not any(True for _ in m.children()))
        if parameter.grad is None:
            out.append(Gradient(name, missing=True, used=used))
            continue
        grad = parameter.grad.detach()
        grad = _real(grad.coalesce().values() if grad.is_sparse else grad).float() / scale
        if not grad.numel():
            continue
        bad = int((~torch.isfinite(grad)).sum())
        size = math.sqrt(grad.numel())
        weight = float(norm(_real(parameter.detach()))) / size
        out.append(
            Gradient(name, missing=False, used=used, size=grad.numel(), rms=float(grad.double().norm()) / size, low=float(grad.min()),
                     high=float(grad.max()), mean=float(grad.mean()), std=float(grad.std(correction=0)), non_finite=bad, weight_rms=weight,
                     matrix=parameter.dim() > 1)
        )  # fmt: skip
    return out


def _real(tensor: Any) -> Any:
    """The parts of complex numbers, one behind the other."""
    import torch

    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def moved(model: Any, before: dict[str, npt.NDArray[np.float32]]) -> dict[str, float]:
    """How far each parameter's drawn elements are from those of before, over the size of those; parameters of size 0 are left out."""
    out = {}
    for name, now in drawn_of(model).items():
        was = before[name].astype(np.float64)
        size = float(np.linalg.norm(was))
        if size > 0:
            out[name] = float(np.linalg.norm(now - was)) / size
    return out


def drawn_of(model: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Some elements of each trainable parameter, always the same ones."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad and p.is_floating_point() and p.numel()]
    return dict(zip((n for n, _ in named), drawn([p for _, p in named]), strict=True))


def usual_rates(optimizer: Any) -> tuple[float | None, float | None]:
    """The highest learning rate of the groups, and what it was before: a schedule's warm-up that starts near 0 is left out of the trial."""
    raised = None
    for group in optimizer.param_groups:
        start = group.get("initial_lr")
        if start is not None and float(group["lr"]) < float(start):
            raised = float(group["lr"])
            group["lr"] = start
    rates = [float(g["lr"]) for g in optimizer.param_groups if "lr" in g]
    return max(rates, default=None), raised


def caught(trial: Trial, error: BaseException) -> None:
    """An exception of the model's own code. Frames of this package, which called it, are no part of its traceback."""
    trial.error = error
    told = traceback.TracebackException.from_exception(error)
    told.stack = traceback.StackSummary.from_list([f for f in told.stack if Path(f.filename).parent != HERE])
    trial.error_text = "".join(told.format())[-6000:]


def state_references(optimizer: Any, model: Any) -> list[tuple[str, float | None, Mapping[str, TensorRef]]]:
    """(parameter's name, step, slots) of everything that the optimizer remembers of the model's parameters."""
    import torch

    names = {id(p): n for n, p in model.named_parameters()}
    out: list[tuple[str, float | None, Mapping[str, TensorRef]]] = []
    for parameter, state in optimizer.state.items():
        name = names.get(id(parameter))
        if name is None:
            continue
        step = state.get("step")
        slots = {k: reference(k, v) for k, v in state.items() if isinstance(v, torch.Tensor) and v.dim() and v.is_floating_point()}
        out.append((name, None if step is None else float(step), slots))
    return out


def clock() -> float:
    """Seconds, of a clock that only goes forward."""
    return time.monotonic()
