"""PaddlePaddle's files: written by the library (`data/paddle/write.py`), and some that it would not write."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from postmortem.measure.structure import layouts
from postmortem.model.run import Checkpoint, Run, Status
from postmortem.sources import read_run

DATA = Path(__file__).parent / "data" / "paddle"


def files(folder: Path, *names: str) -> Run:
    for name in names:
        shutil.copy(DATA / name, folder / name)
    return read_run([folder])


def only(run: Run) -> Checkpoint:
    (one,) = run.checkpoints
    return one


def test_weights_and_optimizer_are_one_checkpoint_under_the_models_names(tmp_path: Path) -> None:
    one = only(files(tmp_path, "epoch_3.pdparams", "epoch_3.pdopt"))
    assert (one.status, one.step, one.epoch) == (Status.READ, 7.0, 3.0)  # seven updates, by the powers of the betas
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "1._mean", "1._variance", "3.weight", "3.bias"]
    assert [(t.name, t.dtype) for t in one.tensors] == [(name, "float32") for name in names]
    assert one.optimizer is not None
    assert one.optimizer.kind == "adam"
    assert one.optimizer.groups[0].settings["lr"] == 0.005
    trained = {t.name: t.shape for t in one.tensors if not t.name.startswith("1._")}
    assert {s.param: s.slots["exp_avg_sq"].shape for s in one.optimizer.states} == trained
    assert {s.step for s in one.optimizer.states} == {7.0}


def test_the_numbers_are_those_that_were_saved(tmp_path: Path) -> None:
    one = only(files(tmp_path, "epoch_3.pdparams"))
    with (DATA / "epoch_3.pdparams").open("rb") as file:
        saved = pickle.load(file)  # of this repository's own making
    for ref in one.tensors:
        assert ref.inline is not None
        np.testing.assert_array_equal(np.frombuffer(ref.inline, np.float32).reshape(ref.shape), saved[ref.name])


def test_outputs_come_last_in_its_matrices(tmp_path: Path) -> None:
    found = layouts(only(files(tmp_path, "epoch_3.pdparams")))
    assert (found["0.weight"].fan_in, found["0.weight"].outputs) == (4, 3)
    assert (found["3.weight"].fan_in, found["3.weight"].outputs) == (3, 2)
    assert found["0.weight"].outputs_last
    (tmp_path / "square.pdparams").write_bytes(pickle.dumps({"fc.weight": np.ones((3, 3)), "conv.weight": np.ones((3, 3, 2, 2))}, protocol=4))
    shapes_do_not_tell = layouts(only(read_run([tmp_path / "square.pdparams"])))
    assert [shapes_do_not_tell[name].outputs_last for name in ("fc.weight", "conv.weight")] == [True, False]
    assert (found["1._mean"].role, found["1._variance"].role) == ("running-mean", "running-var")


def test_an_optimizer_without_its_weights_keeps_its_own_names(tmp_path: Path) -> None:
    optimizer = only(files(tmp_path, "momentum.pdopt")).optimizer
    assert optimizer is not None
    assert (optimizer.kind, optimizer.states[0].param, list(optimizer.states[0].slots)) == ("sgd", "linear_0.w_0", ["momentum_buffer"])


@pytest.mark.parametrize(("steps", "betas", "expected"), [(5, (0.9, 0.999), 5.0), (2_000, (0.9, 0.999), 2_000.0), (5, (0.8, 0.99), None)])
def test_steps_are_told_where_the_betas_are_the_usual_ones(tmp_path: Path, steps: int, betas: tuple[float, float], expected: float | None) -> None:
    state = {f"linear_0.w_0_{slot}_0": np.ones((2, 2), np.float32) for slot in ("moment1", "moment2")}
    state |= {f"linear_0.w_0_beta{n + 1}_pow_acc_0": np.array([beta ** (steps + 1)], np.float32) for n, beta in enumerate(betas)}
    (tmp_path / "a.pdopt").write_bytes(pickle.dumps(state, protocol=4))
    optimizer = only(read_run([tmp_path])).optimizer
    assert optimizer is not None
    assert optimizer.states[0].step == expected


def test_halves_of_sixteen_bits_are_brain_floats(tmp_path: Path) -> None:
    bits = (np.array([1.0, -2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({"fc.weight": bits.reshape(1, 2)}, protocol=4))
    assert [t.dtype for t in only(read_run([tmp_path])).tensors] == ["bfloat16"]


def test_a_file_that_was_cut_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "epoch_3.pdparams").write_bytes((DATA / "epoch_3.pdparams").read_bytes()[:500])
    assert only(read_run([tmp_path])).truncated


class _Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("name", ["a.pdparams", "a.pdopt"])
def test_nothing_in_it_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps({"fc.weight": np.ones((2, 2), np.float32), "x": _Payload()}, protocol=4))
    run = read_run([tmp_path])
    assert not (tmp_path / "ran").exists()
    assert any("system" in found for c in run.checkpoints for found in c.refused)
