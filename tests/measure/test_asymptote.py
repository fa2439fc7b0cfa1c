import numpy as np
import pytest
import scipy.optimize

from postmortem.measure.asymptote import asymptote


@pytest.mark.parametrize("n", [12, 60, 5000])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_exponential_limit(n: int, noise: float) -> None:
    x = np.arange(n) * 7.0
    y = 0.4 + 1.9 * np.exp(-x / (0.3 * x[-1])) + noise * np.random.default_rng(0).normal(size=n)
    found = asymptote(x, y, sinking=True, start=float(y[0]), final=float(y[-1]))
    assert found is not None
    assert found.limit == pytest.approx(0.4, abs=0.06)
    assert found.remaining == pytest.approx(np.exp(-1 / 0.3), abs=0.04)


def test_power_law_limit_against_scipy() -> None:
    x = np.arange(200.0)
    y = 1.5 + 2 * (1 + x) ** -0.5
    found = asymptote(x, y, sinking=True, start=float(y[0]), final=float(y[-1]))
    (limit, _, _), _ = scipy.optimize.curve_fit(lambda x, c, a, b: c + a * (1 + x) ** -b, x, y, p0=(1, 1, 1))
    assert found is not None
    assert found.limit == pytest.approx(limit, abs=0.03)


def test_a_rising_metric_has_its_limit_above() -> None:
    x = np.arange(50.0)
    y = 0.9 - 0.8 * np.exp(-x / 12)
    found = asymptote(x, y, sinking=False, start=float(y[0]), final=float(y[-1]))
    assert found is not None
    assert found.limit == pytest.approx(0.9, abs=0.01)
    assert asymptote(x, y, sinking=True, start=float(y[0]), final=float(y[-1])) is None


def test_a_loss_that_is_nowhere_negative_has_no_negative_limit() -> None:
    x = np.arange(30.0)
    y = 3 - 0.09 * x
    found = asymptote(x, y, sinking=True, start=3.0, final=float(y[-1]))
    assert found is not None
    assert found.limit >= 0


def test_still_going_down_and_done_differ() -> None:
    x = np.arange(40.0)
    done = asymptote(x, 1 + np.exp(-x / 4), sinking=True, start=2.0, final=1.0)
    going = asymptote(x, 1 + np.exp(-x / 30), sinking=True, start=2.0, final=float(1 + np.exp(-39 / 30)))
    assert done is not None
    assert going is not None
    assert abs(done.remaining) < 0.01
    assert going.remaining == pytest.approx(np.exp(-39 / 30), abs=0.08)


@pytest.mark.parametrize("values", [np.ones(20), np.random.default_rng(0).normal(size=200), np.arange(5.0)])
def test_no_fit_where_there_is_none(values: np.ndarray) -> None:
    assert asymptote(np.arange(len(values), dtype=float), values, sinking=True, start=float(values[0]), final=float(values[-1])) is None


def test_one_outlier_does_not_matter() -> None:
    x = np.arange(60.0)
    y = 0.4 + 1.9 * np.exp(-x / 12)
    y[30] = 50
    found = asymptote(x, y, sinking=True, start=2.3, final=0.41)
    assert found is not None
    assert found.limit == pytest.approx(0.4, abs=0.03)
