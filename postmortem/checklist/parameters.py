"""What the saved parameters show of themselves: how wide, whether they moved, whether anything reached them."""

from collections.abc import Sequence

from postmortem.check import Evidence
from postmortem.checklist.optimizers import DECAYED_AWAY, rate_decades
from postmortem.model.curves import CurveStats
from postmortem.model.tensors import TensorStats


def hidden_width(e: Evidence) -> float | None:
    """Units of the narrowest hidden layer: as configured, else by the shapes of the last checkpoint. What no later layer reads is a head
    of its own and none of them: a critic's one value beside an actor's actions."""
    configured = e.number("model_width")
    if configured is not None:
        return configured
    layers = [t for t in (e.checkpoints[-1].tensors if e.checkpoints else ()) if t.role == "weight" and t.fan_in and len(t.shape) >= 2]
    head = [t for t in layers if t.name == e.model.head]
    found = []
    for n, t in enumerate(layers):
        recurrent = "_hh" in t.name or "recurrent" in t.name  # its rows are gates; what it takes in is as wide as the layer
        gates = not recurrent and e.model.recurrent and "_ih" in t.name
        if t.name != e.model.head and not gates and (recurrent or _read_by_one(t, layers[n + 1 :] + head)):
            found.append((t.fan_in or 0.0) if recurrent else t.count / (t.fan_in or 1))
    return min(found, default=None)


_RECURRENT = ("rnn", "lstm", "gru", "recurrent")


def is_recurrent(e: Evidence) -> bool:
    """By its checkpoints, or by what the configuration calls it."""
    called = (str(s.value).lower() for s in e.settings if s.name == "model" or s.key.lower().rpartition(".")[2] in ("cell", "rnn_type", "arch"))
    return e.model.recurrent or any(word in value for value in called for word in _RECURRENT)


NARROW, NARROW_TEXT = 8, 16  # hidden units; of a language model, whose head tells hundreds of tokens apart


def is_narrow(e: Evidence) -> bool:
    """The narrowest hidden layer has too few units for nearly any task. False where nothing tells how many it has."""
    width = hidden_width(e)
    return width is not None and width < (NARROW_TEXT if e.family == "language-model" else NARROW)


def _read_by_one(layer: TensorStats, others: Sequence[TensorStats]) -> bool:
    """Whether one of the layers takes in as many values as this one puts out, or all places of as many channels: a convolution has them
    as a dimension (the second, or the last but one), a matrix does not."""
    units = layer.count // (layer.fan_in or 1)
    channels = len(layer.shape) > 2

    def reads(t: TensorStats) -> bool:
        return t.fan_in == units or (channels and (t.fan_in or 0) % units == 0 and (len(t.shape) == 2 or units in (t.shape[1], t.shape[-2])))

    return any(reads(t) for t in others)


def all_identical(e: Evidence) -> bool:
    """Nothing moved between checkpoints: bit-identical but for 5 %. With a single checkpoint: every weight layer is as it was drawn."""
    share = e.weights.identical_share
    if share is None:
        return trained(e) and bool(e.model.weight_layers) and set(e.model.weight_layers) <= set(e.weights.as_drawn)
    return share >= 0.95 and (e.model.head is None or e.model.head in e.weights.identical)


def trained(e: Evidence) -> bool:
    """The last checkpoint was saved after training had gone on for a while."""
    steps = [c.step for c in e.checkpoints if c.step is not None]
    return bool(steps) and steps[-1] > (e.first_step or 0.0) and steps[-1] > 0


SLOW = -1.3  # decades below the usual rate: weights move by less than a single checkpoint can show


def trainable_of(e: Evidence) -> tuple[float, float] | None:
    """(trainable, all) parameters, as checkpoints or the log's summary of the model say; None when neither does."""
    part, whole = e.model.trainable or e.number("trainable_parameters"), e.model.parameters or e.number("parameters")
    return (part, whole) if part and whole and part <= whole else None


def standing_still(e: Evidence) -> tuple[str, ...] | None:
    """Tensors that never moved: bit-identical in all checkpoints; with a single one, the layers from the input on that are as they
    were drawn, when no later one is. None when nothing can be said."""
    if e.weights.identical_share is not None:
        return e.weights.identical
    if e.weights.checkpoints != 1 or not trained(e):
        return None
    drawn, layers = frozenset(e.weights.as_drawn), e.model.weight_layers
    front = next((n for n, layer in enumerate(layers) if layer not in drawn), len(layers))
    decayed = e.schedule is not None and e.schedule.source == "optimizer" and e.schedule.peak < DECAYED_AWAY
    slow = decayed or (rate_decades(e) or 0.0) < SLOW
    return e.weights.as_drawn if front == len(drawn) and not (slow and front < len(layers)) else ()


def nothing_moved(e: Evidence) -> bool:
    """All parameters are bit-identical from the first checkpoint to the last."""
    return (e.weights.identical_share or 0.0) >= 1.0


def without_gradient(e: Evidence) -> frozenset[str]:
    """Tensors that the optimizer holds and whose gradient was exactly 0 in every step: dead, not frozen."""
    if not e.checkpoints:
        return frozenset()
    zero = frozenset(g.name for g in e.checkpoints[-1].gradients if g.zero_share >= 1.0 or g.rms == 0.0)
    return zero | frozenset(e.weights.decayed)


ALL_ZERO = 0.4  # share of the weight layers that hold nothing but zeros: the model was born dead
WATCHED = 10  # records of a spread that was logged
_OUTPUTS = frozenset({"output", "outputs", "embedding", "embeddings", "feature", "features", "representation", "representations", "z"})


def output_spread(e: Evidence) -> CurveStats | None:
    """The logged standard deviation of what a self-supervised model puts out for different inputs: 1/√d for d normalised outputs that
    point everywhere, 0 where all are one."""
    for name, c in e.curves.items():
        words = frozenset(name.lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_"))
        if "std" in words and words & _OUTPUTS and c.zeros != c.finite and c.finite >= WATCHED:
            return c
    return None


def weights_are_zero(e: Evidence) -> bool:
    """Whole layers are exactly zero: nothing can die, fade or shrink there."""
    return (e.weights.zero_weight_share or 0.0) > ALL_ZERO
