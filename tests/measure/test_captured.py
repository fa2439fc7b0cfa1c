"""Batches and layers taken together: every figure against its definition, written out point by point, and by hand."""

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postmortem.measure.batches import batch_stats, clustering
from postmortem.measure.layers import layer_stats, of_layers
from postmortem.model.captured import BatchStats, LayerStats
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


POINTS = st.lists(
    st.one_of(st.integers(0, 40).map(lambda i: i / 8), st.sampled_from([0.0, math.nan, math.inf, -math.inf, 3e300, 5e-324])), max_size=9
)
RECORDED = (
    "indices", "train_mean", "train_std", "train_min", "train_max", "target_mean", "target_std", "val_mean", "val_std", "non_finite", "labels_out_of_range",
    "constant_samples", "copies", "duplicate_share", "fingerprint", "split_overlap", "label_relation", "label_relation_z", "label_relation_samples",
)  # fmt: skip
COUNTED = st.lists(st.dictionaries(st.integers(0, 3), st.integers(1, 30), min_size=1), max_size=6)


def told(points: list[float], figure: Callable[[list[float]], float]) -> float | None:
    finite = [v for v in points if math.isfinite(v)]
    return figure(finite) if finite else None


def end(points: list[float]) -> float:
    """The median of the last third."""
    return statistics.median(points[len(points) - max(1, len(points) // 3) :])


def first_step(points: list[float]) -> float | None:
    return next((10.0 * i for i, v in enumerate(points) if v > 0), None)


def drawn(counts: dict[int, int]) -> list[int]:
    """The labels themselves."""
    return [c for c, n in counts.items() for _ in range(n)]


def agreement(batches: list[list[int]]) -> float:
    """The chance that two labels of one batch agree, over all pairs."""
    pairs = [a == b for batch in batches for a, b in itertools.combinations(batch, 2)]
    return sum(pairs) / len(pairs)


def slow_clustering(batches: list[dict[int, int]]) -> float | None:
    usable = [drawn(b) for b in batches if sum(b.values()) > 1]
    together = [c for b in usable for c in b]
    if len(usable) < 4 or len(set(together)) == 1:
        return None
    return (agreement(usable) - agreement([together])) / (1 - agreement([together]))


def slow_batches(points: dict[str, list[float]], train: list[dict[int, int]], val: list[dict[int, int]]) -> dict[str, object]:
    """What `BatchStats` says it holds."""
    ours, theirs = ([c for b in split for c in drawn(b)] for split in (train, val))
    known = set(ours) | set(theirs)
    far = ours and theirs and len(theirs) >= 10 * len(known)
    shift = sum(abs(ours.count(c) / len(ours) - theirs.count(c) / len(theirs)) for c in known) / 2 if far else None
    medians = {n: told(points[k], statistics.median) for n, k in (("mean", "train_mean"), ("std", "train_std"), ("target_mean", "target_mean"),
               ("target_std", "target_std"), ("val_mean", "val_mean"), ("val_std", "val_std"), ("constant_samples",) * 2, ("copies",) * 2)}  # fmt: skip
    prints, lost, wrong = points["fingerprint"], points["non_finite"], points["labels_out_of_range"]
    return medians | {
        "indices": True, "low": told(points["train_min"], min), "high": told(points["train_max"], max),
        "non_finite": told(lost, max) or 0.0, "non_finite_share": sum(v > 0 for v in lost) / len(lost) if lost else 0.0, "non_finite_step": first_step(lost),
        "outside": told(wrong, max) or 0.0, "outside_step": first_step(wrong), "repeated": told(points["duplicate_share"], end),
        "overlap": told(points["split_overlap"], end), "distinct": len({"nan" if math.isnan(v) else v for v in prints}), "fingerprints": len(prints),
        "classes": len(set(ours)) or None, "largest_share": max((ours.count(c) / len(ours) for c in set(ours)), default=None), "label_shift": shift,
        "clustering": slow_clustering(train), "relation": told(points["label_relation"], lambda v: v[-1]),
        "relation_z": told(points["label_relation_z"], lambda v: v[-1]), "relation_samples": int(told(points["label_relation_samples"], lambda v: v[-1]) or 0),
        "again_after_resume": None,
    }  # fmt: skip


@given(st.fixed_dictionaries(dict.fromkeys(RECORDED, POINTS)), COUNTED, COUNTED)
@example({name: [math.nan] * 4 for name in RECORDED}, [], [])
@example({name: [0.0] for name in RECORDED}, [{0: 2, 1: 1}] * 4, [{1: 30}])
@settings(max_examples=40, deadline=None)
def test_every_figure_of_batches(points: dict[str, list[float]], train: list[dict[int, int]], val: list[dict[int, int]]) -> None:
    recorded = table(*(series(f"data/{n}", v, [10.0 * i for i in range(len(v))]) for n, v in points.items()), series("data/start", [1.0]))
    found = batch_stats(recorded, labels("train", *train) + labels("val", *val), [])
    assert found is not None
    expected = slow_batches(points, train, val)
    assert expected.keys() == {f.name for f in fields(BatchStats)}
    for field, wanted in expected.items():
        assert getattr(found, field) == (None if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-9)), field


def test_fair_draws_do_not_cluster_however_few() -> None:
    """On average over all ways to deal the same eight labels to four batches."""
    dealt = set(itertools.permutations([0, 0, 0, 1, 1, 1, 2, 2]))
    found = [clustering([{c: pair.count(c) for c in pair} for pair in zip(deal[::2], deal[1::2], strict=True)]) for deal in dealt]
    assert statistics.mean(v for v in found if v is not None) == pytest.approx(0, abs=1e-12)


SHARES = st.lists(st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.89, 0.9, 0.95, 1.0]), st.just(math.nan)), min_size=1, max_size=6)
SIZES = st.lists(st.sampled_from([0.0, 1e-23, 0.5, 2.0, 3e19, math.nan, math.inf]), min_size=1, max_size=6)
LAYERS = ("a", "b", "c")


