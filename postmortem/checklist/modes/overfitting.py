"""Training loss falls while validation loss turns and rises."""

from math import exp, isfinite
from statistics import median

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.by_heart import (
    FEWEST,
    PARTED,
    answers_apart_at_the_end,
    answers_were_lost,
    far_apart,
    far_at_the_end,
    half_is_known_by_heart,
    nothing_carries_over,
)
from postmortem.checklist.causes.no_regularization import no_regularization
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.repeated_batch import repeated_batch
from postmortem.checklist.causes.too_little_data import too_little_data
from postmortem.checklist.causes.too_much_capacity import too_much_capacity
from postmortem.checklist.causes.train_validation_shift import train_validation_shift
from postmortem.checklist.causes.trained_too_long import trained_too_long
from postmortem.checklist.causes.wrong_labels import wrong_labels
from postmortem.checklist.falls import of_one_batch
from postmortem.checklist.levels import course, knows_the_noise, relative_fall, skill, to_chance, validation_level, whole
from postmortem.checklist.limits import is_above, share_is_above, share_is_below
from postmortem.checklist.needs import CHANCE, VALIDATION, VALIDATION_OR_ACCURACY, curve
from postmortem.checklist.probes import seen_as
from postmortem.checklist.signs import file_of
from postmortem.model.curves import CurveStats, GapStats

