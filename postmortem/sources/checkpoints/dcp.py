"""torch.distributed.checkpoint: a directory of `__<rank>_<n>.distcp` files and `.metadata`, which is written last.

`.metadata` pickles `Metadata{state_dict_metadata, planner_data, storage_data}`; `storage_data` says for every item (a shard of a
tensor, or a pickled value) the file, offset and length of a `torch.save` blob. The saved tree is put together again from these,
with one reference per shard, and then read like any other checkpoint.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from postmortem.model.run import Checkpoint, Source, Status, TensorRef
from postmortem.model.sentence import say
from postmortem.sources.checkpoints.contents import contents
from postmortem.sources.checkpoints.dcp_tree import path_of, tree
from postmortem.sources.checkpoints.fragments import UNEXPECTED, fragment, stopped_at, whole_folder
from postmortem.sources.checkpoints.placing import Placer, in_order, tiles
from postmortem.sources.checkpoints.plain import as_list, as_mapping
from postmortem.sources.checkpoints.steps import step_and_epoch
from postmortem.sources.checkpoints.torch_zip import Archive, open_file
from postmortem.sources.checkpoints.zip_directory import Window
from postmortem.sources.pickles import read_pickle
from postmortem.sources.pickles.rebuild import ITEM_SIZES, torch_dtype
from postmortem.sources.pickles.records import DEFAULT_LIMITS, Limits, OddKey, Record, Storage, Tensor
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "dcp"
_LARGEST_VALUE = 16 << 20  # bytes of a pickled value
_ONE_TENSOR, _ONE_VALUE = Limits(size=1 << 16, work=2_000), Limits(size=_LARGEST_VALUE, work=1_000_000)
_OPEN_FILES = 64


@dataclass(frozen=True, slots=True)
class _Item:
    """One entry of `storage_data`."""

    file: str  # relative to the checkpoint's directory
    offset: int
    length: int
    packed: bool  # written through a compressing transform
    corner: tuple[int, ...]  # where the shard lies in its tensor


@dataclass(slots=True)
class _Folder:
    """The open shard files of one checkpoint."""

    candidate: Candidate
    open: dict[str, Window] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    short: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    dangerous: dict[str, None] = field(default_factory=dict)
    budget: int = 60_000_000  # bytes of pickles, all items together

    def relative(self, name: str) -> str:
        """The file's path relative to the run."""
        return f"{self.candidate.folder}/{name}" if self.candidate.folder else name

    def window(self, item: _Item) -> Window | None:
        """The item's bytes; None, noted, when they are not all there."""
        whole = self.open.get(item.file)
        if whole is None:
            if item.file in self.missing:
                return None
            fd = open_file(self.candidate.file.parent / item.file)
            if fd is None:
                self.missing.add(item.file)
                return None
            if len(self.open) >= _OPEN_FILES:
                self.close()
            whole = self.open[item.file] = Window(fd, 0, os.fstat(fd).st_size)
        self.used.add(item.file)
        if item.offset + item.length > whole.size:
            self.short.add(item.file)
            return None
        return Window(whole.fd, item.offset, item.length)

    def close(self) -> None:
        """Close every file."""
        for window in self.open.values():
            os.close(window.fd)
        self.open.clear()

    def archive(self, item: _Item, limits: Limits) -> Archive | None:
        """The `torch.save` blob of an item."""
        window = None if item.packed or self.budget <= 0 else self.window(item)
        if window is None:
            return None
        found = Archive(window, self.relative(item.file), one_tensor=True, limits=limits)
        self.budget -= 100 + (found.pickled.end if found.pickled is not None else 0)
        if found.pickled is not None:
            self.dangerous.update(dict.fromkeys(found.pickled.dangerous))
        return found if found.pickled is not None else None


