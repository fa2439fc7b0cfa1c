"""Hyper-parameters and environment that two runs do not share."""

import math
import re
from collections.abc import Mapping

from postmortem.measure.words import words_of
from postmortem.model.comparison import SettingDifference
from postmortem.model.evidence import Evidence
from postmortem.model.run import Setting
from postmortem.model.sentence import Value

MOST = 60
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ENVIRONMENT = frozenset(
    words_of(
        "version versions cuda cudnn torch pytorch tensorflow jax keras python host hostname node nodes gpu gpus device devices platform driver "
        "world workers git commit sha branch os cpu backend compile compiled tf32 deterministic local rank"
    )
)
# Names of places, runs and records: these differ between any two runs and explain nothing.
_BOOKKEEPING = frozenset(
    words_of(
        "dir directory path paths file files folder output out name id uuid run time timestamp date created started log logs logging save saved "
        "saving report wandb project tags notes user url port pid exp experiment resume checkpoint ckpt hub tensorboard comment best runtime elapsed"
    )
)
# Named alike by the vocabulary, yet results of a run or descriptions of its files.
_RESULTS = frozenset({"parameters", "trainable_parameters", "log_every"})
_OFF = ("", "none", "null", "false", "no", "off")


def differing(good: Evidence, bad: Evidence) -> tuple[SettingDifference, ...]:
    """What differs: hyper-parameters first, then the environment, then what the vocabulary does not know.

    A setting is the same when both runs state the same value under the same canonical name, or under the same key. One that only one run
    states is listed where the vocabulary knows it and the other run states settings at all, or where the other run has the same file with
    mostly the same keys: then one program wrote both, and leaves out what is at its default.
    """
    shared = _shared_files(good, bad)
    ours, theirs = _by_name(good), _by_name(bad)
    out: list[SettingDifference] = []
    for ident in dict.fromkeys((*ours, *theirs)):
        a, b = ours.get(ident), theirs.get(ident)
        if a is not None and b is not None:
            if not same(a.value, b.value):
                out.append(SettingDifference(a.name or b.name, a.key, a.value, b.value, _kind(a)))
        elif (one := a or b) is not None and (one.name or _leaf(one.file) in shared) and ours and theirs and not _is_off(one.value):
            missing = "bad" if a is not None else "good"
            out.append(SettingDifference(one.name, one.key, a.value if a else None, b.value if b else None, _kind(one), missing))
    if good.framework and bad.framework and good.framework != bad.framework:
        out.append(SettingDifference("framework", "framework", good.framework, bad.framework, "environment"))
    rank = {"hyper-parameter": 0, "environment": 1, "other": 2}
    return tuple(sorted(out, key=lambda d: (rank[d.kind], bool(d.missing)))[:MOST])


ONE_WRITER = 0.7  # share of the keys of two files that both have


def _shared_files(good: Evidence, bad: Evidence) -> frozenset[str]:
    """Names of files that one and the same program wrote for both runs."""
    ours, theirs = _keys(good), _keys(bad)
    alike = {name: len(ours[name] & theirs[name]) / len(ours[name] | theirs[name]) for name in ours.keys() & theirs.keys() if name}
    return frozenset(name for name, share in alike.items() if share >= ONE_WRITER)


def _keys(evidence: Evidence) -> Mapping[str, set[str]]:
    out: dict[str, set[str]] = {}
    for setting in evidence.settings:
        out.setdefault(_leaf(setting.file), set()).add(setting.key)
    return out


def _leaf(file: str) -> str:
    return file.rpartition("/")[2]


def same(a: Value, b: Value) -> bool:
    """Whether two values say the same: 1e-3 and "0.001", 5 and 5.0, none and false, "AdamW" and "adamw"."""
    x, y = _plain(a), _plain(b)
    if isinstance(x, float) and isinstance(y, float):
        return x == y or abs(x - y) <= 1e-9 * max(abs(x), abs(y)) or (math.isnan(x) and math.isnan(y))
    return x == y


def _plain(value: Value) -> float | str:
    if value is None or value is False:
        return "none"
    if value is True:
        return "true"
    if isinstance(value, int | float):
        return float(value)
    text = value.strip().lower()
    if text in _OFF:
        return "none"
    try:
        return float(text)
    except ValueError:
        return text


def _is_off(value: Value) -> bool:
    return _plain(value) == "none"


def _by_name(evidence: Evidence) -> Mapping[str, Setting]:
    out: dict[str, Setting] = {}
    for setting in evidence.settings:
        words = set(words_of(setting.key))
        if setting.name in _RESULTS or (not setting.name and words & _BOOKKEEPING):
            continue
        out.setdefault(setting.name or ".".join(_CAMEL.sub("_", part).lower() for part in setting.key.split(".")[-2:]), setting)
    return out


def _kind(setting: Setting) -> str:
    if setting.name == "seed":
        return "other"  # luck: it explains noise, not a fault
    if setting.name:
        return "environment" if setting.name == "gpus" else "hyper-parameter"
    return "environment" if set(words_of(setting.key)) & _ENVIRONMENT else "other"
