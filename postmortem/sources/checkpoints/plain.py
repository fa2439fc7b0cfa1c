"""Pickled values as plain ones: what is a mapping, what is a number or a text, and a configuration as dotted keys."""

from collections.abc import Iterator

from postmortem.model.sentence import Value
from postmortem.sources.pickles.rebuild import ITEM_SIZES
from postmortem.sources.pickles.records import Array, Named, Omitted, Record, Storage, Tensor

LONGEST_TEXT = 2000  # characters of one value
MOST_VALUES = 2000  # of one configuration
_DEEPEST = 12


def as_mapping(value: object) -> dict[object, object] | None:
    """A dict, or what a record holds by name: its own pairs (a subclass of dict), else its attributes. None when neither."""
    if type(value) is dict:
        return value
    if type(value) is not Record:
        return None
    if value.pairs is not None:
        return value.pairs
    state = value.state
    if isinstance(state, tuple) and len(state) == 2:  # (attributes, slots)
        state = state[0] if isinstance(state[0], dict) and state[0] else state[1]
    if type(state) is dict:
        if "_content" in state and "_metadata" in state:  # omegaconf keeps the mapping, or the list, there
            content = state["_content"]
            return content if type(content) is dict else None
        return state
    return None


def as_list(value: object) -> list[object] | tuple[object, ...] | None:
    """A list, tuple or set; None when it is none."""
    if isinstance(value, list | tuple):
        return value
    if type(value) is Record:
        if value.items is not None:
            return value.items
        content = value.state.get("_content") if isinstance(value.state, dict) else None
        if isinstance(content, list):
            return content
    return None


def as_value(value: object) -> tuple[Value] | None:
    """A scalar as (scalar,), also one inside an enum, an omegaconf node or a dtype's name; None when it is no scalar."""
    if value is None or isinstance(value, bool | int | float):
        return (value,)
    if isinstance(value, str):
        return (value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…",)
    if isinstance(value, Named):
        return (value.name if value.module == "torch" and value.name in ITEM_SIZES else value.full,)
    if type(value) is Record:
        if isinstance(value.state, dict) and "_val" in value.state:
            inner = value.state["_val"]
            return as_value(inner) if not isinstance(inner, Record) else None
        if value.kind == "builtins.getattr" and isinstance(value.args, tuple) and len(value.args) == 2 and isinstance(value.args[1], str):
            return (value.args[1],)  # an enum's member by name, a bound method
        args = value.args if value.state is None and value.items is None and value.pairs is None else None
        if value.kind and isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], str | int | float):
            return as_value(args[0])
    return None


def flatten(value: object, prefix: str = "", *, most: int = MOST_VALUES) -> Iterator[tuple[str, Value]]:
    """The scalars of a nested configuration under dotted keys; short lists of scalars by index. Tensors and records without names are left out."""
    stack: list[tuple[str, object, int]] = [(prefix, value, 0)]
    given, seen, looked = 0, set[int](), 0
    while stack and given < most and looked < most * 10:
        key, item, depth = stack.pop()
        looked += 1
        scalar = as_value(item)
        if scalar is not None:
            if key:
                given += 1
                yield key, scalar[0]
            continue
        if depth >= _DEEPEST or id(item) in seen or isinstance(item, Tensor | Array | Storage | Omitted):
            continue
        seen.add(id(item))
        mapping = as_mapping(item)
        if mapping is not None:
            children = [(str(k)[:200], v) for k, v in list(mapping.items())[:most] if isinstance(k, str | int)]
        else:
            children = [(str(i), v) for i, v in enumerate((as_list(item) or ())[:32])]
        joined = [(f"{key}.{name}" if key else name, child, depth + 1) for name, child in children]
        stack.extend(reversed(joined))
