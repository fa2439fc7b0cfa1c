"""Whole runs: the counted and the direct way agree, whatever the number of threads; what separates failures shows in the summary."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from postmortem.measure import checkpoints, trajectory
from postmortem.measure.checkpoints import measure_checkpoints, time_line
from postmortem.model.run import Checkpoint, Run, Status, TensorRef
from postmortem.model.tensors import CheckpointStats
from tests.measure.raw import RawFile, checkpoint, run_of

RNG = np.random.default_rng(3)


def network(scale: float = 1.0, dtype: str = "float32") -> dict[str, np.ndarray]:
    def uniform(*shape: int) -> np.ndarray:
        return (RNG.uniform(-1, 1, shape) * scale / math.sqrt(shape[-1])).astype(dtype)

    return {
        "layers.0.weight": uniform(30, 20), "layers.0.bias": uniform(30), "layers.1.weight": uniform(40, 30), "layers.1.bias": uniform(40),
        "head.weight": uniform(5, 40), "head.bias": uniform(5),
    }  # fmt: skip


def moved(tensors: dict[str, np.ndarray], by: float = 0.1) -> dict[str, np.ndarray]:
    return {n: (t + by * np.abs(t).mean() * RNG.standard_normal(t.shape)).astype(t.dtype) for n, t in tensors.items()}


def series_of(root: Path, *states: dict[str, np.ndarray], steps: tuple[float | None, ...] = ()) -> Run:
    return run_of(root, *(checkpoint(root, f"c{i}.bin", s, step=steps[i] if steps else 100.0 * (i + 1)) for i, s in enumerate(states)))


def same(a: CheckpointStats, b: CheckpointStats) -> None:
    for one, two in zip(a.tensors, b.tensors, strict=True):
        for field in ("name", "count", "nan", "positive_inf", "negative_inf", "zero", "subnormal", "low", "high", "histogram", "dead_rows"):
            assert (
                getattr(one, field) == pytest.approx(getattr(two, field), nan_ok=True)
                if field in ("low", "high")
                else getattr(one, field) == getattr(two, field)
            )
        assert one.std == pytest.approx(two.std, rel=1e-7, nan_ok=True)
        assert np.allclose(one.quantiles, two.quantiles, rtol=2.0**-8, equal_nan=True)
    for first, second in zip(a.updates, b.updates, strict=True):
        assert (first.name, first.identical) == (second.name, second.identical)
        assert first.relative_change == pytest.approx(second.relative_change, rel=1e-9, nan_ok=True)
        assert first.norm_ratio == pytest.approx(second.norm_ratio, rel=1e-9, nan_ok=True)
        assert first.cosine == pytest.approx(second.cosine, abs=1e-9, nan_ok=True) if first.cosine is not None else second.cosine is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("compiled", [False, True])
def test_counted_and_direct_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, compiled: bool) -> None:
    first = network(dtype=dtype)
    first["layers.1.weight"][3] = 0
    second, third = moved(first), moved(first)
    third["layers.0.weight"] = second["layers.0.weight"]
    fourth = moved(third)
    fourth["layers.1.weight"][2, 2] = np.nan
    run = series_of(tmp_path, first, second, third, fourth)
    direct, summary, _ = measure_checkpoints(run)
    monkeypatch.setattr(trajectory, "DIRECT", 0)
    monkeypatch.setattr(checkpoints, "BUFFERS", 0)
    monkeypatch.setattr(checkpoints, "LEAST_BLOCK", 128)
    monkeypatch.setattr(checkpoints, "COMPILED_FROM", 0 if compiled else 1 << 60)
    monkeypatch.setattr(checkpoints, "THREADED_FROM", 0 if compiled else 1 << 60)
    counted, again, _ = measure_checkpoints(run)
    for a, b in zip(direct, counted, strict=True):
        same(a, b)
    for name, value in summary.change.items():
        assert again.change[name] == pytest.approx(value, rel=1e-9)
    assert again.first_non_finite == summary.first_non_finite == "c3.bin"
    assert again.last_finite == summary.last_finite == "c2.bin"
    assert direct[0].tensor("layers.1.weight").dead_rows == 1 / 40
    assert repr(measure_checkpoints(run)[0]) == repr(counted)


def test_updates_against_the_definition(tmp_path: Path) -> None:
    a, b, c = (network() for _ in range(3))
    stats, summary, _ = measure_checkpoints(series_of(tmp_path, a, b, c))
    for update in stats[2].updates:
        x, y, z = (s[update.name].astype(np.float64).ravel() for s in (a, b, c))
        assert update.relative_change == pytest.approx(np.linalg.norm(z - y) / np.linalg.norm(y))
        assert update.norm_ratio == pytest.approx(np.linalg.norm(z) / np.linalg.norm(y))
        assert update.cosine == pytest.approx(np.dot(z - y, y - x) / np.linalg.norm(z - y) / np.linalg.norm(y - x))
        assert (update.from_step, update.to_step) == (200, 300)
    assert not stats[0].updates
    assert all(u.cosine is None for u in stats[1].updates)
    x, z = a["head.weight"].astype(np.float64), c["head.weight"].astype(np.float64)
    assert summary.change["head.weight"] == pytest.approx(np.linalg.norm(z - x) / np.linalg.norm(x))


def test_from_zero_and_to_zero(tmp_path: Path) -> None:
    zero = {n: np.zeros_like(t) for n, t in network().items()}
    stats, summary, _ = measure_checkpoints(series_of(tmp_path, zero, network(), zero, zero))
    assert all(u.relative_change == math.inf for u in stats[1].updates)
    assert all(u.relative_change == 1 and u.norm_ratio == 0 for u in stats[2].updates)
    assert all(u.relative_change == 0 and u.identical and u.norm_ratio == 1 for u in stats[3].updates)
    assert summary.zero_weight_share == 1
    assert summary.symmetric_share == 0
    assert summary.median_scale == -math.inf


def test_default_initialisation_has_scale_zero(tmp_path: Path) -> None:
    _, summary, model = measure_checkpoints(series_of(tmp_path, network(), network(10.0)))
    assert summary.first_median_scale == pytest.approx(0, abs=0.05)
    assert summary.median_scale == pytest.approx(1, abs=0.05)
    assert summary.scale_drift == pytest.approx(1, abs=0.05)
    assert model.weight_layers == ("layers.0.weight", "layers.1.weight", "head.weight")
    assert (model.head, model.outputs) == ("head.weight", 5)


def test_frozen_parameters_are_told_from_a_second_copy(tmp_path: Path) -> None:
    first = network()
    frozen = moved(first) | {n: t for n, t in first.items() if not n.startswith("head")}
    _, summary, _ = measure_checkpoints(series_of(tmp_path, first, frozen))
    assert set(summary.identical) == set(first) - {"head.weight", "head.bias"}
    assert summary.identical_share == pytest.approx(4 / 6)
    assert summary.identical_elements_share == pytest.approx(1 - 205 / sum(t.size for t in first.values()))
    still = measure_checkpoints(series_of(tmp_path, first, first))[1]
    assert still.identical_share == 1  # two steps, nothing moved
    for steps in ((None, None), (5.0, 5.0)):
        copy = measure_checkpoints(series_of(tmp_path, first, first, steps=steps))[1]
        assert copy.identical_share is None  # one state saved twice proves nothing


def test_second_copies_of_a_step_are_not_compared(tmp_path: Path) -> None:
    states = [network() for _ in range(4)]
    run = series_of(tmp_path, *states, steps=(1.0, 2.0, 2.0, None))
    assert time_line(run.checkpoints) == [0, 1]
    stats, _, _ = measure_checkpoints(run)
    assert [bool(s.updates) for s in stats] == [False, True, False, False]


def test_constant_initialisation_is_symmetric(tmp_path: Path) -> None:
    rows = {n: np.tile(t[:1], (len(t), *[1] * (t.ndim - 1))) for n, t in network().items()}
    _, summary, _ = measure_checkpoints(series_of(tmp_path, rows))
    assert summary.symmetric_share == 1
    columns = {n: np.tile(t[:, :1], (1, t.shape[1])) if t.ndim > 1 else t for n, t in network().items()}
    assert measure_checkpoints(series_of(tmp_path, columns))[1].symmetric_share == 1
    assert measure_checkpoints(series_of(tmp_path, network()))[1].symmetric_share == 0


def test_identical_rows_are_counted(tmp_path: Path) -> None:
    tensors = network()
    tensors["layers.0.weight"][4] = tensors["layers.0.weight"][20] * (1 + 1e-6)
    tensors["layers.0.weight"][9] = tensors["layers.0.weight"][20]
    tensors["layers.0.weight"][11] = 0
    tensors["layers.0.weight"][12] = 0
    stats, _, _ = measure_checkpoints(series_of(tmp_path, tensors))
    assert stats[0].tensor("layers.0.weight").identical_rows == pytest.approx(3 / 30)
    assert stats[0].tensor("layers.0.weight").dead_rows == pytest.approx(2 / 30)
    assert stats[0].tensor("layers.1.weight").identical_rows == 0


def test_hidden_biases_without_the_heads(tmp_path: Path) -> None:
    tensors = network()
    tensors["layers.1.bias"][:] = -8
    tensors["head.bias"][:] = -20
    assert measure_checkpoints(series_of(tmp_path, tensors))[1].lowest_hidden_bias == -8


def test_everything_is_nan(tmp_path: Path) -> None:
    broken = {n: np.full_like(t, np.nan) for n, t in network().items()}
    stats, summary, _ = measure_checkpoints(series_of(tmp_path, network(), broken))
    assert summary.all_non_finite
    assert (summary.first_non_finite, summary.last_finite) == ("c1.bin", "c0.bin")
    assert summary.change == {}
    assert set(stats[1].non_finite) == set(broken)
    assert all(math.isnan(u.relative_change) for u in stats[1].updates)


def test_batch_norm_statistics(tmp_path: Path) -> None:
    def with_norm(variance: float) -> dict[str, np.ndarray]:
        return network() | {
            "norm.weight": np.ones(40, np.float32), "norm.bias": np.zeros(40, np.float32), "norm.running_mean": np.zeros(40, np.float32),
            "norm.running_var": np.full(40, variance, np.float32), "norm.num_batches_tracked": np.array(7, np.int64),
        }  # fmt: skip

    _, summary, model = measure_checkpoints(series_of(tmp_path, with_norm(1.0), with_norm(0.5)))
    assert model.batch_norm
    assert model.normalised
    assert model.parameters == sum(t.size for t in network().values()) + 80
    assert summary.running_var_off == pytest.approx(math.log(2))


def test_a_tensor_whose_bytes_are_missing_is_named(tmp_path: Path) -> None:
    run = series_of(tmp_path, network(), network(), network())
    data = (tmp_path / "c1.bin").read_bytes()
    (tmp_path / "c1.bin").write_bytes(data[:-30])
    stats, summary, _ = measure_checkpoints(run)
    assert stats[1].unread == ("head.weight", "head.bias") or stats[1].unread == ("head.bias",)
    assert "head.bias" in {u.name for u in stats[2].updates}
    assert summary.checkpoints == 3


def test_low_precision(tmp_path: Path) -> None:
    assert measure_checkpoints(series_of(tmp_path, network(dtype="float16")))[1].low_precision == "float16"
    assert measure_checkpoints(series_of(tmp_path, network()))[1].low_precision is None


def test_no_checkpoints_and_empty_ones(tmp_path: Path) -> None:
    assert measure_checkpoints(Run("r", tmp_path))[0] == ()
    nothing = Checkpoint("x.pt", "torch-zip", Status.FAILED)
    stats, summary, _ = measure_checkpoints(
        run_of(tmp_path, nothing, checkpoint(tmp_path, "a.bin", {"w": np.empty((0, 3), np.float32), "s": np.float32(2)}))
    )
    assert [s.path for s in stats] == ["a.bin"]
    assert summary.checkpoints == 1


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[float] = []
    measure_checkpoints(series_of(tmp_path, network()), lambda _name, share: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_keras_orientation(tmp_path: Path) -> None:
    kernel = (RNG.uniform(-1, 1, (50, 8)) / math.sqrt(50)).astype(np.float32)
    kernel[:, 2] = 0
    one = replace(checkpoint(tmp_path, "k.bin", {"dense/kernel": kernel, "dense/bias": np.zeros(8, np.float32)}), facts={"layout": "keras"})
    stats, _, model = measure_checkpoints(run_of(tmp_path, one))
    found = stats[0].tensor("dense/kernel")
    assert (found.fan_in, found.dead_rows, model.outputs) == (50, 1 / 8, 8)


@pytest.mark.parametrize("momentum", [0.1, 0.001, 0.0001])
def test_running_statistics_that_lag(tmp_path: Path, momentum: float) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    norm = torch.nn.BatchNorm1d(8, momentum=momentum)
    states = []
    for step in range(1, 401):
        norm(torch.randn(64, 8) * 0.3)
        if step in (100, 400):
            states.append({n: t.numpy().copy() for n, t in norm.state_dict().items()})
    _, summary, _ = measure_checkpoints(series_of(tmp_path, *states, steps=(100.0, 400.0)))
    assert summary.running_var_lag == pytest.approx((1 - momentum) ** 400, abs=0.15)
    assert summary.running_var_off == pytest.approx(abs(math.log(float(np.median(states[1]["running_var"])))), rel=0.02)


@pytest.mark.parametrize("momentum", [0.02, 0.003])
def test_the_lag_of_running_statistics_is_exact_where_the_data_does_not_change(tmp_path: Path, momentum: float) -> None:
    torch.manual_seed(0)
    norm, batch = torch.nn.BatchNorm1d(8, momentum=momentum), torch.randn(64, 8) * 0.3
    states = []
    for step in range(1, 201):
        norm(batch)
        if step in (50, 200):
            states.append({n: t.numpy().copy() for n, t in norm.state_dict().items()})
    _, summary, _ = measure_checkpoints(series_of(tmp_path, *states, steps=(50.0, 200.0)))
    assert summary.running_var_lag == pytest.approx((1 - momentum) ** 200, abs=1e-3)


def test_running_statistics_of_one_checkpoint_tell_no_lag(tmp_path: Path) -> None:
    state = {n: t.numpy() for n, t in torch.nn.BatchNorm1d(8).state_dict().items()}
    assert measure_checkpoints(series_of(tmp_path, state))[1].running_var_lag is None


def test_a_nan_that_stays_is_not_a_frozen_parameter(tmp_path: Path) -> None:
    first = network()
    broken = {n: np.full_like(t, np.nan) for n, t in first.items()}
    summary = measure_checkpoints(series_of(tmp_path, broken, broken))[1]
    assert summary.identical_share is None
    assert summary.identical == ()
    assert summary.all_non_finite


def test_averaged_copies_are_left_out(tmp_path: Path) -> None:
    own, average = network(), network(100.0)
    one = checkpoint(tmp_path, "step_1.bin", own, step=1)
    two = checkpoint(tmp_path, "step_1_ema.bin", average, step=1)
    three = checkpoint(tmp_path, "step_2.bin", moved(own), step=2)
    stats, summary, _ = measure_checkpoints(run_of(tmp_path, two, one, three))
    assert summary.checkpoints == 2
    assert summary.highest_scale < 0.2
    assert [s.path for s in stats if s.updates] == ["step_2.bin"]


def test_an_unnumbered_last_file_is_the_last(tmp_path: Path) -> None:
    names, states = ("epoch_1.bin", "epoch_2.bin", "best.bin", "final.bin"), [network(s) for s in (1.0, 1.0, 1.0, 10.0)]
    run = run_of(
        tmp_path, *(checkpoint(tmp_path, n, s, step=float(i) if i < 2 else None) for i, (n, s) in enumerate(zip(names, states, strict=True)))
    )
    assert [run.checkpoints[i].path for i in time_line(run.checkpoints)] == ["epoch_1.bin", "epoch_2.bin", "final.bin"]
    assert measure_checkpoints(run)[1].median_scale == pytest.approx(1, abs=0.05)


def test_pieces_of_one_tensor(tmp_path: Path) -> None:
    whole = network()["layers.0.weight"]
    file = RawFile(tmp_path, "p.bin")
    pieces = tuple(file.add("layers.0.weight", whole[a:b]) for a, b in ((0, 11), (11, 30)))
    ref = TensorRef("layers.0.weight", "", 0, "float32", (30, 20), (20, 1), whole.nbytes, pieces=pieces)
    stats, _, _ = measure_checkpoints(run_of(tmp_path, Checkpoint("p", "dcp", Status.READ, step=1, tensors=(ref,))))
    found = stats[0].tensors[0]
    assert (found.count, found.fan_in) == (600, 20)
    assert found.std == pytest.approx(whole.astype(np.float64).std())
    assert found.identical_rows == 0


def test_epochs_order_what_has_no_steps(tmp_path: Path) -> None:
    saved = [replace(checkpoint(tmp_path, f"{i}.bin", network()), epoch=epoch) for i, epoch in enumerate((1.0, 2.0, 2.0, None))]
    assert time_line(saved) == [0, 1]


def test_a_name_given_twice_is_measured_once(tmp_path: Path) -> None:
    one = checkpoint(tmp_path, "a.bin", network(), step=1)
    stats, _, _ = measure_checkpoints(run_of(tmp_path, replace(one, tensors=one.tensors * 2)))
    assert [t.name for t in stats[0].tensors] == list(network())


def test_a_change_of_shape_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = network(), network()
    second["head.weight"] = second["head.weight"][:, :7]
    for direct in (1 << 17, 0):
        monkeypatch.setattr(trajectory, "DIRECT", direct)
        stats, summary, _ = measure_checkpoints(series_of(tmp_path, first, second))
        assert {u.name for u in stats[1].updates} == set(first) - {"head.weight"}
        assert "head.weight" not in summary.change


def test_another_element_type_is_compared_by_value(tmp_path: Path) -> None:
    first = network()
    half = {n: t.astype(np.float16) for n, t in first.items()}
    stats, _, _ = measure_checkpoints(series_of(tmp_path, first, half))
    assert all(0 < u.relative_change < 1e-3 and not u.identical for u in stats[1].updates)


def test_what_weight_decay_alone_moved_is_told_from_what_a_gradient_moved(tmp_path: Path) -> None:
    first = network()
    second = moved(first, by=1e-4)  # a gradient, however small
    for name in ("layers.0.weight", "layers.1.weight"):
        second[name] = first[name]
        for _ in range(200):  # AdamW with a gradient of exactly 0: each step rounds
            second[name] = (second[name] * np.float32(1 - 1e-5)).astype(np.float32)
    second["layers.0.bias"] = first["layers.0.bias"]
    _, weights, _ = measure_checkpoints(series_of(tmp_path, first, second))
    assert weights.decayed == ("layers.0.weight", "layers.1.weight")
    assert weights.gradient_dead_layers == ("layers.0.weight", "layers.1.weight")
    assert weights.identical == ("layers.0.bias",)
