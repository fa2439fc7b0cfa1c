"""The checkpoints taken together: the figures that checks ask for most."""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from postmortem.measure.pristine import as_drawn
from postmortem.measure.structure import owner
from postmortem.measure.words import words_of
from postmortem.model.tensors import CheckpointStats, GradientStats, InputScales, ModelFacts, Role, TensorStats, UpdateStats, WeightSummary

LEARNABLE = frozenset({Role.WEIGHT, Role.BIAS, Role.NORM_GAIN, Role.NORM_BIAS, Role.EMBEDDING, Role.ADAPTER, Role.OTHER})
NEARLY_CONSTANT = 5.0  # |mean| / std; drawn weights stay below 1
FEWEST_SHRUNK = 16  # elements of which it is no chance that all became smaller by one factor
HIDDEN = 0.25  # share of a remembered square that is weight decay: beyond, the RMS is off by 15 % and soon by everything
_BY_THE_WAY = frozenset({"query", "key", "q", "k", "qk", "qproj", "kproj", "embedding", "embeddings", "embed", "wte", "wpe", "emb"})
_DECIDED = ("adam", "rmsprop", "adagrad", "adafactor", "momentum", "saved-grad")


def summarise(
    checkpoints: Sequence[CheckpointStats],
    change: Mapping[str, float],
    identical: Sequence[str] | None,
    alike: frozenset[str],
    model: ModelFacts,
) -> WeightSummary:
    """Sum up. `change` is ‖last − first‖/‖first‖ by weight layer, `identical` the tensors that never changed, `alike` the layers
    of the last checkpoint whose rows or columns are all the same."""
    measured = [c for c in checkpoints if c.tensors]
    if not measured:
        return WeightSummary(checkpoints=0)
    finite = [c for c in measured if not _broken(c)]
    first, last = measured[0], measured[-1]
    layers = model.weight_layers
    scales_first = _scales(finite[0], layers) if finite and finite[0] is first else {}
    scales_last = _scales(finite[-1], layers) if finite else {}
    moved = [scales_last[n] - scales_first[n] for n in scales_last if n in scales_first]
    learnable = {t.name: t.count for t in last.tensors if t.role in LEARNABLE and t.count and not t.non_finite}
    still = None if identical is None else [n for n in identical if n in learnable]
    ends = [change[n] for n in layers if n in change]
    decayed = _decayed(measured, learnable)
    return WeightSummary(
        checkpoints=len(measured),
        change=MappingProxyType(dict(change)),
        change_median=_median(ends),
        change_first_to_last_layer=ends[0] / ends[-1] if len(ends) > 1 and ends[-1] > 0 else None,
        identical_share=None if still is None or not learnable else len(still) / len(learnable),
        identical=tuple(still or ()),
        identical_elements_share=None if still is None or not learnable else sum(learnable[n] for n in still) / sum(learnable.values()),
        decayed=decayed,
        as_drawn=tuple(t.name for t in _weights(last, layers) if as_drawn(t)),
        highest_scale=max(scales_last.values(), default=None),
        median_scale=_median(scales_last.values()),
        first_highest_scale=max(scales_first.values(), default=None),
        first_median_scale=_median(scales_first.values()),
        scale_drift=_median(moved) if first is not last else None,
        zero_weight_share=_share([t.zero == t.count for t in _weights(last, layers)]),
        zero_rows=_zero_rows(last, layers),
        symmetric_share=_share([t.name in alike or _one_number(t) for t in _weights(last, layers) if len(t.shape) > 1 and min(t.shape[:2]) > 1]),
        first_row_cosine=_median([t.row_cosine for t in _weights(first, layers[:-1]) if t.row_cosine is not None]),
        lowest_hidden_bias=_hidden_bias(finite[-1], model) if finite else None,
        first_lowest_hidden_bias=_hidden_bias(finite[0], model) if finite else None,
        running_var_off=_running_var(finite[-1]) if finite else None,
        running_var_lag=_running_lag(finite[0], finite[-1]) if len(finite) > 1 else None,
        **_gradient_figures(measured, layers, frozenset(decayed), tied=model.tied),
        input_scales=_input_scales(measured, layers),
        low_precision=_precision(last),
        first_non_finite=next((c.path for c in measured if _broken(c)), None),
        last_finite=finite[-1].path if finite else None,
        all_non_finite=_all_broken(last, layers),
        finite_in=MappingProxyType(_finite_in(measured)),
        **(_gains(finite[-1]) if finite else {}),
    )


