"""The values of a line once all of its numbers were read: which series each is of, told from its key and from the keys beside it."""

import re
from dataclasses import replace
from functools import lru_cache

from postmortem.sources.logs.parts import is_part
from postmortem.sources.logs.text.keys import split_in
from postmortem.sources.logs.text.plans import NO, Slot
from postmortem.sources.names import of_episodes, of_validation, plainness, series_name, twins, words

_FILLER = re.compile(
    r"^(?:iter|iteration|step|batch|mini-?batch|the|current|cur|average|avg|ave|overall|mean|final|epoch|prompt|running|moving|smoothed|and|"
    r"with|then|info|per|optim|sgd|adam|adamw|adagrad|adadelta|rmsprop)$",
    re.IGNORECASE,
)
_NUMBERED_SET = re.compile(r"^valid(?:ation)?_(\d{1,2})[ -]")
_AVERAGED = re.compile(r"\baveraged? stats\b", re.IGNORECASE)  # at the end of an epoch: the last one, and the mean in parentheses
_RATIOS = ("accuracy", "error", "f1", "score")
_WORDS_OF_A_LOSS = 3  # `Generator loss 0.5`, with nothing between the key and its number
_LOOSE = re.compile(r"^[A-Za-z_][\w./@%-]*$")
_OF_TRAINING = frozenset({"lr", "grad_norm"})  # what is behind them is of training again
_SMOOTH = re.compile(r"\b(?:moving|smoothed|ema|run(?:ning)?[ _]?(?:avg|mean|loss|average))\b|\bavg[ _]loss$", re.IGNORECASE)

Keyed = tuple[int, str, str, bool, bool]  # index, key, split, marked, percent