@dataclass(slots=True)
class _ShardPlacer(Placer):
    """Places tensors whose bytes lie in several blobs."""

    folder: _Folder | None = None
    shards: Mapping[str, tuple[_Item, ...]] = field(default_factory=dict)

    def ref(self, name: str, value: object) -> TensorRef | None:
        """One reference for a tensor in one piece, one with `pieces` for a sharded one."""
        if not isinstance(value, Tensor) or not isinstance(value.storage, Storage) or value.storage.key not in self.shards:
            return Placer.ref(self, name, value)
        pieces = [self._piece(name, item) for item in self.shards[value.storage.key]]
        whole = [p for p in pieces if p is not None]
        if len(whole) < len(pieces):
            return None
        if len(whole) == 1 and whole[0].shape == value.shape:
            return replace(whole[0], requires_grad=None)
        if sum(p.count for p in whole) != math.prod(value.shape):
            return self._none("beyond")
        total = sum(p.nbytes for p in whole)
        corners = tuple(item.corner for item in self.shards[value.storage.key])
        if all(p.shape[1:] == value.shape[1:] for p in whole):
            corners = ()  # cut along the first dimension: they follow one another
        elif not tiles(value.shape, corners, [p.shape for p in whole]):
            return self._none("beyond")
        return TensorRef(name, "", 0, value.dtype, value.shape, in_order(value.shape), total, pieces=tuple(whole), corners=corners)

    def number(self, value: object) -> float | None:
        """A number, or the only element of a tensor."""
        if not isinstance(value, Tensor) or not isinstance(value.storage, Storage) or self.folder is None:
            return Placer.number(self, value)
        items = self.shards.get(value.storage.key, ())
        archive = self.folder.archive(items[0], _ONE_TENSOR) if len(items) == 1 else None
        if archive is None or archive.pickled is None:
            return None
        return Placer(archive.locate, _absolute(archive)).number(archive.pickled.value)

    def _piece(self, name: str, item: _Item) -> TensorRef | None:
        archive = self.folder.archive(item, _ONE_TENSOR) if self.folder is not None else None
        if archive is None or archive.pickled is None:
            return self._none("cut" if not item.packed else "lost")
        inner = Placer(archive.locate, _absolute(archive))
        ref = inner.ref(name, archive.pickled.value)
        self.problems.update(inner.problems)
        return ref


def _absolute(archive: Archive) -> Any:
    """Reads by offsets into the file, where the archive is a window of it."""
    return lambda at, n: archive.window.read(n, at - archive.window.start)


def claims(candidate: Candidate) -> bool:
    """`.metadata` of a DCP directory, and its shards (which are read with it)."""
    return candidate.name.endswith(".distcp") or (candidate.name == ".metadata" and b"torch.distributed.checkpoint" in candidate.head)


def read(candidate: Candidate) -> Found:
    """Read a checkpoint directory by its `.metadata`; a shard without one is what an unfinished save left."""
    if candidate.name.endswith(".distcp"):
        return _shard_alone(candidate)
    folder = _Folder(candidate)
    try:
        return _read(candidate, folder)
    except UNEXPECTED as error:
        return Found(Source(candidate.path, NAME, Status.FAILED, stopped_at(error), candidate.size))
    finally:
        folder.close()


def _shard_alone(candidate: Candidate) -> Found:
    if ".metadata" in candidate.siblings:
        return Found(Source(candidate.path, NAME, Status.READ, None, candidate.size))
    detail = say("`.metadata` is missing: it is written last, so the save did not finish")
    step, epoch = step_and_epoch(whole_folder(candidate.folder))
    one = Checkpoint(
        candidate.folder or candidate.path, NAME, Status.FAILED, step, epoch, detail, files=(candidate.path,), size=candidate.size, truncated=True
    )
    return Found(Source(candidate.path, NAME, Status.FAILED, detail, candidate.size), checkpoints=(one,))


