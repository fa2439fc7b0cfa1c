"""`.keras` archives: configuration, metadata and a weights file in HDF5, stored or deflated, in one zip file."""

import os
from types import MappingProxyType

from postmortem.model.run import Source, Status
from postmortem.model.sentence import Value, say
from postmortem.sources.checkpoints.fragments import what_it_is_instead
from postmortem.sources.checkpoints.hdf5 import Job, listing
from postmortem.sources.checkpoints.keras_config import configuration, parsed
from postmortem.sources.checkpoints.keras_h5 import checkpoint, failed
from postmortem.sources.checkpoints.zip_directory import DEFLATED, STORED, Directory, Window, content, located, read_directory
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "keras-zip"
_WEIGHTS = "model.weights.h5"
_CONFIG, _METADATA = "config.json", "metadata.json"
_LARGEST_JSON = 64 << 20  # bytes
_MOST_AT_ONCE = 64
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def claims(candidate: Candidate) -> bool:
    """By extension, or a zip file whose first member is one of Keras'."""
    start = candidate.head[30:50]
    return candidate.name.lower().endswith(".keras") or (
        candidate.head.startswith(b"PK\x03\x04") and start.startswith((b"metadata.json", b"config.json")) and b"keras" in candidate.head
    )


def read(candidate: Candidate) -> Found:
    try:
        handle = os.open(candidate.file, _OPEN_FLAGS)
    except OSError as error:
        return failed(candidate, NAME, say("it cannot be read: {why}", why=error.strerror or type(error).__name__))
    try:
        window = Window(handle, 0, os.fstat(handle).st_size)
        directory = read_directory(window)
        if directory is None:
            if candidate.head.startswith(b"PK"):
                return failed(candidate, NAME, say("the file is cut: the end of the archive is missing"), truncated=True)
            known = what_it_is_instead(candidate.head, candidate.size)
            why = say("this is no .keras archive") if "torch" in known.template else known
            return failed(candidate, NAME, why, truncated=candidate.size == 0)
        texts = {name: _text(window, directory, name) for name in (_CONFIG, _METADATA)}
        job = _weights(window, directory, str(candidate.file))
    finally:
        os.close(handle)
    config = configuration(parsed(texts[_CONFIG]), None, f"{candidate.path}/{_CONFIG}")
    metadata = parsed(texts[_METADATA])
    facts: dict[str, Value] = {}
    if isinstance(metadata, dict):
        facts = {key: value[:100] for key in ("keras_version", "date_saved") if isinstance(value := metadata.get(key), str)}
    if job is None:
        if config.layers and not any(name.startswith("model.weights") for name in directory.members):
            detail = say("it holds the model's configuration and no weights")
            source = Source(candidate.path, NAME, Status.PARTIAL, detail, candidate.size)
            return Found(source, settings=tuple(config.settings), facts=MappingProxyType({"framework": "keras"}))
        return failed(candidate, NAME, directory.problem or say("its weights are in a form that is not read"), truncated=directory.truncated)
    found = listing(job, candidate.path, _neighbours(candidate))
    if found.failed:
        return failed(candidate, NAME, found.problem or say("it cannot be read"), truncated=found.cut)
    return checkpoint(candidate, NAME, found, config, facts)


def _text(window: Window, directory: Directory, name: str) -> bytes | None:
    member = directory.members.get(name)
    found = located(window, member) if member else None
    return content(window, found, _LARGEST_JSON) if found else None


def _weights(window: Window, directory: Directory, path: str) -> Job | None:
    """Where the weights lie in the archive, None when they are not there or packed in a way that is not read."""
    member = directory.members.get(_WEIGHTS)
    found = located(window, member) if member else None
    if found is None or found.method not in (STORED, DEFLATED):
        return None
    if found.method == STORED:
        return Job(path, found.data, found.packed)
    return Job(path, found.data, found.size, found.packed)


def _neighbours(candidate: Candidate) -> list[tuple[Job, str]]:
    """The archives that will be read next."""
    out: list[tuple[Job, str]] = []
    for name in sorted(n for n in candidate.siblings if n.lower().endswith(".keras") and n > candidate.name)[: _MOST_AT_ONCE - 1]:
        path = f"{candidate.folder}/{name}" if candidate.folder else name
        try:
            handle = os.open(candidate.root / path, _OPEN_FLAGS)
        except OSError:
            continue
        try:
            window = Window(handle, 0, os.fstat(handle).st_size)
            directory = read_directory(window)
            job = _weights(window, directory, str(candidate.root / path)) if directory else None
        except OSError:
            continue
        finally:
            os.close(handle)
        if job is not None:
            out.append((job, path))
    return out


READER = Reader(NAME, claims, read)
