"""Validation is impossible beside training."""

from math import exp

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.batchnorm_eval_mismatch import batchnorm_eval_mismatch, stated_momentum
from postmortem.checklist.causes.broken_evaluation import broken_evaluation
from postmortem.checklist.causes.class_imbalance import class_imbalance
from postmortem.checklist.causes.leakage import leakage
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.train_validation_shift import train_validation_shift
from postmortem.checklist.causes.wrong_labels import wrong_labels
from postmortem.checklist.falls import rests_half_way
from postmortem.checklist.inputs import same_batches
from postmortem.checklist.levels import below_any_guess, of_letters, skill, to_chance, training_curves, validation_level, whole
from postmortem.checklist.levels import learned_at_once as few_passes
from postmortem.checklist.limits import asked, is_above, is_below, newest, share_is_above, share_is_below
from postmortem.checklist.needs import BASELINE, VALIDATION, curve
from postmortem.checklist.signs import file_of, only_validation_differs, training_samples

BELOW = -0.05  # accuracy above chance
BAD = 0.3  # validation loss / chance
WIDE = 1.0  # ln(validation / train)
ERRATIC = 0.5  # share of the evaluations
GOOD = 0.6  # share of the way from guessing to perfect accuracy
NOTHING_LEFT = 0.02  # times chance, for a training loss
SOMETHING = 0.9  # times chance, for the best validation loss: it had learned something before it turned
FAR_ABOVE = 3.0  # times chance, for a validation loss: beyond, labels are mapped otherwise
BY_HEART = 6.5  # ln(validation / train) of a handful of samples learned by heart
HANDFUL = 30.0  # training samples per class
GUESSED = 0.2  # share of the way from guessing to perfect accuracy, in the best of all evaluations
GUESSING = 0.03  # the same, at the end
FEWEST = 4  # evaluations
LAGS = 0.3  # share of their way from 1 that running variances have still to go; other runs end below 0.05
BEHIND = 0.2  # ln(validation / train) beside that
LEARNED = 0.4  # share of the way from guessing to perfect accuracy, at its best
NEVER_GOOD = 0.85  # times chance: below, validation had learned something before it rose
NOTHING_HELD = 0.95  # times chance, for the best validation loss
FOLLOWED = 0.5  # times its first, where nobody knows how low a guess would be
MUCH_WORSE, LEARNS, APART_AT_FIRST = 1.5, 0.1, 0.4  # × the worst of training; share of its start; ln(validation / train)
TOO_GOOD = 0.15  # nats a letter
ALIKE, TO_THE_DIGIT, BEGINNING = 3, 1e-3, 0.3  # records; between their accuracies; share of the run
MOSTLY, AROUND = (0.2, 0.99), 0.05  # accuracy of training beyond validation's, and at most; around 1 / classes
TELLING = ("one-class", "too-good")
FIRST = 0.03  # ln(validation / train) at the first evaluation; healthy runs start between −0.7 and 0.24


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    gap, val = e.gap, e.curve("val/loss")
    if gap is None or val is None:
        return Unknown(say("Not measured: this needs val/loss."))
    accuracy, level = skill(e, "val"), validation_level(e)
    train = next(iter(training_curves(e)), None)
    train_level = to_chance(e, train.final) if train is not None else None
    source = file_of(e, "val/loss")
    works = train is not None and (train.net_change < -0.3 or (train_level or 1.0) < 0.6)
    wrong = accuracy is not None and accuracy < BELOW and level is not None and level > 1.0
    if works and (wrong or (accuracy is None and below_any_guess(e) and gap.gap > WIDE)):
        return Sighting(
            Severity.SERIOUS,
            say("Validation accuracy is below guessing while training works: labels or inputs are prepared differently."),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss", "val/accuracy"),
            source,
            "below-chance",
        )
    majority = _one_answer(e)
    if majority is not None:
        step, share, right = majority
        return Sighting(
            Severity.SERIOUS,
            say(
                "Around step {step:g} the same answer to everything was right for {share:.1%} of the training set and for {right:.1%} of validation.",
                step=step,
                share=share,
                right=right,
            ),
            val.first_step,
            val.first_step,
            ("train/accuracy", "val/accuracy", "val/loss"),
            file_of(e, "val/accuracy"),
            "one-class",
        )
    if same_batches(e):
        again = asked(say("training goes on with new samples"), False, say("{n} different batches", n=e.batches.distinct if e.batches else 0))
        why = say("The same samples are trained on again and again, and validation never could follow: that is overfitting.")
        return Cleared(why, (again, *_figures(e)))
    if val.constant and works and val.finite >= 3:
        return Sighting(
            Severity.SERIOUS,
            say("Validation gives the same loss {n} times while training goes on.", n=val.finite),
            val.first_step,
            val.first_step,
            ("val/loss",),
            source,
            "constant",
        )
    if only_validation_differs(e) and e.baseline is not None and e.baseline.validation_at is not None:
        return Sighting(
            Severity.SERIOUS,
            say(
                "Training goes as in the good run, with the same settings, and validation is worse: the model is as good, the validation data is not."
            ),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss"),
            source,
            "baseline",
        )
    best = to_chance(e, val.best)
    nothing_else = best is not None and (best > 0.85 or (train_level or 1.0) < NOTHING_LEFT / 20)
    samples = training_samples(e)
    few = samples is not None and samples < HANDFUL * (e.chance.classes or 1) and (train_level or 1.0) < NOTHING_LEFT
    if (gap.gap > BY_HEART or few) and nothing_else and (gap.rise < 0.15 or few) and (accuracy is None or accuracy > BELOW):
        return Cleared(
            say("Training was learned by heart ({train:.2g} × chance) and nothing else was: that is overfitting.", train=train_level or 0.0),
            (is_below(say("ln(validation / train) at the end"), gap.gap, BY_HEART, source), *_figures(e)),
        )
    turned = gap.validation_trend_after_best
    reached = skill(e, "val", best=True)
    guesses = reached is not None and reached < GUESSED and (accuracy or 0.0) < GUESSING and gap.evaluations >= FEWEST
    if (
        (train_level or 1.0) < NOTHING_LEFT
        and (best or 1.0) < SOMETHING
        and gap.rise > 0.15
        and turned is not None
        and turned.tau > 0.5
        and (level or 0.0) < FAR_ABOVE
        and not guesses
    ):
        return Cleared(
            say(
                "Training was learned by heart ({train:.2g} × chance), and validation got worse from then on: that is overfitting.",
                train=train_level or 0.0,
            ),
            (is_above(say("{name} at the end (× chance)", name="train/loss"), train_level, NOTHING_LEFT, file_of(e, "train/loss")), *_figures(e)),
        )
    slowly = reached is not None and reached > LEARNED and few_passes(e) is None  # it learned, and was then learned by heart
    hardly_moved = gap.rise < 0.15 and gap.evaluations >= 4  # what overfits gets worse than it was
    if (
        works
        and best is not None
        and level is not None
        and ((best > NEVER_GOOD and level > 1.15 and not slowly) or (best > 0.75 and ((hardly_moved and (reached or 0.0) < LEARNED) or guesses)))
        and gap.gap > WIDE
        and ((train_level or 1.0) < 0.4 or rests_half_way(e) is not None)
    ):
        return Sighting(
            Severity.SERIOUS,
            say("Validation was never better than {best:.2f} × chance while training reached {train:.2f} ×.", best=best, train=train_level or 0.0),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss"),
            source,
            "never-good" if level > 1.15 else "unmoved",
        )
    followed = level is None and val.final < FOLLOWED * val.first  # it learned what training did, if not as much of it
    if works and gap.gap > WIDE and gap.rise < 0.15 and (level is None or level > BAD) and gap.first_gap > FIRST and not followed:
        return Sighting(
            Severity.SERIOUS,
            say(
                "Validation is {times:.3g} × training from the first evaluations on, and does not rise: that is not overfitting.",
                times=2.718281828**gap.gap,
            ),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss"),
            source,
            "from-start",
        )
    above = train is not None and val.lowest > MUCH_WORSE * train.highest and train.relative_gain > LEARNS and gap.first_gap > APART_AT_FIRST
    if above and train is not None and gap.evaluations >= FEWEST and gap.rise < 0.15:
        return Sighting(
            Severity.SERIOUS,
            say(
                "Validation was never better than {best:.4g} and does not move, while training, at its worst, was at {highest:.4g}.",
                best=val.lowest,
                highest=train.highest,
            ),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss"),
            source,
            "from-start",
        )
    if of_letters(e) and val.final < TOO_GOOD:
        return Sighting(
            Severity.SERIOUS,
            say(
                "Validation ends at {final:.2g} nats a letter; the best models of text stay above 0.4: it sees what it is to predict.",
                final=val.final,
            ),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss"),
            source,
            "too-good",
        )
    # worse than training ever was, where nobody knows how bad a guess would be
    high = level > 0.5 if level is not None else train is not None and val.final > train.highest and not followed
    if works and gap.evaluations >= 5 and gap.erratic > ERRATIC and gap.gap > WIDE and high:
        return Sighting(
            Severity.SERIOUS,
            say("Validation jumps from evaluation to evaluation while training falls smoothly."),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss"),
            source,
            "erratic",
        )
    passes = few_passes(e)
    apart = train is not None and train.floor < 0 and val.lowest > train.highest and WIDE < gap.gap < BY_HEART
    if works and apart and train is not None and passes is not None and gap.evaluations >= FEWEST:
        return Sighting(
            Severity.SERIOUS,
            say(
                "Validation was never better than {best:.4g}: training, learned within {passes:.2g} passes, was at {highest:.4g} at its worst.",
                best=val.lowest,
                passes=passes,
                highest=train.highest,
            ),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss"),
            source,
            "never-as-good",
        )
    momentum = stated_momentum(e)
    if momentum is not None and momentum.holds and works and gap.gap > WIDE and (level is None or level > BAD):
        return Sighting(
            Severity.SERIOUS,
            say(
                "Validation is {times:.3g} × training, and the momentum of batch normalisation ({setting}) lets its statistics lag behind.",
                times=exp(gap.gap),
                setting=momentum.detail,
            ),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss"),
            source,
            "statistics",
        )
    lag = e.weights.running_var_lag or 0.0
    if lag > LAGS and gap.gap > BEHIND:
        return Sighting(
            Severity.SERIOUS,
            say(
                "The running statistics of batch normalisation have still {lag:.0%} of their way to go: validation, at {times:.3g} × training, is of another model.",
                lag=lag,
                times=exp(gap.gap),
            ),
            val.first_step,
            val.first_step,
            ("train/loss", "val/loss"),
            newest(e),
            "statistics",
        )
    why = say("Validation behaves as training would have it (ln ratio {gap:.2f}, best at step {step:g}).", gap=gap.gap, step=gap.best_step)
    return Cleared(why, _figures(e))


