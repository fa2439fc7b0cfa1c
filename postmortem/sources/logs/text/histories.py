"""The history that Flower prints at the end, `{'accuracy': [(1, 0.25), (2, 0.5)]}` over one line or many: values by round, of each metric.

And lists that programs print once training is over, `train_losses = [2.5, 1.75, 1.5, 1.25, 1.0]`: a value an epoch.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from postmortem.sources.logs.text.tokens import NUMBER
from postmortem.sources.names import series_name

_FEWEST = 5  # values that make a history; fewer are parts of one record
_PAIR = rf"\({NUMBER}, ?{NUMBER}\)"
_LIST = re.compile(rf"(?:([A-Za-z][\w /.-]{{0,60}})['\"]?:? \[|^(?:INFO ?:)?\s*)((?:{_PAIR}(?:, ?|\]|$)){{1,2000}})")
_HEADING = re.compile(
    r"\bHistory \((loss|metrics), (distributed|centralized)(, fit)?\):|\bapp_fit: (losses|metrics)_(distributed|centralized)(_fit)? "
)
_VALUES = re.compile(rf"([A-Za-z][\w .-]{{0,40}})['\"]?\s?[:=]\s?\[({NUMBER}(?:,{NUMBER}){{{_FEWEST - 1},2000}})\]")
_ORDER = ("centralized", "fit", "distributed")  # what the server measured comes before what the clients said


def holds_rounds(shape: str) -> bool:
    """Whether a line heads a history, or may be a part of one."""
    headed = "History (" in shape or "app_fit: " in shape
    listed = f"[{NUMBER},{NUMBER}," in shape and _VALUES.search(shape)
    return bool(listed or (headed and _HEADING.search(shape)) or (f"({NUMBER}," in shape and _LIST.search(shape)))


@dataclass(slots=True)
class History:
    """What of it was printed so far."""

    where: str = ""  # "distributed", "centralized" or "fit", once a heading was read
    key: str = ""  # the metric whose list goes on
    found: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)  # rounds and values
    lists: dict[str, list[float]] = field(default_factory=dict)  # values an epoch, by key; empty for those that a program prints again and again

    def line(self, shape: str, numbers: list[float]) -> bool:
        """Take in a line; False when it holds no values of a history."""
        heading = _HEADING.search(shape)
        if heading:
            what, where, fit = heading[1] or heading[4], heading[2] or heading[5], heading[3] or heading[6]
            self.where, self.key = "fit" if fit else where, "loss" if what != "metrics" else ""
        if not self.where:
            return self._listed(shape, numbers)
        lists = list(_LIST.finditer(shape))
        for found in lists:
            named = found[1] and not found[1].startswith(("losses_", "metrics_"))
            self.key = found[1] if named else self.key
            first = shape.count(NUMBER, 0, found.start(2))
            pairs = range(first, first + found[2].count(NUMBER), 2)
            self.found.setdefault((self.where, self.key), []).extend((numbers[at], numbers[at + 1]) for at in pairs)
        return bool(lists)

    def _listed(self, shape: str, numbers: list[float]) -> bool:
        """Take in a line of nothing but lists of what is known by name; a list that was printed before has to go on where that ended."""
        at = 0
        for found in _VALUES.finditer(shape):
            key, count = found[1].strip(), found[2].count(NUMBER)
            if shape.count(NUMBER, 0, found.start(2)) != at or series_name(key).startswith("other/"):
                return False
            values, before = numbers[at : at + count], self.lists.get(key)
            self.lists[key] = values if before is None or (before and values[: len(before)] == before) else []
            at += count
        return at == len(numbers) > 0

    def untold(self, told: Collection[str]) -> Iterator[tuple[str, str, list[tuple[float, float]]]]:
        """Names, keys, and rounds with values of what no other series has told."""
        known = set(told)
        for (where, key), rounds in sorted(self.found.items(), key=lambda item: _ORDER.index(item[0][0])):
            name = series_name(key, "train" if where == "fit" else "val")
            if key and name not in known:
                known.add(name)
                yield name, key, rounds
        lengths = {len(values) for key, values in self.lists.items() if series_name(key).endswith("/loss")}
        if any(name.endswith("/loss") for name in told):
            return  # beside records of training a list may be of folds or of classes
        for key, values in self.lists.items():
            name = series_name(key)
            if values and name not in known and len(values) in lengths:
                known.add(name)
                yield name, key, [(n + 1.0, value) for n, value in enumerate(values)]
