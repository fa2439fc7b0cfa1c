"""Text on a terminal: nothing from an input may steer it, and what is too long for a line goes on under its own beginning."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# C0 and C1 controls, bidirectional overrides and isolates, invisible separators, lone surrogates
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def plain(text: str) -> str:
    """`text` with control characters and bidirectional overrides shown as escapes such as \\x1b."""
    return _UNSAFE.sub(lambda m: f"\\x{ord(m.group()):02x}" if ord(m.group()) < 256 else f"\\u{ord(m.group()):04x}", text)


def hanging(console: "Console", lead: "Text | str", text: str, style: str = "") -> None:
    """Print `lead` and after it `text`, whose further lines are indented to where its first one begins. Both are plain text."""
    from rich.cells import cell_len
    from rich.text import Text

    lead = Text(lead) if isinstance(lead, str) else lead
    indent = cell_len(lead.plain)
    lines = Text(text, style).wrap(console, max(20, console.width - indent))
    for i, line in enumerate(lines):
        line.rstrip()
        console.print(Text.assemble(lead if i == 0 else " " * indent, line), soft_wrap=True)
    if not lines:
        console.print(lead, soft_wrap=True)
