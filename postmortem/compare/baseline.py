"""What a good run of the same training tells about one that failed: what one run alone cannot say."""

import math
from collections.abc import Sequence
from dataclasses import replace

from postmortem.compare.axis import Placed, choose, place
from postmortem.compare.curves import part
from postmortem.compare.settings import differing
from postmortem.model.comparison import Parting
from postmortem.model.evidence import Baseline, Evidence
from postmortem.model.tensors import CheckpointStats

NO_CHANGE = frozenset({"epochs", "max_steps", "gpus", "log_every", "patience"})  # lengths, and how it was logged
ONE_LOGGER = frozenset(
    {"train_samples", "val_samples", "vocabulary", "model", "optimizer", "precision"}
)  # one logger states them, another one does not
LEARNED = 0.3  # relative fall of the training loss


def held_against(goods: Sequence[Evidence], bad: Evidence, *, good: bool = True) -> Baseline | None:
    """The facts that checks may ask for; None when the first good run is not good by its own verdict."""
    if not good:
        return None
    first = goods[0]
    axis = choose((first, bad))
    train, val = (_parting(goods, bad, names, axis) for names in (("train/loss.epoch", "train/loss"), ("val/loss",)))
    fall = next((c.net_change for name in ("train/loss.epoch", "train/loss") if (c := first.curve(name)) is not None), 0.0)
    return Baseline(
        settings=tuple(
            d.key
            for d in differing(first, bad)
            if d.kind == "hyper-parameter" and d.name not in NO_CHANGE and not (d.missing and d.name in ONE_LOGGER)
        ),
        training=None if train is None else train.at is None,
        validation_at=val.at if val is not None and val.worse else None,
        validation_gap=_ln_ratio(val) if val is not None else None,
        evaluations=val.points if val is not None else 0,
        learns=fall < -LEARNED,
        depth_shift=_depth_shift(first, bad),
    )


def _parting(goods: Sequence[Evidence], bad: Evidence, names: Sequence[str], axis: str) -> Parting | None:
    """The curve against that of the good runs, under the first name that gives enough common points."""
    for name in names:
        placed = [p for e in (*goods, bad) if (p := _placed(e, name, axis)) is not None]
        if len(placed) >= 2 and name in bad.series and name in goods[0].series:
            found = part(placed[0], placed[-1], placed[1:-1])
            if found is not None:
                return found
    return None


def _placed(evidence: Evidence, name: str, axis: str) -> Placed | None:
    series = evidence.series.get(name)
    found = place(evidence, series, axis) if series is not None and len(series) else None
    return None if found is None else replace(found, name=name.removesuffix(".epoch"))


def _ln_ratio(parting: Parting) -> float | None:
    a, b = parting.good_end, parting.bad_end
    return math.log(b / a) if a is not None and b is not None and 0 < a < math.inf and 0 < b < math.inf else None


def _depth_shift(good: Evidence, bad: Evidence) -> float | None:
    """How much more of the gradient the first layer gets beside the last one than in the good run, in decades. Both from the same source."""
    if any(c.gradients for c in good.checkpoints) != any(c.gradients for c in bad.checkpoints):
        return None
    a, b = _depth(good), _depth(bad)
    if a is None or b is None or not 0 < a < math.inf or not math.isfinite(b):
        return None
    return math.log10(b / a) if b > 0 else -math.inf


def _depth(evidence: Evidence) -> float | None:
    """RMS of the first weight layer's gradient over the last one's; without gradients, of how far they moved."""
    layers = evidence.model.weight_layers
    checkpoint: CheckpointStats | None = next((c for c in evidence.checkpoints if c.gradients), None)
    if len(layers) < 2:
        return None
    if checkpoint is None:
        return evidence.weights.change_first_to_last_layer
    rms = {g.name: g.rms for g in checkpoint.gradients}
    first, last = rms.get(layers[0]), rms.get(layers[-1])
    return first / last if first is not None and last else None
