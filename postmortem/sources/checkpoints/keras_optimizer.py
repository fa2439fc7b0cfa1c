"""The optimizer that a Keras file saved: variables in the order of the model's trainable variables, slots side by side.

Slots carry torch's names where they mean the same: Adam's momentum and velocity are `exp_avg` and `exp_avg_sq`, RMSprop's
velocity is `square_avg`, Adagrad's accumulator is `sum`. SGD's momentum has the learning rate in it, unlike torch's, and
keeps the name `velocity`.
Source: keras/src/optimizers/{base_optimizer,adam,sgd,rmsprop,adagrad,nadam}.py of Keras 3.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from postmortem.model.run import OptimizerState, ParamGroup, ParamState, TensorRef
from postmortem.model.sentence import Value
from postmortem.sources.checkpoints.hdf5 import Listing
from postmortem.sources.checkpoints.keras_config import written
from postmortem.sources.checkpoints.keras_names import Variable

# Slots of one parameter in the order in which they are made; the first k of them when the file holds k.
_SLOTS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "adam": ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), "adamw": ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    "nadam": ("exp_avg", "exp_avg_sq"), "lamb": ("exp_avg", "exp_avg_sq"), "adamax": ("exp_avg", "exp_inf"),
    "sgd": ("velocity",), "rmsprop": ("square_avg", "momentum", "grad_avg"), "adagrad": ("sum",), "lion": ("exp_avg",),
    "adadelta": ("square_avg", "acc_delta"), "ftrl": ("accumulator", "linear"),
})  # fmt: skip
_LEGACY_SLOTS: Mapping[str, str] = MappingProxyType({
    "m": "exp_avg", "v": "exp_avg_sq", "vhat": "max_exp_avg_sq", "momentum": "exp_avg", "velocity": "exp_avg_sq", "velocity_hat": "max_exp_avg_sq",
    "rms": "square_avg", "accumulator": "sum",
})  # fmt: skip
_LEGACY = re.compile(r"(?:^|[/_])(velocity_hat|momentum|velocity|accumulator|vhat|rms|[mv])$|^[^/]+/([mv])/")
_LARGEST_SEARCH = 4_000_000  # layers × parameters
_ADAM_LIKE = frozenset({"adam", "adamw", "nadam", "lamb"})
_SETTINGS: Mapping[str, str] = MappingProxyType({"learning_rate": "lr", "beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps", "rho": "alpha"})


@dataclass(frozen=True, slots=True)
class Saved:
    """An optimizer's variables as they lie in the file."""

    name: str  # as the file calls it, such as "adam_w"
    step: float | None
    learning_rate: float | None
    slots: tuple[tuple[str, TensorRef], ...]  # slot ("" when only the order tells) and variable, in order
    loss_scale: float | None = None


def saved(listing: Listing) -> Saved | None:
    """What the file holds of an optimizer, None when it holds none."""
    attributes = {group.path: group.attributes for group in listing.groups}
    if "optimizer_weights" in attributes:
        names = [n for n in attributes["optimizer_weights"].get("weight_names", []) if isinstance(n, str)]
        return _legacy(listing, names)
    outer = _numbered(listing, "optimizer/vars")
    if not outer:
        return None
    inner = _numbered(listing, "optimizer/inner_optimizer/vars")
    where = "optimizer/inner_optimizer/vars" if inner else "optimizer/vars"
    scale = _loss_scale(listing, outer) if inner else None
    paths = inner or outer
    scalars = [listing.values.get(path) for path, ref in paths[:2]]
    step = scalars[0]
    rate = scalars[1] if len(scalars) > 1 and scalars[1] is not None and paths[1][1].dtype.startswith("float") else None
    name = str(attributes.get(where, {}).get("name") or "")
    return Saved(name, step, rate, tuple(("", ref) for _, ref in paths[1:]), scale)


def _loss_scale(listing: Listing, outer: Sequence[tuple[str, TensorRef]]) -> float | None:
    """Of a LossScaleOptimizer: iteration, learning rate, steps since the last change, scale, then the variables of the inner one."""
    whole = 0
    for path, ref in outer[:6]:
        if ref.shape:
            return None
        whole += not ref.dtype.startswith("float")
        if whole == 2 and ref.dtype.startswith("float"):
            return listing.values.get(path)
    return None