DROWNING, NEVER_LEARNED = 0.8, 0.95  # dropout; times chance, for the best validation loss
RISE = 0.1  # ln(validation at the end / its best); healthy runs reach 0.5 only when both losses are tiny
LOST = 0.03  # of what validation had gained, where nobody knows how low a guess would be
GAP = 0.35  # ln(validation / train) at the end
GAP_ABOVE = 0.2  # the same, where validation rose to above chance
LEVEL = 0.15  # times chance: below it both losses are tiny and a gap means nothing
TINY = 0.03  # the same of a squared error that rises while training goes to a twentieth of it and below
BY_HEART = 6.5  # ln(validation / train): the training set is known by heart, whether validation rose or never fell
HUNDREDFOLD = 4.6  # ln(validation / train)
WIDE, MUCH = 0.7, 0.25  # ln(validation / train), and of validation over its best: either alone is serious
OF_THE_FALL = 0.2  # the same of the difference between the two, where a loss goes below zero: of what training fell by
BOTH = 1.5  # of the two together
MANY = 20  # evaluations
RIGHT = 0.9  # accuracy
METRICS = ("val/accuracy", "val/f1", "val/score", "val/auc")
FAR_APART, SLIGHT = 3.0, 0.03  # the same: training at a twentieth of validation, and a rise that says little elsewhere
WIDE_RISE = 0.07  # ln(validation / its best) that counts beside a wide gap
RISEN, LOST_ANSWERS = 0.5, 0.1  # ln(validation / its best); of the answers, since the best evaluation
FEW_ANSWERS, GUESSING = 0.02, 0.2  # of them; share of the way from guessing to perfect
ALL = 0.9  # of what validation had gained
STEADILY, FELL_ON = 0.1, 0.25  # of what validation had gained; of the training loss where validation was best
RISING, SINCE = 0.5, 8  # Kendall's tau of validation since its best; evaluations since then
SMALL_RISE = 0.12  # ln(validation / its best)
SOON = 0.2  # of the run after the turn
GAINED = 0.1  # share of what was missing in the metric when the loss turned
FEWER = 0.03  # of the error rate when the loss turned
AFTER = 2  # evaluations after the best one
TIMES_ITS_BEST = 1.0  # ln(validation / its best)
BY_CHANCE = 0.05  # p of the trend since the best evaluation
ROSE_TOO = -0.1  # of the training loss where validation was best, lost again


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    nowhere_else = nothing_carries_over(e)
    if nowhere_else is not None:
        return nowhere_else
    gap, val = e.gap, e.curve("val/loss")
    if gap is None or val is None:
        return answers_were_lost(e) or half_is_known_by_heart(e) or answers_apart_at_the_end(e) or Unknown(say("Not measured: this needs val/loss."))
    far = far_at_the_end(e, gap, val)
    if far is not None:
        return far
    if gap.evaluations < FEWEST:
        return Unknown(
            say("Not measured: {n} evaluations are too few to see a turn.", n=gap.evaluations),
            "val/loss",
            say("evaluate at least five times during training"),
        )
    level, dropout = validation_level(e), e.number("dropout")
    if dropout is not None and dropout > DROWNING and (to_chance(e, val.best) or 0.0) > NEVER_LEARNED:
        lighter = share_is_below(say("the configured dropout"), dropout, DROWNING)
        return Cleared(
            say("With a dropout of {dropout:g} nothing is learned by heart, and validation never was better than guessing.", dropout=dropout),
            (lighter, *_figures(e)),
        )
    noise = 2.0 * val.noise / abs(val.best) if val.best else 0.0
    if not _knows_it_by_heart(e, gap) and gap.gap < (GAP_ABOVE if (level or 0.0) > 1.0 and gap.rise > RISE else GAP):
        return Cleared(say("Validation follows training: ln(validation / train) is {gap:.2f} at the end.", gap=gap.gap), _figures(e))
    learned_away = gap.gap > FAR_APART and gap.rise > MUCH and gap.evaluations_after_best >= SINCE and e.family == "regression"
    if level is not None and level < (TINY if learned_away else LEVEL):
        small = is_above(say("{name} at the end (× chance)", name="val/loss"), level, LEVEL, file_of(e, "val/loss"))
        return Cleared(
            say("Validation loss is {level:.2f} × chance: both losses are small, and the gap between them says little.", level=level),
            (small, *_figures(e)),
        )
    if gap.gap > PARTED and of_one_batch(e) and not _nearly_right(e):
        return _one_batch(e, val)
    stays = val.best <= 0 or val.final > (1 + SLIGHT) * val.best  # where it ends, whatever the last two were
    rises = (
        (gap.rise > max(RISE, noise) and stays) or (gap.rise > RISE and (_stays_above(e) or _climbs(gap)))
    ) and gap.evaluations_after_best >= AFTER
    by_heart = gap.gap > BY_HEART or _stood_still(e, gap, val) or (knows_the_noise(e) and gap.gap > FAR_APART)
    by_answers = None if by_heart else _answers_apart(e, gap)
    idle = by_heart or by_answers is not None
    slight = (gap.gap > PARTED and gap.rise > WIDE_RISE) or (gap.gap > FAR_APART and gap.rise > SLIGHT)
    lost = (val.final - val.best) / (val.first - val.best) if val.first > val.best else 1.0
    wide = (slight and gap.evaluations_after_best >= AFTER) or idle or (lost > STEADILY and _turned_for_good(e, gap))
    if level is None and lost < LOST and not idle and not _ever_since(gap):
        of = share_is_above(say("the share of what {name} had gained that it gave back", name="val/loss"), lost, LOST, file_of(e, "val/loss"))
        return Cleared(say("Of what validation loss had gained it gave {lost:.1%} back.", lost=lost), (of, *_figures(e)))
    often = 2.0 if gap.evaluations_after_best >= MANY else 1.0  # of many evaluations without a trend a higher end is luck
    if not idle and often * val.noise > val.final - val.best and not _is_a_trend(gap):
        return Cleared(say("Validation loss scatters by more than it rose, and no trend is in it since its best."), _figures(e))
    if not rises and not wide:
        return Cleared(say("Validation loss is within {rise:.0%} of its best at the end.", rise=max(0.0, gap.rise)), _figures(e))
    if not idle and gap.train_fell_after_best < ROSE_TOO and (gap.gap < PARTED or _training_is_lost(e)):
        fell = share_is_above(
            say("the fall of {name} since the best validation", name="train/loss"), gap.train_fell_after_best, ROSE_TOO, file_of(e, "train/loss")
        )
        return Cleared(
            say("Training loss rose with it, by {rise:.0%}: nothing was learned by heart.", rise=-gap.train_fell_after_best), (fell, *_figures(e))
        )
    apart = gap.gap / WIDE if isfinite(gap.gap) else gap.difference / _fall(e) / OF_THE_FALL  # a loss below zero has no ratio
    severity = Severity.SERIOUS if max(apart, gap.rise / MUCH, (apart + gap.rise / MUCH) / BOTH, level or 0.0) > 1.0 else Severity.MINOR
    kept = val.final < val.first or gap.best_index == 0  # of what validation had gained something is left, or it began at its best
    if lost > ALL and _turned_for_good(e, gap):
        severity = Severity.SERIOUS  # all that validation had gained is gone
    goes_on = kept and (level or 0.0) < 1.0 and gap.gap < FAR_APART and _metric_went_on(e, gap)
    nothing_given = level is None and lost < LOST and not idle and _as_many_answers(e)
    if severity is Severity.SERIOUS and (goes_on or nothing_given or _fewer_errors(e, gap)):
        severity = Severity.MINOR  # surer of its mistakes, and still making fewer of them
    if by_answers is not None and not rises:
        train_right, val_right = by_answers
        opened = gap.opened_step if gap.opened_step is not None else gap.best_step
        return Sighting(
            severity,
            say(
                "Training ends with {train:.0%} of its answers right and validation with {val:.0%}, hardly more than half-way: what is known is known by heart.",
                train=train_right,
                val=val_right,
            ),
            opened,
            opened,
            ("train/loss", "val/loss"),
            file_of(e, "val/loss"),
            "idle",
        )
    if idle and not rises:
        settled = val.plateau_step if val.plateau_step is not None else gap.best_step
        return Sighting(
            severity,
            say(
                "Validation loss has stood at {final:.4g} since step {step:g}, while training loss went on to {times:.2g} of it.",
                final=val.final,
                step=settled,
                times=exp(-gap.gap),
            )
            if isfinite(gap.gap)
            else say(
                "Validation loss has stood at {final:.4g} since step {step:g}, while training loss went on to {train:.4g}.",
                final=val.final,
                step=settled,
                train=val.final - gap.difference,
            ),
            settled,
            settled,
            ("train/loss", "val/loss"),
            file_of(e, "val/loss"),
            "idle",
        )
    return Sighting(
        severity,
        say(
            "Validation loss was best at step {step:g} ({best:.4g}) and rose to {final:.4g}, while training loss fell by a further {fell:.0%}.",
            step=gap.best_step,
            best=val.best,
            final=val.final,
            fell=gap.train_fell_after_best,
        ),
        gap.best_step,
        gap.best_step,
        ("train/loss", "val/loss"),
        file_of(e, "val/loss"),
    )


