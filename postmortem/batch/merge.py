"""Several output directories into one: the shards of a batch that ran on several machines."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from postmortem.batch.files import replacing
from postmortem.batch.journal import RUNS, STATE, Journal, lines, row_from
from postmortem.batch.outputs import write_outputs
from postmortem.batch.run import Finished
from postmortem.errors import NothingReadable, OutputError, UsageError
from postmortem.model.batch import Row
from postmortem.model.sentence import Sentence, say
from postmortem.render.batch_index import report


def merge(directories: Sequence[Path], output: Path, *, only_failed: bool = False, lang: str = "en") -> Finished:
    """Gather finished runs of several batches into `output`, with their reports, and write its index, table and summary.

    Titles and summaries of runs stay in the language in which they were analysed.
    Of two rows of one name the later directory's counts. A directory that was interrupted gives what it has.
    Raises `UsageError`, `NothingReadable` and `OutputError`.
    """
    chosen: dict[str, tuple[Path, Path, int, int]] = {}  # name → directory, file, offset, length
    notes: list[Sentence] = []
    for directory in directories:
        if not directory.is_dir():
            raise UsageError(f"there is no directory {directory}")
        if os.path.realpath(directory) == os.path.realpath(output):
            raise UsageError(f"{directory} cannot be merged into itself")
        unfinished = directory / STATE / "journal.jsonl"
        found = 0
        for file in (directory / RUNS, unfinished):
            for offset, length, data in lines(file):
                chosen[str(data["name"])] = (directory, file, offset, length)
                found += 1
        if not found:
            notes.append(say("{directory} holds no finished run.", directory=directory.name))
        elif unfinished.is_file() and unfinished.stat().st_size:
            notes.append(say("{directory} was not finished when it was merged.", directory=directory.name))
    if not chosen:
        raise NothingReadable("no finished run is in any of them")
    with Journal(output):
        try:
            with replacing(output / RUNS) as out:
                rows = [_taken(chosen[name], output, out) for name in sorted(chosen)]
        except OSError as error:
            raise OutputError(f"cannot write in {output}: {error.strerror or error}") from error
        batch = write_outputs(output, rows, only_failed=only_failed, notes=notes, lang=lang)
    return Finished(batch, tuple(rows), len(rows))


def _taken(place: tuple[Path, Path, int, int], output: Path, out: BinaryIO) -> Row:
    """Copy one line and its report."""
    directory, file, offset, length = place
    with file.open("rb") as stream:
        stream.seek(offset)
        line = stream.read(length)
    out.write(line)
    row = row_from(line)
    source = directory / (report(row) or "/")
    if not report(row) or not source.is_file() or source.is_symlink():
        return replace(row, report="")
    target = output / row.report
    target.parent.mkdir(exist_ok=True)
    with source.open("rb") as stream, replacing(target, durable=False) as copy:
        shutil.copyfileobj(stream, copy)
    return row