def _numbered(listing: Listing, folder: str) -> list[tuple[str, TensorRef]]:
    found = [(p, r) for p, r in listing.tensors.items() if p.rpartition("/")[0] == folder and p.rpartition("/")[2].isdecimal()]
    return sorted(found, key=lambda item: int(item[0].rpartition("/")[2][:9]))


def _legacy(listing: Listing, names: Sequence[str]) -> Saved | None:
    step = rate = None
    slots: list[tuple[str, TensorRef]] = []
    top = ""
    for name in names:
        path = f"optimizer_weights/{name}"
        ref = listing.tensors.get(path)
        plain = re.sub(r":\d+$", "", name)
        last = plain.rpartition("/")[2]
        top = top or next((part for part in plain.split("/") if part != "training"), "")
        if last in ("iteration", "iter", "iterations") or (step is None and ref is not None and ref.dtype == "int64" and not ref.shape):
            step = listing.values.get(path)
        elif last in ("learning_rate", "lr"):
            rate = listing.values.get(path)
        elif ref is not None:
            match = _LEGACY.search(plain)
            slots.append((_LEGACY_SLOTS.get((match[1] or match[2]) if match else "", ""), ref))
    return Saved(top, step, rate, tuple(slots)) if names else None


def optimizer_state(found: Saved, model: Sequence[Variable], frozen: frozenset[str], config: Mapping[str, Any], source: str) -> OptimizerState:
    """Parameters, their slots and the settings. `frozen`: layers that the configuration switches off; `config`: the optimizer's own."""
    kind = _kind(found)
    if kind in ("adamw", "adam") and config.get("amsgrad"):
        kind += "-amsgrad"
    settings: dict[str, Value] = {}
    for key, value in config.items():
        if value is None or isinstance(value, str | int | float | bool):
            settings[_SETTINGS.get(key, key)] = value
    if found.learning_rate is not None:
        settings["lr"] = written(found.learning_rate)
    elif isinstance(settings.get("lr"), float):
        del settings["lr"]  # the file holds none: a schedule sets it
    trainable = [v for v in model if not v.statistic]
    names: list[str] = []
    states: tuple[ParamState, ...] = ()
    for candidate in ([v for v in trainable if not frozen & set(v.layer.split("/"))], trainable, list(model)):
        matched = _matched(found, kind.partition("-")[0], candidate)
        if matched is not None:
            names = [name for name, _ in matched]
            states = tuple(ParamState(name, found.step, MappingProxyType(dict(slots))) for name, slots in matched)
            break
    group = ParamGroup(tuple(names), MappingProxyType(settings), tuple(names))
    return OptimizerState(f"keras-{kind}", (group,), states, source)


def parameter_shapes(found: Saved, model: Sequence[Variable]) -> Iterator[list[tuple[int, ...]]]:
    """Shapes of the parameters in the optimizer's order, one list for each way in which its variables can be read."""
    learned = [v for v in model if not v.statistic]
    for count in range(1, len(_SLOTS.get(_kind(found), ())) + 1):
        rest = _without_scalars(list(found.slots), count, learned) or []
        shapes = [ref.shape for _, ref in rest]
        if shapes and all(shapes[i::count] == shapes[::count] for i in range(count)):
            yield shapes[::count]
        length = len(shapes) // count
        if count > 1 and shapes and shapes == shapes[:length] * count:
            yield shapes[:length]


def _kind(found: Saved) -> str:
    return re.sub(r"(?:_\d{1,9}){1,9}$", "", found.name.lower()).replace("_", "") or "optimizer"


