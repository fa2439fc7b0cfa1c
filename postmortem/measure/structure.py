"""What the names and shapes of a checkpoint tell: roles, the order of layers, the head, the kind of network."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from postmortem.model.evidence import ModelFacts, Role
from postmortem.model.run import Checkpoint, TensorRef

_SPLIT = re.compile(r"[./:]+")
_DIGITS = re.compile(r"(\d+)")
_PREFIXES = ("module.", "_orig_mod.")
_HEAD_WORDS = frozenset({
    "head", "lm_head", "classifier", "fc", "out", "output", "score", "logits", "decoder_out", "predictions", "qa_outputs", "proj_out", "out_proj",
    "final", "last", "linear_out", "output_layer", "fc_out", "to_logits", "readout", "heads", "output_projection",
})  # fmt: skip
_FIRST_WORDS = frozenset(
    {"stem", "inp", "input", "in_proj_stem", "patch_embed", "conv1", "conv_in", "encoder_in", "first", "input_layer", "linear_in", "proj_in"}
)
_BUFFERS = frozenset(
    {"num_batches_tracked", "position_ids", "inv_freq", "attn_mask", "causal_mask", "mask", "relative_position_index", "step", "count", "bias_mask"}
)
_MEAN = frozenset({"running_mean", "moving_mean"})
_VAR = frozenset({"running_var", "moving_variance"})
_RECURRENT = re.compile(
    r"(?:^|[._/])(?:weight_[ih]h(?:_l\d+)?(?:_reverse)?|recurrent_kernel|l?stm|gru|rnn|(?:simple_rnn|lstm|gru)(?:_\d+)?|(?:lstm|gru|simple_rnn)_cell(?:_\d+)?)(?:[._/]|$)"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """One tensor's place in the network. Rows are output units: axis 0 (torch), or the last axis (Keras, and Conv1D of GPT-2)."""

    role: str
    outputs_last: bool = False
    fan_in: int | None = None
    outputs: int | None = None


def plain(name: str) -> str:
    """A tensor's name without the wrappers of DataParallel, FSDP and torch.compile."""
    for prefix in _PREFIXES:
        while name.startswith(prefix):
            name = name[len(prefix) :]
    return name.replace("_fsdp_wrapped_module.", "").replace("._orig_mod.", ".").replace("_checkpoint_wrapped_module.", "")


def words(name: str) -> list[str]:
    """The parts of a tensor's name, lower case."""
    return [w for w in _SPLIT.split(plain(name).lower()) if w]


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key with numbers as numbers: layer 2 before layer 10."""
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in _DIGITS.split(plain(name)) if p)


def layouts(checkpoint: Checkpoint) -> Mapping[str, Layout]:
    """Role, fan-in and orientation of every tensor of a checkpoint, by name."""
    keras = checkpoint.facts.get("layout") == "keras"
    siblings: dict[str, dict[str, TensorRef]] = {}
    for ref in checkpoint.tensors:
        owner, leaf = _owner(ref.name)
        siblings.setdefault(owner, {})[leaf] = ref
    out: dict[str, Layout] = {}
    for ref in checkpoint.tensors:
        owner, leaf = _owner(ref.name)
        role = _role(ref, leaf, siblings[owner])
        out[ref.name] = _layout(ref, role, leaf, siblings[owner], keras=keras)
    return out


def _owner(name: str) -> tuple[str, str]:
    owner, _, leaf = re.sub(r":\d+$", "", plain(name)).replace("/", ".").rpartition(".")
    return owner, leaf.lower()


def _role(ref: TensorRef, leaf: str, family: Mapping[str, TensorRef]) -> str:
    name = plain(ref.name).lower()
    rank = sum(1 for size in ref.shape if size != 1) if len(ref.shape) > 2 else len(ref.shape)
    if leaf in _MEAN:
        return Role.RUNNING_MEAN
    if leaf in _VAR:
        return Role.RUNNING_VAR
    if leaf in _BUFFERS or ref.dtype.startswith(("int", "uint", "bool")):
        return Role.BUFFER
    if "lora_" in name or ".adapter" in name:
        return Role.ADAPTER
    if leaf.isdigit():
        return _numbered(ref, leaf, family)
    module = next((w for w in reversed(words(ref.name)[:-1]) if not w.isdigit()), "")
    if len(ref.shape) >= 2 and rank >= 1:
        if leaf in ("weight", "embeddings", "embedding", "kernel") and len(ref.shape) == 2 and (_embedding(module) or leaf.startswith("embedding")):
            return Role.EMBEDDING
        if leaf.startswith(("pos_", "cls_", "position")) or (_embedding(leaf) and leaf != "weight"):
            return Role.EMBEDDING
        if leaf.startswith("bias"):
            return Role.BIAS
        return Role.WEIGHT
    if leaf in ("gamma", "scale", "g"):
        return Role.NORM_GAIN
    if leaf == "beta":
        return Role.NORM_BIAS
    if leaf == "weight":
        return Role.NORM_GAIN if len(ref.shape) == 1 else Role.OTHER
    if leaf.startswith("bias") or leaf.endswith("bias"):
        weight = family.get("weight")
        return Role.NORM_BIAS if weight is not None and len(weight.shape) == 1 else Role.BIAS
    if leaf == "b":
        return Role.BIAS
    return Role.OTHER


def _numbered(ref: TensorRef, leaf: str, family: Mapping[str, TensorRef]) -> str:
    """Keras 3 files name variables by number only: what they are follows from the number and shapes of their siblings."""
    matrices = [f for f in family.values() if len(f.shape) >= 2]
    if "embedding" in plain(ref.name).lower() and len(ref.shape) == 2:
        return Role.EMBEDDING
    if len(ref.shape) >= 2:
        return Role.WEIGHT
    if matrices:
        return Role.BIAS
    order = (Role.NORM_GAIN, Role.NORM_BIAS, Role.RUNNING_MEAN, Role.RUNNING_VAR)
    return order[int(leaf)] if len(ref.shape) == 1 and len(family) in (2, 4) and int(leaf) < len(order) else Role.OTHER


def _embedding(word: str) -> bool:
    return word in ("wte", "wpe", "shared") or word.startswith("emb") or word.endswith("emb") or "embed" in word


def _layout(ref: TensorRef, role: str, leaf: str, family: Mapping[str, TensorRef], *, keras: bool) -> Layout:
    if role not in (Role.WEIGHT, Role.ADAPTER) or len(ref.shape) < 2:
        return Layout(role)
    last = keras
    bias = family.get("bias")
    if not keras and bias is not None and len(bias.shape) == 1 and leaf in ("weight", "kernel") and len(ref.shape) == 2:
        last = bias.shape[0] == ref.shape[-1] != ref.shape[0]
    outputs = ref.shape[-1] if last else ref.shape[0]
    fan_in = ref.count // outputs if outputs else None
    recurrent = family.get(leaf.replace("weight_ih", "weight_hh"))
    if leaf.startswith("weight_ih") and recurrent is not None and len(recurrent.shape) == 2:
        fan_in = recurrent.shape[1]  # torch draws both matrices of a recurrent cell from ±1/√hidden
    return Layout(role, last, fan_in, outputs)


def forward_order(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names in the order in which data meets them, as far as it can be told.

    A state dict lists modules as they were defined, which is kept. Files that sort their entries by name (safetensors,
    HDF5) lost that: then blocks are ordered by number, embeddings and stems come first, heads last.
    """
    names = [ref.name for ref in checkpoint.tensors]
    if names != sorted(names) and names != sorted(names, key=natural):
        return tuple(sorted(names, key=lambda n: _stage(n) == _LAST and "lm_head" in n))
    return tuple(sorted(names, key=lambda n: (_stage(n), _spread(n))))


