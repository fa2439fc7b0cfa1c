"""Where the model is in what was saved: under which key, as a state dict, as a tree of arrays, or as a pickled module."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from postmortem.sources.checkpoints.naming import plain_names
from postmortem.sources.checkpoints.plain import as_list, as_mapping
from postmortem.sources.names import words
from postmortem.sources.pickles.records import Array, Record, Tensor

Named = tuple[str, Tensor | Array]


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MOST_MODULES = 200_000
_MOST_TENSORS = 300_000
LONGEST_NAME = 300  # characters of a parameter's name, or of one key on the way to it
# Keys that say no more than "here is the model".
_WRAPPERS = _listed(
    """
    model state_dict model_state_dict model_state model_dict module net network weights params parameters state net_state_dict
    current_model_state student target state_dicts model_states base_model _model policy_state_dict
    """
)
# Words of keys under which further copies of the same model lie.
_COPIES = _listed(
    """
    ema shadow averaged average averaging swa best teacher previous old last initial init momentum lookahead slow fp32 master
    """
)
_AVERAGES = frozenset({"ema", "shadow", "swa", "averaged"})
_TRAINED = "current_model_state"  # of Lightning's WeightAveraging, which puts the average under `state_dict`
# Words of keys that hold no model.
_NOT_MODELS = _listed(
    """
    rng random optimizer optimizers optim scheduler schedulers sampler dataloader callbacks loops grads gradients grad scaler cuda
    """
)
_LEAVES = ("weight", "bias", "kernel", "scale", "gamma", "beta", "embedding", "mean", "var", "w", "b", "g", "running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class Model:
    """Tensors found under one key. `from_module`: a whole module was pickled, so that requires_grad is as it was."""

    path: tuple[str, ...]
    tensors: tuple[Named, ...]
    from_module: bool = False

    @property
    def is_copy(self) -> bool:
        """An average or an older copy of the model, by its key."""
        first, second = (*self.path[:2], "", "")[:2]
        return any(word in _COPIES for word in words(first)) or any(word in _AVERAGES for word in words(second))


def is_module(value: object) -> bool:
    """True for a pickled `torch.nn.Module`."""
    state = as_mapping(value) if type(value) is Record else None
    return state is not None and "_modules" in state and "_parameters" in state


def module_tensors(module: object) -> Iterator[Named]:
    """Parameters and buffers of a pickled module by their dotted names, in the order of `state_dict()`."""
    stack: list[tuple[str, object]] = [("", module)]
    seen: set[int] = set()
    given = 0
    while stack and len(seen) < _MOST_MODULES:
        prefix, value = stack.pop()
        state = as_mapping(value)
        if state is None or id(value) in seen:
            continue
        seen.add(id(value))
        transient = {x for x in as_list(state.get("_non_persistent_buffers_set")) or () if isinstance(x, str)}
        for part in ("_parameters", "_buffers"):
            for name, tensor in (as_mapping(state.get(part)) or {}).items():
                given += 1
                if given > _MOST_TENSORS:
                    return
                if isinstance(name, str) and isinstance(tensor, Tensor) and name not in transient:
                    yield prefix + name[:LONGEST_NAME], tensor
        below = (as_mapping(state.get("_modules")) or {}) if len(prefix) < 1000 else {}
        given += len(below)
        children = [(f"{prefix}{str(n)[:LONGEST_NAME]}.", m) for n, m in below.items() if isinstance(n, str | int) and id(m) not in seen]
        stack.extend(reversed(children))


def state_dict(value: object, path: tuple[str, ...]) -> tuple[Named, ...]:
    """The tensors of a mapping (or list) that is a state dict: at least half of what it holds are tensors. Empty when it is none."""
    if any(word in _NOT_MODELS for part in path for word in words(part[:100])):
        return ()
    mapping = as_mapping(value)
    if mapping is None:
        items = as_list(value)
        if not items or not all(isinstance(i, Tensor) for i in items) or not (path and _says_model(path[-1])):
            return ()
        return tuple((str(i), t) for i, t in enumerate(items) if isinstance(t, Tensor))
    found = [(str(k)[:LONGEST_NAME], v) for k, v in mapping.items() if isinstance(v, Tensor | Array) and isinstance(k, str | int)]
    arrays = [k for k, v in found if isinstance(v, Array)]
    if arrays and not (any(_says_model(p) for p in path) or all(k.rpartition(".")[2].rpartition("/")[2] in _LEAVES for k in arrays)):
        found = [(k, v) for k, v in found if isinstance(v, Tensor)]
    return tuple(found) if found and 2 * len(found) >= len(mapping) else ()


def _says_model(key: str) -> bool:
    return key.lower() in _WRAPPERS or any(w in ("model", "params", "weights", "shadow", "net", "network", "ema") for w in words(key))


def combine(models: list[Model]) -> tuple[tuple[Named, ...], bool, int]:
    """One list of tensors out of all models in a file, whether they came from a pickled module, and how many tensors of copies were left out.

    Averages and older copies are left out where the model itself is there. Several models (generator, discriminator) keep
    their keys as prefixes; the one under a key that says no more than "model" has none.
    """
    averaged = any(m.path[:1] == (_TRAINED,) for m in models)
    chosen = [m for m in models if not m.is_copy and not (averaged and m.path[:1] == ("state_dict",))] or models[:1]
    copies = sum(len(m.tensors) for m in models) - sum(len(m.tensors) for m in chosen)
    out: dict[str, Tensor | Array] = {}
    taken: set[tuple[str, ...]] = set()
    for model in chosen:
        key = tuple(p for p in model.path if p.lower() not in _WRAPPERS) if len(chosen) > 1 else ()
        names = plain_names([name for name, _ in model.tensors])
        if key in taken and any(".".join((*key, n)) in out for n in names):
            key = model.path
        taken.add(key)
        for name, (_, tensor) in zip(names, model.tensors, strict=True):
            out.setdefault(".".join((*key, name)), tensor)
    return tuple(out.items()), bool(chosen) and all(m.from_module for m in chosen), copies


def trainable(models: list[Model]) -> Mapping[str, bool] | None:
    """requires_grad of the parameters of pickled modules, None when no module was pickled."""
    tensors, from_module, _ = combine(models)
    if not from_module:
        return None
    return {n: bool(t.requires_grad) for n, t in tensors if isinstance(t, Tensor) and t.is_parameter}
