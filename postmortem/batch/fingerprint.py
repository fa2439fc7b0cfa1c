"""Whether a run has changed: sizes and times of its files, without opening any."""

import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from postmortem import __version__
from postmortem.batch.task import Options
from postmortem.model.batch import RowStatus
from postmortem.model.codec import encode
from postmortem.sources.bystanders import left_out_directory
from postmortem.supervision import Limits

MAX_FILES = 200_000


def fingerprint(path: Path, options: Options) -> tuple[str, float]:
    """(digest, modification time of the newest file) of a run at a path. A path that is gone has the time 0.

    The digest covers relative names, sizes and mtimes in nanoseconds of all files, the tool's version and the options, except
    what the options say about outputs that can be checked by looking (`reports`) or that select runs.
    """
    digest = sha256()
    kept = replace(options, reports=False, only_failed=False)
    digest.update(json.dumps([__version__, encode(kept)], sort_keys=True).encode())
    newest = 0
    count = 0
    stack = [""]
    while stack and count < MAX_FILES:
        folder = stack.pop()
        place = path / folder if folder else path
        try:
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except NotADirectoryError:
            entries = []
            newest = max(newest, _file(place, "", digest))
        except OSError as error:
            digest.update(f"{folder}!{error.errno}".encode("utf-8", "surrogateescape"))
            continue
        for entry in entries:
            relative = f"{folder}/{entry.name}" if folder else entry.name
            count += 1
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not left_out_directory(entry.name):
                        stack.append(relative)
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            newest = max(newest, status.st_mtime_ns)
            digest.update(os.fsencode(relative) + f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32], newest / 1e9


def with_limits(mark: str, status: RowStatus | str, limits: Limits) -> str:
    """The fingerprint of a row: what ran into a limit is done again when the limits are others."""
    return mark if status in (RowStatus.ANALYSED, RowStatus.UNREADABLE) else f"{mark}/{limits.seconds:g}s/{limits.memory}MB"


def _file(path: Path, name: str, digest: "sha256") -> int:  # type: ignore[valid-type]
    try:
        status = path.lstat() if not path.is_symlink() else path.stat()
    except OSError:
        return 0
    digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())  # type: ignore[attr-defined]
    return status.st_mtime_ns
