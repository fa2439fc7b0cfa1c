"""Sizes of a layer's inputs, read off the optimizer's memory of its gradient, against the inputs that a real training had."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.model.run import Checkpoint, Status
from postmortem.model.tensors import InputScales
from tests.measure.raw import RawFile, run_of, torch_optimizer

MAKERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-4),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-4),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-4),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-7, momentum=0.9),
}


def scales_after(root: Path, kind: str, sizes: np.ndarray, *, steps: int = 60) -> InputScales | None:
    """Train a small regression on independent inputs of these RMS, save once, measure."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(len(sizes), 32), nn.Tanh(), nn.Linear(32, 1))
    with torch.no_grad():
        model[0].weight /= torch.tensor(sizes, dtype=torch.float32)  # no unit saturates
    optimizer = MAKERS[kind](model.parameters())
    for _ in range(steps):
        x = torch.randn(64, len(sizes)) * torch.tensor(sizes, dtype=torch.float32)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), torch.randn(64, 1)).backward()
        optimizer.step()
    file = RawFile(root, "m.bin")
    refs = tuple(file.add(n, t.detach().numpy()) for n, t in model.state_dict().items())
    saved = Checkpoint("m.bin", "raw", Status.READ, step=steps, tensors=refs, optimizer=torch_optimizer(root, "o.bin", optimizer, kind))
    return measure_checkpoints(run_of(root, saved))[1].input_scales


@pytest.mark.parametrize("kind", MAKERS)
def test_the_sizes_are_those_of_the_inputs(tmp_path: Path, kind: str) -> None:
    sizes = np.array([1.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 400.0])
    found = scales_after(tmp_path, kind, sizes)
    assert found is not None
    assert found.inputs == 8
    decades = np.log10(sizes)
    assert found.largest == pytest.approx(decades.max() - np.median(decades), abs=0.25)
    if kind == "sgd":
        assert math.isnan(found.quartiles)  # a sum of signed gradients is too noisy for the small ones
    else:
        assert found.quartiles == pytest.approx(np.subtract(*np.quantile(decades, [0.75, 0.25])), abs=0.25)


def test_scaled_inputs_are_even(tmp_path: Path) -> None:
    found = scales_after(tmp_path, "adam", np.ones(8))
    assert found is not None
    assert found.largest < 0.2
    assert found.quartiles < 0.2


@pytest.mark.parametrize("inputs", [3, 65])
def test_too_few_and_too_many_inputs_say_nothing(tmp_path: Path, inputs: int) -> None:
    assert scales_after(tmp_path, "adam", np.geomspace(1, 1000, inputs), steps=5) is None
