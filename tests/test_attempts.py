"""Restarts cut a run into attempts, and each record belongs to one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postmortem.model.run import Series
from postmortem.sources.attempts import MOST_ATTEMPTS, cut, describe, hand_out, into_attempts, tidy


def series(steps: object, values: object = None, *, name: str = "train/loss") -> Series:
    at = np.array(steps, dtype=float)
    return Series(name, name, "log", at, np.arange(len(at), dtype=float) if values is None else np.array(values, dtype=float))


def parts(*steps: float) -> list[tuple[int, int]]:
    return [(p.start, p.stop) for p in cut(np.array(steps, dtype=float))]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], [(0, 0)]),
        ([7], [(0, 1)]),
        ([1, 2, 3], [(0, 3)]),
        ([1, 1, 1], [(0, 3)]),
        ([1, 2, 3, 4, 5, 3, 4, 5, 6], [(0, 5), (5, 9)]),  # a resume that overlaps
        ([1, 2, 3, 1, 2, 3], [(0, 3), (3, 6)]),  # a new start
        ([100, 0, 10, 20, 30], [(0, 5)]),  # a check of the validation before training
        ([0, 10, 20, 30, 50, 40, 60, 70], [(0, 8)]),  # one record written late
        ([1, 2, 3, 4, 1, 2, 3, 4, 1, 2], [(0, 4), (4, 8), (8, 10)]),
    ],
)
def test_cut(steps: list[float], expected: list[tuple[int, int]]) -> None:
    assert parts(*steps) == expected


def test_interleaved_ranks_are_one_attempt() -> None:
    steps = np.arange(0, 400, 1.0)
    for n in range(1, 400, 3):
        steps[n - 1 : n + 1] = steps[n - 1 : n + 1][::-1]
    assert len(cut(steps)) == 1


def test_many_short_trials_in_one_file_are_restarts() -> None:
    assert len(cut(np.tile(np.arange(4.0), 20))) == 20


def test_more_restarts_than_are_looked_at() -> None:
    segments = cut(np.tile(np.arange(10.0), 200))
    assert len(segments) == MOST_ATTEMPTS
    assert (segments[0].start, segments[-1].stop) == (0, 2000)


def test_every_series_follows_the_loss() -> None:
    train = series([*range(1, 251), *range(210, 401)])
    val = series([100, 200, 300, 400], name="val/loss")  # never goes back
    lr = series([*range(1, 251), *range(210, 401)], name="lr")
    first, second = into_attempts([train, val, lr])
    assert {s.name: (s.steps[0], s.steps[-1]) for s in first} == {"train/loss": (1, 250), "val/loss": (100, 200), "lr": (1, 250)}
    assert {s.name: (s.steps[0], s.steps[-1]) for s in second} == {"train/loss": (210, 400), "val/loss": (300, 400), "lr": (210, 400)}


def test_what_only_the_first_attempt_logged_stays_there() -> None:
    first, second = into_attempts([series([*range(100), *range(20)]), series([50, 90], name="val/loss")])
    assert {s.name for s in first} == {"train/loss", "val/loss"}
    assert {s.name for s in second} == {"train/loss"}


def test_what_was_written_before_a_resume_is_of_the_attempt_before() -> None:
    train, val = series([*range(0, 100, 5), *range(60, 120, 5)]), series([20, 40, 60, 80, 100], name="val/loss")

    def of_each(*found: Series) -> list[list[list[float]]]:
        return [[s.steps.tolist() for s in attempt if s.name == "val/loss"] for attempt in into_attempts(found)]

    assert of_each(train, val) == [[[20, 40]], [[60, 80, 100]]]  # nothing tells
    train = replace(train, records=np.array([*range(20), *range(24, 36)]))
    assert of_each(train, replace(val, records=np.array([4, 8, 12, 16, 21]))) == [[[20, 40, 60, 80, 100]], []]
    assert of_each(train, replace(val, records=np.array([4, 8, 24, 28, 32]))) == [[[20, 40]], [[60, 80, 100]]]
    assert of_each(train, replace(val, records=np.array([4, 8, 24, 28, 32]), source="other.log")) == [[[20, 40]], [[60, 80, 100]]]


def test_an_evaluation_before_the_first_record_of_a_resume_is_of_the_resume() -> None:
    train = replace(series([*range(0, 100, 5), *range(60, 120, 5)]), records=np.array([*range(20), *range(24, 36)]))
    val = replace(series([50, 60, 110], name="val/loss"), records=np.array([12, 22, 35]))
    assert [[s.steps.tolist() for s in one if s.name == "val/loss"] for one in into_attempts([train, val])] == [[[50]], [[60, 110]]]


def test_an_evaluation_a_little_after_the_last_batch_belongs_to_it() -> None:
    assert hand_out(np.array([50.0, 101, 50, 101]), [(0, 100), (0, 100)]) == [slice(0, 2), slice(2, 4)]


def test_seams_say_what_happened() -> None:
    again, resumed = describe(into_attempts([series([*range(100), *range(100)])])), describe(into_attempts([series([*range(100), *range(60, 160)])]))
    assert again[0].seam is None
    assert again[0].resumed_from is None
    folds = describe(into_attempts([series([*range(100)] * 4)]))
    assert [str(one.seam) for one in folds[1:]] == ["another training over the same steps began after step 99: a fold, a trial or a seed"] * 3
    assert all(one.resumed_from is None for one in folds)
    crashed = describe(into_attempts([series([*range(100), *range(30), *range(80), *range(100)])]))
    assert not any("fold" in str(one.seam) for one in crashed)
    assert str(again[1].seam) == "started again from the beginning after step 99"
    assert again[1].resumed_from is None
    assert str(resumed[1].seam) == "went back from step 99 to step 60 and went on from there"
    assert resumed[1].resumed_from == 60
    assert (resumed[1].first_step, resumed[1].last_step) == (60, 159)


def test_tidy_takes_the_newest_of_a_step_and_hides_no_nan() -> None:
    one = tidy(series([3, 1, 2, 2], [30, 10, 20, 21]))
    assert (one.steps.tolist(), one.values.tolist()) == ([1, 2, 3], [10, 21, 30])
    bad = tidy(series([1, 1, 2, 2], [np.nan, 5, 6, np.inf]))
    assert np.isnan(bad.values[0])
    assert np.isinf(bad.values[1])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=15), min_size=1, max_size=4))
def test_any_steps_end_in_attempts_that_go_forward_and_nothing_is_lost(many: list[list[float]]) -> None:
    names = ["train/loss", "val/loss", "lr", "other/x"]
    found = [series(steps, name=names[n]) for n, steps in enumerate(many)]
    attempts = into_attempts(found)
    assert attempts[-1]
    assert len(describe(attempts)) == len(attempts) <= MOST_ATTEMPTS
    for one in found:
        pieces = [s for attempt in attempts for s in attempt if s.name == one.name]
        assert {x for p in pieces for x in p.steps.tolist()} == set(one.steps.tolist())
        for piece in pieces:
            assert np.all(np.diff(piece.steps) > 0)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=8), st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=1, max_size=3))
@example([0.0], [(0.0, 0.0), (1.0, 19.0)])  # near the second, within the first
def test_handing_out_is_the_cheapest_cut(steps: list[float], bounds: list[tuple[float, float]]) -> None:
    """Against all cuts, one by one."""
    spans = [(low, low + more) for low, more in bounds]
    at = np.array(steps)

    def cost(cuts: list[tuple[int, int]]) -> float:
        total = 0.0
        for number, ((low, high), (a, b)) in enumerate(zip(spans, cuts, strict=True)):
            for n in range(a, b):
                outside = max(low - at[n], at[n] - high, 0.0) / max(high - low, 1.0)
                total += min(max(outside - 0.05, 0.0), 1.0) + 1e-4 * (outside > 0) + 1e-6 * (len(spans) - number)
                if n > a and at[n] < at[n - 1]:
                    total += 10.0 * (1.0 + (at[n - 1] - at[n]) / max(at.max() - at.min(), 1.0))
        return total

    def all_cuts(start: int, left: int) -> list[list[tuple[int, int]]]:
        if left == 1:
            return [[(start, len(at))]]
        return [[(start, stop), *rest] for stop in range(start, len(at) + 1) for rest in all_cuts(stop, left - 1)]

    got = [(p.start, p.stop) for p in hand_out(at, spans)]
    assert [a for a, _ in got[1:]] == [b for _, b in got[:-1]]
    assert (got[0][0], got[-1][1]) == (0, len(at))
    assert cost(got) == pytest.approx(min(map(cost, all_cuts(0, len(spans)))), abs=1e-9)


def test_what_is_written_again_is_no_restart() -> None:
    """Two writers of one log, or its end printed twice: the values are those of before, but for the last digit."""
    steps = np.array([10, 20, 30, 40, 50, 30, 40, 50, 60, 70], dtype=float)
    values = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.7001, 0.6, 0.5, 0.4, 0.3])
    assert len(cut(steps, values, 1e-4)) == 1
    assert len(cut(steps, values + 0.01 * (np.arange(10) >= 5), 1e-4)) == 2  # trained again
    assert len(cut(steps)) == 2
    twice = np.array([10, 20, 30, 20, 30, 10, 20, 30], dtype=float)  # the end printed again, then a run appended
    assert [part.start for part in cut(twice, np.array([0.9, 0.8, 0.7, 0.8, 0.7, 0.91, 0.82, 0.71]))] == [0, 5]


def test_a_writer_that_lags_by_two_records_is_no_restart() -> None:
    late = [10, 20, 30, 40, 20, 50, 30, 60, 40, 70, 50, 80, 60, 90, 100, 110, 120, 130, 140, 150, 160, 170, 180, 190, 200, 210, 220, 230]
    assert len(cut(np.array(late, dtype=float))) == 1
    both = [n for k in range(10, 400, 10) for n in (k, k - 10)]
    swapped = [*both, 390, 380, 390, 400, 410, 400, *(n - 300 for n in both[-20:])]  # both in a row at times, and one restart
    assert [part.start for part in cut(np.array(swapped, dtype=float))] == [0, len(both) + 6]


def test_where_two_writers_interleave_the_restart_is_the_longest_way_back() -> None:
    first = [10.0 * n for n in range(1, 50)] + [490, 470, 480, 500, 490, 510, 500, 520]  # one process lags behind the other
    again = [10.0 * n for n in range(46, 70)]
    lr = np.array([*first, *again])
    one, two = hand_out(lr, [(10.0, 520.0), (460.0, 690.0)])
    assert lr[one].tolist() == first
    assert lr[two].tolist() == again
