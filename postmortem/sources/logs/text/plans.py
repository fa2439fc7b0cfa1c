"""What the numbers of a line of one shape are: counters, totals, values. Made by `grammar.py` and `dialects.py`, followed by `scan.py`."""

from dataclasses import dataclass, field, replace
from typing import Any

from postmortem.sources.logs.text.keys import split_in
from postmortem.sources.names import names_a_loss, series_name

NO = -1  # no such slot


@dataclass(frozen=True, slots=True)
class Slot:
    """One number that is a value: which number of the line, of which series. `total` is the slot it is divided by."""

    index: int
    name: str
    logged_as: str
    total: int = NO
    percent: bool = False
    times: float = 1.0  # `1.5K`
    mean: int = NO  # the slot of the running mean in parentheses behind it


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a line of one shape. Slots are indices of the line's numbers, -1 for none."""

    values: tuple[Slot, ...] = ()
    step: int = NO
    step_total: int = NO
    epoch: int = NO
    epoch_total: int = NO
    batch: int = NO  # counter within an epoch, or a lone progress counter
    batch_total: int = NO
    rank: int = NO
    group: int = NO  # of the optimizer's parameters: only what is said of the first one, 0, counts
    split: str = ""  # what the line as a whole is about
    bar: bool = False  # a Keras progress bar: only its last state counts
    samples: bool = False  # the counter counts samples, not batches
    mapping: bool = False  # a dict or JSON line
    brackets: bool = False  # "Epoch: [8]": counted from 0 by custom
    weak: bool = False  # nothing known, no counter: counts only within a block that has a counter
    progress: bool = False  # a tqdm bar
    drawn: bool = False  # a bar of any kind, beside a counter that has no name
    again: bool = False  # said a second time of one epoch, of the set that a heading named
    keyless: bool = False  # the counter has no name
    spare: bool = False  # what a line about a saved model says of the loss: counts where nothing else says it
    heads: bool = False  # nothing but the number of an epoch: a heading of the lines below it
    announces: bool = False  # the lines below it are about the same set
    untrained: bool = False  # measured before the first step
    done: bool = False  # its epoch says how many are done, 0 at first
    overall: bool = False  # its step is by name that of all training
    counters: tuple[int, ...] = field(init=False, compare=False)  # slots that say where training is; not finite, they make the line worthless
    paired: bool = False  # a counter without a name, and values of training and validation: "[01/14] train_loss 0.3, val_loss 0.4"

    @property
    def evaluates(self) -> bool:
        """The line says nothing of where training is nor which split it is about, but names what only evaluations measure."""
        return not self.split and not self.counts and any(v.name == "val/score" and not split_in(v.logged_as) for v in self.values)

    def evaluation(self) -> "Plan":
        """The same line, its values about the validation set where their keys do not say otherwise."""
        values = tuple(replace(v, name=series_name(v.logged_as, "val")) if v.name.startswith("train/") else v for v in self.values)
        return replace(self, split="val", values=values)

    def behind_rank(self) -> "Plan":
        """The same line behind the name of a rank, which is a number more."""
        if self == EMPTY:
            return EMPTY
        values = tuple(replace(v, **_moved(v, ("index", "total", "mean"))) for v in self.values)
        return replace(self, **_moved(self, _SLOTS), values=values, rank=0)

    @property
    def of_losses(self) -> bool:
        """Nothing counts and no quantity is known, but one is called a loss: it is read where nothing else in the log is."""
        return self.weak and any(names_a_loss(v.logged_as) for v in self.values)

    @property
    def of_all(self) -> bool:
        """A counter without a name runs to the end of training, where the epoch beside it is a share: `1/21150 (epoch 0.002)`."""
        return self.keyless and not self.drawn and NO not in {self.batch, self.batch_total}

    @property
    def either(self) -> bool:
        """A step with a total: of the epoch that a heading names, where it begins again in each, else of all training. `places` settles which."""
        alone = self.step_total != NO and self.epoch == NO and self.batch == NO
        return alone and self.split in ("", "train") and bool(self.values) and not (self.overall or self.mapping or self.progress or self.bar)

    @property
    def by_itself(self) -> bool:
        """What its lines say depends on more than where training is: they are read one by one."""
        return self.group != NO or self.untrained or self.done or self.announces or (self.heads and bool(self.split))

    @property
    def counts(self) -> bool:
        """The line says where training is."""
        return self.step >= 0 or self.epoch >= 0 or self.batch >= 0

    def __post_init__(self) -> None:
        counters = (self.step, self.step_total, self.epoch, self.epoch_total, self.batch, self.batch_total)
        object.__setattr__(self, "counters", tuple(s for s in counters if s >= 0))


EMPTY = Plan()
_SLOTS = ("step", "step_total", "epoch", "epoch_total", "batch", "batch_total", "group")


def _moved(of: Slot | Plan, names: tuple[str, ...]) -> dict[str, Any]:
    """Slots one further on, those that there are."""
    return {name: slot + 1 for name in names if (slot := getattr(of, name)) != NO}
