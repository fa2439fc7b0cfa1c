"""What a Keras file calls its variables, and the order of its layers.

Keras 3 numbers variables (`layers/dense_1/vars/0`) below a group that is named after the layer's class; the layer's own
name is an attribute of `vars`. Files of `Model.save` in HDF5 and of TF-Keras list `weight_names` per layer.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from postmortem.model.run import TensorRef
from postmortem.sources.checkpoints.hdf5 import Listing

_CONTAINERS = frozenset({"layers", "vars", "_layer_checkpoint_dependencies", "_layers", "_operations", "layer"})
_NORMALISED = ("gamma", "beta", "moving_mean", "moving_variance")
_RECURRENT = ("kernel", "recurrent_kernel", "bias")
_STATISTICS = frozenset({"moving_mean", "moving_variance"})
# Attributes of a layer are saved by name; these are the orders in which the layers of Keras make them.
ATTRIBUTES = {name: i for i, name in enumerate((
    "query_dense", "key_dense", "value_dense", "output_dense", "forward_layer", "backward_layer", "cell", "cells", "layer",
))}  # fmt: skip
_ORDER_OF_ARRIVAL = re.compile(r"_\d+$")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the model, under the name that a reader of the training script would recognise."""

    path: str  # in the file
    layer: str  # the layer's name
    leaf: str  # kernel, bias, gamma, …; the number when it is not known
    ref: TensorRef

    ordered: bool = True  # its place among the variables is known

    @property
    def statistic(self) -> bool:
        """Moved by the forward pass, not by the optimizer."""
        return self.leaf in _STATISTICS or self.leaf.startswith(("seed", "count")) or not self.ref.dtype.startswith(("float", "bfloat"))


def variables(listing: Listing, layers: Sequence[str]) -> list[Variable]:
    """The model's variables in the order of its layers. `layers` are their names in order, () when no configuration says."""
    found = _listed(listing, _root(listing)) or _numbered(listing)
    rank = {name: i for i, name in enumerate(layers)}
    if all(v.layer.partition("/")[0] in rank for v in found):  # a class of one's own may keep its name to itself
        found = sorted(found, key=lambda v: rank[v.layer.partition("/")[0]])
    names = Counter(v.ref.name for v in found)
    return [v if names[v.ref.name] == 1 else replace(v, ref=replace(v.ref, name=v.path)) for v in found]


def is_model(listing: Listing) -> bool:
    """Whether the file has the marks of one that Keras wrote."""
    paths = {group.path for group in listing.groups}
    return bool(paths & {"layers", "_layer_checkpoint_dependencies", "model_weights"}) or "layer_names" in listing.attributes("") or "vars" in paths


def _root(listing: Listing) -> str:
    return "model_weights" if any(g.path == "model_weights" for g in listing.groups) else ""


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _listed(listing: Listing, root: str) -> list[Variable]:
    """By `layer_names` and `weight_names`."""
    groups: Mapping[str, Mapping[str, object]] = {g.path: g.attributes for g in listing.groups}
    out: list[Variable] = []
    for layer in _texts(groups.get(root, {}).get("layer_names")):
        top = f"{root}/{layer}" if root else layer
        for weight in _texts(groups.get(top, {}).get("weight_names")):
            ref = listing.tensors.get(f"{top}/{weight}")
            if ref is not None:
                plain = re.sub(r":\d+$", "", weight)
                parts = plain.split("/")
                inner = parts[parts.index(layer) + 1 :] if layer in parts else parts
                out.append(Variable(f"{top}/{weight}", layer, inner[-1] if inner else plain, replace(ref, name="/".join([layer, *inner]))))
    return out


def _numbered(listing: Listing) -> list[Variable]:
    """By number below `vars`, layers in the order in which they were written."""
    made = {group.path: (group.address, group.attributes) for group in listing.groups}
    families: dict[str, dict[str, TensorRef]] = defaultdict(dict)
    for path, ref in listing.tensors.items():
        owner, _, number = path.rpartition("/vars/")
        if not path.startswith("optimizer/") and number.isdecimal() and len(number) < 10:
            families[owner][number] = ref
    out: list[Variable] = []
    written = _written(listing)
    for owner in sorted(families, key=lambda o: _place(o, written)):
        family = dict(sorted(families[owner].items(), key=lambda item: int(item[0])))
        layer = _layer(owner, made)
        name = made.get(f"{owner}/vars", (0, {}))[1].get("name")
        kind = owner.rpartition("/")[2] if owner.rpartition("/")[0].rpartition("/")[2] in _CONTAINERS or not isinstance(name, str) else name
        for (number, ref), leaf in zip(family.items(), _leaves(kind, family), strict=True):
            named = replace(ref, name=f"{layer}/{leaf}" if layer else leaf)
            out.append(Variable(f"{owner}/vars/{number}", layer, leaf, named, ordered=_in_order(owner)))
    return out


