"""Effective learning rates of real optimizers, and the output bias beside the class prior."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.model.run import LoggedHistogram, Run
from postmortem.model.tensors import CheckpointStats
from tests.measure.raw import checkpoint, run_of, torch_optimizer

RATE = 3e-3


def train(
    root: Path, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer], kind: str, saves: tuple[int, ...], *, steady: bool, fading: float = 1.0
) -> Run:
    """Descend along one gradient (`steady`), or along a new random one each step, each `fading` times as large as the one before."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(40, 30))
    optimizer = make([weight])
    direction = torch.randn(40, 30)
    found = []
    for step in range(1, max(saves) + 1):
        weight.grad = (direction if steady else torch.randn(40, 30)) * fading**step
        optimizer.step()
        if step in saves:
            saved = torch_optimizer(root, f"o{step}.bin", optimizer, kind, ["layer.weight"])
            found.append(checkpoint(root, f"m{step}.bin", {"layer.weight": weight.detach().numpy()}, step, optimizer=saved))
    return run_of(root, *found)


def rate(run: Run) -> float | None:
    (update,) = measure_checkpoints(run)[0][-1].updates
    return update.effective_rate


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.9)),
        ("adam", lambda p: torch.optim.Adam(p, lr=RATE)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=RATE, weight_decay=0.0)),
    ],
)
def test_one_step_and_steps_that_agree_give_the_learning_rate(
    tmp_path: Path, kind: str, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
) -> None:
    assert rate(train(tmp_path, make, kind, (200, 230), steady=True)) == pytest.approx(RATE, rel=0.01)
    if kind == "sgd":
        assert rate(train(tmp_path, make, kind, (20, 21), steady=False)) == pytest.approx(RATE, rel=1e-3)
    else:
        assert rate(train(tmp_path, make, kind, (600, 601), steady=False)) == pytest.approx(RATE, rel=0.05)  # of RMS, not element by element


def test_steps_that_disagree_give_less(tmp_path: Path) -> None:
    found = rate(train(tmp_path, lambda p: torch.optim.Adam(p, lr=RATE), "adam", (600, 1000), steady=False))
    assert found is not None
    assert 0.05 * RATE < found < 0.5 * RATE


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("saves", [(100, 140), (30, 38)])
def test_gradients_that_fade_while_the_weights_move_give_no_more(tmp_path: Path, kind: str, saves: tuple[int, ...]) -> None:
    """The last step alone is a tenth of the first, and would tell a rate several times as high."""
    makes = {"sgd": lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.5), "adam": lambda p: torch.optim.Adam(p, lr=RATE)}
    found = rate(train(tmp_path, makes[kind], kind, saves, steady=True, fading=0.93))
    assert found is not None
    assert 0.6 * RATE < found < 1.02 * RATE


def test_what_is_no_such_optimizer_has_none(tmp_path: Path) -> None:
    assert rate(train(tmp_path, lambda p: torch.optim.Adam(p, lr=RATE, amsgrad=True), "adam-amsgrad", (5, 6), steady=True)) is None
    assert rate(train(tmp_path, lambda p: torch.optim.RMSprop(p, lr=RATE), "rmsprop", (5, 6), steady=True)) is None


def test_the_optimizers_own_count_goes_before_the_number_in_the_name(tmp_path: Path) -> None:
    run = train(tmp_path, lambda p: torch.optim.Adam(p, lr=RATE), "adam", (200, 230), steady=True)
    epochs = replace(run, checkpoints=tuple(replace(c, step=float(n)) for n, c in enumerate(run.checkpoints)))
    assert rate(epochs) == pytest.approx(RATE, rel=0.01)


# --- the output bias ----------------------------------------------------------------------------------------------------


def head(root: Path, bias: object, labels: list[int] | None = None, *, name: str = "head.bias") -> CheckpointStats:
    values = np.asarray(bias, np.float32)
    random = np.random.default_rng(0)
    one = checkpoint(
        root,
        "m.bin",
        {
            "body.weight": random.standard_normal((8, 4)),
            "body.bias": np.ones(8),
            "head.weight": random.standard_normal((max(values.size, 1), 8)),
            name: values,
        },
        1,
    )
    histograms = (
        () if labels is None else (LoggedHistogram("data/train_labels", "c", 0.0, np.arange(len(labels) + 1) - 0.5, np.array(labels, float)),)
    )
    return measure_checkpoints(replace(run_of(root, one), histograms=histograms))[0][0]


def slow_divergence(p: list[float], logits: list[float]) -> float:
    """Σ p ln(p / q) in plain Python."""
    total = sum(math.exp(v) for v in logits)
    return sum(a * math.log(a / (math.exp(v) / total)) for a, v in zip(p, logits, strict=True) if a)


def test_the_bias_as_a_prior(tmp_path: Path) -> None:
    logits = [1.5, -0.5, 0.25]
    found = head(tmp_path, logits, [70, 10, 20]).prior
    assert found is not None
    assert found.outputs == 3
    assert found.from_uniform == pytest.approx(slow_divergence([1 / 3] * 3, logits), rel=1e-6)
    assert found.from_labels == pytest.approx(slow_divergence([0.7, 0.1, 0.2], logits), rel=1e-6)
    exact = head(tmp_path, np.log([0.7, 0.1, 0.2]), [70, 10, 20]).prior
    assert exact is not None
    assert exact.from_labels == pytest.approx(0, abs=1e-7)


def test_extreme_biases_stay_finite(tmp_path: Path) -> None:
    found = head(tmp_path, [3e38, 0.0, -3e38]).prior
    assert found is not None
    assert math.isfinite(found.from_uniform)
    assert found.from_labels is None


@pytest.mark.parametrize("bias", [[1.0], [math.nan, 0.0], [math.inf, 1.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_no_prior_where_there_is_none_to_read(tmp_path: Path, bias: object) -> None:
    assert head(tmp_path, bias).prior is None


def test_a_class_without_an_output_is_not_compared(tmp_path: Path) -> None:
    found = head(tmp_path, [0.0, 0.0], [5, 0, 5]).prior
    assert found is not None
    assert (found.from_uniform, found.from_labels) == (0.0, None)


def test_another_layers_bias_is_not_the_heads(tmp_path: Path) -> None:
    assert head(tmp_path, [1.0, 2.0], name="head.scale").prior is None
