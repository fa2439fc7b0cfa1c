"""Hooks on a model and its optimizers: gradients, weights, updates and activations on sampled steps, nothing on the others.

Module hooks are set before a sampled step and taken off after it, so that other steps run the model as it is.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from postmortem.capture.samples import Array, Figures, drawn, figures, local

MOST_PARAMETERS = 512  # of which figures are taken, spread evenly over the model
MOST_HISTOGRAMS = 64
MOST_MODULES = 64
LIMITS = {"Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softsign": (-1.0, 1.0), "Hardsigmoid": (0.0, 1.0), "Hardtanh": (-1.0, 1.0)}
NEAR_LIMIT = 0.01  # of the range: saturated
RECTIFIED = ("ReLU", "ReLU6", "Threshold")
WEIGHTED = ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d")


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most that many, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def describe(model: Any, optimizers: Sequence[Any]) -> dict[str, Any]:
    """What the model and its optimizers are: numbers of parameters, groups, and trainable parameters that no optimizer holds."""
    named = list(model.named_parameters())
    held = {id(p) for o in optimizers for g in o.param_groups for p in g["params"]}
    trainable = [(n, p) for n, p in named if p.requires_grad]
    known = {id(p) for _, p in named}
    facts: dict[str, Any] = {
        "model": type(getattr(model, "_orig_mod", model)).__name__,
        "parameters": sum(p.numel() for _, p in named),
        "trainable_parameters": sum(p.numel() for _, p in trainable),
        "tensors": len(named),
        "not_trainable": [n for n, p in named if not p.requires_grad][:50],
    }
    if optimizers:
        facts["not_in_optimizer"] = [n for n, p in trainable if id(p) not in held][:50]
        facts["foreign_parameters"] = sum(id(p) not in known for o in optimizers for g in o.param_groups for p in g["params"])
        first = optimizers[0]
        facts["optimizer"] = type(first).__name__
        facts["groups"] = [
            {"tensors": len(g["params"]), **{k: v for k, v in g.items() if isinstance(v, int | float | bool | str | tuple)}}
            for o in optimizers
            for g in o.param_groups
        ][:20]
    return facts


def dead_share(output: Any) -> Any:
    """Share of units that are exactly 0 for every sample and position. Units are axis 1 of images, else the last axis."""
    axis = 1 if output.dim() > 3 else -1
    flat = output.detach().movedim(axis, 0).reshape(output.shape[axis], -1)
    return (flat == 0).all(1).float().mean()


def _layers(what: str, names: Sequence[str], found: Figures) -> dict[str, Any]:
    return {"what": what, "names": names, "v": found.statistics(), "h": found.histograms}


class Watch:
    """What is known of one model between its steps. `sampled` asks whether the step under way is one to look at."""

    def __init__(self, model: Any, optimizers: Sequence[Any], sampled: Callable[[], bool]) -> None:
        self.model = model
        self.sampled = sampled
        self.learning_rate: float | None = None
        self._optimizers = optimizers
        self._modules: list[Any] = []
        self._activations: dict[tuple[str, str], Any] = {}
        self._before: tuple[list[str], list[Any], tuple[Array, ...]] | None = None
        self._layers: list[dict[str, Any]] = []
        self._norm: float | None = None
        self._missing: list[tuple[str, int]] = []  # parameters without a gradient, and their place among the trainable ones, from 1
        self._held: list[float] = []
        self._stepped = 0  # times that an optimizer stepped since the last sampled step
        self._hooks: list[Any] = []
        for optimizer in optimizers:
            if hasattr(optimizer, "register_step_pre_hook"):
                self._hooks.append(optimizer.register_step_pre_hook(self._before_update))
                self._hooks.append(optimizer.register_step_post_hook(self._after_update))

    # --- the optimizer ----------------------------------------------------------------------------------------------

    def _before_update(self, *_: Any) -> None:
        rates = [g["lr"] for o in self._optimizers for g in o.param_groups if g["params"] and "lr" in g]
        self.learning_rate = max(map(float, rates), default=None)
        if not self.sampled() or self._before is not None:
            return
        trainable = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad and p.is_floating_point()]
        named = [(n, p) for n, p in trainable if p.grad is not None]
        self._missing = [(n, at) for at, (n, p) in enumerate(trainable, 1) if p.grad is None][:MOST_PARAMETERS]
        some = spread(named, MOST_PARAMETERS)
        names, tensors = [n for n, _ in some], [p for _, p in some]
        shown = frozenset(spread(range(len(names)), MOST_HISTOGRAMS))
        gradients = figures([p.grad for p in tensors], shown)
        held = {id(p) for o in self._optimizers for g in o.param_groups for p in g["params"]}
        got = [float(n) for n, p in zip(gradients.norm, tensors, strict=True) if id(p) in held]
        self._norm = math.sqrt(math.fsum(n * n for n in got)) if len(some) == len(named) and got else None
        self._before = (names, tensors, drawn(tensors))
        self._layers = [_layers("gradients", names, gradients), _layers("weights", names, figures(tensors, shown))]
        self._layers[0]["v"]["axes"] = [float(p.dim()) for p in tensors]
        self._held = [1.0 if id(p) in held else 0.0 for p in tensors]

    def _after_update(self, *_: Any) -> None:
        self._stepped += 1
        if self._before is None:
            return
        names, tensors, weights = self._before
        self._before = None
        old = [float(np.linalg.norm(a.astype(np.float64))) for a in weights]
        moved = [float(np.linalg.norm(b.astype(np.float64) - a)) for a, b in zip(weights, drawn(tensors), strict=True)]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = (np.array(moved) / np.array(old)).tolist()
        self._layers.append({"what": "updates", "names": names, "v": {"ratio": ratios, "held": self._held}})
        if self._missing:
            names, places = map(list, zip(*self._missing, strict=True))
            self._layers.append({"what": "gradients", "names": names, "v": {"missing": places}})

    def norm(self) -> float | None:
        """The norm of all gradients as the optimizer got them, of the sampled step under way; None when not all were looked at."""
        return self._norm

    # --- activations ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Set the hooks of a sampled step. A compiled model would be compiled again for them: it is left alone."""
        if self._modules or hasattr(self.model, "_orig_mod"):
            return
        leaves = [(n, m) for n, m in self.model.named_modules() if n and not any(True for _ in m.children())]
        for name, module in spread(leaves, MOST_MODULES):
            self._modules.append(module.register_forward_hook(self._hook(name)))

    def _hook(self, name: str) -> Callable[[Any, Any, Any], None]:
        def seen(module: Any, inputs: Any, output: Any) -> None:
            try:
                if not module.training or not hasattr(output, "is_floating_point") or not output.is_floating_point() or not output.numel():
                    return
                import torch

                kind = type(module).__name__
                out = local(output)
                found = self._activations
                found[name, "rms"] = torch.linalg.vector_norm(out, dtype=torch.float32) / out.numel() ** 0.5
                if kind in RECTIFIED and out.dim() > 1:
                    found[name, "dead_share"] = dead_share(out)
                elif kind in LIMITS:
                    low, high = LIMITS[kind]
                    margin = NEAR_LIMIT * (high - low)
                    found[name, "saturated_share"] = ((out < low + margin) | (out > high - margin)).float().mean()
                elif kind in WEIGHTED and inputs and hasattr(inputs[0], "dim") and inputs[0].dim() > 1 and inputs[0].shape[0] > 1:
                    found[name, "silent_inputs"] = dead_share(local(inputs[0]))
            except Exception:  # noqa: S110  # a look at an activation never stops a training
                pass

        return seen

    def taken(self) -> list[dict[str, Any]]:
        """What the sampled step gave; the hooks come off."""
        for handle in self._modules:
            handle.remove()
        self._modules = []
        out, self._layers, self._norm = self._layers, [], None
        if self._hooks:
            out.append({"what": "updates", "names": ["optimizer"], "v": {"steps": [float(self._stepped)]}})
            self._stepped = 0
        if self._activations:
            import torch

            values = torch.stack([v.float() for v in self._activations.values()]).tolist()
            by_name: dict[str, dict[str, float]] = {}
            for (name, statistic), value in zip(self._activations, values, strict=True):
                by_name.setdefault(name, {})[statistic] = value
            kinds = sorted({s for v in by_name.values() for s in v})
            out.append({"what": "activations", "names": list(by_name), "v": {k: [v.get(k) for v in by_name.values()] for k in kinds}})
            self._activations = {}
        return out

    def remove(self) -> None:
        """Take all hooks off."""
        for handle in (*self._hooks, *self._modules):
            handle.remove()
        self._hooks, self._modules = [], []
