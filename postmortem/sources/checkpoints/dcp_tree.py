"""The nested dict that was saved, put together again from the flat items of a sharded checkpoint."""

from collections.abc import Mapping

from postmortem.sources.checkpoints.plain import as_list

_SLOTS = frozenset({"exp_avg", "exp_avg_sq", "momentum_buffer", "max_exp_avg_sq", "fp32_param", "step"})


def path_of(name: str, planned: object) -> tuple[str | int, ...]:
    """Where in the saved tree an item belongs: as the planner recorded it, else by the name's own parts."""
    parts = as_list(planned)
    if parts and all(isinstance(p, str | int) for p in parts):
        return tuple(p for p in parts if isinstance(p, str | int))
    split = name.split(".")
    if "optimizer" in split[:3] or split[0] == "optim":  # Megatron: optimizer.state.<slot>.<parameter>
        at = split.index("optimizer") if "optimizer" in split[:3] else 0
        rest = split[at + 1 :]
        if len(rest) > 2 and rest[0] == "state" and rest[1] in _SLOTS:
            return ("optimizer", "state", ".".join(rest[2:]), rest[1])
        return ("optimizer", *rest)
    return ("model", name)


def tree(leaves: list[tuple[tuple[str | int, ...], object]]) -> dict[object, object]:
    """The nested dict that was saved; dicts of positions become lists again, flattened optimizer states nested ones."""
    root: dict[object, object] = {}
    nodes = [root]
    for path, value in leaves:
        at = root
        for part in path[:-1]:
            below = at.setdefault(part, {})
            if not isinstance(below, dict):
                break
            if not below:
                nodes.append(below)
            at = below
        else:
            at[path[-1]] = value
    for node in nodes:
        for key, below in list(node.items()):
            if isinstance(below, dict) and below and all(type(k) is int for k in below):
                node[key] = [v for _, v in sorted(below.items(), key=lambda kv: kv[0])]
            elif isinstance(below, dict) and any(isinstance(k, str) and k.startswith("param_groups.") for k in below):
                node[key] = _nested_optimizer(below)
    for node in nodes:
        state = node.get("state")
        if isinstance(state, dict) and "param_groups" not in node and any(isinstance(v, dict) and not _SLOTS.isdisjoint(v) for v in state.values()):
            node["param_groups"] = []
    return root


def _nested_optimizer(flat: Mapping[object, object]) -> dict[object, object]:
    """`state.<parameter>.<slot>` and `param_groups.<parameter>.<setting>` as torch's flattened optimizer state has them."""
    state: dict[object, object] = {}
    settings: dict[str, dict[object, object]] = {}
    for key, value in flat.items():
        if not isinstance(key, str):
            continue
        head, _, rest = key.partition(".")
        name, _, last = rest.rpartition(".")
        if head == "state":
            slots = state.setdefault(name, {})
            if isinstance(slots, dict):
                slots[last] = value
        elif head == "param_groups":
            settings.setdefault(name, {})[last] = value
    groups: dict[str, dict[object, object]] = {}
    for name, values in settings.items():
        plain = {k: v for k, v in values.items() if k != "params"}
        alike = repr(sorted((str(k), v) for k, v in plain.items() if isinstance(v, str | int | float | bool | None)))
        group = groups.setdefault(alike, {**plain, "params": []})
        names = group["params"]
        if isinstance(names, list):
            names.append(name)
    return {"state": state, "param_groups": list(groups.values())}