def _one_batch(e: Evidence, val: CurveStats) -> Sighting:
    """What has no noise from step to step is learned by heart, however validation fares with it."""
    return Sighting(
        Severity.SERIOUS,
        say(
            "The training loss falls to {train:.3g} of where it began and has no noise from step to step, as only one batch has; validation ends at {val:.4g}.",
            train=max(0.0, 1.0 - relative_fall(e.curves["train/loss"])),
            val=val.final,
        ),
        e.first_step,
        e.first_step,
        ("train/loss", "val/loss"),
        file_of(e, "train/loss"),
        "one-batch",
    )


def _fall(e: Evidence) -> float:
    """What training loss fell by from its first record to its last, at least a little."""
    train = course(e)
    return max(train.first - train.final, 1e-12) if train is not None else 1.0


def _training_is_lost(e: Evidence) -> bool:
    """Training itself ends worse than it began."""
    train = course(e)
    return train is not None and train.final > train.first


def _is_a_trend(gap: GapStats) -> bool:
    """Validation went up since its best, by more evaluations than chance makes of a level that stays."""
    after = gap.validation_trend_after_best
    return after is not None and after.tau > 0 and after.p_value < BY_CHANCE


def _ever_since(gap: GapStats) -> bool:
    """Far above training, validation has risen from evaluation to evaluation ever since its best, and training went on falling."""
    after = gap.validation_trend_after_best
    went_on = gap.gap > PARTED and gap.rise > WIDE_RISE and gap.train_fell_after_best > GAINED
    return went_on and after is not None and after.tau > RISING and after.points >= SINCE


def _knows_it_by_heart(e: Evidence, gap: GapStats) -> bool:
    """By their accuracies training knows nearly every answer and validation loses what it knew, whatever else the training loss is a sum of."""
    train, val = e.curve("train/accuracy"), e.curve("val/accuracy")
    if train is None or val is None or not train.finite or val.finite < SINCE or gap.rise < RISEN:
        return False
    return train.final > RIGHT * whole(train) and (val.best - val.final) > LOST_ANSWERS * whole(val)


