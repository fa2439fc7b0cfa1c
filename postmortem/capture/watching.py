"""Hooks on a model and its optimizers: gradients, weights, updates and activations on sampled steps, nothing on the others.

Module hooks are set before a sampled step and taken off after it, so that other steps run the model as it is.
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from postmortem.capture.leftover import Leftover, asked
from postmortem.capture.samples import Array, Figures, drawn, figures, local, norm, together

MOST_PARAMETERS = 512  # of which figures are taken, spread evenly over the model
MOST_HISTOGRAMS = 64
MOST_MODULES = 64
LIMITS = {"Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softsign": (-1.0, 1.0), "Hardsigmoid": (0.0, 1.0), "Hardtanh": (-1.0, 1.0)}
NEAR_LIMIT = 0.01  # of the range: saturated
SHOWN = 1 << 16  # elements of an output that saturation is told of
RECTIFIED = ("ReLU", "ReLU6", "Threshold")
SILENT = ("dead_share", "silent_inputs")  # told of the units that are not
PASSING = ("Dropout", "Identity", "Flatten", "Unflatten", "DropPath")  # what they put out is what they are given
WEIGHTED = ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d")


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most that many, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def describe(model: Any, optimizers: Sequence[Any]) -> dict[str, Any]:
    """What the model and its optimizers are: numbers of parameters, groups, and trainable parameters that no optimizer holds.

    Of parameters whose shape the first batch decides nothing is known yet: then there are no numbers.
    """
    import torch

    named = list(model.named_parameters())
    sizes = {} if any(torch.nn.parameter.is_lazy(p) for _, p in named) else {n: p.numel() for n, p in named}
    held = {id(p) for o in optimizers for g in o.param_groups for p in g["params"]}
    trainable = [(n, p) for n, p in named if p.requires_grad]
    known = {id(p) for _, p in named}
    facts: dict[str, Any] = {
        "model": type(getattr(model, "_orig_mod", model)).__name__,
        "parameters": sum(sizes.values()) or None,
        "trainable_parameters": sum(sizes[n] for n, _ in trainable) if sizes else None,
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


def unwrapped(optimizer: Any) -> Any:
    """The optimizer that takes the steps: Accelerate's and Lightning's wrappers look like one, and hooks on them are never called."""
    while hasattr(inner := getattr(optimizer, "optimizer", None), "param_groups"):
        optimizer = inner
    return optimizer


def live_units(output: Any) -> tuple[Any, int]:
    """(how many units are not exactly 0 for every sample and position, of how many). Units are axis 1 of images, else the last axis."""
    import torch

    axis = 1 if output.dim() > 3 else output.dim() - 1
    output = output.detach()
    others = [n for n in range(output.dim()) if n != axis]
    high = norm(output, math.inf, others) if output.device.type != "cpu" else torch.maximum(output.amax(others), output.amin(others).neg_())
    return torch.count_nonzero(high), len(high)


def saturated(output: Any, low: float, high: float) -> tuple[Any, int]:
    """(how many outputs are near either limit, of how many), of so many samples as have SHOWN elements together."""
    import torch

    margin = NEAR_LIMIT * (high - low)
    some = output[: max(1, SHOWN * len(output) // output.numel())] if output.dim() > 1 else output
    return torch.count_nonzero((some < low + margin) | (some > high - margin)), some.numel()


def described(what: str, names: Sequence[str], found: Figures, scale: float = 1.0) -> dict[str, Any]:
    """A record; `scale` is that of a loss which was multiplied, and is taken out of the statistics. Histograms are told it."""
    told = found.statistics()
    if scale == 1.0:
        return {"what": what, "names": names, "v": told, "h": found.histograms}
    told |= {k: [v / scale for v in told[k]] for k in ("rms", "max")}
    return {"what": what, "names": names, "v": told, "h": found.histograms, "scale": scale}


def ratios(before: Sequence[Array], after: Sequence[Array]) -> list[float]:
    """How far each tensor's drawn elements moved, over their size before; infinite for a bias that began at 0 and moved."""
    old = [float(np.linalg.norm(a.astype(np.float64))) for a in before]
    moved = [float(np.linalg.norm(b.astype(np.float64) - a)) for a, b in zip(before, after, strict=True)]
    return [by / size if size else 0.0 if by == 0 else math.inf for by, size in zip(moved, old, strict=True)]


