"""The loss that a run of a family should come down to, times chance: above it, it has learned too little."""

from postmortem.check import Evidence
from postmortem.checklist.causes.bad_initialization import unusual_scheme
from postmortem.checklist.causes.clipping_too_tight import TIGHT
from postmortem.checklist.causes.too_much_regularization import strong_decay
from postmortem.checklist.causes.wrong_loss import UNSURE
from postmortem.checklist.falls import falls_to_the_end, hardly_begun, steepness
from postmortem.checklist.inputs import stated_raw
from postmortem.checklist.levels import course, of_letters, to_attainable, to_chance, whole
from postmortem.checklist.optimizers import clip_norm, rate_decades
from postmortem.checklist.parameters import is_narrow
from postmortem.checklist.rates import decades_of_its_kind, pretrained, state_alone
from postmortem.checklist.softmaxes import honest
from postmortem.model.curves import CurveStats

HIGH = 0.5  # times chance; healthy runs end at 0.47 and less
REGRESSION = 0.6  # times the target's variance: noise in the target leaves half of it in many data sets
EXPLAINED_CLASSES = 0.35  # times chance, where rate, width or dropout explain that little was learned
EXPLAINED_REGRESSION = 0.3  # the same where rate, width or dropout explain that little was learned
EVALUATED = 5  # evaluations
LOW = -0.9  # decades from the usual rate
STEEP = 1.0  # natural logarithms per length of the run
WELL_ABOVE, A_PART = 1.15, 0.15  # times chance; share of the records
HARDER = -0.2  # ln(validation / train)
STARTED = 1.2  # × its first record: what goes beyond is no regularisation
MANY_LABELS = 0.8  # times ln 2: labels that are seldom true are half known from their frequency, and half may be noise
MANY_LABELS_EXPLAINED = 0.7  # the same where rate, width or dropout explain that little was learned
MANY_CLASSES = 30  # outputs from which the limit is that of language: tokens, or fine classes, of which half is hard to know
LANGUAGE = 0.76  # times ln(vocabulary): short healthy runs end at 0.62, the unigram level of text lies at 0.6 to 0.75
PAIRS, AT_REST = 2.4, 0.5  # nats: knowing which letter follows which gives 2.4 to 2.5 in text and code; share of the run at the same level
PAIRS_SOON, STEPS = 2.6, 500.0  # nats: the same batch by batch, within so many steps
FREQUENCIES, ENDED = 2.75, 0.1  # nats: knowing how frequent each letter is gives 2.8 to 2.9 in text; of the highest rate
EXPLAINED = 0.55  # the same where the configuration itself explains why little was learned
ABSURD, KNOWN = 5.0, ("head", "configuration", "dataset")  # times chance
OF_TWO, HARDLY_LEARNED = 1.15, 0.93  # × the loss of a model that knows how sure it may be: weighted classes cost more; times chance
TOGETHER = 0.35  # |ln(validation / train)|


def limit(e: Evidence) -> float:
    """Times chance: from there on a model of this family has learned too little, sooner where its settings explain it."""
    if e.chance.accuracy is None and (e.chance.classes or 0) > 2:
        return MANY_LABELS_EXPLAINED if explained(e) else MANY_LABELS
    if hardly_begun(e):
        return EXPLAINED_CLASSES
    little = explained(e)
    language = EXPLAINED if little else LANGUAGE
    chance, loss = e.chance.loss, course(e)
    if of_letters(e) and chance and loss is not None and (little or loss.plateau_share > AT_REST):
        pairs = PAIRS if (e.last_step or 0.0) >= STEPS else PAIRS_SOON
        # where the rate has come to its end, a model rests wherever it stands
        ended = e.schedule is not None and e.schedule.source == "logged" and e.schedule.final < ENDED * e.schedule.peak
        return min(language, (FREQUENCIES if ended and not little else pairs) / chance)
    if e.family == "regression":
        return EXPLAINED_REGRESSION if little else REGRESSION
    if e.family == "language-model" or (e.chance.classes or 0) >= MANY_CLASSES:
        return language
    return EXPLAINED_CLASSES if little else HIGH


def attained(e: Evidence, loss: CurveStats) -> float | None:
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


def explained(e: Evidence) -> bool:
    """By a setting, by how it began or by how it went: little can have been learned."""
    return _by_a_setting(e) or _began_absurdly(e) or slow(e) or _long_above_guessing(e) or steepness(e) > STEEP or hardly_begun(e)


def _by_a_setting(e: Evidence) -> bool:
    """A rate, a width, a dropout, a decay, a clip norm or inputs with which little can be learned."""
    clip = clip_norm(e)
    extreme = abs(decades_of_its_kind(e) or 0.0) >= 1.3 or (e.number("dropout") or 0.0) > 0.65 or (clip is not None and clip < TIGHT)
    return extreme or is_narrow(e) or strong_decay(e) or stated_raw(e) is not None or unusual_scheme(e) is not None


def slow(e: Evidence) -> bool:
    """With a tenth of the usual learning rate, or less, the loss falls to the last record."""
    return (rate_decades(e) or 0.0) <= LOW and falls_to_the_end(e) and not pretrained(e)


def _long_above_guessing(e: Evidence) -> bool:
    """After its first record the loss lay well above guessing for a part of the run: something threw it, and what time was left was not enough."""
    means = course(e)
    if means is None or means.finite < EVALUATED or not e.chance.loss or (means.first > WELL_ABOVE * e.chance.loss):
        return False
    values = e.series[means.name].values[1:]
    return float((values > WELL_ABOVE * e.chance.loss).mean()) > A_PART


def _began_absurdly(e: Evidence) -> bool:
    """The first loss is many times that of guessing: sure of what it could not know, by its weights or by its inputs."""
    loss = course(e)
    return loss is not None and bool(e.chance.loss) and e.chance.basis in KNOWN and loss.first > ABSURD * (e.chance.loss or 0.0)


def as_sure_as_right(e: Evidence, loss: CurveStats) -> bool:
    """The loss is no higher than that of a model which is right as often and knows how often it is: on training data, else on validation data."""
    right, classes = e.curve(loss.name.replace("/loss.epoch", "/accuracy").replace("/loss", "/accuracy")), e.chance.classes
    if (right is None or not right.finite) and not ahead(e):
        loss, right = e.curve("val/loss") or loss, e.curve("val/accuracy")
    if right is None or not right.finite or not classes:
        return False
    return loss.final <= (OF_TWO if classes == 2 else UNSURE) * honest(right.final / whole(right), classes)


def may_be_noise(e: Evidence, loss: CurveStats, level: float) -> bool:
    """Of two classes, or of more by a model that was trained before, that many data sets cannot tell apart for sure: some is learned, and the loss
    is what it makes of a model that knows how sure it may be, as far as nothing explains that more was not."""
    noisy = e.chance.classes == 2 or (pretrained(e) and not state_alone(e) and e.chance.accuracy is not None)
    return noisy and level < HARDLY_LEARNED and not explained(e) and as_sure_as_right(e, loss)


def ahead(e: Evidence) -> bool:
    """Training is ahead of validation: the model is not too weak for the training set."""
    return e.gap is not None and e.gap.gap > TOGETHER
