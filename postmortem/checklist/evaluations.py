"""Faces of a validation that is impossible beside training, and what speaks for overfitting instead. First come, first served."""

from collections.abc import Callable
from math import exp
from statistics import fmean

from postmortem.check import Cleared, Clue, Evidence, Sighting, say
from postmortem.checklist.beside import EVALUATIONS, NOTHING_LEFT, Beside
from postmortem.checklist.causes.batchnorm_eval_mismatch import stated_momentum
from postmortem.checklist.erratic import ERRATIC, LEARNS, WIDE, erratic, rises_for_good
from postmortem.checklist.falls import of_one_batch, rests_half_way
from postmortem.checklist.fresh import above_what_was_new, worse_after_one_pass
from postmortem.checklist.hopeless import score_at_zero
from postmortem.checklist.inputs import same_batches
from postmortem.checklist.levels import (
    below_any_guess,
    knows_the_noise,
    learned_at_once,
    of_letters,
    skill,
    validation_level,
    whole,
)
from postmortem.checklist.limits import asked, is_above, is_below, newest, share_is_above, share_is_below
from postmortem.checklist.rates import pretrained
from postmortem.checklist.signs import file_of, only_validation_differs, training_samples
from postmortem.checklist.untrue import made_harder

BELOW = -0.05  # accuracy above chance
BAD = 0.3  # validation loss / chance
SOMETHING = 0.9  # times chance, for the best validation loss: it had learned something before it turned
BY_HEART = 6.5  # ln(validation / train) of a handful of samples learned by heart
FEW_SAMPLES, MOSTLY_KNOWN = 250.0, 0.1  # training samples; times chance
HANDFUL = 30.0  # training samples per class
LAGS = 0.3  # share of their way from 1 that running variances have still to go; other runs end below 0.05
BEHIND = 0.2  # ln(validation / train) beside that
LEARNED = 0.4  # share of the way from guessing to perfect accuracy, at its best
NEVER_GOOD = 0.85  # times chance: below, validation had learned something before it rose
MUCH_WORSE, APART_AT_FIRST = 1.5, 0.4  # × the worst of training; ln(validation / train)
TOO_GOOD, TOO_GOOD_A_WORD = 0.15, 0.1  # nats a letter; nats a token of a vocabulary of text
OF_TEXT = 5.6  # ln of 270 tokens
HALF = 0.5  # of where training began
DIFFERENT = 5  # values
ALIKE, TO_THE_DIGIT, BEGINNING = 3, 1e-3, 0.3  # records; between their accuracies; share of the run
MOSTLY, AROUND = (0.2, 0.99), 0.05  # accuracy of training beyond validation's, and at most; around 1 / classes
NO_BETTER, WENT_ON = 0.8, 0.3  # × its first; share of the training loss at the best validation
OPENED, ROSE = 0.4, 0.05  # of the gap at the end; ln(validation / its best)
LOST = 0.95  # times chance, of training
EVERY_ANSWER, FAR_FROM_NOTHING = 0.99, 0.1  # accuracy; nats
PART_OF_TRAINING, HEAVY = 2.5, 0.5  # ln(train / validation); dropout
CERTAIN = 0.1  # nats a word
NEARLY_RIGHT, NO_SUCH_LOSS = 0.8, 0.75  # share of the way from guessing to perfect accuracy; times chance
FOUND = 0.9  # × its first evaluation
TWICE, STEADILY = 2.0, 1.2  # times chance; the largest of the multiples / the smallest
FIRST = 0.03  # ln(validation / train) at the first evaluation; healthy runs start between −0.7 and 0.24


def below_guessing(b: Beside) -> Sighting | None:
    wrong = b.accuracy is not None and b.accuracy < BELOW and b.level is not None and b.level > 1.0
    if not b.works or not (wrong or (b.accuracy is None and below_any_guess(b.e) and b.gap.gap > WIDE)):
        return None
    return b.shows(
        "below-chance",
        say("Validation accuracy is below guessing while training works: labels or inputs are prepared differently."),
        "val/accuracy",
    )


def other_shares(b: Beside) -> Sighting | None:
    majority = _one_answer(b.e)
    if majority is None:
        return None
    step, share, right = majority
    why = say(
        "Around step {step:g} the same answer to everything was right for {share:.1%} of the training set and for {right:.1%} of validation.",
        step=step,
        share=share,
        right=right,
    )
    return b.shows("one-class", why, "train/accuracy", "val/accuracy", source=file_of(b.e, "val/accuracy"))


