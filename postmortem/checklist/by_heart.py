"""Training learns answers that are right nowhere else: by what share of the answers is right in each."""

from postmortem.check import Evidence, Sentence, Severity, Sighting, say
from postmortem.checklist.levels import course, skill, to_chance, whole
from postmortem.checklist.signs import excerpt, file_of
from postmortem.model.curves import CurveStats, GapStats

GUESSES = 0.1  # of the way from guessing to perfect, in the best of all evaluations
LEARNS = 0.25  # the same, for what training ends with
LEARNED, NEARLY = 0.4, 0.03  # times chance, of the training loss; of the way from guessing to perfect
WORKS = 0.6  # the same, for training that works
EVALUATIONS = 5
RISES = 0.5  # Kendall's tau of training's accuracy
FAR_FEWER, HARDLY_MORE, RIGHT = 0.4, 0.1, 0.85  # of the answers
FORGOT, ANSWERS_APART = 0.03, 0.15  # of the answers
SINCE = 8  # evaluations
PARTED = 1.5  # ln(validation / train) from which a smaller rise counts
FEWEST, LATE = 3, 3.0  # evaluations that can show a turn; epochs
KNOWN, SOMETHING_HELD, FEWER_HELD = 0.8, 0.25, 0.15  # accuracies of training, of validation, and between the two
NEARLY_ALL = 0.95  # of the answers of training
NATS_APART = 1.2  # between two cross-entropies


def nothing_carries_over(e: Evidence) -> Sighting | None:
    """Training gets more and more answers right while validation guesses from its first evaluation to its last: what is learned by heart
    has nothing to do with the inputs, or there are too few of them.
    """
    both = _both(e)
    if both is None:
        return None
    train, val = both
    known, best, gained = skill(e, "train"), skill(e, "val", best=True), train.trend
    if known is None or best is None or gained is None or best > GUESSES or known < LEARNS or known - best < LEARNS or gained.tau < RISES:
        return None
    if len(set(e.series["val/accuracy"].values.tolist())) < EVALUATIONS - 1:
        return None  # one answer to everything: validation is broken, and tells nothing of what was learned
    return _sighting(
        e,
        val,
        say(
            "Training ends with {train:.1%} of its answers right, and in {n} evaluations validation never had more than {best:.1%}: it guesses.",
            train=train.final / whole(train),
            n=val.finite,
            best=val.best / whole(val),
        ),
        "carried",
    )


def one_answer_throughout(e: Evidence) -> Sighting | None:
    """Without a loss of validation: training has most of its answers right, and validation, which never was far from guessing, has come to the
    very same share in one evaluation after another: that of one class."""
    both = _both(e)
    if both is None or e.curve("val/loss") is not None:
        return None
    _, val = both
    known, best, last = skill(e, "train"), skill(e, "val", best=True), e.series["val/accuracy"].values.tolist()[-EVALUATIONS:]
    if known is None or best is None or known < WORKS or best > 2 * GUESSES or len(set(last)) > 1:
        return None
    why = say("Validation gives one answer to everything: in each of its last {n} evaluations {right:.1%} are right, whatever training learns.",
              n=len(last), right=val.final / whole(val))  # fmt: skip
    return _sighting(e, val, why, "same-answer")


def guesses_throughout(e: Evidence) -> Sighting | None:
    """Without a loss of validation or an accuracy of training: the training loss came down to a fraction of chance, and validation ends where
    guessing is and was hardly ever better. Too little data leaves something that holds elsewhere."""
    val, loss, best, last = e.curve("val/accuracy"), course(e), skill(e, "val", best=True), skill(e, "val")
    if val is None or loss is None or best is None or last is None or val.finite < EVALUATIONS or e.curve("val/loss") is not None:
        return None
    level = to_chance(e, loss.final)
    if level is None or level > LEARNED or best > 1.5 * GUESSES or last > NEARLY or e.curve("train/accuracy") is not None:
        return None
    same = len(set(e.series["val/accuracy"].values.tolist()[-EVALUATIONS:])) == 1
    why = say(
        "The training loss came down to {level:.2f} × chance, and of validation {right:.1%} are right: that is guessing.",
        level=level, right=val.final / whole(val),
    )  # fmt: skip
    return _sighting(e, val, why, "same-answer" if same else "guesses")


def half_is_known_by_heart(e: Evidence) -> Sighting | None:
    """Without a loss of validation: of what training has right at its end, validation misses nearly half and gets no better."""
    both, best = _both(e), skill(e, "val", best=True)
    if both is None or e.curve("val/loss") is not None or (best is not None and best < 2 * GUESSES):
        return None
    right = far_apart(e, *both, RIGHT)
    if right is None:
        return None
    told = say(
        "Training ends with {train:.0%} of its answers right and validation with {val:.0%}, and it gets no better.", train=right[0], val=right[1]
    )
    return _sighting(e, both[1], told, "accuracy")


