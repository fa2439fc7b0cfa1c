"""What a training run is made of, and what training it left behind."""

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Plan:
    """One training. The fields down to `seed` are what a user would configure; `wrong` holds mistakes in the code or in the data."""

    task: str = "gratings"
    net: str = "resnet"
    width: int = 16
    depth: int = 2
    activation: str = "relu"
    dropout: float = 0.0
    bn_momentum: float | None = None
    train_samples: int = 800
    batch_size: int = 32
    epochs: int = 10
    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "none"  # none, cosine, step, linear, onecycle, restarts, exp
    warmup_steps: int = 0
    decay_rate: float | None = None  # per epoch, schedule "exp"
    grad_clip: float | None = None
    label_smoothing: float = 0.0
    precision: str | None = None
    pretrained: str | None = None  # "narrow": other classes; "full": the same task
    adapters: int = 0  # rank of LoRA-like adapters, everything else frozen
    freeze_backbone: bool = False  # on purpose and said so
    noise: float | None = None
    resume_at: int | None = None  # epoch at which the job was stopped and resumed
    seed: int = 0
    wrong: tuple[tuple[str, Any], ...] = ()

    def has(self, name: str, default: Any = None) -> Any:
        """The severity of a mistake, `default` without it."""
        return dict(self.wrong).get(name, default)

    def with_wrong(self, **mistakes: Any) -> "Plan":
        return replace(self, wrong=(*self.wrong, *mistakes.items()))


@dataclass(frozen=True)
class Task:
    """Data with the head's shape. `kind`: class, lm, regress, vae, pairs."""

    kind: str
    x: torch.Tensor
    y: torch.Tensor
    x_val: torch.Tensor
    y_val: torch.Tensor
    outputs: int
    chance: float  # loss of a model that knows nothing
    vocabulary: int = 0


@dataclass
class Row:
    step: int
    epoch: int
    values: dict[str, float]  # of a step: loss, lr, grad_norm; of an epoch: train_loss, val_loss, train_acc, val_acc
    of_epoch: bool = False


@dataclass
class Snapshot:
    step: int
    epoch: int
    model: torch.nn.Module
    optimizer: dict[str, Any]
    schedule: dict[str, Any]


@dataclass
class Trace:
    """What a training left, before any format."""

    plan: Plan
    rows: list[Row] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    parameters: int = 0
    trainable: int = 0
    train_size: int = 0
    val_size: int = 0
    steps_per_epoch: int = 0
    chance: float = 1.0
    kind: str = ""
    note: list[tuple[int, str]] = field(default_factory=list)  # (step, line of the log)
    stderr: str = ""
    ended: str = "done"  # done, raised, cut, guarded
    classes: int = 0
    left: Path | None = None  # the directory that a framework wrote

    def curve(self, name: str, of_epoch: bool = True) -> list[float]:
        return [r.values[name] for r in self.rows if r.of_epoch == of_epoch and name in r.values]

    @property
    def val_skill(self) -> float:
        """0 for chance, 1 for perfect; accuracy where there is one, else 1 − loss / chance. NaN when not finite."""
        accuracy, loss = self.curve("val_acc"), self.curve("val_loss")
        if accuracy and self.kind == "class":
            return (accuracy[-1] - 1 / self.classes) / (1 - 1 / self.classes) if loss[-1] == loss[-1] else float("nan")
        return 1 - loss[-1] / self.chance if loss else float("nan")

    @property
    def train_skill(self) -> float:
        loss = self.curve("train_loss")
        return 1 - loss[-1] / self.chance if loss else float("nan")


def pick(dice: random.Random, *options: Any) -> Any:
    return dice.choice(options)