def _turned_for_good(e: Evidence, gap: GapStats) -> bool:
    """Slowly, but from evaluation to evaluation, validation rises since its best, while training went on to fall by much."""
    after = gap.validation_trend_after_best
    rises = after is not None and after.tau > RISING and after.p_value < 0.01 and after.points >= SINCE
    return not _as_many_answers(e) and rises and isfinite(gap.gap) and gap.train_fell_after_best > FELL_ON


def _as_many_answers(e: Evidence) -> bool:
    """It is surer of its mistakes, and makes no more of them."""
    right = e.curve("val/accuracy")
    knows = (skill(e, "val") or 1.0) > GUESSING
    return right is not None and right.finite > 0 and knows and right.best - right.final < FEW_ANSWERS * whole(right)


def _stood_still(e: Evidence, gap: GapStats, val: CurveStats) -> bool:
    """Training went on to a hundredth of validation and below, all of it after validation had got as far as it would."""
    if gap.gap <= HUNDREDFOLD or gap.evaluations < MANY or _nearly_right(e):
        return False
    if gap.evaluations_after_best >= 0.5 * gap.evaluations and gap.train_fell_after_best > 0.5:
        return True
    train, settled = course(e), val.plateau_step
    then = e.at(train.name, settled) if train is not None and settled is not None else None
    return then is not None and train is not None and val.plateau_share >= 0.5 and train.final < 0.5 * then


def _answers_apart(e: Evidence, gap: GapStats) -> tuple[float, float] | None:
    """Training is right nearly always, validation far less often and hardly more often than long before: what is known is known by heart.

    How often each is right at the end, of 1; None where they are not that far apart.
    """
    train, val = e.curve("train/accuracy.epoch") or e.curve("train/accuracy"), e.curve("val/accuracy")
    if train is None or val is None or not train.finite or val.finite < SINCE or gap.gap < PARTED:
        return None
    return far_apart(e, train, val, RIGHT)


def _nearly_right(e: Evidence) -> bool:
    """Whatever the loss says of how sure it is, hardly anything is left to get right."""
    right = e.curve("val/accuracy")
    return right is not None and right.finite > 0 and right.final / whole(right) > RIGHT


def _figures(e: Evidence) -> tuple[Clue, ...]:
    """How far validation lies above training, how far it rose since its best, and how much it scatters."""
    gap, val, file = e.gap, e.curve("val/loss"), file_of(e, "val/loss")
    if gap is None or val is None:
        return ()
    scatter = 2.0 * val.noise / abs(val.best) if val.best else 0.0
    return (
        is_above(say("ln(validation / train) at the end"), gap.gap, GAP, file),
        share_is_above(
            say("the rise of val/loss since its best (twice its scatter, at least {rise:.0%})", rise=RISE), gap.rise, max(RISE, scatter), file
        ),
        is_above(say("the number of evaluations after the best one"), gap.evaluations_after_best, AFTER - 1, file),
    )


def _climbs(gap: GapStats) -> bool:
    """It rises from its best on, by all that evaluations can show, to several times that, however much it jumps on its way."""
    after = gap.validation_trend_after_best
    return gap.rise > TIMES_ITS_BEST and after is not None and after.tau > RISING and after.p_value < 0.01 and after.points >= SINCE