_FIRST, _EARLY, _MIDDLE, _LAST = range(4)


def _stage(name: str) -> int:
    parts = words(name)
    modules = parts[:-1]
    if any(_embedding(w) for w in modules):
        return _FIRST
    if any(w in _FIRST_WORDS for w in modules):
        return _EARLY
    numbered = any(w.isdigit() for w in modules[:-1])
    if modules and not numbered and any(w in _HEAD_WORDS for w in modules):
        return _LAST
    return _MIDDLE


def _spread(name: str) -> tuple[object, ...]:
    parts = words(name)
    inner = 0
    for w in parts:
        if "attn" in w or "attention" in w:
            inner = -1
        elif w in ("mlp", "ffn", "feed_forward", "intermediate", "output"):
            inner = 1
    index = next((i for i, w in enumerate(parts) if w.isdigit()), None)
    kind = 0 if "conv" in parts[0] else 1 if _RECURRENT.search(name.lower()) else 2
    if index is None:
        return (kind, natural(name), 0, ())
    return (kind, natural(".".join(parts[: index + 1])), inner, natural(name))


def head_of(order: Sequence[str], places: Mapping[str, Layout]) -> str | None:
    """Name of the output layer's weight: the last weight matrix, unless one further up is called a head and the last one is not."""
    matrices = [n for n in order if places[n].role == Role.WEIGHT]
    if not matrices:
        return None
    return matrices[-1]


def model_facts(saved: Sequence[Checkpoint], places: Sequence[Mapping[str, Layout]], orders: Sequence[Sequence[str]]) -> ModelFacts:
    """The model's outline, from the checkpoint with most tensors (the last of those)."""
    i = max(range(len(saved)), key=lambda k: (len(saved[k].tensors), k))
    checkpoint, place, order = saved[i], places[i], orders[i]
    if not checkpoint.tensors:
        return ModelFacts()
    refs = {r.name: r for r in checkpoint.tensors}
    roles = {p.role for p in place.values()}
    weights = tuple(n for n in order if place[n].role == Role.WEIGHT)
    learnable = [r for r in checkpoint.tensors if place[r.name].role not in (Role.BUFFER, Role.RUNNING_MEAN, Role.RUNNING_VAR)]
    flags = {r.name: r.requires_grad if r.requires_grad is not None else (checkpoint.trainable or {}).get(r.name) for r in learnable}
    head = head_of(order, place)
    text = " ".join(n.lower() for n in order)
    recurrent = any(_RECURRENT.search(n.lower()) for n in weights)
    transformer = any(w in text for w in ("attn", "attention", "in_proj_weight"))
    convolution = any(len(refs[n].shape) >= 4 for n in weights)
    normalised = bool(roles & {Role.NORM_GAIN, Role.NORM_BIAS, Role.RUNNING_VAR})
    return ModelFacts(
        parameters=sum(r.count for r in learnable),
        trainable=sum(r.count for r in learnable if flags[r.name] is not False) if any(f is not None for f in flags.values()) else None,
        weight_layers=weights,
        head=head,
        outputs=place[head].outputs if head else None,
        recurrent=recurrent,
        normalised=normalised,
        residual=True if transformer or "downsample" in text or "shortcut" in text else None,
        batch_norm=Role.RUNNING_VAR in roles,
        adapters=Role.ADAPTER in roles,
        architecture="transformer" if transformer else "recurrent" if recurrent else "convolutional" if convolution else "mlp" if weights else "",
    )
