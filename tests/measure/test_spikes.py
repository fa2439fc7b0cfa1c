import math

import numpy as np
import pytest

from postmortem.measure.curves import curve_stats
from postmortem.measure.spikes import MOST
from tests.measure.synthetic import descent, series


@pytest.mark.parametrize("n", [30, 300, 100_000])
@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_planted_spike_is_found(n: int, at: float) -> None:
    y = descent(n, noise=0.01)
    i = int(at * n)
    level = float(np.median(y[i - 5 : i]))
    y[i] = level + 3
    (spike,) = curve_stats(series(y)).spikes
    assert (spike.step, spike.value, spike.width, spike.recovery) == (i, y[i], 1, "fast")
    assert spike.level == pytest.approx(level, rel=0.1)
    assert spike.ratio == pytest.approx(spike.value / spike.level)
    assert spike.height > 30
    assert spike.prominence > 10


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n", [8, 30, 1000, 50_000])
def test_white_noise_about_a_descent_has_no_spike(n: int, seed: int) -> None:
    assert curve_stats(series(descent(n, noise=0.03, seed=seed))).spikes == ()


@pytest.mark.parametrize("curve", [np.linspace(1, 2, 40), np.geomspace(1, 100, 60), 1 + np.linspace(-1, 1.5, 50) ** 2, np.sqrt(np.arange(50.0))])
def test_a_drift_is_no_spike(curve: np.ndarray) -> None:
    assert curve_stats(series(curve)).spikes == ()


def test_recovery_is_fast_slow_or_never() -> None:
    for width, expected in ((2, "fast"), (40, "slow")):
        y = descent(400, noise=0.01)
        y[200 : 200 + width] += 4
        (spike,) = curve_stats(series(y)).spikes
        assert (spike.step, spike.recovery, spike.width) == (200, expected, width)
    y = descent(400, noise=0.01)
    y[200:] += 4
    (spike,) = curve_stats(series(y)).spikes
    assert (spike.recovery, spike.width) == ("never", 200)


def test_every_one_of_many_spikes() -> None:
    y = descent(1000, noise=0.01)
    at = np.arange(100, 1000, 90)
    y[at] += 3
    found = curve_stats(series(y)).spikes
    assert [s.step for s in found] == at.tolist()
    assert all(0.5 < s.prominence < 2 for s in found)  # none stands out of the others


def test_no_more_than_the_highest() -> None:
    y = descent(10_000, noise=0.01)
    at = np.arange(500, 10_000, 50)
    y[at] += np.linspace(3, 6, len(at))
    found = curve_stats(series(y)).spikes
    assert len(found) == MOST
    assert [s.step for s in found] == sorted(s.step for s in found)
    assert min(s.height for s in found) > 200


def test_accuracy_spikes_downwards() -> None:
    y = 1 - descent(100, start=0.9, limit=0.1, noise=0.005)
    y[70] = 0.2
    y[50] = 1.0
    (spike,) = curve_stats(series(y, "val/accuracy")).spikes
    assert (spike.step, spike.value) == (70, 0.2)
    assert spike.ratio == pytest.approx(0.2 / spike.level)


def test_the_print_limits_what_is_a_spike() -> None:
    y = np.full(60, 0.02)
    y[30] = 0.03  # one digit of the print
    assert curve_stats(series(y, quantum=0.01)).spikes == ()
    y[30] = 0.9
    assert len(curve_stats(series(y, quantum=0.01)).spikes) == 1


def test_short_logs_and_negative_levels() -> None:
    (spike,) = curve_stats(series([2.3, 1.8, 1.5, 1.3, 30.0, 1.2, 1.1, 1.05])).spikes
    assert (spike.step, spike.recovery) == (4, "fast")
    (spike,) = curve_stats(series([-5.0, -5.1, -5.2, -5.3, 40.0, -5.4, -5.5])).spikes
    assert math.isnan(spike.ratio)
    assert curve_stats(series([2.3, 9.0, 2.0])).spikes == ()


def test_zeros_give_no_measure() -> None:
    assert curve_stats(series([0.0, 0.0, 0.0, 0.0, 0.0, 1e-4], "other/kl")).spikes == ()


def test_a_spike_lasts_until_most_of_it_is_gone() -> None:
    y = descent(400, noise=0.01)
    y[200] += 6
    y[201:215] += 3
    (spike,) = curve_stats(series(y)).spikes
    assert (spike.width, spike.recovery) == (15, "slow")


def test_a_jump_of_a_hundredth_is_none_however_quiet_the_curve() -> None:
    y = 1 + 1e-5 * np.random.default_rng(0).normal(size=100)
    y[60] += 0.01
    assert curve_stats(series(y)).spikes == ()


def test_two_printed_digits_are_no_spike() -> None:
    y = np.full(60, 0.02)
    y[30] = 0.04
    assert curve_stats(series(y, quantum=0.01)).spikes == ()
    y[30] = 0.06
    assert len(curve_stats(series(y, quantum=0.01)).spikes) == 1


def test_an_uneven_drift_is_no_spike() -> None:
    assert curve_stats(series(1 + 0.05 * np.cumsum(np.tile([1, 0.4, 0.4, 0.4], 30)))).spikes == ()