def highest_rate(optimizers: Sequence[Any]) -> Any:
    """The highest learning rate of groups with parameters; a tensor, not waited for, where one of them lies on an accelerator."""
    highest = None
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if group["params"] and "lr" in group:
                rate = group["lr"]
                if type(rate) is not float:
                    return _highest([g["lr"] for o in optimizers for g in o.param_groups if g["params"] and "lr" in g])
                if highest is None or rate > highest:
                    highest = rate
    return highest


def _highest(rates: Sequence[Any]) -> Any:
    if any(hasattr(r, "device") and r.device.type != "cpu" for r in rates):
        import torch

        return together([torch.as_tensor(r, dtype=torch.float32) for r in rates]).max()
    return max(map(float, rates), default=None)


@dataclass(frozen=True, slots=True)
class _Before:
    """What one optimizer was about to update."""

    names: list[str]
    tensors: list[Any]
    weights: tuple[Array, ...]  # a sample of each, see `drawn`
    held: list[float]  # 1 for a parameter that an optimizer holds
    missing: list[tuple[str, int]]  # parameters without a gradient, and their place among the trainable ones, from 1
    norm: float | None  # of all gradients


def unobservable() -> Callable[[], bool]:
    """A function that tells whether a CUDA graph is being captured or code compiled: what a hook does then would become part of it, and no
    hook is called when it runs. It is asked at every step: what it calls is found once."""
    import torch

    compiling, begun, capturing = torch.compiler.is_compiling, torch.cuda.is_initialized, torch.cuda.is_current_stream_capturing

    def now() -> bool:
        return compiling() or (begun() and capturing())  # type: ignore[no-untyped-call]

    return now


def compiled(model: Any) -> bool:
    """The model or a part of it is compiled, and would be compiled again for a hook."""
    return any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) is not None for m in model.modules())


