"""Validation beside training, as every face of it looks at the two."""

from dataclasses import dataclass

from postmortem.check import Evidence, Sentence, Severity, Sighting
from postmortem.checklist.levels import skill, to_chance, training_curves, validation_level, whole
from postmortem.checklist.signs import excerpt, file_of
from postmortem.model.curves import CurveStats, GapStats

NOTHING_LEFT = 0.02  # times chance, for a training loss
GUESSED = 0.2  # share of the way from guessing to perfect accuracy, in the best of all evaluations
GUESSING = 0.03  # the same, at the end
EVALUATIONS = 4  # evaluations
KNEW_BEFORE = 0.98  # of the answers, in the first record of training
EPOCHS_UNSEEN, SHARE_UNSEEN = 3.0, 0.25  # epochs; of the run
AS_PRINTED, HANDFUL = 6e-5, 48  # half a digit of four; samples
FOLLOWED = 0.5  # times its first, where nobody knows how low a guess would be


@dataclass(frozen=True, slots=True)
class Beside:
    """Validation beside training, as every face looks at it."""

    e: Evidence
    gap: GapStats
    val: CurveStats
    train: CurveStats | None
    train_level: float | None  # × chance, at the end
    level: float | None  # the same of validation
    best: float | None  # and at its best
    accuracy: float | None  # share of the way from guessing to perfect
    reached: float | None  # the same at its best

    @property
    def works(self) -> bool:
        """Training did."""
        return self.train is not None and (self.train.net_change < -0.3 or (self.train_level or 1.0) < 0.6)

    @property
    def by_heart(self) -> bool:
        """Next to nothing of the training loss is left."""
        return (self.train_level or 1.0) < NOTHING_LEFT

    @property
    def followed(self) -> bool:
        """It learned what training did, if not as much of it, where nobody knows how low a guess would be."""
        return self.level is None and self.usual < FOLLOWED * self.val.first

    @property
    def few(self) -> bool:
        """Every accuracy of validation is a multiple of one in so many: a handful of samples, whose loss says little."""
        right = self.e.series.get("val/accuracy")
        if right is None or len(right) < EVALUATIONS:
            return False
        shares = (right.values / whole(self.e.curves["val/accuracy"])).tolist()
        return len(set(shares)) > 1 and any(all(abs(v * n - round(v * n)) < n * AS_PRINTED for v in shares) for n in range(2, HANDFUL + 1))

    @property
    def usual(self) -> float:
        """Where validation ends, or lay in its second half where that is higher: of what is thrown about the end says little."""
        return max(self.val.final, self.val.halves.mean if self.val.halves is not None else self.val.final)

    @property
    def began_unseen(self) -> bool:
        """How the two began, nobody saw: training had gone on for long, before this log or before its first evaluation."""
        return excerpt(self.e) or self._knew_before or self._looked_late

    @property
    def _knew_before(self) -> bool:
        right = self.e.curve("train/accuracy")
        return right is not None and right.finite > 0 and right.first > KNEW_BEFORE * whole(right)

    @property
    def _looked_late(self) -> bool:
        if self.train is None or (self.e.epoch_at(self.val.first_step) or 0.0) <= EPOCHS_UNSEEN:
            return False
        return self.val.first_step > self.train.first_step + SHARE_UNSEEN * (self.train.last_step - self.train.first_step)

    @property
    def guesses(self) -> bool:
        """By its accuracy it guesses in all of several evaluations."""
        return self.reached is not None and self.reached < GUESSED and (self.accuracy or 0.0) < GUESSING and self.gap.evaluations >= EVALUATIONS

    def shows(self, facet: str, summary: Sentence, *also: str, source: str = "") -> Sighting:
        """The fault, from the first evaluation on."""
        at, show = self.val.first_step, ("train/loss", "val/loss", *also)
        return Sighting(Severity.SERIOUS, summary, at, at, show, source or file_of(self.e, "val/loss"), facet)


def beside(e: Evidence) -> Beside | None:
    """None without a validation loss beside a training loss."""
    gap, val = e.gap, e.curve("val/loss")
    if gap is None or val is None:
        return None
    train = next(iter(training_curves(e)), None)
    return Beside(
        e, gap, val, train, to_chance(e, train.final) if train is not None else None, validation_level(e), to_chance(e, val.best),
        skill(e, "val"), skill(e, "val", best=True),
    )  # fmt: skip