def _written(listing: Listing) -> dict[str, int]:
    """When each group was finished: the highest address of its own header and of those below it.

    The library fills holes that it left earlier, so one address may be too low: the highest seldom is, and layers of one
    class are numbered as they come (`dense`, `dense_1`), so that none of them is finished before the one ahead of it.
    """
    out: dict[str, int] = defaultdict(int)
    for path, address in [*((g.path, g.address) for g in listing.groups), *listing.addresses.items()]:
        for prefix in _prefixes(path):
            out[prefix] = max(out[prefix], address)
    classes: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for path in out:
        folder, _, name = path.rpartition("/")
        match = _ORDER_OF_ARRIVAL.search(name)
        classes[folder, _ORDER_OF_ARRIVAL.sub("", name)].append((int(match[0][1:12]) if match else 0, path))
    for members in classes.values():
        latest = 0
        for _, path in sorted(members):
            latest = out[path] = max(latest, out[path])
    return out


def _place(owner: str, written: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Sort key: layers of a list in the order of writing, attributes in the order of their layer's class."""
    key = []
    for prefix in _prefixes(owner):
        match = _ORDER_OF_ARRIVAL.search(prefix)
        key.append((ATTRIBUTES.get(prefix.rpartition("/")[2], len(ATTRIBUTES)), written.get(prefix, 0), int(match[0][1:12]) if match else 0))
    return key


def _in_order(owner: str) -> bool:
    """Whether every step of the path is an item of a list of layers, or an attribute with a known order."""
    parts = owner.split("/")
    return all(part in _CONTAINERS or part in ATTRIBUTES or (i > 0 and parts[i - 1] in _CONTAINERS) or not part for i, part in enumerate(parts))


def _prefixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _layer(owner: str, made: Mapping[str, tuple[int, Mapping[str, object]]]) -> str:
    """`layers/dense_1` → the name of that layer; below it, attributes of the layer by theirs: `attention/query_dense`."""
    out: list[str] = []
    under_list = False
    for prefix in _prefixes(owner):
        part = prefix.rpartition("/")[2]
        if part in _CONTAINERS:
            under_list = True
            continue
        name = made.get(f"{prefix}/vars", (0, {}))[1].get("name") if under_list else None
        out.append(name if isinstance(name, str) and name else part)
        under_list = False
    return "/".join(out)


def _leaves(called: str, family: Mapping[str, TensorRef]) -> Sequence[str]:
    """Names of numbered variables, from the layer's class as the layer is called and from their shapes; numbers when these say nothing."""
    kind = _ORDER_OF_ARRIVAL.sub("", called)
    shapes = [ref.shape for ref in family.values()]
    ranks = [len(shape) for shape in shapes]
    if kind == "embedding" and ranks == [2]:
        return ("embeddings",)
    if kind.endswith("normalization") and all(rank == 1 for rank in ranks) and len(set(shapes)) == 1:
        if len(ranks) in (2, 4):
            return _NORMALISED[: len(ranks)]
        if len(ranks) == 3:  # one of gamma and beta is switched off: which, the file does not say
            return ("0", *_NORMALISED[2:])
        return ("gamma",) if kind != "batch_normalization" else ("0",)
    if ranks == [1, 1, 1, 1] and len(set(shapes)) == 1:  # no other layer has four vectors of one length
        return _NORMALISED
    if (kind == "cell" or kind.endswith("_cell")) and len(ranks) in (2, 3) and ranks[:2] == [2, 2] and shapes[0][1] == shapes[1][1]:
        return _RECURRENT[: len(ranks)]
    if ranks and ranks[0] >= 2 and len(ranks) == 1:
        return ("kernel",)
    if len(ranks) == 2 and ranks[0] >= 2 and shapes[1] and ranks[1] < ranks[0] and shapes[1][-1] == shapes[0][-1]:
        return ("kernel", "bias")
    return tuple(family)