def _stays_above(e: Evidence) -> bool:
    """The last half of many evaluations lies above the best fifth of the first half: however much it jumps, it does not come back."""
    val = e.series["val/loss"].values
    values = [float(v) for v in val if isfinite(v)]
    if len(values) < MANY:
        return False
    half = len(values) // 2
    return median(values[half:]) > (1 + RISE) * median(sorted(values[:half])[: max(3, half // 2)]) and min(values[-half // 2 :]) > min(values[:half])


def _metric_went_on(e: Evidence, gap: GapStats) -> bool:
    """What validation is run for got clearly better after its loss had turned, and is at its best at the end."""
    for name in METRICS:
        c, then = e.curve(name), e.at(name, gap.best_step)
        if c is None or then is None or c.finite < 3 or c.goal != "higher":
            continue
        if c.best_step <= gap.best_step + SOON * (c.last_step - gap.best_step):
            continue  # it got better in one leap, and stood still since
        if e.family == "contrastive" and c.final >= then:
            return True  # neighbours are found as well as before: a margin that grew is no loss of anything
        little = gap.rise < SMALL_RISE or (gap.rise < MUCH and gap.gap < PARTED)
        if gap.gap < BY_HEART and little and c.final >= max(then, c.best - c.noise):
            return True  # as good as ever, and a little surer of its mistakes
        missing = whole(c) - then  # what there was to gain
        return missing > 0 and c.final - then > max(GAINED * missing, 2 * c.noise) and c.final >= c.best - c.noise
    return False


def _fewer_errors(e: Evidence, gap: GapStats) -> bool:
    """An error rate (of words, of characters) came down clearly after the loss had turned, and is at its lowest at the end. What is decoded freely
    is judged by it however far apart the losses are, which are those of next tokens given the right ones before."""
    c, then = e.curve("val/error"), e.at("val/error", gap.best_step)
    if c is None or then is None or c.finite < 3 or c.best_step <= gap.best_step + SOON * (c.last_step - gap.best_step):
        return False
    return then - c.final > max(FEWER * then, 2 * c.noise) and c.final <= c.best + c.noise


@probe(say("training went on improving after validation had turned"), VALIDATION, holds=1.2, fails=-1.5)
def parted(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet in ("one-batch", "carried"):
        return None
    if seen.facet == "idle" and e.gap is not None:
        return Reading(True, say("ln(validation / train) is {gap:.2f} at the end", gap=e.gap.gap))
    return (
        None
        if e.gap is None
        else Reading(
            e.gap.train_fell_after_best > 0.1, say("train loss fell by {fell:.0%} after the best validation", fell=e.gap.train_fell_after_best)
        )
    )


@probe(say("the rise is a trend and no accident"), VALIDATION, holds=1.0, fails=-0.8)
def trend(e: Evidence, seen: Sighting) -> Reading | None:
    if e.gap is None or e.gap.validation_trend_after_best is None or seen.facet in ("idle", "carried"):
        return None
    t = e.gap.validation_trend_after_best
    return Reading(t.tau > 0.3, say("Kendall's tau of validation after its best is {tau:.2f} (p = {p:.2g})", tau=t.tau, p=t.p_value))


@probe(say("validation had learned something before it turned"), CHANCE, VALIDATION, holds=0.8, fails=-0.6)
def learned_first(e: Evidence, seen: Sighting) -> Reading | None:
    best = e.curve("val/loss")
    chance = e.chance.loss
    if best is None or not chance or seen.facet == "carried":
        return None
    return Reading(best.best / chance < 0.85, say("its best was {level:.2f} × chance", level=best.best / chance))


@probe(say("validation accuracy is above guessing"), curve("val/accuracy"), holds=0.4, fails=-2.5)
def above_guessing(e: Evidence, seen: Sighting) -> Reading | None:
    value = skill(e, "val")
    return (
        None
        if value is None or seen.facet == "carried"
        else Reading(value > -0.03, say("{value:.0%} of the way from guessing to perfect", value=value))
    )


one_batch = seen_as("one-batch", claim=say("no other training is without noise from step to step"), holds=1.5)
answers_lost = seen_as("accuracy", claim=say("right answers were lost for good, which is more than growing sure of mistakes"), holds=1.5)

carried = seen_as("carried", claim=say("what training knows by heart is of no use for anything else"), holds=1.5)


CHECK = Check(
    id="overfitting",
    title=say("Overfitting"),
    symptom=say("Training loss falls while validation loss turns and rises."),
    detect=detect,
    needs=(VALIDATION_OR_ACCURACY,),
    probes=(parted, trend, learned_first, above_guessing, one_batch, answers_lost, carried),
    prior=0.7,
    causes=(
        (too_little_data, -0.7),
        (too_much_capacity, -1.8),
        (no_regularization, -1.2),
        (trained_too_long, -1.0),
        (repeated_batch, -2.2),
        (wrong_labels, -2.2),
        (preprocessing, -3.0),
        (train_validation_shift, -2.5),
    ),
    by_hand=(say("Look at the validation samples with the highest loss: are they unlike the training set, or labelled otherwise?"),),
    consequences=(),
)
