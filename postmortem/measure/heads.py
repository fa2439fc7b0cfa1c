"""Attention heads: how many there are and how many rows of a projection each has, from shapes that say it or from the configuration.

A projection's shape alone does not tell: 768 rows are 12 heads of 64 and 6 of 128. Certain are norms of queries and keys that are one
head long (Qwen 3, Gemma 3), tables of position biases with a column a head (T5, Swin, BEiT), parameters with an entry a head
(logit scales, sinks, slopes) or with one vector a head (Transformer-XL, Conformer), and kernels that have an axis for the heads (Keras, Flax).
Else the configuration has to say it; where it says two things, nothing is known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from postmortem.measure.structure import owner
from postmortem.model.run import Setting, TensorRef

# The last part of a projection's module, or the name of its tensor: of one kind alone, and of queries, keys and values in one.
_QUERIES = frozenset({"q_proj", "query", "q", "q_lin", "wq", "to_q", "q_proj_weight", "linear_q", "query_proj", "query_dense"})
_KEYS = frozenset({"k_proj", "key", "k", "k_lin", "wk", "to_k", "k_proj_weight", "linear_k", "key_proj", "key_dense"})
_VALUES = frozenset({"v_proj", "value", "v", "v_lin", "wv", "to_v", "v_proj_weight", "linear_v", "value_proj", "value_dense"})
_FUSED = frozenset({"qkv", "c_attn", "query_key_value", "in_proj_weight", "wqkv", "qkv_proj"})
_COUNTS = frozenset({"num_attention_heads", "n_head", "n_heads", "num_heads", "nhead", "attention_heads", "nheads", "num_attn_heads"})
_SIZES = frozenset({"head_dim", "d_kv", "attention_head_size", "head_size", "kv_channels", "d_head", "dim_head"})
_EVERYWHERE = "relative_attention_bias"  # T5 keeps it in its first block, for all of them
_COLUMN_A_HEAD = frozenset({_EVERYWHERE, "relative_position_bias_table"})
_ENTRY_A_HEAD = frozenset({"logit_scale", "sinks", "slopes", "alibi"})
_VECTOR_A_HEAD = frozenset({"r_w_bias", "r_r_bias", "pos_bias_u", "pos_bias_v"})
_NORMS = {"q_norm": 0, "q_layernorm": 0, "query_norm": 0, "k_norm": 1, "k_layernorm": 1, "key_norm": 1}


@dataclass(frozen=True, slots=True)
class Heads:
    """Of one model. None where it is not known, or not the same in all its layers."""

    count: int | None = None  # of queries
    keys: int | None = None  # of keys, fewer where several queries share one
    size: int | None = None  # rows of one
    basis: str = ""  # the tensor or the setting that tells
    rows: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # projection → rows of each head in it


@dataclass(frozen=True, slots=True)
class _Told:
    """What a tensor or a setting says: heads, rows of one."""

    count: int | None
    size: int | None
    by: str


@dataclass(frozen=True, slots=True)
class _Projection:
    name: str
    kind: str  # "q", "k", "v", "qkv"
    rows: int
    columns: int


def heads_of(refs: Sequence[TensorRef], rows: Mapping[str, int | None], settings: Iterable[Setting]) -> Heads:
    """rows : output units of each weight, by name."""
    attentions: dict[str, list[_Projection]] = {}
    for ref in refs:
        attention, last = _place(ref)
        kind = "q" if last in _QUERIES else "k" if last in _KEYS else "v" if last in _VALUES else "qkv" if last in _FUSED else ""
        units = rows.get(ref.name)
        if kind and units and len(ref.shape) == 2:
            attentions.setdefault(attention, []).append(_Projection(ref.name, kind, units, ref.count // units))
    told, said = _told(refs), _configured(settings)
    found: dict[str, int] = {}
    counts: dict[str, set[int]] = {"q": set(), "k": set(), "v": set(), "qkv": set()}
    basis = ""
    for attention, projections in attentions.items():
        for by in (told.get(attention), told.get(attention.rpartition(".")[0]), told.get(_EVERYWHERE), said):
            size = _size(projections, by) if by is not None else None
            if by is None or size is None:
                continue
            basis = basis or by.by
            for p in projections:
                found[p.name] = size
                counts[p.kind].add(p.rows // size if p.kind != "qkv" else p.columns // size if p.rows == 3 * p.columns else 0)
            break
    if not found:
        return _with_axis(refs)
    return Heads(_one(counts["q"] | counts["qkv"] - {0}), _one(counts["k"] or counts["qkv"] - {0}), _one(set(found.values())), basis, found)


def attends(refs: Iterable[TensorRef]) -> bool:
    """Whether a model has attention: by a module's name, or by queries beside keys."""
    kinds: dict[str, set[str]] = {}
    for ref in refs:
        name = ref.name.lower()
        if "attn" in name or "attention" in name or name.endswith("in_proj_weight"):
            return True
        attention, last = _place(ref)
        if len(ref.shape) == 2 and last in _QUERIES | _KEYS:
            kinds.setdefault(attention, set()).add("q" if last in _QUERIES else "k")
    return any(len(both) == 2 for both in kinds.values())


