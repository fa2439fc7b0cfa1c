"""Fixes carry the run's numbers: which rate, which norm, how many epochs; and changes say where they belong."""

import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from postmortem.check import Cause, Change, Evidence, Fix
from postmortem.checklist import remedies
from postmortem.checklist.causes.clipping_too_tight import clipping_too_tight
from postmortem.checklist.causes.decayed_too_early import decayed_too_early
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.learning_rate_too_low import learning_rate_too_low
from postmortem.checklist.causes.no_gradient_clipping import no_gradient_clipping
from postmortem.checklist.causes.no_regularization import no_regularization
from postmortem.checklist.causes.no_warmup import no_warmup
from postmortem.checklist.causes.process import out_of_memory
from postmortem.checklist.causes.saturating_activations import saturating_activations
from postmortem.checklist.causes.stopped_too_early import few_epochs, longer, still_falling, stopped_too_early
from postmortem.checklist.causes.too_deep import many, too_deep
from postmortem.checklist.causes.too_little_capacity import too_little_capacity
from postmortem.checklist.causes.too_little_data import too_little_data
from postmortem.checklist.causes.too_much_regularization import too_much_regularization
from postmortem.checklist.causes.trained_too_long import trained_too_long
from postmortem.checklist.causes.unsafe_operation import unsafe_operation
from postmortem.checklist.causes.zero_learning_rate import zero_learning_rate
from postmortem.checklist.extremes import extreme
from postmortem.checklist.healthy import extreme_setting
from postmortem.checklist.optimizers import rate_decades, used_rate
from postmortem.checklist.rates import fitting_rate, needed_rate, usual_rate
from postmortem.measure.curves import curve_stats
from postmortem.model.curves import Chance, GapStats
from postmortem.model.run import Checkpoint, Series, Setting, Status
from postmortem.model.sentence import Value
from postmortem.model.tensors import ModelFacts
from postmortem.sources.setting_names import setting_name
from tests.test_diagnose import evidence, seen


def stated(file: str = "config.yaml", **values: Value) -> tuple[Setting, ...]:
    return tuple(Setting(setting_name(key), key, value, file) for key, value in values.items())


def logged(**curves: list[float]) -> dict[str, object]:
    """Curves by name ("train_loss" for train/loss), a value per ten steps."""
    names = {name: name.replace("train_", "train/").replace("val_", "val/") for name in curves}
    series = {n: Series(n, n, "train.log", np.arange(len(curves[k])) * 10.0, np.array(curves[k])) for k, n in names.items()}
    return {
        "series": MappingProxyType(series),
        "curves": MappingProxyType({n: curve_stats(s) for n, s in series.items()}),
        "last_step": 10.0 * (max(map(len, curves.values())) - 1),
    }


def gaps(gap: float, best: float = 50.0) -> GapStats:
    return GapStats(
        evaluations=10, first_gap=0.0, gap=gap, difference=1.0, rise=0.5, best_step=best, best_index=4, best_between=(best, best), evaluations_after_best=5,
        train_fell_after_best=0.5, halved_step=20.0, opened_step=50.0, validation_trend_after_best=None, erratic=0.0,
    )  # fmt: skip


def first(cause: Cause, e: Evidence, step: float = 3.0) -> Fix:
    return cause.fixes(e, seen(step))[0]


def to(fix: Fix) -> dict[str, Value]:
    return {c.parameter: c.to for c in fix.changes}


# --- where a change belongs -----------------------------------------------------------------------------------------


def test_a_change_names_the_runs_own_key_and_file_and_its_present_value() -> None:
    e = evidence(settings=stated("conf/train.yaml", **{"optim.lr": 3.0}))
    assert remedies.change(e, "learning_rate", 0.01) == Change("learning_rate", "optim.lr", "conf/train.yaml", 3.0, 0.01)


