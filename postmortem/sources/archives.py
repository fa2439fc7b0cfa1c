"""A run that comes as an archive, or as a log on standard input: unpacked into a private directory that is removed afterwards."""

import gzip
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from postmortem.model.run import Source, Status
from postmortem.model.sentence import Sentence, say
from postmortem.sources.tar import BLOCK, DamagedTarError, is_header, members
from postmortem.sources.zip_start import shortened

MAX_BYTES = 20 << 30  # unpacked, all members together
MAX_ENTRIES = 50_000
MAX_RATIO = 200  # unpacked to packed, beyond the allowance: a zip bomb
RATIO_ALLOWANCE = 1 << 30  # bytes; zeros and logs pack well
MAX_STDIN = 2 << 30  # bytes
SPARE = 512 << 20  # bytes left free on the disk
UNREAD = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07", "rar"))
_NAMED = 20  # refused members that are named one by one
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Opened:
    """What an argument stands for. `directory` is what `discover` is given; `skipped` are members that were not unpacked."""

    directory: Path
    name: str
    skipped: tuple[Source, ...] = ()


@dataclass(slots=True)
class _Unpacking:
    """Where members go and what has been counted so far."""

    top: Path
    packed: int  # bytes of the archive
    written: int = 0
    entries: int = 0
    skipped: list[Source] = field(default_factory=list)
    more: dict[Sentence, int] = field(default_factory=dict)


class _FullError(Exception):
    """A limit was reached: what is unpacked stays, the rest is left."""

    def __init__(self, why: Sentence) -> None:
        super().__init__(str(why))
        self.why = why


def is_archive(path: Path) -> bool:
    """Whether a file is a tar, tar.gz, gz or zip that holds files of a run. Checkpoints that are zip files inside are not."""
    return _kind(path) != ""


@contextmanager
def opened(path: Path, stdin: BinaryIO | None = None) -> Iterator[Opened]:
    """The directory or file to analyse for an argument: itself, an archive's contents, or what stands on standard input (`-`).

    What was unpacked is gone when the block ends, also by an exception. Members that are links or devices, that are named
    outside of the archive, encrypted, overlapping or there twice are left out, each with a `Source`.
    """
    if stdin is not None and str(path) == "-":
        with tempfile.TemporaryDirectory(prefix="postmortem-", ignore_cleanup_errors=True) as folder:
            yield _from_stream(stdin, Path(folder))
        return
    kind = _kind(path)
    if not kind:
        packer = _unread(path)
        why = say("it is packed with {packer}, which is not read: unpack it and name the directory", packer=packer)
        yield Opened(path, path.resolve().name, (Source(path.name, "archive", Status.SKIPPED, why),) if packer else ())
        return
    with tempfile.TemporaryDirectory(prefix="postmortem-", ignore_cleanup_errors=True) as folder:
        top = Path(folder).resolve()
        unpacking = _Unpacking(top, path.stat().st_size)
        try:
            _UNPACK[kind](path, unpacking)
        except _FullError as error:
            unpacking.skipped.append(Source(".", "archive", Status.PARTIAL, error.why))
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, DamagedTarError, NotImplementedError, RuntimeError, ValueError) as error:
            why = say("the archive could be unpacked in part only: {why}", why=_reason(error))
            unpacking.skipped.append(Source(".", "archive", Status.PARTIAL, why))
        rest = [Source(".", "archive", Status.SKIPPED, say("{n} further members: {why}", n=n, why=why)) for why, n in unpacking.more.items()]
        inside = sorted(top.iterdir())
        alone = inside[0] if len(inside) == 1 and inside[0].is_dir() else None
        yield Opened(alone or top, alone.name if alone else _without_suffixes(path.name), (*unpacking.skipped, *rest))


def _kind(path: Path) -> str:
    """ "tar", "tar.gz", "gz", "zip", or "" for anything else."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        with path.open("rb") as file:
            head = file.read(BLOCK)
            if head.startswith(b"\x1f\x8b"):
                file.seek(0)
                return "tar.gz" if is_header(_reader(gzip.GzipFile(fileobj=file))(BLOCK)) else "gz"
        if head.startswith(b"PK"):
            with path.open("rb") as file, zipfile.ZipFile(shortened(file, MAX_ENTRIES + 1)) as archive:
                return "" if _is_checkpoint(archive.namelist()) else "zip"
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, ValueError, RuntimeError):
        return ""
    return "tar" if is_header(head) else ""


def _unread(path: Path) -> str:
    """The packer of a file that only another program unpacks, "" for anything else."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return ""
    return next((name for magic, name in UNREAD if head.startswith(magic)), "")


def _is_checkpoint(names: list[str]) -> bool:
    """torch, Keras, numpy and stable-baselines3 save zip files that are one checkpoint each."""
    if not names or all(name.endswith(".npy") for name in names):
        return True
    if {"config.json", "metadata.json"} <= set(names) and any(n.startswith("model.weights.") for n in names):
        return True
    if {"data", "policy.pth"} <= set(names):  # stable-baselines3
        return True
    prefix = names[0].partition("/")[0]
    known = set(names)
    return f"{prefix}/data.pkl" in known and (f"{prefix}/version" in known or len(names) > MAX_ENTRIES)  # "version" stands behind the tensors


def _unpack_tar(path: Path, unpacking: _Unpacking) -> None:
    with path.open("rb") as file:
        _take_tar(_reader(file), unpacking)


def _unpack_tar_gz(path: Path, unpacking: _Unpacking) -> None:
    with gzip.open(path) as file:
        _take_tar(_reader(cast(BinaryIO, file)), unpacking)


