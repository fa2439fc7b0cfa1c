"""Hyper-parameters and facts that a log prints: configurations, argument dumps, command lines, counts of parameters and samples."""

import ast
import re
import warnings
from enum import IntEnum
from itertools import accumulate
from typing import Any

import orjson

from postmortem.model.run import Setting
from postmortem.model.sentence import Value
from postmortem.sources.logs.anyof import any_of
from postmortem.sources.logs.text.pairs import is_declared, pairs_of
from postmortem.sources.names import series_name
from postmortem.sources.setting_names import NAMED_BY_WORDS, NUMERIC, SETTINGS, setting_name

MAX_SETTINGS = 2_000
MAX_CONFIG = 100_000  # characters of a configuration on one line
MAX_VALUE = 200
MAX_DEPTH = 6

_CONFIG = re.compile(
    r"(?:^|[\s\]:>|-])(?:config(?:uration)?|args|arguments|h(?:yper)?[ _-]?param(?:eter)?s|params|options|settings|cfg|opts?|"
    r"Training/evaluation parameters)"
    r"\s{0,3}[:=]?\s{0,3}(?P<body>\{.*\}|(?:argparse\.)?(?:Namespace|[A-Z]\w{0,40}(?:Config|Args|Arguments|Params))\(.*\))\s*$",
    re.IGNORECASE,
)
# what `print` makes of parsed arguments, and of a dataclass of settings
_NAMESPACE = re.compile(r"(?:^|[\s:])(?:argparse\.)?(?:Namespace|(?:[A-Z]\w{0,40})?(?:Config|Args|Arguments|Params|Options))\((?P<body>.*)\)\s*$")
_DICT = re.compile(r"(?:^|[\s:(])(?P<body>\{['\"][A-Za-z_].*\})\)?\s*$")
_MEASURED = re.compile(r"(?:loss|acc(?:uracy)?)\b\W{1,3}\d")
PLANNED = frozenset({"epochs", "batch_size", "max_steps"})  # what a record of training does not repeat
FEWEST_NAMED = 3  # settings of known names, from which on a mapping is taken for a configuration
_ITEM = re.compile(r"""['"]?(?P<key>[A-Za-z_][\w.\-/]{0,80})['"]?\s?[:=]\s?(?P<value>'[^']{0,200}'|"[^"]{0,200}"|[^,(){}\[\]]{1,200})""")
_DUMP = re.compile(r"^(?:\[\w{1,20}\]:?)?\s*(?P<key>[A-Za-z_][\w-]{0,60}) \.{3,}\s?(?P<value>\S.{0,200})$")
_OPTION = re.compile(r"""(?<=\s)--(?P<key>[A-Za-z][\w.\-]{0,60})(?:[= ](?P<value>'[^']{0,200}'|"[^"]{0,200}"|(?!--?[A-Za-z])\S{1,200}))?""")
_COMMAND = re.compile(r"\b(?:python3?|torchrun|accelerate launch|deepspeed|srun|main|train\w*)\b.{0,400}?\s--[a-z]")
_COUNT = re.compile(r"^(?P<n>\d{1,3}(?:,\d{3}){1,6}|\d{1,20}(?:\.\d{1,9})?)\s?(?P<unit>[KMB](?![A-Za-z]))?")
_COUNTS: tuple[tuple[str, "re.Pattern[str]"], ...] = (
    ("trainable_parameters", re.compile(r"(?:^|[^-\w])trainable params:\s*(?P<n>[\d.,]{1,30} ?[KMB]?)(?![\w])|"
        r"number of trainable parameters\s*[:=]\s*(?P<n2>[\d.,]{1,30} ?[KMB]?)", re.IGNORECASE)),
    ("parameters", re.compile(r"(?:total params|all params|(?:total )?number of (?:model )?parameters|# ?params|model parameters|"
        r"total parameters)\s*[:=]\s*(?P<n>[\d.,]{1,30} ?[KMB]?)(?![\w])", re.IGNORECASE)),
    ("trainable_parameters", re.compile(r"^\s*(?P<n>[\d.,]{1,20} [KMB]?)\s{1,8}Trainable params")),
    ("parameters", re.compile(r"^\s*(?P<n>[\d.,]{1,20} [KMB]?)\s{1,8}Total params")),
    ("train_samples", re.compile(r"Train on (?P<n>\d{1,12}) samples|(?<!\w)Num examples\s*=\s*(?P<n2>[\d,]{1,15})")),
    ("val_samples", re.compile(r"validate on (?P<n>\d{1,12}) samples")),
    ("epochs", re.compile(r"Num Epochs\s*=\s*(?P<n>[\d,]{1,12})")),
    ("max_steps", re.compile(r"Total (?:optimization|training) steps\s*[:=]\s*(?P<n>[\d,]{1,15})")),
    ("batch_size", re.compile(r"Total train batch size [^=]{0,80}=\s*(?P<n>[\d,]{1,12})")),
    ("accumulation", re.compile(r"Gradient Accumulation steps\s*=\s*(?P<n>[\d,]{1,12})")),
    ("gpus", re.compile(r"(?:world[_ ]size|num(?:ber)?[_ ]of[_ ]gpus|num_gpus|n_gpu)\s*[:=]\s*(?P<n>\d{1,6})\b|"
        r"with (?P<n2>\d{1,6}) processes$", re.IGNORECASE)),
)  # fmt: skip
_HINTS = re.compile(
    any_of((
        "param", "sample", "example", "epochs", "optimization steps", "training steps", "batch size", "accumulation", "world", "gpu", "processes",
        "namespace(", "config", "arg", "options", "settings", "cfg", "opt",
    ))
)  # fmt: skip
_SPEAKS = re.compile(
    any_of((
        "lr", "learning", "batch", "epochs", "seed", "optim", "dropout", "momentum", "decay", "clip", "warm", "layers", "hidden", "precision", "fp16",
        "bf16", "amp", "model", "arch", "activation", "width", "depth", "classes", "vocab", "patience", "smoothing", "init", "sched", "学", "批",
    ))
)  # fmt: skip
_TYPED = re.compile(r"dict\(type=['\"](\w{1,60})['\"]\)?$")  # of OpenMMLab's configurations: `optimizer = dict(type='SGD', lr=0.1)`
# How many outputs a printed model has: the last layer of `print(model)` in PyTorch, of `model.summary()` in Keras.
_LAYER_OUT = re.compile(
    r"^\s*\(\w{1,80}\): (?:\w*Linear\(.{0,80}?out_features=|Linear\(\d{1,9} ?, ?)(?P<n>\d{1,9})|"
    r"^[│┃|]?\s*\w{1,80} \(Dense\)\s.{0,40}\(None(?:, (?:\d{1,9}|None)){0,3}, (?P<n2>\d{1,9})\)"
)
_OPTIMIZER = re.compile(r"^using (?:fused|foreach|8-?bit) (?P<name>[A-Z]\w{2,20})\b")  # `using fused AdamW: True` of nanoGPT
_THOUSANDS = re.compile(r"^\d{1,3}(?:,\d{3}){1,6}$")
SPLITS = ("train/", "val/", "test/")
_SIDE = {"train": "train_samples", "val": "val_samples", "valid": "val_samples", "validation": "val_samples"}
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "": 1.0}
_NESTS = {"{": 1, "[": 1, "(": 1, "}": -1, "]": -1, ")": -1}
_NON_FINITE = ("nan", "inf", "-inf", "NaN", "Infinity", "-Infinity")
_WORDS = {"true": True, "false": False, "none": None, "null": None}


