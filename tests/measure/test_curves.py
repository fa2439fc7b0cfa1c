import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postmortem.measure.curves import curve_stats, goal_of
from postmortem.model.curves import CurveStats
from postmortem.model.run import Reduction
from tests.measure.synthetic import descent, series

ANY = st.lists(
    st.one_of(st.floats(), st.integers(-3, 3).map(float), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e30, 5e-324, -1.8e308])), max_size=60
)
MODERATE = st.lists(st.integers(-999, 999).map(lambda i: i / 16), min_size=1, max_size=60)


@given(ANY, st.sampled_from(["train/loss", "val/accuracy", "grad_norm"]), st.sampled_from([None, 1e-4, 0.5]))
@example([1.7e308, -1.7e308] * 8, "train/loss", None)
@settings(max_examples=300, deadline=None)
def test_any_floats_give_figures(values: list[float], name: str, quantum: float | None) -> None:
    found = curve_stats(series(values, name, quantum=quantum), steps_per_epoch=3)
    finite = [v for v in values if math.isfinite(v)]
    assert found.points == len(values)
    assert found.finite == len(finite) or (found.non_finite is not None and found.non_finite.hidden)
    assert (found.non_finite is None) == (found.finite == found.points)
    if found.finite == len(finite) and finite:
        assert (found.lowest, found.highest) == (min(finite), max(finite))
        assert found.lowest <= found.start <= found.highest
        assert found.relative_gain >= 0
        assert found.lost_ground >= 0
        assert 0 <= found.plateau_share <= 1
        assert found.distinct == len(set(finite))


@given(ANY)
@settings(max_examples=100, deadline=None)
def test_any_steps_are_bearable(values: list[float]) -> None:
    n = len(values)
    for steps in (np.zeros(n), np.array(values), np.full(n, math.nan), np.arange(n)[::-1] * 1e300):
        curve_stats(series(values, steps=steps))


# Every figure by how it follows y → a·y + b (a > 0): as a level, as a distance, or not at all.
LEVELS = {"first", "last", "start", "final", "best", "worst", "lowest", "highest"}
DISTANCES = {"noise"}
UNMOVED = {"best_step", "highest_step", "distinct", "turn_step", "plateau_step", "plateau_share", "points", "finite"}


@given(MODERATE, st.sampled_from([0.25, 1.0, 8.0]), st.sampled_from([0.0, -64.0, 512.0]))
@settings(max_examples=200, deadline=None)
def test_affine_equivariance(values: list[float], a: float, b: float) -> None:
    y = np.array(values)
    one, other = curve_stats(series(y)), curve_stats(series(a * y + b))
    for f in fields(CurveStats):
        x, z = getattr(one, f.name), getattr(other, f.name)
        if f.name in LEVELS:
            assert z == pytest.approx(a * x + b, abs=1e-9), f.name
        elif f.name in DISTANCES:
            assert z == pytest.approx(a * x, abs=1e-9), f.name
        elif f.name in UNMOVED:
            assert z == x, f.name
    assert other.lost_ground == pytest.approx(one.lost_ground, abs=1e-9)
    for was, now in ((one.trend, other.trend), (one.tail, other.tail)):
        assert (was is None) == (now is None)
        if was is not None and now is not None:
            assert now.slope == pytest.approx(a * was.slope, abs=1e-9)
            assert now.p_value == pytest.approx(was.p_value)
    assert (one.oscillation is None) == (other.oscillation is None)
    if one.oscillation is not None and other.oscillation is not None:
        assert other.oscillation.turn_rate == one.oscillation.turn_rate
        assert other.oscillation.amplitude == pytest.approx(a * one.oscillation.amplitude, abs=1e-9)


@given(MODERATE)
@settings(max_examples=100, deadline=None)
def test_a_metric_upside_down_is_the_same_story(values: list[float]) -> None:
    y = np.array(values)
    low, high = curve_stats(series(y, "train/loss")), curve_stats(series(-y, "train/accuracy"))
    assert high.goal == "higher"
    for name in ("relative_gain", "lost_ground", "best_step", "turn_step", "plateau_step", "noise"):
        assert getattr(high, name) == pytest.approx(getattr(low, name), nan_ok=True), name
    assert (high.best, high.final, high.start) == (-low.best, -low.final, -low.start)
    assert [s.step for s in high.spikes] == [s.step for s in low.spikes]


@pytest.mark.parametrize(
    ("name", "goal"),
    [("train/loss", "lower"), ("val/accuracy", "higher"), ("val/error", "lower"), ("other/eval_f1", "higher"), ("other/rewards/accuracies", "higher"), ("reward", "higher"),
     ("other/reward_loss", "lower"), ("val/perplexity", "lower"), ("grad_norm", "lower"), ("other/map50", "higher"), ("other/metrics/mAP50-95(B)", "higher"), ("val/auc", "higher"), ("lr", "lower")],
)  # fmt: skip
def test_goal_from_the_name(name: str, goal: str) -> None:
    assert goal_of(name) == goal


def test_levels_of_a_descent() -> None:
    found = curve_stats(series(descent(1000, noise=0.02)))
    assert found.start == pytest.approx(2.3, rel=0.2)
    assert found.final == pytest.approx(0.4, abs=0.01)
    assert found.noise == pytest.approx(0.02, rel=0.1)
    assert found.relative_gain == pytest.approx((found.start - found.best) / found.start)
    assert found.lost_ground < 0.1
    assert found.turn_step is None
    assert found.spikes == ()
    assert found.log_growth == pytest.approx(math.log10(found.final / found.start))
    assert found.trend is not None
    assert found.trend.slope < 0