def _unpack_gz(path: Path, unpacking: _Unpacking) -> None:
    name = path.name.removesuffix(".gz") or "log"
    with gzip.open(path) as file:
        _write(unpacking, name, iter(lambda: file.read(_CHUNK), b""), path.stat().st_mtime)


def _reader(file: BinaryIO | gzip.GzipFile) -> Callable[[int], bytes]:
    """`read(n)` that gives n bytes, fewer at the end only. `n` is bounded by the callers."""

    def read(n: int) -> bytes:
        parts: list[bytes] = []
        while n > 0:
            part = file.read(n)
            if not part:
                break
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    return read


def _take_tar(read: Callable[[int], bytes], unpacking: _Unpacking) -> None:
    for member in members(_counted(read, unpacking)):
        _count(unpacking)
        if member.kind == "file":
            _write(unpacking, member.name, member.data, member.modified)
        elif member.kind == "link":
            _refuse(unpacking, member.name, say("a link in the archive: not followed"))
        elif member.kind == "special":
            _refuse(unpacking, member.name, say("a device or another special member of the archive"))


def _counted(read: Callable[[int], bytes], unpacking: _Unpacking) -> Callable[[int], bytes]:
    """Bytes of members that are skipped count too: a bomb need not be written to cost time."""
    seen = 0

    def counted(n: int) -> bytes:
        nonlocal seen
        data = read(n)
        seen += len(data)
        _check(unpacking, seen)
        return data

    return counted


def _unpack_zip(path: Path, unpacking: _Unpacking) -> None:
    with path.open("rb") as file, zipfile.ZipFile(shortened(file, MAX_ENTRIES + 1)) as archive:
        end = 0
        for info in sorted(archive.infolist(), key=lambda i: i.header_offset):
            _count(unpacking)
            overlaps = info.header_offset < end
            end = max(end, info.header_offset + 30 + len(info.filename.encode("utf-8", "surrogateescape")) + info.compress_size)
            if info.is_dir():
                continue
            if overlaps:
                _refuse(unpacking, info.filename, say("it overlaps another member of the archive"), hostile=True)
            elif info.flag_bits & 0x1:
                _refuse(unpacking, info.filename, say("it is encrypted"))
            elif stat.S_ISLNK(info.external_attr >> 16):
                _refuse(unpacking, info.filename, say("a link in the archive: not followed"))
            else:
                try:
                    with archive.open(info) as data:
                        _write(unpacking, info.filename, iter(lambda: data.read(_CHUNK), b""), None)
                except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError, OSError, ValueError) as error:
                    _refuse(unpacking, info.filename, say("it cannot be unpacked: {why}", why=_reason(error)))


def _write(unpacking: _Unpacking, name: str, data: Iterable[bytes], modified: float | None) -> None:
    """One member as a new file below the private directory."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or "\0" in name:
        _refuse(unpacking, name, say("its name leads out of the archive"), hostile=True)
        return
    target = unpacking.top.joinpath(*parts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except FileExistsError:
        _refuse(unpacking, name, say("the archive holds it twice; the first one was taken"))
        return
    except (OSError, ValueError) as error:
        _refuse(unpacking, name, say("it cannot be unpacked: {why}", why=_reason(error)))
        return
    with os.fdopen(handle, "wb") as file:
        for piece in data:
            unpacking.written += len(piece)
            _check(unpacking, unpacking.written)
            file.write(piece)
    if modified is not None:
        try:
            os.utime(target, (modified, modified))
        except (OSError, OverflowError, ValueError):
            return


def _count(unpacking: _Unpacking) -> None:
    unpacking.entries += 1
    if unpacking.entries > MAX_ENTRIES:
        raise _FullError(say("only the first {n} members of the archive were unpacked", n=MAX_ENTRIES))


def _check(unpacking: _Unpacking, size: int) -> None:
    if size > MAX_BYTES:
        raise _FullError(say("only the first {n} GB of the archive were unpacked", n=MAX_BYTES >> 30))
    if size > RATIO_ALLOWANCE + MAX_RATIO * unpacking.packed:
        raise _FullError(say("the archive unpacks to more than {n} times its size: the rest was left", n=MAX_RATIO))
    if size >> 26 != (size - _CHUNK) >> 26 and shutil.disk_usage(unpacking.top).free < SPARE:
        raise _FullError(say("there is no space left for unpacking the archive; unpack it elsewhere and name the directory"))


def _refuse(unpacking: _Unpacking, name: str, why: Sentence, *, hostile: bool = False) -> None:
    if len(unpacking.skipped) < _NAMED:
        unpacking.skipped.append(Source(name[:1000], "archive", Status.SKIPPED, why, refused=hostile))
    else:
        unpacking.more[why] = unpacking.more.get(why, 0) + 1


def _from_stream(stream: BinaryIO, folder: Path) -> Opened:
    """A log on standard input as a file `stdin.log`."""
    target = folder.resolve() / "stdin.log"
    size = 0
    skipped: tuple[Source, ...] = ()
    with target.open("wb") as file:
        while piece := stream.read(_CHUNK):
            if size + len(piece) > MAX_STDIN:
                skipped = (Source("stdin.log", "", Status.PARTIAL, say("only the first {n} GB of standard input were read", n=MAX_STDIN >> 30)),)
                break
            size += len(piece)
            file.write(piece)
    return Opened(target, "stdin", skipped)


def _reason(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__


def _without_suffixes(name: str) -> str:
    lower = name.lower()
    suffix = next((s for s in (".tar.gz", ".tgz", ".tar", ".zip", ".gz", ".nemo") if lower.endswith(s)), "")
    return name[: len(name) - len(suffix)] or name


_UNPACK: dict[str, Callable[[Path, _Unpacking], None]] = {"tar": _unpack_tar, "tar.gz": _unpack_tar_gz, "gz": _unpack_gz, "zip": _unpack_zip}
