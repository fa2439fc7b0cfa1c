"""In which order a model class of one's own defined its layers, where its file does not say it.

Keras saves attributes by name: `classifier` before `stem`. What is left of the order: lists keep theirs, `layers` lists
what no earlier attribute held, layers without a name are numbered per class as they are made (`dense`, `dense_1`), the
optimizer's variables follow the order of definition, and what one layer gives the next one takes. An order is told when
exactly one satisfies all of it.
Source: keras/src/saving/saving_lib.py (`_save_state`) and keras/src/layers/layer.py (`variables`) of Keras 3.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from postmortem.sources.checkpoints.hdf5 import Listing
from postmortem.sources.checkpoints.keras_names import ATTRIBUTES, Variable

_QUEUES = frozenset({"layers", "_layer_checkpoint_dependencies"})  # lists of what no attribute before them held
_NUMBERED = re.compile(r"(.*?)(?:_(\d{1,9}))?")
_MOST_TRIES = 50_000
_Shape = tuple[int, ...]
_Take = Callable[[int, Sequence[Variable]], int | None]  # state after these variables, None when they do not fit


@dataclass(slots=True)
class _Node:
    """A layer or a list of layers. `fixed`: all variables below it in order, None when there is a choice."""

    name: str
    own: list[Variable] = field(default_factory=list)
    queue: list["_Node"] = field(default_factory=list)  # in this order among themselves
    free: list["_Node"] = field(default_factory=list)  # anywhere between those
    fixed: list[Variable] | None = None


def by_shapes(listing: Listing, model: Sequence[Variable], wanted: Sequence[_Shape]) -> list[Variable] | None:
    """The only order in which the variables that are learned have these shapes, None when there is none or several."""

    def take(at: int, variables: Sequence[Variable]) -> int | None:
        for variable in variables:
            if not variable.statistic:
                if at >= len(wanted) or wanted[at] != variable.ref.shape:
                    return None
                at += 1
        return at

    return _only(listing, model, take, 0) if sum(not v.statistic for v in model) == len(wanted) else None


def by_widths(listing: Listing, model: Sequence[Variable]) -> list[Variable] | None:
    """The only order in which each kernel takes as many channels as the one before it gives, None when there is none or several."""

    def take(width: int, variables: Sequence[Variable]) -> int | None:
        for variable in variables:
            shape = variable.ref.shape
            if len(shape) < 2 or variable.statistic:
                continue
            if variable.leaf == "recurrent_kernel":
                width = shape[0]
            elif variable.leaf == "embeddings":
                width = shape[-1]
            elif variable.leaf != "kernel" or width not in (-1, shape[-2]):
                return None
            else:
                width = shape[-1]
        return width

    return _only(listing, model, take, -1)


def _only(listing: Listing, model: Sequence[Variable], take: _Take, state: int) -> list[Variable] | None:
    root = _outline(listing, model)
    for numbers in (True, False):  # layers may be made in another order than they are attached
        search = _Search(take, numbers=numbers)
        found: list[list[Variable]] = []
        try:
            for order, _ in search.orders(root, state):
                if order not in found:
                    found.append(order)
                if len(found) > 1:
                    break
        except RecursionError:
            return None
        if search.tries > _MOST_TRIES or len(found) > 1:
            return None
        if found:
            return [replace(v, ordered=True) for v in found[0]]
    return None


def _outline(listing: Listing, model: Sequence[Variable]) -> _Node:
    """The tree of layers. `model` has the items of lists in their order."""
    groups: Mapping[str, Mapping[str, object]] = {g.path: g.attributes for g in listing.groups}
    nodes: dict[str, _Node] = {"": _Node("")}
    for variable in model:
        parts = variable.path.rpartition("/vars/")[0].split("/") if "/vars/" in variable.path else []
        for i, part in enumerate(parts):
            path, above = "/".join(parts[: i + 1]), "/".join(parts[:i])
            if path in nodes:
                continue
            name = groups.get(f"{path}/vars", {}).get("name")
            nodes[path] = _Node(name if isinstance(name, str) else part)
            layer = f"{above}/vars" if above else "vars"
            listed = part in _QUEUES or part in ATTRIBUTES or layer not in groups
            (nodes[above].queue if listed else nodes[above].free).append(nodes[path])
        nodes["/".join(parts)].own.append(variable)
    for path in sorted(nodes, key=lambda p: p.count("/") + bool(p), reverse=True):
        node = nodes[path]
        queues = [child for child in node.queue if child.name in _QUEUES]
        if len(queues) == 1 and node.queue == queues and not queues[0].own and not queues[0].free:
            node.queue = queues[0].queue  # what is listed mingles with the attributes
        if not node.free or (len(node.free) == 1 and not node.queue):
            below = [child.fixed for child in (*node.queue, *node.free)]
            if all(part is not None for part in below):
                node.fixed = [*node.own, *(v for part in below for v in part or ())]
    return nodes[""]


class _Search:
    """Orders that satisfy a rule, tried one after the other within a bound."""

    def __init__(self, take: _Take, *, numbers: bool) -> None:
        self.tries = 0
        self._take, self._numbers = take, numbers

    def orders(self, node: _Node, state: int) -> Iterator[tuple[list[Variable], int]]:
        self.tries += 1
        start = node.own if node.fixed is None else node.fixed
        after = self._take(state, start)
        if after is None or self.tries > _MOST_TRIES:
            return
        if node.fixed is not None:
            yield node.fixed, after
            return
        for rest, end in self._mingled(node.queue, node.free, after):
            yield [*start, *rest], end

    def _mingled(self, queue: list[_Node], free: list[_Node], state: int) -> Iterator[tuple[list[Variable], int]]:
        if not queue and not free:
            yield [], state
            return
        left = [*queue, *free]
        for choice in [*queue[:1], *free]:
            if self._numbers and any(_earlier(other.name, choice.name) for other in left):
                continue
            others = queue[1:] if queue and choice is queue[0] else queue
            rest = [node for node in free if node is not choice]
            for first, after in self.orders(choice, state):
                for more, end in self._mingled(others, rest, after):
                    yield [*first, *more], end


def _earlier(a: str, b: str) -> bool:
    """Whether two names are of one class and the first was made before: `dense_1` before `dense_2`."""
    one, two = _NUMBERED.fullmatch(a), _NUMBERED.fullmatch(b)
    return bool(one and two and one[1] == two[1] and int(one[2] or 0) < int(two[2] or 0))
