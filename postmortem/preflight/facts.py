"""What the trial on one batch showed, and what follows from its figures alone."""

import math
from dataclasses import dataclass

from postmortem.preflight.trial import Gradient, Trial

FAR = 10.0  # of the inputs' mean or standard deviation, where about 0 and 1 are expected
NEAR = 1e-3  # of their standard deviation
OVERFITTED = 0.7  # of the first loss: what a few steps on one batch leave at most where training works


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen. `fell` is the last loss of the trial over the first, None where there were no two finite ones."""

    trial: Trial
    figures: dict[str, float]
    chance: float | None
    classes: int | None
    frozen: int  # parameter tensors with requires_grad False
    tensors: int
    absent: tuple[str, ...] | None  # trainable parameters that no group of the caller's optimizer holds
    foreign: int  # tensors in its groups that are none of the model's
    token_inputs: bool
    rescued: float | None = None  # last over first loss of a second trial, with AdamW, where the first did not learn
    rescued_at: float | None = None  # and at which rate

    @property
    def fell(self) -> float | None:
        losses = [x for x in self.trial.losses if math.isfinite(x)]
        return losses[-1] / losses[0] if len(losses) > 1 and losses[0] > 0 and len(losses) == len(self.trial.losses) else None

    @property
    def learns(self) -> bool:
        return self.fell is not None and self.fell < OVERFITTED

    @property
    def rescuable(self) -> bool:
        """AdamW overfits the batch, where the training's own optimizer, or a lower rate, does not."""
        return self.rescued is not None and self.rescued < OVERFITTED

    @property
    def scaled(self) -> bool:
        """The inputs have about the size that networks expect; indices have none."""
        mean, std = self.figures.get("train_mean", 0.0), self.figures.get("train_std", 0.0)
        return self.token_inputs or not std or (abs(mean) < FAR and NEAR < std < FAR)

    @property
    def targets_scaled(self) -> bool:
        """The same of numbers that are to be predicted; of class numbers, True."""
        mean, std = self.figures.get("target_mean", 0.0), self.figures.get("target_std", 0.0)
        return self.classes is not None or max(abs(mean), std) < FAR

    @property
    def cut(self) -> list[Gradient]:
        """Trainable parameters whose module ran and that got no gradient."""
        return [g for g in self.trial.gradients if g.missing and g.used]

    @property
    def unused(self) -> list[Gradient]:
        return [g for g in self.trial.gradients if g.missing and not g.used]
