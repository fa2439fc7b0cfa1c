"""Causes weigh what they see: what a start from nothing, a start from too much, and a setting that explains everything leave behind."""

import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from postmortem.check import Evidence, Reading
from postmortem.checklist.causes.bad_batch import bad_batch, within_first_epoch
from postmortem.checklist.causes.bad_initialization import learned_first, never_finite, outputs_alike
from postmortem.checklist.causes.learning_rate_too_high import weights_thrown
from postmortem.checklist.causes.missing_from_optimizer import absent_from_groups
from postmortem.checklist.causes.requires_grad_off import filtered
from postmortem.checklist.causes.stale_second_moment import outgrown
from postmortem.checklist.causes.too_little_capacity import agree, narrow, settled
from postmortem.checklist.causes.too_much_regularization import decay
from postmortem.checklist.causes.unsafe_operation import after_first_epoch
from postmortem.checklist.causes.unshuffled_data import above_validation, batches_worse_than_guessing
from postmortem.diagnose import weigh
from postmortem.measure.curves import curve_stats
from postmortem.model.curves import Chance
from postmortem.model.run import Series
from postmortem.model.tensors import CheckpointStats, GradientStats, OptimizerFacts, WeightSummary
from tests.test_diagnose import evidence, seen
from tests.test_remedies import gaps, logged, stated

TEN = Chance(math.log(10), 0.1, 10, "head")
AT_LOSS = replace(seen(), facet="loss")


def ending(losses: list[float], **changes: object) -> Evidence:
    return evidence(**{"chance": TEN, **logged(train_loss=losses), **changes})


def test_a_loss_that_never_leaves_guessing_by_a_thousandth_comes_from_outputs_that_are_all_alike() -> None:
    level = math.log(10)
    reading = outputs_alike.ask(ending([level * (1 - 2e-5 * i) for i in range(10)]), seen())
    assert reading is not None
    assert reading.holds
    assert outputs_alike.ask(ending([level * (1.02 - 2e-3 * i) for i in range(10)]), seen()) is None  # outputs as they are usually drawn
    assert outputs_alike.ask(ending([level] * 9 + [level / 2]), seen()) is None
    assert outputs_alike.ask(ending([level] * 10, chance=Chance(None, None, None, "")), seen()) is None


@pytest.mark.parametrize(("rate", "precision", "holds"), [(1e-3, None, True), (1.0, None, False), (1e-3, "fp16", False), (1e-3, "bf16", True)])
def test_what_is_never_finite_at_an_ordinary_rate_started_too_large(rate: float, precision: str | None, holds: bool) -> None:
    settings = stated(lr=rate, optimizer="adam", **({"precision": precision} if precision else {}))
    e = ending([math.nan] * 10, settings=settings, steps_per_epoch=75.0)
    assert (never_finite.ask(e, AT_LOSS) is not None) is holds
    assert never_finite.ask(e, seen()) is None
    later = ending([2.3, 2.2] + [math.nan] * 8, settings=settings, steps_per_epoch=75.0)
    assert never_finite.ask(later, AT_LOSS) is None


@pytest.mark.parametrize(("lag", "spike", "holds"), [(0.4, 62, True), (0.05, 62, False), (-0.3, 62, False), (0.4, 20, None), (None, 62, None)])
def test_gradients_that_outgrew_what_adam_remembers_where_the_loss_jumped(lag: float | None, spike: int, holds: bool | None) -> None:
    losses = [2.0 - n / 100 + 0.01 * (-1) ** n for n in range(80)]
    losses[spike] = 5.0
    gradient = GradientStats("w", "adam-window", 1e-3, None, 0.0, None, 0)
    saved = tuple(CheckpointStats(f"{n}.pt", float(n), None, (), (gradient,)) for n in (500, 790))
    reading = outgrown.ask(ending(losses, checkpoints=saved, weights=WeightSummary(2, memory_lag=lag)), seen())
    assert (reading.holds if reading is not None else None) is holds


def test_a_bad_batch_is_seldom_the_very_first_and_dropout_can_do_it_alone() -> None:
    def at(losses: list[float], **settings: float) -> Evidence:
        return ending(losses, settings=stated(optimizer="adam", lr=1e-3, **settings), steps_per_epoch=100.0, last_epoch=1.0)

    first, later = at([math.nan] * 8), at([2.3, 2.2, 2.1, 2.0] + [math.nan] * 4)
    assert within_first_epoch.ask(first, AT_LOSS).share < within_first_epoch.ask(later, AT_LOSS).share == 1.0
    confidence = [weigh(bad_batch.probes, e, AT_LOSS, 0.0)[1] for e in (later, first, at([2.3, 2.2, 2.1, 2.0] + [math.nan] * 4, dropout=0.95))]
    assert confidence[0] > confidence[1]
    assert confidence[0] > confidence[2]


