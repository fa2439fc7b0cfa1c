"""Training and validation loss both stay high although training works."""

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.accumulating_gradients import accumulating_gradients
from postmortem.checklist.causes.bad_initialization import bad_initialization
from postmortem.checklist.causes.batch_too_small import batch_too_small
from postmortem.checklist.causes.broken_evaluation import broken_evaluation
from postmortem.checklist.causes.class_imbalance import class_imbalance
from postmortem.checklist.causes.clipping_too_tight import clipping_too_tight
from postmortem.checklist.causes.data_quality import data_quality
from postmortem.checklist.causes.decayed_too_early import decayed_too_early
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.learning_rate_too_low import learning_rate_too_low
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.saturating_activations import saturating_activations
from postmortem.checklist.causes.stopped_too_early import stopped_too_early
from postmortem.checklist.causes.too_little_capacity import too_little_capacity
from postmortem.checklist.causes.too_much_regularization import strong_decay, too_much_regularization
from postmortem.checklist.causes.unshuffled_data import unshuffled_data
from postmortem.checklist.causes.wrong_labels import wrong_labels
from postmortem.checklist.causes.wrong_loss import UNSURE, honest, wrong_loss
from postmortem.checklist.falls import creeps, never_bends, steepness
from postmortem.checklist.inputs import uneven_inputs
from postmortem.checklist.latents import unused
from postmortem.checklist.levels import NOTHING_EXPECTED, course, loss_curve, of_letters, relative_fall, skill, to_attainable, to_chance, whole
from postmortem.checklist.limits import family_expected_to_learn, is_above, is_below
from postmortem.checklist.needs import CHANCE, LOSS, VALIDATION
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.parameters import is_narrow
from postmortem.checklist.signs import file_of
from postmortem.model.curves import CurveStats

