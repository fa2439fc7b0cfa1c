"""A bound on what one file may give to measure: measuring takes 0.15 to 0.4 ms of a tensor, however small it is."""

from dataclasses import replace

from postmortem.model.run import Checkpoint, Status
from postmortem.model.sentence import say
from postmortem.sources.reader import Found

MOST_TENSORS = 20_000  # of one file, and as many parameters in an optimizer's state; models of mixtures of experts lie in many files


def bounded(found: Found) -> Found:
    """The same with the first `MOST_TENSORS` of each checkpoint, which says so where there are more."""
    kept = tuple(_bounded(c) for c in found.checkpoints)
    cut = next((new for new, old in zip(kept, found.checkpoints, strict=True) if new is not old), None)
    if cut is None:
        return found
    source = found.source
    if source.status is Status.READ:
        source = replace(source, status=Status.PARTIAL, detail=cut.detail)
    return replace(found, source=source, checkpoints=kept)


def _bounded(checkpoint: Checkpoint) -> Checkpoint:
    optimizer = checkpoint.optimizer
    several = max(len(checkpoint.tensors), len(optimizer.states) if optimizer is not None else 0)
    if several <= MOST_TENSORS:
        return checkpoint
    detail = checkpoint.detail or say("it holds {n:,} tensors: only the first {limit:,} were taken", n=several, limit=MOST_TENSORS)
    return replace(
        checkpoint,
        status=Status.PARTIAL if checkpoint.status is Status.READ else checkpoint.status,
        detail=detail,
        tensors=checkpoint.tensors[:MOST_TENSORS],
        optimizer=None if optimizer is None else replace(optimizer, states=optimizer.states[:MOST_TENSORS]),
    )
