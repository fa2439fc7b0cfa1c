"""Zips of stable-baselines3, written by it; torch is the oracle."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from postmortem.model.run import Status, TensorRef
from postmortem.sources import read_run
from postmortem.sources.archives import is_archive
from postmortem.sources.checkpoints.stable_baselines import READER
from postmortem.sources.reader import Candidate, Found

DATA = Path(__file__).parent / "data" / "stable_baselines3"


def candidate(file: Path) -> Candidate:
    return Candidate(file.parent, file.name, file.stat().st_size, file.read_bytes()[:4096], frozenset({file.name}))


def read(file: Path) -> Found:
    assert READER.claims(candidate(file))
    return READER.read(candidate(file))


def values(root: Path, ref: TensorRef) -> np.ndarray:
    with (root / ref.file).open("rb") as handle:
        handle.seek(ref.offset)
        return np.frombuffer(handle.read(ref.nbytes), np.dtype(ref.dtype)).reshape(ref.shape)


@pytest.mark.parametrize("name", ["ppo/ppo_2048_steps.zip", "sac.zip"])
def test_tensors_are_those_that_torch_loads(name: str) -> None:
    file = DATA / name
    (one,) = read(file).checkpoints
    with zipfile.ZipFile(file) as archive:
        expected = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    assert [t.name for t in one.tensors] == list(expected)
    for ref in one.tensors:
        np.testing.assert_array_equal(values(file.parent, ref), expected[ref.name].numpy())


def test_step_settings_and_optimizer() -> None:
    (one,) = read(DATA / "ppo" / "ppo_1024_steps.zip").checkpoints
    named = {s.name: s.value for s in one.settings if s.name}
    assert one.status == Status.READ
    assert one.step == 1024
    assert named == {"learning_rate": 3e-4, "batch_size": 64, "gradient_clip_norm": 0.5, "seed": 0, "max_steps": 2048}
    assert {s.key: s.value for s in one.settings}["n_steps"] == 256  # of a rollout: it has no name
    assert one.optimizer is not None
    assert one.optimizer.kind == "adam"
    assert len(one.optimizer.states) == len(one.tensors)


def test_of_several_optimizers_the_actors() -> None:
    (one,) = read(DATA / "sac.zip").checkpoints
    assert one.facts["optimizers"] == 3
    assert one.optimizer is not None
    actor = [t for t in one.tensors if t.name.startswith("actor.")]
    assert len(one.optimizer.states) == len(actor)


def test_a_run_as_its_callbacks_leave_it() -> None:
    run = read_run([DATA / "ppo"])
    assert {c.step for c in run.checkpoints} == {1024, 2048}
    assert {"reward", "val/reward", "train/loss", "lr"} <= {s.name for s in run.series}
    assert all(s.status == Status.READ for s in run.sources)


def test_it_is_a_checkpoint_and_no_archive() -> None:
    assert not is_archive(DATA / "sac.zip")


@pytest.mark.parametrize("kept", [100, 5_000, 15_000, 25_000])
def test_a_file_that_was_cut(tmp_path: Path, kept: int) -> None:
    (tmp_path / "model.zip").write_bytes((DATA / "sac.zip").read_bytes()[:kept])
    found = read(tmp_path / "model.zip")
    assert found.source.status == Status.FAILED
    assert found.checkpoints[0].truncated


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data", "{}")
    assert read(tmp_path / "a.zip").source.status == Status.SKIPPED


def test_a_model_beside_its_parameters(tmp_path: Path) -> None:
    torch.save({"tabnet.encoder.weight": torch.randn(4, 3), "tabnet.head.weight": torch.randn(2, 4)}, tmp_path / "network.pt")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("model_params.json", '{"init_params": {"n_steps": 3, "gamma": 1.3}}')
        archive.write(tmp_path / "network.pt", "network.pt")
    found = read(tmp_path / "model.zip")
    assert (found.source.status, found.source.reader) == (Status.READ, "zip-of-torch")
    assert {t.name: t.shape for t in found.checkpoints[0].tensors} == {"tabnet.encoder.weight": (4, 3), "tabnet.head.weight": (2, 4)}


def test_the_policy_may_come_first(tmp_path: Path) -> None:
    torch.save({"policy_net.0.weight": torch.randn(8, 3)}, tmp_path / "policy.pth")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.write(tmp_path / "policy.pth", "policy.pth")
        archive.writestr("data", '{"num_timesteps": 512, "gamma": 0.99}')
    found = read_run([tmp_path / "model.zip"])
    assert [s.status for s in found.sources] == [Status.READ]
    assert found.checkpoints[0].step == 512


def test_what_is_packed_in_it_is_left_out(tmp_path: Path) -> None:
    torch.save({"weight": torch.randn(64, 64)}, tmp_path / "network.pt")
    with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model_params.json", "{}")
        archive.write(tmp_path / "network.pt", "network.pt")
    assert read(tmp_path / "model.zip").source.status == Status.SKIPPED


def test_any_other_zip_is_no_damaged_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("vocabulary.txt", "a b c")
    assert read(tmp_path / "export.zip").source.status == Status.SKIPPED