HIGH = 0.5  # times chance; healthy runs end at 0.47 and less
REGRESSION = 0.6  # times the target's variance: noise in the target leaves half of it in many data sets
EXPLAINED_CLASSES = 0.35  # times chance, where rate, width or dropout explain that little was learned
EXPLAINED_REGRESSION = 0.3  # the same where rate, width or dropout explain that little was learned
DROWNING = 0.8  # dropout
SCORES = ("val/score", "val/f1")
ZERO = 0.01  # of a score between 0 and 1, or 0 and 100
EVALUATED = 5  # evaluations
FREQUENT = 0.7  # accuracy
HURLING = 1.9  # decades above the usual rate, which no healthy run of those looked at has
STEEP = 1.0  # natural logarithms per length of the run
WELL_ABOVE, A_PART = 1.15, 0.15  # times chance; share of the records
HARDER = -0.2  # ln(validation / train)
STARTED = 1.2  # × its first record: what goes beyond is no regularisation
SOMETHING_LEFT = 0.15  # times chance
SYMMETRIC = 0.5  # share of the weight matrices with identical rows or columns
MANY_LABELS = 0.8  # times ln 2: labels that are seldom true are half known from their frequency, and half may be noise
MANY_LABELS_EXPLAINED = 0.7  # the same where rate, width or dropout explain that little was learned
MANY_CLASSES = 30  # outputs from which the limit is that of language: tokens, or fine classes, of which half is hard to know
LANGUAGE = 0.72  # times ln(vocabulary): short healthy runs end at 0.62, the unigram level of text lies at 0.6 to 0.75
PAIRS, AT_REST = 2.4, 0.5  # nats: knowing which letter follows which gives 2.4 to 2.5 in text and code; share of the run at the same level
EXPLAINED = 0.55  # the same where the configuration itself explains why little was learned
TOGETHER = 0.35  # |ln(validation / train)|
AT_GUESSING = 0.3  # relative distance of a loss from −1 / classes
SAME_SHARE = 0.3  # between an accuracy and a mean probability of the right class
FAR = 1.16  # × the limit
FEW = 1  # one evaluation of a single epoch can say how far it got
WORSE = 1.6  # times chance: a model that knows nothing is not that bad
SURE = 0.05  # p of the trend of the last third, within the first epoch
GUESSING = 0.2  # share of the way from guessing to perfect accuracy


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    if e.family in NOTHING_EXPECTED:
        return Cleared(
            say("The loss of this family ({family}) has no attainable level to compare with.", family=e.family), (family_expected_to_learn(e),)
        )
    loss = course(e)
    if loss is None or loss.finite < FEW:
        return Unknown(say("Not measured: there are only {n} finite values of the loss.", n=loss.finite if loss else 0))
    level = _attained(e, loss)
    idle = _score_at_zero(e)
    if idle is not None:
        return idle
    bare = _no_logarithm(e)
    if bare is not None:
        return bare
    if level is None or (level > SOMETHING_LEFT and (e.weights.symmetric_share or 0.0) >= SYMMETRIC):
        told = _without_chance(e, loss)
        if told is not None:
            return told
    if level is None:
        return Unknown(say("Not measured: without the number of classes nobody can say what loss would be attainable."), CHANCE.log, CHANCE.how)
    best = max((s for s in (skill(e, "train"), skill(e, "val")) if s is not None), default=None)
    cut_short = (
        e.outcome in ("crashed", "cancelled", "running", "unknown")
        and bool(e.planned_steps)
        and (e.last_step or 0.0) < 0.5 * (e.planned_steps or 0.0)
    )
    if cut_short or _within_the_first_epoch(e, loss) or (loss.finite < 3 and e.outcome != "finished"):
        return Unknown(say("Not measured: the run ended before it could show how far it would get."))
    limit = _limit(e)
    good = best is not None and best > 0.6 and level > HIGH
    contradiction = good and not _as_sure_as_right(e, loss)
    if level < limit and loss.relative_gain > 0.3 and _guesses_at_a_low_loss(e, limit):
        return Sighting(
            Severity.SERIOUS,
            say("The loss fell to {level:.2f} × chance while accuracy is that of guessing: what is minimised is not the task.", level=level),
            loss.first_step,
            None,
            (loss.name, "val/accuracy"),
            e.series[loss.name].source,
            "contradiction",
        )
    if e.gap is not None and e.gap.gap > TOGETHER:
        ahead = is_below(say("ln(validation / train) at the end"), e.gap.gap, TOGETHER, file_of(e, "val/loss"))
        why = say("Training is ahead of validation (ln ratio {gap:.2f}): the model is not too weak for the training set.", gap=e.gap.gap)
        return Cleared(why, (ahead, _level(e, loss, level, limit)))
    if level < limit:
        return Cleared(say("The loss ends at {level:.2f} × chance.", level=level), (_level(e, loss, level, limit),))
    if good and not contradiction and level <= FAR * limit:
        why = say("Accuracy is good, and the loss is what it makes of a model that knows how sure it may be.")
        return Cleared(why, (_level(e, loss, level, FAR * limit),))
    came_down = loss.relative_gain > 0.5 and loss.final < 0.5 * min(loss.start, loss.first)
    if level > WORSE and (came_down or never_bends(e, loss)):
        return Sighting(
            Severity.SERIOUS,
            say("The loss fell from {start:.4g} and still ends at {level:.2f} × chance.", start=loss.start, level=level),
            loss.last_step,
            loss.first_step,
            (loss.name, "val/loss"),
            e.series[loss.name].source,
            "above",
        )
    if level > WORSE:
        worse = is_below(say("{name} at the end (× chance)", name=loss.name), level, WORSE, file_of(e, loss.name))
        return Cleared(say("The loss ends above chance ({level:.2f} ×): that is no lack of learning.", level=level), (worse,))
    summary = (
        say("The loss stays at {level:.2f} × chance although accuracy is good: the two contradict each other.", level=level)
        if contradiction
        else say("The loss ends at {level:.2f} × chance, on training data too.", level=level)
    )
    return Sighting(
        Severity.SERIOUS,
        summary,
        loss.plateau_step or loss.last_step,
        loss.plateau_step,
        (loss.name, "val/loss"),
        e.series[loss.name].source,
        "contradiction" if contradiction else "",
    )