def same_samples(b: Beside) -> Cleared | None:
    if not same_batches(b.e) and not of_one_batch(b.e):
        return None
    told = (
        say("{n} different batches", n=b.e.batches.distinct)
        if b.e.batches is not None and b.e.batches.distinct is not None
        else say("the training loss has no noise from step to step")
    )
    again = asked(say("training goes on with new samples"), False, told)
    why = say("The same samples are trained on again and again, and validation never could follow: that is overfitting.")
    return Cleared(why, (again, *figures(b)))


def constant(b: Beside) -> Sighting | None:
    if not (b.val.constant and b.works and b.val.finite >= 3):
        return None
    return b.shows("constant", say("Validation gives the same loss {n} times while training goes on.", n=b.val.finite))


def the_same(b: Beside) -> Sighting | None:
    """Digit for digit what training has: it is computed on the same samples with the same weights, or is the same number under another name."""
    series, val = (b.e.series.get(b.train.name) if b.train is not None else None), b.e.series["val/loss"]
    if series is None or len(series) != len(val):
        return None
    values = val.values.tolist()
    if len(set(values)) < DIFFERENT or series.values.tolist() != values:
        return None
    return b.shows("same", say("Validation loss is that of training in all {n} records, digit for digit.", n=len(val)))


def worse_than_the_good_run(b: Beside) -> Sighting | None:
    if not only_validation_differs(b.e):
        return None
    return b.shows(
        "baseline",
        say("Training goes as in the good run, with the same settings, and validation is worse: the model is as good, the validation data is not."),
    )


def added_up_differently(b: Beside) -> Cleared | None:
    if b.accuracy is None or b.level is None or b.e.model.batch_norm or not (b.accuracy > NEARLY_RIGHT and b.level > NO_SUCH_LOSS):
        return None  # batch normalisation at fault leaves an accuracy that is good
    why = say(
        "By its accuracy validation is good ({right:.0%} of the way from guessing), and no such model has a loss of {level:.2f} × chance: it is added up differently.",
        right=b.accuracy,
        level=b.level,
    )
    right = share_is_below(say("the way of val/accuracy from guessing to perfect"), b.accuracy, NEARLY_RIGHT, file_of(b.e, "val/accuracy"))
    return Cleared(why, (right, *figures(b)))


def a_steady_multiple(b: Beside) -> Cleared | None:
    """Training stands near guessing, where nothing that validation lacks was learned, and validation is the same multiple of it every time."""
    train, val = (b.e.series.get(b.train.name) if b.train is not None else None), b.e.series["val/loss"]
    if train is None or b.level is None or b.train_level is None or len(train) != len(val) or len(val) < EVALUATIONS or b.e.model.batch_norm:
        return None
    if not (b.train_level > NO_SUCH_LOSS and b.level > TWICE and b.accuracy is not None and b.accuracy > 0):
        return None
    times = [v / t for v, t in zip(val.values.tolist(), train.values.tolist(), strict=True)][1:] if (train.values > 0).all() else []
    if not times or max(times) > STEADILY * min(times):
        return None
    multiple = fmean(times)
    why = say(
        "Validation is {multiple:.2g} × training in every record, and training knows next to nothing: it is added up differently.", multiple=multiple
    )
    lost = is_below(say("{name} at the end (× chance)", name=train.name), b.train_level, NO_SUCH_LOSS, file_of(b.e, train.name))
    return Cleared(why, (lost, *figures(b)))


def nothing_but_by_heart(b: Beside) -> Cleared | None:
    nothing_else = b.best is not None and (b.best > 0.85 or (b.train_level or 1.0) < NOTHING_LEFT / 20)
    samples = training_samples(b.e)
    few = samples is not None and samples < HANDFUL * (b.e.chance.classes or 1) and b.by_heart
    rose = b.gap.rise >= 0.15 and not few
    exactly = knows_the_noise(b.e) and (b.best or 1.0) < SOMETHING
    if (not exactly and (not (b.gap.gap > BY_HEART or few) or not nothing_else)) or rose or (b.accuracy is not None and b.accuracy <= BELOW):
        return None
    return Cleared(
        say("Training was learned by heart ({train:.2g} × chance) and nothing else was: that is overfitting.", train=b.train_level or 0.0),
        (is_below(say("ln(validation / train) at the end"), b.gap.gap, BY_HEART, file_of(b.e, "val/loss")), *figures(b)),
    )


