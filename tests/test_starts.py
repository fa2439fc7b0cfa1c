"""What the earliest weights say of how training began, and a loss that was given probabilities."""

import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from postmortem.check import Cleared, Evidence, Severity, Sighting
from postmortem.checklist.causes.bad_initialization import bad_initialization, never_left_the_mean, one_way, wrong_scale
from postmortem.checklist.causes.batchnorm_eval_mismatch import running_behind
from postmortem.checklist.causes.wrong_loss import only_the_mean, wrong_loss
from postmortem.checklist.modes import overfitting, underfitting
from postmortem.checklist.softmaxes import doubled_softmax
from postmortem.checklist.starts import as_drawn, nothing_reaches, too_large_throughout
from postmortem.diagnose import judge_cause
from postmortem.measure.gap import gap_stats
from postmortem.model.curves import Chance
from postmortem.model.tensors import ModelFacts, WeightSummary
from tests.test_diagnose import evidence, seen
from tests.test_remedies import logged, stated

LAYERS = ModelFacts(weight_layers=("a.weight", "b.weight", "head.weight"), head="head.weight")
SOUND = WeightSummary(3, first_highest_scale=0.05, first_median_scale=0.0, zero_weight_share=0.0, symmetric_share=0.0, lowest_hidden_bias=-0.05)
VARIANCE = Chance(1.0, None, None, "first-loss")


@pytest.mark.parametrize(
    ("change", "sound"),
    [({}, True), ({"first_median_scale": -0.8}, False), ({"first_highest_scale": 0.9}, False), ({"symmetric_share": 0.5}, False),
     ({"zero_weight_share": 0.3}, False), ({"zero_rows": ("a.weight", 0.4)}, False), ({"lowest_hidden_bias": -9.0}, False)],
)  # fmt: skip
def test_weights_that_look_as_libraries_draw_them_speak_against_their_initialisation(change: dict[str, object], sound: bool) -> None:
    e = evidence(model=LAYERS, weights=replace(SOUND, **change))  # type: ignore[arg-type]
    assert as_drawn(e) is sound
    reading = wrong_scale.ask(e, seen())
    assert reading is None or (reading.share > 1.0) is sound
    assert not as_drawn(evidence())


@pytest.mark.parametrize(
    ("first", "drift", "rate", "large"), [(1.1, 0.0, 1e-3, True), (0.4, 0.0, 1e-3, False), (1.1, 0.6, 1e-3, False), (1.1, 0.0, 1.0, False)]
)
def test_weights_too_large_from_the_first_checkpoint_to_the_last_were_started_so(first: float, drift: float, rate: float, large: bool) -> None:
    weights = WeightSummary(4, first_median_scale=first, first_highest_scale=first, highest_scale=first, scale_drift=drift)
    losses = [23000.0 / (n + 1) for n in range(20)]
    e = evidence(
        model=LAYERS,
        weights=weights,
        family="regression",
        settings=stated(lr=rate, optimizer="adam"),
        outcome="finished",
        **logged(train_loss=losses),
    )
    assert (too_large_throughout(e) is not None) is large
    found = underfitting.detect(e)
    assert (isinstance(found, Sighting) and found.facet == "size") is large
    if isinstance(found, Sighting) and large:
        assert judge_cause(bad_initialization, -2.0, e, found).confidence > 0.9


def test_weights_that_decay_alone_moved_get_nothing_from_the_loss() -> None:
    moved = WeightSummary(3, identical_share=0.0, decayed=LAYERS.weight_layers, gradient_dead_layers=LAYERS.weight_layers)
    e = evidence(model=LAYERS, weights=moved, family="regression", outcome="finished", **logged(train_loss=[128.0] + [0.975] * 15))
    assert nothing_reaches(e)
    found = underfitting.detect(e)
    assert isinstance(found, Sighting)
    assert found.facet == "unreached"
    assert not nothing_reaches(replace(e, weights=replace(moved, gradient_dead_layers=LAYERS.weight_layers[:2])))
    assert not nothing_reaches(replace(e, weights=replace(moved, checkpoints=1)))


@pytest.mark.parametrize(
    ("rate", "losses", "holds"), [(3e-3, [1.004, 1.003] * 10, True), (1e-6, [1.004, 1.003] * 10, False), (3e-3, [1.0, 0.9] * 10, False)]
)
def test_a_loss_that_never_leaves_the_variance_at_a_usual_rate_comes_from_outputs_that_cannot_move(
    rate: float, losses: list[float], holds: bool
) -> None:
    e = evidence(settings=stated(lr=rate), **logged(train_loss=losses, val_loss=[1.002] * 20))
    reading = never_left_the_mean.ask(e, seen())
    assert (reading is not None and reading.holds) is holds


