import numpy as np
import pytest

from postmortem.measure.oscillation import oscillation, turn_rate


@pytest.mark.parametrize("n", [40, 400, 30_000])
@pytest.mark.parametrize("period", [2, 5, 9])
def test_a_planted_period(n: int, period: int) -> None:
    x = np.arange(n, dtype=float)
    y = 1 + np.exp(-x / (n / 6)) + 0.2 * np.sin(2 * np.pi * x / period + 0.7) + 0.03 * np.random.default_rng(0).normal(size=n)
    found = oscillation(x * 10, y, steps_per_epoch=10 * period)
    assert found is not None
    assert found.period == period
    assert found.period_epochs == pytest.approx(1)
    assert found.strength > 0.7
    assert found.amplitude == pytest.approx(0.4 if period > 2 else 0.4 * np.sin(0.7), rel=0.35)


@pytest.mark.parametrize("n", [10, 30, 100, 3000])
def test_white_noise_seldom_has_a_period_and_turns_two_times_of_three(n: int) -> None:
    rng = np.random.default_rng(n)
    found = [oscillation(np.arange(n, dtype=float), rng.normal(size=n)) for _ in range(60)]
    assert sum(f is not None and f.period is not None for f in found) <= 4
    assert np.mean([f.turn_rate for f in found if f]) == pytest.approx(2 / 3, abs=0.06)


def test_a_monotone_curve_does_not_turn() -> None:
    found = oscillation(np.arange(30.0), np.exp(-np.arange(30.0) / 10))
    assert found is not None
    assert (found.turn_rate, found.period, found.strength) == (0, None, 0)


def test_turns_within_the_print_do_not_count() -> None:
    y = np.array([1.0, 0.9, 0.91, 0.9, 0.8, 0.81, 0.8])
    assert turn_rate(y) == pytest.approx(4 / 5)
    assert turn_rate(y, quantum=0.05) == 0


def test_below_eight_points_nothing_is_said() -> None:
    assert oscillation(np.arange(7.0), np.arange(7.0)) is None


def test_a_weak_period_is_none_however_long_the_curve() -> None:
    x = np.arange(5000.0)
    found = oscillation(x, 0.3 * np.sin(2 * np.pi * x / 7) + 0.5 * np.random.default_rng(0).normal(size=5000))
    assert found is not None
    assert (found.period, found.strength) == (None, 0)


def test_the_stronger_of_two_periods() -> None:
    x = np.arange(300.0)
    found = oscillation(x, np.sin(2 * np.pi * x / 25) + 0.5 * np.sin(2 * np.pi * x / 3))
    assert found is not None
    assert found.period == pytest.approx(25, abs=1)
