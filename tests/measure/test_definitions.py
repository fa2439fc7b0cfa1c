"""Figures of many checkpoints and of curves against their definitions, written out slowly with numpy and torch alone."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.curves import curve_stats
from postmortem.measure.gap import gap_stats
from postmortem.measure.schedule import schedule_stats
from postmortem.model.run import ParamGroup, Run, Series
from postmortem.model.tensors import WeightSummary
from tests.measure.raw import checkpoint, run_of, torch_optimizer

LAYERS = ("layers.0.weight", "layers.1.weight", "head.weight")


def saved(
    root: Path, steps: int = 30, every: int = 10, *, noise: float = 1.0
) -> tuple[Run, list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """A small network trained with Adam: the run, the weights at each save, and the squares of all gradients of each step."""
    torch.manual_seed(5)
    shapes = {"layers.0.weight": (12, 6), "layers.1.weight": (9, 12), "head.weight": (4, 9)}
    params = {name: torch.nn.Parameter(torch.randn(shape) * 0.3) for name, shape in shapes.items()}
    optimizer = torch.optim.Adam(params.values(), lr=1e-2, betas=(0.9, 0.98))
    states, squares, found = [], [], []
    for step in range(1, steps + 1):
        for k, p in enumerate(params.values()):
            p.grad = torch.randn(p.shape) * 10.0 ** -(k + 1) * (noise if step > steps - every else 1.0)
        squares.append({n: (p.grad.double() ** 2).numpy() for n, p in params.items()})
        optimizer.step()
        if step % every == 0:
            states.append({n: p.detach().numpy().copy() for n, p in params.items()})
            memory = torch_optimizer(root, f"o{step}.bin", optimizer, "adam", list(params))
            found.append(checkpoint(root, f"c{step}.bin", states[-1], step=float(step), optimizer=memory))
    return run_of(root, *found), states, squares


def summary_of(run: Run) -> WeightSummary:
    return measure_checkpoints(run)[1]


def scale(weight: np.ndarray) -> float:
    return math.log10(weight.astype(np.float64).std() * math.sqrt(3 * weight.shape[1]))


def remembered(squares: list[dict[str, np.ndarray]], name: str, beta: float = 0.98) -> float:
    """√ of the mean over elements of Adam's bias-corrected second moment."""
    v = np.zeros_like(squares[0][name])
    for one in squares:
        v = beta * v + (1 - beta) * one[name]
    return math.sqrt((v / (1 - beta ** len(squares))).mean())


def test_changes_and_scales_of_layers(tmp_path: Path) -> None:
    run, states, _ = saved(tmp_path)
    summary = summary_of(run)
    changes = [float(np.linalg.norm(states[-1][n] - states[0][n]) / np.linalg.norm(states[0][n])) for n in LAYERS]
    assert [summary.change[n] for n in LAYERS] == pytest.approx(changes, rel=1e-5)
    assert summary.change_median == pytest.approx(sorted(changes)[1], rel=1e-5)
    assert summary.change_first_to_last_layer == pytest.approx(changes[0] / changes[-1], rel=1e-5)
    first, last = ([scale(state[n]) for n in LAYERS] for state in (states[0], states[-1]))
    assert summary.first_highest_scale == pytest.approx(max(first), abs=1e-6)
    assert summary.highest_scale == pytest.approx(max(last), abs=1e-6)
    assert (summary.first_median_scale, summary.median_scale) == pytest.approx((sorted(first)[1], sorted(last)[1]), abs=1e-6)
    assert summary.scale_drift == pytest.approx(sorted(b - a for a, b in zip(first, last, strict=True))[1], abs=1e-6)


def test_layers_that_still_fill_the_bounds_they_were_drawn_in(tmp_path: Path) -> None:
    torch.manual_seed(2)
    drawn = {name: torch.nn.Linear(40, 30).weight.detach().numpy() for name in ("layers.0.weight", "layers.1.weight", "head.weight")}
    stepped = {**drawn, "layers.1.weight": drawn["layers.1.weight"] * np.float32(1.03)}
    for tensors, expected in ((drawn, tuple(drawn)), (stepped, ("layers.0.weight", "head.weight"))):
        assert summary_of(run_of(tmp_path, checkpoint(tmp_path, "c.bin", tensors))).as_drawn == expected


def test_gradients_of_layers_and_their_growth(tmp_path: Path) -> None:
    run, _, squares = saved(tmp_path, noise=3.0)
    summary = summary_of(run)
    first, last = ({n: remembered(squares[:until], n) for n in LAYERS} for until in (10, 30))
    assert summary.gradient_median == pytest.approx(math.log10(sorted(last.values())[1]), abs=1e-5)
    assert summary.gradient_growth == pytest.approx(sorted(math.log10(last[n] / first[n]) for n in LAYERS)[1], abs=1e-5)
    assert summary.gradient_depth_ratio == pytest.approx(min(math.log10(g[LAYERS[0]] / g[LAYERS[-1]]) for g in (first, last)), abs=0.1)


