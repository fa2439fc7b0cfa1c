"""Where templates are, and how they are filled: autoescaped, strict about names, every text made visible."""

import math
import re
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from postmortem.model.sentence import Sentence
from postmortem.render import checklist, figures, language, story, words

_JOINTS = re.compile(r"[/_]+(?=[^/_])")


def folder() -> Path:
    """The templates' directory: inside an installed package, beside the package in a checkout or an editable install."""
    package = Path(__file__).resolve().parent.parent
    for place in (package / "templates", package.parent / "templates"):
        if (place / "report.html.j2").is_file():
            return place
    raise FileNotFoundError("this installation of postmortem is incomplete: its templates are missing; reinstall it")


@cache
def asset(name: str) -> str:
    """The text of a file that is inlined as it is (style sheet, script)."""
    return (folder() / name).read_text(encoding="utf-8")


def finalize(value: object) -> object:
    """What every `{{ … }}` passes before it is escaped."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, Sentence):
        return words.visible(words.speak(value))
    if isinstance(value, str):
        return words.visible(value)
    if isinstance(value, float):
        return figures.number(value) if not math.isnan(value) else "NaN"
    return value


def breakable(text: str) -> Markup:
    """A path or a name that may be broken after its slashes and underscores, and is copied as it is."""
    return Markup(_JOINTS.sub(r"\g<0><wbr>", str(escape(words.visible(text)))))  # noqa: S704 - escaped, then our own tag


@cache
def environment() -> jinja2.Environment:
    """The environment of every template."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=finalize,
    )
    env.globals["_"] = words.t
    for function in (
        figures.number,
        figures.short,
        figures.percent,
        figures.size,
        figures.weight,
        figures.hours,
        figures.plain,
        words.severity_word,
        words.severity_meaning,
        words.status_word,
        words.standing_word,
        words.sureness,
        words.answer_word,
        words.outcome_words,
        words.name_words,
        words.several,
        words.speak,
        words.severity_text,
        language.word,
        figures.step,
        checklist.anchor,
        checklist.box,
        checklist.cleared,
        checklist.diff,
        checklist.unfolds,
        breakable,
    ):
        env.filters[function.__name__] = function
    env.filters["onset"] = story.onset_words
    return env
