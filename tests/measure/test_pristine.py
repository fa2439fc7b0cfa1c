"""Weights that still look as they were drawn."""

import pytest
import torch
from torch import nn

from postmortem.measure.pristine import as_drawn
from postmortem.model.tensors import Histogram, TensorStats


def stats(values: torch.Tensor, fan_in: int) -> TensorStats:
    v = values.detach().double().flatten()
    z = (v - v.mean()) / v.std(correction=0)
    return TensorStats(
        "w", "float32", tuple(values.shape), "weight", v.numel(), 0, 0, 0, 0, 0, float(v.mean()), float(v.std(correction=0)), 0.0,
        float(v.min()), float(v.max()), (0.0,) * 9, float((z**4).mean() - 3), Histogram((), ()), fan_in=fan_in,
    )  # fmt: skip


LAYERS = {
    "linear": lambda: (nn.Linear(64, 48).weight, 64),
    "convolution": lambda: (nn.Conv2d(16, 24, 3).weight, 16 * 9),
    "lstm, inputs": lambda: (nn.LSTM(20, 32).weight_ih_l0, 20),
    "gru, hidden": lambda: (nn.GRU(20, 32).weight_hh_l0, 32),
    "glorot": lambda: (nn.init.xavier_uniform_(torch.empty(50, 70)), 70),
    "he": lambda: (nn.init.kaiming_uniform_(torch.empty(50, 70), nonlinearity="relu"), 70),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("seed", range(5))
def test_a_fresh_uniform_layer_is_as_drawn(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    weight, fan_in = LAYERS[name]()
    assert as_drawn(stats(weight, fan_in))


@pytest.mark.parametrize("name", LAYERS)
def test_steps_push_elements_over_the_bounds(name: str) -> None:
    torch.manual_seed(0)
    weight, fan_in = LAYERS[name]()
    moved = weight.detach() + 0.02 * weight.detach().std() * torch.randn_like(weight)
    assert not as_drawn(stats(moved, fan_in))


def test_other_distributions_are_never_as_drawn() -> None:
    torch.manual_seed(0)
    assert not as_drawn(stats(0.02 * torch.randn(64, 64), 64))
    assert not as_drawn(stats(torch.zeros(64, 64) + 1.0, 64))
    assert not as_drawn(stats(0.5 * nn.Linear(64, 64).weight, 64))
    assert not as_drawn(stats(nn.Linear(4, 4).weight, 4))  # sixteen elements say nothing
    broken = nn.Linear(64, 64).weight.detach().clone()
    assert as_drawn(stats(broken, 64))
