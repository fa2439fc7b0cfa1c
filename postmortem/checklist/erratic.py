"""Validation that is thrown about from one evaluation to the next while training goes its way."""

from itertools import pairwise
from math import inf, log
from statistics import median

from postmortem.check import Sighting, say
from postmortem.checklist.beside import EVALUATIONS, Beside
from postmortem.checklist.levels import to_chance

WIDE = 1.0  # ln(validation / train)
ERRATIC = 0.5  # share of the evaluations
A_BREATH, A_MULTIPLE = 0.05, 1.0  # ln of an evaluation / the one before, usually
SMOOTH, A_QUARTER = 0.2, 0.25  # noise of the training loss, and the upper quarter of validation / where training began
RISES, SURELY = 0.25, 0.01  # Kendall's tau of validation after its best, and its p
RISEN = 0.15  # ln(validation / its best)
A_STEP_UP = 0.25  # of what validation rose by since its best: less than that is scatter about a new level
LEARNS = 0.1  # share of where training began


def erratic(b: Beside) -> Sighting | None:
    # worse than training ever was, where nobody knows how bad a guess would be
    high = (
        max(b.level, to_chance(b.e, b.val.halves.mean) or 0.0 if b.val.halves is not None else 0.0) > 0.5
        if b.level is not None
        else b.train is not None and b.usual > b.train.highest and not b.followed
    )
    if rises_for_good(b) or (b.gap.rise > RISEN and b.val.noise < A_STEP_UP * (b.val.final - b.val.best)):
        return None  # it jumps, and gets worse for good once it was best: that is overfitting
    if not (b.works and b.gap.evaluations >= 5 and b.gap.erratic > ERRATIC and _thrown_about(b, wide=b.gap.gap > WIDE and high)):
        return None
    return b.shows("erratic", say("Validation jumps from evaluation to evaluation while training falls smoothly."))


def _thrown_about(b: Beside, *, wide: bool) -> bool:
    """From one evaluation to the next validation usually changes by more than a breath, beside a wide gap; or, whatever the gap, to a multiple
    while training goes its way."""
    losses = [v for v in b.e.series["val/loss"].values.tolist() if 0.0 < v < inf]
    if len(losses) < EVALUATIONS or b.train is None:
        return wide
    usual = median(abs(log(after / before)) for before, after in pairwise(losses))
    often_high = sorted(losses)[3 * len(losses) // 4] > A_QUARTER * b.train.start
    smooth = b.train.noise < SMOOTH * b.train.start and b.train.net_change < -LEARNS and often_high
    return (wide and usual > A_BREATH) or (usual > A_MULTIPLE and smooth and b.gap.gap > 0)


def rises_for_good(b: Beside) -> bool:
    """From its best on validation gets worse, and not by accident."""
    rise = b.gap.validation_trend_after_best
    return rise is not None and rise.tau > RISES and rise.p_value < SURELY