def test_an_excerpt_that_begins_with_a_nan_says_nothing_of_an_epoch_before_it() -> None:
    def reading(losses: list[float], first_step: float = 0.0) -> Reading | None:
        series = Series("train/loss", "loss", "train.log", first_step + 10.0 * np.arange(len(losses)), np.array(losses))
        found = {"series": MappingProxyType({"train/loss": series}), "curves": MappingProxyType({"train/loss": curve_stats(series)})}
        return after_first_epoch.ask(evidence(steps_per_epoch=100.0, first_step=first_step, last_epoch=95.0, **found), AT_LOSS)

    at_once, later = reading([math.nan] * 8), reading([2.3] * 30 + [math.nan] * 4)
    assert at_once is not None
    assert later is not None
    assert (at_once.holds, later.holds) == (False, True)
    assert reading([math.nan] * 8, first_step=9000.0) is None


def test_width_is_asked_of_what_was_learned_and_a_wide_layer_speaks_more_against_it() -> None:
    flat = [2.31 + 0.001 * (i % 2) for i in range(20)]
    learned = [1.5 + math.exp(-i / 2) for i in range(20)]
    assert [p.ask(ending(flat, gap=gaps(0.0)), seen()) for p in (settled, agree)] == [None, None]
    assert agree.ask(ending(learned, gap=gaps(0.0)), seen()).holds
    narrow_shares = [narrow.ask(evidence(settings=stated(hidden=width)), seen()).share for width in (4, 12, 64)]
    assert narrow_shares == [1.0, 1.0, 2.0]


def test_weights_that_withered_say_nothing_of_how_far_they_were_thrown() -> None:
    def scale(decades: float) -> Evidence:
        return evidence(weights=WeightSummary(2, highest_scale=decades, first_highest_scale=0.0))

    assert weights_thrown.ask(scale(-20.0), seen()) is None
    assert not weights_thrown.ask(scale(0.1), seen()).holds
    assert weights_thrown.ask(scale(1.5), seen()).holds


def test_an_ordinary_decay_is_no_cause_beside_a_rate_that_multiplies_it() -> None:
    def share(rate: float) -> float:
        return decay.ask(evidence(settings=stated(weight_decay=0.05, lr=rate, optimizer="adamw")), seen()).share

    assert (share(1e-3), share(5.0)) == (1.0, 2.0)
    assert decay.ask(evidence(settings=stated(weight_decay=3.0, lr=5.0, optimizer="adamw")), seen()).holds


def test_training_that_ends_above_guessing_where_validation_lies_at_it_was_not_shuffled() -> None:
    up = [2.30 + 0.007 * i for i in range(20)]
    e = ending(up, **logged(train_loss=up, val_loss=[2.3] * 10))
    assert above_validation.ask(e, seen()).holds
    level = [2.30] * 20
    assert not above_validation.ask(ending(level, **logged(train_loss=level, val_loss=[2.3] * 10)), seen()).holds


def test_single_batches_of_squared_errors_scatter_by_lot() -> None:
    up, none = [1.0 + 0.007 * i for i in range(20)], Chance(1.0, None, None, "first-loss")
    swings = [1.0 + 0.9 * (-1) ** i for i in range(40)]
    for classes, holds in ((Chance(1.0, 0.37, 3, "head"), True), (none, False)):
        level = ending(up, chance=classes, **logged(train_loss=up, val_loss=[0.95] * 10))
        assert above_validation.ask(level, seen()).holds is holds
        noisy = ending(swings[:20], chance=classes, **logged(train_loss=[1.0 + 0.3 * (v - 1.0) / 0.9 for v in swings] + [1.5], val_loss=[0.95] * 10))
        assert batches_worse_than_guessing.ask(noisy, seen()).holds is holds
    assert batches_worse_than_guessing.ask(ending(swings, chance=none, **logged(train_loss=swings, val_loss=[0.95] * 10)), seen()).holds


def test_a_model_that_had_learned_before_the_trouble_was_not_started_badly() -> None:
    losses = [2.3 - 0.1 * i for i in range(10)] + [50.0] * 10
    late = ending(losses)
    assert learned_first.ask(late, seen(step=100.0)).holds
    assert learned_first.ask(late, seen(step=0.0)) is None
    assert learned_first.ask(ending([23.0 - i for i in range(20)]), seen(step=100.0)) is None  # it started far above guessing


def test_a_trainer_leaves_out_of_the_optimizer_what_asks_for_no_gradient() -> None:
    facts = OptimizerFacts("adam", 10.0, 0.0, has_state=True, stateless=(), absent=("a.weight",), learning_rates=(), settings=MappingProxyType({}))
    e = evidence(
        checkpoints=(CheckpointStats("c", 10.0, None, (), optimizer=facts),), weights=WeightSummary(2, identical_share=0.5, identical=("a.weight",))
    )
    trainer = replace(e, framework="transformers")

    def shares(run: Evidence) -> tuple[float, float]:
        off, missing = filtered.ask(run, seen()), absent_from_groups.ask(run, seen())
        assert off is not None
        assert missing is not None
        return off.share, missing.share

    assert shares(e) == (1.0, 1.0)
    assert shares(trainer) == (1.5, 0.4)
