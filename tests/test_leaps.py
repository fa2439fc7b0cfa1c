"""What nothing logged: leaps of the learning rate, warm-ups that never end, a start that took long, few updates. Each by what it left behind."""

import numpy as np
import pytest

from postmortem.check import Evidence
from postmortem.checklist.causes.bad_initialization import had_to_wait
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.learning_rate_too_low import learning_rate_too_low
from postmortem.checklist.causes.no_gradient_clipping import no_gradient_clipping
from postmortem.checklist.causes.stopped_too_early import few_updates, stopped_too_early
from postmortem.checklist.causes.too_deep import many, too_deep
from postmortem.checklist.leaps import broke_in_one_step
from postmortem.checklist.starts import slow_to_leave
from postmortem.measure.gap import gap_stats
from postmortem.model.curves import Phase, ScheduleStats
from postmortem.model.run import Reduction
from tests.measure.synthetic import series
from tests.test_diagnose import evidence, seen
from tests.test_remedies import logged, stated, to

LEARNING = [2.0 * 0.97**n for n in range(60)]
BROKEN = [*LEARNING, *(9.0 - 0.05 * n for n in range(60))]


def adam(losses: list[float], **settings: float | str) -> Evidence:
    return evidence(settings=stated(**{"optimizer": "adam", "lr": 1e-3, **settings}), **logged(train_loss=losses))


def test_a_loss_that_one_step_threw_and_that_never_came_back_broke() -> None:
    assert broke_in_one_step(adam(BROKEN)) == pytest.approx(600.0, abs=20.0)
    assert broke_in_one_step(adam([*LEARNING, *[float("nan")] * 20])) == 600.0
    first, lower = learning_rate_too_high.fixes(adam(BROKEN), seen(600.0))
    assert (to(first), list(to(lower))) == ({"schedule": None}, ["learning_rate"])


@pytest.mark.parametrize(
    "sound",
    [
        adam([*LEARNING, 9.0, *(LEARNING[-1] * 0.99**n for n in range(60))]),  # came back
        adam(LEARNING),
        adam([float("nan")] * 20),  # never learned
        adam(BROKEN, optimizer="sgd"),  # plain descent goes as far as the gradient says
        adam(BROKEN, lr=0.5),
    ],
)
def test_what_comes_back_or_has_another_reason_did_not_break(sound: Evidence) -> None:
    assert broke_in_one_step(sound) is None


def test_a_rate_that_rose_to_the_end_is_warmed_up_over_a_twentieth() -> None:
    rising = ScheduleStats(
        source="logged", first=1e-6, final=1e-4, peak=1e-4, highest=1e-4, zero_share=0.0, low_share=0.0, low_from_step=None,
        warmup_steps=400.0, constant=False, cyclic=False, phases=(Phase("warmup", 0.0, 400.0, 1e-4),), restarts=(), jump=1.0, jump_step=None,
    )  # fmt: skip
    e = evidence(settings=stated(optimizer="adam"), schedule=rising, axis="step", **{**logged(train_loss=LEARNING), "last_step": 400.0})
    assert to(learning_rate_too_low.fixes(e, seen())[0]) == {"warmup_steps": 20}


def test_a_loss_that_stays_where_it_began_and_then_falls_had_to_wait() -> None:
    late = [2.0] * 20 + [2.0 * 0.95**n for n in range(40)]
    assert slow_to_leave(adam(late)) == pytest.approx(200.0, abs=30.0)
    assert slow_to_leave(adam(LEARNING)) is None
    assert slow_to_leave(adam([2.0] * 60)) is None
    assert slow_to_leave(adam(late, lr=1e-6)) is None
    reading = had_to_wait.ask(adam(late), seen())
    assert reading is not None
    assert reading.holds
    assert had_to_wait.ask(adam(LEARNING), seen()) is None


@pytest.mark.parametrize(("layers", "share"), [(12, 1.0), (24, 2.0)])
def test_a_plain_tower_loses_layers(layers: int, share: float) -> None:
    e = evidence(settings=stated(num_layers=layers))
    reading = many.ask(e, seen())
    assert reading is not None
    assert (reading.holds, reading.share) == (True, share)
    assert to(too_deep.fixes(e, seen())[0]) == {"model_depth": 3}
    assert many.ask(evidence(settings=stated(num_layers=layers), family="language-model"), seen()) is None


def test_a_few_dozen_updates_are_few_whatever_the_batches_hold() -> None:
    few = evidence(axis="step", steps_per_epoch=2.0, **{**logged(train_loss=LEARNING), "last_step": 26.0})
    reading = few_updates.ask(few, seen())
    assert reading is not None
    assert reading.share < 1.0  # the size of a batch is not known: no run is judged by it
    assert [list(to(f)) for f in stopped_too_early.fixes(few, seen())] == [["batch_size"], ["epochs"]]
    assert few_updates.ask(evidence(axis="step", steps_per_epoch=2.0, **{**logged(train_loss=LEARNING), "last_step": 600.0}), seen()) is None


@pytest.mark.parametrize(("norms", "norm"), [([0.7] * 20, 0.5), ([12.0, 14.0] * 10, 10.0), ([1.0] * 15 + [60.0] * 5, 1.0)])
def test_clipping_leaves_alone_what_was_usual_before(norms: list[float], norm: float) -> None:
    e = evidence(**logged(train_loss=[1.0] * 20, grad_norm=norms))
    assert to(no_gradient_clipping.fixes(e, seen(500.0))[0]) == {"gradient_clip_norm": norm}


@pytest.mark.parametrize("correlated", [0.0, 0.5])
@pytest.mark.parametrize("evaluations", [8, 15, 40])
def test_the_minimum_lies_between_the_evaluations_that_are_as_good(evaluations: int, correlated: float) -> None:
    """Of 200 simulated valleys, at least 0.85: the figures in the docstring."""
    dice = np.random.default_rng(evaluations)
    x, inside, width = np.linspace(0.0, 1.0, evaluations), 0, 0.0
    for _ in range(200):
        bottom = dice.uniform(0.15, 0.7)
        valley = np.exp(-x / (bottom / 2.5)) + 0.35 * np.maximum(0.0, x - 0.4 * bottom) ** 1.2
        drawn, noise = dice.normal(size=evaluations) * 0.02, np.zeros(evaluations)
        for n in range(evaluations):
            noise[n] = correlated * noise[n - 1] * (n > 0) + np.sqrt(1 - correlated**2) * drawn[n]
        found = gap_stats(series(valley, steps=x), series(valley + noise, "val/loss", steps=x, reduction=Reduction.EPOCH))
        assert found is not None
        first, last = found.best_between
        assert first <= found.best_step <= last
        inside += first <= x[np.argmin(valley)] <= last
        width += last - first
    assert inside >= 0.85 * 200
    assert width < 0.7 * 200
