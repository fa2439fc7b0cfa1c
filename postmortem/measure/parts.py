"""Checkpoints that hold one network each of several that are trained together: a generator's beside a discriminator's."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from postmortem.model.run import Checkpoint, Status

_COUNTS = re.compile(r"\d+|epoch|step|iter(?:ation)?s?|checkpoint|ckpt|weights|model", re.IGNORECASE)
_LEAST = 2  # networks, and times that they were saved


def joined(saved: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """The networks that were saved at one step in files of their own as one checkpoint, each tensor's name behind its network's.

    Only where every step has the same networks, they differ in names or shapes of their tensors (else they are copies of one), and no
    file holds an optimizer. The checkpoint goes by the path of the first of its files.
    """
    at: dict[tuple[str, float], dict[str, Checkpoint]] = {}
    for c in saved:
        when = c.step if c.step is not None else c.epoch
        if when is None or c.optimizer is not None or c.status is not Status.READ or not c.tensors:
            return tuple(saved)
        place = PurePosixPath(c.path)
        at.setdefault((place.parent.as_posix(), when), {})[_network(place.stem)] = c
    groups = list(at.values())
    networks = set(groups[0]) if groups else set()
    if len(groups) < _LEAST or len(networks) < _LEAST or any(set(g) != networks for g in groups) or sum(map(len, groups)) != len(saved):
        return tuple(saved)
    outlines = [frozenset((t.name, t.shape) for t in c.tensors) for c in groups[0].values()]
    if len(set(outlines)) < len(outlines):
        return tuple(saved)
    return tuple(_one(g) for g in groups)


def _network(stem: str) -> str:
    """What a file's name says beside the count: `netG` of `netG_epoch_19`."""
    return _COUNTS.sub("", stem).strip("_-. ")


def _one(group: dict[str, Checkpoint]) -> Checkpoint:
    first = next(iter(group.values()))
    tensors = tuple(replace(t, name=f"{name}.{t.name}") for name, c in group.items() for t in c.tensors)
    files = tuple(f for c in group.values() for f in c.files)
    return replace(first, tensors=tensors, trainable=None, files=files, size=sum(c.size for c in group.values()))
