"""One axis: batches, optimizer steps and epochs of one run end up where they were logged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from postmortem.model.run import Reduction, Series
from postmortem.sources.axes import on_one_axis, once_an_epoch, spread, steps_per_epoch, within_epochs

NAN = np.nan


def series(
    steps: object, values: object = None, *, epochs: object = None, name: str = "train/loss", key: str = "", reduction: Reduction = Reduction.UNKNOWN
) -> Series:
    at = np.array(steps, dtype=float)
    seen = np.ones(len(at)) if values is None else np.array(values, dtype=float)
    return Series(name, key or name, "log", at, seen, None if epochs is None else np.array(epochs, dtype=float), reduction=reduction)


def nothing(n: int) -> np.ndarray:
    return np.full(n, NAN)


def test_a_batch_counter_that_starts_again_each_epoch_is_unrolled() -> None:
    one = series([10, 20, 30] * 3, epochs=[1, 1, 1, 2, 2, 2, 3, 3, 3])
    assert within_epochs(one).steps.tolist() == [10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_batches_counted_from_zero_leave_room_for_the_last() -> None:
    one = series([0, 10, 20] * 2, epochs=[0, 0, 0, 1, 1, 1])
    assert within_epochs(one).steps.tolist() == [0, 10, 20, 30, 40, 50]


def test_a_known_length_of_the_epoch_is_used() -> None:
    one = series([0, 10, 20] * 2, epochs=[0, 0, 0, 1, 1, 1])
    assert within_epochs(one, 35.0).steps.tolist() == [0, 10, 20, 35, 45, 55]
    assert within_epochs(one, 250.0).steps.tolist() == [0, 10, 20, 30, 40, 50]  # the configuration speaks of something else


def test_a_resume_among_unrolled_batches_stays_a_step_back() -> None:
    one = series([10, 20, 10, 20, 10, 20, 10, 20], epochs=[1, 1, 2, 2, 2, 2, 3, 3])
    assert within_epochs(one).steps.tolist() == one.steps.tolist()  # within one epoch: nobody can say which batch it is
    whole = series([10, 20] * 6, epochs=[1, 1, 2, 2, 3, 3, 2, 2, 3, 3, 4, 4])
    assert within_epochs(whole).steps.tolist() == [10, 20, 30, 40, 50, 60, 30, 40, 50, 60, 70, 80]


def test_a_global_counter_that_starts_anew_is_no_batch_counter() -> None:
    one = series([10, 20, 30, 40, 10, 20, 30, 40], epochs=[1, 1, 2, 2, 1, 1, 2, 2])
    assert within_epochs(one) is one


@pytest.mark.parametrize(
    ("steps", "epochs", "expected"),
    [
        ([100, 200, 300], [1, 2, 3], 100.0),
        ([50, 100, 150, 200], [0.5, 1.0, 1.5, 2.0], 100.0),
        ([10, 60, 110, 160, 210, 260], [0, 0, 1, 1, 2, 2], 100.0),  # a staircase: first record of each epoch
        ([100, 200, 300, 200, 300, 400, 500], [1, 2, 3, 2, 3, 4, 5], 100.0),  # resumed
        ([1, 2, 3], [1, 2, 3], None),  # the step is the epoch
        ([10, 20, 30], [1, 1, 1], None),
    ],
)
def test_steps_per_epoch(steps: list[float], epochs: list[float], expected: float | None) -> None:
    assert steps_per_epoch([series(steps, epochs=epochs)]) == pytest.approx(expected)


def test_exact_records_come_before_a_staircase() -> None:
    stairs = series([0, 25, 50, 75, 100, 125], epochs=[0, 0, 1, 1, 2, 2])
    exact = series([43, 86, 129], epochs=[1, 2, 3], name="val/loss")
    assert steps_per_epoch([stairs, exact]) == 43.0


def test_epoch_only_beside_step_only_end_together() -> None:
    train, val = series(np.arange(10, 510, 10)), series(nothing(5), epochs=[1, 2, 3, 4, 5], name="val/loss")
    (a, b), unit, per_epoch = on_one_axis([train, val], None)
    assert (unit, per_epoch) == ("step", 100.0)
    assert b.steps.tolist() == [100, 200, 300, 400, 500]
    assert a.steps[-1] == 500


def test_epochs_logged_as_steps_by_an_evaluation() -> None:
    """`add_scalar("val/loss", x, epoch)` beside `add_scalar("train/loss", x, global_step)`."""
    train, val = series(np.arange(1, 401)), series([0, 1, 2, 3], name="val/loss", reduction=Reduction.EPOCH)
    (_, b), unit, per_epoch = on_one_axis([train, val], None)
    assert (unit, per_epoch) == ("step", 100.0)
    assert b.steps.tolist() == [100, 200, 300, 400]


def test_two_evaluations_of_a_short_log_are_not_taken_for_epochs() -> None:
    train, val = series([1, 2, 3, 4, 5, 6]), series([1, 2, 3], name="val/loss", reduction=Reduction.EPOCH)
    (_, b), unit, _ = on_one_axis([train, val], None)
    assert unit == "step"
    assert b.steps.tolist() == [1, 2, 3]


def test_epochs_alone_are_the_axis_and_several_records_of_one_spread_over_it() -> None:
    (a,), unit, per_epoch = on_one_axis([series(nothing(6), epochs=[1, 1, 1, 2, 2, 2])], None)
    assert (unit, per_epoch) == ("epoch", 1.0)
    assert a.steps == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])


def test_no_counter_at_all_is_the_order_of_the_records() -> None:
    (a,), unit, per_epoch = on_one_axis([series(nothing(3))], None)
    assert (a.steps.tolist(), unit, per_epoch) == ([1, 2, 3], "record", None)


def test_steps_that_a_few_records_lack_are_interpolated() -> None:
    (a,), _, _ = on_one_axis([series([10, NAN, 30, NAN])], None)
    assert a.steps.tolist() == [10, 20, 30, 30]


def test_a_single_point_and_a_counter_out_of_all_reason() -> None:
    (a, b), unit, _ = on_one_axis([series([5]), series([1, 2, 1e300, np.inf], name="val/loss")], None)
    assert unit == "step"
    assert a.steps.tolist() == [5]
    assert b.steps.tolist() == [1, 2, 2, 2]


def test_shares_of_an_epoch_that_rounding_made_0_are_spread_ahead() -> None:
    assert spread(np.array([0.0, 0.0, 0.25, 0.25, 0.5])).tolist() == [0, 0.0625, 0.125, 0.25, 0.5]


def test_spread_goes_on_after_a_restart() -> None:
    assert spread(np.array([1.0, 1, 2, 2, 1, 1])).tolist() == [0.5, 1, 1.5, 2, 0.5, 1]


COUNTERS = st.one_of(st.none(), st.sampled_from(["float", "whole", "rising"]))


@st.composite
def any_series(draw: st.DrawFn) -> Series:
    n = draw(st.integers(1, 12))

    def counter() -> np.ndarray | None:
        kind = draw(COUNTERS)
        if kind is None:
            return None
        if kind == "float":
            return draw(arrays(np.float64, n))
        values = np.array(draw(st.lists(st.integers(0, 6), min_size=n, max_size=n)), dtype=float)
        return np.cumsum(values) if kind == "rising" else values

    steps, epochs = counter(), counter()
    name = draw(st.sampled_from(["train/loss", "val/loss", "lr", "train/loss.epoch", "other/x"]))
    return Series(
        name, draw(st.sampled_from([name, "epoch_loss", "loss"])), draw(st.sampled_from(["a1.log", "a2.log", "b.csv"])),
        nothing(n) if steps is None else steps, draw(arrays(np.float64, n)), epochs, draw(st.one_of(st.none(), arrays(np.float64, n))),
        draw(st.sampled_from(list(Reduction))),
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(any_series(), max_size=4), st.one_of(st.none(), st.floats(2, 1e4)))
def test_whatever_was_logged_every_record_gets_a_finite_step(found: list[Series], known: float | None) -> None:
    placed, unit, per_epoch = on_one_axis(found, known)
    assert unit in ("step", "epoch", "record")
    assert per_epoch is None or np.isfinite(per_epoch)
    assert len(placed) == len(found)
    for before, after in zip(found, placed, strict=True):
        assert np.isfinite(after.steps).all()
        assert len(after) == len(before) == len(after.steps)
        assert np.array_equal(before.values, after.values, equal_nan=True)


def test_what_is_called_a_step_is_an_epoch_where_as_many_were_planned() -> None:
    def one(name: str, steps: list[float]) -> Series:
        return Series(name, name, "mlflow.db", np.array(steps), np.ones(len(steps)))

    both = [one("train/loss", [0, 1, 2, 3]), one("val/loss", [0, 1, 2, 3]), one("lr", [0, 1, 2, 3])]
    placed, unit, _ = on_one_axis(once_an_epoch(both, 10.0), None)
    assert unit == "epoch"
    assert [s.steps.tolist() for s in placed] == [[1, 2, 3, 4]] * 3
    assert once_an_epoch(both, 2.0) is both  # more than were planned
    assert once_an_epoch(both, None) is both
    assert once_an_epoch(both[:1], 10.0)[0] is both[0]  # nothing says that an epoch lies between two records
    apart = [one("train/loss", [0, 10, 20]), one("val/loss", [0, 10, 20])]
    assert once_an_epoch(apart, 100.0) is apart


def test_as_many_counts_as_epochs_were_planned_are_epochs_however_few_steps_they_have() -> None:
    """`add_scalar("Loss/val", x, epoch)` in a training of five steps per epoch, and the accuracy that was written beside it."""
    train = series(np.arange(0, 200, 5))
    val, right = series(np.arange(1, 41), name="val/loss", reduction=Reduction.EPOCH), series(np.arange(1, 41), name="train/accuracy")
    placed, _, per_epoch = on_one_axis([train, val, right], None, 40.0)
    assert per_epoch == pytest.approx(195 / 40)
    assert placed[1].steps[-1] == placed[2].steps[-1] == 195
    assert [s.steps[-1] for s in on_one_axis([train, val, right], None)[0]] == [195, 40, 40]  # nobody says how many were planned


def test_a_counter_that_never_moves_counts_nothing() -> None:
    (one, two), unit, _ = on_one_axis([series([0] * 5), series([0, 0], name="val/loss")], None)
    assert (one.steps.tolist(), two.steps.tolist(), unit) == ([1, 2, 3, 4, 5], [1, 2], "record")
    (one,), unit, _ = on_one_axis([series([0] * 3, epochs=[0.5, 1.0, 1.5])], None)
    assert (one.steps.tolist(), unit) == ([0.5, 1.0, 1.5], "epoch")
    (one, _), unit, _ = on_one_axis([series([9] * 3), series([1, 2], name="val/loss")], None)
    assert (one.steps.tolist(), unit) == ([9, 9, 9], "step")
