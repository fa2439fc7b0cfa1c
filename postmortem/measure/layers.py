"""Activations, gradients and updates that were recorded while training ran: series named `<what>/<parameter or module>/<statistic>`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from postmortem.model.captured import LayerStats
from postmortem.model.run import Series
from postmortem.model.tensors import WeightSummary

LAYERS = ("gradients/", "weights/", "updates/", "activations/")
MOSTLY = 0.9  # share of a layer's units from which on it counts as silent
AT_THE_END = 3  # looks whose median is how it ended
OPTIMIZER = "optimizer"  # not a parameter: how often it stepped


def of_layers(name: str) -> bool:
    """Whether a series is one layer's."""
    return name.startswith(LAYERS)


def layer_stats(series: Mapping[str, Series]) -> LayerStats | None:
    """None when no layer was recorded."""
    tables: dict[tuple[str, str], dict[str, Series]] = {}
    for full, one in series.items():
        if of_layers(full) and len(one):
            what, _, rest = full.partition("/")
            name, _, statistic = rest.rpartition("/")
            tables.setdefault((what, statistic), {})[name] = one
    if not tables:
        return None
    stepped = tables.get(("updates", "steps"), {}).get(OPTIMIZER)
    dead = {**tables.get(("activations", "silent_inputs"), {}), **tables.get(("activations", "dead_share"), {})}
    full_up = tables.get(("activations", "saturated_share"), {})
    rms, ratio = tables.get(("gradients", "rms"), {}), tables.get(("updates", "ratio"), {})
    missing = tables.get(("gradients", "missing"), {})
    matrices = _in_forward_order(
        [n for n, s in tables.get(("gradients", "axes"), {}).items() if s.values[-1] >= 2], tables.get(("activations", "rms"), {})
    )
    held = tables.get(("updates", "held"), {})
    still = [n for n, s in ratio.items() if not np.any(s.values > 0) and not np.isnan(s.values).any()]
    return LayerStats(
        dead=_ends(dead), dead_at_start=_starts(dead), dead_from=MappingProxyType({n: at for n, s in dead.items() if (at := _from(s)) is not None}),
        saturated=_ends(full_up), saturated_at_start=_starts(full_up),
        gradients=MappingProxyType({n: _median(s.values) for n, s in rms.items()}),
        depth_ratio=_depth_ratio([rms[n] for n in matrices if n in rms], tables.get(("gradients", "zero_share"), {})),
        without_gradient=tuple(n for n in missing if n not in rms),
        cut_below=any(s.values[-1] == 1 for n, s in missing.items() if n not in rms),
        still=tuple(still), moved=len(ratio) - len(still),
        not_held=tuple(n for n, s in held.items() if not s.values.any()),
        uncleared=_uncleared(list(tables.get(("gradients", "left"), {}).values())),
        optimizer_steps=None if stepped is None else max(stepped.values[np.isfinite(stepped.values)].tolist(), default=None),
    )  # fmt: skip


def _uncleared(left: Sequence[Series]) -> tuple[int, int] | None:
    """Before the first step nothing can be left."""
    met = [v for one in left for v in one.values[1:].tolist() if not math.isnan(v)]
    return (sum(v > 0 for v in met), len(met)) if met else None


def with_recorded(weights: WeightSummary, layers: LayerStats | None) -> WeightSummary:
    """The summary with the gradient by depth as it was recorded, where no checkpoint remembers one."""
    if layers is None or layers.depth_ratio is None or weights.gradient_depth_ratio is not None:
        return weights
    return replace(weights, gradient_depth_ratio=layers.depth_ratio, gradient_source="captured")


def _ends(table: Mapping[str, Series]) -> Mapping[str, float]:
    ends = {n: _median(s.values[-AT_THE_END:]) for n, s in table.items()}
    return MappingProxyType({n: share for n, share in ends.items() if not math.isnan(share)})


def _starts(table: Mapping[str, Series]) -> Mapping[str, float]:
    return MappingProxyType({n: float(s.values[0]) for n, s in table.items() if math.isfinite(s.values[0])})


def _median(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Of the finite ones; nan without any."""
    kept = values[np.isfinite(values)]
    return float(np.median(kept)) if len(kept) else math.nan


def _from(one: Series) -> float | None:
    """The step from which on most units stay silent to the end; None where they do not."""
    alive = np.flatnonzero(~(one.values >= MOSTLY))
    if not len(alive):
        return float(one.steps[0])
    return float(one.steps[alive[-1] + 1]) if alive[-1] + 1 < len(one) else None


def _depth_ratio(layers: Sequence[Series], zeros: Mapping[str, Series]) -> float | None:
    """log10 of the first over the last weight matrix's gradient, the median over the looks, of those matrices whose gradient is not 0.

    Elements without any gradient are left out of both: most rows of an embedding, the rows of dead units.
    """
    alive = [s for s in layers if np.any(s.values > 0)]
    if len(alive) < 2:
        return None
    first, last = _of_live_elements(alive[0], zeros), _of_live_elements(alive[-1], zeros)
    ratios = [math.log10(first[s] / last[s]) for s in first if s in last]
    return float(np.median(ratios)) if ratios else None


def _in_forward_order(parameters: Sequence[str], ran: Mapping[str, Series]) -> list[str]:
    """Activations were recorded as the modules ran; a model may define its parameters in another order. Unknown ones stay where they are."""
    rank = {name: at for at, name in enumerate(ran)}
    if not all(p.rpartition(".")[0] in rank for p in parameters):
        return list(parameters)
    return sorted(parameters, key=lambda p: rank[p.rpartition(".")[0]])


def _of_live_elements(rms: Series, zeros: Mapping[str, Series]) -> dict[float, float]:
    """Step → RMS over the elements that have a gradient, where it is finite and not 0."""
    share = zeros.get(rms.name.removesuffix("/rms").removeprefix("gradients/"))
    known = {} if share is None else dict(zip(share.steps.tolist(), share.values.tolist(), strict=True))
    out = {}
    for step, value in zip(rms.steps.tolist(), rms.values.tolist(), strict=True):
        live = 1.0 - known.get(step, 0.0)
        if value > 0 and math.isfinite(value) and live > 0:
            out[step] = value / math.sqrt(live)
    return out
