"""What several checks read off the evidence in the same way. Ratios and comparisons, no thresholds that decide."""

import math
from itertools import pairwise

from postmortem.check import Evidence, Sentence, Severity, Sighting
from postmortem.checklist.levels import loss_curve
from postmortem.model.curves import CurveStats
from postmortem.model.run import EventKind


def training_samples(e: Evidence) -> float | None:
    """Samples of the training set: as configured, else steps per epoch × batch size where steps are counted."""
    configured, batch = e.number("train_samples"), e.number("batch_size")
    if configured is not None or not batch or not e.steps_per_epoch or e.axis != "step":
        return configured
    return e.steps_per_epoch * batch


def warned(e: Evidence, about: str) -> bool:
    """A known warning stands in the log; `about` is the reader's word for it."""
    return any(ev.data.get("about") == about for ev in e.events_of(EventKind.WARNING))


def training_is_stated(e: Evidence) -> bool:
    """A configuration says how it was trained: what such a one does not name, was not used. A log's own few facts are none."""
    return any(e.setting(name) is not None for name in ("optimizer", "learning_rate", "weight_decay", "dropout"))


def half_is_stated(e: Evidence) -> bool:
    """The configuration states float16, which bfloat16 is not."""
    precision = e.setting("precision")
    return precision is not None and "16" in str(precision.value) and "bf" not in str(precision.value)


def excerpt(e: Evidence) -> bool:
    """The log begins in the middle of training: a piece of it that somebody pasted, or what one attempt wrote."""
    shown = loss_curve(e) or e.curve("reward")
    if shown is None:
        return False
    if shown.finite < FEW_OF_AN_ATTEMPT and _went_on(e):
        return True
    if e.first_step is None or not e.last_step or e.first_step < A_DISTANCE * (e.last_step - e.first_step) / max(shown.points - 1, 1):
        return False  # its first record is one distance from 0: each hundredth epoch is printed, say
    later = e.first_step > 5 or (e.axis == "epoch" and e.first_step > SEVERAL * (e.last_step - e.first_step) / max(shown.points - 1, 1))
    return (e.first_step > 0.3 * e.last_step and later and shown.points > 1) or (e.first_step > 2 * (e.steps_per_epoch or math.inf))


A_DISTANCE, SEVERAL = 1.2, 5.0  # of those between two records
FEW_OF_AN_ATTEMPT = 10  # records of what went on from an earlier attempt


def _went_on(e: Evidence) -> bool:
    """This attempt began where another one had been, and not at the beginning."""
    return any(before.first_step < own.first_step == e.first_step and own.last_step == e.last_step for before, own in pairwise(e.attempts))


def whole_run(e: Evidence) -> bool:
    """There is more than a log: checkpoints, configuration files or whatever else, so that this is a run's own directory."""
    return bool(e.saved) or len(e.sources) > 1 or any(s.file.endswith((".json", ".yaml", ".yml", ".toml")) for s in e.settings)


def before_it_grew(e: Evidence, loss: CurveStats) -> float:
    """The level from which a growth of the loss is counted: its first record or its first few, whichever is lower. In a piece of a
    log the first record alone is no level."""
    if loss.first <= 0 or excerpt(e):
        return loss.start
    return min(loss.start, loss.first)


def scales_of_overflows(e: Evidence) -> list[float]:
    """The loss scales that the notices of steps left out for an overflow tell, in their order."""
    return [float(s) for event in e.events_of(EventKind.OVERFLOW) if isinstance(s := event.data.get("scale"), int | float)]


def file_of(e: Evidence, name: str) -> str:
    """The file that a curve was read from."""
    series = e.series.get(name)
    return series.source if series is not None else ""


def from_the_start(e: Evidence, facet: str, summary: Sentence, *shown: str) -> Sighting:
    """A serious fault that was there from the first record of the first of the curves that show it."""
    first = e.curves[shown[0]].first_step
    return Sighting(Severity.SERIOUS, summary, first, first, shown, e.series[shown[0]].source, facet)


SHARED = 4  # evaluations that a run and the good one must share
FAR_WORSE = math.log(3.0)  # of the validation loss over the good run's: another split of the same data changes it by half


def same_settings(e: Evidence) -> bool | None:
    """Whether a good run that learned had the same settings; None where none was given."""
    return None if e.baseline is None else e.baseline.learns and not e.baseline.settings


def only_validation_differs(e: Evidence) -> bool:
    """A good run had the same settings and the same training loss, and its validation was better: the model is the same, the data is not."""
    b = e.baseline
    return (
        b is not None
        and same_settings(e) is True
        and b.training is True
        and b.validation_at is not None
        and b.evaluations >= SHARED
        and (b.validation_gap or 0.0) > FAR_WORSE
    )


STEEP = -0.47  # decades by which a gradient shrinks by layer: 0.36 to 0.41 with ReLU, 0.54 to 0.87 with sigmoids, in trainings with the usual weights
FADED, SEVERAL = -3.0, 6  # log10 of the first layer's gradient over the last's; layers


def by_layer(e: Evidence) -> float | None:
    """Decades by which the gradient shrinks from a layer to the one before it, in a plain stack; None elsewhere, and where nothing shrinks.

    Weights drawn uniformly from ±1/√fan_in have a variance of 1/(3 fan_in): a layer passes on √(1/3) of the gradient, times the root mean square
    slope of its units, √(1/2) of ReLU, at most 1/4 of a sigmoid (after He et al. 2015, eq. 14).
    """
    ratio, n = e.weights.gradient_depth_ratio, len(e.model.weight_layers)
    if ratio is None or ratio > FADED or n < SEVERAL or e.model.residual or e.model.normalised:
        return None
    return ratio / (n - 1)