def test_a_setting_known_from_a_log_or_a_checkpoint_has_no_file_to_edit() -> None:
    saved = (Checkpoint("checkpoint-10/model.safetensors", "safetensors", Status.READ),)
    printed, inside = stated("train.log", **{"args.lr": 3.0}), stated("checkpoint-10/config.json", lr=3.0)
    for settings in (printed, inside):
        assert remedies.change(evidence(settings=settings, saved=saved), "learning_rate", 0.01) == Change("learning_rate", "lr", "", 3.0, 0.01)


def test_the_file_that_a_person_edits_comes_before_what_a_checkpoint_holds() -> None:
    e = evidence(settings=stated("ckpt/step_1.pt", **{"config.lr": 3.0}) + stated("config.yaml", lr=3.0))
    assert remedies.change(e, "learning_rate", 0.01).file == "config.yaml"
    assert [c.file for c in remedies.removed(e, "learning_rate", e.settings)] == ["config.yaml"]


def test_what_is_not_configured_gets_the_usual_key_in_the_runs_configuration() -> None:
    e = evidence(settings=stated(lr=3.0))
    assert remedies.change(e, "gradient_clip_norm", 1.0) == Change("gradient_clip_norm", "grad_clip", "config.yaml", None, 1.0)


def test_a_usual_loss_or_initialisation_is_not_removed() -> None:
    e = evidence(settings=stated(loss="cross_entropy", init="zeros"))
    assert remedies.reset(e, "loss") == Change("loss", "loss", "", None, None)
    assert remedies.reset(e, "initialization") == Change("initialization", "init", "config.yaml", "zeros", None)


@pytest.mark.parametrize(("key", "value"), [("warmup_steps", 40), ("warmup_ratio", 0.04), ("warmup_epochs", 2)])
def test_warm_up_comes_in_the_unit_of_the_runs_own_setting(key: str, value: float) -> None:
    e = evidence(settings=stated(**{key: 0}), last_step=1000.0, steps_per_epoch=20.0)
    assert remedies.warm_up(e, 40) == Change("warmup_steps", key, "config.yaml", 0, value)


# --- learning rate --------------------------------------------------------------------------------------------------


def test_the_usual_rate_knows_optimizer_momentum_and_size() -> None:
    def rate(parameters: int | None = None, **settings: Value) -> float | None:
        return usual_rate(evidence(settings=stated(**settings), model=ModelFacts(parameters=parameters)))

    assert rate(optimizer="sgd") == 0.1
    assert rate(optimizer="sgd", momentum=0.9) == pytest.approx(0.02)
    assert rate(optimizer="adam") == 2e-3
    assert rate(optimizer="adam", model="BiLSTM") == 4e-3
    assert rate(10_000, optimizer="adamw") == pytest.approx(1.95e-3, rel=0.01)  # Kaplan et al. 2020
    assert rate(124_000_000, optimizer="adamw") == pytest.approx(0.64e-3, rel=0.02)
    assert rate(optimizer="adam", model_name_or_path="bert-base") == pytest.approx(3e-5)
    assert rate(optimizer="something") is None


def test_a_slope_that_is_a_thousandth_of_what_is_needed_asks_for_a_rate_as_many_times_higher() -> None:
    slow = [2.3 - 0.00002 * i for i in range(100)]  # 0.002 of the 1.6 to go
    e = evidence(settings=stated(lr=1e-6), chance=Chance(2.3, 0.1, 10, "head"), **logged(train_loss=slow))
    assert needed_rate(e) == pytest.approx(1e-6 * 1.6 / 0.00198 / 0.3, rel=0.05)
    assert 2.5e-3 < fitting_rate(e) < 3e-3


def test_a_flat_or_finished_loss_says_nothing_of_the_rate() -> None:
    noise = np.random.default_rng(0).normal(2.3, 0.05, 100).tolist()
    done = [2.3 * 0.95**i for i in range(100)]
    for losses in (noise, done):
        e = evidence(settings=stated(lr=1e-6, optimizer="adam"), **logged(train_loss=losses))
        assert needed_rate(e) is None


