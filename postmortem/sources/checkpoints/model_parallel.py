"""Megatron's ranks: tensors cut over tensor-parallel ranks, layers counted anew in each pipeline stage, made one model again.

`iter_0001000/mp_rank_TT[_PPP]/model_optim_rng.pt`, or `mp_rank_TT_model_states.pt` of Megatron-DeepSpeed. The files do not say
along which dimension a tensor was cut: the names of Megatron's own layers do.
Source: megatron/training/checkpointing.py, megatron/core/tensor_parallel/layers.py.
"""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from postmortem.model.run import Checkpoint, Setting, TensorRef
from postmortem.sources.checkpoints.placing import in_order

_RANK = re.compile(r"(?:^|/)mp_rank_(\d{2,4})(?:_(\d{3})(?:_\d{3})?)?/[^/]+$|(?:^|/)(?:zero_pp_rank_0_)?mp_rank_(\d{2,4})_model_states\.pt$")
_LAYER = re.compile(r"^(.{0,200}?)\blayers\.(\d{1,6})\.(.*)$")
# Linear layers that are cut by their outputs and by their inputs; a bias goes with the outputs.
_BY_OUTPUT = re.compile(
    r"(?:word_embeddings|lm_head|output_layer|query_key_value|key_value|query|linear_qkv|linear_q|linear_kv|dense_h_to_4h|linear_fc1)\.(?:weight|bias)$"
)
_BY_INPUT = re.compile(r"(?:attention\.dense|attention\.linear_proj|dense_4h_to_h|linear_fc2)\.weight$")
_WHOLE = re.compile(
    r"(?:norm\w{0,20}|position_embeddings|tokentype_embeddings|dense|linear_proj|dense_4h_to_h|linear_fc2|router|pooler\w{0,20})\.(?:\w{1,30}\.)?(?:weight|bias)$"
)


def rank_of(path: str) -> tuple[int, int] | None:
    """(tensor-parallel rank, pipeline stage) that a file's path states, None when it states none."""
    match = _RANK.search(path)
    if match is None:
        return None
    return int(match[1] or match[3]), int(match[2] or 0)


def stated_ranks(settings: Sequence[Setting]) -> int | None:
    """How many files the saved arguments speak of: tensor-parallel ranks times pipeline stages."""
    sizes = {s.key.rpartition(".")[2]: s.value for s in settings}
    found = [sizes.get(f"{kind}_model_parallel_size") for kind in ("tensor", "pipeline")]
    known = [n for n in found if isinstance(n, int) and 0 < n <= 10_000]
    return math.prod(known) if known else None


def whole_model(parts: Sequence[Checkpoint]) -> tuple[TensorRef, ...]:
    """The tensors of the model that the ranks hold parts of. What cannot be put together is kept under each rank's name."""
    stages: dict[int, dict[int, Checkpoint]] = defaultdict(dict)
    for part in parts:
        rank = rank_of(part.path)
        if rank is not None and part.tensors:
            stages[rank[1]][rank[0]] = part
    out: dict[str, TensorRef] = {}
    before = 0  # layers in the stages before
    prefix = None  # what stands before "layers." in the first stage that has any
    for _, ranks in sorted(stages.items()):
        layers = 0
        first = ranks[min(ranks)]
        others = [{t.name: t for t in ranks[r].tensors} for r in sorted(ranks)[1:]]
        for ref in first.tensors:
            found = _LAYER.match(ref.name)
            name = ref.name
            if found:
                prefix = found[1] if prefix is None else prefix
                layers = max(layers, int(found[2]) + 1)
                name = f"{found[1] or prefix}layers.{int(found[2]) + before}.{found[3]}"
            shares = [ref, *(t for other in others if (t := other.get(ref.name)) is not None)]
            for one in _together(name, shares, 1 + len(others)):
                out.setdefault(one.name, one)
        before += layers
    return tuple(out.values())


def _together(name: str, shares: list[TensorRef], ranks: int) -> list[TensorRef]:
    """One tensor out of the ranks' shares."""
    first = shares[0]
    if len(shares) == 1 or not first.shape:
        return [replace(first, name=name)]
    along = 0 if _BY_OUTPUT.search(name) else 1 if _BY_INPUT.search(name) and len(first.shape) == 2 else None
    if along is None and _WHOLE.search(name):
        return [replace(first, name=name)]
    rest = [s.shape[:along] + s.shape[along + 1 :] for s in shares] if along is not None else []
    if along is None or len(shares) < ranks or len(set(rest)) > 1 or len({s.dtype for s in shares}) > 1 or any(s.pieces for s in shares):
        return [replace(s, name=name if n == 0 else f"mp_rank_{n:02d}:{name}") for n, s in enumerate(shares)]
    shape = (*first.shape[:along], sum(s.shape[along] for s in shares), *first.shape[along + 1 :])
    starts = [sum(s.shape[along] for s in shares[:n]) for n in range(len(shares))]
    corners = tuple(tuple(start if d == along else 0 for d in range(len(shape))) for start in starts) if along else ()
    nbytes = sum(s.nbytes for s in shares)
    return [TensorRef(name, "", 0, first.dtype, shape, in_order(shape), nbytes, pieces=tuple(shares), corners=corners)]
