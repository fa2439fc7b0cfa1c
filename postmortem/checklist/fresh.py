"""What the first pass over the training data foretells: its samples are as new to the model as those of validation."""

from math import exp, isfinite

from postmortem.check import Evidence, Sighting, say
from postmortem.checklist.beside import EVALUATIONS, Beside
from postmortem.checklist.levels import training_curves, whole

FEWEST = 2  # records of each half
BAD = 0.3  # validation loss / chance
LEARNED, MOSTLY = 0.4, 0.75  # share of the way from guessing to perfect accuracy, at its best; accuracy where nobody knows what guessing gives
APART = 0.4  # ln(validation / train), at the end
BEYOND_NEW = 2.0  # × the training loss of new samples; sound runs and those learned by heart stay below 1.4
ONE_PASS, TOO_SOON, SURELY_WORSE = 1.05, 0.6, 1.15  # epochs; ln(validation / train), of sound runs below 0.4; × the loss of guessing
BY_HEART_AT_ONCE = 0.1  # of the mean loss of the first epoch
KEPT = 1.1  # × the end of the first pass, for the second: in sorted data what one class had taught is lost when the next pass begins


def fresh_level(e: Evidence) -> float | None:
    """Mean training loss over the second half of the first epoch, in which each sample was new: what the model of that time, or a better
    one, gives for any samples of the kind; over all of it where no more was logged. None where epochs are not known, it is not positive, or
    was lost in the second epoch, for then the samples were in an order."""
    loss, epoch = next(iter(training_curves(e)), None), e.steps_per_epoch
    if loss is None or not epoch:
        return None
    series = e.series[loss.name]
    if loss.reduction == "epoch":
        return float(series.values[0]) if series.steps[0] <= ONE_PASS * epoch and series.values[0] > 0 else None
    placed = [(step / epoch, value) for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True) if isfinite(value)]
    first, second = [v for at, v in placed if 0.5 < at <= 1.0], [v for at, v in placed if 1.0 < at <= 2.0]
    if len(first) < FEWEST or len(second) < FEWEST:
        return None
    level = sum(first) / len(first)
    return level if 0.0 < sum(second) / len(second) < KEPT * level else None


def above_what_was_new(b: Beside) -> Sighting | None:
    level = fresh_level(b.e)
    guess = b.e.chance.loss or _untrained(b) or level
    if level is None or guess is None or b.gap.evaluations < EVALUATIONS or b.e.family in ("language-model", "gan"):
        return None  # windows of a text overlap: hardly one is new
    if not b.works or not b.val.lowest > max(BEYOND_NEW * level, BAD * guess) or _at_once(b) or _good_after_all(b):
        return None
    return b.shows(
        "never-as-good",
        say(
            "Validation was never better than {best:.4g}, and in the first pass over its data, where every sample was new, training came down to {level:.4g}.",
            best=b.val.lowest, level=level,
        ),
    )  # fmt: skip


def worse_after_one_pass(b: Beside) -> Sighting | None:
    epoch, guess = b.e.epoch_at(b.val.first_step), b.e.chance.loss or _untrained(b)
    if epoch is None or epoch > ONE_PASS or guess is None or b.gap.evaluations < EVALUATIONS or b.e.family in ("language-model", "gan"):
        return None
    if not b.works or not b.gap.gap > APART or not b.gap.first_gap > TOO_SOON or not b.val.first > SURELY_WORSE * guess or _at_once(b):
        return None
    if b.few or _as_right_as_training(b) or not _stays_apart(b):
        return None  # running statistics that had not arrived after one pass have after a few
    return b.shows(
        "one-pass",
        say(
            "After one pass, in which every sample of training was new, validation is already {times:.3g} × training, and worse than an untrained model.",
            times=exp(b.gap.first_gap),
        ),
    )


def _as_right_as_training(b: Beside) -> bool:
    """At the end as many answers are right as in training."""
    train, val = b.e.curve("train/accuracy.epoch") or b.e.curve("train/accuracy"), b.e.curve("val/accuracy")
    return train is not None and val is not None and val.final / whole(val) >= train.final / whole(train)


def _stays_apart(b: Beside) -> bool:
    """Each of the first few evaluations is as far above training as the first."""
    val = b.e.series["val/loss"]
    beside = [b.e.at(b.train.name, float(step)) if b.train is not None else None for step in val.steps[:EVALUATIONS]]
    return all(t is not None and v > exp(TOO_SOON) * t for t, v in zip(beside, val.values[:EVALUATIONS].tolist(), strict=True))


def _untrained(b: Beside) -> float | None:
    """The training loss before the first updates, where it was logged."""
    return b.train.first if b.train is not None and b.train.first_step <= 2 and b.train.reduction != "epoch" else None


def _good_after_all(b: Beside) -> bool:
    right = b.e.curve("val/accuracy")
    return b.reached > LEARNED if b.reached is not None else right is not None and right.best > MOSTLY * whole(right)


def _at_once(b: Beside) -> bool:
    """Nearly nothing of the loss of the first epoch is left in the second: the samples are the same few."""
    means = b.e.series.get("train/loss.epoch") or b.e.series.get("train/loss")
    return means is not None and means.reduction == "epoch" and len(means) > 1 and float(means.values[1]) < BY_HEART_AT_ONCE * float(means.values[0])