@pytest.mark.parametrize("n", [60, 1000, 20_000])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_plateau_begins_where_the_descent_ends(n: int, noise: float) -> None:
    y = np.concatenate([np.linspace(2, 0.5, n // 2), np.full(n - n // 2, 0.5)]) + noise * np.random.default_rng(2).normal(size=n)
    found = curve_stats(series(y))
    assert found.plateau_step == pytest.approx(n / 2, abs=0.05 * n + 2)
    assert found.plateau_share == pytest.approx(0.5, abs=0.07)


def test_a_steady_fall_never_settles() -> None:
    assert curve_stats(series(np.linspace(2, 1, 200) + 0.001 * np.random.default_rng(0).normal(size=200))).plateau_share < 0.05


def test_a_flat_curve_gains_nothing() -> None:
    found = curve_stats(series([0.693] * 12, quantum=0.001))
    assert found.constant
    assert (found.relative_gain, found.lost_ground, found.net_change) == (0, 0, 0)
    assert found.plateau_share == 1
    assert found.noise == pytest.approx(0.001 / math.sqrt(12))


def test_lost_ground_in_full() -> None:
    rising = curve_stats(series([1, 2, 3, 4, 5.0]))
    assert rising.lost_ground == math.inf
    back = curve_stats(series([2, 1.5, 1.0, 1.5, 2.0]))
    assert back.lost_ground == pytest.approx(1.0)
    assert curve_stats(series([2, 1.5, 1.0])).lost_ground == 0


def test_numbers_beyond_the_square_root_of_the_range() -> None:
    y = descent(40)
    big, plain = curve_stats(series(y * 2.0**1000)), curve_stats(series(y))
    assert big.noise == plain.noise * 2.0**1000
    assert big.best == plain.best * 2.0**1000
    assert big.lost_ground == plain.lost_ground
    assert big.asymptote is not None
    assert plain.asymptote is not None
    assert big.asymptote.limit == pytest.approx(plain.asymptote.limit * 2.0**1000)


def test_a_running_mean_has_neither_spikes_nor_swings() -> None:
    saw = np.tile(1 / np.arange(1, 21) + 1, 10)
    found = curve_stats(series(saw, reduction=Reduction.RUNNING))
    assert found.spikes == ()
    assert found.oscillation is None
    plain = curve_stats(series(saw))
    assert plain.oscillation is not None
    assert plain.oscillation.period == 20


def test_nothing_finite_and_nothing_at_all() -> None:
    for values in ([], [math.nan], [math.inf, math.nan]):
        found = curve_stats(series(values))
        assert found.finite == 0
        assert math.isnan(found.best)
        assert found.trend is None
        assert (found.non_finite is None) == (not values)


def test_ends_are_no_more_than_fifty_points() -> None:
    found = curve_stats(series(np.linspace(2, 1, 100_001)))
    assert found.start == pytest.approx(2 - 24.5e-5)
    assert found.final == pytest.approx(1 + 24.5e-5)


@pytest.mark.parametrize(
    ("values", "leap"),
    [([1, 1.5, 1.0, 6.0, 1.0, 1.5], 10.0), ([3, 2, 1, 4, 1, 0.5], math.inf), ([3, 2, 1], 0.0), ([1, 3, 1, 3.5, 1], 1.25)],
)
def test_the_leap_to_the_highest_record(values: list[float], leap: float) -> None:
    assert curve_stats(series(values)).leap == pytest.approx(leap)


def test_a_level_in_the_second_half_comes_with_its_error() -> None:
    rng = np.random.default_rng(3)
    flat = curve_stats(series(1.7 + rng.normal(0, 0.1, 400))).halves
    assert flat is not None
    assert abs(flat.mean - 1.7) < 3 * flat.error
    assert flat.error == pytest.approx(0.1 / math.sqrt(200), rel=0.2)
    assert abs(flat.fell) < 3
    falling = curve_stats(series(descent(400) + rng.normal(0, 0.01, 400))).halves
    assert falling is not None
    assert falling.fell > 10
    assert curve_stats(series([1.0] * 7)).halves is None
    assert curve_stats(series([1.0] * 8)).halves is not None


def test_the_rounding_in_print_is_an_error_too() -> None:
    found = curve_stats(series([0.69] * 50, quantum=0.01)).halves
    assert found is not None
    assert found.error == pytest.approx(0.01 / math.sqrt(12))


def test_from_where_a_curve_stands_still_to_five_digits() -> None:
    values = [2.0, 1.0, 0.5, 0.5000001, 0.5, 0.5]
    assert curve_stats(series(values)).still_from == 2
    assert curve_stats(series([*values, 0.51])).still_from is None
    assert curve_stats(series(values, quantum=0.01)).still_from is None  # print hides what moves


@pytest.mark.parametrize(
    ("values", "floor"),
    [([0.3, -0.5, -0.98, -0.98], -1.0), ([0.01, -0.7, -1.0000005, -1.0], -1.0), ([0.3, -0.5, -1.2, -1.4], 0.0), ([0.3, -0.01, 0.1, 0.1], 0.0),
     ([2.3, 1.0, 0.5, 0.4], 0.0)],
)  # fmt: skip
def test_what_ends_between_minus_one_and_zero_has_a_floor(values: list[float], floor: float) -> None:
    assert curve_stats(series(values)).floor == floor
