"""Secrets, home paths, host and user names out of a run before anything is measured, so that no output can leak them.

Names are replaced by pseudonyms that are stable within a run (`user-1`, `host-1`), secrets by `***`.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from postmortem.model.run import Checkpoint, LogEvent, Run, Setting, Source
from postmortem.model.sentence import Sentence, Value
from postmortem.model.text import seen

_HEX_KEY = re.compile(r"[0-9a-fA-F]{40}")
_SECRETS = re.compile(
    r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{20,200}|gh[pousr]_[A-Za-z0-9]{20,200}|github_pat_[A-Za-z0-9_]{20,200}|glpat-[A-Za-z0-9_\-]{20,200}"
    r"|sk-[A-Za-z0-9_\-]{20,200}|A(?:KIA|SIA)[0-9A-Z]{16}|AIza[A-Za-z0-9_\-]{30,40}|xox[baprs]-[A-Za-z0-9\-]{10,200}|wandb_v\d_[A-Za-z0-9_]{20,200}"
    r"|eyJ[A-Za-z0-9_\-]{10,2000}\.[A-Za-z0-9_\-]{10,2000}\.[A-Za-z0-9_\-]{5,2000}|npm_[A-Za-z0-9]{30,80}|dckr_pat_[A-Za-z0-9_\-]{20,80}"
    r"|pypi-[A-Za-z0-9_\-]{40,400}|ya29\.[A-Za-z0-9_\-]{20,400}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,200}|SG\.[A-Za-z0-9_\-]{16,40}\.[A-Za-z0-9_\-]{30,80}"
    r"|hvs\.[A-Za-z0-9_\-]{20,200}|nvapi-[A-Za-z0-9_\-]{20,200}|dop_v1_[a-f0-9]{40,80}|AGE-SECRET-KEY-1[A-Z0-9]{40,70}|glsa_[A-Za-z0-9_]{20,80}"
    r"|hooks\.slack\.com/services/[A-Za-z0-9/]{10,200}|discord(?:app)?\.com/api/webhooks/[A-Za-z0-9_/\-]{10,200}|(?:bot)?\d{8,10}:AA[A-Za-z0-9_\-]{30,40})"
)
# Also one that is encrypted, PGP's, or cut off; and a line of one whose head stands elsewhere.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,16000}(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_LINE_OF_KEY = re.compile(r"^(?=[^a-z\n]{0,63}[a-z])(?=[^A-Z\n]{0,63}[A-Z])[A-Za-z0-9+/]{64}$", re.MULTILINE)
# `WANDB_API_KEY=…`, `"api_key": "…"`, `--password …`. What only ends in "token" must look like one: not `pad_token: <pad>`.
_SURE = (
    r"api[_\-]?key|(?:access|secret|private|encryption|ssh|signing|license|client)[_\-]?key(?:[_\-]?(?:id|data))?|secret|password|passwd|passphrase"
    r"|(?:client|app|consumer)[_\-]?secret|(?:db|mysql|postgres|pg|smtp|mail|redis|ftp|ssh|root|admin|user|login)[_\-]?pass|redis(?:cli)?_auth"
    r"|(?:access|auth|bearer|refresh|session)[_\-]?token|credentials?|signature|(?:account|shared[_\-]?access)[_\-]?key|pgpassword|mysql_pwd|sshpass"
    r"|pwd(?=\\{0,4}[\"']?\s{0,8}[=:]\s{0,8}\\{0,4}[\"']?[^/~\s$.])"  # not the working directory
)
_IS = r"\\{0,4}[\"']?\s{0,8}(?::=|[=:]>?)\s{0,8}(?:[|>][+-]?\s{0,2}\n\s{0,16})?\\{0,4}[\"']?"  # what stands between a key and its value
# A value may hold `&` unless it parts the parameters of an address, and a comma unless another key follows: `X-Amz-Signature=…&b=1`.
_ASSIGNED = re.compile(
    rf"(?i)((?<![A-Za-z])(?:{_SURE}){_IS}|--[a-z_\-]{{0,30}}(?:{_SURE}|token)[= ][\"']?)"
    r"([^\s,;'\"&]{4,400}(?:&[^\s,;'\"&=]{1,100}(?![^\s,;'\"&]|=))?|[^\s,;'\"&]{1,400},[^\s,;'\"&=:]{1,100}(?![^\s,;'\"&]|[=:]))"
)
# The same where the value stands in quotes and has blanks: `password = "correct horse"`.
_QUOTED = re.compile(rf"(?i)((?<![A-Za-z])(?:{_SURE})\\?[\"']?\s{{0,8}}(?::=|[=:]>?)\s{{0,8}}([\"']))(?:(?!\2)[^\\\n]|\\[^\n]){{4,400}}(?=\2)")
# In running text and in `.netrc`: `with password X`, `login bob password X`.
_SAID = re.compile(
    r"(?i)((?<![A-Za-z])(?:password|passwd|passphrase)\s{1,4}(?:is\s{1,4})?[\"']?)(?=[^\s\"']{0,60}\d)(?=[^\s\"']{0,60}[a-z])[^\s\"',;]{6,200}"
)
_NETRC = re.compile(r"(\blogin\s{1,4}\S{1,100}\s{1,16}password\s{1,4})\S{1,200}")
# What a request or a command carries: `Authorization: Basic …`, cookies, `curl -u user:password`, `mysql -p…`, signatures in addresses.
_CARRIED = re.compile(
    r"(?i)((?<![A-Za-z])authorization\\{0,4}[\"']?\s{0,3}[=:]\s{0,3}\\{0,4}[\"']?(?:basic|token|apikey|negotiate|ntlm)\s{1,3}"
    r"|(?<![A-Za-z])cookie[\"']?:\s{0,3}[\"']?"
    r"|\bcurl\s[^\n]{0,120}?-(?:u|-user|b|-cookie)[= ]?[\"']?|\b(?:mysql|mariadb)[a-z\-]{0,12}\s(?:[^\n]{0,160}?\s)?-p[\"']?"
    r"|\bsshpass\s{1,3}-p\s{0,3}[\"']?|\bdocker\s{1,3}login\s[^\n]{0,160}?-p\s{1,3}[\"']?|\s-pass(?:in|out)?\s{1,3}pass:"
    r"|(?<![A-Za-z_])auth\s{0,3}=\s{0,3}\(\s{0,3}[\"'][^\"'\n]{1,100}[\"'],\s{0,3}[\"']|HTTP(?:Basic|Digest)Auth\(\s{0,3}[\"'][^\"'\n]{1,100}[\"'],\s{0,3}[\"']"
    r"|\blogin\([\"']|webhook\.office\.com/|[?&](?:sig|sas|key)=)[^\s\"'&,]{4,2000}"
)
_CARRIED_WHOLE = re.compile(
    r"(?i)((?<![A-Za-z])authorization\\{0,4}[\"']?\s{0,3}[=:]\s{0,3}\\{0,4}[\"']?digest\s{1,3})[^\n]{4,2000}"
    r"|((?<![A-Za-z])cookies?[\"']?\s{0,3}[=:]\s{0,3})\{[^}\n]{1,2000}\}"
)
# Words that mean other things as well: their value must look like a secret, with a digit or a sign among its letters.
_GUARDED = r"(?=[^\s,;'\"&]{0,60}[A-Za-z])(?=[^\s,;'\"&]{0,60}[\d!@#$%^*+?~])[^\s,;'\"&()\[\]{}]{6,400}"
_PERHAPS = re.compile(rf"(?i)((?<![A-Za-z])(?<![A-Za-z][._\-])(?:pass|auth|pin){_IS})({_GUARDED})")
_ONE_TIME = re.compile(
    rf"(?i)((?<![A-Za-z])(?:t?otp|(?:mfa|otp|2fa)[_\-]?(?:code|token)|one[_\-]time[_\-](?:code|password)){_IS})[A-Za-z0-9\-]{{4,64}}"
)
_TOKEN = re.compile(r"(?i)((?<![A-Za-z])token[\"']?\s{0,3}[=:]\s{0,3}[\"']?)((?=[^\s,;'\"]{0,60}\d)[A-Za-z0-9_\-.+/=]{12,400})")
_NUMBER = re.compile(r"[-+]?[\d.,]+(?:e[-+]?\d+)?", re.IGNORECASE)
_WANDB = re.compile(r"(?i)(wandb[^\n]{0,40}?)(?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])")
_BEARER = re.compile(r"(?i)\b(bearer\s{1,3})[A-Za-z0-9_\-.+/=]{12,2000}")
_URL_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.\-]{1,20}://)[^/\s@'\"]{1,300}@([A-Za-z0-9.\-]{1,200})")
_HOME = re.compile(r"(/(?:home|Users|scratch)/)([A-Za-z0-9][A-Za-z0-9._\-]{0,63})(?=/|\b)")
_WINDOWS_HOME = re.compile(r"([A-Za-z]:\\{1,2}Users\\{1,2})([^\\/:*?\"<>|\n]{1,64}(?=\\)|[^\\/\s:*?\"<>|]{1,64})")
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,64}(?:\.[A-Za-z0-9\-]{1,64}){0,3}\.[A-Za-z]{2,24}(?![A-Za-z0-9\-])"
)
_ADDRESS = re.compile(r"(?<![\w.=\-])(?<!ersion )(?<!ersion: )(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.]*\w\.?\d|\w)")
_ADDRESS_6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-fA-F:]{0,39}\d)(?:(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"
    r"|(?:[0-9a-fA-F]{1,4}:){1,5}(?::[0-9a-fA-F]{1,4}){2,6}|(?:[0-9a-fA-F]{1,4}:){2,6}:[0-9a-fA-F]{1,4})(?![\w:])"
)
# A prompt, or a host that has a digit; `recall@10` and `acc@top5` are metrics.
_USER_AT_HOST = re.compile(
    r"(?<![A-Za-z0-9._\-@])(?!(?:acc|accuracy|r|p|k|recall|precision|hits?|map|m?ap|ndcg|mrr|pass|top|iou|auc|f1|err|error|score)@)"
    r"([A-Za-z_][A-Za-z0-9_.\-]{0,63})@(?:([A-Za-z0-9][A-Za-z0-9\-]{1,62})(?=:[~/])"
    r"|((?=[A-Za-z0-9\-]{0,62}\d)(?=[0-9\-]{0,62}[A-Za-z])[A-Za-z0-9][A-Za-z0-9\-]{1,62})(?=[:\s\]]|$))"
)
_HOST_SAID = re.compile(
    r"(?i)((?<![A-Za-z])(?:hostname|host_name|nodename|node_name|(?:[a-z]{1,10}_){0,3}(?:nodelist|node_list)|slurmd_nodename|master_addr)[\"']?\s{0,3}[=:]\s{0,3}[\"']?)"
    r"(?!localhost)([a-z][a-z0-9.\-]{1,62}(?:\[[0-9,\-]{1,60}\])?)"
)
_HOST_OF_SLURM = re.compile(r"(srun: error: |(?:STEP|JOB) [\w.\[\]\-]{1,40} ON )([A-Za-z][A-Za-z0-9.\-]{0,62})(?=: task| CANCELLED|: )")
_USER_SAID = re.compile(r"((?<![A-Za-z])(?:SLURM_JOB_USER|USER|LOGNAME|USERNAME)=)([A-Za-z][\w.\-]{1,31})")
_LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u0501\u04bb\u051b\u051d\u04cf\u043a\u043c\u0442\u0410\u0412\u0415\u041a\u041c\u041d"
    "\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0405\u0408\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u0391\u0392\u0395\u0396\u0397\u0399"
    "\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u0131\u0251\u0261",
    "aeopcyxisjdhqwlkmtABEKMHOPCTYXISJaeikvoptuxABEZHIKMNOPTYXiag",
)
_HOST_KEYS = frozenset({"host", "hostname", "node", "nodename", "nodelist", "slurm_nodelist", "slurm_job_nodelist", "master_addr"})
_USER_KEYS = frozenset({"user", "username", "email", "mlflow.user", "mail_user"})
_EVENT_FILE_HOST = re.compile(r"(events\.out\.tfevents\.\d{6,14}\.)([^/\s'\",:)]{1,100}?)(?=(?:\.\d{1,12}){0,3}(?:\.v2)?(?:[/\s'\",:)]|$))")
# Words of a key whose value is a secret, whole: `tokenizer` and `max_tokens` are none.
_KEY_WORDS = re.compile(r"[._\- /]+|(?<=[a-z0-9])(?=[A-Z])")
_SECRET_WORDS = frozenset({"password", "passwd", "passphrase", "apikey", "credential", "credentials", "authorization", "cookie", "cookies"})
_KINDS_OF_KEY = frozenset({"api", "access", "secret", "private", "encryption", "ssh", "signing", "license", "client", "account"})
_KINDS_OF_PASS = frozenset({"db", "mysql", "postgres", "pg", "smtp", "mail", "redis", "ftp", "ssh", "root", "admin", "user", "login"})
_KINDS_OF_TOKEN = frozenset({"access", "auth", "api", "bearer", "refresh", "session", "hf", "hub", "wandb", "github", "gitlab", "slack"})
# Names that are too common to be looked for in running text.
_COMMON = frozenset({
    "root", "user", "users", "home", "admin", "ubuntu", "data", "work", "test", "train", "model", "models", "runs", "team", "shared",
    "public", "guest", "adam", "lion", "muon", "node", "host", "local", "localhost", "server", "runner", "loss", "checkpoint",
    "checkpoints", "python", "conda", "docker", "none", "main",
})  # fmt: skip
_SHORTEST = 4  # characters of a name that is looked for in running text


class Pseudonyms:
    """Stable names within one run: the first user that is met is `user-1`, the next `user-2`."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {}
        self._anywhere: re.Pattern[str] | None = None
        self._of: dict[str, str] = {}

    def of(self, kind: str, name: str) -> str:
        """The pseudonym of a name."""
        known = self._names.setdefault(kind, {})
        return known.setdefault(name, f"{kind}-{len(known) + 1}")

    def look_everywhere(self) -> None:
        """From now on names that are known are found wherever they stand as words of their own, such as in a file's name."""
        self._of = {
            name: pseudonym
            for kind in ("user", "host")
            for name, pseudonym in self._names.get(kind, {}).items()
            if len(name) >= _SHORTEST and name.lower() not in _COMMON and (kind == "user" or any(c.isdigit() or c in ".-" for c in name))
        }
        names = "|".join(map(re.escape, sorted(self._of, key=len, reverse=True)))
        self._anywhere = re.compile(rf"(?<![A-Za-z0-9])(?:{names})(?![A-Za-z0-9])") if names else None

    def anywhere(self, raw: str) -> str:
        """`raw` with known names replaced."""
        return self._anywhere.sub(lambda m: self._of[m.group()], raw) if self._anywhere else raw


