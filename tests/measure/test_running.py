import numpy as np
import pytest

from postmortem.measure.curves import curve_stats
from postmortem.measure.running import is_running_mean
from postmortem.model.run import Reduction
from tests.measure.synthetic import descent, series

PER_EPOCH = 60


def batches(epochs: int, seed: int = 0) -> np.ndarray:
    return descent(epochs * PER_EPOCH, noise=0.1, seed=seed)


def running(values: np.ndarray) -> np.ndarray:
    table = values.reshape(-1, PER_EPOCH)
    return (np.cumsum(table, axis=1) / np.arange(1, PER_EPOCH + 1)).ravel()


@pytest.mark.parametrize("epochs", [4, 6, 40])
@pytest.mark.parametrize("seed", range(5))
def test_running_means_are_told_from_batch_losses(epochs: int, seed: int) -> None:
    y = batches(epochs, seed)
    at = np.arange(len(y)) / PER_EPOCH
    assert is_running_mean(running(y), at)
    assert not is_running_mean(y, at)
    assert not is_running_mean(np.convolve(y, np.ones(8) / 8, "same"), at)  # a moving window
    assert not is_running_mean(descent(len(y)), at)  # no noise, one descent
    assert not is_running_mean(np.full(len(y), 2.3), at)


def test_a_curve_of_unknown_making_is_recognised() -> None:
    y = running(batches(10))
    found = curve_stats(series(y, reduction=Reduction.UNKNOWN), steps_per_epoch=PER_EPOCH)
    assert found.reduction is Reduction.RUNNING
    assert found.spikes == ()
    assert curve_stats(series(y, reduction=Reduction.STEP), steps_per_epoch=PER_EPOCH).reduction is Reduction.STEP
    assert curve_stats(series(y, reduction=Reduction.UNKNOWN)).reduction is Reduction.UNKNOWN  # epochs not known
