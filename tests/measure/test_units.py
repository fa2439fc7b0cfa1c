import math
from pathlib import Path

import numpy as np
import pytest

from postmortem.measure import measure
from postmortem.measure.units import tokens_of
from postmortem.model.run import Floats, Run, Series

MEANS = np.array([4.2, 3.6, 3.1, 2.9, 3.0])


def series(name: str, values: Floats) -> Series:
    return Series(name, name, "train.log", np.arange(1.0, len(values) + 1), values)


def logged(loss: Floats, perplexity: Floats) -> dict[str, Series]:
    return {"val/loss": series("val/loss", loss), "val/perplexity": series("val/perplexity", perplexity)}


@pytest.mark.parametrize("tokens", [50.0, 35000.0])
def test_a_sum_is_known_by_its_perplexity(tokens: float) -> None:
    assert tokens_of(logged(tokens * MEANS, np.round(np.exp(MEANS), 4))) == pytest.approx(tokens, rel=1e-3)


def test_a_mean_is_none() -> None:
    assert tokens_of(logged(MEANS, np.exp(MEANS))) is None
    assert tokens_of(logged(MEANS, 2**MEANS)) is None  # another base
    assert tokens_of({"val/loss": series("val/loss", 50 * MEANS)}) is None


def test_of_another_number_in_each_evaluation_nothing_is_known() -> None:
    assert tokens_of(logged(np.array([50, 60, 50, 70, 50]) * MEANS, np.exp(MEANS))) is None
    assert tokens_of(logged(50 * MEANS, np.full(5, 1.0))) is None
    assert tokens_of(logged(np.array([math.nan, *(50 * MEANS[1:])]), np.exp(MEANS))) is None


def test_it_is_divided_before_validation_and_training_are_compared() -> None:
    train = series("train/loss", np.array([4.0, 3.0, 2.0, 1.0, 0.5]))
    evidence, assumed = measure(Run("r", Path(), series=(train, *logged(1000 * MEANS, np.exp(MEANS)).values())))
    assert evidence.gap is not None
    assert evidence.gap.first_gap == pytest.approx(math.log(4.2 / 4.0))
    assert any("sum over 1000 tokens" in str(sentence) for sentence in assumed)