def _decayed(checkpoints: Sequence[CheckpointStats], learnable: Mapping[str, int]) -> tuple[str, ...]:
    """Parameters that shrank between checkpoints, all elements alike, and never moved otherwise."""
    moves: dict[str, list[UpdateStats]] = {}
    for update in (u for c in checkpoints for u in c.updates if learnable.get(u.name, 0) >= FEWEST_SHRUNK):
        moves.setdefault(update.name, []).append(update)
    return tuple(n for n, seen in moves.items() if any(u.only_shrank for u in seen) and all(u.identical or u.only_shrank for u in seen))


def _finite_in(checkpoints: Sequence[CheckpointStats]) -> dict[str, tuple[str, str]]:
    """First and last checkpoint in which a tensor was finite, for those that were finite in some and not in others."""
    good: dict[str, list[str]] = {}
    bad: set[str] = set()
    for checkpoint in checkpoints:
        for t in checkpoint.tensors:
            if t.non_finite:
                bad.add(t.name)
            elif t.count:
                good.setdefault(t.name, []).append(checkpoint.path)
    return {n: (good[n][0], good[n][-1]) for n in good if n in bad}


def _gains(checkpoint: CheckpointStats) -> dict[str, Any]:
    medians = [t.quantiles[4] for t in checkpoint.tensors if t.role == Role.NORM_GAIN and t.count]
    return {"lowest_norm_gain": min(medians, default=None), "highest_norm_gain": max(medians, default=None)}


def _broken(checkpoint: CheckpointStats) -> bool:
    return any(t.non_finite for t in checkpoint.tensors if t.role != Role.BUFFER)


def _all_broken(checkpoint: CheckpointStats, layers: Sequence[str]) -> bool:
    weights = _weights(checkpoint, layers)
    return bool(weights) and all(t.non_finite == t.count for t in weights)


def _weights(checkpoint: CheckpointStats, layers: Sequence[str]) -> list[TensorStats]:
    wanted = set(layers)
    return [t for t in checkpoint.tensors if t.name in wanted and t.count]


def _zero_rows(checkpoint: CheckpointStats, layers: Sequence[str]) -> tuple[str, float] | None:
    """The layer with the largest share of rows that are exactly zero. A row of one weight is no unit: a table of biases, say; nor is one row a
    layer: a center of what is put out."""
    rows = [(t.name, t.dead_rows) for t in _weights(checkpoint, layers) if t.dead_rows is not None and t.shape[-1] > 1 and t.shape[0] > 1]
    return max(rows, key=lambda row: row[1], default=None)


def _scales(checkpoint: CheckpointStats, layers: Sequence[str]) -> dict[str, float]:
    return {t.name: t.scale for t in _weights(checkpoint, layers) if t.scale is not None}


def _median(values: Iterable[float]) -> float | None:
    kept = [v for v in values if not math.isnan(v)]
    return float(np.median(kept)) if kept else None


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _one_number(t: TensorStats) -> bool:
    """All elements are nearly the same number, as after a constant initialisation that random biases broke a little."""
    return t.count >= 4 * len(t.shape) and abs(t.mean) > NEARLY_CONSTANT * t.std > 0


def _hidden_bias(checkpoint: CheckpointStats, model: ModelFacts) -> float | None:
    """Median of the most negative hidden bias vector. The head's bias is a class prior and does not count."""
    head = owner(model.head) if model.head else None
    medians = [t.quantiles[4] for t in checkpoint.tensors if t.role == Role.BIAS and t.count and owner(t.name) != head]
    return min(medians, default=None)


def _running_var(checkpoint: CheckpointStats) -> float | None:
    """Median |ln running_var|: 0 while the statistics are still those of the initialisation."""
    logs = [abs(math.log(t.quantiles[4])) for t in checkpoint.tensors if t.role == Role.RUNNING_VAR and t.count and t.quantiles[4] > 0]
    return _median(logs)


def _running_lag(first: CheckpointStats, last: CheckpointStats) -> float | None:
    """Median share of the way from 1 that running variances have still to go in the last checkpoint.

    They start at 1 and close a share 1 − xᵗ of the distance to the data's variance by step t, x being 1 − momentum. From the
    distances d₁ and d₂ covered by steps t₁ and t₂: (1 − xᵗ²) / (1 − xᵗ¹) = d₂/d₁, which decreases from t₂/t₁ (x → 1, hardly
    begun) to 1 (x → 0, arrived). What is still missing is xᵗ². Drift of the variance itself adds to d₂ and passes for lag.
    """
    t1, t2 = first.step, last.step
    if t1 is None or t2 is None or not 0 < t1 < t2:
        return None
    before = {t.name: t.quantiles[4] - 1 for t in first.tensors if t.role == Role.RUNNING_VAR and t.count}
    after = {t.name: t.quantiles[4] - 1 for t in last.tensors if t.role == Role.RUNNING_VAR and t.count}
    ratios = [after[n] / d for n, d in before.items() if n in after and abs(d) > 1e-6]
    found = [_missing(r, t2 / t1) for r in ratios if r > 0]
    return _median(found)


