"""Gradients as optimizers remember them.

Adam's `exp_avg_sq` is a running mean of g² that starts at 0, so v / (1 − β₂ᵗ) estimates E[g²]; likewise `exp_avg` for
E[g] (Kingma & Ba, 2015). What is seen is the gradient that the optimizer got: after clipping, with L2 decay mixed in.
"""

import math
import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from postmortem.measure.numbers import as_real
from postmortem.measure.optimizers import Key, number
from postmortem.measure.reading import NotWholeError, TensorFiles
from postmortem.model.evidence import GradientStats
from postmortem.model.run import OptimizerState, ParamGroup, ParamState, TensorRef
from postmortem.model.sentence import Value

Doubles = npt.NDArray[np.float64]
_NUMBERS = re.compile(r"[-+0-9.eE]+")
_UNMEASURED = ("adafactor", "lion", "muon", "soap", "galore", "8bit", "adam_mini", "adammini", "sm3", "shampoo", "sophia")


def betas(settings: Mapping[str, Value]) -> tuple[float, float]:
    """β₁ and β₂ of a group; the usual 0.9 and 0.999 where it does not say."""
    first = next((number(settings[k]) for k in ("beta1", "beta_1", "betas.0", "betas[0]") if k in settings), None)
    second = next((number(settings[k]) for k in ("beta2", "beta_2", "betas.1", "betas[1]") if k in settings), None)
    text = settings.get("betas")
    if isinstance(text, str):
        found = _NUMBERS.findall(text)
        if len(found) == 2:
            first, second = float(found[0]), float(found[1])
    return (0.9 if first is None else first), (0.999 if second is None else second)


def gradients(files: TensorFiles, optimizer: OptimizerState, names: Mapping[Key, str]) -> tuple[GradientStats, ...]:
    """The gradient of every parameter that the optimizer remembers in a way that is understood; empty for the others."""
    if any(word in optimizer.kind.lower() for word in _UNMEASURED):
        return ()
    group_of = {key: group for group in optimizer.groups for key in group.params}
    fallback = optimizer.groups[0] if optimizer.groups else ParamGroup((), {})
    steps = [s.step for s in optimizer.states if s.step is not None]
    out = []
    for state in optimizer.states:
        name = names.get(state.param, f"#{state.param}")
        settings = group_of.get(state.param, fallback).settings
        step = state.step if state.step is not None else max(steps, default=None)
        try:
            found = _one(files, name, state, settings, step, optimizer.kind.lower())
        except NotWholeError:
            continue
        if found is not None:
            out.append(found)
    return tuple(out)


def _doubles(files: TensorFiles, ref: TensorRef) -> Doubles:
    return as_real(files.whole(ref), ref.dtype).astype(np.float64)


def _one(files: TensorFiles, name: str, state: ParamState, settings: Mapping[str, Value], step: float | None, kind: str) -> GradientStats | None:
    slots = {k: ref for k, ref in state.slots.items() if ref.dtype in ("float32", "float64", "float16", "bfloat16")}
    epsilon = next((number(settings[k]) for k in ("eps", "epsilon") if k in settings), None)
    if "exp_avg_sq" in slots:
        beta1, beta2 = betas(settings)
        square = _doubles(files, slots["exp_avg_sq"])
        mean = _doubles(files, slots["exp_avg"]) if "exp_avg" in slots else None
        return _from_moments(name, "adam", square / _done(beta2, step), None if mean is None else mean / _done(beta1, step), epsilon, step)
    if "square_avg" in slots and "acc_delta" not in slots:
        alpha = number(settings.get("alpha", settings.get("rho"))) or 0.99
        return _from_moments(name, "rmsprop", _doubles(files, slots["square_avg"]) / _done(alpha, step), None, epsilon, step)
    if "momentum_buffer" in slots and "sgd" in kind:
        buffer = _doubles(files, slots["momentum_buffer"])
        finite = buffer[np.isfinite(buffer)]
        return GradientStats(name, "momentum", _root_mean(finite * finite), None, _share(buffer == 0), None, len(buffer) - len(finite), step)
    return None


def _done(beta: float, step: float | None) -> float:
    """1 − βᵗ: the share of the running mean that is filled after `step` steps."""
    return 1.0 if step is None or step <= 0 or not 0 <= beta < 1 else -math.expm1(step * math.log(beta)) if beta else 1.0


def _from_moments(name: str, source: str, square: Doubles, mean: Doubles | None, epsilon: float | None, step: float | None) -> GradientStats:
    good = np.isfinite(square) & (square >= 0)  # a negative second moment is as damaged as a NaN
    bad = int(len(square) - good.sum())
    power = _root_mean(square[good])
    ratio = None
    if mean is not None:
        steady = _root_mean(mean[np.isfinite(mean)] ** 2)
        if power < 1e-18:  # squares of gradients below 1e-19 leave float32: the mean is a lower bound
            power = max(power, steady)
        ratio = steady / power if power > 0 else None
    below = None if epsilon is None else _share(np.sqrt(square[good]) < epsilon)
    return GradientStats(name, source, power, ratio, _share(square == 0), below, bad, step)  # type: ignore[arg-type]


def _root_mean(squares: Doubles) -> float:
    return math.sqrt(float(squares.mean())) if len(squares) else math.nan


def _share(flags: npt.NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else 0.0
