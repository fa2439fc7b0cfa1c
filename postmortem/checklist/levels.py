"""How high a loss or a score stands: beside guessing, beside where it began, beside what nothing learned would show."""

import math
from statistics import NormalDist

from postmortem.check import Evidence
from postmortem.model.curves import CurveStats

SURELY, LEVEL = 2.5, 2.0  # standard errors
COARSE = 0.02  # × ln C: a standard error that leaves nothing to be seen
FEW_PASSES = 4.0  # over the data until the training loss is halved; what is learned by heart, or drawn by lot, takes six and more
FAR_AHEAD, EPOCHS, MANY_STEPS = 0.2, 4, 8.0  # of the answers; records; steps in an epoch
FIRST_STEPS = 1.0  # of an epoch: until then no sample was seen before
EXACT = 0.01  # times the target's variance
SLICES = 200  # of a normal distribution, equally probable
BELOW_GUESS = 0.5  # × the accuracy of a guess
NOTHING_EXPECTED = frozenset({"gan", "reinforcement", "preference", "contrastive", "self-distillation"})  # families whose loss need not fall


def loss_curve(e: Evidence) -> CurveStats | None:
    """The training loss, else the validation loss; of a training that was logged once or twice, the validation loss."""
    train, val = e.curve("train/loss"), e.curve("val/loss")
    hardly = train is not None and val is not None and train.finite < 3 <= val.finite and train.non_finite is None
    return val if train is None or hardly else train


def course(e: Evidence) -> CurveStats | None:
    """The training loss as epoch means, when there are enough of them to show a course; else as logged."""
    means = e.curve("train/loss.epoch")
    return means if means is not None and means.finite >= 3 else loss_curve(e) or means


def training_curves(e: Evidence) -> tuple[CurveStats, ...]:
    """Step-wise and epoch-wise training loss, whichever were logged."""
    return tuple(c for c in (e.curve("train/loss"), e.curve("train/loss.epoch")) if c is not None)


def to_chance(e: Evidence, loss: float | None) -> float | None:
    """loss / chance level: 1 is a model that knows nothing. None when either is unknown."""
    if loss is None or not e.chance.loss or e.chance.loss <= 0 or math.isnan(loss):
        return None
    return loss / e.chance.loss


def to_attainable(e: Evidence, loss: float | None) -> float | None:
    """`to_chance` where labels are smoothed: 0 is the entropy of the smoothed labels, below which no training loss comes, 1 is guessing."""
    share, classes, chance = e.number("label_smoothing"), e.chance.classes, e.chance.loss
    if loss is None or not share or not 0 < share < 1 or not classes or classes < 2 or not chance:
        return to_chance(e, loss)
    wrong = share / classes
    right = 1 - share + wrong
    floor = -right * math.log(right) - (classes - 1) * wrong * math.log(wrong)
    return (loss - floor) / (chance - floor) if chance > floor else None


def whole(c: CurveStats) -> float:
    """What a share is out of: 100 where it was logged in per cent, else 1."""
    return 100.0 if c.highest > 1.5 else 1.0


def above_chance(e: Evidence, accuracy: float | None) -> float | None:
    """(accuracy − 1/C) / (1 − 1/C): 0 is guessing, 1 perfect, below 0 worse than guessing."""
    base = e.chance.accuracy
    if accuracy is None or base is None or base >= 1 or math.isnan(accuracy):
        return None
    share = accuracy / 100.0 if accuracy > 1.0 else accuracy
    return (share - base) / (1.0 - base)


def skill(e: Evidence, split: str, *, best: bool = False) -> float | None:
    """Accuracy of a split above chance, at the end or at its best."""
    c = e.curve(f"{split}/accuracy")
    if c is None or not c.finite:
        return None
    value = (c.best if best else c.final) / whole(c)
    above = above_chance(e, value)
    few = (e.chance.classes or 0) <= 3
    if above is not None and few and c.constant and c.finite >= 5 and value < 0.9:
        return min(above, 0.0)  # always the same answer, and the share of samples that it fits
    return above


