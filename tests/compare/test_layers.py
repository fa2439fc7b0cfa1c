"""How far tensors of two runs lie apart: distributions, values, and what good runs differ by."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from postmortem.compare.layers import CLEARLY, LUCK, distribution_distance
from postmortem.measure.checkpoints import tensor_stats
from postmortem.measure.structure import Layout
from postmortem.measure.tensors import figures_of
from postmortem.model.comparison import LayerDifference
from postmortem.model.run import TensorRef
from postmortem.model.tensors import Role, TensorStats
from postmortem.pipeline import compare

DATA = Path(__file__).parent / "data"


def stats(values: np.ndarray) -> TensorStats:
    ref = TensorRef("w", "w.pt", 0, "float32", values.shape, (1,), values.nbytes)
    return tensor_stats(ref, Layout(Role.BIAS), figures_of(values.astype(np.float32), "float32"), None, None)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.3, 0.0), (3.0, 0.0), (1.0, 0.5), (0.1, -2.0)])
def test_the_distance_is_that_of_wasserstein_over_the_size(scale: float, shift: float) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=20000), rng.normal(size=20000) * scale + shift
    size = max(np.sqrt((a**2).mean()), np.sqrt((b**2).mean()))
    assert distribution_distance(stats(a), stats(b)) == pytest.approx(wasserstein_distance(a, b) / size, rel=0.12, abs=0.02)


@pytest.mark.parametrize("n", [8, 32, 256, 4096])
def test_two_draws_of_one_distribution_differ_by_luck_only(n: int) -> None:
    rng = np.random.default_rng(n)
    beyond = [distribution_distance(stats(rng.normal(size=n)), stats(rng.normal(size=n))) > CLEARLY + LUCK / np.sqrt(n) for _ in range(50)]
    assert sum(beyond) <= 1


def test_nan_in_one_of_them_is_as_far_as_can_be() -> None:
    good, bad = stats(np.ones(9)), stats(np.array([1.0, np.nan]))
    assert distribution_distance(good, bad) == np.inf
    assert distribution_distance(bad, bad) == 0
    assert distribution_distance(stats(np.zeros(4)), stats(np.zeros(4))) == 0


def layer(found: tuple[LayerDifference, ...], name: str) -> LayerDifference:
    return next(d for d in found if d.name == name and d.quantity == "weights")


def test_values_are_held_against_each_other_where_both_began_alike() -> None:
    found = compare([DATA / "good", DATA / "weight-decay"]).differences[0].layers
    for step in (200, 400, 600):
        a, b = (torch.load(DATA / run / f"step_{step}.pt")["model"]["0.weight"] for run in ("good", "weight-decay"))
        if step == layer(found, "0.weight").at:
            assert layer(found, "0.weight").values == pytest.approx(float((b - a).norm() / a.norm()), rel=1e-5)
            break
    else:
        pytest.fail("the checkpoint of the largest difference is none of them")
    assert layer(found, "0.weight").from_ == 200


def test_values_of_another_seed_say_nothing() -> None:
    assert all(d.values is None for d in compare([DATA / "good", DATA / "other-seed"]).differences[0].layers)


def test_what_good_runs_differ_by_is_no_difference() -> None:
    alone = compare([DATA / "good", DATA / "weight-decay"]).differences[0]
    held = compare([DATA / "good", DATA / "weight-decay", DATA / "weight-decay"], good=2)
    assert alone.layers
    assert [d.run for d in held.differences] == [2]
    assert held.good == 2
    assert not held.differences[0].layers
    decayed = compare([DATA / "good", DATA / "other-seed", DATA / "weight-decay"], good=2).differences[0].layers
    assert {d.name for d in decayed} >= {"0.weight", "2.weight"}
