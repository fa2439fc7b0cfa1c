"""What is said of a checkpoint and of several together, worked out slowly from the tensors that were saved. Nothing of `postmortem.measure` is used.

A figure that stands as `...` is decided by rounding, and not defined here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq

from tests.measure.slow_tensors import Made, all_alike, figures, movement, numbers

LEARNT = ("weight", "bias", "norm-gain", "norm-bias", "embedding", "adapter", "other")
SECOND = {"adam": "exp_avg_sq", "adamw": "exp_avg_sq", "rmsprop": "square_avg", "adagrad": "sum"}
FIRST = {"adam": "exp_avg", "adamw": "exp_avg", "sgd": "momentum_buffer"}


@dataclass(frozen=True)
class Memory:
    """A saved optimizer: slots of each parameter, as torch names them."""

    kind: str
    settings: Mapping[str, float]
    steps: Mapping[str, float]
    slots: Mapping[str, Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Save:
    """One checkpoint: what was in it."""

    path: str
    step: float
    tensors: Mapping[str, Made]
    memory: Memory | None = None
    gradients: dict[str, dict[str, Any]] = field(default_factory=dict)  # filled in by `gradients`


def gradients(save: Save) -> dict[str, dict[str, Any]]:
    """The gradient of each parameter as its optimizer remembers it."""
    if save.memory is None:
        return {}
    out = {n: _gradient(save.memory, n) for n in save.memory.slots}
    kind, settings = save.memory.kind, save.memory.settings
    decay = settings.get("weight_decay", 0.0)
    if kind == "sgd":
        decay /= 1 - settings["momentum"]
    shares = {}
    for name, told in out.items():
        told["decay_share"] = None
        if kind != "adamw" and name in save.tensors:
            made = decay * float(figures(save.tensors[name])["rms"])  # type: ignore[arg-type]
            unknown = math.isnan(made) or math.isnan(told["rms"])
            shares[name] = 0.0 if unknown else float(np.float64(made / told["rms"]) ** 2) if told["rms"] else math.inf if made else 0.0
    through = kind != "adam" or not any(s > 4 for s in shares.values())  # of Adam's name it is not known: more than there is shows that it is not
    for name, share in shares.items():
        out[name]["decay_share"] = min(share, 1.0) if through else 0.0
    return out


def _gradient(memory: Memory, name: str) -> dict[str, Any]:
    slots, t, kind, settings = memory.slots[name], memory.steps[name], memory.kind, memory.settings
    out: dict[str, Any] = {
        "source": "adam" if "adam" in kind else "momentum" if kind == "sgd" else kind,
        "step": t,
        "mean_ratio": None,
        "below_epsilon": None,
    }
    mean = numbers(slots[FIRST[kind]]).reshape(-1) if kind in FIRST else np.empty(0, np.longdouble)
    known = mean[np.isfinite(mean)]
    steady = float(np.sqrt((known**2).mean())) if len(known) else math.nan
    out["non_finite"] = len(mean) - len(known)
    if kind == "sgd":
        return out | {"rms": steady, "zero_share": float((mean == 0).sum() / len(mean)) if len(mean) else 0.0}
    square = numbers(slots[SECOND[kind]]).reshape(-1)
    good = square[np.isfinite(square) & (square >= 0)]
    full = t if kind == "adagrad" else 1 - settings["alpha" if kind == "rmsprop" else "beta2"] ** t
    out["rms"] = float(np.sqrt(good.mean() / full)) if len(good) else math.nan
    out["non_finite"] += len(square) - len(good)
    out["zero_share"] = float((square == 0).sum() / len(square)) if len(square) else 0.0
    eps = settings["eps"] * (math.sqrt(full) if "adam" in kind else 1.0)
    out["below_epsilon"] = float((np.sqrt(good) < eps).sum() / len(square)) if len(square) else None
    if "adam" in kind:
        steady /= 1 - settings["beta1"] ** t
        if out["rms"] < 1e-18 and steady > out["rms"]:  # squares that float32 cannot hold: E[g²] is at least E[g]²
            out["rms"] = steady
        out["mean_ratio"] = steady / out["rms"] if out["rms"] > 0 else None
    return out


def windows(before: Save, after: Save) -> dict[str, dict[str, Any]]:
    """The gradient over the steps between two checkpoints, where both are Adam's."""
    out: dict[str, dict[str, Any]] = {}
    early, late = before.memory, after.memory
    if early is None or late is None or "adam" not in early.kind or "adam" not in late.kind:
        return out
    for name in (n for n in late.slots if n in early.slots):
        squares = [numbers(m.slots[name]["exp_avg_sq"]).reshape(-1) for m in (early, late)]
        steps = late.steps[name] - early.steps[name]
        if steps < 1 or len(squares[0]) != len(squares[1]) or not len(squares[1]) or not all((np.isfinite(s) & (s >= 0)).all() for s in squares):
            continue
        kept = np.longdouble(late.settings["beta2"]) ** steps
        fresh = squares[1].mean() - kept * squares[0].mean()
        rms = float(np.sqrt(fresh / (1 - kept))) if fresh >= 1e-5 * squares[1].mean() else 0.0
        own = after.gradients[name]
        share = own["decay_share"]
        if share:
            share = min(share * (own["rms"] / rms) ** 2, 1.0) if rms else 1.0
        out[name] = own | {"source": "adam-window", "rms": rms, "mean_ratio": None, "below_epsilon": None, "non_finite": 0, "decay_share": share}
    return out


