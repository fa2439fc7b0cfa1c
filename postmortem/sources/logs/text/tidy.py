"""The shape of a line made ready for the grammar: which shapes count something else than training, and what is left without quotes, wrappers,
pictures and missing values.
"""

import re

from postmortem.sources.languages import to_english
from postmortem.sources.logs.anyof import any_of
from postmortem.sources.logs.text.tokens import NUMBER

# Lines that count something and are not about where training is.
_ASIDE = re.compile(
    r"\b(?:improved from|did not improve|reducing learning rate|adjusting learning rate|saving|saved|sav(?:e|ing) (?:model|checkpoint|state)|"
    r"load(?:ed|ing)|resum(?:e|ed|ing)|restor(?:ed|ing)|warm-?up|early[ -]?stop\w*|"
    r"patience(?!: ?\x00 ?[|,])|checkpoint|downloading|scanning|caching|frame #|OVERFLOW|"
    r"Gradient overflow|"
    r"overflow detected|NCCL|Watchdog|exitcode|pid[:=]|bytes|UserWarning|DeprecationWarning|FutureWarning|RuntimeError|CUDA error|out of memory|"
    r"Progress on|Assertion|THCudaCheck|oom-kill|Traceback|Out Of Memory|Bus error|srun:|slurmstepd|job step)\b",
    re.IGNORECASE,
)
_OF_ASIDES = re.compile(
    any_of((
    "improve", "reducing", "adjusting", "saving", "saved", "save", "load", "resum", "restor", "warm", "early", "patience", "checkpoint", "scanning",
    "caching", "frame #", "overflow", "nccl", "watchdog", "exitcode", "pid", "bytes", "warning", "error", "memory", "progress on", "assertion",
    "thcuda", "oom-kill", "traceback", "srun:", "slurmstepd", "job step",
    ))
)  # fmt: skip
_DATA_BAR = re.compile(r"\b(?:examples|files?|rows|docs|ba|[kMG]?i?B)/s\]")  # progress in preparing or moving data
_DUMP = re.compile(rf"^\++ |^\w+ = dict\(|^(?:\[\w+\]:? ?)?[\w-]+ ==== ?{NUMBER}$")  # set -x; `weight_decay ........ 0.01`
_LENGTH = re.compile(rf"^\W*(?:\w{{1,20}}[ _-])?(?:epochs|(?<=end[ _-])epoch)\s?[:=]\s?{NUMBER}$", re.IGNORECASE)  # how many, not which
_QUOTES = str.maketrans(
    {"'": None, '"': None, "`": None, "‘": None, "’": None, "“": None, "”": None, "：": ":", "，": ",", "（": "(", "）": ")", "［": "[", "］": "]",
     "；": ";", "│": "|", "┃": "|", "║": "|", "\xa0": " ", "–": "-", "—": "-", "→": "->", **dict.fromkeys("·•‧∙⋅●○◦▪■□▶►✦»«›‹┆┊¦❘", "|")}
)  # fmt: skip
_PICTURE = re.compile("[\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001faff][\ufe0e\ufe0f]?")
_WRAPPER = re.compile(r"\b(?:tensor|array|Array|(?:tf\.)?Tensor|(?:np|numpy|jnp)\.(?:float|int)[0-9]{1,2})\(")
_MODE = re.compile(r"\b(Epoch|Iter)\s?\((\w{2,10})\)")
_OF_UNIT = re.compile(rf"(?<=\w) ?\((m?s|secs?|seconds|[GM]i?B|[a-z]{{1,9}}/s)\)(?=\s?[:=]\s?{NUMBER})")  # `time per iteration (ms): 12`
_OF_SET = re.compile(rf"\b([A-Za-z]\w{{1,20}}) ?\((train\w*|tr|val\w*|test|dev|eval)\)(?=\s?[:=]\s?{NUMBER})", re.IGNORECASE)  # `loss(val)=0.5`
_WIDE_BRACKET = re.compile(r"(?<=\w)  ?\[")
_WIDE_COLON = re.compile(rf"(?<=[\w)\]]) {{1,2}}(?=[:=]\s?{NUMBER})")  # `loss           : 0.5`
_NOTHING = ("None", "NA", "N/A", "n/a", "null", "--")
_MISSING = re.compile(r"(?<![\w./@-])[\w./@-]{1,60}\s?[=:]\s?(?:None|NA|N/A|n/a|null|--)(?![\w./])")


def is_aside(shape: str) -> bool:
    """A line that has numbers and says nothing of where training is: a saved file, a download, a setting, a length."""
    if _OF_ASIDES.search(shape.lower()) and _ASIDE.search(shape):
        return True
    return bool(_DUMP.match(shape) or ("/s]" in shape and _DATA_BAR.search(shape)) or _LENGTH.match(shape))


def unquoted(shape: str) -> str:
    """The shape without quotes, in English, with the signs of ASCII."""
    text = to_english(shape)
    if text.isascii():
        return text.replace("'", "").replace('"', "").replace("`", "")
    return text.translate(_QUOTES)


def tidied(text: str) -> str:
    """A shape without quotes, in one way of writing: `tensor(0.5)` is 0.5, `Epoch(train)` is train Epoch, `time (ms): 5` is time ms: 5."""
    if not text.isascii():
        text = _PICTURE.sub("|", text)
    if "(" in text:
        text = _OF_SET.sub(r"\2 \1", _OF_UNIT.sub(r" \1", _MODE.sub(r"\2 \1", _WRAPPER.sub("", text))))
    if any(word in text for word in _NOTHING):
        text = _MISSING.sub("", text)
    if " [" in text:
        text = _WIDE_BRACKET.sub(" [", text)
    if " :" in text or " =" in text:
        text = _WIDE_COLON.sub("", text)
    return text
