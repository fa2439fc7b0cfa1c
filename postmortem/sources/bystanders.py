"""Files that lie in a run and say nothing about it: pictures, data sets, source code, caches. Left out, and counted."""

from collections.abc import Mapping
from types import MappingProxyType

from postmortem.model.sentence import Sentence, say

# Directories whose contents nobody wrote about this run. Hidden directories are left out too, except the kept ones.
_DIRECTORIES = frozenset({
    "node_modules", "__pycache__", "site-packages", "venv", "__MACOSX", "lost+found",
})  # fmt: skip
_KEPT_HIDDEN_DIRECTORIES = frozenset({".hydra", ".submitit"})
_KEPT_HIDDEN_FILES = frozenset({".metadata"})

_EXTENSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "images": ("png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff", "svg", "ico", "ppm", "pgm", "exr", "dcm", "nii", "heic"),
    "videos": ("mp4", "avi", "mov", "mkv", "webm", "m4v"),
    "sound files": ("wav", "flac", "mp3", "ogg", "m4a", "opus"),
    "data sets": ("arrow", "parquet", "feather", "lmdb", "mdb", "tfrecord", "tfrecords", "avro", "orc", "beton", "laz", "las"),
    "source files": (
        "py", "pyc", "pyi", "ipynb", "c", "h", "cc", "cpp", "cu", "cuh", "hpp", "rs", "js", "ts", "css", "so", "o", "a", "whl", "patch", "diff",
    ),
    "documents": ("pdf", "html", "htm", "docx", "pptx", "tex", "ttf", "woff", "woff2"),
})  # fmt: skip
_BY_EXTENSION = {extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions}
_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "tokenizer files": (
        "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
        "merges.txt", "spiece.model", "sentencepiece.bpe.model", "chat_template.jinja", "chat_template.json",
    ),
    "lists of packages": ("requirements.txt", "conda-environment.yaml", "pip_freeze.txt", "poetry.lock", "uv.lock", "package-lock.json"),
})  # fmt: skip
_BY_NAME = {name: kind for kind, names in _NAMES.items() for name in names}
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "images"), (b"\xff\xd8\xff", "images"), (b"GIF87a", "images"), (b"GIF89a", "images"), (b"RIFF", "sound files"),
    (b"fLaC", "sound files"), (b"OggS", "sound files"), (b"PAR1", "data sets"), (b"ARROW1", "data sets"), (b"%PDF-", "documents"),
    (b"\x7fELF", "source files"), (b"version https://git-lfs.github.com/spec/v", "pointers"),
)  # fmt: skip
_TRACKER_LOGS = frozenset({"debug.log", "debug-internal.log", "debug-core.log", "debug-cli.log"})
_REASONS: Mapping[str, Sentence] = MappingProxyType({
    "images": say("images"), "videos": say("videos"), "sound files": say("sound files"), "data sets": say("data-set files"),
    "source files": say("source files: code is not read"), "documents": say("documents"), "tokenizer files": say("tokenizer files"),
    "pointers": say("Git LFS pointers: the files themselves are not here, `git lfs pull` fetches them"),
    "lists of packages": say("lists of packages"), "hidden files": say("hidden files"), "tracker logs": say("logs of the tracking tool about itself"),
})  # fmt: skip


def kind_by_name(path: str) -> str:
    """What kind of bystander a file is by its relative path, "" when it may be about the run. The file is not opened."""
    folder, _, name = path.rpartition("/")
    if name.startswith(".") and name not in _KEPT_HIDDEN_FILES:
        return "hidden files"
    lower = name.lower()
    if lower in _BY_NAME:
        return _BY_NAME[lower]
    if name in _TRACKER_LOGS and ("wandb" in folder.split("/") or folder.endswith("logs")):
        return "tracker logs"
    if "tfevents" in lower:  # events.out.tfevents.1.my.host.py: a host's name looks like an extension
        return ""
    stem, dot, extension = lower.rpartition(".")
    return _BY_EXTENSION.get(extension, "") if dot and stem else ""


def kind_by_head(head: bytes) -> str:
    """The same by a file's first bytes."""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def reason(kind: str) -> Sentence:
    """A kind as a report names it; what `kind_by_name` and `kind_by_head` return."""
    return _REASONS[kind]


def left_out_directory(name: str) -> bool:
    """Whether a directory of that name holds nothing about a run: caches, environments, hidden directories."""
    return name in _DIRECTORIES or (name.startswith(".") and name not in _KEPT_HIDDEN_DIRECTORIES)
