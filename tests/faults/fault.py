"""The faults, by name. Each is one change to a sound plan, with what an honest expert would then call the run.

`modes` gets what was seen and returns every true mode, the one to name first. A severity is drawn anew for each run.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.faults.healthy import ground
from tests.faults.plan import Plan, Trace


@dataclass(frozen=True)
class Seen:
    """A faulted training beside its sound twin."""

    run: Trace
    twin: Trace

    @property
    def finite(self) -> bool:
        return all(math.isfinite(v) for v in self.run.curve("train_loss") + self.run.curve("val_loss"))

    @property
    def share(self) -> float:
        """Skill on validation as a share of the twin's; 0 when not finite."""
        skill = self.run.val_skill
        return max(0.0, skill) / self.twin.val_skill if math.isfinite(skill) else 0.0

    @property
    def train_share(self) -> float:
        skill = self.run.train_skill
        return max(0.0, skill) / max(0.05, self.twin.train_skill) if math.isfinite(skill) else 0.0

    @property
    def relative(self) -> float:
        """Train loss at the end over chance."""
        return self.run.curve("train_loss")[-1] / self.run.chance

    @property
    def first(self) -> float:
        """The first batch's loss over chance."""
        return self.run.curve("loss", of_epoch=False)[0] / self.run.chance

    @property
    def rise(self) -> float:
        losses = self.run.curve("val_loss")
        return math.log(losses[-1] / min(losses)) if min(losses) > 0 and math.isfinite(losses[-1]) else 0.0

    @property
    def gap(self) -> float:
        """Validation loss at the end minus train loss, in units of chance."""
        return (self.run.curve("val_loss")[-1] - self.run.curve("train_loss")[-1]) / self.run.chance


Modes = Callable[[Seen], tuple[str, ...]]


@dataclass(frozen=True)
class Fault:
    plant: Callable[[random.Random], tuple[Plan, Plan]]  # sound twin, faulted
    modes: Modes
    cause: str
    also: tuple[str, ...] = ()
    shows: Callable[[Seen], bool] = lambda s: s.share < 0.75
    fix: Callable[[Plan, Plan], dict[str, object]] = lambda twin, bad: {}


FAULTS: dict[str, Fault] = {}


def always(*modes: str) -> Modes:
    return lambda seen: modes


def weak(*more: str) -> Modes:
    """Flat at chance, or learning less than it could."""

    def modes(s: Seen) -> tuple[str, ...]:
        if s.train_share < 0.12:
            return ("loss-not-decreasing", "underfitting", *more)
        return ("underfitting", *(("loss-not-decreasing",) if s.train_share < 0.35 else ()), *more)

    return modes


def unstable(s: Seen) -> tuple[str, ...]:
    """What too large a step does, by how it ended."""
    if not s.finite:
        return ("exploding-gradients", "non-finite", "loss-not-decreasing")
    losses = [v / s.run.chance for v in s.run.curve("loss", of_epoch=False)]
    if s.relative > 1.6 or max(losses[1:]) > 10:
        return ("exploding-gradients", "loss-not-decreasing", "oscillating-loss", "dead-units", "loss-spike", "underfitting")
    if s.train_share < 0.2:
        return ("loss-not-decreasing", "exploding-gradients", "dead-units", "oscillating-loss", "underfitting")
    return ("underfitting", "oscillating-loss", "exploding-gradients", "dead-units", "loss-spike", "loss-not-decreasing")


def changed(**drawn: Callable[[random.Random, Plan], object]) -> Callable[[random.Random, Plan], Plan]:
    return lambda dice, plan: replace(plan, **{k: f(dice, plan) for k, f in drawn.items()})


def wrong(name: str, *severities: object) -> Callable[[random.Random, Plan], Plan]:
    return lambda dice, plan: plan.with_wrong(**{name: dice.choice(severities)})


def fault(
    name: str,
    change: Callable[[random.Random, Plan], Plan],
    modes: Modes,
    cause: str,
    also: str = "",
    *,
    shows=None,
    keep=None,
    configured=(),
    **where,
) -> None:
    """Register. `where` restricts the ground (tasks, nets, optimizers); `keep` settles the twin; `configured` are the fields that a fix sets back."""

    def plant(dice: random.Random) -> tuple[Plan, Plan]:
        twin = ground(dice, **where)
        twin = replace(twin, **keep) if keep else twin
        return twin, change(dice, twin)

    kwargs = {"shows": shows} if shows else {}
    FAULTS[name] = Fault(plant, modes, cause, tuple(also.split()), fix=lambda twin, bad: {k: getattr(twin, k) for k in configured}, **kwargs)


def rounded(value: float) -> float:
    return float(f"{value:.2g}")


CLASSES = ("gratings", "shapes", "tokens", "teacher")
CLASSIFIERS = ("resnet", "vgg", "vit", "mlp", "tabresnet", "bag", "gru", "textconv")
PLAIN = ("mlp", "vgg")
REAL_INPUT = ("gratings", "shapes", "teacher", "friedman", "series")
DEEP_ENOUGH = ("resnet", "vgg", "vit", "mlp", "tabresnet", "gru", "lstm", "textconv", "decoder")
