"""The order in which data meets the layers, the head, and the model's outline."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from postmortem.measure.heads import Heads, attends
from postmortem.measure.structure import BUFFERS, Layout, distinct, is_embedding, natural, words
from postmortem.model.run import Checkpoint, TensorRef
from postmortem.model.tensors import ModelFacts, Role

_HEADS = frozenset({
    "head", "lm_head", "classifier", "fc", "out", "output", "score", "logits", "predictions", "qa_outputs", "proj_out", "out_proj", "final",
    "last", "last_layer", "linear_out", "output_layer", "fc_out", "to_logits", "readout", "heads", "output_projection", "embed_out",
    "conv_out", "conv_norm_out",
})  # fmt: skip
_STEMS = frozenset(["stem", "inp", "input", "conv1", "conv_in", "first", "input_layer", "linear_in", "proj_in", "input_proj", "conv_stem"])
_RECURRENT = re.compile(
    r"(?:^|[._/])(?:weight_[ih]h(?:_l\d+)?(?:_reverse)?|recurrent_kernel|l?stm|gru|rnn|(?:simple_rnn|lstm|gru)(?:_\d+)?|(?:lstm|gru|simple_rnn)_cell(?:_\d+)?)"
    r"(?:[._/]|$)"
)
_LEAVES = (
    "in_proj_weight", "in_proj_bias", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "kernel", "recurrent_kernel", "weight", "bias",
    "gamma", "beta", "running_mean", "running_var", "moving_mean", "moving_variance",
)  # fmt: skip
_PARTS = (
    frozenset({"q_proj", "query", "q", "qkv", "c_attn", "query_key_value", "gate_proj"}),
    frozenset({"k_proj", "key", "k", "up_proj"}),
    frozenset({"v_proj", "value", "v", "down_proj"}),
)
_LAYER = re.compile(r"^([a-z_]+?)_l(\d{1,9})(_reverse)?$")
_FIRST, _EARLY, _MIDDLE, _LATE, _LAST = range(5)
_RESIDUAL = ("downsample", "shortcut", "skip", "residual", "identity")


def forward_order(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names in the order in which data meets them, as far as it can be told.

    A state dict lists modules as they were defined, which is kept. Files that sort their entries by name (safetensors,
    HDF5) lost that, unless their reader found it out: then blocks are ordered by number, embeddings and stems come first, heads last.
    """
    names = [ref.name for ref in checkpoint.tensors]
    if checkpoint.facts.get("order") == "known":
        return tuple(names)
    if not sorted_by_name(checkpoint.tensors) and not (checkpoint.facts.get("layout") == "keras" and _backwards(names)):
        return tuple(sorted(names, key=lambda n: "lm_head" in words(n)))  # some models define it before their blocks
    return tuple(sorted(names, key=_place))


def sorted_by_name(refs: Sequence[TensorRef]) -> bool:
    """The file sorted its entries by name, all of them or within each element type: their order tells nothing."""
    by_type: dict[str, list[str]] = {}
    for ref in refs:
        by_type.setdefault(ref.dtype, []).append(ref.name)
    return all(names == sorted(names) or names == sorted(names, key=natural) for names in by_type.values())


def _backwards(names: Sequence[str]) -> bool:
    """Layers that Keras numbered as they were made (dense, dense_1, …) come in another order: the file's order is not theirs."""
    latest: dict[str, int] = {}
    for name in names:
        for part in words(name)[:-1]:
            kind, _, number = part.rpartition("_")
            kind, count = (kind, int(number)) if kind and number.isdecimal() and len(number) < 9 else (part, 0)
            if count < latest.get(kind, 0):
                return True
            latest[kind] = count
    return False


def _place(name: str) -> tuple[object, ...]:
    """Sort key: stage of the network, encoder before decoder, kind of layer, block, attention before its network, module, leaf."""
    parts = words(name)
    modules, leaf = parts[:-1], parts[-1] if parts else ""
    half = 1 if "decoder" in modules else 0
    kind = 0 if modules and "conv" in modules[0] else 1 if _RECURRENT.search(name.lower()) else 2
    index = next((i for i, w in enumerate(modules) if w.isdigit()), None)
    block = natural(".".join(modules[: index + 1])) if index is not None else natural(".".join(modules[:1]))
    return (_stage(modules, leaf), half, kind, block, _inner(modules), _part(modules), natural(".".join(modules)), _leaf(leaf))


def _stage(modules: Sequence[str], leaf: str) -> int:
    if not modules:
        return _FIRST if leaf not in _LEAVES and not leaf.isdigit() else _MIDDLE
    if any(is_embedding(w) for w in modules):
        return _FIRST
    if any(w in _STEMS for w in modules):
        return _EARLY
    numbered = any(w.isdigit() for w in modules[:-1])
    if not numbered and any(w in _HEADS for w in modules):
        return _LAST
    if not any(w.isdigit() for w in modules) and ("norm" in modules[-1] or modules[-1].startswith("ln") or "pool" in " ".join(modules)):
        return _LATE
    return _MIDDLE


def _inner(modules: Sequence[str]) -> int:
    """Within a block: the norm before attention, attention, the second norm, the network. Embeddings: words, positions, the others."""
    if any(is_embedding(w) for w in modules):
        last = modules[-1]
        return 2 if "type" in last or "norm" in last else 0 if last == "wte" or "tok" in last or "word" in last else 1
    for w in modules:
        if "attn" in w or "attention" in w:
            return 3 if w.startswith("post") else 1
        if w in ("ln1", "ln_1", "norm1", "input_layernorm", "layernorm_before"):
            return 0
        if w in ("ln2", "ln_2", "norm2", "post_attention_layernorm", "layernorm_after"):
            return 3
        if w in ("mlp", "ffn", "feed_forward", "intermediate", "output"):
            return 4
    return 2


