"""What a model that knows nothing would score, and how that is known."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from postmortem.measure.words import words_of
from postmortem.model.curves import Chance, CurveStats
from postmortem.model.run import Reduction, Series, Setting
from postmortem.model.tensors import ModelFacts

Basis = Literal["head", "configuration", "dataset", "first-loss", "target-variance", "explained-variance", ""]

UNKNOWN = Chance(loss=None, accuracy=None, classes=None, basis="")
FIRST_LOSS = 0.01  # relative distance at which a first loss is ln C
NEAR = 0.25  # relative distance at which an unnamed loss looks like cross-entropy over the head's outputs
RATHER = {11: 10}  # an untrained model of ten classes begins a little above ln 10 far more often than there are eleven
SMALL = 20  # classes up to which ln C and ln (C + 1) are further apart than 1 %
COMMON = (
    32,
    37,
    50,
    64,
    100,
    101,
    102,
    196,
    200,
    256,
    365,
    1000,
    21841,
    30522,
    32000,
    32768,
    50257,
    50304,
    50265,
    65536,
    100277,
    128256,
    151936,
    250002,
)

# Classes of data sets that a configuration names. Only those of which there is one usual number.
DATASETS = {
    "mnist": 10, "fashionmnist": 10, "kmnist": 10, "qmnist": 10, "cifar10": 10, "cifar100": 100, "svhn": 10, "stl10": 10, "eurosat": 10,
    "cinic10": 10, "imagenet": 1000, "imagenet1k": 1000, "ilsvrc2012": 1000, "imagenet100": 100, "imagenette": 10, "imagewoof": 10,
    "tinyimagenet": 200, "imagenet21k": 21841, "places365": 365, "food101": 101, "flowers102": 102, "oxfordpets": 37, "oxfordiiitpet": 37,
    "cub200": 200, "gtsrb": 43, "usps": 10, "digits": 10, "iris": 3, "wine": 3, "breastcancer": 2, "covtype": 7, "20newsgroups": 20, "agnews": 4,
    "imdb": 2, "sst2": 2, "sst5": 5, "cola": 2, "mrpc": 2, "qqp": 2, "mnli": 3, "snli": 3, "qnli": 2, "rte": 2, "wnli": 2, "yelppolarity": 2,
    "yelpreviewfull": 5, "amazonpolarity": 2, "dbpedia14": 14, "trec6": 6, "ucf101": 101, "hmdb51": 51, "kinetics400": 400, "esc50": 50,
    "urbansound8k": 10, "modelnet40": 40, "modelnet10": 10, "shakespearechar": 65,
}  # fmt: skip

BOTH = 0.02  # relative distance of a first loss from ln C, when the first accuracy agrees
FAR_FROM_GUESSING = 0.25  # above 1 / C
ALIKE = 0.08  # distance of the first accuracy from 1 / C
KNOWS = 0.68  # accuracy that goes with a cross-entropy of ln 2 over several classes
RESTS = 0.5  # share of the run that a loss stands still
AT_REST = 8  # evaluations of an accuracy at rest
STANDS = 4  # evaluations of an accuracy that is always the same: that of one class
ONE_CLASS = 1e-3  # range of an accuracy that stands still, however it was printed
LEANING = 0.05  # relative distance of a loss at rest from ln C: classes of unequal size are guessed a little better than that
GUESSING = 0.02  # accuracy below which only guessing among very many classes is left
SAME = 0.03  # relative distance of loss / (1 − R²) of one evaluation from that of another
SETTLED = 0.008  # relative distance of a loss at rest from ln C
AROUND_GUESSING = 0.05  # relative distance of the end from ln C
STANDARDISED = (0.4, 2.5)  # first squared errors that speak for a standardised target
MOST_CLASSES = 1000  # outputs of a head that are taken for classes when the first loss is high enough for it
ABSURD = 12.0  # nats; ln 150,000
KNOWS_NOTHING = 4.0  # nats; what was trained on text before begins below
MISTAKEN, IMPOSSIBLE = 0.2, 0.9  # share of wrong answers from which their price can be told; × ln 2 each
COMES_DOWN = 1.5  # times ln C
HIGH_FIRST = 0.6  # times ln C
_NOT_ENTROPY = frozenset(
    words_of("mse l1 l2 mae huber smoothl1 hinge focal triplet contrastive margin dice elbo wasserstein ctc kl dpo cosine arcface infonce")
)
_BEFORE = frozenset({"pretrained", "lora", "peft", "finetune", "from"})  # `init_from`, `model_name_or_path` of another training
_EMBEDDED = ("embedding", "embed", "emb", "latent", "projection", "proj", "feature", "features")
_BINARY = frozenset(words_of("bce binary bcewithlogits sigmoid"))
_CLASSIFYING = ("classifier", "language-model", "segmentation")


def chance(
    model: ModelFacts,
    settings: Sequence[Setting],
    train_loss: CurveStats | None,
    val_accuracy: CurveStats | None = None,
    family: str = "",
    *,
    train_accuracy: CurveStats | None = None,
    framework: str = "",
    parts: int = 0,
    val_loss: CurveStats | None = None,
    val_f1: CurveStats | None = None,
    val_auc: CurveStats | None = None,
    scored: Iterable[tuple[Series | None, Series | None]] = (),
    transcribes: bool = False,
) -> Chance:
    """Chance level of the loss (ln C, nats) and the accuracy (1 / C); every field None where it cannot be told.

    C comes from the configuration, the head's outputs, a named data set or a first loss that is ln C, in this order; `basis`
    says which. fairseq reports losses in bits: there it is log2 C. A regression's level is known only when the configuration
    says that targets were standardised (their variance, 1, for a squared error), or by `scored`: pairs of a loss and the R² of the same
    split. `parts` is the number of losses that are logged
    beside the loss: a sum of several that does not begin near ln C has no level that could be known. `train_accuracy` says whether
    the model was guessing when the first loss was logged; `val_auc`, an area under the curve, that there are two classes. `transcribes` says
    that an error rate of characters or words was logged: there a loss that begins far above ln C is summed over an alignment.
    """
    loss_words = _loss_words(settings)
    if family == "regression":
        variance = next((v for loss, r2 in scored if (v := _variance(loss, r2)) is not None), None)
        if variance is not None:
            return Chance(loss=variance, accuracy=None, classes=None, basis="explained-variance")
        return _regression(settings, loss_words, train_loss)
    if family not in (*_CLASSIFYING, ""):
        return UNKNOWN
    classes, basis = _classes(model, settings, train_loss, val_accuracy, family)
    if (
        classes != 2
        and basis != "configuration"
        and family == "classifier"
        and train_loss is not None
        and val_accuracy is not None
        and _yes_or_no(train_loss, val_accuracy)
    ):
        return Chance(loss=math.log(2), accuracy=None, classes=classes, basis="first-loss")
    if _two_ranked(train_loss, val_auc, known=classes is not None):
        return Chance(loss=math.log(2), accuracy=None, classes=2, basis="first-loss")
    for loss_of, right in ((train_loss, train_accuracy), (val_loss, val_accuracy)):
        if classes is None and right is not None:
            classes, basis = _both_say(loss_of, right), "first-loss"
    if classes is None and family == "language-model":
        return _of_first_text(settings, train_loss, val_loss)
    if classes is None or (basis == "first-loss" and _knew(classes, train_loss, train_accuracy)):
        return UNKNOWN
    if basis == "head" and any(_no_entropy(classes, loss_of, right) for loss_of, right in ((train_loss, train_accuracy), (val_loss, val_accuracy))):
        return UNKNOWN
    if transcribes and train_loss is not None and train_loss.first > COMES_DOWN * math.log(classes):
        return UNKNOWN
    if basis == "first-loss" and _trained_before(settings) and _answers(classes, train_loss, val_accuracy):
        return UNKNOWN
    entropy = math.log(classes)
    loss: float | None = entropy
    other = bool(loss_words & _NOT_ENTROPY) or (train_loss is not None and train_loss.floor < 0)  # no cross-entropy comes to rest below 0
    if loss_words & _BINARY:
        loss = math.log(2)
    elif other or framework == "marian":  # marian prints a sum over the words of a sentence
        loss = None
    elif framework == "fairseq" and not (train_loss is not None and _near(train_loss.first, entropy, NEAR)):
        loss = math.log2(classes)  # in bits, but for what only looks like fairseq's log
    elif parts > 1 and train_loss is not None and not _near(train_loss.first, entropy, NEAR):
        loss = None
    elif basis == "head" and (_many_labels(classes, train_loss, val_accuracy) or _nothing_but_no(classes, val_accuracy, val_f1)):
        return Chance(loss=math.log(2), accuracy=None, classes=classes, basis=basis)
    return Chance(loss=loss, accuracy=1 / classes, classes=classes, basis=basis)


def _two_ranked(loss: CurveStats | None, auc: CurveStats | None, *, known: bool) -> bool:
    """Two classes are told apart, whatever the configuration counts: an area under the curve is logged, and the first loss is ln 2, or,
    where nothing tells how many there are, far beyond any number of classes."""
    if loss is None or auc is None or not auc.finite or loss.floor < 0:
        return False
    return _near(loss.first, math.log(2), LEANING) or (not known and loss.first > ABSURD)


def _yes_or_no(loss: CurveStats, accuracy: CurveStats) -> bool:
    """Several questions at once, and always the same answers: a loss at rest at ln 2, and an accuracy that never changes."""
    same = accuracy.finite >= STANDS and accuracy.highest - accuracy.lowest < ONE_CLASS
    return same and loss.plateau_share > RESTS and abs(loss.final / math.log(2) - 1) < SETTLED


def _nothing_but_no(outputs: int, accuracy: CurveStats | None, f1: CurveStats | None) -> bool:
    """Each output answers a question of its own: an F1 of 0 beside an accuracy of more than a half is that of answering each with no."""
    if outputs < 3 or accuracy is None or f1 is None or not accuracy.finite or not f1.finite or f1.zeros == 0:
        return False
    return f1.lowest == 0 and accuracy.lowest / _all_right(accuracy) > 0.5


def _of_first_text(settings: Sequence[Setting], train: CurveStats | None, val: CurveStats | None) -> Chance:
    """Chance of a language model whose vocabulary nothing tells: its loss before its first step, nats, where that is higher than that of any
    model that knows some language."""
    curves = ((val, 0), (train, 0 if train is not None and train.reduction is Reduction.EPOCH else 1))  # a mean over an epoch is of what it learned
    first = next((c.first for c, step in curves if c is not None and c.finite and c.first_step <= step), math.nan)
    return UNKNOWN if _trained_before(settings) or not first > KNOWS_NOTHING else Chance(loss=first, accuracy=None, classes=None, basis="first-loss")


def _trained_before(settings: Sequence[Setting]) -> bool:
    """The configuration names what training went on from."""
    return any(set(words_of(s.key)) & _BEFORE and s.value not in (None, False, "", "scratch", "None") for s in settings)


def _knew(classes: int, loss: CurveStats | None, accuracy: CurveStats | None) -> bool:
    """The first record of the loss has an accuracy beside it that is no guess: that it is ln C is an accident."""
    if loss is None or accuracy is None or not accuracy.finite or accuracy.first_step != loss.first_step:
        return False
    return accuracy.first / _all_right(accuracy) > 1 / classes + FAR_FROM_GUESSING


def _compares(settings: Sequence[Setting], outputs: int) -> bool:
    """The outputs are an embedding whose distances are compared: as wide as the configuration says that it is, beside a margin."""
    keys = {word: s.value for s in settings for word in words_of(s.key)}
    return "margin" in keys and any(_whole(keys.get(word)) == outputs for word in _EMBEDDED)


def _no_entropy(classes: int, loss: CurveStats | None, accuracy: CurveStats | None) -> bool:
    """Far below ln C from the start, and a wrong answer, which got at most half of the probability, costs at least ln 2: a mean below
    (1 − accuracy) · ln 2 is no cross-entropy."""
    if loss is None or accuracy is None or not accuracy.finite or loss.non_finite is not None or loss.lowest < 0:
        return False
    if loss.first > HIGH_FIRST * math.log(classes):
        return False
    wrong = 1 - accuracy.final / _all_right(accuracy)
    return wrong > MISTAKEN and loss.final < IMPOSSIBLE * wrong * math.log(2)


def _answers(classes: int, loss: CurveStats | None, accuracy: CurveStats | None) -> bool:
    """From its first evaluation on it answers better than a guess does, at a loss that hardly changed: what it had learned before is at ln C."""
    if loss is None or accuracy is None or not accuracy.finite or abs(loss.final / math.log(classes) - 1) > AROUND_GUESSING:
        return False
    return accuracy.first / _all_right(accuracy) > 1 / classes + ALIKE


def _many_labels(outputs: int, loss: CurveStats | None, accuracy: CurveStats | None) -> bool:
    """Each output answers a question of its own: the first loss is that of guessing between two, and nothing was known then."""
    if outputs < 3 or loss is None or not _near(loss.first, math.log(2), LEANING):
        return False
    return accuracy is None or not accuracy.finite or accuracy.first < KNOWS


def _classes(
    model: ModelFacts, settings: Sequence[Setting], loss: CurveStats | None, accuracy: CurveStats | None, family: str
) -> tuple[int | None, Basis]:
    asked = "vocabulary" if family == "language-model" else "classes"
    count = _whole(next((s.value for s in settings if s.name == asked), None))
    if count is not None and count >= 1:
        return max(count, 2), "configuration"
    if model.outputs is None:  # no checkpoint tells, and the log may hold the printed model
        model = replace(model, outputs=_whole(next((s.value for s in settings if s.name == "outputs"), None)))
    if model.outputs is not None and model.outputs >= 1 and not _compares(settings, model.outputs):
        told = family in _CLASSIFYING or accuracy is not None
        outputs = max(model.outputs, 2)
        level = math.log(outputs)
        width = _whole(next((s.value for s in settings if s.name == "model_width"), None))
        near = loss is not None and model.outputs > 1 and (_near(loss.start, level, NEAR) or _near(loss.first, level, NEAR))
        # thrown at the start, a cross-entropy comes down to about guessing; one that never does is another loss
        thrown = loss is not None and loss.first > HIGH_FIRST * level and loss.best < COMES_DOWN * level
        guessing = loss is not None and abs(loss.final / level - 1) < AROUND_GUESSING  # where it came down to
        high = 2 < model.outputs <= MOST_CLASSES and family == "" and thrown and guessing
        if told or ((near or high) and model.outputs != width):  # an embedding is as wide as the model
            return (2 if model.outputs == 1 else outputs), "head"
    named = next((classes_named(str(s.value)) for s in settings if s.name == "dataset" and isinstance(s.value, str)), None)
    if named is not None and (family != "" or accuracy is not None):
        return named, "dataset"
    if loss is not None and accuracy is not None and _one_of_two(accuracy) and _near(loss.final, math.log(2), LEANING):
        return 2, "first-loss"
    read_before = family == "language-model" and _trained_before(settings)  # a new head guesses; the head of a model of language does not
    if loss is not None and loss.reduction in (Reduction.STEP, Reduction.UNKNOWN) and loss.first_step <= 1 and family != "" and not read_before:
        for count in (*range(2, SMALL + 1), *COMMON):
            if _near(loss.first, math.log(count), FIRST_LOSS):
                return RATHER.get(count, count), "first-loss"
    rests = accuracy is not None and (accuracy.finite >= AT_REST or (accuracy.finite >= STANDS and accuracy.highest - accuracy.lowest < ONE_CLASS))
    if loss is not None and accuracy is not None and rests and loss.plateau_share > RESTS:
        both = (c for c in range(2, SMALL + 1) if _near(loss.final, math.log(c), LEANING) and abs(accuracy.final - 1 / c) < ALIKE)
        final = loss.final  # at rest, both say that nothing is known
        if (count := min(both, key=lambda c: abs(final - math.log(c)), default=None)) is not None:
            return RATHER.get(count, count), "first-loss"
    if accuracy is not None and (count := _both_say(loss, accuracy)) is not None:
        return count, "first-loss"
    if loss is not None and loss.finite >= 4 and accuracy is not None and accuracy.finite and accuracy.highest < GUESSING:
        for count in COMMON:  # accuracy of nearly 0 beside a loss that came to rest at ln C
            if _near(loss.last, math.log(count), SETTLED):
                return count, "first-loss"
    return None, ""


def _one_of_two(accuracy: CurveStats) -> bool:
    """The accuracy is the share of one class, or that of the other one, in each evaluation: two classes, and always the same answer."""
    if accuracy.finite < STANDS or not accuracy.highest < 1.0:
        return False
    return abs(accuracy.highest + accuracy.lowest - 1) < ONE_CLASS and accuracy.highest < 0.5 + ALIKE and accuracy.distinct <= 4


def _both_say(loss: CurveStats | None, accuracy: CurveStats) -> int | None:
    """The number of classes for which the first loss is ln C and the first accuracy 1/C; None when they do not agree."""
    share = accuracy.first / _all_right(accuracy)
    if loss is None or not accuracy.finite or not 0 < share < 1:
        return None
    alike = (c for c in range(2, SMALL + 1) if _near(loss.first, math.log(c), BOTH) and abs(share - 1 / c) < min(ALIKE, 0.5 / c))
    found = next(alike, None)
    return None if found is None else RATHER.get(found, found)


def classes_named(name: str) -> int | None:
    """Classes of a named data set; the last part of a path or hub name, without its punctuation."""
    leaf = name.lower().replace("\\", "/").rstrip("/").rpartition("/")[2]
    return DATASETS.get("".join(c for c in leaf if c.isalnum()))


def _loss_words(settings: Sequence[Setting]) -> frozenset[str]:
    value = next((s.value for s in settings if s.name == "loss" and isinstance(s.value, str)), "")
    words = words_of(str(value))
    return frozenset((*words, "".join(words), *(w.removesuffix("loss") for w in words))) - {""}


def _regression(settings: Sequence[Setting], loss_words: frozenset[str], loss: CurveStats | None) -> Chance:
    standard = False
    for setting in settings:
        words = set(words_of(setting.key))
        about = bool(words & {"target", "targets", "label", "labels", "y"})
        how = bool(words & {"standardize", "standardise", "standardized", "standardised", "normalize", "normalized", "scaler", "scaled"})
        standard |= about and how and (setting.value is True or str(setting.value).lower() in ("standard", "standardscaler", "zscore", "true", "1"))
    squared = not loss_words or bool(loss_words & {"mse", "l2", "mseloss", "squared"})
    if squared and not standard and loss is not None and STANDARDISED[0] < loss.first < STANDARDISED[1]:
        # an untrained network answers about 0, so its first squared error is the mean square of the target: 1 when standardised
        return Chance(loss=1.0, accuracy=None, classes=None, basis="first-loss")
    return Chance(loss=1.0 if standard and squared else None, accuracy=None, classes=None, basis="target-variance" if standard and squared else "")


def _variance(loss: Series | None, r2: Series | None) -> float | None:
    """Loss of the best constant answer: R² = 1 − loss / variance for a squared error, so loss / (1 − R²) is the same in each evaluation.
    None where it is not (another loss), and below two evaluations."""
    if loss is None or r2 is None:
        return None
    at: dict[float, float] = dict(zip(loss.steps.tolist(), loss.values.tolist(), strict=True))
    shares = ((at.get(step), 1.0 - share) for step, share in zip(r2.steps.tolist(), r2.values.tolist(), strict=True))
    found: list[float] = sorted(value / left for value, left in shares if value is not None and math.isfinite(value) and left > SAME)
    if len(found) < 2 or not found[0] > 0 or found[-1] > (1 + SAME) * found[0]:
        return None
    return found[len(found) // 2]


def _all_right(accuracy: CurveStats) -> float:
    """What an accuracy is when every answer is right: 100 where it is logged in per cent."""
    return 100.0 if accuracy.highest > 1.5 else 1.0


def _near(value: float, target: float, share: float) -> bool:
    return math.isfinite(value) and abs(value - target) <= share * target


def _whole(value: object) -> int | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number == int(number) and not isinstance(value, bool) else None
