import dataclasses
import math

import pytest

from postmortem.measure.chance import chance
from postmortem.measure.curves import curve_stats
from postmortem.model.run import Reduction
from postmortem.model.tensors import ModelFacts
from tests.measure.synthetic import series, setting

NOTHING = ModelFacts()
ACCURACY = curve_stats(series([0.1, 0.5], "val/accuracy"))


def first_loss(value: float, reduction: Reduction = Reduction.STEP) -> object:
    return curve_stats(series([value, value / 2], reduction=reduction))


def test_outputs_of_the_head() -> None:
    found = chance(ModelFacts(outputs=10), (), None, None, "classifier")
    assert (found.loss, found.accuracy, found.classes, found.basis) == (math.log(10), 0.1, 10, "head")


def test_one_output_is_two_classes() -> None:
    found = chance(ModelFacts(outputs=1), [setting("loss", "BCEWithLogitsLoss")], None, ACCURACY, "classifier")
    assert (found.loss, found.accuracy, found.classes) == (math.log(2), 0.5, 2)


def test_many_labels_are_many_coins() -> None:
    found = chance(ModelFacts(outputs=20), [setting("loss", "bce")], None, None, "classifier")
    assert found.loss == pytest.approx(math.log(2))


def test_configuration_before_head_before_data_set() -> None:
    told = [setting("classes", 4), setting("dataset", "cifar100")]
    assert chance(ModelFacts(outputs=10), told, None, None, "classifier").basis == "configuration"
    assert chance(ModelFacts(outputs=10), told[1:], None, None, "classifier").classes == 10
    found = chance(NOTHING, told[1:], None, None, "classifier")
    assert (found.classes, found.basis) == (100, "dataset")


@pytest.mark.parametrize(
    ("name", "classes"), [("MNIST", 10), ("data/CIFAR-10/", 10), ("huggingface/ag_news", 4), ("ImageNet-1k", 1000), ("fashion_mnist", 10)]
)
def test_named_data_sets(name: str, classes: int) -> None:
    assert chance(NOTHING, [setting("dataset", name)], None, None, "classifier").classes == classes


def test_an_unknown_data_set_tells_nothing() -> None:
    assert chance(NOTHING, [setting("dataset", "our-mnist-variant-7")], None, None, "classifier").basis == ""


def test_vocabulary_of_a_language_model() -> None:
    found = chance(ModelFacts(outputs=50304), [setting("vocabulary", 50257)], None, None, "language-model")
    assert found.loss == pytest.approx(math.log(50257))
    assert chance(ModelFacts(outputs=65), (), None, None, "language-model").classes == 65
    bits = chance(NOTHING, [setting("vocabulary", 32000)], None, None, "language-model", framework="fairseq")
    assert bits.loss == pytest.approx(math.log2(32000))
    assert chance(NOTHING, [setting("vocabulary", 32000)], None, None, "language-model", framework="marian").loss is None


def test_a_vocabulary_is_no_number_of_classes() -> None:
    assert chance(ModelFacts(outputs=2), [setting("vocabulary", 30522)], None, ACCURACY, "classifier").classes == 2


def test_a_first_loss_that_is_ln_c() -> None:
    found = chance(NOTHING, (), first_loss(2.31), None, "classifier")  # type: ignore[arg-type]
    assert (found.classes, found.basis) == (10, "first-loss")
    assert chance(NOTHING, (), first_loss(2.36), None, "classifier").basis == ""  # type: ignore[arg-type]
    assert chance(NOTHING, (), first_loss(2.303, Reduction.EPOCH), None, "classifier").basis == ""  # type: ignore[arg-type]
    late = dataclasses.replace(first_loss(2.303), first_step=500.0)  # type: ignore[type-var]
    assert chance(NOTHING, (), late, None, "classifier").basis == ""  # type: ignore[arg-type]


def test_without_a_family_the_loss_must_look_like_it() -> None:
    model = ModelFacts(outputs=10)
    assert chance(model, (), first_loss(2.4)).basis == "head"  # type: ignore[arg-type]
    assert chance(model, (), first_loss(0.2)).basis == ""  # type: ignore[arg-type]
    assert chance(model, (), None).basis == ""


