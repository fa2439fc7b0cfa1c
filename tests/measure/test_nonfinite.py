import math

import numpy as np
import pytest

from postmortem.measure.curves import curve_stats
from tests.measure.synthetic import descent, series

NAN, INF = math.nan, math.inf


def test_nan_to_the_end() -> None:
    found = curve_stats(series([2.0, 1.5, 1.2, 12.0, NAN, NAN, NAN], steps=np.arange(7) * 10)).non_finite
    assert found is not None
    assert (found.first_step, found.kind, found.count, found.share, found.recovered) == (40, "nan", 3, 1.0, False)
    assert (found.points_before, found.last_finite, found.last_finite_step) == (4, 12.0, 30)
    assert found.growth_before == pytest.approx(math.log10(12 / 1.5))
    assert not found.hidden


def test_one_inf_in_between() -> None:
    found = curve_stats(series([1, 2, INF, 1, NAN, 1])).non_finite
    assert found is not None
    assert (found.kind, found.count, found.share, found.recovered, found.growth_before) == ("inf", 2, 0.5, True, None)


def test_nan_from_the_first_record() -> None:
    found = curve_stats(series([NAN, NAN])).non_finite
    assert found is not None
    assert (found.points_before, found.last_finite, found.last_finite_step) == (0, None, None)


def test_zeros_with_a_nan_gradient_norm_are_nans() -> None:
    loss = series([2.3, 2.0, 1.8, 0.0, 0.0], steps=[10, 20, 30, 40, 50])
    norm = series([1, 1, 1, NAN, NAN], "grad_norm", steps=[10, 20, 30, 40, 50])
    found = curve_stats(loss, norm)
    assert found.non_finite is not None
    assert (found.non_finite.first_step, found.non_finite.hidden, found.non_finite.count) == (40, True, 2)
    assert (found.best, found.zeros, found.finite) == (1.8, 2, 3)


def test_zeros_with_a_finite_gradient_norm_are_zeros() -> None:
    loss = series([2.3, 2.0, 1.8, 0.0, 0.0, 0.0, 0.0])
    found = curve_stats(loss, series(np.ones(7), "grad_norm"))
    assert found.non_finite is None
    assert found.best == 0


def test_without_a_gradient_norm_the_drop_must_be_abrupt_and_last() -> None:
    assert curve_stats(series([2.3, 2.0, 1.8, 0.0, 0.0, 0.0])).non_finite is not None
    assert curve_stats(series([2.3, 2.0, 1.8, 0.0, 0.0])).non_finite is None  # two records are too few
    assert curve_stats(series([2.3, 2.0, 1.8, 0.0, 0.0, 0.0, 1.7])).non_finite is None
    assert curve_stats(series([0.0, 0.0, 0.0, 0.0])).non_finite is None
    assert curve_stats(series([0.13, 0.0, 0.0, 0.0, 0.0])).non_finite is None  # one epoch's mean: how fast it fell nobody knows
    assert curve_stats(series([2.3, 2.0, 1.8, 0.0, 0.0, 0.0], "other/penalty")).non_finite is None


@pytest.mark.parametrize("quantum", [None, 1e-4])
def test_a_loss_that_is_learned_to_zero_is_no_nan(quantum: float | None) -> None:
    y = descent(60, limit=0.0, decay=0.08)
    y = np.where(y < 5e-5, 0.0, np.round(y, 4))
    assert np.sum(y == 0) > 5
    assert curve_stats(series(y, quantum=quantum)).non_finite is None
    assert curve_stats(series([0.04, 0.03, 0.02, 0.01, 0.0, 0.0, 0.0, 0.0], quantum=0.01)).non_finite is None