def _one_answer(e: Evidence) -> tuple[float, float, float] | None:
    """Step, training accuracy and validation accuracy, where in the first part of the run neither changes from record to record, which
    nothing but the same answer to everything gives, and the training set holds far more of that class. None elsewhere."""
    train, val = e.series.get("train/accuracy"), e.series.get("val/accuracy")
    if train is None or val is None or len(train) != len(val):
        return None
    shares = (train.values / whole(e.curves["train/accuracy"])).tolist()
    rights = (val.values / whole(e.curves["val/accuracy"])).tolist()
    for at in range(int(BEGINNING * len(train))):
        share, right = shares[at : at + ALIKE], rights[at : at + ALIKE]
        if (
            len(share) < ALIKE
            or not max(max(share) - min(share), max(right) - min(right)) < TO_THE_DIGIT
            or not MOSTLY[0] + right[0] < share[0] < MOSTLY[1]
        ):
            continue
        if e.chance.accuracy is not None and abs(right[0] - e.chance.accuracy) < AROUND:
            return float(train.steps[at]), share[0], right[0]
    return None


def _figures(e: Evidence) -> tuple[Clue, ...]:
    """What an evaluation that cannot be would show in."""
    gap, val, file = e.gap, e.curve("val/loss"), file_of(e, "val/loss")
    if gap is None or val is None:
        return ()
    return (
        share_is_below(say("the way of val/accuracy from guessing to perfect"), skill(e, "val"), BELOW, file_of(e, "val/accuracy")),
        asked(
            say("every evaluation gives the same loss"),
            val.constant,
            say("{n} evaluations, {distinct} distinct values", n=val.finite, distinct=val.distinct),
            file,
        ),
        is_above(say("ln(validation / train) at the first evaluation"), gap.first_gap, FIRST, file),
        is_above(say("ln(validation / train) at the end"), gap.gap, WIDE, file),
        is_above(say("{name} at the end (× chance)", name="val/loss"), validation_level(e), BAD, file),
        share_is_above(say("the share of evaluations at which it turned beyond its noise"), gap.erratic, ERRATIC, file),
        share_is_above(say("the way that running statistics have still to go"), e.weights.running_var_lag, LAGS, newest(e)),
    )