def _missing(ratio: float, times: float) -> float:
    """y^times for the y in [0, 1] with (1 − y^times) / (1 − y) = ratio, by bisection."""
    if ratio >= times:
        return 1.0
    if ratio <= 1:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        y = (low + high) / 2
        low, high = (y, high) if -math.expm1(times * math.log(y)) / (1 - y) < ratio else (low, y)
    return math.pow(low, times)


def _gradient_figures(checkpoints: Sequence[CheckpointStats], layers: Sequence[str], decayed: frozenset[str], *, tied: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"gradient_dead_layers": tuple(n for n in layers if n in decayed)}
    told = [c for c in checkpoints if _gradient_table(c, layers)]
    tables = [_gradient_table(c, layers) for c in told]
    if not tables:
        return out
    last = tables[-1]
    out["gradient_source"] = next(iter(last.values())).source
    ratios = [r for c, t in zip(told, tables, strict=True) if (r := _depth_ratio(t, layers, 0.0 if tied else _embedding_gradient(c))) is not None]
    out["gradient_depth_ratio"] = min(ratios, default=None)
    alive = [g.rms for g in last.values() if g.rms > 0]
    out["gradient_median"] = math.log10(float(np.median(alive))) if alive else None
    if len(tables) > 1:
        grown = [math.log10(last[n].rms / g.rms) for n, g in tables[0].items() if n in last and g.rms > 0 and last[n].rms > 0]
        out["gradient_growth"] = _median(grown)
    out["memory_lag"] = _memory_lag(told[-1], last)
    sizes = {t.name: t.count for t in checkpoints[-1].tensors}
    total = sum(sizes.get(n, 1) for n in last)
    out["gradient_zero_share"] = sum(g.zero_share * sizes.get(n, 1) for n, g in last.items()) / total if total else None
    out["gradient_dead_layers"] = tuple(n for n in layers if n in decayed or (n in last and last[n].zero_share == 1.0))
    return out


def _input_scales(checkpoints: Sequence[CheckpointStats], layers: Sequence[str]) -> InputScales | None:
    told = (g.inputs for c in reversed(checkpoints) for g in c.gradients if g.inputs is not None and g.name == layers[0]) if layers else ()
    return next(iter(told), None)


def _gradient_table(checkpoint: CheckpointStats, layers: Sequence[str]) -> dict[str, GradientStats]:
    wanted = set(layers)
    told = (g for g in reversed(checkpoint.gradients) if (g.decay_share or 0.0) <= HIDDEN)
    return {g.name: g for g in told if g.name in wanted and g.source in _DECIDED and not g.non_finite}


def _memory_lag(checkpoint: CheckpointStats, remembered: Mapping[str, GradientStats]) -> float | None:
    """Median of log10 (RMS of the gradients since the save before / RMS that Adam's bias-corrected second moment says): at most
    −log10(1 − β₂ᵏ) / 2 after k steps, for what is new is part of what is remembered."""
    windows = (g for g in checkpoint.gradients if g.source == "adam-window" and not g.non_finite and g.rms > 0)
    return _median(math.log10(g.rms / remembered[g.name].rms) for g in windows if g.name in remembered and remembered[g.name].rms > 0)


def _embedding_gradient(checkpoint: CheckpointStats) -> float:
    """RMS of the gradient that reaches an embedding, 0 without one: a lower bound, for the rows that did not occur count, too."""
    embeddings = {t.name for t in checkpoint.tensors if t.role == Role.EMBEDDING}
    return max((g.rms for g in checkpoint.gradients if g.name in embeddings and g.source in _DECIDED and not g.non_finite), default=0.0)


def _depth_ratio(table: Mapping[str, GradientStats], layers: Sequence[str], embedding: float) -> float | None:
    """log10 of the first over the last layer that has a gradient at all; an embedding lies before the first.

    Queries and keys are left out: while attention is even, as it is at first, hardly any gradient reaches them, however shallow they
    lie. Of an embedding a row has a gradient only in the steps that its token occurs in: it can only show that nothing vanished.
    """
    sizes = [table[n].rms for n in layers if n in table and table[n].rms > 0 and not _BY_THE_WAY & set(words_of(n))]
    return math.log10(max(sizes[0], embedding) / sizes[-1]) if len(sizes) > 1 else None


def _precision(checkpoint: CheckpointStats) -> str | None:
    counts: dict[str, int] = {}
    for t in checkpoint.tensors:
        if t.role in LEARNABLE:
            counts[t.dtype] = counts.get(t.dtype, 0) + t.count
    most = max(counts, key=lambda d: counts[d], default="")
    return most if most in ("float16", "bfloat16") else None
