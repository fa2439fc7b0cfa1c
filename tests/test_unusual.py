"""What no symptom shows: leaps of the rate that nothing logged, weights that never move, settings where sound runs have none."""

import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from postmortem.check import Cause, Evidence
from postmortem.checklist.causes.bad_initialization import absurd_from_the_start, outputs_alike
from postmortem.checklist.causes.decayed_too_early import configured_decay
from postmortem.checklist.causes.learning_rate_too_high import extreme_momentum, leapt_unseen, learning_rate_too_high
from postmortem.checklist.causes.stopped_too_early import few_epochs, few_updates, still_falling
from postmortem.checklist.causes.too_little_capacity import settled
from postmortem.checklist.causes.wrong_labels import signal_missing
from postmortem.checklist.causes.zero_learning_rate import stepped_on_the_spot, still_and_unknown, zero_learning_rate
from postmortem.checklist.extremes import unusual
from postmortem.checklist.healthy import progressed
from postmortem.checklist.inputs import inputs_are_zero
from postmortem.checklist.leaps import FARTHER, unlogged_leap
from postmortem.checklist.optimizers import LEAP
from postmortem.checklist.rates import STEP, fitting_rate, rate_of_steps
from postmortem.diagnose import examine
from postmortem.measure.curves import curve_stats
from postmortem.measure.schedule import schedule_stats
from postmortem.model.curves import Chance
from postmortem.model.diagnosis import Severity
from postmortem.model.run import Series
from postmortem.model.tensors import CheckpointStats, GradientStats, ModelFacts, OptimizerFacts, TensorStats, UpdateStats, WeightSummary
from postmortem.verdict import judge
from tests.test_causes import ending
from tests.test_diagnose import answer, cause, check, evidence, fix, seen
from tests.test_remedies import logged, stated, to

LAYERS = ModelFacts(weight_layers=("a.weight", "b.weight"), head="b.weight")


def optimizer(kind: str = "adam", rate: float = 1e-3, *, has_state: bool = True) -> OptimizerFacts:
    return OptimizerFacts(kind, 1.0, 0.0, has_state, stateless=(), absent=(), learning_rates=(rate,), settings=MappingProxyType({"lr": rate}))


def gradient(name: str, step: float | None, source: str = "adam", rms: float = 1.0) -> GradientStats:
    return GradientStats(name, source, rms, 0.5, 0.0, None, 0, step)  # type: ignore[arg-type]


def tensor(name: str, rms: float = 1.0, role: str = "weight") -> TensorStats:
    numbers = dict.fromkeys(TensorStats.__dataclass_fields__, 0.0)
    return TensorStats(**{**numbers, "name": name, "shape": (4, 4), "count": 16, "role": role, "rms": rms, "scale": 0.0})  # type: ignore[arg-type]


def saved(path: str, step: float, rate: float = 1e-3, moved: float | None = None, made: float | None = None, kind: str = "adam") -> CheckpointStats:
    """A checkpoint; since the one 100 steps before it the layer was `moved` (RMS). `made`: steps by the optimizer's own count."""
    updates = () if moved is None else (UpdateStats("a.weight", step - 100.0, step, 0.1, False, 1.0, None, moved),)
    return CheckpointStats(
        path, step, None, (), (gradient("a.weight", made if made is not None else step),), updates, optimizer=optimizer(kind, rate)
    )


def run(*checkpoints: CheckpointStats, rate: float | None = 1e-3) -> Evidence:
    return evidence(checkpoints=checkpoints, settings=stated(lr=rate, optimizer="adam") if rate is not None else (), weights=WeightSummary(2))


# --- leaps of the rate that nothing logged ---------------------------------------------------------------------------


@pytest.mark.parametrize(("times", "leaps"), [(LEAP * 1.1, True), (LEAP * 0.9, False)])
def test_an_optimizer_saved_in_the_middle_of_a_leap_holds_it(times: float, leaps: bool) -> None:
    told = unlogged_leap(run(saved("1.ckpt", 100.0), saved("2.ckpt", 200.0, rate=times * 1e-3)))
    assert (told is not None) is leaps
    assert told is None or "2.ckpt" in str(told.detail)


