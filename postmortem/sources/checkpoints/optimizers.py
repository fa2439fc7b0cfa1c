"""Optimizer states as torch saves them: `{"state": {parameter: slots}, "param_groups": [...]}`, and which optimizer it was."""

from collections.abc import Iterable, Mapping
from itertools import chain, islice
from types import MappingProxyType

from postmortem.model.run import OptimizerState, ParamGroup, ParamState, TensorRef
from postmortem.model.sentence import Value
from postmortem.sources.checkpoints.naming import plain_name
from postmortem.sources.checkpoints.placing import Placer
from postmortem.sources.checkpoints.plain import as_list, as_mapping, as_value
from postmortem.sources.pickles.records import Array, Tensor

_MOST_PARAMETERS = 1_000_000
_MOST_SLOTS = 32  # of one parameter
_QUANTISED = "__bnb_optimizer_quant_state__"  # bitsandbytes ≥ 0.49 saves its slots one level below
# Slots that only one optimizer has (torch.optim, bitsandbytes, transformers, apex, timm). The first row that fits wins.
_BY_SLOT: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"state1", "state2"}), "adam-8bit"),
    (frozenset({"state1"}), "8bit"),
    (frozenset({"exp_avg_sq_row"}), "adafactor"),
    (frozenset({"row_var"}), "adafactor"),
    (frozenset({"exp_avg", "exp_avg_sq", "GG"}), "soap"),
    (frozenset({"exp_avg", "exp_avg_sq", "projector"}), "galore"),
    (frozenset({"exp_avg", "exp_avg_sq", "mu_product"}), "nadam"),
    (frozenset({"exp_avg", "exp_avg_diff"}), "adan"),
    (frozenset({"exp_avg", "exp_avg_sq"}), "adam"),
    (frozenset({"exp_avg", "hessian"}), "sophia"),
    (frozenset({"exp_avg", "exp_inf"}), "adamax"),
    (frozenset({"exp_avg_sq"}), "adafactor"),
    (frozenset({"exp_avg"}), "lion"),
    (frozenset({"square_avg", "acc_delta"}), "adadelta"),
    (frozenset({"square_avg"}), "rmsprop"),
    (frozenset({"acc"}), "sm3"),
    (frozenset({"sum"}), "adagrad"),
    (frozenset({"step_size", "prev"}), "rprop"),
    (frozenset({"ax", "eta"}), "asgd"),
    (frozenset({"d", "al"}), "lbfgs"),
)  # fmt: skip


def is_optimizer(mapping: Mapping[object, object]) -> bool:
    """True for what `Optimizer.state_dict()` returns."""
    return isinstance(as_list(mapping.get("param_groups")), list | tuple) and as_mapping(mapping.get("state", {})) is not None


def optimizer_state(mapping: Mapping[object, object], placer: Placer, source: str) -> OptimizerState:
    """The state with references to its tensors. Slots that hold no tensor of numbers are left out."""
    groups: list[ParamGroup] = []
    left = _MOST_PARAMETERS
    for raw in (as_list(mapping.get("param_groups")) or ())[:10_000]:
        group = _group(raw, placer, left)
        left -= len(group.params)
        groups.append(group)
    states: list[ParamState] = []
    for key, slots in islice((as_mapping(mapping.get("state")) or {}).items(), _MOST_PARAMETERS):
        content = as_mapping(slots)
        if content is not None and isinstance(key, int | str):
            states.append(_param_state(int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 10 else key, content, placer))
    return OptimizerState(kind_of(groups, states), tuple(groups), tuple(states), source)


def _param_state(key: int | str, content: Mapping[object, object], placer: Placer) -> ParamState:
    param = plain_name(key[:300]) if isinstance(key, str) else key
    slots: dict[str, TensorRef] = {}
    below = as_mapping(content.get(_QUANTISED)) or {}
    for slot, value in islice(chain(content.items(), below.items()), _MOST_SLOTS):
        if not isinstance(slot, str) or len(slot) > 100 or slot == "step" or not isinstance(value, Tensor | Array):
            continue
        ref = placer.ref(f"{param}.{slot}", value)
        if ref is not None:
            slots[slot] = ref
    return ParamState(param, placer.number(content.get("step")), MappingProxyType(slots))


def _group(group: object, placer: Placer, most: int) -> ParamGroup:
    mapping = as_mapping(group) or {}
    params = tuple(
        plain_name(p[:300]) if isinstance(p, str) else p for p in (as_list(mapping.get("params")) or ())[: max(most, 0)] if isinstance(p, int | str)
    )
    names = tuple(plain_name(n[:300]) for n in (as_list(mapping.get("param_names")) or ())[: len(params)] if isinstance(n, str))
    return ParamGroup(params, MappingProxyType(dict(_settings(mapping, placer))), names)


def _settings(mapping: Mapping[object, object], placer: Placer) -> Iterable[tuple[str, Value]]:
    """Scalars by key; the parts of a tuple such as `betas` as `betas.0`, `betas.1`."""
    for key, value in list(mapping.items())[:200]:
        if not isinstance(key, str) or len(key) > 100 or key in ("params", "param_names"):
            continue
        parts = as_list(value)
        for name, part in ((f"{key}.{i}", p) for i, p in enumerate(parts[:8])) if parts is not None else ((key, value),):
            scalar = as_value(part)
            if scalar is not None:
                yield name, scalar[0]
            elif isinstance(part, Tensor | Array):
                number = placer.number(part)
                if number is not None:
                    yield name, number


def kind_of(groups: Iterable[ParamGroup], states: Iterable[ParamState]) -> str:
    """Which optimizer saves such slots and groups; "" when several do.

    Adam and AdamW save the same slots: "adamw" only where a flag says so (`decoupled_weight_decay`, torch ≥ 2.6), else "adam".
    """
    settings: dict[str, Value] = {}
    for group in groups:
        settings.update(group.settings)
    slots: set[str] = set()
    for state in states:
        slots.update(state.slots)
    kind = next((name for needed, name in _BY_SLOT if needed <= slots), "")
    if kind in ("adam", ""):
        kind = _by_settings(settings, slots) or kind
    return kind


def _by_settings(settings: Mapping[str, Value], slots: set[str]) -> str:
    keys = settings.keys()
    has_betas = "betas.0" in keys
    if "ns_steps" in keys or "use_muon" in keys:
        return "muon"
    if "proj_type" in keys or "galore" in keys:
        return "galore"
    if "history_size" in keys:
        return "lbfgs"
    if "momentum" in keys and ("dampening" in keys or "nesterov" in keys):
        return "sgd"
    if "momentum_buffer" in slots:
        return "sgd"
    if "amsgrad" in keys or "correct_bias" in keys:
        decoupled = bool(settings.get("decoupled_weight_decay")) or "correct_bias" in keys
        return ("adamw" if decoupled else "adam") + ("-amsgrad" if settings.get("amsgrad") or "max_exp_avg_sq" in slots else "")
    if "momentum_decay" in keys:
        return "nadam"
    if "scale_parameter" in keys or "clip_threshold" in keys or "beta2_decay" in keys:
        return "adafactor"
    if "max_grad_norm" in keys and "adam" in keys:
        return "lamb"
    if has_betas and "decoupled_weight_decay" in keys:
        return "radam"
    if has_betas and "eps" not in keys and not slots:
        return "lion"
    if "lr_decay" in keys and "initial_accumulator_value" in keys:
        return "adagrad"
    if "alpha" in keys and "centered" in keys:
        return "rmsprop"
    if "rho" in keys:
        return "adadelta"
    return ""
