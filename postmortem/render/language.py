"""The language of what is being rendered, and its catalogue.

A report is rendered inside `speaking(language)`; everything visible passes through `translated` (templates of sentences and
fixed words) or `word` (identifiers of this package that stand in a text, such as a family). English needs no catalogue, and
what a catalogue lacks stays English.
"""

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from postmortem.errors import UsageError

LANGUAGES = ("en", "zh")
WORD = "identifier"  # the catalogue's context of identifiers

_LANGUAGE: ContextVar[str] = ContextVar("language", default="en")


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Render in `language` ("en", "zh", or a locale such as "zh_CN.UTF-8"). Raises `UsageError` for one without a catalogue."""
    token = _LANGUAGE.set(known(language))
    try:
        yield
    finally:
        _LANGUAGE.reset(token)


def known(language: str) -> str:
    """The catalogue's name for a language or locale. Raises `UsageError` when there is none."""
    short = language.replace("-", "_").partition(".")[0].partition("_")[0].lower()
    if short not in LANGUAGES:
        raise UsageError(f"there is no catalogue for the language {language!r}; there are: {', '.join(LANGUAGES)}")
    return short


def current() -> str:
    """The language that is being rendered, as in an HTML `lang` attribute."""
    return {"zh": "zh-Hans"}.get(_LANGUAGE.get(), _LANGUAGE.get())


def wide() -> bool:
    """Whether the language's letters are as wide as they are high."""
    return _LANGUAGE.get() == "zh"


def translated(template: str) -> str:
    """A template in the reader's language, its fields as they were."""
    language = _LANGUAGE.get()
    return template if language == "en" or not template else _catalogue(language).gettext(template)


def word(identifier: str) -> str:
    """An identifier of this package (`language-model`, `learning_rate`) in the reader's language; as it is when none is known."""
    language = _LANGUAGE.get()
    return identifier if language == "en" or not identifier else _catalogue(language).pgettext(WORD, identifier)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation("postmortem", Path(__file__).parents[1] / "locale", [language], fallback=True)
