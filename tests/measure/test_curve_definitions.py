"""Every plain figure of a curve against its definition, written out point by point with Python's own statistics."""

import itertools
import math
import statistics
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postmortem.measure.curves import curve_stats
from postmortem.measure.gap import gap_stats
from postmortem.model.curves import CurveStats
from tests.measure.synthetic import series

POINTS = st.lists(
    st.one_of(st.integers(-99, 999).map(lambda i: i / 16), st.sampled_from([0.0, math.nan, math.inf, -math.inf])), min_size=1, max_size=70
)
ELSEWHERE = {"name", "goal", "reduction", "quantum", "trend", "tail", "after_best", "turn_step", "spikes", "oscillation", "asymptote", "non_finite"}


def middle(values: list[float]) -> float:
    return statistics.median(values)


def smoothed(y: list[float]) -> list[float]:
    """Running median of 5 from 30 points on (of 3 beside the ends), of 3 from 12 on; Tukey's rule for the ends."""
    n = len(y)
    if n < 12:
        return y
    reach = 1 if n < 30 else 2
    out = [middle(y[i - r : i + r + 1]) for i in range(1, n - 1) for r in [min(reach, i, n - 1 - i)]]
    ends = [middle([y[0], out[0], 3 * out[0] - 2 * out[1]]), middle([y[-1], out[-1], 3 * out[-1] - 2 * out[-2]])]
    return [ends[0], *out, ends[1]]


def sigma_of(y: list[float]) -> float:
    """1.4826 × the median distance of a point from the line through its neighbours, over √1.5; of 6 to 30 points no more than by third differences."""
    if len(y) < 4:
        return 0.0
    bends = [abs(b - (a + c) / 2) for a, b, c in zip(y, y[1:], y[2:], strict=False)]
    thirds = [abs(d - 3 * c + 3 * b - a) for a, b, c, d in zip(y, y[1:], y[2:], y[3:], strict=False)]
    second, third = 1.4826 * middle(bends) / math.sqrt(1.5), 1.4826 * middle(thirds) / math.sqrt(20)
    return min(second, third) if 6 <= len(y) <= 30 else second


def share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.inf if part > 0 else 0.0


def decades(value: float, base: float) -> float:
    return math.log10(value / base) if value > 0 and base > 0 else math.nan