def turned_by_heart(b: Beside) -> Cleared | None:
    turned = b.gap.validation_trend_after_best
    turns = b.gap.rise > 0.15 and turned is not None and turned.tau > 0.5
    if not (b.by_heart and turns and (b.best or 1.0) < SOMETHING) or b.guesses:
        return None
    return Cleared(
        say(
            "Training was learned by heart ({train:.2g} × chance), and validation got worse from then on: that is overfitting.",
            train=b.train_level or 0.0,
        ),
        (is_above(say("{name} at the end (× chance)", name="train/loss"), b.train_level, NOTHING_LEFT, file_of(b.e, "train/loss")), *figures(b)),
    )


def never_good(b: Beside) -> Sighting | None:
    if not b.works or b.best is None or b.level is None or b.gap.gap <= WIDE or b.began_unseen or _known_few_by_heart(b):
        return None
    slowly = b.reached is not None and b.reached > LEARNED and learned_at_once(b.e) is None  # it learned, and was then learned by heart
    hardly_moved = b.gap.rise < 0.15 and b.gap.evaluations >= 4  # what overfits gets worse than it was
    never = b.best > NEVER_GOOD and b.level > 1.15 and not slowly
    unmoved = b.best > 0.75 and ((hardly_moved and (b.reached or 0.0) < LEARNED) or b.guesses)
    if not (never or unmoved) or not ((b.train_level or 1.0) < 0.4 or rests_half_way(b.e) is not None):
        return None
    return b.shows(
        "never-good" if b.level > 1.15 else "unmoved",
        say("Validation was never better than {best:.2f} × chance while training reached {train:.2f} ×.", best=b.best, train=b.train_level or 0.0),
    )


def _known_few_by_heart(b: Beside) -> bool:
    """The log says how few the training samples are, and all of them are known: of nothing learned about others no label is at fault."""
    samples = training_samples(b.e)
    return samples is not None and samples <= FEW_SAMPLES and (b.train_level or 1.0) < MOSTLY_KNOWN


def bad_from_the_start(b: Beside) -> Sighting | None:
    high = b.level is None or b.level > BAD
    if not (b.works and b.gap.gap > WIDE and b.gap.rise < 0.15 and high and b.gap.first_gap > FIRST) or b.followed or b.began_unseen:
        return None
    if b.gap.first_gap < OPENED * b.gap.gap and b.gap.rise > ROSE:
        return None  # it opened while training went on, and validation rose with it
    if b.e.family == "contrastive" and b.val.final < FOUND * b.val.first:
        return None  # among more candidates a pair costs more: what was learned holds for validation as well
    return b.shows(
        "from-start",
        say("Validation is {times:.3g} × training from the first evaluations on, and does not rise: that is not overfitting.", times=exp(b.gap.gap)),
    )


def above_all_of_training(b: Beside) -> Sighting | None:
    if b.train is None or b.began_unseen or not (b.val.lowest > MUCH_WORSE * b.train.highest and b.train.relative_gain > LEARNS):
        return None
    if b.level is not None and b.level < BAD:
        return None  # both are small
    if b.e.curve("train/perplexity") is not None and b.train.first < CERTAIN:
        return None  # nobody is certain of each word in the first record: that is another figure's exponential
    learned_little = b.train.final > HALF * b.train.first and not _paid_for(b)  # so nothing was learned by heart, and it should not rise
    if not (b.gap.first_gap > APART_AT_FIRST and b.gap.evaluations >= EVALUATIONS and (b.gap.rise < 0.15 or learned_little)):
        return None
    return b.shows(
        "from-start",
        say(
            "Validation was never better than {best:.4g}, while training, at its worst, was at {highest:.4g}.",
            best=b.val.lowest,
            highest=b.train.highest,
        ),
    )


