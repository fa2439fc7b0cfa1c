"""Lines that Docker's `json-file` driver has put into boxes, `{"log":"step 1\\n","stream":"stdout","time":"2024-…Z"}`, taken out of them again."""

import orjson

_BEGINS = b'{"log":"'
_HAS = b'"stream":"'


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
