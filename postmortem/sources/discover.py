"""The files of a run. Links are not followed, special files are not opened, bystanders are counted and left out."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from postmortem.errors import UsageError
from postmortem.model.run import Source, Status
from postmortem.model.sentence import Sentence, say
from postmortem.sources.bystanders import kind_by_head, kind_by_name, left_out_directory, reason
from postmortem.sources.names import words
from postmortem.sources.reader import Candidate

__all__ = ["Discovery", "discover", "several_runs"]

MAX_FILES = 200_000  # and directories
MAX_DEPTH = 40  # directories below the run
HEAD = 4_096  # bytes; what a reader may look at before it claims a file
MANY_HEADS = 20_000  # files; beyond, heads are short so that they stay under 100 MB in all
SHORT_HEAD = 512  # bytes
CROWD = 2_000  # files of one extension in one directory: a data set, unless its extension is one of training's own
_OWN_EXTENSIONS = frozenset({"pt", "pth", "ckpt", "bin", "safetensors", "h5", "hdf5", "keras", "log", "jsonl", "out", "err", "distcp", "wandb", ""})
_NAMED = 20  # of what is not followed or opened although it bears a name; more are counted
_NAMED_REASONS = ("links that leave the run", "named pipes", "sockets", "devices")
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Discovery:
    """What lies in a run: files that readers are asked about, and what was left out with the reason."""

    root: Path
    name: str  # of the run, as it is called in reports
    candidates: tuple[Candidate, ...]  # sorted by path
    skipped: tuple[Source, ...]


@dataclass(slots=True)
class _Walk:
    """What a walk has gathered so far."""

    root: Path
    real_root: str
    candidates: dict[str, Candidate] = field(default_factory=dict)
    skipped: list[Source] = field(default_factory=list)
    groups: dict[Sentence, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))  # reason → (path, bytes)
    visited: set[str] = field(default_factory=set)  # directories, relative
    files: int = 0  # and directories

    @property
    def full(self) -> bool:
        return self.files >= MAX_FILES


def discover(paths: Sequence[Path]) -> Discovery:
    """Find the files of the run at `paths`: a directory, a file (that file only), or several of both.

    Everything is named relative to the directory, or to the common parent. Links below `paths` are never followed. The order
    is that of the names. Raises `UsageError` when a path does not exist; whatever else goes wrong becomes a `Source`.
    """
    if not paths:
        raise UsageError("no path was given")
    named = [_resolved(path) for path in paths]
    folders = [path if path.is_dir() else path.parent for path in named]
    root = Path(os.path.commonpath(folders))
    walk = _Walk(root, os.path.realpath(root))
    for path in sorted(set(named), key=os.fspath):
        relative = path.relative_to(root).as_posix().removeprefix(".")
        if path.is_dir():
            _directory(walk, relative, relative.count("/"))
        else:
            _single(walk, path, relative)
    name = named[0].name if len(named) == 1 else root.name
    kept = _without_crowds(walk)
    return Discovery(root, name or "run", tuple(kept[path] for path in sorted(kept, key=os.fsencode)), (*walk.skipped, *_grouped(walk)))


def _resolved(path: Path) -> Path:
    try:
        return path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no such path"
        raise UsageError(f"{path} cannot be opened: {why}") from error


def _single(walk: _Walk, path: Path, relative: str) -> None:
    """A file that the caller named: taken whatever it is called."""
    try:
        status = path.lstat()
    except OSError as error:
        walk.skipped.append(_failed(relative, error))
        return
    if stat.S_ISREG(status.st_mode):
        siblings = walk.candidates[relative].siblings if relative in walk.candidates else frozenset({path.name})
        _take(walk, relative, status.st_size, siblings, named=True)
    else:
        walk.groups[_special(status.st_mode)].append((relative, 0))


def _directory(walk: _Walk, top: str, depth: int) -> None:
    """Walk one directory; an explicit stack, so that depth costs no recursion."""
    stack = [(top, depth)]
    while stack and not walk.full:
        folder, level = stack.pop()
        if folder in walk.visited:
            continue
        walk.visited.add(folder)
        try:
            with os.scandir(walk.root / folder) as listing:
                entries = sorted(_bounded(listing, walk), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            walk.skipped.append(_failed(folder or ".", error))
            continue
        siblings = frozenset(entry.name for entry in entries)
        below: list[tuple[str, int]] = []
        for entry in entries:
            relative = f"{folder}/{entry.name}" if folder else entry.name
            if _is_folder(walk, entry, relative, siblings):
                if level + 1 > MAX_DEPTH:
                    walk.groups[say("directories more than {limit} levels deep", limit=MAX_DEPTH)].append((relative, 0))
                else:
                    below.append((relative, level + 1))
        stack.extend(reversed(below))
    if walk.full:
        walk.skipped.append(Source(".", "", Status.SKIPPED, say("only the first {limit} files were looked at", limit=MAX_FILES)))


def _bounded(listing: Iterator["os.DirEntry[str]"], walk: _Walk) -> Iterator["os.DirEntry[str]"]:
    """The entries of a directory, no more than the walk may still take."""
    for count, entry in enumerate(listing):
        if walk.files + count >= MAX_FILES:
            walk.files = MAX_FILES
            return
        yield entry


def _is_folder(walk: _Walk, entry: "os.DirEntry[str]", relative: str, siblings: frozenset[str]) -> bool:
    """Take one entry: True when it is a directory to walk, else it was taken or noted."""
    try:
        if entry.is_symlink():
            _link(walk, relative)
        elif entry.is_dir(follow_symlinks=False):
            if not left_out_directory(entry.name):
                walk.files += 1
                return True
            if entry.name == ".aim":
                why = say("an Aim repository, which only Aim reads: export its metrics as CSV to have them analysed")
                walk.skipped.append(Source(relative, "", Status.SKIPPED, why))
                return False
            walk.groups[say("directories of caches, environments and hidden data")].append((relative, 0))
        else:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                walk.files += 1
                _take(walk, relative, status.st_size, siblings)
            else:
                walk.groups[_special(status.st_mode)].append((relative, 0))
    except OSError as error:
        walk.skipped.append(_failed(relative, error))
    return False


def _take(walk: _Walk, relative: str, size: int, siblings: frozenset[str], *, named: bool = False) -> None:
    kind = "" if named else kind_by_name(relative)
    if kind:
        walk.groups[reason(kind)].append((relative, size))
        return
    try:
        head, size = _head(walk.root / relative, HEAD if len(walk.candidates) < MANY_HEADS else SHORT_HEAD)
    except OSError as error:
        walk.skipped.append(_failed(relative, error, size))
        return
    kind = kind_by_head(head)
    if kind:
        walk.groups[reason(kind)].append((relative, size))
    else:
        walk.candidates[relative] = Candidate(walk.root, relative, size, head, siblings)


def _head(path: Path, length: int) -> tuple[bytes, int]:
    """First bytes and size of a regular file. Never blocks on a pipe and never follows a link, whatever replaced it meanwhile."""
    handle = os.open(path, _OPEN_FLAGS)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no longer a regular file")
        return os.read(handle, length), status.st_size
    finally:
        os.close(handle)


def _link(walk: _Walk, relative: str) -> None:
    """A link: to a place inside the run it is a duplicate, else its target is no part of the run."""
    target = os.path.realpath(walk.root / relative)
    if not os.path.lexists(target):
        why = say("links to nothing")
    elif target == walk.real_root or target.startswith(walk.real_root.rstrip(os.sep) + os.sep):
        why = say("links to other files of this run")
    else:
        why = say("links that leave the run: not followed; pass their targets as further paths to include them")
    walk.groups[why].append((relative, 0))


def _special(mode: int) -> Sentence:
    if stat.S_ISFIFO(mode):
        return say("named pipes")
    return say("sockets") if stat.S_ISSOCK(mode) else say("devices")


def _failed(relative: str, error: OSError, size: int = 0) -> Source:
    return Source(relative, "", Status.FAILED, say("it cannot be opened: {why}", why=error.strerror or type(error).__name__), size)


def _without_crowds(walk: _Walk) -> dict[str, Candidate]:
    """The candidates without directories full of files of one kind, such as a label file for each picture."""
    crowds: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in walk.candidates.values():
        extension = candidate.name.rpartition(".")[2].lower() if "." in candidate.name else ""
        if extension not in _OWN_EXTENSIONS and not extension.isdigit() and "tfevents" not in candidate.name:
            crowds[candidate.folder, extension].append(candidate)
    gone: set[str] = set()
    for members in crowds.values():
        if len(members) > CROWD:
            walk.groups[say("files of a data set")].extend((m.path, m.size) for m in members)
            gone.update(m.path for m in members)
    return {path: candidate for path, candidate in walk.candidates.items() if path not in gone}


def _grouped(walk: _Walk) -> Iterator[Source]:
    """One `Source` for each reason: a lone file by its name, several by their number and the directory that holds them all."""
    for why, found in sorted(walk.groups.items(), key=lambda item: item[0].template):
        named = found[:_NAMED] if why.template.startswith(_NAMED_REASONS) else []
        yield from (Source(path, "", Status.SKIPPED, why, bytes_) for path, bytes_ in named)
        members = found[len(named) :]
        size = sum(bytes_ for _, bytes_ in members)
        if len(members) == 1:
            yield Source(members[0][0], "", Status.SKIPPED, why, size)
            continue
        if not members:
            continue
        shared = os.path.commonpath([path.rpartition("/")[0] or "." for path, _ in members]) if all("/" in p for p, _ in members) else "."
        yield Source(shared or ".", "", Status.SKIPPED, say("{count} files: {kind}", count=len(members), kind=why), size)


# Directories that are parts of one run, by the words of their names: attempts, ranks, splits, kinds of files.
_PARTS = frozenset({
    "version", "checkpoint", "checkpoints", "ckpt", "ckpts", "weights", "models", "model", "epoch", "step", "iter", "iteration", "global",
    "train", "training", "val", "valid", "validation", "eval", "evaluation", "dev", "test", "testing",
    "wandb", "logs", "log", "events", "tensorboard", "tb", "summaries", "metrics", "results", "outputs", "plots", "samples", "media", "artifacts",
    "rank", "node", "worker", "attempt", "slurm", "nccl", "files", "config", "configs", "hydra", "submitit",
})  # fmt: skip
_LOG_EXTENSIONS = frozenset({"log", "csv", "tsv", "jsonl", "out", "err", "wandb"})
_WEIGHTS = frozenset({"pt", "pth", "ckpt", "safetensors", "h5", "hdf5", "keras", "npz"})
_LOG_NAMES = frozenset({"trainer_state.json", "history.json", "metrics.json", "results.txt", "log.txt", "train.txt", "output.txt", "stats.json"})


def several_runs(discovery: Discovery) -> tuple[str, ...]:
    """Directories that look like runs of their own, relative; () when the discovery is one run.

    They are at least two neighbours that hold logs, where nothing above them does, and whose names are not those of parts of
    one run (attempts, checkpoints, splits, ranks, trackers). Neighbours that hold event files alone count when none of
    them is named after a split or a curve of the others: `loss_train` and `loss_val` are two curves of one run.
    """
    logs = [c for c in discovery.candidates if _is_log(c)]
    tracked = _tracked_runs(discovery.candidates)
    if tracked and len(logs) == sum(c.folder.startswith(tuple(f"{t}/" for t in tracked)) for c in logs):
        return tracked if len(tracked) > 1 else ()
    prefix = ""
    while True:
        below: dict[str, list[Candidate]] = defaultdict(list)
        for log in logs:
            head, slash, _ = log.path[len(prefix) :].partition("/")
            if not slash:
                return ()  # a log at this level: this is the run
            below[head].append(log)
        if len(below) != 1:
            break
        prefix += f"{next(iter(below))}/"
    whole = {c.path[len(prefix) :].partition("/")[0] for c in discovery.candidates if c.path.startswith(prefix) and _is_of_its_own(c)}
    runs = [name for name in below if not _is_part(name) or (name in whole and not any(w.isalpha() for w in words(name)))]
    if len(runs) < 2 or len(runs) < len(below):
        return ()
    if all("tfevents" in log.name for logs_ in below.values() for log in logs_) and any("loss" in words(name) for name in runs):
        return ()
    return tuple(f"{prefix}{name}" for name in sorted(runs, key=os.fsencode))


def _is_log(candidate: Candidate) -> bool:
    name = candidate.name.lower()
    return name in _LOG_NAMES or "tfevents" in name or name.rpartition(".")[2] in _LOG_EXTENSIONS


def _is_of_its_own(candidate: Candidate) -> bool:
    """Whether a file makes the numbered directory that holds it a run, as those of a sweep are: its weights, its own configuration."""
    return candidate.name.rpartition(".")[2].lower() in _WEIGHTS or candidate.path.endswith(".hydra/config.yaml")


def _is_part(name: str) -> bool:
    """Whether a directory's name says that it is a part of a run: `version_2`, `checkpoint-100`, `0`, `exp_val`."""
    found = words(name)
    if not found or all(word.isdigit() for word in found):
        return True
    plain = [word.rstrip("0123456789") for word in found]
    return plain[0] in _PARTS or plain[-1] in _PARTS or name.startswith(("run-", "offline-run-", "."))


def _tracked_runs(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Run directories of an MLflow file store: <experiment>/<run>/meta.yaml beside metrics/."""
    return tuple(sorted({c.folder for c in candidates if c.name == "meta.yaml" and "metrics" in c.siblings}, key=os.fsencode))