class Values:
    """What was read of a line that still waits for its name."""

    def __init__(self, parts: list[str], *, mapping: bool) -> None:
        self.parts = parts  # of the shape, cut at its numbers
        self.mapping = mapping
        self.slots: dict[str, int] = {}
        self.line_split = ""
        self.pending: list[Keyed] = []
        self.bare: list[tuple[int, str, bool, str]] = []  # index, split, percent, quantity if known: values that only their split names
        self.totals: dict[int, int] = {}
        self.multiples: dict[int, float] = {}  # of values: what their suffix says
        self.episode = NO  # the number of the episode
        self.of_best = False  # the line begins with a value of an epoch long gone
        self.weak = False

    def named(self) -> tuple[Slot, ...]:
        """The values of the line, each with its series; of several of one series the one whose key is plainest."""
        if not self.slots and self.pending and (self.of_best or words(self.pending[0][1])[:1] == ("best",)):
            return ()  # `Best accuracy: 0.8, loss: 0.5`: of an epoch long gone
        self._again()
        self._of_only_split()
        style = any(marked for *_, marked, _ in self.pending)
        best: dict[str, tuple[int, int]] = {}  # name → how plain its key is, index
        named: list[tuple[Slot, bool]] = []
        told = twins(key for _, key, *_ in self.pending)
        for index, key, split, marked, percent in self.pending:
            name, used = name_of(key, split or self.line_split * (not split_in(key)))
            if key in told:
                name = name_of(*told[key])[0]
            total = self.totals.get(index, NO)
            if not name.startswith("other/"):
                set_number = _NUMBERED_SET.search(key)  # the last one is what XGBoost and LightGBM stop early by
                rank: int = plainness(key) + 1000 * bool(_SMOOTH.search(key)) - (int(set_number[1]) if set_number else 0)
                if name not in best or rank < best[name][0]:
                    best[name] = (rank, self._average(index, name))
                if not name.endswith(_RATIOS):
                    total = NO
                rated = percent and name.endswith(("/accuracy", "/error"))
                times = 1.0 if name == "memory" else self.multiples.get(index, 1.0)
                named.append((Slot(self._average(index, name), name, used, total, rated, times, self._mean(index)), True))
            elif marked or (not style and _LOOSE.match(key)) or (is_part(key) and len(words(key)) <= _WORDS_OF_A_LOSS):
                named.append((Slot(self._average(index, name), name, used), False))
        named += [(slot, True) for slot in self._only_split(any(slot.name.endswith("/loss") for slot, _ in named))]
        self.weak = not any(known for _, known in named) and not self.slots.keys() - {"rank"} and not self.mapping
        values = tuple(slot if not known or best.get(slot.name, (0, slot.index))[1] == slot.index else self._another(slot) for slot, known in named)
        returns = of_episodes({"episode": "", **{s.logged_as: s.name for s in values}}) if self.episode != NO else {}
        values = self._beside_both_losses(values)
        return tuple(replace(s, name=returns.get(s.logged_as, s.name)) for s in values) if returns else values

    def _another(self, slot: Slot) -> Slot:
        """A value beside a plainer one of its series, by its key, and by its set where only what stands before the key names that."""
        of = slot.name.partition("/")[0]
        key = f"{of} {slot.logged_as}" if of in ("val", "test") and not (self.line_split or split_in(slot.logged_as)) else slot.logged_as
        return Slot(slot.index, f"other/{key}", key)

    def _again(self) -> None:
        """The same keys in the same order a second time are of the validation set: `loss 4.1 | hm_loss 2.1 | loss 4.2 | hm_loss 2.2` of CenterNet."""
        keys, half = [key for _, key, *_ in self.pending], len(self.pending) // 2
        if half > 1 and keys[:half] == keys[half:] and len(set(keys)) == half and not any(split for _, _, split, *_ in self.pending):
            self.pending[half:] = [(index, key, split_in(key) or "val", marked, percent) for index, key, _, marked, percent in self.pending[half:]]

    def _of_only_split(self) -> None:
        """`Valid acc: 0.8 | loss: 0.5`: behind the only split that the keys of a line name, keys without one are of it too.

        Not where training may stand beside it: a key without a split before it, one that says the same quantity again, a learning rate between.
        A key of one word, `val_acc`, is whole by itself: a figure of merit behind a `val_loss` is all that is taken for its set.
        """
        named = [split or split_in(key) for _, key, split, *_ in self.pending]
        sets = set(named) - {""}
        if self.line_split or self.bare or self.mapping or len(sets) != 1 or sets == {"train"} or "%||" in "".join(self.parts):
            return
        (of,) = sets
        begin = named.index(of)
        names = [name_of(key, split)[0] for (_, key, *_), split in zip(self.pending, named, strict=True)]
        unsaid = [n for n, name in enumerate(names) if not named[n] and name.startswith("train/")]
        plain = {_but_split(key) for _, key, split, *_ in self.pending if split or split_in(key)}
        again = any(names[n].replace("train/", f"{of}/") in names and _but_split(self.pending[n][1]) in plain for n in unsaid)
        if again or any(n < begin or not _OF_TRAINING.isdisjoint(names[begin:n]) for n in unsaid):
            return
        whole = " " not in self.pending[begin][1]
        if whole and (names[begin] != f"{of}/loss" or any(names[n] == "train/loss" for n in unsaid)):
            return
        for n in unsaid:
            index, key, _, marked, percent = self.pending[n]
            self.pending[n] = (index, key, of, marked, percent)

    def _only_split(self, beside_a_loss: bool) -> list[Slot]:  # noqa: FBT001
        """`Loss: 1.1, Train: 0.82, Val: 0.51` are accuracies, `train=1.06, val=0.97` alone are losses; sizes of sets come without a counter.

        `loss=1.1 | val=1.2` may be either: taken for the loss until all of its values are known (`unnamed.merits`).
        """
        counted = bool({"epoch", "step", "batch", "lead"} & self.slots.keys()) or (len(self.bare) == 1 and self.bare[0][3])
        if not counted or not self.bare or (len(self.bare) < 2 and not (beside_a_loss or self.learnt() or self.bare[0][3])):
            return []
        return [
            Slot(index, f"{split_in(key)}/{quantity}", f"{key} {quantity}", percent=percent)
            if quantity and len(self.bare) == 1
            else Slot(index, f"{split_in(key)}/{'accuracy' if (beside_a_loss and len(self.bare) > 1) or percent else 'loss'}", key, percent=percent)
            for index, key, percent, quantity in self.bare
        ]

    def learnt(self) -> bool:
        """`0: learn: 0.65 total: 55ms` of CatBoost."""
        return any(key.lower() == "learn" for _, key, *_ in self.bare)

    def _beside_both_losses(self, values: tuple[Slot, ...]) -> tuple[Slot, ...]:
        """`train_loss 0.5 val_loss 0.6 acc 0.8`: the accuracy is the validation set's, where nothing else on the line claims it."""
        if self.line_split or not any(s.name in ("val/loss", "test/loss") for s in values):
            return values
        claimed = {key for _, key, split, *_ in self.pending if split}
        renamed = of_validation({s.logged_as: s.name for s in values if s.logged_as not in claimed})
        return tuple(replace(s, name=renamed.get(s.logged_as, s.name)) for s in values) if renamed else values

    def _average(self, index: int, name: str) -> int:
        """`Acc@1 70.1 (71.2)` of a whole epoch, or in a pass over an evaluation set: the mean in parentheses is the result, not the last batch."""
        mean = self._mean(index)
        of_an_epoch = "epoch" in self.slots and not {"step", "iteration", "global", "lead"} & self.slots.keys()
        whole = name.startswith(("val", "test")) if "batch" in self.slots else of_an_epoch
        return mean if mean != NO and (whole or _AVERAGED.search(self.parts[0])) else index

    def _mean(self, index: int) -> int:
        after = self.parts[index + 1 : index + 3]
        return index + 1 if len(after) == 2 and after[0].strip() == "(" and after[1].startswith(")") else NO


def _but_split(key: str) -> tuple[str, ...]:
    """The words of a key that name no set."""
    return tuple(w for w in words(key) if not split_in(w))


@lru_cache(maxsize=16_384)
def name_of(key: str, split: str) -> tuple[str, str]:
    """The canonical name of a key, words that say nothing taken from its front where that helps."""
    name = series_name(key, split)
    parts = key.split()
    start = 0
    while name.startswith("other/") and start < len(parts) - 1 and (_FILLER.match(parts[start]) or split_in(parts[start])):
        start += 1
        name = series_name(" ".join(parts[start:]), split or next((split_in(p) for p in parts[:start] if split_in(p)), ""))
    return (f"other/{key}", key) if name.startswith("other/") else (name, key)
