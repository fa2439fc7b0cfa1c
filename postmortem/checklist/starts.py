"""How the weights began, by the earliest checkpoint and by how long the loss stayed where it began."""

import statistics

from postmortem.check import Evidence, Sighting, say
from postmortem.checklist.levels import course
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.signs import from_the_start
from postmortem.model.curves import CurveStats

USUAL_SIZE, LOW_BIAS = 0.3, 0.5  # decades from the default initialisation; median of a hidden layer's biases
LARGE, STAYED = 0.75, 0.3  # decades above the default initialisation; decades of drift
ORDINARY, SLOW = 1.0, -0.8  # decades above the usual learning rate; below
STRETCHES, FEWEST = 20, 6  # of a run; records
STILL, LONG, FELL = 0.97, 0.18, 0.15  # × the loss at first; of the run; of the loss. Of 171 sound runs three stayed so long


def as_drawn(e: Evidence) -> bool:
    """Early weights of the size that libraries draw, none of them zero, no copies, no biases that silence units: hardly anything of a start is
    left to be wrong. False without checkpoints."""
    w = e.weights
    if w.first_highest_scale is None or w.first_median_scale is None or len(e.model.weight_layers) < 2:
        return False
    if not (w.first_median_scale > -USUAL_SIZE and w.first_highest_scale < USUAL_SIZE) or (w.lowest_hidden_bias or 0.0) < -LOW_BIAS:
        return False
    return not w.zero_weight_share and not w.symmetric_share and (w.zero_rows is None or w.zero_rows[1] == 0.0)


def too_large_throughout(e: Evidence) -> float | None:
    """Decades above the default initialisation of the middle layer, where the model was that large from the first checkpoint to the last,
    at a rate that throws nothing; None elsewhere."""
    w, decades = e.weights, rate_decades(e)
    first, drift = w.first_median_scale, w.scale_drift
    if first is None or drift is None or len(e.model.weight_layers) < 2 or decades is None or decades > ORDINARY:
        return None
    return first if first >= LARGE and abs(drift) < STAYED else None


def nothing_reaches(e: Evidence) -> bool:
    """From the first checkpoint to the last no weight matrix, the last layer's included, had a gradient: decay alone moved them."""
    layers = e.model.weight_layers
    moved = e.weights.identical_share == 0.0 and bool(e.weights.decayed)
    return e.weights.checkpoints > 1 and len(layers) > 1 and moved and set(layers) <= set(e.weights.gradient_dead_layers)


def started_too_large(e: Evidence, loss: CurveStats) -> Sighting | None:
    """A loss that came down from far above, of weights from which nothing good is learned."""
    decades = too_large_throughout(e)
    if decades is None:
        return None
    summary = say(
        "The loss ends at {final:.4g}, of weights that are {times:.3g} × the usual size from the first checkpoint to the last.",
        final=loss.final,
        times=10**decades,
    )
    return from_the_start(e, "size", summary, loss.name)


def never_reached(e: Evidence, loss: CurveStats) -> Sighting | None:
    """Only the last bias learned."""
    if not nothing_reaches(e):
        return None
    summary = say(
        "The loss ends at {final:.4g}, and between the checkpoints no layer's weights had a gradient: the model gives the same answer to everything.",
        final=loss.final,
    )
    return from_the_start(e, "unreached", summary, loss.name)


def slow_to_leave(e: Evidence) -> float | None:
    """Step up to which the loss stayed where it began, for a good part of a run in which training and validation learned afterwards, at a rate
    that is neither low nor was warmed up all that time; None elsewhere."""
    loss, val, decades = course(e), e.curve("val/loss"), rate_decades(e)
    series = e.series.get(loss.name) if loss is not None else None
    if loss is None or series is None or loss.finite < FEWEST or loss.non_finite is not None or not loss.start > 0:
        return None
    if (decades is not None and decades < SLOW) or (val is not None and val.relative_gain < FELL) or loss.relative_gain < FELL:
        return None
    size = max(1, len(series) // STRETCHES)
    values, steps = series.values.tolist(), series.steps.tolist()
    first = statistics.median(values[:size])
    last = None
    for start in range(0, len(values) - size + 1, size):
        if statistics.median(values[start : start + size]) < STILL * first:
            break
        last = steps[start + size - 1]
    long = last is not None and LONG * (loss.last_step - loss.first_step) <= last - loss.first_step < loss.last_step - loss.first_step
    warming = e.schedule.warmup_steps if e.schedule is not None and e.schedule.source == "logged" else 0.0
    return last if long and last is not None and warming < 0.5 * (last - loss.first_step) else None