def redact(run: Run) -> Run:
    """The same run without secrets, home paths, host, user and mail names in any text that a report could show."""
    names = Pseudonyms()
    _redacted(run, names)  # who is there is known only at the end
    names.look_everywhere()
    return _redacted(run, names)


def _redacted(run: Run, names: Pseudonyms) -> Run:
    def text(raw: str) -> str:
        return clean(raw, names)

    def setting(one: Setting) -> Setting:
        return replace(one, key=text(one.key), value=_value(one.key, one.value, names), file=text(one.file))

    return replace(
        run,
        name=text(run.name),
        sources=tuple(_source(s, text) for s in run.sources),
        series=tuple(replace(s, name=text(s.name), logged_as=text(s.logged_as), source=text(s.source)) for s in run.series),
        left_out=tuple(
            replace(s, name=text(s.name), logged_as=text(s.logged_as), source=text(s.source), why=_sentence(s.why, text) or s.why)
            for s in run.left_out
        ),
        histograms=tuple(replace(h, source=text(h.source)) for h in run.histograms),
        events=tuple(_event(e, text) for e in run.events),
        settings=tuple(setting(s) for s in run.settings),
        checkpoints=tuple(_checkpoint(c, text, setting) for c in run.checkpoints),
        earlier=tuple(_redacted(r, names) for r in run.earlier),
    )


