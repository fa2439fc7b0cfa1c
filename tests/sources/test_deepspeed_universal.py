"""DeepSpeed's universal checkpoints. Synthetic: laid out here as deepspeed/checkpoint/ds_to_universal.py writes them, not written by DeepSpeed."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from postmortem.measure.reading import TensorFiles
from postmortem.model.run import Checkpoint, Status
from postmortem.sources import read_run

SETTINGS = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "bias_correction": True, "step": 40, "params": []}
SLOTS = ("exp_avg", "exp_avg_sq")


def model() -> OrderedDict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"embed.weight": (7, 5), "layer.weight": (5, 3), "layer.bias": (5,), "head.weight": (2, 5)}
    return OrderedDict((name, torch.rand(shape, generator=generator)) for name, shape in shapes.items())


def save(folder: Path, *, groups: tuple[float, ...] = (0.1, 0.0), prefix: str = "module.") -> OrderedDict[str, torch.Tensor]:
    """Returns the master weights; slots are those times 2 and 3."""
    weights = model()
    for name, value in weights.items():
        below = folder / "zero" / f"{prefix}{name}"
        below.mkdir(parents=True)
        for n, slot in enumerate(("fp32", *SLOTS)):
            torch.save({"param": value * (n + 1), "cat_dim": 0}, below / f"{slot}.pt")
        torch.save(torch.tensor(40.0), below / "step.pt")
    torch.save({"param_groups": [{**SETTINGS, "weight_decay": w} for w in groups], "zero_stage": 1}, folder / "zero" / "optimizer_state.pt")
    state = OrderedDict((f"{prefix}{name}", value.to(torch.bfloat16)) for name, value in weights.items())
    state[f"{prefix}embed.positions"] = torch.arange(7)
    torch.save({"module": state, "global_steps": 40, "universal_checkpoint_info": {}}, folder / "mp_rank_00_model_states.pt")
    return weights


def save_of_stage_3(folder: Path, world: int = 2) -> OrderedDict[str, torch.Tensor]:
    """Laid out as ds_to_universal.py of DeepSpeed 0.19 leaves it: flat tensors, no steps, a model file of each rank."""
    weights = model()
    for name, value in weights.items():
        (folder / "zero" / name).mkdir(parents=True)
        for n, slot in enumerate(("fp32", *SLOTS)):
            torch.save(value.flatten() * (n + 1), folder / "zero" / name / f"{slot}.pt")
    inner = {"state": {0: {"step": torch.tensor(40.0), "exp_avg": torch.zeros(9)}}, "param_groups": [{**SETTINGS, "params": [0]}]}
    torch.save({"zero_stage": 3, "optimizer_state_dict": inner}, folder / "zero" / "optimizer_state.pt")
    shapes = [OrderedDict((name, value.shape) for name, value in weights.items())]
    for rank in range(world):
        left = {"module": OrderedDict((name, torch.empty(0)) for name in weights), "param_shapes": shapes, "global_steps": 40}
        torch.save(left, folder / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
    return weights


def test_flat_tensors_of_stage_3_have_the_shapes_of_the_model_file(tmp_path: Path) -> None:
    weights = save_of_stage_3(tmp_path / "global_step40_universal")
    one = only(tmp_path)
    assert (one.path, one.step, one.status) == ("global_step40_universal", 40, Status.READ)
    assert {t.name: t.shape for t in one.tensors} == {name: tuple(value.shape) for name, value in weights.items()}
    assert one.optimizer is not None
    assert one.optimizer.groups[0].settings["lr"] == SETTINGS["lr"]
    states = {s.param: s for s in one.optimizer.states}
    with TensorFiles(tmp_path, 16) as files:
        for ref in one.tensors:
            np.testing.assert_array_equal(files.whole(ref), weights[ref.name].flatten().numpy())
            for n, slot in enumerate(SLOTS):
                held = states[ref.name].slots[slot]
                assert held.shape == ref.shape
                np.testing.assert_allclose(files.whole(held), weights[ref.name].flatten().numpy() * (n + 2))
            assert states[ref.name].step == 40


def only(root: Path) -> Checkpoint:
    run = read_run([root])
    assert len(run.sources) == 1
    (one,) = run.checkpoints
    return one


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_master_weights_and_slots_are_under_their_names(tmp_path: Path, prefix: str) -> None:
    weights = save(tmp_path / "global_step40_universal", prefix=prefix)
    one = only(tmp_path)
    assert (one.path, one.step, one.status) == ("global_step40_universal", 40, Status.READ)
    assert [t.name for t in one.tensors] == [*weights, "embed.positions"]
    assert one.optimizer is not None
    states = {s.param: s for s in one.optimizer.states}
    with TensorFiles(tmp_path, 16) as files:
        for ref in one.tensors[:-1]:
            assert ref.dtype == "float32"
            assert ref.shape == tuple(weights[ref.name].shape)
            np.testing.assert_array_equal(files.whole(ref), weights[ref.name].flatten().numpy())
            assert states[ref.name].step == 40
            for n, slot in enumerate(SLOTS):
                np.testing.assert_array_equal(files.whole(states[ref.name].slots[slot]), (weights[ref.name] * (n + 2)).flatten().numpy())


def test_of_the_groups_what_they_share(tmp_path: Path) -> None:
    save(tmp_path / "global_step40_universal")
    one = only(tmp_path)
    assert one.optimizer is not None
    (group,) = one.optimizer.groups
    assert (group.settings["lr"], group.settings["betas.1"], "weight_decay" in group.settings) == (1e-3, 0.95, False)
    assert len(group.params) == 4


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    save(tmp_path / "global_step40_universal")
    file = tmp_path / "global_step40_universal" / "zero" / "module.layer.bias" / "exp_avg.pt"
    file.write_bytes(file.read_bytes()[:60])
    run = read_run([tmp_path])
    (one,) = run.checkpoints
    assert one.status == Status.PARTIAL
    assert len(one.tensors) == 5


def test_without_its_parameters_it_is_a_model_file(tmp_path: Path) -> None:
    save(tmp_path / "global_step40_universal")
    for file in (tmp_path / "global_step40_universal" / "zero").rglob("fp32.pt"):
        file.write_bytes(b"")
    (one,) = [c for c in read_run([tmp_path]).checkpoints if c.tensors]
    assert one.tensors[0].dtype == "bfloat16"
