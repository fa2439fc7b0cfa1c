"""What the first pass over the training data foretells: its samples are as new to the model as those of validation."""

from math import isfinite

from postmortem.check import Evidence
from postmortem.checklist.levels import training_curves

FEWEST = 2  # records of each half
KEPT = 1.1  # × the end of the first pass, for the second: in sorted data what one class had taught is lost when the next pass begins


def fresh_level(e: Evidence) -> float | None:
    """Mean training loss over the second half of the first epoch, in which each sample was new: what the model of that time, or a better
    one, gives for any samples of the kind. None where epochs are not known, it was not logged within them, is not positive, or was lost
    in the second epoch, for then the samples were in an order."""
    loss, epoch = next(iter(training_curves(e)), None), e.steps_per_epoch
    if loss is None or not epoch or e.axis != "step" or loss.reduction == "epoch":
        return None
    series = e.series[loss.name]
    placed = [(step / epoch, value) for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True) if isfinite(value)]
    first, second = [v for at, v in placed if 0.5 < at <= 1.0], [v for at, v in placed if 1.0 < at <= 2.0]
    if len(first) < FEWEST or len(second) < FEWEST:
        return None
    level = sum(first) / len(first)
    return level if 0.0 < sum(second) / len(second) < KEPT * level else None