def expected(values: list[float], steps: list[float], worse: int) -> dict[str, object]:
    """What `CurveStats` says it holds; `worse` is 1 where lower is better."""
    kept = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    x, y = [s for s, _ in kept], [v for _, v in kept]
    n, level, sigma = len(y), smoothed(y), sigma_of(y)
    end = max(1, min(n // 10, 50))
    noisy = end < 3 and n >= 12 and sigma > abs(middle(y[-3:]) - middle(y[-6:-3]))  # then the last three records are the end
    start, final = middle(y[:end]), middle(y[-(3 if noisy else end) :])
    at_best = min(range(n), key=lambda i: worse * level[i])
    at_high = max(range(n), key=lambda i: y[i])
    rises = [b - a for a, b in itertools.pairwise(y)]
    leap = share(rises[at_high - 1], max([0.0, *rises[: at_high - 1], *rises[at_high:]])) if at_high and rises[at_high - 1] > 0 else 0.0
    gain = max(0.0, worse * (start - level[at_best]))
    settled = next((i for i in range(n) if all(abs(v - final) <= 3 * sigma for v in level[i:])), n)
    plateau = settled if n >= 4 and n - settled >= max(3, 0.05 * n) else None
    still = next(i for i in range(n) if all(abs(v - y[-1]) <= 1e-5 * abs(y[-1]) for v in y[i:]))
    return {
        "points": len(values), "finite": n, "first_step": steps[0], "last_step": steps[-1], "first": y[0], "last": y[-1], "start": start, "final": final,
        "best": level[at_best], "best_step": x[at_best], "worst": worse * max(worse * v for v in level), "lowest": min(y), "highest": max(y),
        "highest_step": x[at_high], "leap": leap, "noise": sigma, "distinct": len(set(y)), "relative_gain": share(gain, abs(start)),
        "lost_ground": share(max(0.0, worse * (final - level[at_best])), gain), "net_change": math.copysign(share(abs(final - start), abs(start)), final - start),
        "log_growth": decades(final, start), "peak_log_growth": decades(max(y), start), "zeros": sum(v == 0 for v in values),
        "plateau_step": None if plateau is None else x[plateau],
        "plateau_share": 0.0 if plateau is None else (x[-1] - x[plateau]) / (x[-1] - x[0]),
        "still_from": x[still] if still < n - 1 else None,
    }  # fmt: skip


@given(POINTS, st.sampled_from(["other/thing", "val/accuracy"]), st.sampled_from([1.0, 25.0]))
@example([2.0] * 9, "other/thing", 1.0)
@example([0.0, 0.0, 3.0], "val/accuracy", 1.0)
@settings(max_examples=300, deadline=None)
def test_every_level_step_and_share(values: list[float], name: str, apart: float) -> None:
    steps = [7.0 + apart * i for i in range(len(values))]
    found = curve_stats(series(values, name, steps=steps))
    if not any(map(math.isfinite, values)):
        assert found.finite == 0
        return
    for field, wanted in expected(values, steps, -1 if "accuracy" in name else 1).items():
        assert getattr(found, field) == (None if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True)), field


@pytest.mark.parametrize("n", [25, 400, 20_000])
def test_the_best_of_many_records_is_lucky(n: int) -> None:
    """Of noise about one level, which gains nothing: by most of what `luck` says and seldom more, whatever the number of records."""
    rng = np.random.default_rng(n)
    found = sorted((2 - c.best) / c.luck for c in (curve_stats(series(2 + 0.3 * rng.standard_normal(n))) for _ in range(20)))
    assert 0.6 < statistics.median(found) < 1
    assert found[17] < 1.3
    assert curve_stats(series([2.0, 1.0, 2.0, 0.0])).luck == 0


def test_no_figure_was_forgotten() -> None:
    told = expected([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0], 1).keys()
    assert {f.name for f in fields(CurveStats)} == {*told, *ELSEWHERE, "halves"}


@given(st.lists(st.integers(0, 99).map(lambda i: i / 8), min_size=8, max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_second_half_as_independent_records(values: list[float]) -> None:
    halves = curve_stats(series(values, "other/thing")).halves
    assert halves is not None
    late, early = values[len(values) // 2 :], values[: max(3, len(values) // 4)]
    errors = [max(statistics.stdev(part) / math.sqrt(len(part)), 1e-12) for part in (late, early)]
    assert halves.mean == pytest.approx(statistics.mean(late))
    assert halves.error == pytest.approx(errors[0], abs=1e-11)
    if min(errors) > 1e-9:
        assert halves.fell == pytest.approx((statistics.mean(early) - statistics.mean(late)) / math.hypot(*errors))


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("again", [False, True])
def test_what_is_said_of_the_first_that_is_not_finite(broken: float, again: bool) -> None:
    values = [1.0, 2.0, 4.0, 300.0, broken, math.nan, *([2.0, 1.0] if again else [])]
    found = curve_stats(series(values, "other/thing", steps=np.arange(len(values)) * 5.0)).non_finite
    assert found is not None
    assert (found.first_step, found.kind, found.count, found.recovered) == (20, "nan" if math.isnan(broken) else "inf", 2, again)
    assert found.share == 2 / (len(values) - 4)
    assert (found.points_before, found.last_finite, found.last_finite_step) == (4, 300, 15)
    assert found.growth_before == pytest.approx(math.log10(300 / 2))


@pytest.mark.parametrize("seed", range(6))
def test_how_high_a_jump_is_and_how_far_above_all_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = (2 + 0.05 * rng.standard_normal(300)).round(3).tolist()
    y[150], y[220] = 5.0, 4.0
    first, second = curve_stats(series(y)).spikes
    for spike, at in ((first, 150), (second, 220)):
        level = middle(y[at - 20 : at])
        bends = [abs(y[i] - (y[i - 1] + y[i + 1]) / 2) / math.sqrt(1.5) for i in range(at - 20, at - 1)]
        unit = max(1.4826 * middle(bends), 0.75 * sigma_of(y))
        assert (spike.step, spike.value, spike.level) == (at, y[at], pytest.approx(level))
        assert spike.ratio == pytest.approx(y[at] / level)
        assert spike.height == pytest.approx((y[at] - level) / unit)
    assert first.prominence == pytest.approx((first.value - first.level) / (second.value - second.level))
    alone = [v if i != 220 else 2.0 for i, v in enumerate(y)]
    (spike,) = curve_stats(series(alone)).spikes
    rest = max(v - s for i, (v, s) in enumerate(zip(alone, smoothed(alone), strict=True)) if i >= 3 and i != 150)
    assert spike.prominence == pytest.approx((spike.value - spike.level) / rest)


@given(st.lists(st.integers(1, 99).map(lambda i: i / 8), min_size=1, max_size=60), st.sampled_from([None, 0.5]))
@settings(max_examples=150, deadline=None)
def test_evaluations_that_cannot_be_told_from_the_best(values: list[float], quantum: float | None) -> None:
    """As low as the lowest (of the running median from 30 on) but for what two records of one level differ by in 19 of 20 cases, or for print."""
    at = [10.0 * i for i in range(len(values))]
    found = gap_stats(series([1.0] * len(values), steps=at), series(values, "val/loss", steps=at, quantum=quantum))
    assert found is not None
    level = values if len(values) < 30 else smoothed(values)
    within = max(1.645 * math.sqrt(2) * sigma_of(values), (quantum or 0.0) / 2)
    alike = [i for i, v in enumerate(level) if v <= min(level) + within]
    assert found.best_between == (at[alike[0]], at[alike[-1]])
    assert found.best_index == level.index(min(level))
