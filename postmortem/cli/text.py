"""Text on a terminal: nothing from an input may steer it."""

import re

# C0 and C1 controls, bidirectional overrides and isolates, invisible separators, lone surrogates
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def plain(text: str) -> str:
    """`text` with control characters and bidirectional overrides shown as escapes such as \\x1b."""
    return _UNSAFE.sub(lambda m: f"\\x{ord(m.group()):02x}" if ord(m.group()) < 256 else f"\\u{ord(m.group()):04x}", text)
