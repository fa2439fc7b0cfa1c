"""Lines that Docker's `json-file` driver has put into boxes, `{"log":"step 1\\n","stream":"stdout","time":"2024-…Z"}`, taken out of them again;
and lines without what systemd's journal puts before each, `Nov 13 10:34:57 host python[1063]: `.
"""

import re

import orjson

_BEGINS = b'{"log":"'
_HAS = b'"stream":"'
_JOURNAL = re.compile(rb"^[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [\w.-]{1,80} [\w./@-]{1,80}\[[0-9]{1,9}\]: ?", re.MULTILINE)
_FEWEST = 2  # lines of a journal, of the first three


def boxed(head: bytes) -> bool:
    """Whether a file that begins so is in boxes."""
    first = head[: head.find(b"\n") + 1 or len(head)]
    return first.startswith(_BEGINS) and _HAS in first


def unboxed(data: bytes) -> bytes:
    """The lines themselves; what is in no box stays as it is. When they were written is left away: programs print that in their own way."""
    ends = data.endswith(b"\n")
    return b"\n".join(_out_of(line) for line in data.removesuffix(b"\n").split(b"\n")) + b"\n" * ends


def _out_of(line: bytes) -> bytes:
    if not line.startswith(_BEGINS):
        return line
    try:
        text = orjson.loads(line)["log"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return line
    return text.rstrip("\r\n").replace("\n", " ").encode("utf-8", "replace") if isinstance(text, str) else line


def journal(head: bytes) -> bool:
    """Whether a file that begins so is of systemd's journal, or of syslog."""
    return len(_JOURNAL.findall(b"\n".join(head[:4096].split(b"\n", 3)[:3]))) >= _FEWEST


def without_journal(data: bytes) -> bytes:
    """The lines themselves. When they were written is left away: programs print that in their own way."""
    return _JOURNAL.sub(b"", data)