def test_a_rate_that_all_saved_optimizers_hold_was_set_so_and_no_leap() -> None:
    assert unlogged_leap(run(saved("1.ckpt", 100.0, rate=0.1), saved("2.ckpt", 200.0, rate=0.1))) is None
    assert unlogged_leap(run(saved("1.ckpt", 100.0, rate=0.1), rate=None)) is None


@pytest.mark.parametrize(
    ("later", "leaps"),
    [
        (saved("2.ckpt", 200.0, moved=FARTHER * 0.11), True),
        (saved("2.ckpt", 200.0, moved=FARTHER * 0.09), False),
        (saved("2.ckpt", 200.0, moved=FARTHER * 0.11, made=1100.0), False),  # the optimizer counts ten times as many steps
        (saved("2.ckpt", 200.0, moved=FARTHER * 0.11, kind="sgd"), False),  # whose steps are as large as the gradient
        (saved("2.ckpt", 200.0, moved=math.nan), False),
    ],
)
def test_adam_carries_no_weight_farther_than_its_rate_times_its_steps(later: CheckpointStats, leaps: bool) -> None:
    assert (unlogged_leap(run(saved("1.ckpt", 100.0), later)) is not None) is leaps


def test_a_leap_that_nothing_logged_is_a_cause_and_is_taken_out_of_the_schedule() -> None:
    e = run(saved("1.ckpt", 100.0), saved("2.ckpt", 200.0, rate=2.0))
    reading = leapt_unseen.ask(e, seen())
    assert reading is not None
    assert reading.holds
    assert [to(f) for f in learning_rate_too_high.fixes(e, seen())] == [{"schedule": None}]


# --- weights that never move -----------------------------------------------------------------------------------------


def still(*checkpoints: CheckpointStats, **changes: object) -> Evidence:
    return evidence(
        **{
            "checkpoints": checkpoints,
            "weights": WeightSummary(2, identical_share=1.0, identical=("a.weight", "b.weight")),
            "model": LAYERS,
            **changes,
        }
    )


def test_an_optimizer_that_has_stepped_on_the_spot_had_a_rate_of_zero() -> None:
    both = saved("1.ckpt", 100.0, rate=0.0), saved("2.ckpt", 200.0, rate=0.0)
    assert stepped_on_the_spot.ask(still(*both), seen()) is not None
    idle = replace(both[1], optimizer=optimizer(rate=0.0, has_state=False))
    assert stepped_on_the_spot.ask(still(both[0], idle), seen()) is None
    assert stepped_on_the_spot.ask(still(*both, settings=stated(lr=0.1)), seen()) is None
    assert stepped_on_the_spot.ask(still(*both, weights=WeightSummary(2, identical_share=0.5)), seen()) is None


def test_where_nothing_tells_the_rate_it_may_have_been_zero_and_is_set_without_a_schedule() -> None:
    bare = CheckpointStats("1.pth", 100.0, None, ())
    e = still(bare, replace(bare, path="2.pth", step=200.0))
    assert still_and_unknown.ask(e, seen()) is not None
    assert still_and_unknown.ask(replace(e, settings=stated(lr=0.1)), seen()) is None
    first, second, third = (to(f) for f in zero_learning_rate.fixes(e, seen()))
    assert first == {"optimizer": "adam", "learning_rate": 2e-3, "schedule": None}  # a rate that suits is known once the optimizer is
    assert second == {"learning_rate": 3e-3, "schedule": None}
    assert third == {"learning_rate": 1e-2, "schedule": None}
    first, second, third = (to(f) for f in zero_learning_rate.fixes(replace(e, settings=stated(optimizer="adam")), seen()))
    assert first == {"learning_rate": 2e-3, "schedule": None}
    assert second == {"learning_rate": 5e-3, "schedule": None}
    assert third == {"learning_rate": 2e-3}


