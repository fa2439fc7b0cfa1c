"""How a model is called and its loss computed, for the shapes that batches, models and criteria come in."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from postmortem.capture.batches import parts
from postmortem.errors import UsageError

NEAR = 64  # operations before a loss, among which those are looked for that it was made of
PREDICTIONS = ("logits", "prediction_logits", "predictions")
LABEL_KEYS = ("labels", "label", "targets", "target", "y")


def on_device(batch: Any, device: Any) -> Any:
    """A copy of the batch with its tensors on the device; other values as they are."""
    import torch

    if isinstance(batch, torch.Tensor):
        return batch.detach().clone().to(device)
    if isinstance(batch, np.ndarray) and batch.dtype.kind in "fiub":
        return torch.from_numpy(batch.copy()).to(device)
    if isinstance(batch, Mapping) or (hasattr(batch, "items") and hasattr(batch, "keys")):
        return {k: on_device(v, device) for k, v in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(on_device(v, device) for v in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(on_device(v, device) for v in batch)
    return batch


def inputs_and_labels(batch: Any) -> tuple[Any, Any]:
    """(what the model gets, labels or None). A tuple's last element are the labels; a mapping's are known by their key."""
    if isinstance(batch, Mapping):
        label = next((k for k in LABEL_KEYS if k in batch), None)
        return batch, None if label is None else batch[label]
    if isinstance(batch, list | tuple) and len(batch) > 1:
        return tuple(batch[:-1]), batch[-1]
    return (batch[0],) if isinstance(batch, list | tuple) else (batch,), None


def forward(model: Any, batch: Any, criterion: Any) -> Any:
    """The model's outputs. Without a criterion a mapping is handed over whole, labels too: such models return their loss."""
    inputs, _ = inputs_and_labels(batch)
    if criterion is None and hasattr(model, "training_step"):
        return model.training_step(batch, 0)
    if isinstance(inputs, Mapping):
        kept = inputs if criterion is None else {k: v for k, v in inputs.items() if k not in LABEL_KEYS}
        named = _accepted(model, kept)
        return model(**named) if named else model(parts(inputs)[0])
    if criterion is None and isinstance(batch, list | tuple):
        try:
            return model(*batch)
        except TypeError:
            return model(*inputs)
    return model(*inputs)


def _accepted(model: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those that the model's forward has a name for: a sample's id beside an image is none of them. All, where it takes any or does not say."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError, AttributeError):
        return inputs
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return inputs
    names = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
    return {k: v for k, v in inputs.items() if k in names}


def predictions(outputs: Any) -> Any:
    """The tensor among the outputs that predicts: logits, or the first tensor that is no scalar. None when there is none."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return outputs if outputs.dim() else None
    for name in PREDICTIONS:
        found = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
        if isinstance(found, torch.Tensor):
            return found
    values = outputs.values() if isinstance(outputs, Mapping) else outputs if isinstance(outputs, list | tuple) else ()
    return next((v for v in values if isinstance(v, torch.Tensor) and v.dim()), None)


def loss_of(outputs: Any, batch: Any, criterion: Any) -> Any:
    """The scalar to minimise. A mapping of criteria takes outputs and labels of the same names.

    Several losses, a mapping or a sequence, are summed, unless one is called loss or total or was made of the others.
    """
    inputs, labels = inputs_and_labels(batch)
    if hasattr(criterion, "items"):
        return _scalar({name: one(outputs[name], labels[name]) for name, one in criterion.items()})
    if criterion is not None:
        chosen = hasattr(outputs, "logits") or (isinstance(outputs, Mapping) and (len(outputs) == 1 or any(n in outputs for n in PREDICTIONS)))
        tensor = predictions(outputs) if chosen else outputs  # several outputs without a name that tells are the criterion's to choose from
        target = labels if labels is not None else inputs[0] if isinstance(inputs, tuple) else inputs
        return _scalar(criterion(outputs if tensor is None else tensor, target))
    return _scalar(outputs)


def _scalar(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        if not value.dim() or value.numel() == 1:
            return value.reshape(())
        raise UsageError("there is no loss: give a criterion, or a model or criterion that returns a scalar")
    if isinstance(value, Mapping) or hasattr(value, "loss"):
        for name in ("loss", "total", "total_loss"):
            found = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
            if isinstance(found, torch.Tensor):
                return found.mean()
    given = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    scalars = [v.reshape(()) for v in given if isinstance(v, torch.Tensor) and v.numel() == 1]
    if not scalars:
        raise UsageError("there is no loss: give a criterion, or a model that returns its loss")
    live = [v for v in scalars if v.requires_grad] or scalars  # the others are shown beside them
    total = next((v for v in live if _made_of(v, live)), None)
    return torch.stack(live).sum() if total is None else total


def _made_of(total: Any, losses: Sequence[Any]) -> bool:
    """Whether a loss was computed from all the others: it is their sum already, with whatever weights."""
    wanted = [v.grad_fn for v in losses if v is not total]
    met: list[Any] = []  # the nodes themselves: Python's objects for them, and their `id`, do not outlive the last reference
    ahead = [total.grad_fn]
    while ahead and len(met) < NEAR:
        node = ahead.pop(0)
        if node is None or any(node is n for n in met):
            continue
        met.append(node)
        ahead += [n for n, _ in node.next_functions]
    return all(any(node is n for n in met) for node in wanted)