def _as_sure_as_right(e: Evidence, loss: CurveStats) -> bool:
    """The loss is no higher than that of a model which is right as often and knows how often it is."""
    right = e.curve(loss.name.replace("/loss.epoch", "/accuracy").replace("/loss", "/accuracy"))
    if right is None or not right.finite or not e.chance.classes:
        return False
    return loss.final <= UNSURE * honest(right.final / whole(right), e.chance.classes)


def _limit(e: Evidence) -> float:
    """Times chance: from there on a model of this family has learned too little, sooner where its settings explain it."""
    if e.chance.accuracy is None and (e.chance.classes or 0) > 2:
        return MANY_LABELS_EXPLAINED if _explained(e) else MANY_LABELS
    explained = _explained(e)
    language = EXPLAINED if explained else LANGUAGE
    chance, loss = e.chance.loss, course(e)
    if of_letters(e) and chance and loss is not None and (explained or loss.plateau_share > AT_REST):
        return min(language, PAIRS / chance)
    if e.family == "regression":
        return EXPLAINED_REGRESSION if explained else REGRESSION
    if e.family == "language-model" or (e.chance.classes or 0) >= MANY_CLASSES:
        return language
    return EXPLAINED_CLASSES if explained else HIGH


def _attained(e: Evidence, loss: CurveStats) -> float | None:
    """The level at the end: that of validation where training is made much harder than validation is, by what regularises it."""
    val, level = e.curve("val/loss"), to_attainable(e, loss.final)
    harder = (
        e.family != "regression"
        and e.gap is not None
        and e.gap.gap < HARDER
        and e.gap.evaluations >= EVALUATED
        and loss.highest < STARTED * loss.first
    )
    return to_chance(e, val.final) if val is not None and level is not None and harder else level


def _within_the_first_epoch(e: Evidence, loss: CurveStats) -> bool:
    """The log ends before the first epoch does, the loss is still falling, and nothing says how long training was meant to be."""
    meant = e.planned_steps or e.planned_epochs or e.number("epochs") or e.number("max_steps")
    falling = loss.tail is not None and loss.tail.tau < 0 and loss.tail.p_value < SURE
    return e.outcome == "unknown" and not meant and falling and e.last_epoch is not None and e.last_epoch < 1.0


def _without_chance(e: Evidence, loss: CurveStats) -> Sighting | None:
    """What shows that a model cannot have learned its task although nothing tells what loss would be attainable. None without such a sign."""
    shown: tuple[str, ...] = (loss.name,)
    if (e.weights.symmetric_share or 0.0) >= SYMMETRIC:
        facet = "symmetric"
        summary = say(
            "The units of a layer are copies of each other: the model is as good as one unit wide, whatever its loss of {final:.4g} may mean.",
            final=loss.final,
        )
    elif (divergence := unused(e)) is not None:
        facet, shown = "latents", (divergence.name, loss.name)
        summary = say(
            "The divergence of the latent variables from the prior ({name}) fell from {first:.2g} to {final:.2g}: they tell the decoder nothing.",
            name=e.series[divergence.name].logged_as,
            first=divergence.first,
            final=divergence.final,
        )
    elif _drowned(e):
        facet, shown = "dropout", ("train/accuracy", "val/accuracy")
        summary = say(
            "Training accuracy ends at {train:.0%} and validation, without dropout, at {val:.0%}.",
            train=e.curves["train/accuracy"].final,
            val=e.curves["val/accuracy"].final,
        )
    elif uneven_inputs(e):
        facet = "inputs"
        summary = say("The loss ends at {final:.4g}, and most of the inputs hardly count: others are many times as large.", final=loss.final)
    elif loss.floor < 0 and loss.final - loss.floor > HIGH and e.gap is not None and e.gap.gap < TOGETHER and _explained(e):
        facet = "floor"
        summary = say("The loss, which can come down to {floor:g}, ends at {final:.4g}, on training data too.", floor=loss.floor, final=loss.final)
    elif (rate_decades(e) or 0.0) > HURLING and loss.plateau_share > AT_REST:
        facet = "rate"
        summary = say(
            "The loss came to rest at {final:.4g} with a learning rate {times:.0f} × the usual one.",
            final=loss.final,
            times=10 ** (rate_decades(e) or 0.0),
        )
    elif creeps(e, loss):
        facet = "even"
        summary = say("The loss fell by {fall:.0%}, evenly: it never slowed down, as it does once something is learned.", fall=relative_fall(loss))
    else:
        return None
    return Sighting(Severity.SERIOUS, summary, loss.first_step, loss.first_step, shown, e.series[shown[0]].source, facet)