def _read(candidate: Candidate, folder: _Folder) -> Found:
    fd = open_file(candidate.file)
    if fd is None:
        return Found(Source(candidate.path, NAME, Status.FAILED, say("the file cannot be opened"), candidate.size))
    try:
        pickled = read_pickle(Window(fd, 0, DEFAULT_LIMITS.size).read(DEFAULT_LIMITS.size, 0))
    finally:
        os.close(fd)
    folder.dangerous.update(dict.fromkeys(pickled.dangerous))
    metadata = as_mapping(pickled.value) or {}
    described = as_mapping(metadata.get("state_dict_metadata")) or {}
    items = _items(as_mapping(metadata.get("storage_data")) or {})
    paths = as_mapping(metadata.get("planner_data")) or {}
    placer = _ShardPlacer(lambda _: None, lambda _at, _n: b"", folder=folder, shards=items)
    leaves = [(path_of(name, paths.get(name)), _leaf(name, entry, items, folder)) for name, entry in described.items() if isinstance(name, str)]
    where = candidate.folder or candidate.path
    content = contents(tree(leaves), placer, candidate.path)
    files = {folder.relative(name): size for name, size in _sizes(folder, items).items()}
    truncated = bool(folder.missing or folder.short or pickled.problem)
    missing = say("{n:,} shard files are missing, such as {name}", n=len(folder.missing), name=min(folder.missing)) if folder.missing else None
    short = (
        say("{n:,} shard files are shorter than `.metadata` says, such as {name}", n=len(folder.short), name=min(folder.short))
        if folder.short
        else None
    )
    at = replace(candidate, path=where, size=candidate.size + sum(files.values()))
    found = fragment(
        at,
        NAME,
        content,
        [missing, short, pickled.problem, placer.problem()],
        truncated=truncated,
        dangerous=tuple(folder.dangerous),
        stated_by=whole_folder(where),
    )
    checkpoints = tuple(replace(c, files=(candidate.path, *sorted(files))) for c in found.checkpoints)
    source = replace(found.source, path=candidate.path, size=candidate.size)
    return replace(found, source=source, checkpoints=checkpoints, consumed=tuple(sorted(files)))


def _sizes(folder: _Folder, items: Mapping[str, tuple[_Item, ...]]) -> dict[str, int]:
    """Size of each shard file that is there."""
    out: dict[str, int] = {}
    for name in {item.file for group in items.values() for item in group} - folder.missing:
        try:
            out[name] = (folder.candidate.file.parent / name).stat().st_size
        except OSError:
            folder.missing.add(name)
    return out


def _items(storage_data: Mapping[object, object]) -> dict[str, tuple[_Item, ...]]:
    """Entries of `storage_data` by the name of what they are part of, in the order of their corners."""
    out: dict[str, list[_Item]] = {}
    for key, value in storage_data.items():
        index = as_mapping(key.value) if isinstance(key, OddKey) else None
        info = as_mapping(value)
        if info is None:
            continue
        name = index.get("fqn") if index is not None else key
        corner = as_list(index.get("offset")) if index is not None else None
        file, offset, length = info.get("relative_path"), info.get("offset"), info.get("length")
        if not isinstance(name, str) or not isinstance(file, str) or type(offset) is not int or type(length) is not int:
            continue
        if not file or set(file) & {"/", "\\", "\0"} or file == ".." or offset < 0 or length < 0 or max(offset, length) >= 1 << 62:
            continue  # torch writes plain names; a path that may leave the directory is never opened
        place = tuple(n for n in corner or () if isinstance(n, int))
        out.setdefault(name, []).append(_Item(file, offset, length, bool(as_list(info.get("transform_descriptors"))), place))
    return {name: tuple(sorted(group, key=lambda i: i.corner)) for name, group in out.items()}


def _leaf(name: str, entry: object, items: Mapping[str, tuple[_Item, ...]], folder: _Folder) -> object:
    """A tensor by its description, or the pickled value itself."""
    described = as_mapping(entry)
    if described is None or "size" not in described:
        group = items.get(name, ())
        if len(group) != 1 or group[0].length > _LARGEST_VALUE:
            return None
        archive = folder.archive(group[0], _ONE_VALUE)
        if archive is not None and archive.pickled is not None:
            return archive.pickled.value if not archive.pickled.storages else None
        return None
    properties = described.get("properties")
    state = properties.state if isinstance(properties, Record) else None
    dtype = torch_dtype(state[0]) if isinstance(state, tuple) and state else torch_dtype((as_mapping(properties) or {}).get("dtype"))
    shape = described.get("size")
    if not isinstance(shape, tuple) or not dtype or not all(type(n) is int for n in shape):
        return None
    return Tensor(Storage(name, dtype, 0), dtype if dtype in ITEM_SIZES else "", 0, shape, in_order(shape))


READER = Reader(NAME, claims, read)
