import numpy as np
import pytest

from postmortem.measure.curves import curve_stats
from tests.measure.synthetic import descent, series


def valley(n: int, turn: float, noise: float, seed: int = 0) -> np.ndarray:
    x = np.arange(n) / n
    y = np.where(x < turn, 0.5 + 2 * (turn - x) ** 2 / turn**2, 0.5 + 1.2 * (x - turn))
    return y + noise * np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize(("n", "noise"), [(12, 0.0), (12, 0.01), (40, 0.02), (400, 0.05), (10_000, 0.1), (200_000, 0.1)])
@pytest.mark.parametrize("turn", [0.25, 0.5, 0.75])
def test_a_planted_turn_is_found(n: int, noise: float, turn: float) -> None:
    found = curve_stats(series(valley(n, turn, noise)))
    assert found.turn_step == pytest.approx(turn * n, abs=max(1.0, 0.1 * n))


@pytest.mark.parametrize("n", [20, 100, 3000])
def test_a_blow_up_after_a_plateau_turns_at_its_end(n: int) -> None:
    y = np.concatenate([descent(n, noise=0.02), 0.4 + np.geomspace(0.3, 1e4, max(n // 5, 5))])
    found = curve_stats(series(y))
    assert found.turn_step == pytest.approx(n - 1, abs=max(1.0, 0.03 * n))


def test_a_jump_that_stays_is_a_turn() -> None:
    rng = np.random.default_rng(0)
    y = np.concatenate([descent(100, noise=0.02), 2.3 + 0.05 * rng.normal(size=60)])
    assert curve_stats(series(y)).turn_step == pytest.approx(99, abs=4)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n", [10, 30, 300])
def test_healthy_curves_have_no_turn(n: int, seed: int) -> None:
    assert curve_stats(series(descent(n, noise=0.03, seed=seed))).turn_step is None


def test_flat_noise_seldom_turns() -> None:
    rng = np.random.default_rng(5)
    for n in (12, 50, 500):
        turns = sum(curve_stats(series(2.3 + 0.01 * rng.normal(size=n))).turn_step is not None for _ in range(100))
        assert turns <= 3


def test_a_curve_that_only_rises_has_no_turn() -> None:
    assert curve_stats(series(np.linspace(1, 2, 30))).turn_step is None
    assert curve_stats(series(np.geomspace(1, 1e6, 30))).turn_step is None


def test_a_spike_is_no_turn() -> None:
    y = descent(200, noise=0.02)
    y[150:154] = 9
    assert curve_stats(series(y)).turn_step is None


def test_accuracy_turns_downwards() -> None:
    y = 1 - valley(60, 0.5, 0.01) / 3
    assert curve_stats(series(y, "val/accuracy")).turn_step == pytest.approx(30, abs=4)


def test_a_moment_of_luck_in_the_ruins_is_not_the_turn() -> None:
    """A run that blew up answers right for one batch: the turn is where it blew up."""
    y = np.concatenate([descent(13, limit=0.0), [3e5, 4e5, 5e5, 2e5, 9e-4, 1e5, 1.3e5, 1.8e5, 2e5, 5e5, 3e4, 1.6e5]])
    assert curve_stats(series(y)).turn_step == 12


def test_a_rise_of_a_hundredth_of_the_gain_is_no_turn() -> None:
    y = np.concatenate([np.linspace(2, 0.5, 100), np.linspace(0.5, 0.51, 50)])
    assert curve_stats(series(y)).turn_step is None
    y[100:] = np.linspace(0.5, 0.6, 50)
    assert curve_stats(series(y)).turn_step == pytest.approx(99, abs=4)


def test_a_small_fall_before_a_certain_rise() -> None:
    """Validation that overfits from the second epoch on."""
    y = [2.98, 2.79, 2.85, 3.0, 3.3, 3.6, 3.95, 4.2, 4.5, 4.7, 4.9, 5.0, 5.15, 5.24]
    assert curve_stats(series(y, "val/loss")).turn_step == 1
