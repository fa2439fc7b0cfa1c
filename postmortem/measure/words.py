"""The words that a name is made of: `trainLoss/box_loss` → train, loss, box, loss."""

import re

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z0-9]+")


def words_of(name: str) -> tuple[str, ...]:
    """Lower-case words of a key, a metric's or a model's name; digits stay with their letters."""
    return tuple(_WORD.findall(_CAMEL.sub(" ", name[:400]).lower()))