def updates(saves: Sequence[Save]) -> list[dict[str, dict[str, Any]]]:
    """Of each checkpoint against the one before that has the tensor, where it has the same shape there."""
    out: list[dict[str, dict[str, Any]]] = [{} for _ in saves]
    for name in dict.fromkeys(n for s in saves for n in s.tensors):
        have = [i for i, s in enumerate(saves) if name in s.tensors]
        for k, (i, j) in enumerate(pairwise(have)):
            a, b = saves[i], saves[j]
            if a.tensors[name].tensor.shape != b.tensors[name].tensor.shape:
                continue
            earlier = saves[have[k - 1]].tensors[name] if k else None
            if earlier is not None and earlier.tensor.shape != b.tensors[name].tensor.shape:
                earlier = None
            moved = movement(a.tensors[name], b.tensors[name], earlier)
            out[j][name] = moved | {"from_step": a.step, "to_step": b.step, "effective_rate": _rate(a, b, name, moved)}
    return out


def _rate(a: Save, b: Save, name: str, moved: Mapping[str, Any]) -> float | None:
    """The learning rate that would explain a movement whose steps all point one way, each as long as a straight line between both ends tells."""

    def made(save: Save) -> float | None:
        told = save.gradients.get(name)
        return None if told is None else told["mean_ratio"] if told["source"] == "adam" else told["rms"] if told["source"] == "momentum" else None

    if name not in b.gradients or b.gradients[name]["source"] not in ("adam", "momentum"):
        return None
    steps = b.gradients[name]["step"] - a.gradients[name]["step"] if name in a.gradients else b.step - a.step
    if steps <= 0:
        return None
    last, first = made(b), made(a)
    last = last or math.nan
    first = last if first is None or not math.isfinite(first) else first
    lengths = [first + (last - first) * k / steps for k in range(1, int(steps) + 1)]
    rate = moved["rms"] / sum(lengths) if sum(lengths) > 0 else math.nan
    return rate if math.isfinite(rate) else None