def _matched(found: Saved, kind: str, model: Sequence[Variable]) -> list[tuple[str, list[tuple[str, TensorRef]]]] | None:
    """Slots for each variable, None when the shapes do not fit. A subset of the variables is taken when only one fits."""
    tensors = list(found.slots)
    if any(slot for slot, _ in tensors):
        columns: dict[str, list[TensorRef]] = {}
        for slot, ref in tensors:
            columns.setdefault(_as(kind, slot), []).append(ref)
        columns.pop("", None)
        lengths = {len(refs) for refs in columns.values()}
        if len(lengths) != 1:
            return None
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        return _named(list(columns), rows, model)
    slots = _SLOTS.get(kind, ())
    for count in sorted(range(1, len(slots) + 1), key=lambda n: (abs(len(tensors) // n - len(model)), -n)):
        rest = _without_scalars(tensors, count, model)
        if rest is None:
            continue
        side_by_side = [[ref for _, ref in rest[i : i + count]] for i in range(0, len(rest), count)]
        length = len(rest) // count
        in_blocks = [[rest[i + length * k][1] for k in range(count)] for i in range(length)]
        # amsgrad of newer versions: both moments side by side, then all maxima
        mixed = [[rest[2 * i][1], rest[2 * i + 1][1], rest[2 * length + i][1]] for i in range(length)] if count == 3 else []
        for rows in (in_blocks,) if kind == "rmsprop" else (side_by_side, mixed, in_blocks):
            matched = _named(slots[:count], rows, model) if rows else None
            if matched is not None:
                return matched
    return None


def _as(kind: str, slot: str) -> str:
    """A legacy slot under the name that fits the optimizer: `momentum` is Adam's first moment, and SGD's velocity."""
    if kind in _ADAM_LIKE or slot not in ("exp_avg", "exp_avg_sq"):
        return slot
    first = _SLOTS.get(kind, ("",))[0]
    if kind == "rmsprop":
        return "momentum" if slot == "exp_avg" else "square_avg"
    return first


def _without_scalars(tensors: list[tuple[str, TensorRef]], count: int, model: Sequence[Variable]) -> list[tuple[str, TensorRef]] | None:
    """Without the learning rate and other scalars around, when the rest is a whole number of rows; None otherwise.

    Nadam saves a product behind the slots. A model may have scalar variables at its ends; then only the learning rate goes.
    """
    scalar = not all(v.ref.shape for v in (*model[:1], *model[-1:]))
    rest = tensors[1:] if scalar and tensors and not tensors[0][1].shape else list(tensors)
    while not scalar and rest and not rest[0][1].shape:
        rest = rest[1:]
    while not scalar and rest and not rest[-1][1].shape:
        rest.pop()
    return rest if rest and len(rest) % count == 0 and len(rest) // count <= len(model) else None


def _named(slots: Sequence[str], rows: list[list[TensorRef]], model: Sequence[Variable]) -> list[tuple[str, list[tuple[str, TensorRef]]]] | None:
    """The variable that each row of slots belongs to; None when the shapes fit in no way, or in several."""
    wanted = [row[0].shape for row in rows]
    if any(ref.shape != row[0].shape for row in rows for ref in row):
        return None
    if not all(v.ordered for v in model) and max(Counter(wanted).values(), default=0) > 1:
        return None
    if wanted == [v.ref.shape for v in model]:
        chosen: Sequence[int] | None = range(len(model))
    else:
        chosen = _only_way(wanted, model, deep=True) or _only_way(wanted, model, deep=False)
    if chosen is None:
        return None
    return [(model[i].ref.name, list(zip(slots, row, strict=True))) for i, row in zip(chosen, rows, strict=True)]


def _only_way(wanted: list[tuple[int, ...]], model: Sequence[Variable], *, deep: bool) -> list[int] | None:
    """Indices of variables with these shapes when whole layers are left out (frozen ones), None unless there is exactly one way.

    `deep`: layers within layers can be left out one by one.
    """
    units: list[list[int]] = []
    for i, variable in enumerate(model):
        same = units and _unit(model[units[-1][0]], deep=deep) == _unit(variable, deep=deep)
        units = [*units[:-1], [*units[-1], i]] if same else [*units, [i]]
    if len(units) * len(wanted) > _LARGEST_SEARCH:
        return None
    ways = [1 if j == len(wanted) else 0 for j in range(len(wanted) + 1)]  # of matching wanted[j:] with the units looked at so far, at most 2
    table = [ways]
    for unit in reversed(units):
        shapes = [model[i].ref.shape for i in unit]
        n = len(shapes)
        ways = [min(2, old + (ways[j + n] if wanted[j : j + n] == shapes else 0)) for j, old in enumerate(ways)]
        table.append(ways)
    if ways[0] != 1:
        return None
    out: list[int] = []
    for unit, after in zip(units, reversed(table[:-1]), strict=True):
        if not after[len(out)]:  # leaving this unit out would leave no way
            out.extend(unit)
    return out


def _unit(variable: Variable, *, deep: bool) -> str:
    return variable.layer if deep else variable.layer.partition("/")[0]