def _part(modules: Sequence[str]) -> int:
    """Within attention and gated networks: the order in which they are nearly always defined, which is not that of the alphabet."""
    return next((i for i, names in enumerate(_PARTS) if modules and modules[-1] in names), len(_PARTS))


def _leaf(leaf: str) -> tuple[int, int, int, str]:
    layered = _LAYER.match(leaf)
    stem = layered[1] if layered else leaf
    rank = _LEAVES.index(stem) if stem in _LEAVES else len(_LEAVES)
    return (int(layered[2]) if layered else 0, 1 if layered and layered[3] else 0, rank, stem)


def head_of(order: Sequence[str], places: Mapping[str, Layout], refs: Mapping[str, TensorRef]) -> tuple[str | None, bool]:
    """The output layer's weight, and whether it is the embedding used twice.

    It is the last weight matrix; where that one lies inside a block and gives vectors as wide as the embedding's, the model
    ends in the embedding itself (files leave the second name of shared weights out).
    """
    matrices = [n for n in order if places[n].role == Role.WEIGHT]
    if not matrices:
        return None, False
    last = matrices[-1]
    tables = [n for n in order if places[n].role == Role.EMBEDDING and len(refs[n].shape) == 2]
    shared = next((n for n in order if n != last and _same_bytes(refs[n], refs[last])), None)
    if shared is not None:
        return last, True
    modules = words(last)[:-1]
    inside = any(w.isdigit() for w in modules) and not any(w in _HEADS for w in modules[-1:]) and attends(refs.values())
    table = max(tables, key=lambda n: refs[n].shape[0], default=None)
    if inside and table is not None and places[last].outputs == refs[table].shape[1]:
        return table, True
    return last, False


def _same_bytes(a: TensorRef, b: TensorRef) -> bool:
    return bool(a.file) and a.inline is None and a.count > 0 and (a.file, a.offset, a.shape) == (b.file, b.offset, b.shape)


def _modules(learnable: Sequence[TensorRef], flags: Mapping[str, bool | None] | None) -> dict[str, tuple[int, int | None]]:
    """Parameters by part of the model: the first word of a name, or the second where all share the first."""
    paths = [(words(r.name)[:-1] or [""], r) for r in learnable]
    depth = 1 if len({p[0] for p, _ in paths}) == 1 and all(len(p) > 1 for p, _ in paths) else 0
    out: dict[str, tuple[int, int | None]] = {}
    for path, ref in paths:
        part = ".".join(path[: depth + 1])
        count, trained = out.get(part, (0, None if flags is None else 0))
        out[part] = (count + ref.count, None if flags is None or trained is None else trained + (ref.count if flags[ref.name] is not False else 0))
    return out


def _candidates(tensors: Sequence[TensorRef], width: int | None) -> int | None:
    """Among how many a momentum contrast finds the other view of its input: all that its queue holds, and that one (He et al. 2020,
    arXiv:1911.05722). None without a queue of vectors as wide as the last layer."""
    queue = next((r.shape for r in tensors if words(r.name)[-1:] == ["queue"] and len(r.shape) == 2 and width in r.shape), None)
    return None if queue is None else 1 + (queue[1] if queue[0] == width else queue[0])


def model_facts(
    saved: Sequence[Checkpoint], places: Sequence[Mapping[str, Layout]], orders: Sequence[Sequence[str]], heads: Sequence[Heads] = ()
) -> ModelFacts:
    """The model's outline, from the checkpoint with most tensors (the last of those)."""
    i = max(range(len(saved)), key=lambda k: (len(saved[k].tensors), k))
    checkpoint, place, order = saved[i], places[i], orders[i]
    if not checkpoint.tensors:
        return ModelFacts()
    refs = {r.name: r for r in checkpoint.tensors}
    roles = {p.role for p in place.values()}
    weights = tuple(n for n in order if place[n].role == Role.WEIGHT)
    learnable = distinct(r for r in checkpoint.tensors if place[r.name].role not in BUFFERS)
    flags = {r.name: r.requires_grad if r.requires_grad is not None else (checkpoint.trainable or {}).get(r.name) for r in learnable}
    head, tied = head_of(order, place, refs)
    text = " ".join(n.lower() for n in order)
    recurrent = any(_RECURRENT.search(n.lower()) for n in weights)
    transformer = attends(checkpoint.tensors)
    convolution = any(len(refs[n].shape) >= (3 if words(n)[-1:] in (["weight"], ["kernel"]) else 4) for n in weights)
    known = any(f is not None for f in flags.values())
    attention = heads[i] if heads else Heads()
    outputs = refs[head].shape[0] if head and place[head].role == Role.EMBEDDING else place[head].outputs if head else None
    return ModelFacts(
        parameters=sum(r.count for r in learnable),
        trainable=sum(r.count for r in learnable if flags[r.name] is not False) if known else None,
        weight_layers=weights,
        head=head,
        outputs=_candidates(checkpoint.tensors, outputs) or outputs,
        recurrent=recurrent,
        normalised=bool(roles & {Role.NORM_GAIN, Role.NORM_BIAS, Role.RUNNING_VAR}),
        residual=True if transformer or any(w in text for w in _RESIDUAL) else None,
        batch_norm=Role.RUNNING_VAR in roles,
        adapters=Role.ADAPTER in roles,
        tied=tied,
        modules=MappingProxyType(_modules(learnable, flags if known else None)),
        architecture="transformer" if transformer else "recurrent" if recurrent else "convolutional" if convolution else "mlp" if weights else "",
        heads=attention.count,
        key_heads=attention.keys,
        head_size=attention.size,
        heads_told_by=attention.basis,
    )
