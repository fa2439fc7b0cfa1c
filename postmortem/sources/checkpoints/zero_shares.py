"""ZeRO's flat shares: which stretch of them is which parameter.

Stages 1 and 2 cut the concatenation of a group's parameters into equal slices; stage 3 cuts each parameter, the last rank's share padded.
Source: deepspeed/utils/zero_to_fp32.py, deepspeed/runtime/zero/stage_1_and_2.py, stage3.py.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from postmortem.model.run import OptimizerState, ParamGroup, ParamState, TensorRef
from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints.contents import Contents
from postmortem.sources.checkpoints.flat import Flat
from postmortem.sources.checkpoints.optimizers import kind_of, optimizer_state
from postmortem.sources.checkpoints.placing import Placer
from postmortem.sources.checkpoints.plain import as_list, as_mapping
from postmortem.sources.pickles.records import Tensor

Shapes = list[tuple[str, tuple[int, ...]]]


@dataclass(slots=True)
class Rank:
    """One rank's share, as it was saved."""

    optimizer: Mapping[object, object]
    placer: Placer


def unflatten(content: Contents, groups: list[Shapes], ranks: Sequence[Rank], stage: int, file: str) -> Sentence | None:
    """Put master weights and slots under their names into `content`; why not, where sizes do not agree."""
    names = groups if stage < 3 else [[pair for shapes in groups for pair in shapes]]
    masters = [_flats(ranks, g, stage, None) for g in range(len(names))]
    if not ranks or not all(fits(flats, shapes, stage) for flats, shapes in zip(masters, names, strict=True)):
        return say(
            "the ranks' shares of the optimizer do not have the sizes that the model file gives: their numbers were not assigned to parameters"
        )
    states: list[ParamState] = []
    for g, shapes in enumerate(names):
        slots = {slot: flats for slot in _slot_names(ranks, g, stage) if fits(flats := _flats(ranks, g, stage, slot), shapes, stage)}
        refs = {slot: dict(cut(flats, shapes, stage, slot)) for slot, flats in slots.items()}
        step = _step(ranks[0], g)
        states.extend(ParamState(name, step, MappingProxyType({s: r[name] for s, r in refs.items() if name in r})) for name, _ in shapes)
    if stage >= 3:
        weights = dict(cut(masters[0], names[0], stage, ""))
        kept = tuple(t for t in content.tensors if t.count and t.name not in weights)  # buffers; parameters have left empty tensors behind
        content.tensors = (*weights.values(), *kept)
    saved = optimizer_state({"state": {}, "param_groups": _param_groups(ranks[0].optimizer)}, ranks[0].placer, file)
    split = names if len(names) == len(saved.groups) else groups if len(groups) == len(saved.groups) else [[p for shapes in names for p in shapes]]
    together = tuple(
        ParamGroup(tuple(name for name, _ in shapes), saved.groups[g].settings if g < len(saved.groups) else MappingProxyType({}))
        for g, shapes in enumerate(split)
    )
    content.optimizer = OptimizerState(kind_of(together, states), together, tuple(states), file)
    return None


def _param_groups(optimizer: Mapping[object, object]) -> object:
    for inner in (optimizer.get("base_optimizer_state"), optimizer.get("optimizer_state_dict"), optimizer):
        found = (as_mapping(inner) or {}).get("param_groups")
        if as_list(found):
            return found
    return []


def _slots(rank: Rank, group: int | None) -> list[Mapping[object, object]]:
    """The optimizer's memory of a group (of every sub-group in order, for None)."""
    base = rank.optimizer.get("base_optimizer_state", rank.optimizer.get("optimizer_state_dict"))
    listed = as_list(base)
    if listed is None:
        state = as_mapping((as_mapping(base) or {}).get("state")) or {}
        listed = [value for _, value in sorted(((k, v) for k, v in state.items() if isinstance(k, int)), key=lambda kv: kv[0])]
    found: list[Mapping[object, object]] = [as_mapping(one) or {} for one in listed]
    return found if group is None else found[group : group + 1]


def _slot_names(ranks: Sequence[Rank], group: int, stage: int) -> list[str]:
    memory = _slots(ranks[0], None if stage >= 3 else group)
    return [k for k, v in memory[0].items() if isinstance(k, str) and isinstance(v, Tensor) and v.shape not in ((), (1,))] if memory else []


def _step(rank: Rank, group: int) -> float | None:
    memory = _slots(rank, None)
    own = memory[min(group, len(memory) - 1)].get("step") if memory else None
    found = rank.placer.number(own if own is not None else rank.optimizer.get("base_optimizer_state_step"))
    if found is not None:
        return found
    groups = as_list(_param_groups(rank.optimizer)) or ()
    return rank.placer.number((as_mapping(groups[0]) or {}).get("step")) if groups else None  # fused optimizers count there


def _flats(ranks: Sequence[Rank], group: int, stage: int, slot: str | None) -> list[Flat]:
    """Each rank's share of the master weights (`slot` None) or of one slot."""
    out = []
    for rank in ranks:
        if slot is not None:
            tensors: list[object] = [memory.get(slot) for memory in _slots(rank, None if stage >= 3 else group)]
        elif stage >= 3:
            tensors = list(_leaves(rank.optimizer.get("fp32_flat_groups")))
        else:
            tensors = list(_leaves((as_list(rank.optimizer.get("single_partition_of_fp32_groups")) or ())[group : group + 1]))
        refs = [rank.placer.ref("", t) for t in tensors]
        out.append(Flat([r for r in refs if r is not None]) if all(r is not None for r in refs) else Flat([]))
    return out


def _leaves(value: object) -> Iterator[object]:
    for one in as_list(value) or ():
        if isinstance(one, Tensor):
            yield one
        else:
            yield from (inner for inner in as_list(one) or () if isinstance(inner, Tensor))


def fits(flats: Sequence[Flat], shapes: Shapes, stage: int) -> bool:
    """The shares hold all elements, and no more beyond them than padding."""
    numbers = [math.prod(shape) for _, shape in shapes]
    if stage >= 3:
        share = sum(-(-n // len(flats)) for n in numbers)
        return all(share <= flat.size <= share + _padding(len(flats)) for flat in flats)
    total = sum(flat.size for flat in flats)
    return sum(numbers) <= total <= sum(numbers) + _padding(len(flats)) * len(flats)


def _padding(ranks: int) -> int:
    return max(2 * ranks, 4096)  # DeepSpeed aligns to twice the ranks, NCCL to some bytes


def cut(flats: Sequence[Flat], shapes: Shapes, stage: int, slot: str) -> Iterator[tuple[str, TensorRef]]:
    """Each parameter's elements."""
    whole = Flat([ref for flat in flats for ref in flat.refs])
    at = 0
    for name, shape in shapes:
        n = math.prod(shape)
        share = -(-n // len(flats)) if stage >= 3 else n
        if stage >= 3:
            parts = [p for r, flat in enumerate(flats) for p in flat.span(at, at + min(share, max(n - r * share, 0)))]
        else:
            parts = whole.span(at, at + n)
        at += share
        yield name, Flat(parts).shaped(f"{name}.{slot}" if slot else name, shape)
