"""Plain-text logs. `lines` cleans bytes, `tokens` finds numbers, `grammar` understands a line's shape, `rows` keeps what it says,
`places` where that was."""

from postmortem.sources.logs.text.reader import READER

__all__ = ["READER"]
