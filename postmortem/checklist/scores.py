"""Scores of validation that show by themselves that its answers are worth nothing: no object found, a ranking like a coin's, no overlap."""

import re

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.checklist.beside import EVALUATIONS
from postmortem.checklist.levels import training_curves, whole
from postmortem.checklist.signs import excerpt, file_of

PRECISION = re.compile(r"(?:^|[^a-z])m?AP(?:[^a-z]|$)|average precision", re.IGNORECASE)  # `AP`, `bbox_mAP_50`, `metrics/mAP50`
SCORES = ("val/score", "test/score", "train/score")
OVERLAP = re.compile(r"dice|iou|jaccard", re.IGNORECASE)
COMES_DOWN, A_COIN, ROSE_ABOVE = 0.4, 0.04, 0.3  # of the training loss; around half; ln(validation / train)
SEVERAL, A_TENTH, A_FEW_EPOCHS = 5, 0.1, 12.0  # evaluations; of where the training loss began; epochs
KNOWN, LITTLE_LEFT, NATS, NEXT_TO_NONE = 0.9, 0.3, 1.5, 0.12  # of the answers; nats of training, of validation; of the answers
LITTLE, HARDLY = 0.35, 0.1  # of a perfect score; between its first and its best
BY_STEP, BY_EPOCH = 1000.0, 3.0  # before, a detector may well find nothing yet


def finds_nothing(e: Evidence) -> Sighting | None:
    """Every average precision of every evaluation is 0, or −1, which says that there was nothing to find. Of a training that has hardly begun 0 says
    nothing; of an evaluation that was logged alone it does."""
    name = next((n for n in SCORES if e.curve(n) is not None and PRECISION.search(e.series[n].logged_as)), None)
    if name is None:
        return None
    found = [name, *(n for n in e.curves if n.startswith("other/") and PRECISION.search(n.removeprefix("other/")))]
    if any(e.curves[n].finite == 0 or e.curves[n].highest > 0.0 for n in found):
        return None
    score, loss = e.curves[name], e.curve("train/loss")
    trained = loss is None or (loss.last_step if e.axis == "step" else 0.0) >= BY_STEP or (e.last_epoch or 0.0) >= BY_EPOCH
    no_truth = score.highest < 0.0
    if not (trained or no_truth):
        return None
    logged = e.series[name].logged_as
    told = (
        say("{name} is −1 in all evaluations: by that the evaluator says that it found no truth to compare with.", name=logged)
        if no_truth
        else say("{name} is 0 in all {n} evaluations: not one of the boxes meets a true one.", name=logged, n=score.finite)
    )
    return Sighting(Severity.SERIOUS, told, score.first_step, score.first_step, (name, "train/loss"), file_of(e, name), "finds-nothing")


def ranks_nothing(e: Evidence) -> Sighting | None:
    """The area under the curve of validation is that of a coin, to the end, while training came down by much."""
    ranks, loss = e.curve("val/auc"), next(iter(training_curves(e)), None)
    if ranks is None or loss is None or ranks.finite < 2 or not loss.relative_gain > COMES_DOWN or loss.finite < EVALUATIONS:
        return None
    auc = ranks.final / whole(ranks)
    if not abs(auc - 0.5) < A_COIN or (e.gap is not None and e.gap.gap < ROSE_ABOVE):
        return None
    return Sighting(
        Severity.SERIOUS,
        say("Training loss fell by {fall:.0%}, and validation ends with an area under the curve of {auc:.3f}: that of a coin.", fall=loss.relative_gain, auc=auc),
        ranks.first_step, ranks.first_step, ("train/loss", "val/auc"), file_of(e, "val/auc"), "coin",
    )  # fmt: skip


def nothing_is_right(e: Evidence) -> Sighting | None:
    """In a piece from late in a training that knows nearly all of its answers, validation has next to none of them right, and its loss is high
    for that: what is learned by heart leaves more."""
    right = next((c for n in ("val/accuracy", "val/f1") if (c := e.curve(n)) is not None and c.finite), None)
    known, train, val = e.curve("train/accuracy"), next(iter(training_curves(e)), None), e.curve("val/loss")
    if right is None or train is None or not train.finite or not excerpt(e) or e.family == "language-model":
        return None
    share = right.highest / whole(right)
    learned = known.last > KNOWN * whole(known) if known is not None and known.finite else 0.0 <= train.last < LITTLE_LEFT
    wrong = share == 0.0 or (val is not None and val.finite and val.lowest > NATS and share < NEXT_TO_NONE)
    if not learned or not wrong:
        return None
    return Sighting(
        Severity.SERIOUS,
        say("Training is at a loss of {loss:.3g}, and {name} of validation is {share:.1%}: next to nothing of it holds there.",
            loss=train.last, name=e.series[right.name].logged_as, share=share),
        right.first_step, right.first_step, ("train/loss", right.name), file_of(e, right.name), "none-right",
    )  # fmt: skip


def overlaps_little(e: Evidence) -> Sighting | None:
    """Within a few epochs training came down to a tenth of where it began, and what the model marks in validation overlaps with the truth as little as
    at the first evaluation."""
    score, loss = e.curve("val/score"), next(iter(training_curves(e)), None)
    if score is None or loss is None or score.finite < SEVERAL or not OVERLAP.search(e.series["val/score"].logged_as):
        return None
    if not 0 < loss.final < A_TENTH * loss.start or (e.last_epoch or 0.0) > A_FEW_EPOCHS or score.highest > LITTLE * whole(score):
        return None
    if score.best - score.first > HARDLY * whole(score):
        return None
    return Sighting(
        Severity.SERIOUS,
        say("Training loss fell by {fall:.0%} within {epochs:.2g} epochs, and {name} went from {first:.3g} to {last:.3g}: nothing of it holds for validation.",
            fall=loss.relative_gain, epochs=e.last_epoch or 0.0, name=e.series["val/score"].logged_as, first=score.first, last=score.last),
        score.first_step, score.first_step, ("train/loss", "val/score"), file_of(e, "val/score"), "overlap",
    )  # fmt: skip
