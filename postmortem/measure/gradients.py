"""Gradients as optimizers remember them.

Adam's `exp_avg_sq` is a running mean of g² that starts at 0, so v / (1 − β₂ᵗ) estimates E[g²]; likewise `exp_avg` for
E[g] (Kingma & Ba, 2015). RMSprop's `square_avg` is the same with α. Adagrad's `sum` is what its name says. SGD's
`momentum_buffer` is a sum of past gradients that has no second moment; Lion's and Adamax's `exp_avg` is a running mean without one.
Adafactor (Shazeer & Stern, 2018) keeps the mean of g² over each row and each column, whose mean is that of the whole matrix; its decay
1 − t^−0.8 forgets the start by itself. bitsandbytes keeps Adam's two moments in 8 bits (`quantised`). What is seen is the gradient that the optimizer
got: after clipping, and with L2 decay mixed in where the optimizer does not decouple it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from postmortem.measure.decay import coupled, shares
from postmortem.measure.inputs import input_scales
from postmortem.measure.numbers import as_real, dot
from postmortem.measure.optimizers import Key, number, unmeasured
from postmortem.measure.quantised import is_quantised, values
from postmortem.measure.reading import NotWholeError, Raw, TensorFiles
from postmortem.measure.structure import Layout
from postmortem.measure.tally import Kernels, Tally
from postmortem.measure.trajectory import DIRECT, dtype_of
from postmortem.model.run import OptimizerState, ParamGroup, ParamState, TensorRef
from postmortem.model.sentence import Value
from postmortem.model.tensors import GradientStats

Source = Literal["adam", "rmsprop", "adagrad", "adafactor", "momentum"]
FLOOR = 1e-29  # Adafactor adds 1e-30 to every square: a mean square below is one of zeros
UNDERFLOW = 1e-36  # a mean square below it is made of squares that float32 cannot hold in full
WINDOW_ROUNDING = 1e-5  # relative: what float32 leaves of v_b − βᵏ v_a when nothing was added


@dataclass(frozen=True, slots=True)
class Moment:
    """Sums over one slot of one parameter: what gradients are computed from, and what a window needs of the checkpoint before."""

    count: int
    bad: int  # NaN, infinite, or negative where that cannot be
    total: float
    squares: float
    zero: int
    below: int | None  # elements below the threshold that was asked for

    @property
    def finite(self) -> int:
        """Elements that the sums are over."""
        return self.count - self.bad

    @property
    def mean(self) -> float:
        """Mean of the finite elements, nan when there are none."""
        return self.total / self.finite if self.finite else math.nan

    @property
    def rms(self) -> float:
        """Root mean square of the finite elements, nan when there are none."""
        return math.sqrt(self.squares / self.finite) if self.finite else math.nan

    @property
    def zero_share(self) -> float:
        """Share of elements that are exactly 0."""
        return self.zero / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class Remembered:
    """The gradient of one parameter, with what the next checkpoint's window needs."""

    stats: GradientStats
    second: Moment | None = None
    beta: float = 0.0
    decay: float = 0.0  # λ, times what the optimizer's memory makes of something that is the same at every step


def betas(settings: Mapping[str, Value]) -> tuple[float, float]:
    """β₁ and β₂ of a group; the usual 0.9 and 0.999 where it does not say."""
    first, second = _setting(settings, "betas.0", "beta1", "beta_1"), _setting(settings, "betas.1", "beta2", "beta_2")
    return (0.9 if first is None else first), (0.999 if second is None else second)


def _setting(settings: Mapping[str, Value], *keys: str) -> float | None:
    return next((n for n in (number(settings.get(k)) for k in keys) if n is not None), None)


def gradients(
    files: TensorFiles,
    optimizer: OptimizerState,
    names: Mapping[Key, str],
    kernels: Kernels,
    weights: Mapping[str, float] = MappingProxyType({}),
    places: Mapping[str, Layout] = MappingProxyType({}),
) -> tuple[Remembered, ...]:
    """The gradient of every parameter that the optimizer remembers in a way that is understood; nothing for the others.

    weights : RMS of the parameters, by name; tells how much of a memory is weight decay. places : what the parameters are, by name.
    """
    kind = optimizer.kind.lower()
    if unmeasured(kind) is not None:
        return ()
    group_of = {key: group for group in optimizer.groups for key in group.params}
    fallback = optimizer.groups[0] if optimizer.groups else ParamGroup((), {})
    latest = max((s.step for s in optimizer.states if s.step is not None), default=None)
    out: list[Remembered] = []
    for state in optimizer.states:
        settings = group_of.get(state.param, fallback).settings
        step = latest if state.step is None else state.step
        try:
            found = _one(_Slots(files, state, kernels), names.get(state.param, f"#{state.param}"), settings, step, kind)
        except NotWholeError:
            continue
        if found is not None:
            stats = replace(found.stats, inputs=input_scales(files, state, places.get(found.stats.name)))
            out.append(replace(found, stats=stats, decay=_decay(settings, kind)))
    return _without_decay(out, coupled(kind, fallback.settings), weights)