def test_rates_that_are_too_high_and_too_low_are_set_to_what_fits_and_then_about_it() -> None:
    high = evidence(settings=stated(lr=3.0, optimizer="sgd"))
    assert [to(f) for f in learning_rate_too_high.fixes(high, seen())] == [{"learning_rate": 0.1}, {"learning_rate": 0.03}, {"learning_rate": 0.5}]
    low = evidence(settings=stated(lr=1e-6, optimizer="adam"))
    assert [to(f) for f in learning_rate_too_low.fixes(low, seen())] == [{"learning_rate": 2e-3}, {"learning_rate": 5e-3}, {"learning_rate": 5e-4}]


def test_a_rate_that_is_hardly_above_usual_is_lowered_all_the_same() -> None:
    e = evidence(settings=stated(lr=0.06, optimizer="sgd"))
    assert to(first(learning_rate_too_high, e)) == {"learning_rate": 0.02}


def test_a_rate_of_zero_is_set_and_a_schedule_that_makes_zero_of_a_rate_is_removed() -> None:
    assert to(first(zero_learning_rate, evidence(settings=stated(lr=0.0, optimizer="adam")))) == {"learning_rate": 2e-3}
    assert to(first(zero_learning_rate, evidence(settings=stated(lr=0.1, scheduler="linear")))) == {"schedule": None}


def test_what_follows_the_first_rate_brackets_it() -> None:
    zero = zero_learning_rate.fixes(evidence(settings=stated(lr=0.0, optimizer="adam")), seen())
    assert [to(f)["learning_rate"] for f in zero] == [2e-3, 5e-3, 5e-4]
    unknown = zero_learning_rate.fixes(evidence(settings=stated(optimizer="adam")), seen())
    assert [to(f) for f in unknown] == [{"learning_rate": 2e-3, "schedule": None}, {"learning_rate": 5e-3, "schedule": None}, {"learning_rate": 2e-3}]
    alone = evidence(settings=stated(lr=30.0), framework="transformers")  # a Trainer's state: perhaps nothing was learned before
    assert [to(f)["learning_rate"] for f in learning_rate_too_high.fixes(alone, seen())] == [1e-4, 3e-5, 1e-3]
    low = learning_rate_too_low.fixes(evidence(settings=stated(lr=1e-3, optimizer="sgd")), seen())
    assert [to(f) for f in low] == [{"learning_rate": 0.1}, {"learning_rate": 0.3}, {"optimizer": "adam", "learning_rate": 2e-3}]
    assert to(first(learning_rate_too_low, evidence(settings=stated(optimizer="adam")))) == {"learning_rate": 2e-3}


def test_the_usual_rate_knows_batch_normalisation_adapters_and_what_transformers_are_trained_with() -> None:
    def rate(**changes: object) -> float | None:
        return usual_rate(evidence(**changes))

    assert rate(settings=stated(optimizer="sgd", momentum=0.9, model="resnet18")) == pytest.approx(0.05)
    assert rate(settings=stated(optimizer="sgd"), model=ModelFacts(batch_norm=True)) == pytest.approx(0.1)
    assert rate(settings=stated(optimizer="adam", model_name_or_path="gpt2"), model=ModelFacts(adapters=True)) == pytest.approx(5e-4)
    assert rate(family="language-model") == 1e-3
    assert rate(family="preference") == 1e-6
    assert rate(family="preference", model=ModelFacts(adapters=True)) == pytest.approx(1e-5)
    assert rate() is None


