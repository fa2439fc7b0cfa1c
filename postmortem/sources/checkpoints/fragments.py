"""What a reader of a torch file hands back: a `Found` with one fragment of a checkpoint, its status and its reasons."""

import re
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from postmortem.model.run import Checkpoint, Source, Status
from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints.contents import Contents
from postmortem.sources.checkpoints.steps import step_and_epoch
from postmortem.sources.reader import Candidate, Found

# Directories that are part of the checkpoint above them: DeepSpeed below transformers, FSDP's below accelerate, ranks.
PART_OF_PARENT = re.compile(r"^(?:global_step\d+|pytorch_model_fsdp_\d+|optimizer_\d+|mp_rank_\d+(?:_\d+)*)$")
_LFS = b"version https://git-lfs"
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head")


def modified(candidate: Candidate) -> float | None:
    """The file's mtime, None when it cannot be asked."""
    try:
        return candidate.file.stat().st_mtime
    except OSError:
        return None


def whole_folder(folder: str) -> str:
    """The directory of the checkpoint that a directory belongs to: itself, or the one above."""
    while "/" in folder and PART_OF_PARENT.match(folder.rpartition("/")[2]):
        folder = folder.rpartition("/")[0]
    return folder


# What reading may meet in a damaged or hostile file.
UNEXPECTED = (OSError, ValueError, MemoryError, RecursionError, OverflowError, KeyError, IndexError, TypeError, AttributeError)


def stopped_at(error: Exception) -> Sentence:
    """How a reader says that it met one of these."""
    return say("reading stopped at something unexpected ({kind})", kind=type(error).__name__)


def failed(candidate: Candidate, reader: str, detail: Sentence, *, truncated: bool = False) -> Found:
    """A checkpoint file out of which nothing could be read. It is listed as a checkpoint, so that a report can say that it is broken."""
    step, epoch = step_and_epoch(candidate.path)
    one = Checkpoint(
        candidate.path,
        reader,
        Status.FAILED,
        step,
        epoch,
        detail,
        files=(candidate.path,),
        size=candidate.size,
        modified=modified(candidate),
        truncated=truncated,
    )
    return Found(Source(candidate.path, reader, Status.FAILED, detail, candidate.size), checkpoints=(one,))


def skipped(candidate: Candidate, reader: str, detail: Sentence) -> Found:
    """A file that is understood and left out."""
    return Found(Source(candidate.path, reader, Status.SKIPPED, detail, candidate.size))


def fragment(
    candidate: Candidate,
    reader: str,
    content: Contents,
    problems: Sequence[Sentence | None],
    *,
    truncated: bool = False,
    dangerous: tuple[str, ...] = (),
    stated_by: str = "",
) -> Found:
    """The fragment with its step: what the content says, else the path (or `stated_by` in its place), else the optimizer's count of its updates."""
    known = [p for p in problems if p is not None]
    if dangerous:
        known.append(say("it names {names}, which no checkpoint needs; nothing of it was run", names=", ".join(dangerous[:5])))
    status = Status.PARTIAL if known else Status.READ
    if truncated and content.empty:
        status = Status.FAILED
    detail = _together(known)
    facts = dict(content.facts)
    path_step, path_epoch = step_and_epoch(stated_by or candidate.path)
    if content.step is None and content.epoch == path_step:
        path_step = None  # the number in the name counted epochs: `checkpoint-5.pth.tar` of timm
    step = content.step if content.step is not None else path_step
    epoch = content.epoch if content.epoch is not None else path_epoch
    updates = max((s.step for s in content.optimizer.states if s.step is not None), default=None) if content.optimizer else None
    if updates is not None:
        facts["optimizer_step"] = updates
        if step is None and content.epoch is None and epoch == updates:
            step, epoch = updates, None  # the number in the name counted steps
        elif step is None:
            step = updates
            facts["step_from"] = "optimizer"
    one = Checkpoint(
        candidate.path,
        reader,
        status,
        step,
        epoch,
        detail,
        tensors=content.tensors,
        optimizer=content.optimizer,
        scheduler=MappingProxyType(content.scheduler),
        scaler=MappingProxyType(content.scaler),
        settings=content.settings,
        trainable=content.trainable,
        facts=MappingProxyType(facts),
        files=(candidate.path,),
        size=candidate.size,
        modified=modified(candidate),
        truncated=truncated,
        refused=dangerous,
    )
    source = Source(candidate.path, reader, status, detail, candidate.size, refused=bool(dangerous))
    if content.empty and not truncated and not dangerous:
        why = detail or say("no model, optimizer or setting was found in it")
        return Found(replace(source, status=Status.SKIPPED if detail is None else Status.PARTIAL, detail=why))
    settings = content.settings if not content.tensors and content.optimizer is None else ()
    if settings and not content.scheduler and not content.scaler and not dangerous and not truncated:
        return Found(source, settings=settings)  # a file of settings is no checkpoint
    return Found(source, checkpoints=(one,))


def _together(known: Sequence[Sentence]) -> Sentence | None:
    if not known:
        return None
    if len(known) == 1:
        return known[0]
    return say("{first}; {second}", first=known[0], second=known[1])


def what_it_is_instead(head: bytes, size: int) -> Sentence:
    """Why a file that is called like a checkpoint is none."""
    start = head[:200].lstrip().lower()
    if size == 0:
        return say("the file is empty")
    if head.startswith(_LFS):
        return say("this is a Git LFS pointer, not the file itself: run `git lfs pull`")
    if start.startswith(_MARKUP):
        return say("this is a web page, not a checkpoint: the download failed")
    if not head.strip(b"\0"):
        return say("the file holds only zero bytes: it was never written out")
    if all(32 <= b < 127 or b in b"\n\r\t" for b in head):
        return say("this is a text file, not a checkpoint")
    return say("this is no checkpoint that torch wrote")