def _one(values: set[int]) -> int | None:
    return next(iter(values)) if len(values) == 1 else None


def _place(ref: TensorRef) -> tuple[str, str]:
    """The module around a tensor's own one, and what that one is called; of a parameter that is no layer's, its module and its own name."""
    module, leaf = owner(ref.name), ref.name.replace("/", ".").rpartition(".")[2].lower()
    if leaf not in ("weight", "kernel"):
        return module, leaf
    above, _, last = module.rpartition(".")
    return above, last.lower()


def _size(projections: Sequence[_Projection], told: _Told) -> int | None:
    """Rows of a head in an attention; None where what was said does not fit its shapes."""
    size = told.size
    if size is None and told.count:
        whole = next((p.rows if p.kind == "q" else p.columns for p in projections if p.kind in ("q", "qkv")), 0)
        size = whole // told.count if whole % told.count == 0 else None
    if not size or any(p.rows % size or p.rows == size for p in projections if p.kind in ("q", "qkv")) or any(p.rows % size for p in projections):
        return None  # also where there is one head, or a norm of all of them at once
    if told.count and any(p.rows != told.count * size for p in projections if p.kind == "q"):
        return None
    return size


def _told(refs: Sequence[TensorRef]) -> dict[str, _Told]:
    """What tensors beside the projections of an attention (a module) say of it."""
    out: dict[str, _Told] = {}
    norms: dict[str, dict[int, TensorRef]] = {}
    for ref in refs:
        attention, last = _place(ref)
        if last in _COLUMN_A_HEAD and len(ref.shape) == 2:
            out[_EVERYWHERE if last == _EVERYWHERE else attention.removesuffix(".relative_position_bias")] = _Told(ref.shape[1], None, ref.name)
        elif last in _ENTRY_A_HEAD and ref.count > 1 and max(ref.shape) == ref.count:
            out[attention] = _Told(ref.count, None, ref.name)
        elif last in _VECTOR_A_HEAD and len(ref.shape) == 2:
            out[attention] = _Told(ref.shape[0], ref.shape[1], ref.name)
        elif last in _NORMS and len(ref.shape) == 1:
            norms.setdefault(attention, {})[_NORMS[last]] = ref
    for attention, both in norms.items():
        if len(both) == 2 and both[0].count == both[1].count:
            out.setdefault(attention, _Told(None, both[0].count, both[0].name))
    return out


def _configured(settings: Iterable[Setting]) -> _Told | None:
    """None where no key says it, or several say different things."""
    found: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for setting in settings:
        leaf = setting.key.rpartition(".")[2].lower().replace("-", "_").lstrip("_")
        if type(setting.value) is int and setting.value > 0 and (leaf in _COUNTS or leaf in _SIZES):
            found[leaf in _SIZES].setdefault(setting.value, setting.key)
    count, size = (_one(set(values)) for values in found)
    keys = [values[value] for values, value in zip(found, (count, size), strict=True) if value is not None]
    return _Told(count, size, ", ".join(keys)) if keys else None


def _with_axis(refs: Sequence[TensorRef]) -> Heads:
    """Of kernels (inputs, heads, rows of one), as Keras and Flax have them."""
    queries = [r for r in refs if len(r.shape) == 3 and _layer(r) in _QUERIES]
    keys = {r.shape[1] for r in refs if len(r.shape) == 3 and _layer(r) in _KEYS}
    count, size = (_one({r.shape[axis] for r in queries}) for axis in (1, 2))
    return Heads(count, _one(keys), size, queries[0].name) if count and size else Heads()


def _layer(ref: TensorRef) -> str:
    """The layer of a variable of Keras (`…/query_dense/vars/0`) or Flax (`….query.kernel`)."""
    parts = [w for w in ref.name.lower().replace("/", ".").split(".") if w not in ("vars", "kernel") and not w.isdigit()]
    return parts[-1] if parts else ""
