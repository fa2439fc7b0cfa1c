"""`--lang`: the language of a report, and of what is printed with it."""

import os

from postmortem.errors import UsageError
from postmortem.render.language import known


def asked_language(text: str) -> str:
    """The name of the catalogue ("en", "zh") for what `--lang` was given. Raises `UsageError` for a language without one.

    `auto` is the language of the environment, English when there is no catalogue of that.
    """
    if text.lower() != "auto":
        return known(text)
    place = next((v for v in map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG")) if v), "en")
    try:
        return known(place)
    except UsageError:
        return "en"
