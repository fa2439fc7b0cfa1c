import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.measure.schedule import schedule_stats
from postmortem.model.curves import ScheduleStats
from tests.measure.synthetic import series, setting

STEPS = np.arange(0, 1000, 10.0)


def of(values: np.ndarray | list[float], **more: float) -> ScheduleStats:
    found = schedule_stats(series(values, "lr", steps=np.arange(len(values)) * 10.0, **more), ())  # type: ignore[arg-type]
    assert found is not None
    return found


def cosine(n: int, peak: float = 1e-3, floor: float = 0.0) -> np.ndarray:
    return floor + (peak - floor) * 0.5 * (1 + np.cos(np.pi * np.arange(n) / (n - 1)))


def kinds(found: ScheduleStats) -> list[str]:
    return [p.kind for p in found.phases]


def test_warmup_then_cosine() -> None:
    found = of(np.concatenate([np.linspace(1e-5, 1e-3, 20), cosine(80)[1:]]))
    assert kinds(found) == ["warmup", "decay"]
    assert found.warmup_steps == pytest.approx(190, abs=10)
    assert found.peak == pytest.approx(1e-3, rel=0.05)
    assert found.highest == 1e-3
    assert (found.cyclic, found.constant, found.restarts) == (False, False, ())
    assert found.low_share < 0.1
    assert found.jump < 1.5


def test_constant() -> None:
    found = of([3e-4] * 10)
    assert (kinds(found), found.constant, found.warmup_steps, found.jump, found.jump_step) == (["constant"], True, 0, 1, None)
    assert (found.low_share, found.low_from_step, found.zero_share) == (0, None, 0)


def test_zero_everywhere() -> None:
    found = of([0.0] * 10)
    assert (kinds(found), found.zero_share, found.low_share, found.low_from_step) == (["zero"], 1, 1, 0)


def test_decayed_too_early() -> None:
    found = of([1e-3] * 5 + [1e-7] * 95)
    assert found.peak == pytest.approx(1e-3)
    assert found.low_share == pytest.approx(0.95)
    assert found.low_from_step == 50


def test_a_printed_zero_is_not_zero() -> None:
    """lr 5e-7 printed with six decimals: nothing can be said from the log, the saved optimizer speaks."""
    printed = series([0.0] * 10, "lr", quantum=1e-6)
    found = schedule_stats(printed, (), [(0.0, 5e-7), (100.0, 4e-7)])
    assert found is not None
    assert (found.source, found.zero_share, found.highest) == ("optimizer", 0, 5e-7)
    configured = schedule_stats(printed, [setting("learning_rate", 5e-7)])
    assert configured is not None
    assert (configured.source, configured.highest) == ("configured", 5e-7)
    fine = schedule_stats(series([0.0] * 10, "lr", quantum=1e-6), [setting("learning_rate", 0.1)])
    assert fine is not None
    assert (fine.source, fine.zero_share) == ("logged", 1)  # a tenth would show


def test_a_coarse_print_hides_only_what_is_below_it() -> None:
    found = of(np.round(cosine(50, peak=2e-6), 6), quantum=1e-6)
    assert found.zero_share == 0
    assert found.low_share == 0


def test_one_absurd_value_is_a_jump_and_not_the_peak() -> None:
    values = np.full(100, 1e-3)
    values[40] = 5.0
    found = of(values)
    assert found.peak == pytest.approx(1e-3)
    assert (found.jump, found.jump_step) == (pytest.approx(5000), 400)
    assert found.low_share == 0
    short = of([1e-3, 1e-3, 5.0, 1e-3, 1e-3])
    assert short.peak == pytest.approx(1e-3)


def test_restart_after_a_decay() -> None:
    found = of(np.concatenate([cosine(50, floor=1e-5), cosine(50, floor=1e-5)]))
    assert found.restarts == (500,)
    assert not found.cyclic


def test_cycles() -> None:
    triangle = 1e-4 + 9e-4 * np.abs(((np.arange(120) / 20) % 2) - 1)
    assert of(triangle).cyclic
    assert of(np.concatenate([cosine(30, floor=1e-5)] * 4)).cyclic
    assert not of(np.concatenate([np.linspace(1e-5, 1e-3, 20), cosine(80)])).cyclic
    rng = np.random.default_rng(0)
    assert not of(1e-3 * (1 + 0.01 * rng.normal(size=100))).cyclic