def test_outputs_that_stay_alike_say_nothing_of_a_start_that_no_step_ever_left() -> None:
    level = [math.log(10)] * 10
    moved = ending(level, model=LAYERS, weights=WeightSummary(2, identical_share=0.5))
    assert outputs_alike.ask(moved, seen()) is not None
    assert outputs_alike.ask(ending(level, model=LAYERS, weights=still().weights), seen()) is None


def test_a_bias_that_decay_alone_moved_shows_no_gradient() -> None:
    last = CheckpointStats("2.pth", 200.0, None, (tensor("a.weight"), tensor("a.bias", role="bias"), tensor("b.weight")))
    weights = WeightSummary(2, identical_share=0.0, gradient_dead_layers=("a.weight",), decayed=("a.weight",))
    e = evidence(checkpoints=(replace(last, step=100.0), last), model=LAYERS, weights=weights)
    assert inputs_are_zero(e)
    assert not inputs_are_zero(replace(e, weights=replace(weights, decayed=("a.weight", "a.bias"))))


# --- settings where sound runs have none -----------------------------------------------------------------------------


def large_batches(size: int, updates: float, epochs: int = 10) -> Evidence:
    return evidence(
        settings=stated(batch_size=size, epochs=epochs), steps_per_epoch=updates, last_step=updates * epochs, planned_steps=updates * epochs
    )


@pytest.mark.parametrize(
    ("size", "updates", "epochs", "few"), [(400, 3.0, 12, True), (32, 3.0, 12, False), (400, 3.0, 200, False), (400, 30.0, 3, False)]
)
def test_batches_of_which_training_has_a_few_are_unusual(size: int, updates: float, epochs: int, few: bool) -> None:
    e = large_batches(size, updates, epochs)
    reading = few_updates.ask(e, seen())
    assert (reading is not None and reading.holds) is few
    assert [c.id for c in unusual(e)] == (["stopped-too-early"] if few else [])


def test_a_few_updates_leave_nothing_to_conclude_of_a_loss_at_guessing() -> None:
    flat = [math.log(10) * (1 - 0.001 * i) for i in range(12)]

    def probes(size: int) -> tuple[object, object]:
        moved = WeightSummary(2, identical_share=0.0, change_median=0.2, first_median_scale=0.0)
        e = ending(
            flat, settings=stated(batch_size=size, lr=1e-3, optimizer="adam"), steps_per_epoch=3.0, planned_steps=36.0, last_epoch=12.0, weights=moved
        )
        return signal_missing.ask(e, seen()), still_falling.ask(e, seen())

    few, many = probes(400), probes(32)
    assert few[0] is None
    assert many[0] is not None
    assert many[1] is not None
    assert not many[1].holds  # type: ignore[attr-defined]
    assert few[1] is None

    def rests(size: int) -> object:
        losses = [2.3 * (0.6 + 0.4 * 0.5**i) for i in range(12)]
        e = ending(losses, settings=stated(batch_size=size), steps_per_epoch=3.0, planned_steps=36.0, last_epoch=12.0)
        return settled.ask(e, seen())

    assert rests(32) is not None
    assert rests(400) is None


@pytest.mark.parametrize(("momentum", "extreme"), [(0.998, True), (0.99, False), (0.9, False)])
def test_a_momentum_that_counts_a_gradient_hundreds_of_times_is_unusual(momentum: float, extreme: bool) -> None:
    e = evidence(settings=stated(optimizer="sgd", lr=1e-4, momentum=momentum))
    assert (extreme_momentum.ask(e, seen()) is not None) is extreme
    assert ("learning-rate-too-high" in [c.id for c in unusual(e)]) is extreme
    assert extreme_momentum.ask(evidence(settings=stated(optimizer="adam", lr=1e-4, momentum=momentum)), seen()) is None


