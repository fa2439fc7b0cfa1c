"""What a saved optimizer tells beside gradients: whose memory is whose, who has none, who is in no group."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from postmortem.measure.ordering import sorted_by_name
from postmortem.measure.structure import BUFFERS, Layout, distinct, plain
from postmortem.model.run import Checkpoint, OptimizerState, ParamState, Status, TensorRef
from postmortem.model.sentence import Sentence, Value, say
from postmortem.model.tensors import OptimizerFacts, Role

Known = Literal["saved", "matched", "ambiguous", "no"]
Key = int | str
Shape = tuple[int, ...]
_ALIASES = {"learning_rate": "lr", "betas.0": "beta1", "betas.1": "beta2", "beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps"}
_QUANTISED = ("8bit", "4bit")
_PROJECTED = ("galore", "soap", "muon", "shampoo")
_OTHER = ("sm3", "sophia", "adan", "adadelta", "rprop", "lbfgs", "asgd", "mini")


def number(value: Value) -> float | None:
    """A setting as a number, None when it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def unmeasured(kind: str) -> Sentence | None:
    """Why the state of an optimizer says nothing of gradients, None where it is read."""
    low = kind.lower()
    if any(word in low for word in _QUANTISED) and low != "adam-8bit":
        return say("{kind} keeps its moments in a few bits with a scale for each block, which are not decoded", kind=kind)
    if any(word in low for word in _PROJECTED):
        return say("{kind} keeps its moments in a projected or rotated basis, which is not that of the weights", kind=kind)
    if any(word in low for word in _OTHER):
        return say("the state of {kind} is no running mean of gradients or of their squares", kind=kind)
    return None


def names_of(
    optimizer: OptimizerState, checkpoint: Checkpoint, places: Mapping[str, Layout], order: Sequence[str], moved: frozenset[str] | None = None
) -> tuple[dict[Key, str], Known]:
    """Tensor names of an optimizer's parameters, as far as they can be told, and how sure that is.

    Saved names win. Else the sequence of shapes in the state is matched with the checkpoint's tensors in the orders in which
    training scripts hand them over: "matched" when it fits one of them throughout, "ambiguous" when it fits two that
    differ. Where files lost the order of definition and several tensors share a shape, those are handed out in forward order: "ambiguous",
    too. `moved` are the tensors that changed between checkpoints, for an optimizer that holds only some of them.
    """
    saved = _saved_names(optimizer, checkpoint)
    if saved:
        return saved, "saved"
    keys = [key for group in optimizer.groups for key in group.params]
    known: dict[Key, Shape] = {}
    for state in optimizer.states:
        shape = shape_of(state)
        if shape is not None:
            known[state.param] = shape
    learnable = learnable_tensors(checkpoint, places)
    whole = sorted_by_name(checkpoint.tensors)
    for pool in _pools(learnable, moved, len(keys), places):
        fits = [
            candidate
            for candidate in _orders(pool, len(optimizer.groups), order)
            if len(candidate) == len(keys) and all(known.get(k) in (None, ref.shape) for k, ref in zip(keys, candidate, strict=True))
        ]
        if fits:
            first = [ref.name for ref in fits[0]]
            sure = (len(known) == len(keys) and _told_apart(fits[0])) if whole else all([ref.name for ref in other] == first for other in fits)
            return dict(zip(keys, first, strict=True)), "matched" if sure else "ambiguous"
    return _by_shape(keys, known, learnable, order)


def shape_of(state: ParamState) -> Shape | None:
    """The parameter's shape, that of any slot; of Adafactor's factors put together. None when no slot tells."""
    row, column = state.slots.get("exp_avg_sq_row"), state.slots.get("exp_avg_sq_col")
    if row is not None and column is not None:
        return (*row.shape, *column.shape[-1:])
    row, column = state.slots.get("row_var"), state.slots.get("col_var")
    if row is not None and column is not None and len(row.shape) == len(column.shape):
        return tuple(max(sizes) for sizes in zip(row.shape, column.shape, strict=True))
    return next((ref.shape for ref in state.slots.values() if ref.shape), None)


def learnable_tensors(checkpoint: Checkpoint, places: Mapping[str, Layout]) -> list[TensorRef]:
    """Tensors that an optimizer could hold: no buffers, no second names, nothing that was saved as not requiring a gradient."""
    flags = checkpoint.trainable or {}
    refs = (r for r in checkpoint.tensors if places[r.name].role not in BUFFERS and r.requires_grad is not False and flags.get(r.name) is not False)
    return distinct(refs)


def _saved_names(optimizer: OptimizerState, checkpoint: Checkpoint) -> dict[Key, str]:
    by_plain = {plain(ref.name): ref.name for ref in checkpoint.tensors}
    out: dict[Key, str] = {}
    for group in optimizer.groups:
        for key, name in zip(group.params, group.names, strict=False):
            out[key] = by_plain.get(plain(name), name)
        for key in group.params:
            if isinstance(key, str):
                out.setdefault(key, by_plain.get(plain(key), key))
    for state in optimizer.states:
        if isinstance(state.param, str):
            out.setdefault(state.param, by_plain.get(plain(state.param), state.param))
    return out


def _pools(learnable: list[TensorRef], moved: frozenset[str] | None, wanted: int, places: Mapping[str, Layout]) -> list[list[TensorRef]]:
    """What may be in the optimizer: everything, or, when that is too much, what moved, or the adapters alone."""
    if len(learnable) <= wanted:
        return [learnable]
    some = [r for r in learnable if r.name in moved] if moved is not None else learnable
    return [some, [r for r in learnable if places[r.name].role == Role.ADAPTER]]


