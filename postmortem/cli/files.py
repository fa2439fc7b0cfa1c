"""Writing results: whole or not at all, never into the run."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from postmortem.errors import OutputError


def write_result(target: str | Path, text: str) -> None:
    """Write to a file (through a temporary one beside it, renamed when whole) or, for "-", to standard output. Raises `OutputError`."""
    data = text.encode("utf-8", "replace")
    if str(target) == "-":
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer would fail again at the end
            raise OutputError(f"cannot write to standard output: {error.strerror or error}") from error
        return
    path = Path(target)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a directory")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent or ".", prefix=f".{path.name[:40]}.", suffix=".part")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def default_report(runs: Sequence[str], name: str) -> Path:
    """`postmortem-<run>.html` in the current directory, or in the run's parent when that lies inside the run."""
    clean = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".-")[:80] or "run"
    here = Path.cwd()
    for run in runs:
        path = Path(run)
        if run != "-" and path.is_dir() and here.is_relative_to(path.resolve()):
            here = path.resolve().parent
    return here / f"postmortem-{clean}.html"