def test_epochs_are_counted_by_their_records_where_nothing_else_tells() -> None:
    series = Series("train/loss", "loss", "train.log", np.arange(1.0), np.ones(1))
    e = evidence(curves=MappingProxyType({"train/loss": replace(curve_stats(series), reduction="epoch")}))
    reading = few_epochs.ask(e, seen())
    assert reading is not None
    assert reading.holds
    batches = evidence(curves=MappingProxyType({"train/loss": curve_stats(series)}))
    assert few_epochs.ask(batches, seen()) is None


@pytest.mark.parametrize(("norms", "changes", "absurd"), [
    ([5e4, 2e4, 1e4, 9.0], {}, True),
    ([50.0, 20.0, 10.0, 9.0], {}, False),
    ([math.nan] * 4, {}, False),
    ([5e4, 2e4, 1e4, 9.0], logged(grad_norm=[5e4, 2e4, 1e4, 9.0], loss_scale=[65536.0] * 4, **{"val/accuracy": [0.4] * 4}), False),
    ([5e2, 2e4, 1e4, 9.0], {}, False),
    ([5e4, 2e4, 1e4, 9.0], {"settings": stated(lr=1.0, optimizer="adam")}, False),
])  # fmt: skip
def test_a_gradient_that_is_absurd_at_first_at_an_ordinary_rate_comes_from_the_start(
    norms: list[float], changes: dict[str, object], absurd: bool
) -> None:
    scored = {"settings": stated(lr=1e-3, optimizer="adam"), **logged(grad_norm=norms, **{"val/accuracy": [0.4, 0.5, 0.5, 0.6]}), **changes}
    e = evidence(**scored)
    assert (absurd_from_the_start.ask(e, seen()) is not None) is absurd
    assert ("bad-initialization" in [c.id for c in unusual(e)]) is absurd
    assert (
        absurd_from_the_start.ask(evidence(settings=stated(lr=1e-3), **logged(grad_norm=norms)), seen()) is None
    )  # of a regression it may be the targets


@pytest.mark.parametrize(
    "start", [{"zero_weight_share": 1.0}, {"symmetric_share": 1.0}, {"lowest_hidden_bias": -8.0, "first_lowest_hidden_bias": -8.0}, {}]
)
def test_weights_that_are_zero_or_copies_or_never_fire_are_no_sound_start(start: dict[str, float]) -> None:
    told = [c.id for c in unusual(evidence(weights=WeightSummary(2, **start)))]  # type: ignore[arg-type]
    assert told == (["bad-initialization"] if start else [])


@pytest.mark.parametrize(("low", "holds"), [(None, True), (0.5, True), (0.0, False)])
def test_a_rate_that_was_logged_tells_whether_the_configured_decay_left_nothing_of_it(low: float | None, holds: bool) -> None:
    settings = stated(scheduler="exp", decay_rate=0.1, epochs=20)
    logs = (
        None
        if low is None
        else schedule_stats(Series("lr", "lr", "train.log", np.arange(10.0), np.array([1.0] * 10 if not low else [1.0] * 5 + [1e-5] * 5)), settings)
    )
    assert (configured_decay.ask(evidence(settings=settings, schedule=logs), seen()) is not None) is holds


def lowers(name: str) -> Cause:
    return replace(cause(name, answer(holds=True, weight=0.0)), fixes=lambda e, s: (fix(name, (name, 1.0, 0.1)),))


def test_a_healthy_run_is_told_of_a_setting_where_sound_runs_have_none() -> None:
    odd = lowers("odd")
    verdict = judge(evidence(), (), check("healthy", prior=3.0, unusual=lambda e: (odd,)), 0)
    assert (verdict.mode, [str(f.title) for f in verdict.fixes]) == ("healthy", ["odd"])
    assert judge(evidence(), (), check("healthy", prior=3.0), 0).fixes == ()


