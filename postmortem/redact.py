"""Secrets, home paths, host and user names out of a run before anything is measured, so that no output can leak them.

Names are replaced by pseudonyms that are stable within a run (`user-1`, `host-1`), secrets by `***`.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

from postmortem.model.run import Checkpoint, LogEvent, Run, Setting, Source
from postmortem.model.sentence import Sentence, Value

# Words of a key whose value is a secret. Matched as whole words, so that `tokenizer` and `max_tokens` are none.
_SECRET_KEYS = re.compile(
    r"(?:^|[._\- ])(?:api[_\-]?key|secret|secret[_\-]?key|password|passwd|access[_\-]?token|auth[_\-]?token|hf[_\-]?token|token|credentials?)(?:$|[._\- ])",
    re.IGNORECASE,
)
_SECRETS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|sk-[A-Za-z0-9_\-]{20,}|AKIA[0-9A-Z]{16}|xox[baprs]-[A-Za-z0-9\-]{10,}"
    r"|eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{5,}|glpat-[A-Za-z0-9_\-]{20})"
)
_ASSIGNED = re.compile(
    r"(?i)\b((?:wandb_|hf_|aws_|openai_|[a-z]{1,20}_)?(?:api_?key|secret(?:_?(?:access)?_?key)?|password|passwd|(?:access_|auth_|hf_)?token))(\s{0,3}[=:]\s{0,3})([^\s,;'\"]{6,200})"
)
_URL_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.\-]{1,20}://)[^/\s:@]{1,100}:[^/\s@]{1,200}@")
_HOME = re.compile(r"(/(?:home|Users|data/home|export/home|scratch|gpfs/home|nfs/home)/)([A-Za-z0-9][A-Za-z0-9._\-]{0,63})(?=/|\b)")
_WINDOWS_HOME = re.compile(r"([A-Za-z]:\\{1,2}Users\\{1,2})([^\\\s:*?\"<>|]{1,64})")
_EMAIL = re.compile(r"\b[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,64}(?:\.[A-Za-z0-9\-]{1,64}){1,4}\b")
_ADDRESS = re.compile(r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b(?!\.\d)")
_USER_AT_HOST = re.compile(r"\b([a-z_][a-z0-9_\-]{0,31})@([a-zA-Z0-9][a-zA-Z0-9\-]{1,62})(?=[:\s\]])")
_HOST_KEYS = frozenset({"host", "hostname", "node", "nodename", "nodelist", "slurm_nodelist", "master_addr"})
_USER_KEYS = frozenset({"user", "username", "email", "mlflow.user", "mail_user"})
_EVENT_FILE_HOST = re.compile(r"(events\.out\.tfevents\.\d{6,14}\.)([^/]{1,100}?)(?=(?:\.\d+){0,3}(?:\.v2)?(?:/|$|,))")


class Pseudonyms:
    """Stable names within one run: the first user that is met is `user-1`, the next `user-2`."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {}

    def of(self, kind: str, name: str) -> str:
        """The pseudonym of a name."""
        known = self._names.setdefault(kind, {})
        return known.setdefault(name, f"{kind}-{len(known) + 1}")


def redact(run: Run) -> Run:
    """The same run without secrets, home paths, host, user and mail names in any text that a report could show."""
    names = Pseudonyms()

    def text(raw: str) -> str:
        return clean(raw, names)

    def setting(one: Setting) -> Setting:
        return replace(one, value=_value(one.key, one.value, names), file=text(one.file))

    return replace(
        run,
        name=text(run.name),
        sources=tuple(_source(s, text) for s in run.sources),
        series=tuple(replace(s, source=text(s.source)) for s in run.series),
        events=tuple(_event(e, text) for e in run.events),
        settings=tuple(setting(s) for s in run.settings),
        checkpoints=tuple(_checkpoint(c, text, setting) for c in run.checkpoints),
        earlier=tuple(
            replace(r, series=tuple(replace(s, source=text(s.source)) for s in r.series), settings=tuple(setting(s) for s in r.settings))
            for r in run.earlier
        ),
    )


def clean(raw: str, names: Pseudonyms) -> str:
    """One text without secrets and names."""
    if not raw:
        return raw
    out = _SECRETS.sub("***", raw)
    out = _ASSIGNED.sub(r"\1\2***", out)
    out = _URL_LOGIN.sub(r"\1***@", out)
    out = _EMAIL.sub(lambda m: names.of("mail", m.group()), out)
    out = _HOME.sub(lambda m: m.group(1) + names.of("user", m.group(2)), out)
    out = _WINDOWS_HOME.sub(lambda m: m.group(1) + names.of("user", m.group(2)), out)
    out = _USER_AT_HOST.sub(lambda m: f"{names.of('user', m.group(1))}@{names.of('host', m.group(2))}", out)
    out = _EVENT_FILE_HOST.sub(lambda m: m.group(1) + names.of("host", m.group(2)), out)
    return _ADDRESS.sub(lambda m: m.group() if m.group().startswith(("127.", "0.0.")) else names.of("address", m.group()), out)


def _value(key: str, value: Value, names: Pseudonyms) -> Value:
    if not isinstance(value, str):
        return (
            "***"
            if value is not None and not isinstance(value, bool | float) and _SECRET_KEYS.search(key) and isinstance(value, int) and value > 10**6
            else value
        )
    leaf = key.rpartition(".")[2].lower()
    if _SECRET_KEYS.search(key) and value:
        return "***"
    if leaf in _HOST_KEYS and value:
        return names.of("host", value)
    if (leaf in _USER_KEYS or key.lower() in _USER_KEYS) and value:
        return names.of("user", value)
    return clean(value, names)


def _sentence(sentence: Sentence | None, text: Callable[[str], str]) -> Sentence | None:
    if sentence is None:
        return None
    return Sentence(sentence.template, MappingProxyType({k: text(v) if isinstance(v, str) else v for k, v in sentence.values.items()}))


def _source(source: Source, text: Callable[[str], str]) -> Source:
    return replace(source, path=text(source.path), detail=_sentence(source.detail, text))


def _event(event: LogEvent, text: Callable[[str], str]) -> LogEvent:
    data = MappingProxyType({k: text(v) if isinstance(v, str) else v for k, v in event.data.items()})
    return replace(event, text=text(event.text), source=text(event.source), data=data)


def _checkpoint(checkpoint: Checkpoint, text: Callable[[str], str], setting: Callable[[Setting], Setting]) -> Checkpoint:
    """Tensor references keep their true file names: those are opened, and never shown."""
    facts = MappingProxyType({k: text(v) if isinstance(v, str) else v for k, v in checkpoint.facts.items()})
    return replace(
        checkpoint, path=text(checkpoint.path), detail=_sentence(checkpoint.detail, text), settings=tuple(setting(s) for s in checkpoint.settings), facts=facts,
        files=tuple(text(f) for f in checkpoint.files),
    )  # fmt: skip
