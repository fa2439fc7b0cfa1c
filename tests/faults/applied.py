"""A fix's changes applied to a plan, as a person would apply them to the run's configuration."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from postmortem.model.diagnosis import Change
from postmortem.sources.documents import load
from tests.faults.healthy import SAMPLES
from tests.faults.plan import Plan

# parameter of a change → the plan's field
FIELDS = {
    "learning_rate": "lr",
    "gradient_clip_norm": "grad_clip",
    "model_width": "width",
    "model_depth": "depth",
    "warmup_steps": "warmup_steps",
    "schedule": "schedule",
    "weight_decay": "weight_decay",
    "dropout": "dropout",
    "label_smoothing": "label_smoothing",
    "batch_size": "batch_size",
    "epochs": "epochs",
    "optimizer": "optimizer",
    "precision": "precision",
    "activation": "activation",
    "train_samples": "train_samples",
}
# keys that a configuration writes → the plan's field, where the parameter alone does not tell
KEYS = {"bn_momentum": "bn_momentum", "decay_rate": "decay_rate", "momentum": "momentum"}
# parameter → mistakes in code that setting it back to the default undoes
MISTAKES = {
    "initialization": ("init_scale", "init_zero", "init_constant", "bias_fill"),
    "loss": ("softmax_twice", "sign", "broadcast", "log_zero"),
    "shuffle": ("sorted",),
    "frozen_parameters": ("frozen",),
    "schedule": ("lr_zero", "lr_spike"),
}
SAME = 1e-3  # relative: a setting is the number that the change claims, as printed


@dataclass(frozen=True)
class Applied:
    plan: Plan
    done: tuple[str, ...]  # "lr 1 → 0.001"
    left: tuple[str, ...]  # changes that mean nothing to this training


def applied(plan: Plan, changes: Iterable[Change]) -> Applied:
    """The plan with the changes; of two changes of one field the first counts."""
    done: dict[str, str] = {}
    left: list[str] = []
    for change in changes:
        leaf = change.key.rpartition(".")[2]
        field = KEYS.get(leaf) or FIELDS.get(change.parameter)
        undone = [m for m in MISTAKES.get(change.parameter, ()) if plan.has(m) is not None] if change.to in (None, True) else []
        if undone:
            plan = replace(plan, wrong=tuple(w for w in plan.wrong if w[0] not in undone))
            done[change.parameter] = f"{change.parameter}: no {', '.join(undone)}"
        elif field is None:
            left.append(f"{change.parameter} ({change.key})")
        elif field not in done:
            value = _value(plan, field, change.to)
            done[field] = f"{field} {getattr(plan, field)} → {value}"
            plan = replace(plan, **{field: value})
    return Applied(plan, tuple(done.values()), tuple(left))


def _value(plan: Plan, field: str, to: Any) -> Any:
    if to is None:
        return SAMPLES.get(plan.task, 1200) if field == "train_samples" else next(f.default for f in fields(Plan) if f.name == field)
    kind = type(getattr(plan, field))
    return round(to) if kind is int else float(to) if kind is float else to


def misaddressed(change: Change, run: Path) -> str:
    """What is wrong with where a change says it belongs; "" when a machine finds it there."""
    if not change.file:
        return ""
    path = run / change.file
    if not path.is_file():
        return f"no file {change.file}"
    node = load(path)
    for part in change.key.split("."):
        if not isinstance(node, dict) or part not in node:
            return "" if change.from_ is None else f"no {change.key} in {change.file}"
        node = node[part]
    if isinstance(node, int | float) and isinstance(change.from_, int | float):
        return "" if abs(node - change.from_) <= SAME * abs(node) else f"{change.key} is {node}, not {change.from_}"
    return "" if node == change.from_ else f"{change.key} is {node!r}, not {change.from_!r}"
