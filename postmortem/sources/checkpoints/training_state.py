"""What a checkpoint says about training itself: step, epoch, schedule, loss scale, scores, hyper-parameters."""

from collections.abc import Iterable, Iterator, Mapping

from postmortem.model.run import Setting
from postmortem.model.sentence import Value
from postmortem.sources.checkpoints.placing import Placer
from postmortem.sources.checkpoints.plain import as_list, as_mapping, as_value, flatten
from postmortem.sources.names import setting_name
from postmortem.sources.pickles.records import Array, Record, Tensor

Items = Mapping[object, object]


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STEP_KEYS = (
    "global_step", "global_steps", "step", "steps", "iteration", "iter", "iter_num", "iterations", "num_updates", "current_iteration", "n_iter", "it",
    "train_step", "num_steps", "total_steps_done", "current_step", "trained_steps",
)  # fmt: skip
_EPOCH_KEYS = ("epoch", "epochs_run", "current_epoch", "epochs_trained", "last_epoch", "epoch_num", "epochs_done", "start_epoch", "epochs")
# Keys that hold bookkeeping of training, in which step and epoch are looked for as well.
_BOOKS = _listed(
    """
    meta extra_state train_state trainer_state training_state trainer progress info client_state state_info engine
    """
)
_CONFIGURATIONS = _listed(
    """
    hyper_parameters hparams hyperparameters args config cfg conf opt opts options train_args model_args model_config training_args
    flags train_config training_config optimizer_config params_config ds_config exp_config experiment_config settings kwargs
    """
)
_MOST_FACTS = 64
_LISTED = 16  # numbers of a list


def numbers_of(mapping: Items, placer: Placer) -> dict[str, Value]:
    """The scalars of a scheduler's or scaler's state. A list gives its first number under its own key, the others as `key.1`, `key.2` …"""
    out: dict[str, Value] = {}
    stack: list[tuple[str, Items, int]] = [("", mapping, 0)]
    looked = 0
    while stack and len(out) < 500 and looked < 2000:
        prefix, items, depth = stack.pop()
        looked += 1
        for key, value in _named_parts(prefix, items):
            scalar = as_value(value)
            number = placer.number(value) if isinstance(value, Tensor | Array) else None
            if scalar is not None or number is not None:
                out[key] = number if scalar is None else scalar[0]
            elif depth < 3 and (inner := as_mapping(value)) is not None:
                stack.append((f"{key}.", inner, depth + 1))
    return out


def _named_parts(prefix: str, items: Items) -> Iterator[tuple[str, object]]:
    """Items under their dotted keys; those of a list one by one, the first under the list's own key when it is a scalar."""
    for raw, value in list(items.items())[:200]:
        if not isinstance(raw, str | int):
            continue
        name = f"{prefix}{raw[:100] if isinstance(raw, str) else raw}"
        parts = as_list(value) if as_value(value) is None else None
        if parts is None:
            yield name, value
            continue
        for i, part in enumerate(parts[:_LISTED]):
            yield (name if i == 0 and as_mapping(part) is None else f"{name}.{i}"), part


def is_scheduler(mapping: Items) -> bool:
    """True for the state of a torch learning-rate scheduler, or of Megatron's."""
    return ("last_epoch" in mapping and ("_step_count" in mapping or "base_lrs" in mapping or "_last_lr" in mapping)) or (
        "num_steps" in mapping and "max_lr" in mapping and "lr_decay_style" in mapping
    )


def is_scaler(mapping: Items) -> bool:
    """True for the state of `GradScaler`, or of DeepSpeed's and apex's loss scalers."""
    return ("scale" in mapping and ("growth_factor" in mapping or "_growth_tracker" in mapping)) or (
        "cur_scale" in mapping or ("loss_scale" in mapping and ("unskipped" in mapping or "dynamic" in mapping))
    )


def is_configuration(key: str) -> bool:
    """True for a key under which hyper-parameters are saved."""
    return key.lower() in _CONFIGURATIONS


def step_and_epoch(mapping: Items, placer: Placer) -> tuple[float | None, float | None]:
    """(step, epoch) by their usual keys, at the top or one level down in the bookkeeping (`meta`, `extra_state`)."""
    places = [mapping, *(m for k, v in mapping.items() if isinstance(k, str) and k.lower() in _BOOKS and (m := as_mapping(v)) is not None)]
    return _first(places, _STEP_KEYS, placer), _first(places, _EPOCH_KEYS, placer)


def _first(places: Iterable[Items], keys: tuple[str, ...], placer: Placer) -> float | None:
    for items in places:
        for key in keys:
            value = items.get(key)
            number = placer.number(value) if not isinstance(value, bool) else None
            if number is not None and 0 <= number < 1e15:  # -1: ultralytics' epoch once training is over, torch's schedule before it
                return number
    return None


def settings_of(value: object, prefix: str, file: str) -> tuple[Setting, ...]:
    """A saved configuration as settings; keys are dotted from the top of the file."""
    return tuple(Setting(setting_name(key), key, scalar, file) for key, scalar in flatten(value, prefix))


def facts_of(mapping: Items, placer: Placer, known: frozenset[str]) -> dict[str, Value]:
    """Scores, losses and other scalars at the top of the file, by their keys, but for those in `known`."""
    out: dict[str, Value] = {}
    for key, value in mapping.items():
        if not isinstance(key, str) or key in known or len(key) > 100 or len(out) >= _MOST_FACTS:
            continue
        scalar = as_value(value) if not isinstance(value, Record) else None
        if scalar is not None and scalar[0] is not None:
            out[key] = scalar[0] if not isinstance(scalar[0], str) else scalar[0][:200]
        elif isinstance(value, Tensor | Array) and (number := placer.number(value)) is not None:
            out[key] = number
    return out


_CALLBACK_FACTS = {
    "ModelCheckpoint": ("monitor", "best_model_path", "best_model_score", "current_score", "last_model_path"),
    "EarlyStopping": ("monitor", "wait_count", "stopped_epoch", "best_score", "patience"),
}


def callback_facts(mapping: Items, placer: Placer) -> dict[str, Value]:
    """What Lightning's ModelCheckpoint and EarlyStopping had seen, as `early_stopping.wait_count`, `model_checkpoint.best_model_score` …"""
    out: dict[str, Value] = {}
    for raw, state in list((as_mapping(mapping.get("callbacks")) or {}).items())[:50]:
        items = as_mapping(state)
        # the key is `ModelCheckpoint{'monitor': …}`, in old files the class itself
        name = raw if isinstance(raw, str) else getattr(getattr(raw, "value", None), "name", "")
        kind = next((k for k in _CALLBACK_FACTS if str(name).startswith(k)), None)
        if items is None or kind is None:
            continue
        prefix = "model_checkpoint" if kind == "ModelCheckpoint" else "early_stopping"
        for key in _CALLBACK_FACTS[kind]:
            value = items.get(key)
            scalar = as_value(value)
            number = placer.number(value) if scalar is None else None
            if scalar is not None and scalar[0] not in (None, ""):
                out[f"{prefix}.{key}"] = scalar[0]
            elif number is not None:
                out[f"{prefix}.{key}"] = number
    return out