def summary(saves: Sequence[Save]) -> dict[str, Any]:
    """The checkpoints taken together. All of them follow one another in time."""
    told = [{n: figures(m) for n, m in s.tensors.items()} for s in saves]
    moves = updates(saves)
    last = told[-1]
    bad = [[n for n, t in c.items() if t["nan"] + t["positive_inf"] + t["negative_inf"]] for c in told]
    whole = [not any(c[n]["role"] != "buffer" for n in names) for c, names in zip(told, bad, strict=True)]
    first_whole, last_whole = (next((i for i in order if whole[i]), None) for order in (range(len(saves)), reversed(range(len(saves)))))
    layers = [n for n, t in max(told, key=len).items() if t["role"] == "weight"]
    here = [n for n in layers if n in last and last[n]["count"]]
    out: dict[str, Any] = {"checkpoints": len(saves), "change": {}, "as_drawn": ()}
    for name in layers:
        finite = [s for s, names in zip(saves, bad, strict=True) if name in s.tensors and name not in names]
        if len(finite) > 1 and finite[0].tensors[name].tensor.shape == finite[-1].tensors[name].tensor.shape:
            out["change"][name] = movement(finite[0].tensors[name], finite[-1].tensors[name], None)["relative_change"]
    ways = [out["change"][n] for n in layers if n in out["change"]]
    out |= {"change_median": middle(ways), "change_first_to_last_layer": ways[0] / ways[-1] if len(ways) > 1 and ways[-1] > 0 else None}
    learnt = {n: t["count"] for n, t in last.items() if t["role"] in LEARNT and t["count"] and n not in bad[-1]}
    names = list(dict.fromkeys(n for s in saves for n in s.tensors))
    seen = {n: [m[n] for m in moves if n in m] for n in names}
    still = [n for n in names if n in learnt and seen[n] and all(m["identical"] for m in seen[n])]
    known = any(seen.values()) and bool(learnt)
    out |= {"identical": tuple(still), "identical_share": len(still) / len(learnt) if known else None}
    out["identical_elements_share"] = sum(learnt[n] for n in still) / sum(learnt.values()) if known else None
    shrunk = {n: [_shrank(m) for m in seen[n]] for n in learnt if learnt[n] >= 16}
    sure = [n for n in names if n in shrunk and any(shrunk[n]) and all(s or m["identical"] for s, m in zip(shrunk[n], seen[n], strict=True))]
    out["decayed"] = ... if any(None in s for s in shrunk.values()) else tuple(n for n in _first_moved(moves) if n in sure)
    out |= _scales(told, layers, first_whole, last_whole, len(saves))
    out["zero_weight_share"] = share([last[n]["zero"] == last[n]["count"] for n in here])
    dead = [(n, last[n]["dead_rows"]) for n in here if last[n]["dead_rows"] is not None and last[n]["shape"][-1] > 1]
    out["zero_rows"] = max(dead, key=lambda d: d[1], default=None)
    same = [all_alike(saves[-1].tensors[n]) or _one_number(last[n]) for n in here if min(last[n]["shape"][:2]) > 1]
    out["symmetric_share"] = ... if None in same else share(same)
    out["first_row_cosine"] = middle([told[0][n]["row_cosine"] for n in layers[:-1] if n in told[0] and told[0][n]["row_cosine"] is not None])
    for key, i in (("lowest_hidden_bias", last_whole), ("first_lowest_hidden_bias", first_whole)):
        hidden = (
            [] if i is None else [t["quantiles"][4] for n, t in told[i].items() if t["role"] == "bias" and t["count"] and not n.startswith("head")]
        )
        out[key] = min(hidden, default=None)
    out |= _norms(saves, told, first_whole, last_whole)
    out |= _gradients(saves, layers, out["decayed"])
    sizes: dict[str, int] = {}
    for t in last.values():
        if t["role"] in LEARNT:
            sizes[t["dtype"]] = sizes.get(t["dtype"], 0) + t["count"]
    most = max(sizes, key=lambda d: sizes[d], default="")
    out["low_precision"] = most if most in ("float16", "bfloat16") else None
    out["first_non_finite"] = next((s.path for s, good in zip(saves, whole, strict=True) if not good), None)
    out["last_finite"] = None if last_whole is None else saves[last_whole].path
    count = {n: last[n]["nan"] + last[n]["positive_inf"] + last[n]["negative_inf"] for n in here}
    out["all_non_finite"] = bool(here) and all(count[n] == last[n]["count"] for n in here)
    good = {n: [s.path for s, names, c in zip(saves, bad, told, strict=True) if n in c and n not in names and c[n]["count"]] for n in names}
    out["finite_in"] = {n: (paths[0], paths[-1]) for n, paths in good.items() if paths and any(n in b for b in bad)}
    return out


def _first_moved(moves: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(n for m in moves for n in m))


def _shrank(moved: Mapping[str, Any]) -> bool | None:
    """All elements by one factor, to the rounding; None where rounding decides."""
    change, lost = moved["relative_change"], 1 - moved["norm_ratio"]
    if not 0 < change < 1 or math.isnan(lost):
        return False
    return None if abs(lost / change - 0.999) < 1e-5 else lost > 0.999 * change


def _one_number(t: Mapping[str, Any]) -> bool:
    return t["count"] >= 4 * len(t["shape"]) and abs(t["mean"]) > 5 * t["std"] > 0