class Wanted(IntEnum):
    """When a shape may hold settings."""

    NEVER = 0
    EARLY = 1  # before the first record only
    ALWAYS = 2


def wanted(text: str) -> Wanted:
    """Whether lines of this kind are worth asking `Settings.line`. Asked once for each shape."""
    head = text[:400]
    low = text[:2000].lower()
    if ("linear(" in low or "(dense)" in low) and _LAYER_OUT.match(head):
        return Wanted.ALWAYS
    if _mapping_in(text) or (_HINTS.search(low) and (_called_in(text) or any(p.search(head) for _, p in _COUNTS))):
        return Wanted.ALWAYS
    if "--" in head and _COMMAND.search(head):
        return Wanted.ALWAYS
    if ("epochs" in low or "batch" in low or "bs" in low) and not _MEASURED.search(low) and _names_settings(dict(pairs_of(head)), PLANNED):
        return Wanted.ALWAYS
    if ":" in head or "=" in head or "...." in head or _SPEAKS.search(low):
        return Wanted.EARLY
    return Wanted.NEVER


def _called_in(text: str) -> "re.Match[str] | None":
    """A configuration that ends a line and is called one."""
    text = text[:MAX_CONFIG]
    return _CONFIG.search(text) or _NAMESPACE.search(text) if text.rstrip().endswith((")", "}")) else None


def _mapping_in(text: str) -> "re.Match[str] | None":
    """A printed mapping that ends a line, names settings, and says nothing that was measured."""
    mapping = _DICT.search(text[:MAX_CONFIG]) if text.rstrip().endswith(("}", "})")) else None
    if mapping is None:
        return None
    return mapping if _names_settings({item["key"]: item["value"] for item in _ITEM.finditer(mapping["body"])}) else None


def _measured(value: Value) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)) or value in _NON_FINITE