def test_another_loss_has_no_known_level() -> None:
    found = chance(ModelFacts(outputs=10), [setting("loss", "FocalLoss")], None, None, "classifier")
    assert (found.loss, found.accuracy) == (None, 0.1)


def test_regression_only_when_targets_are_standardised() -> None:
    assert chance(ModelFacts(outputs=1), (), None, None, "regression").loss is None
    told = [setting("", True, "data.standardize_targets"), setting("loss", "mse")]
    found = chance(ModelFacts(outputs=1), told, None, None, "regression")
    assert (found.loss, found.basis) == (1.0, "target-variance")
    assert chance(ModelFacts(outputs=1), [told[0], setting("loss", "l1")], None, None, "regression").loss is None


def test_explained_variance_tells_the_level_of_a_squared_error() -> None:
    mse, r2 = series([400.0, 150.0, 90.0], "val/loss"), series([-3.0, -0.5, 0.1], "val/r2")
    found = chance(ModelFacts(outputs=1), (), None, None, "regression", scored=[(None, None), (mse, r2)])
    assert (found.loss, found.basis) == (pytest.approx(100.0), "explained-variance")
    absolute = series([20.0, 12.2, 9.5], "val/loss")  # of another loss R² says nothing
    assert chance(ModelFacts(outputs=1), (), None, None, "regression", scored=[(absolute, r2)]).loss is None
    perfect = series([1.0, 1.0, 1.0], "val/r2")
    assert chance(ModelFacts(outputs=1), (), None, None, "regression", scored=[(mse, perfect)]).loss is None


@pytest.mark.parametrize("family", ["gan", "reinforcement", "preference", "autoencoder", "diffusion", "contrastive", "detection"])
def test_no_chance_level_elsewhere(family: str) -> None:
    assert chance(ModelFacts(outputs=10), [setting("classes", 10)], None, None, family).loss is None


@pytest.mark.parametrize("value", [True, None, "many", math.nan, math.inf, -3, 2.5, 0])
def test_odd_numbers_of_classes(value: object) -> None:
    assert chance(NOTHING, [setting("classes", value)], None, None, "classifier").classes is None


def test_a_number_of_classes_is_no_vocabulary() -> None:
    """Megatron prints `num_classes 1000` for every language model."""
    assert chance(NOTHING, [setting("classes", 1000)], None, None, "language-model").loss is None


def test_a_loss_at_rest_and_an_accuracy_that_agree() -> None:
    loss = curve_stats(series([1.585, 1.12, 1.08, *[1.062] * 20]))
    at_chance, learned = curve_stats(series([0.27, *[0.36] * 22], "val/accuracy")), curve_stats(series([0.27, *[0.9] * 22], "val/accuracy"))
    assert chance(NOTHING, (), loss, at_chance, "classifier").classes == 3  # and not 5, which the first loss would be
    assert chance(NOTHING, (), loss, learned, "classifier").classes != 3


def test_a_head_of_several_questions() -> None:
    guessed, knew = curve_stats(series([0.59, 0.6], "val/accuracy")), curve_stats(series([0.8, 0.9], "val/accuracy"))
    found = chance(ModelFacts(outputs=10), (), first_loss(0.69), guessed, "classifier")
    assert (found.loss, found.accuracy) == (pytest.approx(math.log(2)), None)
    assert chance(ModelFacts(outputs=10), (), first_loss(0.69), knew, "classifier").loss == pytest.approx(math.log(10))


def test_what_only_looks_like_fairseq_counts_in_nats() -> None:
    told = [setting("classes", 2)]
    assert chance(NOTHING, told, first_loss(0.6915), None, "classifier", framework="fairseq").loss == pytest.approx(math.log(2))
    assert chance(NOTHING, told, first_loss(1.01), None, "classifier", framework="fairseq").loss == pytest.approx(1.0)


def test_a_loss_that_never_comes_near_is_no_cross_entropy() -> None:
    thrown, other = curve_stats(series([34.5, 5.0, 4.2])), curve_stats(series([34.5, 27.0, 25.1]))
    assert chance(ModelFacts(outputs=64), (), thrown, None, "").classes == 64
    assert chance(ModelFacts(outputs=64), (), other, None, "").loss is None


