"""What tells of the data that went in: recorded batches, and what the first layer got of it."""

import re

from postmortem.check import Evidence
from postmortem.checklist.levels import course, to_chance
from postmortem.checklist.optimizers import last_optimizer
from postmortem.checklist.parameters import standing_still
from postmortem.model.run import Setting

POSITIONS = re.compile(r"pos|wpe|cls|class_token")  # tables that no input looks up
NOTHING_BUT_DECAY = 0.99  # of the square of what an optimizer remembers of a layer


def _only_one_without_gradient(e: Evidence) -> str | None:
    """The one weight layer, but for the head, that never got a gradient while all others did: where modules are registered in another order than
    they are called in, it need not be the first."""
    dead = e.weights.gradient_dead_layers
    return dead[0] if len(dead) == 1 and dead[0] != e.model.head else None


def inputs_are_zero(e: Evidence) -> bool:
    """The first layer's weights never got a gradient while its bias did: what went in was all zero."""
    layers, w, known = e.model.weight_layers, e.weights, standing_still(e)
    still = frozenset(known or ())
    if len(layers) < 2 or not e.checkpoints or known is None:
        return False
    learned = any(t.role == "bias" and t.name not in still for t in e.checkpoints[-1].tensors)
    if (w.identical_share or 0.0) > 0.9 and not learned:
        return False
    first = _only_one_without_gradient(e) or layers[0]
    if first not in still and first not in w.gradient_dead_layers:
        return False
    if set(layers) <= set(w.gradient_dead_layers) and (w.zero_weight_share or (w.lowest_hidden_bias or 0.0) < NEVER_FIRES):
        return False  # a layer behind it lets nothing through, forwards or back
    if (w.lowest_hidden_bias or 0.0) < NEVER_FIRES and w.checkpoints == 1:
        return False  # units that never fire keep a gradient from the first layer as well, and decay moves a bias as large as that
    last = last_optimizer(e)
    if last is not None and first in (last.absent or ()):
        return False  # no step could change it
    hidden = {g.name for g in e.checkpoints[-1].gradients if (g.decay_share or 0.0) > NOTHING_BUT_DECAY}
    if layers[1] in hidden:
        return False  # no gradient comes as far as the layer behind it, either
    table = any(t.role == "embedding" and not POSITIONS.search(t.name.lower()) for t in e.checkpoints[0].tensors)
    drawn = next((t.scale for t in e.checkpoints[0].tensors if t.name == first), None)
    if table or (drawn is not None and not abs(drawn) < AS_USUAL):
        return False  # what goes in comes from a table, or the layer itself is all zero or was thrown
    if w.identical_share is None:  # one checkpoint: only the head learned, and what it learned are the classes' frequencies
        level = to_chance(e, loss.final) if (loss := course(e)) is not None else None
        return layers[-1] not in still and level is not None and 0.95 < level < 1.05
    if len(layers) > 2 and layers[1] in still and layers[1] not in w.gradient_dead_layers:
        return False  # what comes behind stands still as well: frozen
    if w.identical_share > 0.5 and still.issuperset(layers) and w.lowest_hidden_bias == 0.0 and not w.zero_weight_share:
        return learned  # without biases, nothing behind it is active either
    bias = first.replace("weight", "bias").replace("kernel", "bias")
    if bias != first and any(t.name == bias for t in e.checkpoints[-1].tensors):
        return bias not in still and bias not in w.decayed  # what decay alone moved got no gradient either
    return e.model.batch_norm  # a layer without a bias; what batch normalisation gives is never all negative


def constant_inputs(e: Evidence) -> bool:
    """The recorded inputs have no spread at all, or none beside their mean that single precision could hold."""
    b = e.batches
    return b is not None and not b.indices and b.mean is not None and b.std is not None and b.std <= 1e-6 * abs(b.mean)


def same_batches(e: Evidence) -> bool | None:
    """Nearly every recorded batch holds samples of the batches before it, within an epoch. None when too few were recorded."""
    b = e.batches
    if b is None or b.repeated is None or b.distinct is None or b.fingerprints < FEWEST_PRINTS:
        return None
    return b.repeated > 0.95 or (b.repeated > 0.5 and b.distinct <= 0.5 * b.fingerprints)


FEWEST_PRINTS = 4  # recorded batches


NEVER_FIRES = -2.0  # median of a layer's biases; hidden ones of healthy runs stay above −0.35
AS_USUAL = 0.7  # decades from the default initialisation
OUTSIZE = 1.0  # decades between the largest input and the median one; scaled inputs stay below 0.7
FEATURES = 6  # inputs from which quartiles say something
ABOVE = 0.5  # decades between the largest input and the median one: pixels that are nearly always dark make quartiles differ as well
APART = 0.9  # decades between the quartiles of the inputs' sizes
FAR_TARGETS = 100.0  # mean or standard deviation: those of ten are reached by an ordinary rate in time
UNSCALED, FLAT = 10.0, 1e-2  # mean or standard deviation of recorded inputs, where about 0 and 1 are expected


def unscaled_inputs(e: Evidence) -> bool:
    """The recorded inputs are far from mean 0 and variance 1, and are no indices."""
    b = e.batches
    if b is None or b.indices or b.mean is None or b.std is None:
        return False
    return abs(b.mean) > UNSCALED or not FLAT < b.std < UNSCALED


def unscaled_targets(e: Evidence) -> bool:
    """The recorded numbers that are to be predicted are far from mean 0 and variance 1: a fresh network's outputs are nowhere near."""
    b = e.batches
    return b is not None and b.target_mean is not None and b.target_std is not None and max(abs(b.target_mean), b.target_std) > FAR_TARGETS


def uneven_inputs(e: Evidence) -> bool:
    """The first layer's gradient shows inputs of which some are many times as large as others."""
    s = e.weights.input_scales
    return s is not None and (s.largest >= OUTSIZE or (s.inputs >= FEATURES and s.quartiles >= APART and s.largest >= ABOVE))


_SCALING = ("raw_feature", "input_scale", "feature_scale", "normalize", "normalise", "standardize", "standardise", "rescale", "scale_inputs")


def stated_raw(e: Evidence) -> Setting | None:
    """The setting that says that inputs are fed as they are, or rescaled by an unusual factor."""
    for s in e.settings:
        key = s.key.lower()
        if key.rpartition(".")[2] == "scale" and s.value is False:
            return s
        if any(word in key for word in _SCALING) and not (s.value is True and "raw" not in key) and s.value not in (None, 1, 1.0, ""):
            return s
    return None
