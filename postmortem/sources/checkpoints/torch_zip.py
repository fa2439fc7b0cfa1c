"""What `torch.save` has written since torch 1.6: a zip with a pickle and one member per storage.

`<top>/data.pkl` is the pickle, `<top>/data/<key>` the storages, uncompressed; `<top>/byteorder` says "little" or "big".
A file that was cut has no central directory; torch refuses it, and every tensor before the cut is still whole.
"""

import os
import re
import stat
from contextlib import suppress

from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints.contents import contents
from postmortem.sources.checkpoints.flat_shares import flat_share
from postmortem.sources.checkpoints.fragments import UNEXPECTED, failed, fragment, skipped, stopped_at, what_it_is_instead
from postmortem.sources.checkpoints.placing import Locate, Place, Placer
from postmortem.sources.checkpoints.torch_legacy import is_rng_state, read_stream, rng_detail
from postmortem.sources.checkpoints.zip_directory import STORED, Directory, Member, Window, content, first_member, located, read_directory, scan
from postmortem.sources.pickles import Pickled, read_pickle
from postmortem.sources.pickles.rebuild import ITEM_SIZES
from postmortem.sources.pickles.records import DEFAULT_LIMITS, Limits, Storage
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "torch-zip"
LEGACY = "torch-legacy"
_EXTENSIONS = (".pt", ".pth", ".ckpt", ".pth.tar", ".pt.tar", ".th")
_BIN_WORDS = ("pytorch_model", "optimizer", "scheduler", "training_args", "adapter_model", "scaler", "diffusion_pytorch_model")
# How pickles of protocols 0 and 1 start: a global, a dict, a list, a tuple. Nothing that a text would start with.
_OLD_PICKLE = re.compile(
    rb"c[\w.]{1,100}\n[\w.]{1,100}\n|\((?:[dl]p\d|[ci][\w.]{1,100}\n|S['\"]|[dlt]\.)|[\]}][q(c]|[VS][^\n]{1,100}\n(?:p\d{1,3}\n|[VS0\x93])"
)
_BLOB = Limits(work=2_000)  # the pickle of one storage
_UNPACKED = 256 << 20  # bytes of compressed members that are held in memory


def open_file(path: str | os.PathLike[str]) -> int | None:
    """A descriptor for `pread`, None when it is no regular file or cannot be opened."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    with suppress(OSError, ValueError):
        fd = os.open(path, flags)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
    return None


class Archive:
    """An open torch zip: its pickle, and where the storages are."""

    def __init__(self, window: Window, file: str, *, one_tensor: bool = False, limits: Limits | None = None) -> None:
        """`one_tensor`: the zip holds a single tensor (sharded checkpoints are made of such), found without the directory."""
        self.window = window
        self.file = file
        self.top = ""
        self.pickled: Pickled | None = None
        self.unpacked = 0
        self.blobs = Blobs()
        self.limits = DEFAULT_LIMITS if limits is None else limits
        self.scanned_sizes: dict[str, int] = {}
        found = None if one_tensor else read_directory(window)
        self.directory: Directory = found or scan(window, self._expect, one_tensor=one_tensor)
        self._find_pickle()

    def _find_pickle(self) -> None:
        tops = sorted(
            (n.removesuffix("data.pkl") for n in self.directory.members if n == "data.pkl" or n.endswith("/data.pkl")), key=lambda n: (len(n), n)
        )
        if not tops:
            return
        self.top = tops[0]
        if self.pickled is None:
            data = self.member("data.pkl", self.limits.size)
            self.pickled = read_pickle(data, limits=self.limits) if data is not None else None

    def _expect(self, name: str, data: int) -> int | None:
        """Sizes of members whose header does not say: the pickle ends at its STOP, a storage is as long as the pickle says."""
        if name.endswith("data.pkl") and self.pickled is None:
            self.top = name.removesuffix("data.pkl")
            self.pickled = read_pickle(self.window.read(self.limits.size, data), limits=self.limits)
            for storage in self.pickled.storages:
                self.scanned_sizes[storage.key] = storage.count * ITEM_SIZES[storage.dtype]
            return self.pickled.end
        return self.scanned_sizes.get(name.removeprefix(f"{self.top}data/")) if name.startswith(f"{self.top}data/") else None

    def find(self, name: str) -> Member | None:
        """A member below the top folder, with its data's offset."""
        member = self.directory.members.get(self.top + name)
        found = None if member is None else located(self.window, member)
        if member is not None and found is not None and found is not member:
            self.directory.members[self.top + name] = found
        return found

    def member(self, name: str, limit: int) -> bytes | None:
        """A member's bytes, unpacked."""
        found = self.find(name)
        return None if found is None else content(self.window, found, limit)

    def locate(self, storage: Storage) -> Place | None:
        """Where a storage's bytes are."""
        if storage.blob is not None:
            return self.blobs.locate(storage)
        member = self.find(f"data/{storage.key}")
        claimed = storage.count * ITEM_SIZES.get(storage.dtype, 1)
        if member is None:
            return Place(self.file, 0, 0, missing=claimed) if self.directory.truncated else None
        if member.method == STORED:
            there = min(member.packed, claimed)
            # only a file that was cut may lack bytes; elsewhere a storage is as long as its member
            return Place(self.file, self.window.start + member.data, there, missing=claimed - there if self.directory.truncated else 0)
        if self.unpacked > _UNPACKED:
            return None
        data = content(self.window, member, _UNPACKED)
        if data is None:
            return None
        self.unpacked += len(data)
        return Place(self.file, 0, len(data), data)

    def big_endian(self) -> bool:
        """True when the file says that it was written on a big-endian machine."""
        return self.member("byteorder", 16) == b"big"


