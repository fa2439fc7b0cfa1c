"""Fits are judged out of group, and take nothing that is not there."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tests.faults.fitted import Judged, arrays, folds, gain, log_odds, refitted_out_of_group, stretched, stretched_out_of_group, wilson


def judged(count: int, *, slope: float = 1.0, helpful: float = 0.0, groups: int = 20, seed: int = 0) -> list[Judged]:
    """Statements whose log-odds are `slope` times too small; a part "spoke" in half of them and moves the truth by ±`helpful`."""
    dice = np.random.default_rng(seed)
    stated, spoke = dice.normal(0, 1.5, count), dice.random(count) < 0.5
    true = dice.random(count) < 1 / (1 + np.exp(-slope * stated - helpful * np.where(spoke, 1, -1)))
    parts = [("prior", "spoke") if s else ("prior", "silent") for s in spoke]
    return [Judged(f"g{i % groups}", float(o), bool(t), p) for i, (o, t, p) in enumerate(zip(stated, true, parts, strict=True))]


def test_a_group_is_in_one_fold_and_folds_are_even() -> None:
    groups = [f"g{i}" for i in range(40) for _ in range(i % 7 + 1)]
    fold = folds(groups)
    assert all(len(set(fold[[g == name for g in groups]])) == 1 for name in set(groups))
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 7
    assert len(folds(["a", "b"])) == 2


def test_a_stretch_is_found_and_pays_out_of_group() -> None:
    part = judged(2000, slope=2.5)
    bias, slope = stretched(*arrays(part), 0.3)
    assert (bias, slope) == (pytest.approx(0, abs=0.15), pytest.approx(2.5, rel=0.1))
    assert gain(part, stretched_out_of_group(part, 0.3))[1] > 0


def test_what_is_calibrated_stays() -> None:
    part = judged(300)
    mean, low, _ = gain(part, stretched_out_of_group(part, 1.0))
    assert low < 0 < 0.02 - abs(mean)
    assert stretched(*arrays(part), 1e6) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))


def test_a_weight_is_refitted_where_it_tells_and_not_where_it_does_not() -> None:
    telling, idle = judged(1500, helpful=1.0), judged(1500)
    assert gain(telling, refitted_out_of_group(telling, 1.0))[1] > 0.05
    assert gain(idle, refitted_out_of_group(idle, 1.0))[0] < 0.005


def test_gain_is_the_difference_of_log_losses() -> None:
    part = [Judged("a", 0.0, True), Judged("b", 0.0, False)]
    mean, low, high = gain(part, np.array([2.0, -2.0]))
    assert mean == pytest.approx(np.log(2) - np.log1p(np.exp(-2.0)))
    assert low == pytest.approx(mean) == high


@pytest.mark.parametrize(("right", "of"), [(0, 5), (7, 9), (20, 20)])
def test_intervals_of_shares(right: int, of: int) -> None:
    ci = binomtest(right, of).proportion_ci(0.95, method="wilson")
    assert wilson(right, of) == (pytest.approx(ci.low, abs=1e-3), pytest.approx(ci.high, abs=1e-3))
    assert wilson(0, 0) == (0.0, 1.0)


def test_log_odds_of_certainty_is_finite() -> None:
    assert log_odds(1.0) == pytest.approx(-log_odds(0.0))
    assert log_odds(0.5) == 0