def _orders(pool: list[TensorRef], groups: int, order: Sequence[str]) -> list[list[TensorRef]]:
    """Orders in which scripts hand parameters over: all as defined; with two groups, decayed ones first, by rank or by name."""
    rank = {name: i for i, name in enumerate(order)}
    forward = sorted(pool, key=lambda ref: rank.get(ref.name, len(rank)))
    out = [pool, forward]
    if groups > 1:
        for base in (pool, forward):
            for decayed in (
                _matrices(base),
                [r for r in base if not r.name.endswith("bias")],
                [r for r in _matrices(base) if not r.name.endswith("bias")],
            ):
                inside = {r.name for r in decayed}
                rest = [r for r in base if r.name not in inside]
                out += [decayed + rest, rest + decayed]
    return out


def _matrices(refs: Sequence[TensorRef]) -> list[TensorRef]:
    return [r for r in refs if len(r.shape) >= 2]


def _told_apart(candidate: Sequence[TensorRef]) -> bool:
    """No two weights share a shape, or those that do are numbered copies of one another (blocks), whose order is their number."""
    groups: dict[Shape, set[str]] = {}
    for ref in candidate:
        if len(ref.shape) > 1:
            groups.setdefault(ref.shape, set()).add("".join(c for c in ref.name if not c.isdigit()))
    return all(len(names) == 1 for names in groups.values())


def _by_shape(keys: Sequence[Key], known: Mapping[Key, Shape], learnable: Sequence[TensorRef], order: Sequence[str]) -> tuple[dict[Key, str], Known]:
    """Hand out names by shape alone. Nothing when shapes are missing or there are more states of a shape than tensors."""
    if not keys or any(k not in known for k in keys):
        return {}, "no"
    rank = {name: i for i, name in enumerate(order)}
    rooms: dict[Shape, list[str]] = {}
    for ref in sorted(learnable, key=lambda r: rank.get(r.name, len(rank))):
        rooms.setdefault(ref.shape, []).append(ref.name)
    wanted = Counter(known[k] for k in keys)
    if any(len(rooms.get(shape, ())) < n for shape, n in wanted.items()):
        return {}, "no"
    sure = all(len(rooms[shape]) == 1 for shape in wanted)
    queues = {shape: iter(names) for shape, names in rooms.items()}
    return {k: next(queues[known[k]]) for k in keys}, "matched" if sure else "ambiguous"


def optimizer_facts(checkpoint: Checkpoint, names: Mapping[Key, str], known: Known, places: Mapping[str, Layout]) -> OptimizerFacts | None:
    """The facts of a checkpoint's optimizer, None when it saved none."""
    optimizer = checkpoint.optimizer
    if optimizer is None:
        return None
    counted = number(checkpoint.facts.get("optimizer_step"))
    step = max((state.step for state in optimizer.states if state.step is not None), default=counted)
    keys = [key for group in optimizer.groups for key in group.params]
    remembered = {state.param for state in optimizer.states if state.slots or state.step is not None}
    whole = not checkpoint.truncated and checkpoint.status is Status.READ
    keeps = keeps_state(optimizer)
    rates = tuple(r for r in (number(g.settings.get("lr", g.settings.get("learning_rate"))) for g in optimizer.groups) if r is not None)
    first = optimizer.groups[0].settings if optimizer.groups else {}
    settings = {_ALIASES.get(k, k): v for k, v in ((k, number(v)) for k, v in first.items()) if v is not None}
    decays = [d for d in (number(g.settings.get("weight_decay")) for g in optimizer.groups) if d is not None]
    settings |= {"weight_decay": max(decays)} if decays else {}  # biases are often in a group without
    made = checkpoint.optimizer_steps if checkpoint.optimizer_steps is not None else checkpoint.step
    lag = made - step if made is not None and step is not None else None
    return OptimizerFacts(
        kind=optimizer.kind,
        step=step,
        lag=lag if lag is None or lag >= 0 else None,  # below 0 the checkpoint's number counts something else than steps
        has_state=bool(remembered) or (counted is not None and counted > 0),
        stateless=tuple(names.get(key, f"#{key}") for key in keys if key not in remembered) if keeps and whole else (),
        absent=_absent(checkpoint, keys, names, places) if whole else None,
        learning_rates=rates,
        settings=MappingProxyType(settings),
        names_known=known,
        keeps_state=keeps,
        unmeasured=unmeasured(optimizer.kind),
    )


def keeps_state(optimizer: OptimizerState) -> bool:
    """False where an empty state tells nothing: gradient descent without momentum, or no parameter could be read."""
    if any(state.slots for state in optimizer.states):
        return True
    if not any(group.params for group in optimizer.groups):
        return False
    return not (optimizer.kind.lower() in ("sgd", "keras-sgd") and all(not number(g.settings.get("momentum", 0.0)) for g in optimizer.groups))


def _absent(checkpoint: Checkpoint, keys: Sequence[Key], names: Mapping[Key, str], places: Mapping[str, Layout]) -> tuple[str, ...] | None:
    """Tensors of the checkpoint that should learn and are in none of the groups; None when names are not known and counts prove nothing.

    Beside adapters only those should, and what was saved as requiring a gradient.
    """
    flags = checkpoint.trainable or {}
    learnable = learnable_tensors(checkpoint, places)
    if any(places[r.name].role == Role.ADAPTER for r in learnable):
        learnable = [r for r in learnable if places[r.name].role == Role.ADAPTER or r.requires_grad or flags.get(r.name)]
    if not learnable or not keys:
        return None
    if not names:
        return () if len(learnable) == len(keys) else None
    inside = set(names.values())
    return tuple(ref.name for ref in learnable if ref.name not in inside)