def _no_logarithm(e: Evidence) -> Sighting | None:
    """A classifier's loss that starts at −1 / C and goes towards −1: minus the probability of the right class, as `nll_loss` gives it for
    the outputs of a softmax. What is hopeless gets no gradient from it."""
    loss, right, classes = course(e), e.curve("val/accuracy") or e.curve("train/accuracy"), e.chance.classes
    if loss is None or right is None or not classes or e.family != "classifier" or loss.floor == 0 or loss.highest >= 0 or not right.finite:
        return None
    share = right.final / whole(right)
    if abs(classes * loss.first + 1.0) > AT_GUESSING or abs(share + loss.final) > SAME_SHARE:
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "The loss goes from {first:.3g}, which is −1 / {classes}, to {final:.3g}: it is minus a probability, and not its logarithm.",
            first=loss.first,
            classes=classes,
            final=loss.final,
        ),
        loss.first_step, loss.first_step, (loss.name, right.name), e.series[loss.name].source, "bare",
    )  # fmt: skip


def _drowned(e: Evidence) -> bool:
    """Extreme dropout under which training never gets near what the same model does without it."""
    train, val = e.curve("train/accuracy"), e.curve("val/accuracy")
    extreme = (e.number("dropout") or 0.0) >= DROWNING
    return extreme and train is not None and val is not None and train.finite > 0 and val.finite > 0 and train.final < 0.5 * val.final


def _level(e: Evidence, loss: CurveStats, level: float, limit: float) -> Clue:
    return is_above(say("{name} at the end (× chance)", name=loss.name), level, limit, file_of(e, loss.name))


def _score_at_zero(e: Evidence) -> Sighting | None:
    """What the model is trained for never came off: a score (mIoU, mAP, Dice, BLEU) of nearly 0 at each of many evaluations."""
    for name in SCORES:
        c = e.curve(name)
        if c is None or c.finite < EVALUATED or c.lowest < 0 or (c.highest > ZERO if c.finite < 2 * EVALUATED else c.highest > 5 * ZERO):
            continue
        return Sighting(
            Severity.SERIOUS,
            say(
                "The score ({name}) was never better than {highest:.3g} in {n} evaluations.",
                name=e.series[name].logged_as,
                highest=c.highest,
                n=c.finite,
            ),
            c.first_step,
            None,
            (name, "train/loss"),
            e.series[name].source,
            "score",
        )
    return _never_yes(e)


def _never_yes(e: Evidence) -> Sighting | None:
    """Nearly all answers are right, and none of them finds what is looked for: the frequent class is the answer to everything."""
    f1, right = e.curve("val/f1"), e.curve("val/accuracy")
    if f1 is None or right is None or f1.zeros < EVALUATED - 1 or f1.last != 0.0 or right.final / whole(right) < FREQUENT:
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "Of the answers {right:.1%} are right and F1 is 0: the frequent class is the answer to everything.",
            right=right.final / whole(right),
        ),
        f1.first_step,
        None,
        ("val/f1", "val/accuracy"),
        e.series["val/f1"].source,
        "one-class",
    )


def _explained(e: Evidence) -> bool:
    """A learning rate, a width or a dropout with which little can be learned."""
    stated = abs(rate_decades(e) or 0.0) >= 1.3 or is_narrow(e) or (e.number("dropout") or 0.0) > 0.65
    stated |= strong_decay(e)
    return stated or _long_above_guessing(e) or steepness(e) > STEEP


