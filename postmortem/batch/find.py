"""Which runs are meant: directories, files, globs, lists of paths, directories that hold many runs."""

import glob
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from postmortem.errors import UsageError
from postmortem.sources.bystanders import kind_by_name, left_out_directory
from postmortem.sources.discover import Discovery, several_runs
from postmortem.sources.names import words
from postmortem.sources.reader import Candidate

MAX_ENTRIES = 5_000_000  # files and directories below one argument
MAX_DEPTH = 40
FEW = 3  # directories with logs beside each other, from which on a log beside them is no reason to take all for one run
_HOMES = frozenset({"/home", "/Users", "/data/home", "/export/home", "/gpfs/home", "/nfs/home", "/scratch"})


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run's place and the name that it has in the batch."""

    name: str
    path: Path  # absolute


def find_runs(arguments: Sequence[str], lists: Sequence[str] = (), *, stdin: BinaryIO | None = None) -> tuple[list[Path], list[str]]:
    """Absolute paths of the runs that `arguments` mean, each once, in order of name; and remarks on what was left out.

    An argument is a path, a glob, `@FILE` (a list of paths) or `-` (such a list on standard input); `lists` are further
    lists. A directory that holds several runs stands for each of them. Raises `UsageError` when an argument names nothing.
    """
    found: dict[str, Path] = {}
    remarks: list[str] = []
    for argument in arguments:
        if argument == "-":
            _take(found, _listed((stdin or sys.stdin.buffer).read(), Path()))
        elif argument.startswith("@") and not os.path.lexists(argument):
            _take(found, _from_file(argument[1:]))
        elif os.path.lexists(argument):
            _take(found, _searched(Path(argument), remarks) if Path(argument).is_dir() else [Path(argument)])
        elif glob.has_magic(argument):
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - a pattern may be absolute
            if not matches:
                raise UsageError(f"nothing matches {argument}")
            _take(found, (run for m in matches for run in _matched(Path(m))))
        else:
            raise UsageError(f"there is no {argument}")
    for file in lists:
        _take(found, _from_file(file))
    return sorted(found.values(), key=os.fsencode), remarks


def named(paths: Sequence[Path], pseudonym: Callable[[str], str] | None = None) -> list[FoundRun]:
    """Names below what all paths have in common. `pseudonym` replaces a user's name where that is the first part of it."""
    if not paths:
        return []
    root = os.path.commonpath([p.parent for p in paths])
    out: list[FoundRun] = []
    for path in paths:
        name = path.relative_to(root).as_posix()
        if pseudonym is not None and root in _HOMES:
            user, slash, rest = name.partition("/")
            name = f"{pseudonym(user)}{slash}{rest}" if slash else name
        clean = name.encode("utf-8", "replace").decode()
        if clean != name:
            clean += f".{sha256(os.fsencode(name)).hexdigest()[:8]}"
        out.append(FoundRun(clean, path))
    return out


def _take(found: dict[str, Path], paths: Iterable[Path]) -> None:
    for path in paths:
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - links stay what they are called
        found.setdefault(os.path.realpath(absolute), absolute)


def _from_file(name: str) -> list[Path]:
    if name == "-":
        return _listed(sys.stdin.buffer.read(), Path())
    try:
        return _listed(Path(name).read_bytes(), Path())
    except OSError as error:
        raise UsageError(f"cannot read the list {name}: {error.strerror or error}") from error


def _listed(data: bytes, base: Path) -> list[Path]:
    """The paths of a list: one per line, or NUL between them as `find -print0` writes."""
    parts = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [run for part in parts if (text := part.strip(b"\r\n\0")).strip() for run in _matched(base / os.fsdecode(text))]


def _matched(path: Path) -> list[Path]:
    """A path out of a glob or a list: a run, several of them, or nothing where its name says that it is none."""
    if path.is_dir():
        return [path / run if run else path for run in _split(path.absolute(), list(_walk(path)))]
    return [] if kind_by_name(path.name) and os.path.lexists(path) else [path]