def learned_nothing_at_all(e: Evidence) -> bool | None:
    """The training loss lies above ln C throughout and does not fall. Any update of the last bias brings it to ln C, or to the entropy
    of the classes' shares, which is less: so nothing was updated. False when it came down to below ln C; None between the two, and where
    the level of guessing is not known."""
    loss = e.curve("train/loss")
    h = loss.halves if loss is not None else None
    if h is None or e.chance.loss is None or e.chance.classes is None or h.error > COARSE * e.chance.loss:
        return None
    above = (h.mean - e.chance.loss) / h.error
    if above > SURELY and abs(h.fell) < LEVEL:
        return True
    return False if above < -SURELY and h.fell > LEVEL else None


def passes_to_half(e: Evidence) -> float | None:
    """Passes over the data until the training loss was half of what it began with; None when it never was or epochs are not known."""
    return e.epoch_at(e.gap.halved_step) if e.gap is not None else None


def learned_at_once(e: Evidence) -> float | None:
    """Passes over the data within which training learned more than is learned by heart in so few; None where it did not.

    Until its loss was halved (`passes_to_half`), or 2: in its second pass it was right far more often than validation ever was, and what
    is learned by heart had been seen once by then.
    """
    passes = passes_to_half(e)
    if passes is not None and passes <= FEW_PASSES:
        return passes
    train, val = e.series.get("train/accuracy"), e.curve("val/accuracy")
    if train is None or val is None or not val.finite or train.reduction != "epoch" or len(train) < EPOCHS or val.trend is None:
        return None
    ahead = float(train.values[1]) / whole(e.curves["train/accuracy"]) - val.highest / whole(val)
    flat = val.trend.tau <= 0 or val.trend.p_value > 0.05
    return 2.0 if ahead > FAR_AHEAD and flat and (e.steps_per_epoch or 0.0) >= MANY_STEPS else None


def knows_the_noise(e: Evidence) -> bool:
    """Numbers are given back more exactly than any that were measured can be foretold: each of the training samples is known."""
    loss = course(e)
    level = to_chance(e, loss.final) if loss is not None else None
    return e.family == "regression" and level is not None and level < EXACT


def below_any_guess(e: Evidence) -> bool | None:
    """Validation is right less often than guessing would be, however many the classes: the first training loss, that of a model that
    knows nothing, is ln C or more. None where that first loss or the accuracy was not logged, and where it came after an epoch."""
    loss, right = e.curve("train/loss"), e.curve("val/accuracy")
    if loss is None or right is None or not loss.finite or not right.finite or right.highest > 1.0 or loss.reduction == "epoch":
        return None
    if loss.first_step > FIRST_STEPS * (e.steps_per_epoch or 0.0) or e.family not in ("", "classifier"):
        return None
    return right.final < BELOW_GUESS * math.exp(-loss.first)


LETTERS = (4.1, 5.7)  # ln of the outputs of a model of letters or bytes


def of_letters(e: Evidence) -> bool:
    """A language model of letters or bytes, by its level of guessing: what is known of text then holds in nats a letter."""
    return e.family == "language-model" and LETTERS[0] <= (e.chance.loss or 0.0) <= LETTERS[1]


def starts_normal(e: Evidence) -> bool | None:
    """The loss logged before (or right after) the first update is that of a sane, untrained model: initial weights and inputs
    were no cause of what came later. None when the log does not begin there."""
    loss = e.curve("train/loss")
    if loss is None or not loss.finite or loss.first_step > 2 or loss.reduction == "epoch":
        return None
    level = to_chance(e, loss.first)
    if level is not None:
        return level < 1.6
    return loss.first <= 2.0 * loss.best if loss.best > 0 else None


TINY = 0.1  # nats: 15 % of the chance level of two classes, less of that of more
ABSURD = 1e6  # a first loss that no scaling of inputs or targets explains when the chance level is unknown


def starts_absurd(e: Evidence) -> bool:
    """The very first loss, before any update, is already beyond anything that an untrained model gives."""
    loss = e.curve("train/loss")
    if loss is None or not loss.finite or loss.first_step > 2 or loss.reduction == "epoch":
        return False
    level = to_chance(e, loss.first)
    return level > 3.5 if level is not None else loss.first > ABSURD


SUMMED = (0.9, 1.25)  # times chance times the batch size; untrained models with weights of the usual size give 0.95 to 1.2 times chance
USUAL_SIZE = 0.75  # decades above the default initialisation
FEWEST_SUMMED = 8  # samples of a batch: a few times chance is what large weights give as well