def _names_settings(pairs: dict[str, str], of: frozenset[str] = frozenset(SETTINGS)) -> bool:
    """Several settings, one of them one `of` those, and nothing that was measured; fairseq quotes its numbers."""
    told = {key: _value(value.strip("'\"")) for key, value in pairs.items()}
    if any(series_name(key).startswith(SPLITS) and _measured(value) for key, value in told.items()):
        return False
    names = {setting_name(key) for key in told} - {""}
    return len(names) >= FEWEST_NAMED and not names.isdisjoint(of)


class Settings:
    """Collects the settings of one log."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: dict[str, Setting] = {}

    def line(self, text: str) -> None:
        """Take in one line that `wanted` named."""
        if len(self.found) >= MAX_SETTINGS:
            return
        layer = _LAYER_OUT.match(text[:400])
        if layer:
            self.found["outputs"] = Setting("outputs", "outputs", int(layer["n"] or layer["n2"]), self.file)
            return
        optimizer = _OPTIMIZER.match(text[:100])
        if optimizer:
            self._add("optimizer", optimizer["name"])
            return
        known, low = len(self.found), text[:2000].lower()
        for name, pattern in _COUNTS if _HINTS.search(low) else ():
            match = pattern.search(text[:400])
            if match:
                count = _count(next(g for g in match.groups() if g is not None))
                if count is not None:
                    self._add(name, count, name)
        if len(self.found) > known:
            return
        config = _called_in(text) or _mapping_in(text)
        if config:
            self._config(config["body"])
            return
        text = text[:1000]
        dump = _DUMP.match(text)
        if dump:
            self._add(dump["key"], _value(dump["value"]), always=True)
            return
        if "--" in text and _COMMAND.search(text):
            for option in _OPTION.finditer(text):
                self._add(option["key"], _value(option["value"]) if option["value"] else True)
            return
        pairs, always = pairs_of(text), is_declared(text)
        counted = any(key.lower() in ("parameters", "params") for key, _ in pairs)
        for key, value in pairs:
            if value:
                self._add(key, _value(value), _SIDE.get(key.lower(), "") if counted else "", always=always)

    def _config(self, body: str) -> None:
        if body.startswith("{") and (mapping := _mapping(body)) is not None:
            self._tree(mapping, "", 0)
            return
        for item in _ITEM.finditer(body):
            if item["value"].strip():  # what opens a mapping within has none
                self._add(item["key"], _value(item["value"]), always=True)

    def _tree(self, data: Any, path: str, depth: int) -> None:
        if isinstance(data, dict) and depth < MAX_DEPTH:
            for key, value in data.items():
                self._tree(value, f"{path}.{key}" if path else str(key), depth + 1)
        elif isinstance(data, list) and len(data) == 1:  # `lr: [0.0006]` of fairseq
            self._tree(data[0], path, depth + 1)
        elif isinstance(data, str | int | float | bool | None):
            self._add(path, data[:MAX_VALUE] if isinstance(data, str) else data, always=True)

    def _add(self, key: str, value: Value, name: str = "", *, always: bool = False) -> None:
        name = name or setting_name(key)
        if not name and not always:
            return
        if name in NUMERIC and isinstance(value, str):
            number = _count(value) if _THOUSANDS.match(value) else None
            if number is None and not always:
                return
            name, value = (name, number) if number is not None else ("", value)
        if name and isinstance(value, str) and len(value.split()) > 4:
            return
        if name in NAMED_BY_WORDS and isinstance(value, int | float) and not isinstance(value, bool):
            return  # `Loss: 0.99` in a summary
        if name == "precision" and isinstance(value, float) and value != int(value):
            return  # of a classifier
        if key not in self.found and len(self.found) < MAX_SETTINGS:
            self.found[key] = Setting(name=name, key=key, value=value, file=self.file)


def _mapping(body: str) -> dict[Any, Any] | None:
    """What was printed as JSON or by Python; None where it is neither, or nests too deep to be a configuration."""
    if max(accumulate(_NESTS.get(c, 0) for c in body)) > MAX_DEPTH + 2:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # at paths with backslashes
            data = orjson.loads(body) if '"' in body[:2] else ast.literal_eval(body)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # `JSONDecodeError` is a `ValueError`
        return None
    return data if isinstance(data, dict) else None


def _count(text: str) -> int | None:
    match = _COUNT.match(text.strip())
    if match is None:
        return None
    return round(float(match["n"].replace(",", "")) * _UNITS[match["unit"] or ""])


def _value(text: str) -> Value:
    """A printed value: a number, a truth value, None, or text without its quotes."""
    text = text.strip().rstrip(",;").strip()
    kind = _TYPED.match(text)
    if kind:
        return kind[1]
    if text.endswith(")") and text.count(")") > text.count("("):  # the last item of a `dict(…)`
        text = text[:-1]
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1][:MAX_VALUE]
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text[:MAX_VALUE]
    return number if number == number and abs(number) != float("inf") else text  # noqa: PLR0124
