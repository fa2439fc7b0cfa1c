"""Batches and layers taken together, against slow definitions and by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from postmortem.measure.batches import batch_stats, clustering
from postmortem.measure.layers import layer_stats, of_layers
from postmortem.model.run import EventKind, LogEvent, LoggedHistogram, Series


def series(name: str, values: list[float], steps: list[float] | None = None) -> Series:
    return Series(name, name, "capture", np.array(steps if steps is not None else range(len(values)), float), np.array(values, float))


def table(*many: Series) -> dict[str, Series]:
    return {s.name: s for s in many}


def labels(split: str, *batches: dict[int, int]) -> list[LoggedHistogram]:
    out = []
    for n, counts in enumerate(batches):
        edges = np.arange(min(counts) - 0.5, max(counts) + 1)
        out.append(LoggedHistogram(f"data/{split}_labels", "capture", n, edges, np.array([counts.get(int(c + 0.5), 0) for c in edges[:-1]], float)))
    return out


def test_nothing_recorded_is_none() -> None:
    assert batch_stats({}, [], []) is None
    assert layer_stats({}) is None
    assert batch_stats(table(series("train/loss", [1.0])), [], []) is None


def test_clustering_is_the_chance_that_two_of_a_batch_agree() -> None:
    rng = np.random.default_rng(0)
    batches = [{int(c): int(n) for c, n in zip(*np.unique(rng.integers(0, 3, 9), return_counts=True), strict=True)} for _ in range(7)]
    drawn = [list(itertools.chain.from_iterable([c] * n for c, n in b.items())) for b in batches]
    pairs = [a == b for labels in drawn for a, b in itertools.permutations(labels, 2)]
    everything = list(itertools.chain.from_iterable(drawn))
    at_large = sum((everything.count(c) / len(everything)) ** 2 for c in set(everything))
    assert clustering(batches) == pytest.approx((np.mean(pairs) - at_large) / (1 - at_large))


def test_shuffled_batches_do_not_cluster_and_sorted_ones_do() -> None:
    rng = np.random.default_rng(0)
    y = np.sort(rng.integers(0, 10, 3200))

    def counted(order: np.ndarray) -> list[dict[float, float]]:
        return [{float(c): float(n) for c, n in zip(*np.unique(b, return_counts=True), strict=True)} for b in order.reshape(-1, 32)]

    assert abs(clustering(counted(rng.permutation(y))) or 0.0) < 0.02
    assert (clustering(counted(y)) or 0.0) > 0.9
    assert clustering([{0.0: 32.0}] * 8) is None
    assert clustering([{0.0: 16.0, 1.0: 16.0}] * 3) is None


def test_labels_of_both_splits() -> None:
    found = batch_stats(
        table(series("data/train_mean", [0.0, 0.0])), labels("train", {0: 90, 1: 10}, {0: 90, 1: 10}) + labels("val", {0: 20, 1: 30}), []
    )
    assert found is not None
    assert (found.largest_share, found.classes) == (0.9, 2)
    assert found.label_shift == pytest.approx(0.5)
    few = batch_stats(table(series("data/train_mean", [0.0])), labels("train", {0: 90, 1: 10}) + labels("val", {0: 2, 1: 3}), [])
    assert few is not None
    assert few.label_shift is None


@pytest.mark.parametrize(("after", "expected"), [(1.0, True), (9.0, False)])
def test_the_first_batches_after_a_resume(after: float, expected: bool) -> None:
    prints = series("data/fingerprint", [1, 2, 3, 4, after, 10], [0, 1, 2, 50, 70, 71])
    resumed = LogEvent(EventKind.RESUMED, "", "capture", step=70.0)
    found = batch_stats(table(prints), [], [resumed])
    assert found is not None
    assert found.again_after_resume is expected
    assert (found.distinct, found.fingerprints) == (5 if expected else 6, 6)
    assert batch_stats(table(prints), [], []).again_after_resume is None


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (np.arange(60) / 20, None),  # step 60 begins the fourth epoch
        (np.arange(60) // 20, None),
        (np.arange(60) / 25, True),  # it lies within one
        (np.arange(60) // 25, True),
        (None, True),
    ],
)
def test_a_resume_at_the_start_of_an_epoch_is_no_restart_of_the_data(epochs: np.ndarray | None, expected: bool | None) -> None:
    prints = series("data/fingerprint", [1, 2, 3, 1], [0, 1, 2, 60])
    loss = replace(series("train/loss", [1.0] * 60), epochs=None if epochs is None else epochs.astype(float))
    found = batch_stats(table(prints, loss), [], [LogEvent(EventKind.RESUMED, "", "capture", step=60.0)])
    assert found is not None
    assert found.again_after_resume is expected


def test_values_that_are_not_finite_do_not_spread() -> None:
    found = batch_stats(table(series("data/train_mean", [math.nan, 2.0, 4.0]), series("data/non_finite", [0, 3, 5], [0, 10, 20])), [], [])
    assert found is not None
    assert (found.mean, found.non_finite, found.non_finite_step, found.std) == (3.0, 5.0, 10.0, None)
    assert found.non_finite_share == pytest.approx(2 / 3)


def test_layers() -> None:
    steps = [0.0, 1.0, 2.0, 4.0]
    found = layer_stats(
        table(
            series("activations/b/rms", [1.0] * 4, steps),
            series("activations/b/silent_inputs", [0.1, 0.95, 1.0, 1.0], steps),
            series("activations/c/rms", [1.0] * 4, steps),
            series("activations/c/saturated_share", [0.2, 0.3, 0.9, 0.9], steps),
            series("gradients/c.weight/rms", [1.0] * 4, steps),
            series("gradients/c.weight/axes", [2.0] * 4, steps),
            series("gradients/b.weight/rms", [1e-5, 1e-6, 1e-6, 1e-6], steps),
            series("gradients/b.weight/axes", [2.0] * 4, steps),
            series("gradients/b.weight/zero_share", [0.0, 0.0, 0.99, 0.0], steps),
            series("gradients/dead.bias/rms", [0.0] * 4, steps),
            series("gradients/a.weight/missing", [1.0] * 4, steps),
            series("updates/b.weight/ratio", [0.0, 0.0, 1e-3, 0.0], steps),
            series("updates/c.weight/ratio", [0.0] * 4, steps),
            series("updates/b.weight/held", [1.0] * 4, steps),
            series("updates/c.weight/held", [0.0] * 4, steps),
            series("updates/optimizer/steps", [1.0, 1.0, 1.0, 2.0], steps),
        )
    )
    assert found is not None
    assert found.deadest == ("b", 1.0)
    assert found.dead_from == {"b": 1.0}
    assert found.fullest == ("c", 0.9)
    assert found.depth_ratio == pytest.approx(-5.5, abs=0.6)  # b runs before c, though c is defined first
    assert (found.without_gradient, found.cut_below) == (("a.weight",), True)
    assert (found.still, found.moved, found.not_held, found.optimizer_steps) == (("c.weight",), 1, ("c.weight",), 2.0)


def test_which_series_are_layers() -> None:
    assert of_layers("gradients/x/rms")
    assert not of_layers("data/train_mean")
    assert not of_layers("train/loss")