def test_an_extreme_momentum_is_lowered_before_the_rate() -> None:
    fixes = learning_rate_too_high.fixes(evidence(settings=stated(lr=0.1, optimizer="sgd", momentum=0.999)), seen())
    assert [to(f) for f in fixes] == [{"momentum": 0.9, "learning_rate": 0.02}, {"momentum": 0.9}]
    assert [to(f) for f in learning_rate_too_high.fixes(evidence(settings=stated(lr=0.01, optimizer="sgd", momentum=0.99)), seen())] == [
        {"momentum": 0.9}
    ]
    both = learning_rate_too_high.fixes(evidence(settings=stated(lr=0.04, optimizer="sgd", momentum=0.99)), seen())
    assert to(both[0]) == {"momentum": 0.9, "learning_rate": 0.02}
    assert rate_decades(evidence(settings=stated(lr=0.01, optimizer="sgd", momentum=0.999))) == pytest.approx(math.log10(0.01 / 2.5e-4))


def test_a_warm_up_that_outlasts_the_run_is_shortened_and_lowers_the_rate_that_was_used() -> None:
    e = evidence(settings=stated(lr=1e-3, optimizer="adam", warmup_steps=60_000), last_step=600.0, planned_steps=600.0)
    assert used_rate(e) == pytest.approx(1e-5)
    assert to(first(learning_rate_too_low, e)) == {"warmup_steps": 30}
    sound = evidence(settings=stated(lr=1e-5, optimizer="adam", warmup_steps=60), last_step=600.0, planned_steps=600.0)
    assert to(first(learning_rate_too_low, sound)) == {"learning_rate": 2e-3}
    share = evidence(settings=stated(lr=1e-3, optimizer="adam", warmup_ratio=0.9), last_step=600.0, planned_steps=600.0)
    assert to(first(learning_rate_too_low, share)) == {"warmup_steps": 0.05}


def test_every_key_of_a_schedule_that_ends_too_early_is_removed_once() -> None:
    settings = stated("a/step_1.pt", **{"config.scheduler": "cosine"}) + stated(scheduler="cosine", decay_steps=15)
    changes = first(decayed_too_early, evidence(settings=settings)).changes
    assert [(c.key, c.file, c.to) for c in changes] == [("scheduler", "config.yaml", None), ("decay_steps", "config.yaml", None)]


# --- norms, lengths, sizes ------------------------------------------------------------------------------------------


def test_the_clip_norm_is_what_nine_in_ten_gradients_had_before_the_trouble() -> None:
    norms = [1.0 + 0.1 * (i % 10) for i in range(50)] + [1e4] * 10
    e = evidence(settings=stated(lr=0.01, optimizer="sgd"), **logged(grad_norm=norms))
    assert to(first(no_gradient_clipping, e, step=500.0)) == {"gradient_clip_norm": 2.0}
    assert to(first(no_gradient_clipping, e, step=0.0)) == {"gradient_clip_norm": 1.0}


def test_clipping_comes_with_a_lower_rate_where_the_rate_is_high() -> None:
    e = evidence(settings=stated(lr=0.5, optimizer="sgd"))
    assert to(first(no_gradient_clipping, e)) == {"gradient_clip_norm": 1.0, "learning_rate": 0.1}


def test_a_clip_norm_that_was_too_tight_is_set_to_what_the_gradients_are() -> None:
    e = evidence(settings=stated(grad_clip=1e-4), **logged(grad_norm=[2.9, 3.0, 3.1] * 10))
    assert to(first(clipping_too_tight, e)) == {"gradient_clip_norm": 3.0}


def test_warm_up_lasts_until_the_gradient_norm_settles() -> None:
    norms = [50.0 / (1 + i) + 1.0 for i in range(5)] + [1.0 + 0.01 * (i % 3) for i in range(95)]
    settles = first(no_warmup, evidence(**logged(grad_norm=norms)))
    assert 30 <= (to(settles)["warmup_steps"] or 0) <= 100
    assert f"settles at step {to(settles)['warmup_steps']}" in str(settles.why)
    assert "a twentieth" in str(first(no_warmup, evidence(last_step=1000.0)).why)
    assert to(first(no_warmup, evidence(last_step=1000.0))) == {"warmup_steps": 50}


