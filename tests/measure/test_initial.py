"""Which initialisation a weight's spread is nearest to, against torch's own initialisers."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.initial import nearest
from postmortem.measure.structure import Layout
from postmortem.model.tensors import Role
from tests.measure.raw import checkpoint, run_of

RULES: dict[str, Callable[[torch.Tensor], object]] = {
    "torch": lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)),
    "lecun": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
    "kaiming": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "xavier": nn.init.xavier_uniform_,
    "0.02": lambda w: nn.init.normal_(w, std=0.02),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(256, 100), (64, 100, 3, 3)])
def test_each_rule_is_recognised(tmp_path: Path, rule: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight = torch.empty(shape)
    RULES[rule](weight)
    found = measure_checkpoints(run_of(tmp_path, checkpoint(tmp_path, "a", {"layer.weight": weight.numpy()})))[0][0].tensors[0]
    assert found.initial == rule
    assert found.initial_distance == pytest.approx(0, abs=0.02)


def test_distance_is_in_decades_and_nothing_is_said_of_the_rest() -> None:
    weight = Layout(Role.WEIGHT, fan_in=100, fan_out=100)
    assert nearest(10.0, weight) == ("kaiming", pytest.approx(math.log10(10 / math.sqrt(2 / 100))))
    assert [nearest(std, weight) for std in (0.0, math.nan, math.inf)] == [(None, None)] * 3
    assert nearest(1.0, Layout(Role.BIAS)) == (None, None)
    assert nearest(1.0, Layout(Role.WEIGHT, fan_in=0, fan_out=3)) == (None, None)
    assert nearest(0.9, Layout(Role.EMBEDDING))[0] == "unit"


def test_summary_of_gains_and_finite_spans(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = {
        "model.fc1.weight": rng.standard_normal((8, 5)).astype(np.float32), "model.fc1.bias": np.zeros(8, np.float32),
        "model.norm.weight": np.array([0.5, 0.7, 0.9], np.float32), "model.norm.bias": np.zeros(3, np.float32), "model.norm2.weight": np.full(3, 2, np.float32),
        "model.head.weight": rng.standard_normal((3, 8)).astype(np.float32), "model.head.bias": np.array([-1, 0, 2.5], np.float32),
    }  # fmt: skip
    later = {**base, "model.fc1.weight": base["model.fc1.weight"] * np.float32(1.5), "model.head.weight": base["model.head.weight"] * np.float32(1.1)}
    broken = {**later, "model.fc1.bias": np.full(8, np.nan, np.float32)}
    run = run_of(tmp_path, *(checkpoint(tmp_path, f"c{i}", t, step=10 * i) for i, t in enumerate((base, later, broken), 1)))
    _, summary, model = measure_checkpoints(run)
    assert dict(summary.finite_in) == {"model.fc1.bias": ("c1", "c2")}
    assert (summary.lowest_norm_gain, summary.highest_norm_gain) == (pytest.approx(0.7), 2)
    assert dict(model.modules) == {"model.fc1": (48, None), "model.norm": (6, None), "model.norm2": (3, None), "model.head": (27, None)}
    _, summary, _ = measure_checkpoints(run_of(tmp_path, *run.checkpoints[:2]))
    assert dict(summary.finite_in) == {}
