"""Configuration files as settings: what the user wrote and what frameworks saved, flattened to dotted keys.

`config.json|yaml|toml`, `args.json`, `hparams.yaml`, Hydra's `.hydra/`, DeepSpeed's and transformers' JSON, W&B's
`config.yaml`, argparse dumps (`opt.txt`), INI files.
"""

import configparser
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from postmortem.model.run import Setting, Source, Status
from postmortem.model.sentence import Sentence, Value, say
from postmortem.model.text import seen
from postmortem.sources.documents import LARGEST_CONFIG, Unreadable, load, scalar
from postmortem.sources.logs.blocks import head_text
from postmortem.sources.reader import Candidate, Found, Reader
from postmortem.sources.setting_names import NAMED_BY_WORDS, NUMERIC, setting_name

NAME = "config"
MOST_SETTINGS = 2_000
LONGEST_TEXT = 500  # characters of one value
LONGEST_LIST = 64  # scalars that are shown as one text
_DOCUMENTS = (".json", ".yaml", ".yml", ".toml")
_TEXTS = re.compile(
    r"(?:.*[_\-.])?(?:opts?|args?|arguments|config|params|hparams|hyperparameters|hyperparams|options|settings|flags|cfg|namespace)(?:_\w+)?\.txt|.*\.(?:args|ini|cfg|flags)"
)
_LIKELY = re.compile(r"config|args|arguments|hparam|param|opt|setting|cfg|hyper|flags|recipe|experiment")
# JSON and YAML files that lie beside runs and configure something else.
_SOFTWARE = (
    "package.json package-lock.json tsconfig.json composer.json cargo.toml pyproject.toml setup.cfg tox.ini pytest.ini mypy.ini mkdocs.yml "
    "docker-compose.yml docker-compose.yaml environment.yml environment.yaml conda.yaml conda.yml codecov.yml dependabot.yml"
)
_TOKENIZERS = (
    "tokenizer.json tokenizer_config.json special_tokens_map.json vocab.json added_tokens.json preprocessor_config.json processor_config.json "
    "chat_template.json feature_extractor_config.json"
)
_DATA_SETS = "dataset_info.json dataset_infos.json dataset_dict.json state.json"
_OTHER_FILES: Mapping[str, Sentence] = {
    **dict.fromkeys(_SOFTWARE.split(), say("it configures software, not a training")),
    **dict.fromkeys(_TOKENIZERS.split(), say("it describes a tokenizer or a preprocessor")),
    **dict.fromkeys(_DATA_SETS.split(), say("it describes a data set")),
    "generation_config.json": say("it is about generating text, not about training"),
    "wandb-metadata.json": say("it is W&B's own bookkeeping"),
    "wandb-summary.json": say("it is W&B's own bookkeeping"),
}
_MEASURED = NUMERIC - {"gradient_clip_norm", "gradient_clip_value", "loss_scale"}  # settings that no word says; of these "adaptive" and the like may
_RESULTS = re.compile(r"(?:.*[_\-.])?(?:results?|metrics|scores?|summary|eval)(?:[_\-].*)?\.(?:json|ya?ml)")
_IGNORED_KEYS = frozenset(
    {"_wandb", "wandb_version", "id2label", "label2id", "transformers_version", "quantization_config", "task_specific_params", "auto_map"}
)
_INDEX_FILE = re.compile(r".*\.index\.json")
_LINE = re.compile(r"\s*-{0,2}([A-Za-z_][\w.\-/]{0,100})\s*[:=]\s*(.*)")
_FLAG = re.compile(r"--([A-Za-z_][\w.\-]{0,100})(?:=|\s+)(\S+)")
_LONGEST_NAMESPACE = 1 << 16  # characters
_PAIR = re.compile(r"([A-Za-z_]\w{0,100})=('[^']{0,500}'|\"[^\"]{0,500}\"|\[[^\]]{0,500}\]|\([^)]{0,500}\)|[^,)]{0,500})")


def claims(candidate: Candidate) -> bool:
    """A JSON, YAML, TOML or INI document, or a text file that is named as a dump of arguments. Whether it configures a training, its content says."""
    name = candidate.name.lower()
    if name.endswith(_DOCUMENTS):
        return not _INDEX_FILE.fullmatch(name)
    return _TEXTS.fullmatch(name) is not None