def test_a_run_is_prolonged_to_where_its_loss_was_heading() -> None:
    def epochs(rate: float) -> int:
        falling = [1.0 + np.exp(-rate * i) for i in range(30)]
        return longer(evidence(settings=stated(epochs=30), steps_per_epoch=10.0, **logged(train_loss=falling)))

    assert 60 <= epochs(0.06) < epochs(0.03) <= 600
    assert longer(evidence(settings=stated(epochs=1), steps_per_epoch=40.0)) == 15
    assert longer(evidence(settings=stated(epochs=1), steps_per_epoch=10_000.0)) == 10
    halfway = [1.0 + np.exp(-0.03 * i) for i in range(30)]
    why = first(stopped_too_early, evidence(settings=stated(epochs=30), steps_per_epoch=10.0, **logged(train_loss=halfway))).why
    assert 0.3 < why.values["share"] < 0.5  # exp(−0.9) of the drop
    assert not first(stopped_too_early, evidence(settings=stated(epochs=1))).why.values


def test_batches_of_which_an_epoch_has_a_few_become_smaller_before_it_is_prolonged() -> None:
    huge = evidence(settings=stated(epochs=12, batch_size=600), steps_per_epoch=2.0, last_step=24.0, last_epoch=12.0)
    assert [list(to(f)) for f in stopped_too_early.fixes(huge, seen())] == [["batch_size"], ["epochs"]]
    assert to(first(stopped_too_early, huge)) == {"batch_size": 32}
    assert few_epochs.ask(huge, seen()).holds
    usual = evidence(settings=stated(epochs=12, batch_size=64), steps_per_epoch=2.0, last_step=24.0, last_epoch=12.0)
    assert list(to(first(stopped_too_early, usual))) == ["epochs"]
    assert not few_epochs.ask(usual, seen()).holds


def test_a_run_that_counts_steps_is_prolonged_in_steps() -> None:
    e = evidence(settings=stated(max_steps=100, lr=1e-3), last_step=100.0)
    (change,) = first(stopped_too_early, e).changes
    assert (change.parameter, change.key, change.from_, change.to) == ("epochs", "max_steps", 100, 1000)


def test_early_stopping_that_gave_up_at_once_waits_longer() -> None:
    stopped = evidence(settings=stated(epochs=50, early_stopping_patience=1), outcome="early-stopped")
    assert to(first(stopped_too_early, stopped)) == {"patience": 10}
    assert list(to(first(stopped_too_early, replace(stopped, outcome="finished")))) == ["epochs"]


def test_a_loss_that_came_down_to_guessing_and_no_further_was_not_cut_short() -> None:
    losses = [2.66 - 0.02 * i for i in range(18)]
    e = evidence(settings=stated(epochs=18), last_epoch=18.0, chance=Chance(2.3, 0.1, 10, "head"), **logged(train_loss=losses))
    assert not still_falling.ask(e, seen()).holds
    assert still_falling.ask(replace(e, chance=Chance(None, None, None, "")), seen()).holds


def test_plain_towers_get_as_few_layers_as_any_stack_trains_with() -> None:
    assert to(first(too_deep, evidence(settings=stated(num_layers=24, model="mlp")))) == {"model_depth": 3}
    assert too_deep.fixes(evidence(), seen()) == ()
    assert many.ask(evidence(settings=stated(num_layers=24, model="mlp")), seen()).holds
    assert many.ask(evidence(settings=stated(num_layers=24, model="resnet")), seen()) is None