def clean(raw: str, names: Pseudonyms) -> str:
    """One text without secrets and names. What stands within a word and is not seen hides none: it goes where something is replaced."""
    if not raw:
        return raw
    if not raw.isascii() or "\x1b" in raw:
        plain = bare(raw)
        if plain != raw:
            out = _clean(plain, names)
            return raw if out == plain else out
    return _clean(raw, names)


def bare(text: str) -> str:
    """Without colours, marks of zero width and soft hyphens, and with wide letters and signs as plain ones (Unicode's NFKC), as are Cyrillic
    and Greek ones that look like Latin ones."""
    return unicodedata.normalize("NFKC", seen(text)).translate(_LOOKALIKES)


def _clean(raw: str, names: Pseudonyms) -> str:
    out = _SECRETS.sub("***", raw)
    if "-----BEGIN" in out:
        out = _PRIVATE_KEY.sub("***", out)
    if len(out) >= 64:
        out = _LINE_OF_KEY.sub("***", out)
    out = _URL_LOGIN.sub(lambda m: f"{m.group(1)}***@{names.of('host', m.group(2))}", out)
    out = _BEARER.sub(r"\1***", out)
    out = _WANDB.sub(r"\1***", out)
    out = _CARRIED_WHOLE.sub(lambda m: (m.group(1) or m.group(2)) + "***", out)
    out = _CARRIED.sub(r"\1***", out)
    if "login" in out:
        out = _NETRC.sub(r"\1***", out)
    if "pass" in out or "PASS" in out or "Pass" in out:
        out = _SAID.sub(r"\1***", out)
    out = _QUOTED.sub(r"\1***", out)
    out = _ASSIGNED.sub(r"\1***", out)
    out = _TOKEN.sub(lambda m: m.group() if _NUMBER.fullmatch(m.group(2)) else m.group(1) + "***", out)
    out = _PERHAPS.sub(lambda m: m.group() if _NUMBER.fullmatch(m.group(2)) else m.group(1) + "***", out)
    out = _ONE_TIME.sub(r"\1***", out)
    if "@" in out:
        out = _EMAIL.sub(lambda m: names.of("mail", m.group()), out)
        out = _USER_AT_HOST.sub(lambda m: f"{names.of('user', m.group(1))}@{names.of('host', m.group(2) or m.group(3))}", out)
    out = _HOME.sub(lambda m: m.group(1) + names.of("user", m.group(2)), out)
    out = _WINDOWS_HOME.sub(lambda m: m.group(1) + names.of("user", m.group(2)), out)
    out = _USER_SAID.sub(lambda m: m.group(1) + names.of("user", m.group(2)), out)
    out = _HOST_SAID.sub(lambda m: m.group(1) + names.of("host", m.group(2)), out)
    out = _HOST_OF_SLURM.sub(lambda m: m.group(1) + names.of("host", m.group(2)), out)
    out = _EVENT_FILE_HOST.sub(lambda m: m.group(1) + names.of("host", m.group(2)), out)
    out = _ADDRESS.sub(lambda m: m.group() if m.group().startswith(("127.", "0.0.")) else names.of("address", m.group()), out)
    out = _ADDRESS_6.sub(lambda m: names.of("address", m.group()), out)
    return names.anywhere(out)