def summed_over(e: Evidence) -> float | None:
    """The batch size, where the first loss is as many times what guessing gives: the samples' losses are added up. None where they are not."""
    loss, batch = e.curve("train/loss"), e.number("batch_size")
    level = to_chance(e, loss.first) if loss is not None and loss.finite and loss.first_step <= 2 and loss.reduction != "epoch" else None
    if level is None or batch is None or batch < FEWEST_SUMMED or (e.weights.first_highest_scale or 0.0) > USUAL_SIZE:
        return None
    return batch if SUMMED[0] < level / batch < SUMMED[1] else None


FELL_FIRST = 0.5  # of the first loss: a step in the wrong direction never made one smaller


def runaway_smoothness(e: Evidence) -> bool | None:
    """A loss that runs away with almost no turn (noise turns at 1/2 to 2/3 of its points). None when it does not run away."""
    loss = next(iter(training_curves(e)), None)
    if loss is None or loss.oscillation is None or loss.trend is None or abs(loss.final) < 3 * abs(loss.start):
        return None
    fell_first = 0.0 < loss.lowest < FELL_FIRST * loss.first
    return loss.oscillation.turn_rate < 0.2 and abs(loss.trend.tau) > 0.85 and not fell_first


SCATTER = 3.0  # sigmas of a reward's own scatter
LITTLE_FALL = 0.1  # share of the start: a loss that fell less is flat
AT_CHANCE = (0.9, 1.2)  # times chance, where a model is that knows nothing


def relative_fall(c: CurveStats) -> float:
    """(start − final) / |start|; negative when it rose, 0 when it started at 0. Of a loss that cannot fall below −1 the share of the way
    there, from its first record on, for its floor is soon reached."""
    if c.floor < 0:
        began = max(c.start, c.first)
        return (began - c.final) / (began - c.floor) if began > c.floor else 0.0
    return (c.start - c.final) / abs(c.start) if c.start else 0.0


SCORES = ("train/accuracy", "train/f1", "train/score", "train/auc", "val/accuracy", "val/f1", "val/score", "val/auc")
RISING = 0.5  # Kendall's tau
ROSE = 0.05  # of a score from 0 to 1, over the run
MANY_RECORDS = 30


def risen_score(e: Evidence) -> CurveStats | None:
    """An accuracy or a score that rose steadily and by much, whatever the loss did, which may be a sum of several."""
    for name in SCORES:
        c = e.curve(name)
        if c is None or c.finite < MANY_RECORDS or c.trend is None or c.trend.tau < RISING or c.trend.p_value > 1e-6:
            continue
        if c.final - c.start > ROSE * whole(c):
            return c
    return None


def loss_is_flat(e: Evidence) -> bool:
    """The training loss is about where it began, or about where a model that knows nothing is. Without a loss: the reward never rose."""
    c, reward = loss_curve(e), e.curve("reward")
    if c is None and reward is not None:
        return reward.final - reward.start < max(SCATTER * reward.noise, LITTLE_FALL * abs(reward.start))
    if c is None or c.finite < 2:
        return False
    level = to_chance(e, c.final)
    return relative_fall(c) < LITTLE_FALL or (level is not None and AT_CHANCE[0] < level < AT_CHANCE[1])


def validation_level(e: Evidence) -> float | None:
    """Final validation loss / chance. Where the number of classes is not known, a classifier has at least two."""
    c = e.curve("val/loss")
    if c is None:
        return None
    level = to_chance(e, c.final)
    if level is None and e.family == "classifier" and e.chance.loss is None and 0 <= c.final < TINY:
        return c.final / math.log(2)
    return level


def level_of_ranking(area: float) -> float:
    """× ln 2: the cross-entropy of a model of two classes that knows how sure it may be, by its area under the curve (0.5 to 1).

    Of two equally frequent classes whose scores are normal with one variance (the binormal model: Green and Swets 1966): the log-odds of a
    sample of one of them are normal with mean d²/2 and variance d², d = √2 Φ⁻¹(area). Where one class is rare the loss is lower.
    """
    d = math.sqrt(2.0) * NormalDist().inv_cdf(area)
    steps = [(k + 0.5) / SLICES for k in range(SLICES)]
    odds = [d * d / 2 + d * NormalDist().inv_cdf(p) for p in steps]
    return sum(math.log1p(math.exp(-z)) for z in odds) / SLICES / math.log(2)