def test_a_first_loss_beside_an_accuracy_that_is_no_guess() -> None:
    loss = first_loss(math.log(15))
    known, guessed = (curve_stats(series([first, 0.9], "train/accuracy")) for first in (0.45, 0.07))
    assert chance(NOTHING, (), loss, known, "classifier", train_accuracy=known).classes is None
    assert chance(NOTHING, (), loss, guessed, "classifier", train_accuracy=guessed).classes == 15


def test_the_printed_model_stands_in_for_a_checkpoint() -> None:
    assert chance(NOTHING, [setting("outputs", 5)], None, ACCURACY, "classifier").classes == 5
    assert chance(ModelFacts(outputs=10), [setting("outputs", 5)], None, ACCURACY, "classifier").classes == 10


def test_always_one_class_of_two() -> None:
    loss = curve_stats(series([1.25, 0.8, 0.72, 0.71, 0.7, 0.695]))
    either = curve_stats(series([0.5367, 0.4633, 0.5367, 0.5367], "val/accuracy"))
    assert chance(NOTHING, (), loss, either, "classifier").classes == 2
    learned = curve_stats(series([0.4633, 0.4633, 0.6, 0.8], "val/accuracy"))
    assert chance(NOTHING, (), loss, learned, "classifier").classes is None


def test_the_training_accuracy_says_it_as_well() -> None:
    loss, train = curve_stats(series([1.4085, 1.3, 1.1], reduction=Reduction.EPOCH)), curve_stats(series([0.2375, 0.4, 0.5], "train/accuracy"))
    val = curve_stats(series([0.41, 0.47, 0.57], "val/accuracy"))
    assert chance(NOTHING, (), loss, val, "classifier").classes is None
    assert chance(NOTHING, (), loss, val, "classifier", train_accuracy=train).classes == 4


def test_no_cross_entropy_ends_below_zero() -> None:
    """An overlap is subtracted from it: the classes are known, what guessing would cost is not."""
    subtracted = curve_stats(series([1.1, 0.2, -0.6, -0.9]))
    found = chance(ModelFacts(outputs=3), (), subtracted, None, "classifier")
    assert (found.loss, found.classes) == (None, 3)
    assert chance(ModelFacts(outputs=3), (), curve_stats(series([-1.1, -4.0, -60.0, -900.0])), None, "classifier").loss == pytest.approx(math.log(3))


def test_outputs_that_are_compared_are_no_classes() -> None:
    """Siamese networks: an embedding as wide as configured, and a margin between pairs."""
    told = [setting("", 32, key="embedding"), setting("", 1.0, key="margin")]
    assert chance(ModelFacts(outputs=32), told, first_loss(0.4), ACCURACY, "classifier").classes is None
    assert chance(ModelFacts(outputs=32), told[:1], first_loss(3.4), ACCURACY, "classifier").classes == 32


def test_half_of_the_answers_wrong_cost_more_than_that_in_any_cross_entropy() -> None:
    loss, right = curve_stats(series([0.45, 0.3, 0.27])), curve_stats(series([0.5, 0.52, 0.51], "train/accuracy"))
    assert chance(ModelFacts(outputs=32), (), loss, ACCURACY, "classifier", train_accuracy=right).classes is None
    sure = curve_stats(series([0.9, 0.95, 0.97], "train/accuracy"))
    assert chance(ModelFacts(outputs=32), (), loss, ACCURACY, "classifier", train_accuracy=sure).classes == 32


def test_a_first_loss_says_nothing_of_a_model_that_was_trained_before() -> None:
    before, first = [setting("", "weights/base.pt", key="pretrained_checkpoint")], curve_stats(series([math.log(4), 1.37, 1.36]))
    right = curve_stats(series([0.4, 0.41, 0.4], "val/accuracy"))
    assert chance(NOTHING, before, first, None, "language-model").classes is None
    assert chance(NOTHING, before, first, right, "classifier").classes is None
    assert chance(NOTHING, before, first, None, "classifier").classes == 4  # a new head guesses
