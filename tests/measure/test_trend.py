import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from postmortem.measure import trend as module
from postmortem.measure.trend import trend

VALUES = hnp.arrays(np.float64, st.integers(4, 60), elements=st.floats(-1e6, 1e6, allow_subnormal=False))
TIED = hnp.arrays(np.float64, st.integers(4, 60), elements=st.integers(0, 6).map(float))


@given(st.one_of(VALUES, TIED))
def test_slope_and_tau_are_those_of_scipy(values: np.ndarray) -> None:
    steps = np.arange(len(values), dtype=float) * 3 + 7
    found = trend(steps, values)
    assert found is not None
    assert found.slope == pytest.approx(scipy.stats.theilslopes(values, steps).slope, rel=1e-12, abs=1e-12)
    tau = scipy.stats.kendalltau(steps, values).statistic
    assert found.tau == pytest.approx(0.0 if math.isnan(tau) else tau, abs=1e-12)


@given(st.integers(4, 7).flatmap(lambda n: st.permutations(range(n))))
def test_short_curves_have_the_exact_p_value(order: list[int]) -> None:
    """Against the definition: the share of all permutations that are at least as far from no trend."""
    n = len(order)

    def score(p: tuple[int, ...]) -> int:
        return sum((b > a) - (b < a) for a, b in itertools.combinations(p, 2))

    seen = abs(score(tuple(order)))
    share = sum(abs(score(p)) >= seen for p in itertools.permutations(range(n))) / math.factorial(n)
    found = trend(np.arange(n, dtype=float), np.array(order, dtype=float))
    assert found is not None
    assert found.p_value == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("n", [8, 10, 25, 30])
def test_exact_p_value_is_that_of_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n) + np.arange(n) * 0.1
    found = trend(np.arange(n, dtype=float), values)
    assert found is not None
    assert found.p_value == pytest.approx(scipy.stats.kendalltau(np.arange(n), values, method="exact").pvalue, rel=1e-9)


@pytest.mark.parametrize(("n", "tied"), [(60, False), (200, True), (480, True)])
def test_long_p_value_is_near_that_of_scipy(n: int, tied: bool) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(size=n) + np.arange(n) / n * 0.3
    if tied:
        values = np.round(values * 2) / 2
    found = trend(np.arange(n, dtype=float), values)
    reference = scipy.stats.kendalltau(np.arange(n), values, method="asymptotic").pvalue
    assert found is not None
    assert found.p_value == pytest.approx(reference, rel=0.08)  # ours has the continuity correction


def test_flat_noise_is_seldom_a_trend() -> None:
    rng = np.random.default_rng(0)
    p = [t.p_value for _ in range(400) if (t := trend(np.arange(12.0), rng.normal(size=12)))]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.08


def test_a_long_curve_is_thinned_and_keeps_its_slope() -> None:
    x = np.arange(100_000, dtype=float)
    found = trend(x, -2e-5 * x + np.random.default_rng(1).normal(size=len(x)))
    assert found is not None
    assert found.slope == pytest.approx(-2e-5, rel=0.1)
    assert found.points == 100_000
    assert module.MOST < 1000


@given(VALUES, st.floats(0.01, 100), st.floats(-100, 100))
def test_affine_equivariance(values: np.ndarray, scale: float, shift: float) -> None:
    values = np.round(values, 3)
    x = np.arange(len(values), dtype=float)
    one, other = trend(x, values), trend(x, values * scale)
    assert one is not None
    assert other is not None
    assert other.slope == pytest.approx(one.slope * scale, rel=1e-9, abs=1e-300)
    assert (other.tau, other.p_value) == (one.tau, one.p_value)
    turned = trend(x, -values)
    assert turned is not None
    assert turned.slope == pytest.approx(-one.slope)
    assert turned.tau == pytest.approx(-one.tau)


def test_repeated_steps_are_no_slope() -> None:
    x, y = np.array([0.0, 0, 1, 1, 2]), np.array([1.0, 5, 2, 6, 3])
    found = trend(x, y)
    assert found is not None
    assert found.slope == pytest.approx(scipy.stats.theilslopes(y, x).slope)
    assert found.tau == pytest.approx(scipy.stats.kendalltau(x, y).statistic)
    assert trend(np.zeros(5), y) is None
    assert trend(np.arange(3.0), y[:3]) is None
