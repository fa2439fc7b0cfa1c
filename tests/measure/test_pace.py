import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.measure.pace import pace_stats
from tests.measure.synthetic import series, setting


def timed(seconds: np.ndarray, start: float = 1.7e9, name: str = "train/loss", every: float = 10.0) -> object:
    n = len(seconds) + 1
    return series(np.ones(n), name, steps=np.arange(n) * every, times=start + np.concatenate([[0], np.cumsum(seconds)]))


def test_steady_pace() -> None:
    found = pace_stats([timed(np.full(360, 20.0))], [setting("gpus", 8)])  # type: ignore[list-item]
    assert (found.hours, found.seconds_per_step, found.slowdown, found.longest_gap, found.gpus) == (2.0, 2.0, 1.0, 20.0, 8)


def test_a_collapse_of_the_throughput() -> None:
    seconds = np.full(200, 1.0)
    seconds[-25:] = 7.0
    found = pace_stats([timed(seconds)])  # type: ignore[list-item]
    assert found.slowdown == pytest.approx(7)
    assert found.seconds_per_step == pytest.approx(0.1)


def test_the_longest_silence_and_where_it_began() -> None:
    seconds = np.full(50, 1.0)
    seconds[30] = 3000
    found = pace_stats([timed(seconds)])  # type: ignore[list-item]
    assert (found.longest_gap, found.longest_gap_step) == (3000, 300)
    assert found.slowdown == pytest.approx(1)


def test_a_clock_of_whole_seconds() -> None:
    times = np.floor(np.arange(500) * 0.13)
    found = pace_stats([series(np.ones(500), times=times)])
    assert found.seconds_per_step == pytest.approx(0.13, rel=0.1)


def test_evaluations_do_not_count_as_steps() -> None:
    train = timed(np.full(100, 1.0))
    val = series([1, 1, 1.0], "val/loss", steps=[300, 600, 900], times=1.7e9 + np.array([40, 80, 400.0]))
    found = pace_stats([train, val])  # type: ignore[list-item]
    assert found.seconds_per_step == pytest.approx(0.1)
    assert found.hours == pytest.approx(400 / 3600)


def test_logged_step_times() -> None:
    found = pace_stats([series(np.r_[np.full(80, 0.5), np.full(20, 2.0)], "step_time")], (), {"gpus": 4})
    assert (found.seconds_per_step, found.slowdown, found.hours, found.gpus) == (0.5, 4.0, None, 4)


def test_nothing_known() -> None:
    found = pace_stats([series([1, 2.0])])
    assert (found.hours, found.seconds_per_step, found.longest_gap, found.gpus) == (None, None, None, None)
    assert pace_stats([series([1.0], times=np.array([3.0]))]).hours is None


@given(st.lists(st.floats(), max_size=40), st.sampled_from([True, "two", math.nan, -1, "8", None]))
@settings(deadline=None)
def test_any_times(times: list[float], gpus: object) -> None:
    found = pace_stats([series(np.ones(len(times)), times=np.array(times, dtype=float))], [setting("gpus", gpus)])
    assert found.hours is None or found.hours >= 0
    assert found.gpus == (8 if gpus == "8" else None)