def test_steps_down() -> None:
    found = of([0.1] * 30 + [0.01] * 30 + [0.001] * 30)
    assert kinds(found) == ["constant", "decay", "constant", "decay", "constant"]
    assert found.restarts == ()


def test_a_coarsely_printed_decay_is_one_decay() -> None:
    assert kinds(of(np.round(np.linspace(1e-3, 1e-5, 200), 5), quantum=1e-5))[-1] == "decay"
    assert len(of(np.round(np.linspace(1e-3, 1e-5, 200), 5)).phases) <= 2


def test_logged_before_saved_before_configured() -> None:
    logged, saved, configured = series([1e-3, 1e-3], "lr"), [(10.0, 2e-3), (5.0, 3e-3)], [setting("learning_rate", "1e-3")]
    assert schedule_stats(logged, configured, saved).source == "logged"  # type: ignore[union-attr]
    optimizer = schedule_stats(None, configured, saved)
    assert optimizer is not None
    assert (optimizer.source, optimizer.first, optimizer.final) == ("optimizer", 3e-3, 2e-3)
    alone = schedule_stats(None, [*configured, setting("schedule", "cosine")])
    assert alone is not None
    assert (alone.source, alone.peak, alone.constant) == ("configured", 1e-3, False)
    assert schedule_stats(None, [setting("learning_rate", "auto")]) is None
    assert schedule_stats(None, ()) is None


@given(st.lists(st.one_of(st.floats(), st.sampled_from([0.0, 1e-3, math.nan])), max_size=40), st.sampled_from([None, 1e-6, 1.0]))
@settings(max_examples=200, deadline=None)
def test_any_rates(values: list[float], quantum: float | None) -> None:
    found = schedule_stats(series(values, "lr", quantum=quantum), ())
    finite = [v for v in values if math.isfinite(v) and v >= 0]
    assert (found is None) == (not finite)
    if found is not None:
        assert found.highest == max(finite)
        assert found.low_share <= 1
        assert found.phases


def test_three_cosines_rise_twice() -> None:
    found = of(np.concatenate([cosine(30, floor=1e-5)] * 3))
    assert not found.cyclic
    assert len(found.restarts) == 2


def test_flats_of_a_coarse_print_within_a_decay() -> None:
    rates = np.repeat(np.linspace(1e-3, 1e-5, 50), 5)
    assert kinds(of(rates)) == ["constant", "decay"]


def test_saved_rates_begin_with_the_configured_one() -> None:
    saved = [(130.0, 3.6e-5), (260.0, 1e-6), (390.0, 4e-8), (520.0, 1e-9), (660.0, 1e-13)]
    found = schedule_stats(None, [setting("learning_rate", 9e-4)], saved)
    assert found is not None
    assert (found.source, found.peak) == ("optimizer", 9e-4)
    passed = 260 - 130 * np.log(9e-6 / 1e-6) / np.log(3.6e-5 / 1e-6)
    assert found.low_share == pytest.approx((660 - passed) / 660)  # by steps, not by checkpoints
    alone = schedule_stats(None, [setting("learning_rate", 1e-9)], saved)  # lower than what was used: something else
    assert alone is not None
    assert alone.peak == 3.6e-5


def test_a_warm_up_that_checkpoints_hold_did_not_begin_with_the_configured_rate() -> None:
    rising = [(44.0 * n, 8.8e-6 * n) for n in range(1, 7)]
    found = schedule_stats(None, [setting("learning_rate", 1e-3)], rising)
    assert found is not None
    assert found.first == 8.8e-6
    assert found.restarts == ()


def test_the_rate_between_two_saved_ones_falls_evenly_in_its_logarithm() -> None:
    found = schedule_stats(None, (), [(0.0, 1.0), (100.0, 1e-4), (200.0, 1e-8)])
    assert found is not None
    assert found.low_share == pytest.approx(0.75)  # 1 % of the peak is passed half-way to the first of them
    dropped = schedule_stats(None, (), [(0.0, 1.0), (100.0, 0.0), (200.0, 0.0)])
    assert dropped is not None
    assert dropped.low_share == pytest.approx(0.5)
