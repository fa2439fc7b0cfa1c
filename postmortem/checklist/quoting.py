"""Words of a log inside a sentence: one line, cut between words."""

LIMIT = 160  # characters


def cut(text: str, limit: int = LIMIT) -> str:
    """`text` on one line, at most `limit` characters: cut after a word and marked with an ellipsis. "" for blanks."""
    flat = " ".join(text.split())
    if len(flat) <= limit:
        return flat
    head, _, _ = flat[: limit - 1].rpartition(" ")
    return f"{(head or flat[: limit - 2]).rstrip(' ,;:(')} …"


def first_line(text: str, limit: int = LIMIT) -> str:
    """The first line that is not blank, cut; "" without any."""
    return cut(text.strip().partition("\n")[0], limit)


def last_line(text: str, limit: int = LIMIT) -> str:
    """The last line that is not blank, cut; "" without any."""
    return cut(text.strip().rpartition("\n")[2], limit)
