"""What a tensor is for, as its name, its shape and its siblings tell; which way round a weight lies, and its fan-in."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from postmortem.model.run import Checkpoint, TensorRef
from postmortem.model.tensors import Role

_SPLIT = re.compile(r"[./:]+")
_DIGITS = re.compile(r"(\d+)")
_PREFIXES = ("module.", "_orig_mod.")
_BUFFERS = frozenset({
    "num_batches_tracked", "queue", "position_ids", "inv_freq", "attn_mask", "causal_mask", "mask", "relative_position_index", "step", "count",
    "bias_mask", "tril", "triu", "masked_bias", "pe", "_float_tensor", "version", "relative_coords_table", "freqs_cis", "freqs_cos", "freqs_sin",
    "cos_cached", "sin_cached", "anchors", "anchor_grid", "strides", "pixel_mean", "pixel_std",  # what no step changes
    "weight_scale", "weight_scale_inv", "input_scale", "absmax", "nested_absmax", "quant_map", "nested_quant_map", "scb",  # of quantised weights
})  # fmt: skip
_NOISE_SCHEDULE = re.compile(r"(?:betas|alphas|.*alphas_cumprod.*|posterior_(?:variance|log_variance_clipped|mean_coef\d)|(?:p2_)?loss_weight)$")
_BESIDE = {"scales": "qweight", "weight_u": "weight_orig", "weight_v": "weight_orig"}  # a buffer where that one is: GPTQ, spectral norm
_MAGNITUDES = {"weight_g": "weight_v", "original0": "original1"}  # of rows, apart from their directions: weight norm
_ADAPTERS = ("ia3_", "hada_", "lokr_", "oft_", "boft_", "vera_lambda", "vblora_", "fourierft_")  # LoRA's kin, as PEFT calls their parameters
_LEARNED_INPUTS = frozenset({"pos", "cls", "mask_token", "query_tokens", "latents", "register_tokens"})
_MEAN = frozenset({"running_mean", "moving_mean", "_mean"})
_VAR = frozenset({"running_var", "moving_variance", "_variance"})


@dataclass(frozen=True, slots=True)
class Layout:
    """One tensor's place in the network.

    Rows are output units: axis 0 (torch), or the last axis (Keras, PaddlePaddle but for its convolutions, Conv1D of GPT-2).
    """

    role: str
    outputs_last: bool = False
    fan_in: int | None = None
    outputs: int | None = None
    fan_out: int | None = None  # outputs times the size of the kernel
    head: int | None = None  # rows of an attention head, where that is known


BUFFERS = frozenset({Role.BUFFER, Role.RUNNING_MEAN, Role.RUNNING_VAR})  # roles that no optimizer touches


def distinct(refs: Iterable[TensorRef]) -> list[TensorRef]:
    """Tensors without the second names of shared ones (same bytes of the same file)."""
    seen: set[tuple[str, int, tuple[int, ...]]] = set()
    out: list[TensorRef] = []
    for ref in refs:
        place = (ref.file, ref.offset, ref.shape)
        if ref.file and ref.inline is None and place in seen and ref.count:
            continue
        seen.add(place)
        out.append(ref)
    return out


def plain(name: str) -> str:
    """A tensor's name without the wrappers of DataParallel, FSDP and torch.compile."""
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name.replace("_fsdp_wrapped_module.", "").replace("._orig_mod.", ".").replace("_checkpoint_wrapped_module.", "")


def words(name: str) -> list[str]:
    """The parts of a tensor's name, lower case."""
    return [w for w in _SPLIT.split(plain(name).lower()) if w]