class Watch:
    """What is known of one model between its steps."""

    def __init__(self, model: Any, optimizers: Sequence[Any]) -> None:
        self.model = model
        self._optimizers = optimizers
        self._rate: Any = None  # of the step under way; a tensor, where the optimizer keeps it on an accelerator
        self._modules: list[Any] = []  # hooks of a sampled step
        self._before: list[Any] = []  # hooks of optimizers that are to be looked at when they step next
        self._asked: tuple[str, Any] | None = None
        self._leftover: Leftover | None = None
        self._updated = True  # within the step before the one under way, or there was none
        self._activations: dict[tuple[str, str], tuple[Any, float]] = {}  # what was counted, and of how many
        self._looked: dict[int, _Before] = {}  # of the sampled step under way, by optimizer
        self._layers: list[dict[str, Any]] = []
        self._stepped = 0  # times that an optimizer stepped since the last sampled step
        self._replayed = False  # steps happen that no hook sees
        self._blind = False  # looking failed once
        self._unobservable = unobservable()
        self._hooks: list[Any] = []
        for optimizer in optimizers:
            if hasattr(optimizer, "register_step_post_hook"):
                self._hooks.append(optimizer.register_step_post_hook(self._after_update))

    # --- the optimizer ----------------------------------------------------------------------------------------------

    def _before_update(self, optimizer: Any, args: Any = (), kwargs: Any = MappingProxyType({})) -> Any:
        """Look, or have a closure that computes the gradients within the step look when it has: Lightning hands over such a one, L-BFGS wants it."""
        closure = kwargs.get("closure") or next(iter(args[1:]), None)
        if not callable(closure):
            self._carefully(optimizer)
            return None

        @functools.wraps(closure)
        def looking(*given: Any, **named: Any) -> Any:
            out = closure(*given, **named)
            self._carefully(optimizer)
            return out

        if "closure" in kwargs:
            return args, {**kwargs, "closure": looking}
        return (args[0], looking, *args[2:]), kwargs

    def _carefully(self, optimizer: Any) -> None:
        if self._unobservable() or self._blind or id(optimizer) in self._looked:
            return
        try:
            self._look_at(optimizer)
        except Exception as error:
            self._blinded(error)

    def _blinded(self, error: Exception) -> None:
        if self._blind:
            return
        self._blind = True
        warnings.warn(f"postmortem looks at no more layers: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=2)

    def _look_at(self, optimizer: Any) -> None:
        """Gradients and weights of what this optimizer updates; with the first of them, of what none does."""
        held = {id(p) for o in self._optimizers for g in o.param_groups for p in g["params"]}
        own = {id(p) for g in optimizer.param_groups for p in g["params"]}
        trainable = [
            (at, n, p)
            for at, (n, p) in enumerate(((n, p) for n, p in self.model.named_parameters() if p.requires_grad and p.is_floating_point()), 1)
            if id(p) in own or (id(p) not in held and not self._looked)
        ]
        named = [(n, p) for _, n, p in trainable if p.grad is not None]
        unlike = any(p.requires_grad and not p.is_floating_point() for g in optimizer.param_groups for p in g["params"])  # complex ones
        missing = [(n, at) for at, n, p in trainable if p.grad is None][:MOST_PARAMETERS]
        some = spread(named, MOST_PARAMETERS)
        names, tensors = [n for n, _ in some], [p for _, p in some]
        shown = spread(range(len(names)), MOST_HISTOGRAMS)
        found = figures([*(p.grad for p in tensors), *tensors], frozenset((*shown, *(len(names) + n for n in shown))))
        gradients, weights = found[: len(names)], found[len(names) :]
        scale = 1.0
        if getattr(optimizer, "grad_scale", None) is not None:  # a fused optimizer under a GradScaler: it divides as it updates
            scale = float(optimizer.grad_scale)
            if float(getattr(optimizer, "found_inf", 0.0)):
                return  # and leaves out an update whose gradients overflowed
        got = [float(n) / scale for n, p in zip(gradients.norm, tensors, strict=True) if id(p) in held]
        whole = len(some) == len(named) and bool(got) and not unlike and not any(hasattr(p, "to_local") for p in tensors)
        norm = math.sqrt(math.fsum(n * n for n in got)) if whole else None
        self._looked[id(optimizer)] = _Before(names, tensors, drawn(tensors), [float(id(p) in held) for p in tensors], missing, norm)
        self._layers += [described("gradients", names, gradients, scale), described("weights", names, weights)]
        self._layers[-2]["v"]["axes"] = [float(p.dim()) for p in tensors]
        if self._leftover is not None and optimizer is self._optimizers[0]:
            self._layers.append({"what": "gradients", "names": [self._leftover.name], "v": {"left": [self._leftover.share()]}})

    def _after_update(self, *_: Any) -> None:
        if self._unobservable():
            self._replayed = True
            return
        self._stepped += 1
        self._rate = highest_rate(self._optimizers)

    def passed(self) -> Any:
        """The step under way is done. The learning rate of its update, None where there was none; where steps are replayed, the one of now."""
        if self._replayed:
            return highest_rate(self._optimizers)
        rate, self._rate = self._rate, None
        self._updated = rate is not None
        return rate

    def _updates(self) -> None:
        """How far the weights moved in the sampled step, now that every optimizer has stepped."""
        for before in self._looked.values():
            moved = ratios(before.weights, drawn(before.tensors))
            self._layers.append({"what": "updates", "names": before.names, "v": {"ratio": moved, "held": before.held}})
            if before.missing:
                names, places = map(list, zip(*before.missing, strict=True))
                self._layers.append({"what": "gradients", "names": names, "v": {"missing": places}})

    def norm(self) -> float | None:
        """The norm of all gradients as the optimizers got them, of the sampled step under way; None when not all were looked at."""
        norms = [before.norm for before in self._looked.values()]
        return None if not norms or None in norms else math.sqrt(math.fsum(n * n for n in norms if n is not None))

    # --- activations ------------------------------------------------------------------------------------------------

    @property
    def looking(self) -> bool:
        """There is something to take: the hooks of a sampled step are set, or an optimizer was looked at."""
        return bool(self._modules or self._looked)

    def look(self) -> None:
        """Set the hooks of a sampled step. A compiled model would be compiled again for those of its modules: they are left alone."""
        if self._blind:
            return
        if not self._before:
            self._before = [o.register_step_pre_hook(self._before_update) for o in self._optimizers if hasattr(o, "register_step_pre_hook")]
        if self._modules or compiled(self.model):
            return
        if self._updated and self._before and self._leftover is None:
            self._asked = self._asked or asked(self.model, self._optimizers[0])
            self._leftover = Leftover(*self._asked) if self._asked is not None and self._asked[1].requires_grad else None
        leaves = [(n, m) for n, m in self.model.named_modules() if n and not m._modules and not type(m).__name__.startswith(PASSING)]  # noqa: SLF001
        for name, module in spread(leaves, MOST_MODULES):
            self._modules.append(module.register_forward_hook(self._hook(name)))

    def _hook(self, name: str) -> Callable[[Any, Any, Any], None]:
        def seen(module: Any, inputs: Any, output: Any) -> None:
            try:
                if self._unobservable():
                    return
                if not module.training or not hasattr(output, "is_floating_point") or not output.is_floating_point() or not output.numel():
                    return
                kind = type(module).__name__
                out = local(output)
                found = self._activations
                found[name, "rms"] = norm(out), out.numel() ** 0.5
                if kind in RECTIFIED and out.dim() > 1:
                    found[name, "dead_share"] = live_units(out)
                elif kind in LIMITS:
                    found[name, "saturated_share"] = saturated(out, *LIMITS[kind])
                elif kind in WEIGHTED and inputs and hasattr(inputs[0], "dim") and inputs[0].dim() > 1 and inputs[0].shape[0] > 1:
                    found[name, "silent_inputs"] = live_units(local(inputs[0]))
            except Exception:  # noqa: S110  # a look at an activation never stops a training
                pass

        return seen

    def taken(self) -> list[dict[str, Any]]:
        """What the sampled step gave; the hooks come off. Where no optimizer stepped, because batches are accumulated or a scaler
        left the update out, those stay that look at the next update."""
        stay = [] if self._looked or self._replayed or self._blind else self._before
        for handle in (*self._modules, *(h for h in self._before if not stay)):
            handle.remove()
        self._modules, self._before = [], stay
        self._ask_no_more()
        try:
            return self._told()
        except Exception as error:
            self._layers, self._looked, self._activations = [], {}, {}
            self._blinded(error)
            return []

    def _ask_no_more(self) -> None:
        if self._leftover is not None:
            self._leftover.remove()
            self._leftover = None

    def _told(self) -> list[dict[str, Any]]:
        self._updates()
        out, self._layers, self._looked = self._layers, [], {}
        if self._hooks and not self._replayed:
            out.append({"what": "updates", "names": ["optimizer"], "v": {"steps": [float(self._stepped)]}})
            self._stepped = 0
        if self._activations:
            values = together([v.float() for v, _ in self._activations.values()]).tolist()
            by_name: dict[str, dict[str, float]] = {}
            for ((name, statistic), (_, size)), value in zip(self._activations.items(), values, strict=True):
                share = value / size
                by_name.setdefault(name, {})[statistic] = 1.0 - share if statistic in SILENT else share
            kinds = sorted({s for v in by_name.values() for s in v})
            out.append({"what": "activations", "names": list(by_name), "v": {k: [v.get(k) for v in by_name.values()] for k in kinds}})
            self._activations = {}
        return out

    def remove(self) -> None:
        """Take all hooks off."""
        for handle in (*self._hooks, *self._modules, *self._before):
            handle.remove()
        self._hooks, self._modules, self._before = [], [], []
        self._ask_no_more()
