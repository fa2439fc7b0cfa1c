"""A cross-entropy that was given probabilities: what it is can be told from how often the model is right."""

from dataclasses import dataclass
from math import exp, log

from postmortem.check import Evidence, Sighting, say
from postmortem.checklist.levels import course, whole
from postmortem.checklist.signs import from_the_start

EULER = exp(1.0)
LATE = 0.5  # of the records
EXACT, NEAR = 5e-3, 0.04  # nats
APART = 0.02  # between the accuracies of training and validation: two points make a line
FEW_CLASSES, WRONG = 12, 0.25  # classes; nats above what a model that is right as often and knows it has
BEGINS = (0.8, 1.15)  # × ln C: the first record
RECORDS = 4
MANY, BETTER = 1000, 0.1  # classes, from which the loss hardly depends on the accuracy; accuracy above that of a guess


def honest(right: float, classes: int) -> float:
    """Cross-entropy in nats of a model that is right in this share of cases and always equally sure of it."""
    wrong = 1 - right
    return -(right * log(right) if right > 0 else 0.0) - (wrong * log(wrong / (classes - 1)) if wrong > 0 and classes > 1 else 0.0)


@dataclass(frozen=True)
class Doubled:
    classes: int
    off: float  # nats between the losses and those of certain answers
    loss: float
    right: float  # accuracy


def doubled_softmax(e: Evidence) -> Doubled | None:
    """Probabilities of 0 and 1 taken for logits cost ln(C − 1 + e) less 1 where they are right: the loss is ln(C − 1 + e) − accuracy, and
    stands there.

    Either this holds to `EXACT` for a number of classes that is known, for training and validation that are right in different shares; or it
    holds nearly, for a small number of classes (the one that fits best where nothing states it), and the loss far exceeds what such an accuracy
    allows. Never with smoothed labels, whose loss has a floor of its own.
    """
    sums: list[float] = []
    ends: list[tuple[float, float]] = []
    for split in ("train", "val"):
        losses = e.series.get(f"{split}/loss.epoch") or e.series.get(f"{split}/loss")
        answers, curve = e.series.get(f"{split}/accuracy"), e.curve(f"{split}/accuracy")
        if losses is None or answers is None or curve is None or len(answers) < RECORDS or not curve.finite:
            return None
        late = [float(s) for s in answers.steps[int(LATE * len(answers)) :]]
        known = [(a, b / whole(curve)) for a, b in zip(e.at_each(losses.name, late), e.at_each(answers.name, late), strict=False)]
        if not known:
            return None
        ends.append(known[-1])
        sums += [a + b for a, b in known]
    if e.number("label_smoothing") or min(sums) <= 1.0 or max(sums) > log(MANY):
        return None
    classes = e.chance.classes or round(exp(sum(sums) / len(sums)) + 1 - EULER)
    (loss, right), (_, held) = ends
    if classes < 2 or min(right, held) < 1 / classes + BETTER:
        return None
    off = max(abs(s - log(classes - 1 + EULER)) for s in sums)
    exact = e.chance.classes is not None and off < EXACT and (abs(right - held) > APART or min(right, held) > 1 - APART)
    contradicted = off < _near(e, classes) and loss > honest(right, classes) + WRONG
    return Doubled(classes, off, loss, right) if exact or contradicted else None


def _near(e: Evidence, classes: int) -> float:
    """How far the sums may lie off for a few classes; 0 for more. Without a stated number of classes they have to lie nearer to this one than to
    its neighbours by far, and the loss has to begin where a guess among so many would."""
    if classes > FEW_CLASSES:
        return 0.0
    if e.chance.classes:
        return NEAR
    first = e.curve("train/loss")
    begins = first is not None and BEGINS[0] < first.first / log(classes) < BEGINS[1]
    return min(NEAR, log(1 + 1 / (classes - 1 + EULER)) / 4) if begins else 0.0


def given_probabilities(e: Evidence) -> Sighting | None:
    """The sighting of it."""
    found, loss = doubled_softmax(e), course(e)
    if found is None or loss is None:
        return None
    summary = say(
        "The loss of {loss:.4g} at {right:.1%} of right answers is ln({classes} − 1 + e) − accuracy: what a softmax makes of probabilities.",
        loss=found.loss,
        right=found.right,
        classes=found.classes,
    )
    return from_the_start(e, "contradiction", summary, loss.name, "val/accuracy")