def read(candidate: Candidate) -> Found:
    """Settings of a configuration; SKIPPED with a reason for a document that is none."""
    name = candidate.name.lower()
    if name in _OTHER_FILES:
        return _skipped(candidate, _OTHER_FILES[name])
    if _RESULTS.fullmatch(name) and not _LIKELY.search(name):
        return _skipped(candidate, say("it holds results, not a configuration"))
    try:
        document = load(candidate.file) if name.endswith(_DOCUMENTS) else _text(candidate)
    except Unreadable as error:
        return Found(Source(candidate.path, NAME, Status.FAILED if _LIKELY.search(name) else Status.SKIPPED, error.why, candidate.size))
    pairs = list(flatten(document))
    settings = settings_of(pairs[:MOST_SETTINGS], candidate.path)
    if isinstance(document, dict) and {"architectures", "model_type"} & document.keys() and "transformers_version" in document:
        # a saved model's configuration: `dtype` is how it is stored, not how it is trained
        settings = tuple(replace(s, name="") if s.name == "precision" else s for s in settings)
    known = sum(1 for s in settings if s.name)
    if not settings:
        return _skipped(candidate, say("it holds no settings"))
    if not known or (known < 2 and not _LIKELY.search(name)):
        return _skipped(candidate, say("none of its keys is a known setting"))
    if len(pairs) > MOST_SETTINGS:
        detail = say("only its first {n:,} settings were read", n=MOST_SETTINGS)
        return Found(Source(candidate.path, NAME, Status.PARTIAL, detail, candidate.size), settings=settings)
    return Found(Source(candidate.path, NAME, Status.READ, None, candidate.size), settings=settings)


def _skipped(candidate: Candidate, reason: Sentence) -> Found:
    return Found(Source(candidate.path, NAME, Status.SKIPPED, reason, candidate.size))


# --- flattening -----------------------------------------------------------------------------------------------------


def flatten(document: Any) -> Iterable[tuple[str, Value]]:
    """(dotted key, value) of every scalar, in order; lists of scalars as one text; at most a few more than `MOST_SETTINGS`."""
    stack: list[tuple[str, Any]] = [("", _unwrapped(document))]
    count = 0
    while stack and count <= MOST_SETTINGS:
        key, node = stack.pop()
        if isinstance(node, dict):
            labels = node.get("id2label")
            if isinstance(labels, dict) and "num_labels" not in node:
                yield f"{key}.num_labels" if key else "num_labels", len(labels)
            inner = [(f"{key}.{k}" if key else str(k), v) for k, v in list(node.items())[: MOST_SETTINGS + 1] if str(k) not in _IGNORED_KEYS]
            stack.extend(reversed(inner))
        elif isinstance(node, list):
            if all(not isinstance(v, dict | list) for v in node):
                count += 1
                yield from _list(key, node)
            else:
                stack.extend(reversed([(f"{key}[{n}]", v) for n, v in enumerate(node[:LONGEST_LIST])]))
        elif key:
            count += 1
            yield key, _value(node)


def _list(key: str, items: list[Any]) -> Iterable[tuple[str, Value]]:
    """A list of scalars. `betas` are two settings; `lr=0.1` in a list is an override as Hydra saves it."""
    if not key and items and all(isinstance(i, str) and "=" in i for i in items):
        for item in items:
            name, _, value = str(item).partition("=")
            yield name.lstrip("+~"), _value(scalar(value))
        return
    leaf = key.rpartition(".")[2].lower()
    if leaf in ("betas", "adam_betas") and len(items) == 2:
        yield f"{key}.beta1", _value(items[0])
        yield f"{key}.beta2", _value(items[1])
        return
    if len(items) == 1 and leaf == "architectures":
        yield key, _value(items[0])
        return
    text = ", ".join(str(_value(i)) for i in items[:LONGEST_LIST])
    yield key, f"[{text}{', …' if len(items) > LONGEST_LIST else ''}]"[:LONGEST_TEXT]