def far_apart(e: Evidence, train: CurveStats, val: CurveStats, right: float) -> tuple[float, float] | None:
    """How often training and validation are right at the end, of 1; None unless training is more often than `right`, validation far less often and
    hardly more often than half-way."""
    train_right, val_right, half = train.final / whole(train), val.final / whole(val), e.at(val.name, (val.first_step + val.last_step) / 2)
    apart = train_right > right and train_right - val_right > FAR_FEWER
    return (train_right, val_right) if apart and half is not None and val.final - half < HARDLY_MORE * whole(val) else None


def answers_were_lost(e: Evidence) -> Sighting | None:
    """Where no loss of validation was logged: its accuracy came down from its best for good, and that of training went on."""
    train, val = e.curve("train/accuracy"), e.curve("val/accuracy")
    if train is None or val is None or not train.finite or val.finite < SINCE or val.after_best is None or val.after_best.points < SINCE:
        return None
    if (skill(e, "val", best=True) or 1.0) < 2 * GUESSES:
        return None  # it never followed: nothing was learned that could be lost
    then, lost, apart = e.at(train.name, val.best_step), (val.best - val.final) / whole(val), train.final / whole(train) - val.final / whole(val)
    if then is None or lost < max(FORGOT, 3 * val.noise / whole(val)) or apart < ANSWERS_APART or train.final - then < FORGOT * whole(train):
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "Validation accuracy was best at step {step:g} ({best:.1%}) and came down to {final:.1%}, while that of training went on to {train:.1%}.",
            step=val.best_step,
            best=val.best / whole(val),
            final=val.final / whole(val),
            train=train.final / whole(train),
        ),
        val.best_step,
        val.best_step,
        (train.name, val.name),
        file_of(e, val.name),
        "accuracy",
    )


def answers_ahead(e: Evidence) -> float | None:
    """By how many of 1 the answers of training are more often right at the end than those of validation; None where either is not logged."""
    both = _both(e, 2)
    return None if both is None else both[0].final / whole(both[0]) - both[1].final / whole(both[1])


def _both(e: Evidence, evaluations: int = EVALUATIONS) -> tuple[CurveStats, CurveStats] | None:
    train, val = e.curve("train/accuracy.epoch") or e.curve("train/accuracy"), e.curve("val/accuracy")
    return None if train is None or val is None or min(train.finite, val.finite) < evaluations else (train, val)


def _sighting(e: Evidence, val: CurveStats, summary: Sentence, facet: str) -> Sighting:
    shown = ("train/accuracy", "val/accuracy")
    return Sighting(Severity.SERIOUS, summary, val.first_step, val.first_step, shown, file_of(e, "val/accuracy"), facet)


def answers_apart_at_the_end(e: Evidence) -> Sighting | None:
    """A piece from late in a training, with one look at a test set: training has nearly every answer right, and the test set far fewer."""
    train, test = e.curve("train/accuracy"), e.curve("val/accuracy") or e.curve("test/accuracy")
    if train is None or test is None or not train.finite or not test.finite or test.finite >= FEWEST or not excerpt(e):
        return None
    known, held = train.final / whole(train), test.last / whole(test)
    if known < NEARLY_ALL or not SOMETHING_HELD < held < known - FAR_FEWER:
        return None
    why = say("Training has {known:.0%} of its answers right, and the test set {held:.0%}: the difference is known by heart.", known=known, held=held)
    shown = (train.name, test.name)
    return Sighting(Severity.SERIOUS, why, test.first_step, test.first_step, shown, file_of(e, test.name), "accuracy")


def far_at_the_end(e: Evidence, gap: GapStats, val: CurveStats) -> Sighting | None:
    """Of an end of training, or of one or two evaluations far apart, the log shows no turn: it shows how far apart the two have come, and that
    validation is no better for it."""
    late = excerpt(e) or (gap.evaluations < FEWEST and (e.last_epoch or 0.0) > LATE)
    if not late or len(e.attempts) > 1 or (gap.evaluations == FEWEST - 1 and gap.rise <= 0.0):
        return None
    train, right = e.curve("train/accuracy.epoch") or e.curve("train/accuracy"), e.curve("val/accuracy")
    if train is not None and right is not None and train.finite and right.finite and train.highest > 0.0:
        known, held = train.final / whole(train), right.final / whole(right)
        if gap.gap < PARTED or known < KNOWN or not SOMETHING_HELD < held < known - FEWER_HELD:
            return None
    elif not (gap.gap > PARTED or (e.curve("train/perplexity") is not None and gap.difference > NATS_APART)):
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "At the end validation is at {final:.4g} and training at {train:.4g}: the difference is known by heart.",
            final=val.final,
            train=val.final - gap.difference,
        ),
        gap.best_step,
        gap.best_step,
        ("train/loss", "val/loss"),
        file_of(e, "val/loss"),
        "idle",
    )