def _value(key: str, value: Value, names: Pseudonyms) -> Value:
    secret = _is_secret(key, value)
    if not isinstance(value, str):
        return "***" if secret and isinstance(value, int) and not isinstance(value, bool) else value
    leaf = key.rpartition(".")[2].lower()
    if secret and value:
        return "***"
    if leaf in _HOST_KEYS and value and not _NUMBER.fullmatch(value) and not value.startswith(("127.", "0.0.", "localhost")):
        cleaned = clean(value, names)  # a list of hosts, an address
        return cleaned if cleaned != value else names.of("host", value)
    if (leaf in _USER_KEYS or key.lower() in _USER_KEYS) and value and "@" not in value:
        return names.of("user", value)
    if leaf.endswith("version"):
        return value
    return clean(value, names)


def _is_secret(key: str, value: Value) -> bool:
    """Whether a setting's value is a secret, by its key: `wandb.api_key`, `hub_token`; not `pad_token`, `token_dim`, `num_tokens`."""
    words = [w.lower() for w in _KEY_WORDS.split(key if key.isascii() else bare(key)) if w]
    if not words:
        return False
    if not _SECRET_WORDS.isdisjoint(words) or words[-1] == "secret":
        return True
    if any(b == "key" and a in _KINDS_OF_KEY for a, b in pairwise(words)):
        return True
    if words[-1] == "pass" and len(words) > 1 and words[-2] in _KINDS_OF_PASS:
        return True
    if words[-1] in ("otp", "totp"):
        return True
    if words[-1] in ("pass", "auth", "pin") and isinstance(value, str) and re.fullmatch(_GUARDED, value) and not _NUMBER.fullmatch(value):
        return True
    if words[-1] == "pwd" and isinstance(value, str) and not value.startswith(("/", "~", ".", "$")):
        return True
    if words[-1] == "key" and isinstance(value, str) and _HEX_KEY.fullmatch(value):
        return True
    if words[-1] != "token" or not isinstance(value, str):
        return False
    return (
        len(words) == 1
        or words[-2] in _KINDS_OF_TOKEN
        or (len(value) >= 12 and value.isascii() and any(c.isdigit() for c in value) and " " not in value)
    )


