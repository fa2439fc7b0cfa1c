import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from postmortem.measure.decimate import MOST, keep_index

ANY = hnp.arrays(np.float64, st.integers(0, 200), elements=st.one_of(st.floats(), st.integers(-2, 2).map(float)))


@given(ANY, st.integers(8, 60))
@settings(max_examples=50, deadline=None)
def test_extremes_ends_and_gaps_are_kept(values: np.ndarray, most: int) -> None:
    index = keep_index(values, most)
    n = len(values)
    assert len(index) <= max(most, min(n, most))
    assert np.all(np.diff(index) > 0)
    if n:
        assert (index[0], index[-1]) == (0, n - 1)
    kept, finite = values[index], values[np.isfinite(values)]
    if len(finite):
        left = kept[np.isfinite(kept)]
        assert (left.min(), left.max()) == (finite.min(), finite.max())
    bad = np.flatnonzero(~np.isfinite(values))
    assert (len(bad) > 0) == bool(np.any(~np.isfinite(kept)))
    if len(bad):
        assert bad[0] in index  # where it first broke


@pytest.mark.parametrize("n", [100, 2000, 2001, 5000, 123_457, 1_000_000])
def test_no_single_spike_is_lost(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(size=n)
    at = rng.choice(n, 20, replace=False)
    values[at] = 50 + np.arange(20)
    values[at[:3]] = np.nan
    index = keep_index(values)
    assert len(index) <= MOST
    assert at[3:].max() in index
    assert set(at[:1]) <= set(index.tolist())
    # A spike can only be lost to a higher one in the same stretch.
    lost = [a for a in at[3:] if a not in index]
    size = n / (len(index) / 4)
    assert all(any(0 < abs(a - b) <= 2 * size for b in at) for a in lost)


def test_a_short_curve_is_kept_whole() -> None:
    assert keep_index(np.arange(2000.0)).tolist() == list(range(2000))


def test_infinities_do_not_hide_the_extremes() -> None:
    values = np.linspace(1, 2, 10_000)
    values[::7] = np.inf
    index = keep_index(values)
    assert len(index) <= MOST
    kept = values[index]
    assert np.nanmax(kept[np.isfinite(kept)]) == values[np.isfinite(values)].max()


@pytest.mark.parametrize("n", [2001, 4003, 50_000])
def test_finite_curves_fit_too(n: int) -> None:
    index = keep_index(np.random.default_rng(0).normal(size=n))
    assert 0.6 * MOST < len(index) <= MOST