def _decay(settings: Mapping[str, Value], kind: str) -> float:
    rate = _setting(settings, "weight_decay") or 0.0
    momentum = (_setting(settings, "momentum") or 0.0) if "sgd" in kind else 0.0
    return rate * (1 - (_setting(settings, "dampening") or 0.0)) / (1 - momentum) if 0 < momentum < 1 else rate


def _without_decay(found: list[Remembered], through: bool | None, weights: Mapping[str, float]) -> tuple[Remembered, ...]:  # noqa: FBT001  # three-valued
    if through is False or not weights:
        return tuple(found)
    expected = {r.stats.name: r.decay * weights[r.stats.name] for r in found if r.stats.name in weights}
    part = shares(expected, {r.stats.name: r.stats.rms for r in found}, sure=through is True)
    return tuple(replace(r, stats=replace(r.stats, decay_share=part.get(r.stats.name))) for r in found)


def window(before: Remembered, after: Remembered) -> GradientStats | None:
    """The gradient over the steps between two checkpoints: (v_b − βᵏ v_a) / (1 − βᵏ). None unless both are Adam's, k steps apart."""
    a, b, early, late = before.stats, after.stats, before.second, after.second
    if a.source != "adam" or b.source != "adam" or early is None or late is None or a.step is None or b.step is None:
        return None
    steps = b.step - a.step
    if not 0 < after.beta < 1 or not 1 <= steps < math.inf or early.bad or late.bad or early.count != late.count or not late.count:
        return None
    kept = after.beta**steps
    fresh = late.mean - kept * early.mean
    if fresh < WINDOW_ROUNDING * late.mean:
        fresh = 0.0
    rms = math.sqrt(fresh / _filled(after.beta, steps))
    share = b.decay_share
    if share:
        share = min(share * (b.rms / rms) ** 2, 1.0) if rms > 0 else 1.0
    return GradientStats(b.name, "adam-window", rms, None, late.zero_share, None, 0, b.step, share)


@dataclass(frozen=True, slots=True)
class _Slots:
    files: TensorFiles
    state: ParamState
    kernels: Kernels

    def has(self, slot: str) -> bool:
        """A slot of floating-point numbers, or of codes for them."""
        ref = self.state.slots.get(slot)
        return is_quantised(self.state.slots, slot) or (ref is not None and dtype_of(ref) in ("float32", "float64", "float16", "bfloat16"))

    def moment(self, slot: str, *, positive: bool, below: float | None = None) -> Moment:
        ref = self.state.slots[slot]
        if is_quantised(self.state.slots, slot):
            return _summed(values(self.files, self.state.slots, slot), "float32", self.kernels, positive, below)
        return (_small if ref.count <= DIRECT else _large)(self, ref, positive, below)


def _small(slots: _Slots, ref: TensorRef, positive: bool, below: float | None) -> Moment:  # noqa: FBT001  # one of a pair, called in one place
    found = as_real(slots.files.whole(ref), dtype_of(ref)).astype(np.float64)
    good = np.isfinite(found) & (found >= 0) if positive else np.isfinite(found)
    kept = found if good.all() else found[good]
    under = None if below is None else int(np.count_nonzero(kept < below))
    return Moment(len(found), len(found) - len(kept), float(kept.sum()), dot(kept, kept), len(kept) - int(np.count_nonzero(kept)), under)


def _large(slots: _Slots, ref: TensorRef, positive: bool, below: float | None) -> Moment:  # noqa: FBT001
    return _summed(slots.files.blocks(ref), dtype_of(ref), slots.kernels, positive, below)


def _summed(blocks: Iterable[Raw], dtype: str, kernels: Kernels, positive: bool, below: float | None) -> Moment:  # noqa: FBT001
    tally = Tally(dtype)
    for raw in blocks:
        tally.add(raw, kernels)
    sums = tally.sums(below)
    bad = sums.non_finite + (sums.negative if positive else 0)
    total = max(sums.total, 0.0) if positive else sums.total
    return Moment(tally.count, bad, total, sums.squares, sums.zero, sums.below)