def _long_above_guessing(e: Evidence) -> bool:
    """After its first record the loss lay well above guessing for a part of the run: something threw it, and what time was left was not enough."""
    means = course(e)
    if means is None or means.finite < EVALUATED or not e.chance.loss or (means.first > WELL_ABOVE * e.chance.loss):
        return False
    values = e.series[means.name].values[1:]
    return float((values > WELL_ABOVE * e.chance.loss).mean()) > A_PART


def _guesses_at_a_low_loss(e: Evidence, limit: float) -> bool:
    """On one and the same split the loss says that much was learned, and accuracy that nothing was."""
    for split in ("train", "val"):
        loss = e.curve(f"{split}/loss.epoch") or e.curve(f"{split}/loss")
        level, right = to_chance(e, loss.final) if loss else None, skill(e, split)
        if level is not None and right is not None and level < limit and right < GUESSING:
            return True
    return False


@probe(say("validation is as bad as training"), VALIDATION, holds=0.6, fails=-0.8)
def together(e: Evidence, seen: Sighting) -> Reading | None:
    return None if e.gap is None else Reading(e.gap.gap < TOGETHER, say("ln(validation / train) is {gap:.2f}", gap=e.gap.gap))


@probe(say("the level is far from what healthy runs reach"), CHANCE, holds=1.0, fails=-0.7)
def far(e: Evidence, seen: Sighting) -> Reading | None:
    loss, limit = course(e), FAR * _limit(e)
    level = _attained(e, loss) if loss else None
    if level is None or (level <= limit and _explained(e)):
        return None
    guessed = e.chance.basis == "first-loss" and (skill(e, "val") or 0.0) > 0.5  # what chance is, nothing says, and the accuracy is good
    return Reading(level > limit, say("{level:.2f} × chance", level=level), share=1.5 if guessed else 1.0)


@probe(say("loss and accuracy contradict each other"), CHANCE, holds=2.5, fails=0.0)
def contradict(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(True, seen.summary) if seen.facet == "contradiction" else None


@probe(say("no loss of a classifier starts at −1 / classes"), holds=2.5)
def bare(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(True, seen.summary) if seen.facet == "bare" else None


@probe(say("who never says yes has learned nothing but how often it is no"), holds=2.0)
def never_yes(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(True, seen.summary) if seen.facet == "one-class" else None


@probe(say("a decoder that is told nothing can do no better than the mean"), holds=2.0)
def latents(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(True, seen.summary) if seen.facet == "latents" else None


@probe(say("units that are copies of each other can do no more than one"), holds=2.0)
def copies(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.weights.symmetric_share
    if share is None or seen.facet != "symmetric":
        return None
    return Reading(True, say("{share:.0%} of the weight matrices are nearly one number or have identical rows or columns", share=share))


@probe(say("training worked at all"), holds=0.3, fails=-0.5)
def worked(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    return None if loss is None else Reading(loss.relative_gain > 0.05, say("the loss fell by {gain:.0%}", gain=loss.relative_gain))


CHECK = Check(
    id="underfitting",
    title=say("Underfitting"),
    symptom=say("Training and validation loss both stay high although training works."),
    detect=detect,
    needs=(LOSS,),
    probes=(together, far, contradict, bare, latents, never_yes, copies, worked),
    prior=0.5,
    causes=(
        (too_little_capacity, -1.0),
        (stopped_too_early, -1.2),
        (learning_rate_too_low, -1.5),
        (learning_rate_too_high, -1.5),
        (clipping_too_tight, -2.0),
        (too_much_regularization, -1.5),
        (wrong_loss, -1.8),
        (unshuffled_data, -2.2),
        (bad_initialization, -2.0),
        (preprocessing, -2.2),
        (class_imbalance, -3.0),
        (data_quality, -2.5),
        (broken_evaluation, -2.5),
        (wrong_labels, -3.0),
        (accumulating_gradients, -2.5),
        (saturating_activations, -2.8),
        (batch_too_small, -2.5),
        (decayed_too_early, -2.8),
    ),
    by_hand=(say("Overfit one batch: if even that stays high, the fault is in model or loss, not in size or time."),),
    consequences=(),
)
