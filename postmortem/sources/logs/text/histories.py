"""The history that Flower prints at the end, `{'accuracy': [(1, 0.25), (2, 0.5)]}` over one line or many: values by round, of each metric."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from postmortem.sources.logs.text.tokens import NUMBER
from postmortem.sources.names import series_name

_PAIR = rf"\({NUMBER}, ?{NUMBER}\)"
_LIST = re.compile(rf"(?:([A-Za-z][\w /.-]{{0,60}})['\"]?:? \[|^(?:INFO ?:)?\s*)((?:{_PAIR}(?:, ?|\]|$)){{1,2000}})")
_HEADING = re.compile(
    r"\bHistory \((loss|metrics), (distributed|centralized)(, fit)?\):|\bapp_fit: (losses|metrics)_(distributed|centralized)(_fit)? "
)
_ORDER = ("centralized", "fit", "distributed")  # what the server measured comes before what the clients said


def holds_rounds(shape: str) -> bool:
    """Whether a line heads a history, or may be a part of one."""
    headed = "History (" in shape or "app_fit: " in shape
    return bool((headed and _HEADING.search(shape)) or (f"({NUMBER}," in shape and _LIST.search(shape)))


@dataclass(slots=True)
class History:
    """What of it was printed so far."""

    where: str = ""  # "distributed", "centralized" or "fit", once a heading was read
    key: str = ""  # the metric whose list goes on
    found: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)  # rounds and values

    def line(self, shape: str, numbers: list[float]) -> bool:
        """Take in a line; False when it holds no values of a history."""
        heading = _HEADING.search(shape)
        if heading:
            what, where, fit = heading[1] or heading[4], heading[2] or heading[5], heading[3] or heading[6]
            self.where, self.key = "fit" if fit else where, "loss" if what != "metrics" else ""
        if not self.where:
            return False
        lists = list(_LIST.finditer(shape))
        for found in lists:
            named = found[1] and not found[1].startswith(("losses_", "metrics_"))
            self.key = found[1] if named else self.key
            first = shape.count(NUMBER, 0, found.start(2))
            pairs = range(first, first + found[2].count(NUMBER), 2)
            self.found.setdefault((self.where, self.key), []).extend((numbers[at], numbers[at + 1]) for at in pairs)
        return bool(lists)

    def untold(self, told: Collection[str]) -> Iterator[tuple[str, str, list[tuple[float, float]]]]:
        """Names, keys, and rounds with values of what no other series has told."""
        known = set(told)
        for (where, key), rounds in sorted(self.found.items(), key=lambda item: _ORDER.index(item[0][0])):
            name = series_name(key, "train" if where == "fit" else "val")
            if key and name not in known:
                known.add(name)
                yield name, key, rounds
