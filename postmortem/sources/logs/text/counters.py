"""Which numbers of a line count, and what they count: steps, epochs, batches, and how far each of them goes."""

import re

from postmortem.sources.logs.text.naming import Values, name_of
from postmortem.sources.logs.text.plans import NO
from postmortem.sources.names import names_a_loss

_RATE = re.compile(r"^\s?[A-Za-z]+/s")


class Counters(Values):
    """The counters of a line so far."""

    def __init__(self, parts: list[str], *, mapping: bool, bar: bool) -> None:
        super().__init__(parts, mapping=mapping)
        self.bar = bar
        self.samples = False
        self.keyless = False
        self.overall = False
        self.last: tuple[str, int] = ("", NO)  # what the previous number was, and where

    def promote(self) -> None:
        """Two counters that both want to be the step: the one with a total counts within the epoch when the other has none."""
        slot = self.slots
        if "lead" in slot and not {"step", "batch", "iteration"} & slot.keys() and not self.bar and self._any_known():
            slot["step"] = slot["lead"]
        slot.pop("lead", None)
        if self.episode != NO and not slot.keys() - {"rank"} and self._any_known():
            slot["step"], slot["step_total"] = self.episode, self.totals.get(self.episode, NO)
            self.pending = [found for found in self.pending if found[0] != self.episode]
        if "step_total" in slot and "iteration" in slot and not {"iteration_total", "epoch", "batch"} & slot.keys():
            slot["epoch"] = slot.pop("iteration")  # `iteration:12 step:616/1044`
        if "step" in slot and "iteration" in slot:
            slot["batch"], slot["batch_total"] = slot.pop("iteration"), slot.pop("iteration_total", NO)
        elif "iteration" in slot:
            slot["step"], slot["step_total"] = slot.pop("iteration"), slot.pop("iteration_total", NO)
        whole = self.overall = "global" in slot
        if whole:
            if "step" in slot and "batch" not in slot:
                slot["batch"], slot["batch_total"] = slot["step"], slot.pop("step_total", NO)
            slot["step"], slot["step_total"] = slot.pop("global"), slot.pop("global_total", NO)
        if "epoch" in slot and "batch" not in slot and not whole and slot.get("step_total", NO) >= 0:
            slot["batch"], slot["batch_total"] = slot.pop("step"), slot.pop("step_total")

    def _any_known(self) -> bool:
        known = any(names_a_loss(key) or not name_of(key, split)[0].startswith("other/") for _, key, split, *_ in self.pending)
        return known or len(self.bare) > 1 or self.learnt()

    def take(self, role: str, index: int) -> None:
        if not role:  # `eval_step=3/10`: how far an evaluation is
            self.last = ("", index)
        elif role == "free":
            self.last = ("free", index)
        elif role not in self.slots:
            self.slots[role] = index
            self.last = (role, index)
        else:
            self.last = ("", index)

    def total(self, index: int) -> None:
        what, where = self.last
        if what in ("step", "epoch", "batch", "iteration", "global"):
            self.slots[f"{what}_total"] = index
        elif what == "value":
            self.totals[where] = index
        elif what in ("free", "lead") and self.keyless and "epoch" not in self.slots and self.parts[where].startswith("%||"):
            # `2/3:  25%|███ | 10/40 [`: of two counters without a name the bar's own is the batch, and the one that describes it the epoch
            self.slots["epoch"], self.slots["epoch_total"] = self.slots["batch"], self.slots["batch_total"]
            self.slots["batch"], self.slots["batch_total"] = where, index
        elif (
            what in ("free", "lead")
            and not _RATE.match(self.parts[index + 1])
            and not {"batch", "step_total", "iteration_total", "global_total"} & self.slots.keys()
        ):
            self.slots["batch"], self.slots["batch_total"] = where, index
            self.keyless = True
            self.slots.pop("lead", None)
            after = self.parts[index + 1]
            self.samples = "epoch" in self.slots and bool(re.match(r"^ \($", after)) and self.parts[index + 2 : index + 3] != [] and (
                self.parts[index + 2].startswith("%)") and "train epoch" in self.parts[0].lower()
            )  # fmt: skip
        self.last = ("", index)
