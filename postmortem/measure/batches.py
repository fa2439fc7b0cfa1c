"""Recorded batches, taken together. Their figures are series named `data/…`, their labels histograms."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from postmortem.model.captured import BatchStats
from postmortem.model.run import EventKind, Floats, LogEvent, LoggedHistogram, Series

FIRST = 3  # batches of a run's beginning that one after a resume is compared with
PER_CLASS = 10  # validation labels, below which chance alone makes shares differ
FEWEST_BATCHES = 4  # with labels, below which nothing can be said of how classes are spread over batches


def batch_stats(series: Mapping[str, Series], histograms: Sequence[LoggedHistogram], events: Sequence[LogEvent]) -> BatchStats | None:
    """None when no batch was recorded."""
    if not any(len(s) for name, s in series.items() if name.startswith("data/") and not name.startswith("data/val_")):
        return None
    lost, outside, prints = series.get("data/non_finite"), series.get("data/labels_out_of_range"), series.get("data/fingerprint")
    train = [_by_class(h) for h in histograms if h.name == "data/train_labels"]
    val = [_by_class(h) for h in histograms if h.name == "data/val_labels"]
    shares, val_shares = _shares(train), _shares(val)

    def told(name: str, figure: Callable[[Floats], np.floating | float] = np.median) -> float | None:
        """Of the finite points; None without any."""
        one = series.get(f"data/{name}")
        values = np.empty(0) if one is None else one.values[np.isfinite(one.values)]
        return float(figure(values)) if len(values) else None

    return BatchStats(
        indices="data/indices" in series,
        mean=told("train_mean"), std=told("train_std"), low=told("train_min", np.min), high=told("train_max", np.max),
        target_mean=told("target_mean"), target_std=told("target_std"), val_mean=told("val_mean"), val_std=told("val_std"),
        non_finite=told("non_finite", np.max) or 0.0, non_finite_share=_share_above(lost), non_finite_step=_first_above(lost),
        outside=told("labels_out_of_range", np.max) or 0.0, outside_step=_first_above(outside),
        constant_samples=told("constant_samples"), copies=told("copies"), repeated=told("duplicate_share", _at_the_end),
        distinct=None if prints is None else len(np.unique(prints.values)), fingerprints=0 if prints is None else len(prints),
        again_after_resume=_again(prints, events, series.get("train/loss")),
        overlap=told("split_overlap", _at_the_end),
        classes=len(shares) or None,
        largest_share=max(shares.values(), default=None),
        label_shift=_total_variation(shares, val_shares, sum(n for b in val for n in b.values())), clustering=clustering(train),
        relation=told("label_relation", _last), relation_z=told("label_relation_z", _last),
        relation_samples=int(told("label_relation_samples", _last) or 0),
    )  # fmt: skip


def _last(values: Floats) -> float:
    return float(values[-1])


def _at_the_end(values: Floats) -> float:
    """The median of the last third."""
    return float(np.median(values[-max(1, len(values) // 3) :]))


def _share_above(one: Series | None) -> float:
    return 0.0 if one is None or not len(one) else float(np.mean(one.values > 0))


def _first_above(one: Series | None) -> float | None:
    where = np.empty(0, np.intp) if one is None else np.flatnonzero(one.values > 0)
    return None if one is None or not len(where) else float(one.steps[where[0]])


def _again(prints: Series | None, events: Sequence[LogEvent], loss: Series | None) -> bool | None:
    """The first batch after a resume holds the samples of one of the run's first batches. None where the resume begins an epoch anyway."""
    seams = [e.step for e in events if e.kind == EventKind.RESUMED and e.step is not None and e.step > 0]
    if prints is None or not seams or not len(prints) or (loss is not None and _begins_an_epoch(loss, seams[-1])):
        return None
    before = prints.values[prints.steps < seams[-1]][:FIRST]
    after = prints.values[prints.steps >= seams[-1]][:FIRST]
    return bool(np.isin(after, before).any()) if len(before) and len(after) else None


def _begins_an_epoch(loss: Series, step: float) -> bool:
    """Whether the step, up to two steps, is an epoch's first. False where that is not known."""
    before = loss.steps < step
    if loss.epochs is None or np.count_nonzero(before) < 2:
        return False
    steps, epochs = loss.steps[before], loss.epochs[before]
    if np.any(epochs != np.floor(epochs)):
        pace = (epochs[-1] - epochs[-2]) / (steps[-1] - steps[-2])
        at = epochs[-1] + pace * (step - steps[-1])
        return bool(abs(at - round(at)) <= 2 * pace)
    turns = steps[1:][np.diff(epochs) > 0]
    return len(turns) > 1 and bool(step - turns[-1] >= turns[-1] - turns[-2] - 2)


# --- labels ---------------------------------------------------------------------------------------------------------


def _by_class(histogram: LoggedHistogram) -> dict[float, float]:
    """Class → count, of bins of width 1 about class numbers."""
    at = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    return {float(c): float(n) for c, n in zip(at, histogram.counts, strict=True) if 0 < n < math.inf}


def train_labels(histograms: Sequence[LoggedHistogram]) -> dict[float, float]:
    """Class → its share of the training labels that were recorded; empty when none were."""
    return _shares([_by_class(h) for h in histograms if h.name == "data/train_labels"])


def _shares(batches: Sequence[Mapping[float, float]]) -> dict[float, float]:
    """Class → its share of all labels."""
    total = sum(n for b in batches for n in b.values())
    out: dict[float, float] = {}
    for batch in batches:
        for c, n in batch.items():
            out[c] = out.get(c, 0.0) + n / total
    return out


def _total_variation(a: Mapping[float, float], b: Mapping[float, float], labels: float) -> float | None:
    """Half the sum of |a − b| over all classes; None when one of them is not known, or by too few `labels`."""
    if labels < PER_CLASS * len({*a, *b}):
        return None
    return 0.5 * sum(abs(a.get(c, 0.0) - b.get(c, 0.0)) for c in {*a, *b}) if a and b else None


def clustering(batches: Sequence[Mapping[float, float]]) -> float | None:
    """How much more alike the labels of one batch are than labels at large: (p_within − p) / (1 − p), p the chance that two labels agree.

    Both pairs, of one batch and of all batches, are drawn without replacement, so that fair draws give 0 on average whatever the batch's
    size and however few there are; sorted data gives 1. None below a few batches of two or more labels, and when all labels agree.
    """
    usable = [b for b in batches if sum(b.values()) >= 2]
    if len(usable) < FEWEST_BATCHES:
        return None
    everything: dict[float, float] = {}
    for batch in usable:
        for c, n in batch.items():
            everything[c] = everything.get(c, 0.0) + n
    within, at_large = _agreement(usable), _agreement([everything])
    return (within - at_large) / (1.0 - at_large) if at_large < 1.0 - 1e-9 else None


def _agreement(batches: Sequence[Mapping[float, float]]) -> float:
    """The chance that two labels of one batch agree."""
    agree = sum(n * (n - 1) for b in batches for n in b.values())
    return agree / sum(s * (s - 1) for s in (sum(b.values()) for b in batches))
