"""How the weights began, by the earliest checkpoint."""

from postmortem.check import Evidence, Sighting, say
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.signs import from_the_start
from postmortem.model.curves import CurveStats

USUAL_SIZE, LOW_BIAS = 0.3, 0.5  # decades from the default initialisation; median of a hidden layer's biases
LARGE, STAYED = 0.75, 0.3  # decades above the default initialisation; decades of drift
ORDINARY = 1.0  # decades above the usual learning rate


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