def middle(values: Sequence[float]) -> float | None:
    kept = sorted(v for v in values if not math.isnan(v))
    n = len(kept)
    return (kept[(n - 1) // 2] + kept[n // 2]) / 2 if n else None


def share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _scales(told: Sequence[Mapping[str, Any]], layers: Sequence[str], first: int | None, last: int | None, count: int) -> dict[str, Any]:
    one, two = ({} if i is None else {n: told[i][n]["scale"] for n in layers if n in told[i] and told[i][n]["count"] and told[i][n]["scale"] is not None} for i in (first, last))  # fmt: skip
    one = one if first == 0 else {}
    return {
        "highest_scale": max(two.values(), default=None), "median_scale": middle(list(two.values())),
        "first_highest_scale": max(one.values(), default=None), "first_median_scale": middle(list(one.values())),
        "scale_drift": middle([two[n] - one[n] for n in two if n in one]) if count > 1 else None,
    }  # fmt: skip


def _norms(saves: Sequence[Save], told: Sequence[Mapping[str, Any]], first: int | None, last: int | None) -> dict[str, Any]:
    out: dict[str, Any] = dict.fromkeys(("lowest_norm_gain", "highest_norm_gain", "running_var_off", "running_var_lag"))
    if first is None or last is None:
        return out

    def medians(i: int, role: str) -> dict[str, float]:
        return {n: t["quantiles"][4] for n, t in told[i].items() if t["role"] == role and t["count"]}

    gains = sorted(medians(last, "norm-gain").values())
    if gains:
        out |= {"lowest_norm_gain": gains[0], "highest_norm_gain": gains[-1]}
    begun, ended = medians(first, "running-var"), medians(last, "running-var")
    out["running_var_off"] = middle([abs(math.log(v)) for v in ended.values() if v > 0])
    if first != last:
        t1, t2 = saves[first].step, saves[last].step
        ways = [(ended[n] - 1) / (v - 1) for n, v in begun.items() if n in ended and abs(v - 1) > 1e-6]
        out["running_var_lag"] = middle([_left(w, t2 / t1) for w in ways if w > 0])
    return out


def _left(way: float, times: float) -> float:
    """(1 − y^times) / (1 − y) = way; what is left is y^times."""
    if way >= times or way <= 1:
        return 1.0 if way >= times else 0.0
    return float(brentq(lambda y: (1 - y**times) / (1 - y) - way, 0.0, 1 - 1e-9)) ** times


def _gradients(saves: Sequence[Save], layers: Sequence[str], decayed: Any) -> dict[str, Any]:  # a tuple or `...`
    still = decayed if decayed is not ... else ()
    out: dict[str, Any] = dict.fromkeys(("gradient_depth_ratio", "gradient_median", "gradient_growth", "memory_lag", "gradient_zero_share"))
    tables = [(s, {n: g for n, g in s.gradients.items() if n in layers and not g["non_finite"] and (g["decay_share"] or 0) <= 0.25}) for s in saves]
    tables = [(s, t) for s, t in tables if t]
    last = tables[-1][1] if tables else {}
    out["gradient_dead_layers"] = ... if decayed is ... else tuple(n for n in layers if n in still or (n in last and last[n]["zero_share"] == 1))
    out["gradient_source"] = next(iter(last.values()))["source"] if tables else ""
    if not tables:
        return out
    depths = []
    for save, table in tables:
        path = [table[n]["rms"] for n in layers if n in table and table[n]["rms"] > 0 and "q_proj" not in n]
        words = save.gradients.get("wte.weight")
        reached = 0.0 if words is None or words["non_finite"] else words["rms"]
        if len(path) > 1:
            depths.append(math.log10(max(path[0], reached) / path[-1]))
    out["gradient_depth_ratio"] = min(depths, default=None)
    alive = [g["rms"] for g in last.values() if g["rms"] > 0]
    out["gradient_median"] = math.log10(middle(alive) or math.nan) if alive else None
    if len(tables) > 1:
        out["gradient_growth"] = middle(
            [math.log10(last[n]["rms"] / g["rms"]) for n, g in tables[0][1].items() if n in last and g["rms"] > 0 and last[n]["rms"] > 0]
        )
    at = saves.index(tables[-1][0])
    before = next((s for s in reversed(saves[:at]) if s.gradients), None)
    between = windows(before, saves[at]) if before is not None else {}
    out["memory_lag"] = middle(
        [math.log10(g["rms"] / last[n]["rms"]) for n, g in between.items() if n in last and g["rms"] > 0 and last[n]["rms"] > 0]
    )
    sizes = {n: saves[-1].tensors[n].tensor.numel() * (1 + saves[-1].tensors[n].tensor.is_complex()) if n in saves[-1].tensors else 1 for n in last}
    total = sum(sizes.values())
    out["gradient_zero_share"] = sum(g["zero_share"] * sizes[n] for n, g in last.items()) / total if total else None
    return out