_LONGEST_NUMBER = 20  # digits of one that counts as a number


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key with numbers as numbers: layer 2 before layer 10."""
    return tuple((0, int(p), "") if p.isdecimal() and len(p) < _LONGEST_NUMBER else (1, 0, p) for p in _DIGITS.split(plain(name)) if p)


def layouts(checkpoint: Checkpoint) -> Mapping[str, Layout]:
    """Role, fan-in and orientation of every tensor of a checkpoint, by name."""
    saved = checkpoint.facts.get("layout")
    siblings: dict[str, dict[str, TensorRef]] = {}
    for ref in checkpoint.tensors:
        module, leaf = _owner(ref.name)
        siblings.setdefault(module, {})[leaf] = ref
    with_matrix = {module for module, family in siblings.items() if any(len(ref.shape) >= 2 for ref in family.values())}
    out: dict[str, Layout] = {}
    for ref in checkpoint.tensors:
        module, leaf = _owner(ref.name)
        role = _role(ref, leaf, siblings[module], beside_matrix=module in with_matrix)
        out[ref.name] = _layout(ref, role, leaf, siblings[module], last=saved == "keras" or (saved == "paddle" and len(ref.shape) == 2))
    return out


def owner(name: str) -> str:
    """The module that a tensor belongs to."""
    return _owner(name)[0]


def _owner(name: str) -> tuple[str, str]:
    module, _, leaf = re.sub(r":\d+$", "", plain(name)).replace("/", ".").rpartition(".")
    return module, leaf.lower()


def _role(ref: TensorRef, leaf: str, family: Mapping[str, TensorRef], *, beside_matrix: bool) -> str:
    name = plain(ref.name).lower()
    rank = sum(1 for size in ref.shape if size != 1) if len(ref.shape) > 2 else len(ref.shape)
    if leaf in _MEAN:
        return Role.RUNNING_MEAN
    if leaf in _VAR:
        return Role.RUNNING_VAR
    if _is_buffer(ref, leaf, family):
        return Role.BUFFER
    if "lora_" in name or ".adapter" in name or any(w.startswith(_ADAPTERS) for w in words(name)):
        return Role.ADAPTER
    if _MAGNITUDES.get(leaf) in family:
        return Role.OTHER
    if leaf.isdigit():
        return _numbered(ref, leaf, len(family), beside_matrix=beside_matrix)
    module = next((w for w in reversed(words(ref.name)[:-1]) if not w.isdigit()), "")
    if len(ref.shape) >= 2 and (rank >= 1 or leaf in ("weight", "kernel")):
        table = leaf in ("weight", "embeddings", "embedding", "kernel") and len(ref.shape) == 2 and "bias" not in family
        if table and (is_embedding(module) or leaf.startswith("embedding")):
            return Role.EMBEDDING  # not DETR's `class_embed`, a layer with a bias
        if leaf in _LEARNED_INPUTS or leaf.startswith(("pos_", "cls_", "position")) or (is_embedding(leaf) and leaf != "weight"):
            return Role.EMBEDDING
        if leaf.startswith("bias"):
            return Role.BIAS
        if len(ref.shape) > 2 and ref.shape[0] == 1 and leaf not in ("weight", "kernel"):
            return Role.EMBEDDING  # positions, class tokens, latents: learned inputs with a batch axis
        return Role.WEIGHT
    if leaf in ("gamma", "scale", "g"):
        scales_a_branch = leaf == "gamma" and "beta" not in family and not any("norm" in w for w in words(name)[:-1])  # LayerScale
        return Role.OTHER if scales_a_branch else Role.NORM_GAIN
    if leaf == "beta":
        return Role.NORM_BIAS
    if leaf == "weight":
        slope = "bias" not in family and (ref.count == 1 or "relu" in module)  # of PReLU
        return Role.NORM_GAIN if len(ref.shape) == 1 and not slope else Role.OTHER
    if leaf.startswith("bias") or leaf.endswith("bias"):
        weight = family.get("weight")
        return Role.NORM_BIAS if weight is not None and len(weight.shape) == 1 else Role.BIAS
    if leaf == "b":
        return Role.BIAS
    return Role.OTHER


def _is_buffer(ref: TensorRef, leaf: str, family: Mapping[str, TensorRef]) -> bool:
    """Saved with the parameters, and none: masks, positions, schedules and scales that are computed once, what counts."""
    if leaf in _BUFFERS or ref.dtype.startswith(("int", "uint", "bool")) or _NOISE_SCHEDULE.match(leaf):
        return True
    if leaf in ("_u", "_v"):
        return "parametrizations" in words(ref.name)
    if leaf == "bias":  # the causal mask of minGPT and nanoGPT
        return len(ref.shape) == 4 and ref.shape[:2] == (1, 1) and ref.shape[2] == ref.shape[3]
    return _BESIDE.get(leaf) in family and (len(ref.shape) == 1 or leaf == "scales")


def _numbered(ref: TensorRef, leaf: str, count: int, *, beside_matrix: bool) -> str:
    """Keras 3 files name variables by number only: what they are follows from the number and shapes of their `count` siblings."""
    if "embedding" in plain(ref.name).lower() and len(ref.shape) == 2:
        return Role.EMBEDDING
    if len(ref.shape) >= 2:
        return Role.BIAS if leaf == "2" and count == 3 and ref.shape[0] <= 2 else Role.WEIGHT  # GRU: two bias vectors
    if beside_matrix:
        return Role.BIAS
    order = {"0": Role.NORM_GAIN, "1": Role.NORM_BIAS, "2": Role.RUNNING_MEAN, "3": Role.RUNNING_VAR}
    return order.get(leaf, Role.OTHER) if len(ref.shape) == 1 and count in (2, 4) else Role.OTHER


def is_embedding(word: str) -> bool:
    return word not in ("embed_out", "output_embedding") and (
        word in ("wte", "wpe", "shared", "tok", "pos") or word.startswith("emb") or word.endswith("emb") or "embed" in word
    )


def _layout(ref: TensorRef, role: str, leaf: str, family: Mapping[str, TensorRef], *, last: bool) -> Layout:
    if role not in (Role.WEIGHT, Role.ADAPTER) or len(ref.shape) < 2:
        return Layout(role)
    bias = family.get("bias")
    if not last and bias is not None and len(bias.shape) == 1 and leaf in ("weight", "kernel") and len(ref.shape) == 2:
        last = bias.shape[0] == ref.shape[-1] != ref.shape[0]
    outputs = ref.shape[-1] if last else ref.shape[0]
    fan_in = ref.count // outputs if outputs else None
    recurrent = family.get(leaf.replace("weight_ih", "weight_hh"))
    if leaf.startswith("weight_ih") and recurrent is not None and len(recurrent.shape) == 2:
        fan_in = recurrent.shape[1]  # torch draws both matrices of a recurrent cell from ±1/√hidden
    return Layout(role, last, fan_in, outputs, outputs * math.prod(ref.shape[:-2] if last else ref.shape[2:]))