class Blobs:
    """Storages that were pickled with `pickle.dump`: their bytes are a saved storage of their own, in memory. Each is read once."""

    def __init__(self) -> None:
        self.known: dict[int, Place | None] = {}

    def locate(self, storage: Storage) -> Place | None:
        """The bytes, None when the blob holds none."""
        blob = storage.blob
        if blob is None:
            return None
        if id(blob) not in self.known:
            self.known[id(blob)] = self._read(blob)
        return self.known[id(blob)]

    @staticmethod
    def _read(blob: bytes) -> Place | None:
        stream = read_stream(lambda at, n: blob[at : at + n], len(blob), limits=_BLOB)
        inner = None if stream is None else stream.pickled.value
        place = stream.locate(inner) if stream is not None and isinstance(inner, Storage) else None
        if place is None or not isinstance(inner, Storage):
            return None
        return Place("", 0, place.nbytes, blob[place.offset : place.offset + place.nbytes], dtype=inner.dtype)


def claims(candidate: Candidate) -> bool:
    """By name and first bytes. Also takes files that are called like a checkpoint and are none, to say so."""
    name, head = candidate.name.lower(), candidate.head
    if head.startswith(b"PK\x03\x04"):
        return name.endswith((*_EXTENSIONS, ".bin", ".tar", ".pkl", ".model", ".h5")) or (b"/data.pkl" in head[:512] and b"/" in first_member(head))
    if name.endswith((*_EXTENSIONS, ".pth.tar")):
        return True
    if (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")) or (name.endswith((".pkl", ".pickle")) and _OLD_PICKLE.match(head)):
        return name.endswith((".bin", ".pkl", ".pickle", ".tar", ".p", ".h5"))
    return name.endswith(".bin") and name.startswith(_BIN_WORDS)


def read(candidate: Candidate) -> Found:
    """Read a torch file of either format."""
    try:
        return _read(candidate)
    except UNEXPECTED as error:
        return failed(candidate, NAME, stopped_at(error))


def _read(candidate: Candidate) -> Found:
    if is_rng_state(candidate.name):
        return skipped(candidate, NAME, rng_detail())
    fd = open_file(candidate.file)
    if fd is None:
        return failed(candidate, NAME, say("the file cannot be opened"))
    try:
        size = os.fstat(fd).st_size
        window = Window(fd, 0, size)
        head = window.read(4096, 0)
        if head.startswith(b"PK\x03\x04"):
            return _read_zip(candidate, window)
        if head[:1] == b"\x80" or _OLD_PICKLE.match(head):
            return _read_stream(candidate, window)
        if b"ustar" in head[257:265] or head[:2] == b"\x1f\x8b":
            return skipped(candidate, NAME, say("the tar format of torch before 0.4 and compressed files are not read"))
        return failed(candidate, NAME, what_it_is_instead(head, size), truncated=size == 0 or not head.strip(b"\0"))
    finally:
        os.close(fd)


def _read_zip(candidate: Candidate, window: Window) -> Found:
    archive = Archive(window, candidate.path)
    pickled = archive.pickled
    if pickled is None:
        if archive.directory.truncated:
            return failed(candidate, NAME, say("the file ends before its content: it was cut while it was written or copied"), truncated=True)
        if any(n.endswith("saved_model.pb") or n == "model.weights.h5" for n in archive.directory.members):
            return skipped(candidate, NAME, say("this zip holds no torch checkpoint"))
        return failed(candidate, NAME, archive.directory.problem or say("this zip holds no torch checkpoint"))
    placer = Placer(archive.locate, lambda at, n: window.read(n, at), swapped=archive.big_endian())
    found = contents(pickled.value, placer, candidate.path)
    truncated = archive.directory.truncated
    cut = say("the file is cut: {size:,} bytes are there and the directory at its end is not", size=window.size) if truncated else None
    flat = flat_share(candidate.name, found)
    problems: list[Sentence | None] = [cut, pickled.problem, archive.directory.problem if not truncated else None, placer.problem(), flat]
    return fragment(candidate, NAME, found, problems, truncated=truncated, dangerous=pickled.dangerous)


def _read_stream(candidate: Candidate, window: Window) -> Found:
    stream = read_stream(lambda at, n: window.read(n, at), window.size, candidate.path)
    if stream is None:
        return failed(candidate, LEGACY, what_it_is_instead(window.read(4096, 0), window.size))
    blobs = Blobs()
    locate: Locate = lambda storage: blobs.locate(storage) if storage.blob is not None else stream.locate(storage)  # noqa: E731
    placer = Placer(locate, lambda at, n: window.read(n, at), swapped=stream.big_endian)
    found = contents(stream.pickled.value, placer, candidate.path)
    cut = say("the file is cut: it ends at byte {size:,}, before its content does", size=window.size) if stream.truncated else None
    problems = [cut, None if stream.truncated else stream.pickled.problem, placer.problem()]
    return fragment(candidate, LEGACY, found, problems, truncated=stream.truncated, dangerous=stream.dangerous)


READER = Reader(NAME, claims, read)