def shares_at(looks: dict[str, list[float]], last: int) -> dict[str, float]:
    found = {n: told(v[-last:] if last else v[:1], statistics.median) for n, v in looks.items()}
    return {n: v for n, v in found.items() if v is not None}


def silent_from(looks: list[float]) -> float | None:
    return next((10.0 * i for i in range(len(looks)) if all(v >= 0.9 for v in looks[i:])), None)


def live(rms: float, zero: float) -> float:
    """RMS over the elements that have a gradient."""
    return rms / math.sqrt(1 - zero) if 0 < rms < math.inf and zero < 1 else math.nan


def slow_layers(dead: dict[str, list[float]], full: dict[str, list[float]], rms: dict[str, list[float]], zero: dict[str, list[float]],
                ratio: dict[str, list[float]], missing: dict[str, int], held: dict[str, bool], left: list[float]) -> dict[str, object]:  # fmt: skip
    """What `LayerStats` says it holds; modules run in the order of their names, and all parameters are matrices."""
    live_ones = [
        [live(r, z) for r, z in itertools.zip_longest(rms[n], zero[n][: len(rms[n])], fillvalue=0.0)] for n in LAYERS if any(v > 0 for v in rms[n])
    ]
    decades = [math.log10(a / b) for a, b in zip(live_ones[0], live_ones[-1], strict=False) if a == a and b == b] if len(live_ones) > 1 else []
    still = [n for n, v in ratio.items() if not any(x != 0 for x in v)]
    met = [v for v in left[1:] if not math.isnan(v)]
    without = [f"{n}.missing" for n in missing]
    return {
        "dead": shares_at(dead, 3), "dead_at_start": shares_at(dead, 0), "dead_from": {n: s for n, v in dead.items() if (s := silent_from(v)) is not None},
        "saturated": shares_at(full, 3), "saturated_at_start": shares_at(full, 0),
        "gradients": {f"{n}.weight": told(v, statistics.median) for n, v in rms.items()}, "depth_ratio": statistics.median(decades) if decades else None,
        "without_gradient": tuple(without), "cut_below": 1 in missing.values(), "still": tuple(f"{n}.weight" for n in still), "moved": len(ratio) - len(still),
        "not_held": tuple(f"{n}.weight" for n, h in held.items() if not h), "uncleared": (sum(v > 0 for v in met), len(met)) if met else None,
        "optimizer_steps": max((v for v in left if math.isfinite(v)), default=None),
    }  # fmt: skip


@given(*[st.fixed_dictionaries(dict.fromkeys(LAYERS, kind)) for kind in (SHARES, SHARES, SIZES, SHARES, SIZES)],
       st.dictionaries(st.sampled_from(LAYERS), st.integers(1, 3)), st.dictionaries(st.sampled_from(LAYERS), st.booleans()), SIZES)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_every_figure_of_layers(dead: dict[str, list[float]], full: dict[str, list[float]], rms: dict[str, list[float]], zero: dict[str, list[float]],
                                ratio: dict[str, list[float]], missing: dict[str, int], held: dict[str, bool], left: list[float]) -> None:  # fmt: skip
    looked = {"activations/{}/silent_inputs": dead, "activations/{}/saturated_share": full, "gradients/{}.weight/rms": rms, "gradients/{}.weight/zero_share": zero,
              "updates/{}.weight/ratio": ratio, "gradients/{}.weight/axes": {n: [2.0] for n in LAYERS}, "activations/{}/rms": {n: [1.0] for n in LAYERS},
              "gradients/{}.missing/missing": {n: [float(p)] for n, p in missing.items()}, "updates/{}.weight/held": {n: [float(h)] for n, h in held.items()}}  # fmt: skip
    recorded = [series(name.format(n), v, [10.0 * i for i in range(len(v))]) for name, of in looked.items() for n, v in of.items()]
    found = layer_stats(table(*recorded, series("gradients/a.bias/left", left), series("updates/optimizer/steps", left)))
    assert found is not None
    expected = slow_layers(dead, full, rms, zero, ratio, missing, held, left)
    assert expected.keys() == {f.name for f in fields(LayerStats)}
    for field, wanted in expected.items():
        if isinstance(wanted, dict):
            assert getattr(found, field) == pytest.approx({n: math.nan if v is None else v for n, v in wanted.items()}, nan_ok=True), field
        else:
            assert getattr(found, field) == (pytest.approx(wanted) if isinstance(wanted, float) else wanted), field
    assert found.deadest[1] == max(found.dead.values(), default=0.0)


def test_nothing_recorded_is_none() -> None:
    assert batch_stats({}, [], []) is None
    assert layer_stats({}) is None
    assert batch_stats(table(series("train/loss", [1.0])), [], []) is None


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