def _one(slots: _Slots, name: str, settings: Mapping[str, Value], step: float | None, kind: str) -> Remembered | None:
    epsilon = _setting(settings, "eps", "epsilon")
    few_bits = "8bit" in kind
    mean, square = ("state1", "state2") if few_bits else ("exp_avg", "exp_avg_sq")
    if slots.has(square) and slots.has(mean):
        beta1, beta2 = betas(settings)
        filled = _filled(beta2, step)
        second = slots.moment(square, positive=True, below=None if epsilon is None else epsilon * epsilon * filled)
        first = slots.moment(mean, positive=False)
        power = math.sqrt(second.mean / filled) if second.finite else math.nan
        steady = first.rms / _filled(beta1, step)
        if power * power < UNDERFLOW:
            power = max(power, steady)  # E[g²] ≥ E[g]²: what the mean still shows is a lower bound
        ratio = steady / power if power > 0 else None
        below = None if second.below is None or not second.count else second.below / second.count
        if "amsgrad" in kind or few_bits:
            below = None  # the step is divided by the largest second moment so far, not by this one; codes do not resolve what is so small
        stats = GradientStats(name, "adam", power, ratio, second.zero_share, below, second.bad + first.bad, step)
        return Remembered(stats, None if few_bits else second, beta2)  # a window is a difference, which rounding to codes would drown
    if "adafactor" in kind:
        return _factored(slots, name, step)
    for slot, source in (("square_avg", "rmsprop"), ("exp_avg_sq", "rmsprop"), ("sum", "adagrad")):
        if slots.has(slot):
            return _second_only(slots, slot, source, name, settings, step=step)  # type: ignore[arg-type]  # the literals above
    for slot in ("momentum_buffer", "exp_avg"):
        if slots.has(slot):
            buffer = slots.moment(slot, positive=False)
            kept = 0.0 if slot == "momentum_buffer" else betas(settings)["lion" in kind]
            return Remembered(GradientStats(name, "momentum", buffer.rms / _filled(kept, step), None, buffer.zero_share, None, buffer.bad, step))
    return None


def _factored(slots: _Slots, name: str, step: float | None) -> Remembered | None:
    """Adafactor as transformers and torch save it: means of g² by row and by column of a matrix, in full of a vector."""
    for row, column, whole in (("exp_avg_sq_row", "exp_avg_sq_col", "exp_avg_sq"), ("row_var", "col_var", "variance")):
        parts = (row, column) if slots.has(row) and slots.has(column) else (whole,)
        if not all(slots.has(part) for part in parts):
            continue
        moments = [slots.moment(part, positive=True, below=FLOOR) for part in parts]
        first = moments[0]
        zero = 1 - math.prod(1 - (m.below or 0) / m.count if m.count else 1.0 for m in moments)
        power = math.sqrt(first.mean) if first.mean >= FLOOR else 0.0 if first.finite else math.nan
        return Remembered(GradientStats(name, "adafactor", power, None, zero, None, sum(m.bad for m in moments), step))
    return None


def _second_only(slots: _Slots, slot: str, source: Source, name: str, settings: Mapping[str, Value], *, step: float | None) -> Remembered | None:
    epsilon = _setting(settings, "eps", "epsilon")
    if source == "adagrad":
        if step is None or not 1 <= step < math.inf:
            return None
        start = _setting(settings, "initial_accumulator_value") or 0.0
        moment = slots.moment(slot, positive=True, below=None if epsilon is None else epsilon * epsilon)
        power = math.sqrt(max(moment.mean - start, 0.0) / step) if moment.finite else math.nan
    else:
        alpha = _setting(settings, "alpha", "rho", "betas.1", "beta_2")
        filled = _filled(0.99 if alpha is None else alpha, step)
        moment = slots.moment(slot, positive=True, below=None if epsilon is None else epsilon * epsilon)
        power = math.sqrt(moment.mean / filled) if moment.finite else math.nan
    below = None if moment.below is None or not moment.count else moment.below / moment.count
    steady = None
    if source == "rmsprop" and slots.has("grad_avg") and power > 0:  # centred: the mean is kept as well
        steady = slots.moment("grad_avg", positive=False).rms / filled / power
    return Remembered(GradientStats(name, source, power, steady, moment.zero_share, below, moment.bad, step), moment)


def _filled(beta: float, step: float | None) -> float:
    """1 − βᵗ: how much of a running mean that began at 0 is filled after `step` steps; 1 when the count is not known."""
    if step is None or not step >= 1 or not 0 < beta < 1:
        return 1.0
    return -math.expm1(step * math.log(beta))