def test_a_model_that_stays_far_above_its_task_is_widened_more_and_gets_a_second_layer() -> None:
    def changed(floor: float, **settings: Value) -> dict[str, Value]:
        curves = logged(train_loss=[floor] * 20)
        return to(first(too_little_capacity, evidence(settings=stated(**settings), chance=Chance(2.0, 0.1, 10, "head"), **curves)))

    assert changed(1.8, hidden_size=20) == {"model_width": 160}
    assert changed(0.5, hidden_size=40) == {"model_width": 160}
    assert changed(1.8, hidden_size=2, num_layers=1) == {"model_width": 96, "model_depth": 2}

    def deeper(layers: int) -> list[Value]:
        return [to(f).get("model_depth") for f in too_little_capacity.fixes(evidence(settings=stated(hidden_size=2, num_layers=layers)), seen())]

    assert deeper(2) == [None, 4]
    assert deeper(7) == [None]  # which more plain layers would not make better


@pytest.mark.parametrize(("samples", "steps", "size"), [(1200, 38.0, 16), (1000, 10.0, 50), (None, 38.0, None), (1200, None, None)])
def test_memory_that_ran_out_takes_half_of_a_batch_that_nothing_states(samples: int | None, steps: float | None, size: int | None) -> None:
    fix = first(out_of_memory, evidence(settings=stated(train_samples=samples) if samples else (), steps_per_epoch=steps))
    assert to(fix).get("batch_size") == size
    assert all(c.from_ is None for c in fix.changes)


def test_no_change_to_what_is_there_already() -> None:
    fixes = saturating_activations.fixes(evidence(settings=stated(activation="relu")), seen(3.0))
    assert [to(fix) for fix in fixes] == [{"normalization": "layernorm"}]


def test_many_saturating_layers_become_fewer_ones_that_do_not_saturate() -> None:
    assert to(first(saturating_activations, evidence(settings=stated(activation="sigmoid", num_layers=6)))) == {"activation": "relu"}
    deep = evidence(settings=stated(activation="sigmoid", num_layers=24))
    assert to(first(saturating_activations, deep)) == {"activation": "relu", "model_depth": 3}


def test_a_rate_that_nothing_tells_is_set_to_what_is_usual() -> None:
    unknown = first(learning_rate_too_high, evidence(settings=stated(optimizer="sgd", momentum=0.9)))
    assert to(unknown) == {"learning_rate": 0.02}
    assert unknown.changes[0].from_ is None
    own = learning_rate_too_high.fixes(evidence(), seen())
    assert [to(fix) for fix in own] == [{"optimizer": "adam", "learning_rate": 0.002}, {"learning_rate": 0.003}, {"learning_rate": 0.001}]
    assert learning_rate_too_high.fixes(evidence(settings=stated(lr=0.0)), seen()) == ()


def test_what_had_learned_before_takes_a_smaller_rate_of_adam_than_a_fresh_model() -> None:
    fresh, tuned = evidence(), evidence(settings=stated(pretrained="imagenet"))
    assert to(first(learning_rate_too_low, fresh)) == {"optimizer": "adam", "learning_rate": 2e-3}
    assert to(first(learning_rate_too_low, tuned)) == {"optimizer": "adam", "learning_rate": 3e-5}


def test_an_unguarded_logarithm_gives_way_to_the_usual_loss() -> None:
    assert to(first(unsafe_operation, evidence())) == {"loss": None}
    (change,) = first(unsafe_operation, evidence(settings=stated(loss="log_sum"))).changes
    assert (change.key, change.from_, change.to, change.file) == ("loss", "log_sum", None, "config.yaml")


def test_weight_decay_is_switched_off_and_dropout_lowered() -> None:
    assert to(first(too_much_regularization, evidence(settings=stated(weight_decay=3.0)))) == {"weight_decay": 0.0}
    assert to(first(too_much_regularization, evidence(settings=stated(dropout=0.9)))) == {"dropout": 0.0}
    assert to(first(too_much_regularization, evidence(settings=stated(weight_decay=0.01, dropout=0.3)))) == {"weight_decay": 0.0, "dropout": 0.0}
    for light in ({"weight_decay": 1e-4, "dropout": 0.1}, {"weight_decay": 0.01, "optimizer": "adamw"}):
        assert too_much_regularization.fixes(evidence(settings=stated(**light)), seen()) == ()
    assert to(first(too_much_regularization, evidence())) == {}  # nothing tells: then it is advice
    split = first(too_much_regularization, evidence(settings=stated(attn_pdrop=0.9, resid_pdrop=0.9, embd_pdrop=0.1, drop_last=True)))
    assert [(c.parameter, c.key, c.from_, c.to) for c in split.changes] == [("dropout", k, 0.9, 0.0) for k in ("attn_pdrop", "resid_pdrop")]