@probe(say("validation accuracy is below guessing"), curve("val/accuracy"), holds=2.5, fails=-0.4)
def below(e: Evidence, seen: Sighting) -> Reading | None:
    value = skill(e, "val")
    if value is None:
        right, loss, low = e.curve("val/accuracy"), e.curve("train/loss"), below_any_guess(e)
        if low is None or right is None or loss is None:
            return None
        return Reading(
            low,
            say(
                "it is {right:.1%}; a guess at the first loss of {loss:.3g} gives {guess:.1%}",
                right=right.final,
                loss=loss.first,
                guess=exp(-loss.first),
            ),
        )
    return Reading(value < BELOW, say("{value:.0%} of the way from guessing to perfect", value=value))


@probe(
    say("the training data was learned within a few passes, as nothing is learned by heart, and nothing of it holds for validation"),
    VALIDATION,
    holds=2.0,
    fails=0.0,
)
def learned_at_once(e: Evidence, seen: Sighting) -> Reading | None:
    passes, val = few_passes(e), e.curve("val/loss")
    best = to_chance(e, val.best) if val is not None else None
    if passes is not None and seen.facet == "never-as-good":
        return Reading(True, say("training loss was halved in {passes:.2g} passes", passes=passes))
    if passes is None or best is None or best < NOTHING_HELD:
        return None
    return Reading(
        True, say("training loss was halved in {passes:.2g} passes; validation was never below {best:.2f} × chance", passes=passes, best=best)
    )