@pytest.mark.parametrize(("noise", "sign"), [(30.0, 1), (1.0, 0), (0.03, -1)])
def test_second_moments_that_are_out_of_date(tmp_path: Path, noise: float, sign: int) -> None:
    """The gradients of the last ten of eighty steps grow, stay, or die; the moments remember about fifty."""
    run, _, squares = saved(tmp_path, 80, noise=noise)
    lag = summary_of(run).memory_lag
    assert lag is not None
    weights = 0.98 ** np.arange(9, -1, -1)
    recent = {n: math.sqrt(float(np.average([one[n].mean() for one in squares[-10:]], weights=weights))) for n in LAYERS}
    expected = sorted(math.log10(recent[n] / remembered(squares, n)) for n in LAYERS)[1]
    assert lag == pytest.approx(expected, abs=1e-3)
    assert (abs(lag) < 0.05) if not sign else lag * sign > 0.2
    assert lag <= -math.log10(1 - 0.98**10) / 2


def test_memory_is_not_measured_without_a_window(tmp_path: Path) -> None:
    run, _, _ = saved(tmp_path, steps=10)
    assert summary_of(run).memory_lag is None


def test_rows_of_zeros_and_settings_of_the_optimizer(tmp_path: Path) -> None:
    weight = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
    other = weight.copy()
    weight[:3], other[:7] = 0, 0
    run = run_of(tmp_path, checkpoint(tmp_path, "c.bin", {"layers.0.weight": weight, "layers.1.weight": other, "head.weight": weight[5:9]}))
    assert summary_of(run).zero_rows == ("layers.1.weight", 7 / 20)


def test_learning_rates_and_trainable_parameters(tmp_path: Path) -> None:
    run, states, _ = saved(tmp_path)
    last = run.checkpoints[-1]
    assert last.optimizer is not None
    (group,) = last.optimizer.groups
    two = (ParamGroup((0,), {**group.settings, "lr": 0.5}, LAYERS[:1]), ParamGroup((1,), group.settings, LAYERS[1:2]))
    tensors = tuple(replace(ref, requires_grad=ref.name in LAYERS[:2]) for ref in last.tensors)
    frozen = replace(last, tensors=tensors, optimizer=replace(last.optimizer, groups=two, states=last.optimizer.states[:2]))
    measured, _, model = measure_checkpoints(run_of(tmp_path, frozen))
    assert measured[0].optimizer is not None
    assert measured[0].optimizer.learning_rates == (0.5, 0.01)
    assert model.parameters == sum(w.size for w in states[-1].values())
    assert model.trainable == sum(states[-1][n].size for n in LAYERS[:2])


def test_adapters_are_told_by_their_names(tmp_path: Path) -> None:
    tensors = {"q_proj.weight": np.ones((8, 8)), "q_proj.lora_A.weight": np.ones((2, 8)), "q_proj.lora_B.weight": np.zeros((8, 2))}
    assert measure_checkpoints(run_of(tmp_path, checkpoint(tmp_path, "c.bin", tensors)))[2].adapters
    assert not measure_checkpoints(run_of(tmp_path, checkpoint(tmp_path, "d.bin", {"q_proj.weight": np.ones((8, 8))})))[2].adapters


def test_stretches_of_rows_that_stand_there_twice(tmp_path: Path) -> None:
    rows = np.random.default_rng(2).normal(size=(64, 8)).astype(np.float32)
    rows[40:56] = rows[8:24]
    (measured, *_), _, _ = measure_checkpoints(run_of(tmp_path, checkpoint(tmp_path, "c.bin", {"q.weight": rows, "head.weight": rows[:4]})))
    longest = max(
        n
        for a in range(64)
        for b in range(a + 1, 64)
        for n in range(1, 64 - b + 1)
        if (rows[a : a + n] == rows[b : b + n]).all()
    )  # fmt: skip
    assert measured.tensors[0].repeated_rows == longest == 16


def curve(values: list[float], steps: list[float] | None = None) -> Series:
    return Series("train/loss", "loss", "f", np.array(steps or range(len(values)), dtype=float), np.array(values, dtype=float))


def test_gains_and_growth_of_a_curve() -> None:
    values = [4.0, 3.0, 2.5, 2.0, 1.5, 1.25, 1.0, 2.0, 8.0, 6.0]
    stats = curve_stats(curve(values))
    start, best = values[0], stats.best
    assert stats.last_step == 9
    assert stats.relative_gain == pytest.approx((start - best) / start)
    assert stats.peak_log_growth == pytest.approx(math.log10(8.0 / start))
    at = int(stats.best_step)
    slopes = [(values[j] - values[i]) / (j - i) for i in range(at, 10) for j in range(i + 1, 10)]
    assert stats.after_best is not None
    assert stats.after_best.slope == pytest.approx(float(np.median(slopes)))
    assert stats.after_best.points == 10 - at


def test_the_gap_where_validation_was_best() -> None:
    train, val = [4.0, 3.0, 2.0, 1.0, 0.5], [4.2, 3.5, 3.0, 3.6, 4.5]
    gap = gap_stats(curve(train), curve(val))
    assert gap is not None
    assert (gap.best_index, gap.best_step) == (2, 2.0)
    assert gap.gap == pytest.approx(np.median([math.log(3.6), math.log(9.0)]))


def test_where_phases_of_a_schedule_end() -> None:
    rates = [*np.linspace(0.1, 1.0, 10), *[1.0] * 20, *np.linspace(1.0, 0.1, 20)[1:]]
    schedule = schedule_stats(Series("lr", "lr", "f", np.arange(len(rates), dtype=float), np.array(rates)), (), ())
    assert schedule is not None
    assert [(p.kind, p.first_step, p.last_step) for p in schedule.phases] == [("warmup", 0.0, 9.0), ("constant", 9.0, 29.0), ("decay", 29.0, 48.0)]
    assert [p.last for p in schedule.phases] == pytest.approx([1.0, 1.0, 0.1])
