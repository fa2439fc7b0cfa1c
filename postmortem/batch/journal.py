"""What is finished, on disk: a line per run, appended as it is finished; gathered into `runs.jsonl` at the end.

A line is the row's fields and, last, `document`, the diagnosis without exhibits. After a kill the last line may be cut:
it is left out when reading and cut off before anything is appended, so the run is done again.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from postmortem.batch.files import replacing
from postmortem.batch.task import Result
from postmortem.errors import OutputError, UsageError
from postmortem.model.batch import Row
from postmortem.model.codec import decode, encode

RUNS = "runs.jsonl"
STATE = ".state"
_SYNC = 1.0  # seconds between two flushes to the disk: what a power cut may cost
_DOCUMENT = b', "document": '


@dataclass(frozen=True, slots=True)
class Place:
    """Where the line of a finished run is."""

    file: Path
    offset: int
    length: int
    fingerprint: str
    status: str
    report: str
    report_bytes: int
    good: bool = False


class Journal:
    """The state of an output directory, held by one process at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._state = directory / STATE
        self._log = self._state / "journal.jsonl"
        self._synced = time.monotonic()
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._state / "lock", directory)
            self.places: dict[str, Place] = {}
            for file in (directory / RUNS, self._log):
                end = self._take(file)
                if file == self._log and file.exists() and end < file.stat().st_size:
                    os.truncate(file, end)
            self._file = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            self._at = os.fstat(self._file).st_size
        except OSError as error:
            raise OutputError(f"cannot write in {directory}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._file)
        os.close(self._lock)

    def key(self) -> str:
        """The key of this batch's pseudonyms, made when it is first asked for."""
        file = self._state / "key"
        with suppress(OSError, ValueError):
            text = file.read_text(encoding="ascii").strip()
            if len(bytes.fromhex(text)) == 16:
                return text
        text = os.urandom(16).hex()
        with replacing(file) as out:
            out.write(text.encode("ascii"))
        file.chmod(0o600)
        return text

    def add(self, result: Result) -> None:
        """A run is finished. Raises `OutputError`."""
        line = line_of(result)
        try:
            done = 0
            while done < len(line):
                done += os.write(self._file, line[done:] if done else line)
            if time.monotonic() - self._synced > _SYNC:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise OutputError(f"cannot write {self._log}: {error.strerror or error}") from error
        row = result.row
        self.places[row.name] = Place(self._log, self._at, len(line), row.fingerprint, row.status.value, row.report, row.report_bytes, row.good)
        self._at += len(line)

    def gather(self, names: set[str]) -> list[Row]:
        """Write `runs.jsonl` with the finished ones of `names`, in order of name, and return their rows."""
        rows: list[Row] = []
        files: dict[Path, BufferedReader] = {}
        try:
            with replacing(self.directory / RUNS) as out:
                for name in sorted(names & self.places.keys()):
                    place = self.places[name]
                    file = files.get(place.file) or files.setdefault(place.file, place.file.open("rb"))
                    file.seek(place.offset)
                    line = file.read(place.length)
                    out.write(line)
                    rows.append(row_from(line))
        except OSError as error:
            raise OutputError(f"cannot write in {self.directory}: {error.strerror or error}") from error
        finally:
            for file in files.values():
                file.close()
        os.ftruncate(self._file, 0)  # everything that counts is in runs.jsonl now
        self._at = 0
        self.places = {}
        return rows

    def _take(self, file: Path) -> int:
        """Read a file's lines; the offset where the last whole one ends."""
        end = 0
        for offset, length, data in lines(file):
            report, size = str(data.get("report", "")), int(data.get("report_bytes", 0))
            mark, good = str(data["fingerprint"]), data.get("mode") == "healthy"
            self.places[str(data["name"])] = Place(file, offset, length, mark, str(data["status"]), report, size, good)
            end = offset + length
        return end


def _locked(path: Path, directory: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise UsageError(f"another batch is writing in {directory}") from None
    except OSError:  # a file system without locks
        return file
    return file


def line_of(result: Result) -> bytes:
    """A finished run as one line."""
    head = json.dumps(encode(result.row), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    document = result.document.strip().encode("utf-8", "replace") or b"null"
    return head[:-1] + _DOCUMENT + document + b"}\n"


def lines(file: Path) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """(offset, bytes, row's data) of each whole line of a file; nothing when there is no file."""
    if not file.is_file():
        return
    offset = 0
    with file.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                with suppress(ValueError):
                    data = _head(line)
                    if isinstance(data.get("name"), str) and "fingerprint" in data and "status" in data:
                        yield offset, len(line), data
            offset += len(line)


def _head(line: bytes) -> dict[str, Any]:
    """The row's fields of a line, without reading the document. Raises ValueError."""
    end = line.find(_DOCUMENT)
    if end < 0 or not line.rstrip().endswith(b"}"):
        raise ValueError("no line of a batch")
    data = json.loads(line[:end] + b"}")
    if not isinstance(data, dict):
        raise TypeError("no line of a batch")
    return data


def row_from(line: bytes) -> Row:
    """The row of a line. Raises ValueError, TypeError or KeyError when it is none."""
    row: Row = decode(Row, _head(line))
    return row
