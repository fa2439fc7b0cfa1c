"""The configuration that Keras saves with a model: layers in order, what is frozen, optimizer, loss, schedule."""

import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from postmortem.model.run import Setting
from postmortem.model.sentence import Value
from postmortem.sources.names import setting_name

_DEEPEST = 20  # models within models
_MOST_LAYERS = 20_000


@dataclass(slots=True)
class Configuration:
    """What is used of `config.json` (or the attributes `model_config`, `training_config`)."""

    layers: dict[str, str] = field(default_factory=dict)  # name → class, in the order in which data meets them
    frozen: set[str] = field(default_factory=set)
    settings: list[Setting] = field(default_factory=list)
    optimizer: Mapping[str, Any] = field(default_factory=dict)  # the optimizer's own configuration
    optimizer_class: str = ""


def configuration(model: object, training: object, file: str) -> Configuration:
    """Of JSON data. Whatever is not as Keras writes it is left out."""
    out = Configuration()
    if isinstance(model, dict):
        _layers(out, model.get("config"), frozen=False, depth=0)
        if not isinstance(training, dict):
            training = model.get("compile_config")
        _model_settings(out, model, file)
    if isinstance(training, dict):
        _training(out, training, file)
    return out


def parsed(text: object) -> object:
    """JSON text as data, None when it is none."""
    try:
        return json.loads(text) if isinstance(text, str | bytes) else None
    except (ValueError, RecursionError):
        return None


def _layers(out: Configuration, config: object, *, frozen: bool, depth: int) -> None:
    layers = config.get("layers") if isinstance(config, dict) else config if isinstance(config, list) else None
    if not isinstance(layers, list) or depth > _DEEPEST:
        return
    for layer in layers[:_MOST_LAYERS]:
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            continue
        inner = layer["config"]
        name = inner.get("name") or layer.get("name")
        off = frozen or inner.get("trainable") is False
        if isinstance(name, str) and len(out.layers) < _MOST_LAYERS:
            out.layers.setdefault(name, str(layer.get("class_name", "")))
            if off:
                out.frozen.add(name)
        _layers(out, inner, frozen=off, depth=depth + 1)


def _walk_layers(config: object, depth: int = 0) -> list[dict[str, Any]]:
    layers = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(layers, list) or depth > _DEEPEST:
        return []
    out: list[dict[str, Any]] = []
    for layer in layers[:_MOST_LAYERS]:
        if isinstance(layer, dict) and isinstance(layer.get("config"), dict):
            out.append(layer)
            out.extend(_walk_layers(layer["config"], depth + 1))
    return out


def _model_settings(out: Configuration, model: Mapping[str, Any], file: str) -> None:
    """What the layers agree on: the dropout rate, the hidden activation, the initializer of kernels, L2 on kernels."""
    layers = _walk_layers(model.get("config"))
    rates = {layer["config"].get("rate") for layer in layers if "Dropout" in str(layer.get("class_name"))}
    _add(out, "dropout", "layers.dropout.rate", max((r for r in rates if isinstance(r, int | float)), default=None), file)
    activations = Counter(a for layer in layers[:-1] if isinstance(a := layer["config"].get("activation"), str) and a != "linear")
    activations.update(str(layer.get("class_name")).lower() for layer in layers if layer.get("class_name") in ("ReLU", "LeakyReLU", "ELU", "PReLU"))
    _add(out, "activation", "layers.activation", activations.most_common(1)[0][0] if activations else None, file)
    kernels = Counter(_class(layer["config"].get("kernel_initializer")) for layer in layers if layer["config"].get("kernel_initializer"))
    _add(out, "initialization", "layers.kernel_initializer", kernels.most_common(1)[0][0] if kernels else None, file)
    penalties = [layer["config"]["kernel_regularizer"] for layer in layers if isinstance(layer["config"].get("kernel_regularizer"), dict)]
    for key in ("l1", "l2"):
        values = [c.get(key) for p in penalties if isinstance(c := p.get("config"), dict)]
        _add(out, "", f"layers.kernel_regularizer.{key}", max((v for v in values if isinstance(v, int | float)), default=None), file)
    normalised = Counter(str(layer.get("class_name")) for layer in layers if str(layer.get("class_name", "")).endswith("Normalization"))
    _add(out, "normalization", "layers.normalization", normalised.most_common(1)[0][0] if normalised else None, file)


def _training(out: Configuration, training: Mapping[str, Any], file: str) -> None:
    loss = training.get("loss")
    _add(out, "loss", "loss", loss if isinstance(loss, str) else _class(loss) or None, file)
    optimizer = training.get("optimizer") or training.get("optimizer_config")
    if not isinstance(optimizer, dict) or not isinstance(optimizer.get("config"), dict):
        if isinstance(optimizer, str):
            _add(out, "optimizer", "optimizer", optimizer, file)
        return
    config = optimizer["config"]
    inner = config.get("inner_optimizer")
    if isinstance(inner, dict) and isinstance(inner.get("config"), dict):  # a loss-scale optimizer around it
        _add(out, "precision", "optimizer.class_name", "mixed_float16", file)
        optimizer, config = inner, inner["config"]
    out.optimizer_class = _class(optimizer)
    out.optimizer = config
    _add(out, "optimizer", "optimizer.class_name", out.optimizer_class or None, file)
    for key, value in config.items():
        if key == "learning_rate" and isinstance(value, dict) and isinstance(value.get("config"), dict):
            _add(out, "schedule", "optimizer.learning_rate.class_name", _class(value) or None, file)
            for inner_key, part in value["config"].items():
                _add(out, setting_name(str(inner_key)), f"optimizer.learning_rate.{inner_key}", part, file)
        elif key != "name":
            _add(out, setting_name(str(key)), f"optimizer.{key}", value, file)


def _class(value: object) -> str:
    """The class that a serialised object names, or the text itself."""
    if isinstance(value, dict):
        return str(value.get("class_name", ""))[:200]
    return value[:200] if isinstance(value, str) else ""


def _add(out: Configuration, name: str, key: str, value: object, file: str) -> None:
    if isinstance(value, str | int | float) and len(out.settings) < 1000:
        plain: Value = value[:500] if isinstance(value, str) else written(value) if isinstance(value, float) else value
        out.settings.append(Setting(name, key[:200], plain, file))


def written(value: float) -> float:
    """The number that somebody wrote, for one that went through float32: 0.001, not 0.0010000000474974513."""
    try:
        through = struct.unpack("<f", struct.pack("<f", value))[0]
    except (OverflowError, ValueError):
        return value
    return float(f"{value:.7g}") if through == value else value
