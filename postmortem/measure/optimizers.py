"""What a saved optimizer tells beside gradients: whose memory is whose, who has none, who is in no group."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from postmortem.measure.structure import Layout, plain
from postmortem.model.evidence import OptimizerFacts, Role
from postmortem.model.run import Checkpoint, OptimizerState, ParamGroup, TensorRef
from postmortem.model.sentence import Value

Known = Literal["saved", "matched", "ambiguous", "no"]
Key = int | str
_BUFFERS = frozenset({Role.BUFFER, Role.RUNNING_MEAN, Role.RUNNING_VAR})


def number(value: Value) -> float | None:
    """A setting as a number, None when it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def names_of(optimizer: OptimizerState, checkpoint: Checkpoint, places: Mapping[str, Layout], order: Sequence[str]) -> tuple[dict[Key, str], Known]:
    """Tensor names of an optimizer's parameters, as far as they can be told, and how sure that is."""
    by_plain = {plain(ref.name): ref.name for ref in checkpoint.tensors}
    known: dict[Key, str] = {}
    for group in optimizer.groups:
        for key, name in zip(group.params, group.names, strict=False):
            known[key] = by_plain.get(plain(name), name)
        for key in group.params:
            if isinstance(key, str):
                known.setdefault(key, by_plain.get(plain(key), key))
    for state in optimizer.states:
        if isinstance(state.param, str):
            known.setdefault(state.param, by_plain.get(plain(state.param), state.param))
    if known:
        return known, "saved"
    keys = [key for group in optimizer.groups for key in group.params]
    shapes = {state.param: next((ref.shape for ref in state.slots.values() if ref.shape), None) for state in optimizer.states}
    learnable = distinct(ref for ref in checkpoint.tensors if places[ref.name].role not in _BUFFERS)
    for candidate in _orders(learnable, optimizer.groups, order):
        if len(candidate) == len(keys) and all(shapes.get(k) in (None, ref.shape) for k, ref in zip(keys, candidate, strict=True)):
            return {k: ref.name for k, ref in zip(keys, candidate, strict=True)}, "matched"
    return {}, "no"


def distinct(refs: Iterable[TensorRef]) -> list[TensorRef]:
    """Tensors without the second names of tied ones (same bytes of the same file)."""
    seen: set[tuple[str, int, tuple[int, ...]]] = set()
    out: list[TensorRef] = []
    for ref in refs:
        place = (ref.file, ref.offset, ref.shape)
        if ref.file and ref.inline is None and place in seen and ref.count:
            continue
        seen.add(place)
        out.append(ref)
    return out


def _orders(learnable: list[TensorRef], groups: Sequence[ParamGroup], order: Sequence[str]) -> list[list[TensorRef]]:
    """Orders in which training scripts hand parameters over: all as defined; decayed ones first, by rank or by name."""
    rank = {name: i for i, name in enumerate(order)}
    forward = sorted(learnable, key=lambda ref: rank.get(ref.name, len(rank)))
    out = [learnable, forward]
    if len(groups) > 1:
        for base in (learnable, forward):
            flat = [r for r in base if len(r.shape) < 2]
            out.append([r for r in base if len(r.shape) >= 2] + flat)
            out.append([r for r in base if not r.name.endswith("bias") and len(r.shape) != 1] + flat)
    return out


def optimizer_facts(checkpoint: Checkpoint, names: Mapping[Key, str], known: Known, places: Mapping[str, Layout]) -> OptimizerFacts | None:
    """The facts of a checkpoint's optimizer, None when it saved none."""
    optimizer = checkpoint.optimizer
    if optimizer is None:
        return None
    steps = [state.step for state in optimizer.states if state.step is not None]
    step = max(steps, default=None)
    keys = [key for group in optimizer.groups for key in group.params]
    remembered = {state.param for state in optimizer.states if state.slots or state.step is not None}
    stateless = tuple(names.get(key, f"#{key}") for key in keys if key not in remembered)
    rates = tuple(r for r in (number(g.settings.get("lr", g.settings.get("learning_rate"))) for g in optimizer.groups) if r is not None)
    first = optimizer.groups[0].settings if optimizer.groups else {}
    settings = {k: v for k, v in ((k, number(v)) for k, v in first.items()) if v is not None}
    return OptimizerFacts(
        kind=optimizer.kind,
        step=step,
        lag=checkpoint.step - step if checkpoint.step is not None and step is not None else None,
        has_state=bool(remembered),
        stateless=stateless,
        absent=_absent(checkpoint, keys, names, known, places),
        learning_rates=rates,
        settings=MappingProxyType(settings),
        names_known=known,
    )


def _absent(
    checkpoint: Checkpoint, keys: Sequence[Key], names: Mapping[Key, str], known: Known, places: Mapping[str, Layout]
) -> tuple[str, ...] | None:
    """Trainable tensors of the checkpoint that are in none of the groups; None when names are not known and counts prove nothing."""
    learnable = distinct(ref for ref in checkpoint.tensors if places[ref.name].role not in _BUFFERS)
    if not learnable or not keys:
        return None
    if known == "no":
        return () if len(learnable) == len(keys) else None
    inside = set(names.values())
    return tuple(ref.name for ref in learnable if ref.name not in inside)
