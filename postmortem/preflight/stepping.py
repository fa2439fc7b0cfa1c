"""The trial itself: one forward pass with eyes open, then a few steps that should overfit one batch."""

import inspect
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from postmortem.errors import UsageError
from postmortem.preflight.calling import forward, inputs_and_labels, loss_of, predictions
from postmortem.preflight.trial import FIXED_SCALE, SECONDS, Seen, Trial, caught, clock, drawn_of, gradients_of, hooks, moved, references

IGNORED = -100
ELEMENTWISE = frozenset({"MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
FEWEST = 10  # steps of a trial, however quickly it succeeds
DONE = 0.2  # of the first loss: the batch is overfitted, the trial may end


def classes_of(criterion: Any, outputs: Any, labels: Any) -> int | None:
    """Number of classes, where the criterion (or a model that returns its loss) classifies and the outputs show it."""
    import torch

    if outputs is None or not isinstance(labels, torch.Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        return None
    kind = type(criterion).__name__ if criterion is not None else ""
    name = getattr(criterion, "__name__", "")
    if criterion is None and outputs.dim() == labels.dim() + 1:
        return int(outputs.shape[-1])
    if kind in ("CrossEntropyLoss", "NLLLoss", "FocalLoss") or name in ("cross_entropy", "nll_loss"):
        return int(outputs.shape[1]) if outputs.dim() > 1 else None
    if kind in ("function", "method", "partial") and outputs.dim() == 2 and labels.dim() == 1 and outputs.shape[1] > 1:
        return int(outputs.shape[1])
    return None


def are_probabilities(outputs: Any) -> bool:
    """Not negative, and of sum 1 over the classes (axis 1) everywhere: a softmax was applied already."""
    import torch

    if outputs is None or outputs.dim() < 2 or outputs.shape[1] < 2 or not outputs.numel():
        return False
    values = outputs.detach().float()
    return bool((values >= 0).all()) and bool(torch.allclose(values.sum(1), torch.ones(()).to(values.device), atol=1e-3))


def stretched(criterion: Any, outputs: Any, labels: Any) -> tuple[str, str] | None:
    """The two shapes, where an element-wise loss would broadcast one to the other: (n, 1) against (n) compares each with all."""
    import torch

    name = getattr(criterion, "__name__", type(criterion).__name__)
    if name not in ELEMENTWISE or outputs is None or not isinstance(labels, torch.Tensor) or outputs.shape == labels.shape:
        return None
    return str(tuple(outputs.shape)), str(tuple(labels.shape))


def outside(labels: Any, classes: int, ignored: int) -> int:
    """Labels that the head has no output for."""
    return int(((labels != ignored) & ((labels < 0) | (labels >= classes))).sum())


def run(model: Any, batch: Any, criterion: Any, optimizer: Any, *, steps: int, autocast: Any, keep_bytes: bool) -> tuple[Trial, int | None, int]:
    """(what happened, classes, labels out of range). Changes `model` and `optimizer`: hand in copies."""
    trial = Trial()
    device = next((p.device for p in model.parameters()), None)
    if not model.training:
        model.train()
    if keep_bytes:
        trial.before = references(model)
    for parameter in model.parameters():
        parameter.grad = None
    classes, wrong = None, 0
    try:
        classes, wrong, loss = _first(trial, model, batch, criterion, device, autocast)
        if loss is not None:
            _train(trial, model, batch, criterion, optimizer, loss, steps=steps, device=device, autocast=autocast)
    except UsageError:
        raise
    except Exception as error:  # whatever the model's code raises is a finding
        caught(trial, error)
    if keep_bytes and trial.steps:
        trial.after = references(model)
    return trial, classes, wrong


def _casting(device: Any, dtype: Any) -> AbstractContextManager[Any]:
    import torch

    return nullcontext() if dtype is None else torch.autocast(device_type=device.type, dtype=dtype)


def _first(trial: Trial, model: Any, batch: Any, criterion: Any, device: Any, autocast: Any) -> tuple[int | None, int, Any]:
    import torch

    _, labels = inputs_and_labels(batch)
    if criterion is None and isinstance(labels, torch.Tensor) and not labels.is_floating_point():
        declared = _declared(model, labels)
        if declared is not None and (wrong := outside(labels, declared, IGNORED)):
            return declared, wrong, None
    seen = Seen()
    handles = hooks(model, seen)
    trial.seen = seen
    try:
        with _casting(device, autocast):
            outputs = forward(model, batch, criterion)
    finally:
        for handle in handles:
            handle.remove()
    shown = predictions(outputs)
    if shown is not None and shown.numel() and shown.is_floating_point():
        trial.outputs = tuple(shown.shape)
        trial.output_range = (float(shown.detach().min()), float(shown.detach().max()))
        trial.outputs_finite = bool(torch.isfinite(shown).all())
    classes = classes_of(criterion, shown, labels)
    trial.probabilities = classes is not None and criterion is not None and are_probabilities(shown)
    trial.broadcast = stretched(criterion, shown, labels)
    if classes is not None and isinstance(labels, torch.Tensor):
        wrong = outside(labels, classes, int(getattr(criterion, "ignore_index", IGNORED)))
        if wrong:
            return classes, wrong, None  # on an accelerator the loss of such labels ends the whole process
    with _casting(device, autocast):
        loss = loss_of(outputs, batch, criterion)
    return classes, 0, loss


def _declared(model: Any, labels: Any) -> int | None:
    """Classes that a model which computes its own loss says to have: `config.num_labels`, or the vocabulary for labels per position."""
    config = getattr(model, "config", None)
    found = getattr(config, "num_labels" if labels.dim() == 1 else "vocab_size", None)
    return found if isinstance(found, int) and found > 1 else None


def _overfitted(losses: list[float]) -> bool:
    return len(losses) > FEWEST and losses[0] > 0 and max(losses[-3:]) < DONE * losses[0]


def _asks_again(optimizer: Any) -> bool:
    """An optimizer that evaluates the loss itself, such as L-BFGS: its step wants a closure."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _train(trial: Trial, model: Any, batch: Any, criterion: Any, optimizer: Any, loss: Any, *, steps: int, device: Any, autocast: Any) -> None:
    import torch

    scale = FIXED_SCALE if autocast is torch.float16 else 1.0
    end = clock() + SECONDS

    def again() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with _casting(device, autocast):
            loss = loss_of(forward(model, batch, criterion), batch, criterion)
        loss.backward()
        return loss

    for step in range(steps + 1):
        if step:
            with _casting(device, autocast):
                loss = loss_of(forward(model, batch, criterion), batch, criterion)
        trial.losses.append(float(loss.detach()))
        if step == steps or (step and (clock() > end or not math.isfinite(trial.losses[-1]))) or _overfitted(trial.losses):
            break
        optimizer.zero_grad(set_to_none=True)
        for parameter in model.parameters():
            parameter.grad = None
        if not loss.requires_grad:
            trial.gradients = gradients_of(model, trial.seen.ran)
            break
        (loss * scale).backward()
        if not step:
            trial.gradients = gradients_of(model, trial.seen.ran, scale)
        if scale != 1.0:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.div_(scale)
        before = None if step else drawn_of(model)
        if _asks_again(optimizer):
            optimizer.step(again)
        else:
            optimizer.step()
        if before is not None:
            trial.updates = moved(model, before)
        trial.steps = step + 1
