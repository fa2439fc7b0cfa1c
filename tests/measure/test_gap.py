import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.measure.gap import beside, gap_stats
from postmortem.model.run import Reduction
from tests.measure.synthetic import descent, series

ANY = st.lists(st.one_of(st.floats(), st.integers(-2, 2).map(float)), max_size=25)


def overfit(n: int = 20, turn: int = 6) -> tuple[np.ndarray, np.ndarray]:
    epochs = np.arange(1, n + 1)
    train = 2.3 * np.exp(-epochs / 4)
    val = np.where(epochs <= turn, 2.4 * np.exp(-epochs / 6), 2.4 * math.exp(-turn / 6) * (1 + 0.08 * (epochs - turn)))
    return train, val


def test_overfitting_in_figures() -> None:
    train, val = overfit()
    x = np.arange(1, 21) * 50.0
    found = gap_stats(series(train, steps=x, reduction=Reduction.EPOCH), series(val, "val/loss", steps=x))
    assert found is not None
    assert (found.evaluations, found.best_index, found.best_step, found.evaluations_after_best) == (20, 5, 300, 14)
    assert found.first_gap == pytest.approx(math.log(val[0] / train[0]))
    assert found.gap == pytest.approx(np.median(np.log(val[-2:] / train[-2:])))
    assert found.rise == pytest.approx(math.log(np.median(val[-2:]) / val.min()))
    assert found.train_fell_after_best == pytest.approx(1 - np.median(train[-2:]) / train[5])
    assert found.opened_step is not None
    assert found.opened_step <= 350
    assert found.validation_trend_after_best is not None
    assert found.validation_trend_after_best.tau == pytest.approx(1)
    assert found.erratic == 0


def test_training_is_averaged_between_evaluations() -> None:
    """Against the definition, point by point."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 100, 60))
    y, at = rng.normal(size=60), np.array([0.0, 10, 33, 33.5, 34, 100, 120])
    found = beside(x, y, at)
    for j, step in enumerate(at):
        since = -math.inf if j == 0 else at[j - 1]
        inside = (x > since) & (x <= step)
        before = np.flatnonzero(x <= step)
        assert found[j] == pytest.approx(np.mean(y[inside]) if inside.any() else y[before[-1] if len(before) else 0])


def test_healthy_curves_have_no_rise() -> None:
    x = np.arange(1, 31) * 10.0
    found = gap_stats(series(descent(300, noise=0.02)), series(descent(30, limit=0.45, noise=0.003), "val/loss", steps=x))
    assert found is not None
    assert abs(found.rise) < 0.05
    assert found.erratic < 0.2
    assert -0.4 < found.gap < 0.4


def test_a_gap_that_closes_has_not_opened() -> None:
    x = np.arange(10.0)
    found = gap_stats(series(np.full(10, 1.0)), series(1 + 1 / (1 + x), "val/loss"))
    assert found is not None
    assert found.opened_step is None


def test_a_gap_opens_where_it_leaves_its_level() -> None:
    gap = np.array([0.0, 0.02, -0.01, 0.01, 0.5, 0.6, 0.8, 0.9])
    found = gap_stats(series(np.ones(8)), series(np.exp(gap), "val/loss"))
    assert found is not None
    assert found.opened_step == 4


def test_erratic_is_the_share_of_turns_that_matter() -> None:
    zigzag = gap_stats(series(np.ones(9)), series([1, 2, 1, 2, 1, 2, 1, 2, 1.0], "val/loss"))
    calm = gap_stats(series(np.ones(9)), series([1, 1.001, 1, 1.001, 1, 1.001, 1, 1.001, 1.0], "val/loss"))
    assert zigzag is not None
    assert calm is not None
    assert (zigzag.erratic, calm.erratic) == (1, 0)


def test_losses_that_are_not_positive_have_only_a_difference() -> None:
    found = gap_stats(series([-1, -2, -3.0]), series([-1, -1.5, -1.0], "val/loss"))
    assert found is not None
    assert math.isnan(found.gap)
    assert found.difference == 2
    assert math.isnan(found.rise)


def test_none_without_values() -> None:
    assert gap_stats(series([]), series([1.0], "val/loss")) is None
    assert gap_stats(series([1.0, 2.0]), series([math.nan], "val/loss")) is None


def test_one_evaluation_is_judged_too() -> None:
    found = gap_stats(series([2.0, 1.0]), series([3.0], "val/loss", steps=[1]))
    assert found is not None
    assert (found.evaluations, found.rise, found.opened_step) == (1, 0, None)
    assert found.gap == pytest.approx(math.log(2))


@given(ANY, ANY)
@settings(max_examples=200, deadline=None)
def test_any_two_curves(train: list[float], val: list[float]) -> None:
    found = gap_stats(series(train), series(val, "val/loss"))
    assert (found is None) == (not any(map(math.isfinite, train)) or not any(map(math.isfinite, val)))
    if found is not None:
        assert 0 <= found.best_index < found.evaluations
        assert 0 <= found.erratic <= 1


def test_a_gap_of_a_few_hundredths_has_not_opened() -> None:
    found = gap_stats(series(np.ones(8)), series(np.exp(np.arange(8) * 0.005), "val/loss"))
    assert found is not None
    assert found.opened_step is None


def test_the_evaluation_by_which_the_training_loss_was_halved() -> None:
    train, val = overfit()
    x = np.arange(1, 21) * 50.0
    found = gap_stats(series(train, steps=x, reduction=Reduction.EPOCH), series(val, "val/loss", steps=x))
    assert found is not None
    first = int(np.argmax(train < 0.5 * max(train[0], val[0])))
    assert found.halved_step == x[first]
    never = gap_stats(series(np.full(20, 1.5), steps=x), series(val, "val/loss", steps=x))
    assert never is not None
    assert never.halved_step is None


def test_a_loss_that_reaches_minus_one_is_compared_by_the_distance_from_it() -> None:
    """Cross-entropy minus Dice: no logarithm of a negative ratio, and a gap that says how much overlap is missing."""
    train, val = np.array([0.3, -0.5, -0.9, -0.98]), np.array([0.4, 0.1, -0.2, -0.2])
    found = gap_stats(series(train), series(val, "val/loss"), -1.0)
    shifted = gap_stats(series(train + 1), series(val + 1, "val/loss"))
    assert found is not None
    assert shifted is not None
    assert found.gap == pytest.approx(shifted.gap) == pytest.approx(math.log(0.8 / 0.02))
    assert found.difference == pytest.approx(0.78)