@pytest.mark.parametrize(
    ("optimizer", "gap", "decay"), [("adamw", 0.1, 0.01), ("adamw", 1.0, 0.05), ("adamw", 4.0, 0.1), ("sgd", 0.1, 1e-4), ("adam", 2.0, 1e-3)]
)
def test_weight_decay_goes_with_the_gap_and_with_how_the_optimizer_takes_it(optimizer: str, gap: float, decay: float) -> None:
    e = evidence(settings=stated(optimizer=optimizer), gap=gaps(gap))
    drop, weights = no_regularization.fixes(e, seen())
    assert (to(drop), to(weights)) == ({"dropout": {0.1: 0.1, 1.0: 0.1, 2.0: 0.3, 4.0: 0.5}[gap]}, {"weight_decay": decay})
    assert drop.why.values["times"] == weights.why.values["times"] == pytest.approx(math.exp(gap))


def test_training_stops_where_validation_was_best_and_says_how_sure_that_is() -> None:
    sure = evidence(settings=stated(epochs=10), steps_per_epoch=10.0, gap=gaps(0.5, best=50.0))
    (stop,) = trained_too_long.fixes(sure, seen())
    assert (to(stop), stop.changes[0].between) == ({"epochs": 5}, None)
    unsure = evidence(settings=stated(epochs=10), steps_per_epoch=10.0, gap=replace(gaps(0.5, best=50.0), best_between=(40.0, 62.0)))
    (stop,) = trained_too_long.fixes(unsure, seen())
    assert (to(stop), stop.changes[0].between) == ({"epochs": 5}, (4, 6))
    assert (stop.why.values["first"], stop.why.values["last"]) == (40.0, 62.0)
    assert str(stop.title) == "Stop at epoch 5 (4 to 6 are as good), where validation was best"


def test_more_data_comes_first_only_where_a_setting_withholds_it() -> None:
    def titles(**settings: Value) -> list[str]:
        e = evidence(settings=stated(**settings), steps_per_epoch=4.0, gap=gaps(1.0, best=60.0))
        return [f.title.template.split()[0] for f in too_little_data.fixes(e, seen())]

    assert titles(train_samples=60, epochs=100) == ["Train", "Stop"]
    assert titles(epochs=100) == ["Stop", "Train"]
    limited = evidence(settings=stated(train_samples=60, epochs=100), steps_per_epoch=4.0, gap=gaps(1.0, best=60.0))
    assert to(first(too_little_data, limited)) == {"train_samples": None, "epochs": 15}


def test_an_extreme_setting_speaks_against_health_unless_the_loss_is_good() -> None:
    settings = stated(dropout=0.95, optimizer="adam", lr=1e-3)
    blind = evidence(settings=settings, **logged(train_loss=[10.0 / (i + 1) for i in range(20)]))
    known = replace(blind, chance=Chance(10.0, 0.1, 10, "head"))
    assert extreme_setting.ask(blind, seen()).holds
    assert extreme_setting.ask(known, seen()) is None
    assert extreme(evidence(settings=stated(dropout=0.5, lr=1e-3, optimizer="adam", hidden_size=64, weight_decay=0.01)), seen()) is None
    assert extreme(evidence(settings=stated(lr=1e-3, optimizer="adam", weight_decay=0.1)), seen()) is not None  # it goes through the gradient
    assert extreme(evidence(settings=stated(lr=1e-3, optimizer="adamw", weight_decay=0.1)), seen()) is None
