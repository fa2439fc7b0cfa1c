"""Shares of tensors that each rank saved for itself, put together again: FSDP's `DTensor` and `ShardedTensor`.

Such a share states the shape of the tensor that it is a part of. Ranks hold consecutive parts along one dimension, in the order
of their numbers; some hold none. Sources: torch/distributed/tensor/_api.py, torch/distributed/_shard/sharded_tensor/api.py.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from postmortem.model.run import Checkpoint, OptimizerState, ParamState, TensorRef
from postmortem.sources.checkpoints.placing import in_order

_NUMBERS = re.compile(r"(\d{1,18})")


def by_rank(parts: Iterable[Checkpoint]) -> list[Checkpoint]:
    """In the order of the numbers in the files' names: rank 2 before rank 10."""
    return sorted(parts, key=lambda p: [int(n) if n.isdecimal() else n for n in _NUMBERS.split(p.path)])


def is_share(ref: TensorRef) -> bool:
    """Not the whole tensor."""
    return bool(ref.whole) and ref.whole != ref.shape


def put_together(shares: Sequence[TensorRef]) -> TensorRef | None:
    """The tensor that the shares of all ranks make up; None where some are missing or do not fit."""
    first = shares[0]
    shape = first.whole
    if not is_share(first) and not any(is_share(s) for s in shares):
        return first
    if any(s.whole != shape or len(s.shape) != len(shape) or s.dtype != first.dtype or s.pieces for s in shares):
        return None
    held = [s for s in shares if s.count]
    along = next((d for d in range(len(shape)) if any(s.shape[d] != shape[d] for s in held)), 0)
    rest = (*shape[:along], *shape[along + 1 :])
    if any((*s.shape[:along], *s.shape[along + 1 :]) != rest for s in held) or sum(s.shape[along] for s in held) != shape[along]:
        return None
    if len(held) == 1:
        return held[0]
    starts = [sum(s.shape[along] for s in held[:n]) for n in range(len(held))]
    corners = tuple(tuple(start if d == along else 0 for d in range(len(shape))) for start in starts) if along else ()
    return TensorRef(
        first.name, "", 0, first.dtype, shape, in_order(shape), sum(s.nbytes for s in held), pieces=tuple(held), corners=corners, whole=shape
    )


def whole_tensors(parts: Sequence[Checkpoint]) -> Mapping[str, TensorRef]:
    """By name, the tensors of a model of which several files hold shares."""
    found: dict[str, list[TensorRef]] = {}
    for part in by_rank(parts):
        for ref in part.tensors:
            if ref.whole:
                found.setdefault(ref.name, []).append(ref)
    made = {name: put_together(refs) for name, refs in found.items()}
    return {name: ref for name, ref in made.items() if ref is not None}


def whole_optimizer(parts: Sequence[Checkpoint]) -> OptimizerState | None:
    """An optimizer whose ranks each saved the state of their own shares. None where the files hold none, or several that are no shares."""
    optimizers = [p.optimizer for p in by_rank(parts) if p.optimizer is not None]
    if len(optimizers) < 2 or not any(r.whole for s in optimizers[0].states for r in s.slots.values()):
        return None
    if any([s.param for s in o.states] != [s.param for s in optimizers[0].states] for o in optimizers):
        return None
    states = []
    for same in zip(*(o.states for o in optimizers), strict=True):
        slots = {name: put_together([s.slots[name] for s in same if name in s.slots]) for name in same[0].slots}
        states.append(ParamState(same[0].param, same[0].step, {name: ref for name, ref in slots.items() if ref is not None}))
    return replace(optimizers[0], states=tuple(states))