@probe(say("training came to rest half-way, as learning by heart does not, and nothing of it holds for validation"), VALIDATION, holds=2.0)
def at_rest(e: Evidence, seen: Sighting) -> Reading | None:
    level, val = rests_half_way(e), e.curve("val/loss")
    best = to_chance(e, val.best) if val is not None else None
    if level is None or best is None or best < NOTHING_HELD:
        return None
    return Reading(True, say("training rests at {level:.2f} × chance; validation was never below {best:.2f} ×", level=level, best=best))


@probe(say("it was bad from the first evaluation"), VALIDATION, holds=0.8, fails=-1.0)
def from_first(e: Evidence, seen: Sighting) -> Reading | None:
    return (
        None
        if e.gap is None or seen.facet in ("erratic", "baseline", "statistics")
        else Reading(e.gap.first_gap > FIRST or seen.facet == "unmoved", say("ln(validation / train) starts at {gap:.2f}", gap=e.gap.first_gap))
    )


@probe(say("it did not turn after a good start, as overfitting does"), VALIDATION, holds=0.6, fails=-1.0)
def no_turn(e: Evidence, seen: Sighting) -> Reading | None:
    val = e.curve("val/loss")
    if e.gap is None or val is None or seen.facet in ("erratic", "baseline", "never-as-good", *TELLING):
        return None
    never_good = (to_chance(e, val.best) or 0.0) > 0.75
    return Reading(e.gap.rise < 0.15 or never_good, say("it rose by {rise:.2f} (ln) since its best", rise=e.gap.rise))


@probe(say("by its accuracy validation is good: it is worse than training, and no more"), curve("val/accuracy"), holds=-1.6, fails=0.0)
def good_after_all(e: Evidence, seen: Sighting) -> Reading | None:
    value = skill(e, "val")
    if value is None or value < GOOD or e.model.batch_norm or seen.facet in ("erratic", *TELLING):
        return None  # batch normalisation at fault leaves an accuracy that is good
    return Reading(True, say("{value:.0%} of the way from guessing to perfect", value=value))


@probe(say("validation jumps about although training falls smoothly"), VALIDATION, holds=1.5, fails=0.0)
def jumps(e: Evidence, seen: Sighting) -> Reading | None:
    if e.gap is None or e.gap.erratic <= ERRATIC:
        return None
    return Reading(True, say("it turned, beyond its noise, at {share:.0%} of the evaluations", share=e.gap.erratic))


@probe(say("batch normalisation evaluates with statistics that have not arrived"), holds=2.0)
def statistics_behind(e: Evidence, seen: Sighting) -> Reading | None:
    lag, momentum = e.weights.running_var_lag, stated_momentum(e)
    if seen.facet == "statistics" and momentum is not None and momentum.holds:
        return momentum
    return Reading(True, say("they have {lag:.0%} of their way to go", lag=lag)) if lag is not None and lag > LAGS else None


@probe(say("training goes as in the good run, and validation does not"), BASELINE, holds=3.0)
def only_validation(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.baseline
    if b is None or b.validation_at is None or not only_validation_differs(e):
        return None
    return Reading(True, say("it is worse from {at:g} on, of {n} evaluations that both have", at=b.validation_at, n=b.evaluations))


@probe(say("nothing else shows like that"), holds=1.8)
def telling(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(True, seen.summary) if seen.facet in TELLING else None


CHECK = Check(
    id="validation-fault",
    title=say("Validation at fault"),
    symptom=say("Validation is impossible beside training: bad from the start, below guessing, constant, or too good."),
    detect=detect,
    needs=(VALIDATION,),
    probes=(below, learned_at_once, at_rest, from_first, no_turn, good_after_all, jumps, statistics_behind, only_validation, telling),
    prior=0.5,
    causes=(
        (batchnorm_eval_mismatch, -2.0),
        (train_validation_shift, -0.5),
        (wrong_labels, -1.8),
        (class_imbalance, -1.2),
        (leakage, -3.0),
        (broken_evaluation, -2.0),
        (preprocessing, -2.5),
    ),
    by_hand=(say("Evaluate the training set with the validation code, in eval mode: it must agree with the training loss."),),
    consequences=("overfitting",),
)
