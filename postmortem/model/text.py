"""What of a text a reader sees."""

import re

# Colours of a terminal; soft hyphens, marks of zero width, of direction and of variation (Unicode's default ignorable code points).
_UNSEEN = re.compile(
    "\x1b\\[[0-9;:?]{0,40}[A-Za-z]|[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)


def seen(text: str) -> str:
    """Without what is not shown: `pass\\u200bword` is `password`."""
    return text if text.isascii() and "\x1b" not in text else _UNSEEN.sub("", text)