def _value(node: Any) -> Value:
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, int):
        return node if abs(node) < 1 << 63 else float(node) if node.bit_length() < 1000 else math.copysign(math.inf, node)
    if isinstance(node, float):
        return node
    return "".join(c if c.isprintable() else " " for c in seen(str(node)[:LONGEST_TEXT]))


def _unwrapped(document: Any) -> Any:
    """W&B writes `{key: {desc: …, value: …}}`."""
    if not isinstance(document, dict):
        return document
    nested = [v for k, v in document.items() if k not in ("_wandb", "wandb_version")]
    if nested and all(isinstance(v, dict) and "value" in v and v.keys() <= {"desc", "value"} for v in nested):
        return {k: v["value"] for k, v in document.items() if isinstance(v, dict) and "value" in v}
    return document


def settings_of(pairs: Iterable[tuple[str, Value]], file: str) -> tuple[Setting, ...]:
    """Settings with canonical names. Of several keys with one name the one that says something keeps it, then the first.

    A number in quotes counts as that number where the key is known.
    """
    out: list[Setting] = []
    best: dict[str, int] = {}
    for key, value in pairs:
        name = setting_name(key)
        if name and isinstance(value, str):
            value = _number_in_text(value)  # noqa: PLW2901
        if (
            value == "auto"
            or (name in _MEASURED and isinstance(value, str))
            or (name in NAMED_BY_WORDS and isinstance(value, int | float) and not isinstance(value, bool))
        ):
            name = ""
        out.append(Setting(name, key, value, file))
        if not name:
            continue
        index = len(out) - 1
        rival = best.get(name)
        loses = rival if rival is None or _weight(out[rival]) < _weight(out[index]) else index
        if loses != index:
            best[name] = index
        if loses is not None:
            lost = out[loses]
            out[loses] = Setting("", lost.key, lost.value, lost.file)
    return tuple(out)


def _number_in_text(text: str) -> Value:
    value = scalar(text)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def _weight(setting: Setting) -> int:
    """2: a value; 1: off (0, False); 0: nothing."""
    off = ("", "no", "none", "off", "null", "false")
    if setting.value is None or (isinstance(setting.value, str) and setting.value.lower() in off):
        return 0
    return 1 if setting.value in (0, False) else 2


# --- text dumps -----------------------------------------------------------------------------------------------------


def _text(candidate: Candidate) -> Any:
    """An INI file, `key: value` lines, `Namespace(…)`, or a command line. Raises `Unreadable`."""
    try:
        if candidate.size > LARGEST_CONFIG:
            raise Unreadable(say("it is larger than {n} MiB", n=LARGEST_CONFIG >> 20))
        text = head_text(candidate.file.read_bytes())
    except OSError as error:
        raise Unreadable(say("it could not be read: {why}", why=error.strerror or say("an input error"))) from error
    body = text.lstrip()
    if body.startswith(("{", "- ")):
        from postmortem.sources.documents import json_of, yaml_of

        return json_of(body.encode()) if body.startswith("{") and '"' in body[:200] else yaml_of(body.encode())
    if candidate.name.lower().endswith((".ini", ".cfg")) and body.startswith("["):
        return _ini(body)
    namespace = re.search(r"\w{0,40}Namespace\(", body[:200])
    if namespace:
        return {m[1]: scalar(m[2].strip("'\"")) for m in _PAIR.finditer(body, namespace.end(), _LONGEST_NAMESPACE)}
    out: dict[str, Any] = {}
    for line in text.splitlines()[: 4 * MOST_SETTINGS]:
        match = _LINE.fullmatch(line[:2000])
        if match:
            out[match[1]] = scalar(match[2].partition("[default:")[0].strip().strip("'\""))
    if not out:
        out = {m[1]: scalar(m[2].strip("'\"")) for m in _FLAG.finditer(text[: 1 << 16])}
    return out


def _ini(text: str) -> dict[str, dict[str, Any]]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except (configparser.Error, ValueError) as error:
        raise Unreadable(say("it is no INI file")) from error
    return {section: {key: scalar(value or "") for key, value in parser.items(section)} for section in parser.sections()}


READER = Reader(NAME, claims, read)