def _searched(path: Path, remarks: list[str]) -> list[Path]:
    """The runs in a directory that was named itself: itself, or all directories beside each other in it that are no mere parts of a run."""
    candidates = list(_walk(path))
    found = several_runs(Discovery(path, path.name, tuple(candidates), ()))
    level = found[0].rpartition("/")[0] if found else _lonely(candidates)
    heads, beside = _neighbours(candidates, f"{level}/" if level else "")
    holding = [head for head, logs in heads.items() if logs and _own_name(head.rpartition("/")[2])]
    if not found and len(holding) < FEW:
        return [path]
    taken = sorted({*found, *(head for head in heads if _own_name(head.rpartition("/")[2]))}, key=os.fsencode)
    taken = [head for head in taken if head in set(found) or not any(run.startswith(f"{head}/") for run in found)]
    left = [*beside, *sorted(f"{head}/" for head in heads if head not in set(taken) and not any(run.startswith(f"{head}/") for run in found))]
    if left:
        shown = ", ".join(left[:3]) + (", …" if len(left) > 3 else "")
        remarks.append(f"left out in {path}, since they lie beside {len(taken)} runs and are none by their names: {shown}")
    members = _members(candidates, taken)
    return [path / f"{head}/{run}".rstrip("/") for head in taken for run in _split(path / head, members[head])]


def _lonely(candidates: Sequence[Candidate]) -> str:
    """The directory below which everything lies that is below the top, where there is only one way down; "" for the top."""
    level = ""
    while True:
        prefix = f"{level}/" if level else ""
        heads = {c.path[len(prefix) :].partition("/")[:2] for c in candidates if c.path.startswith(prefix)}
        if len(heads) != 1 or not (only := next(iter(heads)))[1]:
            return level
        level = f"{prefix}{only[0]}"


def _neighbours(candidates: Sequence[Candidate], prefix: str) -> tuple[dict[str, bool], list[str]]:
    """Directories at one level, each with whether it holds a log, and the logs that lie at that level themselves."""
    heads: dict[str, bool] = {}
    beside: list[str] = []
    for c in candidates:
        if not c.path.startswith(prefix):
            continue
        head, slash, _ = c.path[len(prefix) :].partition("/")
        if slash:
            heads[f"{prefix}{head}"] = heads.get(f"{prefix}{head}", False) or _is_log(c.name)
        elif _is_log(c.name):
            beside.append(c.path)
    return heads, beside


def _split(root: Path, candidates: Sequence[Candidate]) -> list[str]:
    """Relative directories of the runs among the files of a directory; [""] when it is one run itself."""
    runs = several_runs(Discovery(root, root.name, tuple(candidates), ()))
    if not runs:
        return [""]
    members = _members(candidates, runs)
    return [f"{run}/{inner}".rstrip("/") for run in runs for inner in _split(root / run, members[run])]


def _members(candidates: Iterable[Candidate], runs: Sequence[str]) -> dict[str, list[Candidate]]:
    """The files of each run, named relative to it."""
    depths = sorted({run.count("/") + 1 for run in runs})
    wanted = set(runs)
    members: dict[str, list[Candidate]] = defaultdict(list)
    for c in candidates:
        parts = c.path.split("/")
        for depth in depths:
            if (head := "/".join(parts[:depth])) in wanted:
                members[head].append(Candidate(c.root / head, "/".join(parts[depth:]), 0, b"", c.siblings))
                break
    return members


@cache
def _own_name(name: str) -> bool:
    """Whether any word of a directory's name is not that of a part of a run, as discovery sees it. Numbers of four digits and more are jobs."""
    return any((word.isdigit() and len(word) >= 4) or _runs_of((f"{word}/a.log", "some-other-name/a.log")) for word in words(name))


@lru_cache(maxsize=100_000)
def _is_log(name: str) -> bool:
    """Whether discovery takes a file of that name for a log."""
    return bool(_runs_of((f"one-name/{name}", "some-other-name/a.log")))


def _runs_of(paths: tuple[str, ...]) -> tuple[str, ...]:
    return several_runs(Discovery(Path(), "", tuple(Candidate(Path(), p, 0, b"") for p in paths), ()))


def _walk(top: Path) -> Iterator[Candidate]:
    """Every file below a directory that may be about a run, by name alone: nothing is opened, no link followed."""
    stack = [("", 0)]
    entries = 0
    while stack and entries < MAX_ENTRIES:
        folder, level = stack.pop()
        try:
            with os.scandir(top / folder if folder else top) as listing:
                inside = list(listing)
        except OSError:
            continue
        entries += len(inside)
        siblings = frozenset(entry.name for entry in inside) if any(entry.name == "meta.yaml" for entry in inside) else frozenset()
        for entry in inside:
            relative = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if level < MAX_DEPTH and not left_out_directory(entry.name):
                        stack.append((relative, level + 1))
                elif entry.is_file(follow_symlinks=False) and not kind_by_name(relative):
                    yield Candidate(top, relative, 0, b"", siblings)
            except OSError:
                continue
