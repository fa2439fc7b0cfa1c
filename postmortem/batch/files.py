"""Files of a batch: whole or not at all."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from postmortem.errors import OutputError

_KEPT = re.compile(r"[^A-Za-z0-9._=+-]+")
_LONGEST = 120  # characters of a report's name


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends without an exception. Raises `OutputError`."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def write(path: Path, text: str, *, durable: bool = True) -> int:
    """Write text as UTF-8, whole or not at all; bytes written. Raises `OutputError`."""
    data = text.encode("utf-8", "replace")
    with replacing(path, durable=durable) as file:
        file.write(data)
    return len(data)


def report_name(name: str) -> str:
    """A file name for a run's report: its own where that is harmless, else a part of it and a digest."""
    plain = _KEPT.sub("-", name.replace("/", "--")).strip(".-")[:_LONGEST]
    if not plain or plain != name.replace("/", "--") or "--" in name:
        plain = f"{plain or 'run'}.{sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"{plain}.html"
