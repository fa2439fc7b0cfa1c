"""The fixed words of every report, and the one door through which text becomes visible.

`t` is where the reader's language is spoken: every fixed word of the templates passes through it, every `Sentence` through
`speak`. `visible` keeps a log from changing what a reader sees: control characters, bidirectional
overrides and invisible characters are shown as what they are.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import reduce

from postmortem.model.diagnosis import FindingStatus, Severity, Standing
from postmortem.model.sentence import Said, Sentence, render
from postmortem.render.language import translated, wide, word

# Fields whose text is an identifier of this package, not a text of the run.
IDENTIFIERS = frozenset({"family", "outcome", "kind", "basis", "source", "recovery", "intent", "quantity", "log", "unit", "axis", "best"})

# Invisible characters of category Cf that scripts and emoji need.
_JOINERS = frozenset("\u200c\u200d")
_KEPT = frozenset("\n\t")


def t(template: str, /, **values: Said) -> str:
    """A fixed text in the reader's language, its `{fields}` filled."""
    text = render(translated(template), {name: _spoken(name, value) for name, value in values.items()})
    return _joined(text) if wide() else text


def _spoken(name: str, value: Said) -> Said:
    if isinstance(value, Sentence):
        own = speak(value)
    elif isinstance(value, str) and name in IDENTIFIERS:
        own = word(value)
    else:
        return value
    return f"{_EDGE}{own}{_EDGE}" if wide() else own


_EDGE = "\ue000"  # round a text of ours within another one, while the two are put together
_BETWEEN_CHINESE = re.compile(f"(?<=[\u4e00-\u9fff]) ?{_EDGE}+ ?(?=[\u4e00-\u9fff])")
_BESIDE_LATIN = re.compile(f"(?<=[\u4e00-\u9fff]){_EDGE}+(?=[A-Za-z0-9\u0370-\u03ff])|(?<=[A-Za-z0-9\u0370-\u03ff]){_EDGE}+(?=[\u4e00-\u9fff])")


def _joined(text: str) -> str:
    """Chinese as it is set: no space between Chinese words, one between Chinese and Latin ones, where texts of ours meet."""
    return _BESIDE_LATIN.sub(" ", _BETWEEN_CHINESE.sub("", text)).replace(_EDGE, "")


def speak(sentence: Sentence | None) -> str:
    """A sentence in the reader's language; "" for None."""
    return "" if sentence is None else t(sentence.template, **sentence.values)


def visible(text: str) -> str:
    """`text` with every character that could hide or reorder others replaced by a visible stand-in.

    Newlines and tabs stay. ESC becomes ␛, a right-to-left override ⟨U+202E⟩; lone surrogates become "?" as in the JSON.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else _stand_in(c) for c in text)


def _stand_in(c: str) -> str:
    code = ord(c)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    category = unicodedata.category(c)
    if category == "Cs":
        return "?"
    if category == "Zs" or c in _JOINERS:
        return c
    return f"⟨U+{code:04X}⟩"


def breadth(text: str) -> float:
    """The width of a text in mean Latin letters: a Chinese character takes nearly two."""
    return len(text) if text.isascii() else sum(1.8 if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in text)


def one_line(text: str, limit: int = 0) -> str:
    """Visible text on one line, cut to `limit` characters (0: not cut) with an ellipsis."""
    flat = visible(" ".join(text.split()))
    return flat if not limit or len(flat) <= limit else flat[: limit - 1] + "…"


def severity_word(severity: Severity | None) -> str:
    """How bad, in a word."""
    return {Severity.FATAL: t("fatal"), Severity.SERIOUS: t("serious"), Severity.MINOR: t("minor"), None: t("none")}[severity]


def severity_text(severity: str | None) -> str:
    """How bad, in a word, for the name of a severity."""
    return severity_word(Severity(severity) if severity in set(Severity) else None)


def severity_meaning(severity: Severity) -> str:
    """How bad, in a sentence."""
    return {
        Severity.FATAL: t("The run ended because of it, or its model is unusable."),
        Severity.SERIOUS: t("Clearly worse than attainable: one would run it again."),
        Severity.MINOR: t("Worth knowing; no reason to run it again."),
    }[severity]


def status_word(status: FindingStatus) -> str:
    """What a check said, in a word."""
    return {
        FindingStatus.PRESENT: t("present"),
        FindingStatus.ABSENT: t("absent"),
        FindingStatus.NOT_MEASURED: t("not measured"),
        FindingStatus.CRASHED: t("check crashed"),
    }[status]


def standing_word(standing: Standing) -> str:
    """What the clues make of a cause, in a word."""
    return {
        Standing.CONFIRMED: t("confirmed"),
        Standing.LIKELY: t("likely"),
        Standing.POSSIBLE: t("possible"),
        Standing.UNLIKELY: t("unlikely"),
        Standing.RULED_OUT: t("ruled out"),
        Standing.NOT_MEASURED: t("not measured"),
    }[standing]


def sureness(confidence: float) -> str:
    """A probability in a word, with the limits of `Standing`."""
    for limit, said in ((0.95, t("confirmed")), (0.7, t("likely")), (0.3, t("possible")), (0.05, t("unlikely"))):
        if confidence >= limit:
            return said
    return t("ruled out")


def answer_word(holds: bool | None) -> str:  # noqa: FBT001 - a clue's answer, not a switch
    """What a clue's question was answered with."""
    return t("not measured") if holds is None else t("yes") if holds else t("no")


def outcome_words(outcome: str) -> str:
    """How the run ended."""
    return {
        "finished": t("finished"),
        "early-stopped": t("stopped early by its own rule"),
        "cancelled": t("cancelled"),
        "crashed": t("crashed"),
        "running": t("still running when it was read"),
        "unknown": t("the log does not say"),
    }.get(outcome, outcome)


def listed(items: Iterable[str]) -> str:
    """Items one after another, "" for none."""
    return reduce(lambda before, item: t("{before}, {item}", before=before, item=item) if before else item, items, "")


def several(identifiers: Sequence[str], most: int = 6) -> str:
    """Ids as a list in words, the first `most` of them."""
    shown = listed(name_words(i) for i in identifiers[:most])
    return shown if len(identifiers) <= most else t("{shown} and {n} more", shown=shown, n=len(identifiers) - most)


def name_words(identifier: str) -> str:
    """An id such as `learning-rate-too-high` as words."""
    said = word(identifier)
    return said if said != identifier else identifier.replace("-", " ").replace("_", " ")
