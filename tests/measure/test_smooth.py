import math

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from postmortem.measure.smooth import axis, blocks, median3, median5, moving_mean, noise, smooth, unit
from tests.measure.synthetic import series

VALUES = hnp.arrays(np.float64, st.integers(5, 80), elements=st.floats(-1e6, 1e6))


@given(VALUES)
def test_running_medians_are_those_of_scipy(values: np.ndarray) -> None:
    assert np.array_equal(median3(values)[1:-1], scipy.signal.medfilt(values, 3)[1:-1])
    assert np.array_equal(median5(values)[2:-2], scipy.signal.medfilt(values, 5)[2:-2])


@given(VALUES, st.sampled_from([3, 5, 9, 31]))
def test_moving_mean_is_the_mean_of_a_symmetric_window(values: np.ndarray, width: int) -> None:
    n, half = len(values), min(width // 2, (len(values) - 1) // 2)
    for i, found in enumerate(moving_mean(values, width)):
        reach = min(half, i, n - 1 - i)
        assert found == pytest.approx(np.mean(values[i - reach : i + reach + 1]), abs=1e-6)


@given(st.integers(12, 60))
def test_a_straight_line_is_its_own_smooth_and_has_no_noise(n: int) -> None:
    line = 3.0 - 0.25 * np.arange(n)
    assert np.array_equal(smooth(line), line)
    assert noise(line) == 0


@pytest.mark.parametrize("n", [8, 20, 1000])
def test_noise_is_the_sigma_of_white_noise_whatever_the_trend(n: int) -> None:
    rng = np.random.default_rng(0)
    found = [noise(2 * np.exp(-np.arange(n) / n * 3) + 0.1 * rng.normal(size=n)) for _ in range(100)]
    assert np.mean(found) == pytest.approx(0.1, rel=0.25)


def test_one_outlier_does_not_move_noise_or_smooth() -> None:
    values = 1 + 0.01 * np.random.default_rng(0).normal(size=50)
    broken = values.copy()
    broken[20] = 1e9
    assert noise(broken) == pytest.approx(noise(values), rel=0.3)
    assert np.max(smooth(broken)) < 1.1


@pytest.mark.parametrize("top", [1e300, 1.7e308, 1e-200, 5e-324, 1.0, 0.0])
def test_unit_keeps_squares_finite(top: float) -> None:
    scaled = np.array([top, -top / 2]) / unit(np.array([top, -top / 2]))
    assert np.all(np.isfinite(scaled**2))
    assert top == 0 or np.max(scaled) ** 2 > 1e-200
    assert math.log2(unit(np.array([top]))).is_integer()


def test_blocks_keep_the_order_and_the_middle() -> None:
    y, middle = blocks(np.arange(1003, dtype=float), 100)
    assert len(y) <= 100
    assert np.allclose(y, middle)


def test_an_unknown_axis_is_the_record_number_and_none_goes_back() -> None:
    assert axis(series([1, 2, 3], steps=[math.nan, 1, 2])).tolist() == [0, 1, 2]
    assert axis(series([1, 2, 3, 4], steps=[0, 5, 3, 6])).tolist() == [0, 5, 5, 6]