def _sentence(sentence: Sentence | None, text: Callable[[str], str]) -> Sentence | None:
    if sentence is None:
        return None
    values = {k: text(v) if isinstance(v, str) else _sentence(v, text) if isinstance(v, Sentence) else v for k, v in sentence.values.items()}
    return Sentence(sentence.template, MappingProxyType(values))


def _source(source: Source, text: Callable[[str], str]) -> Source:
    return replace(source, path=text(source.path), detail=_sentence(source.detail, text))


def _event(event: LogEvent, text: Callable[[str], str]) -> LogEvent:
    data = MappingProxyType({k: text(v) if isinstance(v, str) else v for k, v in event.data.items()})
    return replace(event, text=text(event.text), source=text(event.source), data=data)


def _checkpoint(checkpoint: Checkpoint, text: Callable[[str], str], setting: Callable[[Setting], Setting]) -> Checkpoint:
    """Tensor references keep their true file names: those are opened, and never shown."""
    facts = MappingProxyType({k: text(v) if isinstance(v, str) else v for k, v in checkpoint.facts.items()})
    optimizer = checkpoint.optimizer and replace(checkpoint.optimizer, source=text(checkpoint.optimizer.source))
    return replace(
        checkpoint,
        optimizer=optimizer,
        path=text(checkpoint.path),
        detail=_sentence(checkpoint.detail, text),
        settings=tuple(setting(s) for s in checkpoint.settings),
        facts=facts,
        files=tuple(text(f) for f in checkpoint.files),
    )