@pytest.mark.parametrize(
    ("losses", "weights", "layers", "holds"),
    [([1.04, 1.01] * 10, SOUND, 3, True), ([1.0 - 0.04 * n for n in range(20)], SOUND, 3, False),
     ([1.04, 1.01] * 10, replace(SOUND, symmetric_share=1.0), 3, False), ([1.04, 1.01] * 10, SOUND, 20, False)],
)  # fmt: skip
def test_a_regression_that_only_learns_the_mean_from_a_sound_start_may_compare_shapes_that_broadcast(
    losses: list[float], weights: WeightSummary, layers: int, holds: bool
) -> None:
    model = ModelFacts(weight_layers=tuple(f"{n}.weight" for n in range(layers)))
    e = evidence(
        model=model, weights=weights, family="regression", chance=VARIANCE, settings=stated(lr=1e-3, optimizer="adam"), **logged(train_loss=losses)
    )
    assert (only_the_mean.ask(e, seen()) is not None) is holds


def answered(classes: int, right: list[float], held: list[float], extra: float = 0.0) -> Evidence:
    """A run whose losses are those of probabilities of 0 and 1 taken for logits."""
    level = math.log(classes - 1 + math.e) + extra
    curves = logged(train_loss=[level - a for a in right], val_loss=[level - a for a in held], train_accuracy=right, val_accuracy=held)
    return evidence(family="classifier", outcome="finished", **curves)


def test_loss_and_accuracy_that_add_up_tell_of_a_softmax_of_probabilities() -> None:
    right, held = [0.4, 0.6, 0.8, 0.9, 0.91, 0.92], [0.3, 0.5, 0.7, 0.8, 0.81, 0.81]
    e = answered(6, right, held)
    found = doubled_softmax(e)
    assert found is not None
    assert found.classes == 6
    sighting = underfitting.detect(e)
    assert isinstance(sighting, Sighting)
    assert judge_cause(wrong_loss, -1.8, e, sighting).confidence > 0.9
    assert doubled_softmax(answered(6, right, held, extra=0.06)) is None  # between six classes and seven, and near neither
    assert doubled_softmax(replace(e, settings=stated(label_smoothing=0.1))) is None
    smoothed = logged(
        train_loss=[2.3, 1.5, 0.9, 0.6, 0.56, 0.56], val_loss=[2.3, 1.6, 1.0, 0.65, 0.6, 0.6], train_accuracy=[0.1, 0.6, 0.9, 0.99, 0.99, 0.99],
        val_accuracy=[0.1, 0.6, 0.9, 0.92, 0.95, 0.95],
    )  # fmt: skip
    assert doubled_softmax(evidence(family="classifier", **smoothed)) is None  # which fits three classes at the end, and begins with ten
    honest = logged(train_loss=[1.8, 1.0, 0.6, 0.3, 0.25, 0.2], val_loss=[1.8, 1.2, 0.9, 0.7, 0.7, 0.7], train_accuracy=right, val_accuracy=held)
    assert doubled_softmax(evidence(family="classifier", **honest)) is None


def test_of_many_classes_the_sum_has_to_be_exact_and_of_two_different_accuracies() -> None:
    known = Chance(math.log(39), 1 / 39, 39, "head")
    right, held = [0.21] * 9, [0.26] * 9
    assert doubled_softmax(replace(answered(39, right, held), chance=known)) is not None
    assert doubled_softmax(replace(answered(39, right, held, extra=0.02), chance=known)) is None
    assert doubled_softmax(replace(answered(39, right, right), chance=known)) is None


def test_variances_where_they_began_after_training_that_moved_the_weights_weigh_more() -> None:
    def share(off: float, change: float | None) -> float:
        reading = running_behind.ask(evidence(weights=WeightSummary(1, running_var_off=off, change_median=change)), seen())
        assert reading is not None
        return reading.share

    assert share(0.02, None) == share(0.02, 0.4) > share(0.02, 0.01) == share(0.08, 0.4)


def test_validation_that_rises_with_a_training_loss_that_ends_above_its_start_is_no_overfitting() -> None:
    def gone(train: list[float]) -> object:
        val = [0.48 * 1.2**n for n in range(len(train))]
        curves = logged(train_loss=train, val_loss=val)
        series = curves["series"]
        assert isinstance(series, MappingProxyType)
        return overfitting.detect(evidence(gap=gap_stats(series["train/loss"], series["val/loss"]), family="classifier", **curves))

    assert isinstance(gone(list(np.linspace(0.7, 1.1, 19))), Cleared)
    assert isinstance(gone(list(np.linspace(0.7, 0.05, 19))), Sighting)


@pytest.mark.parametrize(
    ("cosine", "change", "rate", "holds"),
    [(0.6, {}, 1e-3, True), (0.05, {}, 1e-3, False), (None, {}, 1e-3, None), (0.6, {"first_highest_scale": 1.2}, 1e-3, None),
     (0.6, {}, 1.0, None), (0.6, {"symmetric_share": 1.0}, 1e-3, None)],
)  # fmt: skip
def test_units_that_point_one_way_began_as_copies(cosine: float | None, change: dict[str, object], rate: float, holds: bool | None) -> None:
    weights = replace(SOUND, first_row_cosine=cosine, **change)  # type: ignore[arg-type]
    e = evidence(model=LAYERS, weights=weights, settings=stated(lr=rate, optimizer="adam"))
    reading = one_way.ask(e, seen())
    assert (None if reading is None else reading.holds) is holds
    assert one_way.ask(e, replace(seen(), severity=Severity.FATAL)) is None
    if holds:
        assert wrong_scale.ask(e, seen()) is None