def too_good(b: Beside) -> Sighting | None:
    words = b.e.family == "language-model" and (b.e.chance.loss or 0.0) > OF_TEXT and not pretrained(b.e)
    if of_letters(b.e) and b.val.final < TOO_GOOD:
        told = say(
            "Validation ends at {final:.2g} nats a letter; the best models of text stay above 0.4: it sees what it is to predict.", final=b.val.final
        )
    elif words and 0 <= b.val.final < TOO_GOOD_A_WORD:
        told = say("Validation ends at {final:.2g} nats a token; no text can be foretold so well: it sees what it is to predict.", final=b.val.final)
    elif _knows_the_answers(b):
        told = say(
            "Validation ends at {final:.3g}, {share:.2g} of training, with {right:.1%} of right answers: it was trained on, or its inputs hold the answers.",
            final=b.val.final, share=exp(b.gap.gap), right=b.e.curves["val/accuracy"].final / whole(b.e.curves["val/accuracy"]),
        )  # fmt: skip
    else:
        return None
    return b.shows("too-good", told)


def _knows_the_answers(b: Beside) -> bool:
    """Every answer of validation is right, at a small part of a training loss that is far from nothing and that nothing makes harder."""
    right, train = b.e.curve("val/accuracy"), b.train
    if right is None or train is None or not right.finite or b.gap.evaluations < EVALUATIONS or b.val.final <= 0:
        return False
    all_right = right.final / whole(right) > EVERY_ANSWER and train.final > FAR_FROM_NOTHING
    return all_right and not made_harder(b.e) and b.gap.gap < -PART_OF_TRAINING and (b.e.number("dropout") or 0.0) < HEAVY


def _paid_for(b: Beside) -> bool:
    """Validation rose for good by no more than training came down since: what is learned by heart costs that much."""
    left = 1.0 - b.gap.train_fell_after_best
    return rises_for_good(b) and 0.0 < left < exp(-b.gap.rise)


def never_as_good(b: Beside) -> Sighting | None:
    passes = learned_at_once(b.e)
    if b.train is None or passes is None or not b.works or b.gap.evaluations < EVALUATIONS or b.began_unseen or b.few:
        return None
    apart = b.train.floor < 0 and b.val.lowest > b.train.highest
    behind = b.gap.first_gap > 0  # what held for validation at first, and was lost, was learned by heart later
    unmoved = behind and b.level is None and not pretrained(b.e) and b.val.best > NO_BETTER * b.val.first and b.gap.train_fell_after_best > WENT_ON
    if not (apart or unmoved) or not WIDE < b.gap.gap < BY_HEART:
        return None
    return b.shows(
        "never-as-good",
        say(
            "Validation was never better than {best:.4g}: training, learned within {passes:.2g} passes, was at {highest:.4g} at its worst.",
            best=b.val.lowest,
            passes=passes,
            highest=b.train.highest,
        ),
    )


def lags_by_its_setting(b: Beside) -> Sighting | None:
    momentum = stated_momentum(b.e)
    if momentum is None or not momentum.holds:
        return None
    scoreless = score_at_zero(b.e) is not None and b.train is not None and b.train.relative_gain > LEARNS
    if not scoreless and not (b.works and b.gap.gap > WIDE and (b.level is None or b.level > BAD)):
        return None
    return b.shows(
        "statistics",
        say(
            "Validation is {times:.3g} × training, and the momentum of batch normalisation ({setting}) lets its statistics lag behind.",
            times=exp(b.gap.gap),
            setting=momentum.detail,
        ),
    )


def lags_behind(b: Beside) -> Sighting | None:
    lag = b.e.weights.running_var_lag or 0.0
    if lag <= LAGS or b.gap.gap <= BEHIND or (b.train_level or 0.0) > LOST:
        return None  # what was lost in training itself, no statistics keep
    return b.shows(
        "statistics",
        say(
            "The running statistics of batch normalisation have still {lag:.0%} of their way to go: validation, at {times:.3g} × training, is of another model.",
            lag=lag,
            times=exp(b.gap.gap),
        ),
        source=newest(b.e),
    )


FACES: tuple[Callable[[Beside], Sighting | Cleared | None], ...] = (
    below_guessing,
    other_shares,
    same_samples,
    constant,
    the_same,
    worse_than_the_good_run,
    added_up_differently,
    a_steady_multiple,
    nothing_but_by_heart,
    turned_by_heart,
    never_good,
    bad_from_the_start,
    above_all_of_training,
    too_good,
    erratic,
    never_as_good,
    above_what_was_new,
    worse_after_one_pass,
    lags_by_its_setting,
    lags_behind,
)


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


def figures(b: Beside) -> tuple[Clue, ...]:
    """What an evaluation that cannot be would show in."""
    e, gap, val, file = b.e, b.gap, b.val, file_of(b.e, "val/loss")
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