@pytest.mark.parametrize(
    ("prior", "known", "titles"), [(0.0, (), ["odd", "own"]), (2.0, (), ["odd", "own"]), (3.0, (), ["own"]), (0.0, ("odd",), ["own"])]
)
def test_where_no_cause_is_confirmed_an_unusual_setting_that_was_not_asked_about_comes_first(
    prior: float, known: tuple[str, ...], titles: list[str]
) -> None:
    causes = ((lowers("own"), prior), *((replace(lowers(k), fixes=lambda e, s: ()), -9.0) for k in known))
    found = examine(check("failing", lambda e: seen(1.0, Severity.FATAL), prior=3.0, causes=causes), evidence())
    verdict = judge(evidence(), (found,), check("healthy", unusual=lambda e: (lowers("odd"),)), 0)
    assert [str(f.title) for f in verdict.fixes] == titles


def test_what_a_process_died_of_is_no_matter_of_settings() -> None:
    found = examine(check("crash", lambda e: seen(1.0, Severity.FATAL), prior=3.0, causes=((lowers("own"), 0.0),)), evidence())
    verdict = judge(evidence(), (found,), check("healthy", unusual=lambda e: (lowers("odd"),)), 0)
    assert [str(f.title) for f in verdict.fixes] == ["own"]


def test_what_cannot_be_asked_of_settings_says_nothing() -> None:
    def broken(e: Evidence) -> tuple[Cause, ...]:
        raise ZeroDivisionError

    assert judge(evidence(), (), check("healthy", prior=3.0, unusual=broken), 0).fixes == ()


# --- the rate that the run's own gradients ask for -------------------------------------------------------------------


def descent(momentum: float, buffer: float = 2.0, kind: str = "sgd") -> Evidence:
    first = CheckpointStats("1.ckpt", 10.0, None, (tensor("a.weight", 0.1), tensor("b.weight", 0.1)), (gradient("a.weight", 1.0, "momentum", buffer), gradient("b.weight", 1.0, "momentum", buffer)), optimizer=optimizer(kind))  # fmt: skip
    return evidence(checkpoints=(first,), model=LAYERS, settings=stated(optimizer="sgd", lr=1e-6, momentum=momentum))


def test_plain_descent_takes_the_rate_at_which_a_step_moves_the_weights_by_half_a_per_cent() -> None:
    e = descent(0.9)
    assert rate_of_steps(e) == pytest.approx(STEP * 0.1 / 2.0)
    assert fitting_rate(e) == pytest.approx(math.sqrt(0.02 * 0.02 / 3.0))  # towards it, and no farther than a third
    assert rate_of_steps(descent(0.99)) == pytest.approx(10 * STEP * 0.1 / 2.0)  # whose momentum sums ten times as many gradients
    assert rate_of_steps(descent(0.0)) is None
    assert rate_of_steps(descent(0.9, buffer=1e-9)) is None
    assert rate_of_steps(replace(e, weights=WeightSummary(1, first_highest_scale=2.0))) is None


def test_adams_rate_is_that_of_other_runs_whatever_the_slope() -> None:
    slow = [2.3 - 0.00002 * i for i in range(100)]
    run_of = evidence(settings=stated(lr=1e-6, optimizer="adam"), chance=Chance(2.3, 0.1, 10, "head"), **logged(train_loss=slow))
    assert fitting_rate(run_of) == 2e-3


@pytest.mark.parametrize("n", [100, 1000, 30_000])
@pytest.mark.parametrize(("fall", "noise", "progress"), [(0.0, 0.5, False), (0.0, 0.2, False), (0.3, 0.1, True), (0.6, 0.3, True)])
def test_the_luckiest_of_many_noisy_records_is_no_progress(n: int, fall: float, noise: float, progress: bool) -> None:
    rng = np.random.default_rng(n)
    level = 2.3 * (1 - fall * (1 - np.exp(-np.arange(n) / (n / 5))))
    e = evidence(**logged(train_loss=(level * np.exp(noise * rng.standard_normal(n) - noise**2 / 2)).tolist()))
    reading = progressed.ask(e, seen())
    assert reading is not None
    assert reading.holds is progress
