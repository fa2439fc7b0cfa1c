"""What training shows where a part of what it is taught is not true."""

from postmortem.check import Evidence, Sentence, Sighting, say
from postmortem.checklist.attainable import EVALUATED
from postmortem.checklist.levels import whole
from postmortem.checklist.signs import from_the_start
from postmortem.model.curves import CurveStats

LITTLE_DROPOUT, LESS_RIGHT, MOSTLY_RIGHT = 0.3, 0.12, 0.75  # dropout; of the answers, of training and of validation
HARDER_BY = ("aug", "mixup", "cutmix", "cutout", "label_smoothing", "mask", "noise", "crop")  # what else makes training harder than validation
NONE = (0, None, "", "none", "None")  # 0 is False, too
UP, DOWN, BY_ACCIDENT = 0.7, -0.3, 0.02  # Kendall's tau of training's and of validation's accuracy, and its p


def made_harder(e: Evidence) -> bool:
    """The configuration names what makes training harder than validation is."""
    return any(word in s.key.lower() for s in e.settings if s.value not in NONE for word in HARDER_BY)


def taught_otherwise(e: Evidence) -> Sighting | None:
    """Training came to rest far below validation, and hardly any dropout makes it harder: of what it is taught, a part is not true. None where
    the configuration says nothing of dropout, or names an augmentation."""
    train, val, dropout = e.curve("train/accuracy"), e.curve("val/accuracy"), e.number("dropout")
    unlearned = _gives_up_what_holds(train, val)
    if unlearned is not None:
        return from_the_start(e, "noise", unlearned, "train/accuracy", "val/accuracy")
    if train is None or val is None or dropout is None or dropout > LITTLE_DROPOUT or min(train.finite, val.finite) < EVALUATED:
        return None
    if made_harder(e) or not _at_rest(e):
        return None
    right, held = train.final / whole(train), val.final / whole(val)
    if held - right < LESS_RIGHT or held < MOSTLY_RIGHT:  # in order, batches are answered worse than they are known
        return None
    summary = say(
        "Training came to rest at {train:.0%} of right answers and validation at {val:.0%}: a part of what is taught is not true.",
        train=right,
        val=held,
    )
    return from_the_start(e, "noise", summary, "train/accuracy", "val/accuracy")


def _gives_up_what_holds(train: CurveStats | None, val: CurveStats | None) -> Sentence | None:
    """Training, right less often than validation, gets better while validation gets worse: it learns by heart what is not
    true. Whatever makes training harder than validation is, would let both get better."""
    if train is None or val is None or train.trend is None or val.trend is None or min(train.finite, val.finite) < EVALUATED:
        return None
    rising, falling = train.trend.tau > UP and train.trend.p_value < BY_ACCIDENT, val.trend.tau < DOWN and val.trend.p_value < BY_ACCIDENT
    right, held, best = train.highest / whole(train), val.final / whole(val), val.best / whole(val)
    if not (rising and falling) or right > held or held > best - LESS_RIGHT:
        return None
    return say(
        "Training got better, up to {train:.0%} of right answers, while validation, still above it, fell from {best:.0%} to {val:.0%}: it learns by heart what is not true.",
        train=right, best=best, val=held,
    )  # fmt: skip


def _at_rest(e: Evidence) -> bool:
    """In its second half the accuracy of training rose by less than a third of what it lies below validation."""
    train, val = e.series["train/accuracy"], e.curves["val/accuracy"]
    values = [float(v) for v in train.values]
    half = values[len(values) // 2]
    return values[-1] - half < (val.final - values[-1]) / 3
