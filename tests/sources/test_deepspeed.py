"""DeepSpeed's ZeRO checkpoints: synthetic ones of any number of ranks, laid out as deepspeed/utils/zero_to_fp32.py reads them, and some that DeepSpeed wrote."""

from collections import OrderedDict
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch

from postmortem.measure.reading import TensorFiles
from postmortem.model.run import Checkpoint, Run, Status
from postmortem.sources import read_run

SHAPES = OrderedDict([("embed.weight", (7, 5)), ("layer.weight", (5, 3)), ("layer.bias", (5,)), ("head.weight", (2, 5))])
SLOTS = ("exp_avg", "exp_avg_sq")
SETTINGS = {"lr": 0.001, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1, "bias_correction": True, "step": 40}


def values(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) for name, shape in SHAPES.items()}


def shares_of_group(tensors: list[torch.Tensor], world: int) -> list[torch.Tensor]:
    """Stages 1 and 2: flattened together, padded to a multiple of twice the ranks, cut into equal slices."""
    flat = torch.cat([t.flatten() for t in tensors])
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % (2 * world)))
    return [s.clone() for s in padded.chunk(world)]


def shares_of_each(tensors: list[torch.Tensor], world: int) -> list[torch.Tensor]:
    """Stage 3: each parameter cut by itself, the last share padded; a rank's shares laid end to end."""
    out: list[list[torch.Tensor]] = [[] for _ in range(world)]
    for tensor in tensors:
        share = -(-tensor.numel() // world)
        padded = torch.nn.functional.pad(tensor.flatten(), (0, share * world - tensor.numel()))
        for rank, part in enumerate(padded.split(share)):
            out[rank].append(part)
    return [torch.cat(parts) for parts in out]


class ZeroStage(int, Enum):
    """As deepspeed/runtime/zero/config.py has it: what is pickled is a call of the class with the number."""

    optimizer_states, gradients, weights = 1, 2, 3


def save_zero_2(folder: Path, world: int = 3, *, groups: tuple[tuple[str, ...], ...] = (tuple(SHAPES),), shapes: object = None) -> None:
    folder.mkdir(parents=True)
    master, slots = values(0), {slot: values(n + 1) for n, slot in enumerate(SLOTS)}
    named = [OrderedDict((n, torch.Size(SHAPES[n])) for n in group) for group in groups]
    model = {"module": {n: t.to(torch.bfloat16) for n, t in master.items()}, "global_steps": 40, "dp_world_size": world, "skipped_steps": 2}
    torch.save(model | {"param_shapes": named if shapes is None else shapes}, folder / "mp_rank_00_model_states.pt")
    fp32 = [shares_of_group([master[n] for n in group], world) for group in groups]
    memory = {slot: [shares_of_group([v[n] for n in group], world) for group in groups] for slot, v in slots.items()}
    for rank in range(world):
        state = {g: {slot: memory[slot][g][rank] for slot in SLOTS} | {"step": 40} for g in range(len(groups))}
        inner = {"state": state, "param_groups": [{**SETTINGS, "params": [g]} for g in range(len(groups))]}
        optimizer = {"base_optimizer_state": inner, "single_partition_of_fp32_groups": [part[rank] for part in fp32],
                     "zero_stage": ZeroStage.gradients, "partition_count": [world] * len(groups), "loss_scaler": None}  # fmt: skip
        torch.save({"optimizer_state_dict": optimizer}, folder / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")


def save_zero_3(folder: Path, world: int = 4, *, frozen: tuple[str, ...] = ()) -> None:
    folder.mkdir(parents=True)
    master, slots = values(0), {slot: values(n + 1) for n, slot in enumerate(SLOTS)}
    trained = [n for n in SHAPES if n not in frozen]
    shapes = [OrderedDict((n, torch.Size(SHAPES[n])) for n in trained)]
    pieces = {n: shares_of_each([master[n]], world) for n in frozen}
    first, rest = trained[:2], trained[2:]  # two sub-groups, as `sub_group_size` makes them
    for rank in range(world):
        module = {n: torch.empty(0, dtype=torch.bfloat16) for n in SHAPES} | {"norm.running_mean": torch.ones(3)}
        model = {"module": module, "param_shapes": shapes, "global_steps": 40, "dp_world_size": world,
                 "frozen_param_shapes": OrderedDict((n, torch.Size(SHAPES[n])) for n in frozen),
                 "frozen_param_fragments": {n: pieces[n][rank] for n in frozen}}  # fmt: skip
        torch.save(model, folder / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        groups = [shares_of_each([master[n] for n in names], world)[rank] for names in (first, rest)]
        state = {g: {slot: shares_of_each([v[n] for n in names], world)[rank] for slot, v in slots.items()} | {"step": torch.tensor(40.0)}
                 for g, names in enumerate((first, rest))}  # fmt: skip
        optimizer = {"zero_stage": ZeroStage.weights, "partition_count": world, "fp32_flat_groups": groups,
                     "optimizer_state_dict": {"state": state, "param_groups": [{**SETTINGS, "params": [0, 1]}]}}  # fmt: skip
        torch.save({"optimizer_state_dict": optimizer}, folder / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")


def only(run: Run) -> Checkpoint:
    (one,) = run.checkpoints
    return one


def assert_slots(run: Run, one: Checkpoint, names: tuple[str, ...] = tuple(SHAPES)) -> None:
    assert one.optimizer is not None
    states = {s.param: s for s in one.optimizer.states}
    assert set(states) == set(names)
    with TensorFiles(run.root) as files:
        for n, slot in enumerate(SLOTS):
            for name in names:
                ref = states[name].slots[slot]
                assert ref.shape == SHAPES[name]
                assert np.array_equal(files.whole(ref), values(n + 1)[name].flatten().numpy()), (name, slot)
    assert {s.step for s in one.optimizer.states} == {40}


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_stage_2_slots_get_names_and_shapes(tmp_path: Path, world: int) -> None:
    save_zero_2(tmp_path / "checkpoint-40/global_step40", world)
    run = read_run([tmp_path])
    one = only(run)
    assert (one.path, one.status, one.step, one.format) == ("checkpoint-40", Status.READ, 40, "deepspeed")
    assert {t.name: t.dtype for t in one.tensors} == dict.fromkeys(SHAPES, "bfloat16")
    assert_slots(run, one)
    assert one.optimizer is not None
    assert one.optimizer.kind == "adam"
    assert one.optimizer.groups[0].params == tuple(SHAPES)
    assert one.optimizer.groups[0].settings["lr"] == 0.001


def test_groups_are_flattened_each_by_itself(tmp_path: Path) -> None:
    groups = (("embed.weight", "layer.weight", "head.weight"), ("layer.bias",))
    save_zero_2(tmp_path / "global_step40", groups=groups)
    run = read_run([tmp_path])
    assert_slots(run, only(run))
    optimizer = only(run).optimizer
    assert optimizer is not None
    assert tuple(g.params for g in optimizer.groups) == groups


def test_stage_3_weights_are_put_together_from_all_ranks(tmp_path: Path) -> None:
    save_zero_3(tmp_path / "global_step40")
    run = read_run([tmp_path])
    one = only(run)
    assert one.status is Status.READ, one.detail
    by_name = {t.name: t for t in one.tensors}
    assert set(by_name) == {*SHAPES, "norm.running_mean"}
    with TensorFiles(run.root) as files:
        for name, shape in SHAPES.items():
            assert by_name[name].shape == shape
            assert np.array_equal(files.whole(by_name[name]), values(0)[name].flatten().numpy())
    assert_slots(run, one)
    assert len(one.files) == 8


def test_stage_3_frozen_parameters_lie_in_the_model_files(tmp_path: Path) -> None:
    save_zero_3(tmp_path / "global_step40", frozen=("embed.weight",))
    run = read_run([tmp_path])
    one = only(run)
    by_name = {t.name: t for t in one.tensors}
    with TensorFiles(run.root) as files:
        assert np.array_equal(files.whole(by_name["embed.weight"]), values(0)["embed.weight"].flatten().numpy())
    assert_slots(run, one, ("layer.weight", "layer.bias", "head.weight"))


def test_a_missing_rank_is_told_and_nothing_is_assigned(tmp_path: Path) -> None:
    save_zero_2(tmp_path / "global_step40", 4)
    (tmp_path / "global_step40/bf16_zero_pp_rank_2_mp_rank_00_optim_states.pt").unlink()
    one = only(read_run([tmp_path]))
    assert one.status is Status.PARTIAL
    assert "1 of 4 ranks' files are missing" in str(one.detail)
    assert len(one.tensors) == len(SHAPES)
    assert one.optimizer is None


def test_a_cut_share_counts_as_missing(tmp_path: Path) -> None:
    save_zero_2(tmp_path / "global_step40", 2)
    share = tmp_path / "global_step40/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"
    share.write_bytes(share.read_bytes()[:-300])
    one = only(read_run([tmp_path]))
    assert one.status is Status.PARTIAL
    assert "missing" in str(one.detail)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([], "does not say which parameter"),
        ([{"embed.weight": torch.Size((70, 500))}], "do not have the sizes"),
        ([{"embed.weight": "odd"}], "does not say which parameter"),
    ],
)
def test_shares_that_do_not_fit_are_not_assigned(tmp_path: Path, shapes: object, said: str) -> None:
    save_zero_2(tmp_path / "global_step40", shapes=shapes)
    one = only(read_run([tmp_path]))
    assert one.status is Status.PARTIAL
    assert said in str(one.detail)
    assert len(one.tensors) == len(SHAPES)
    assert one.optimizer is None


WRITTEN = Path(__file__).parent / "data/deepspeed"  # by DeepSpeed itself: see `make.py` there


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_what_deepspeed_writes_holds_the_master_weights_that_it_puts_together(stage: int) -> None:
    run = read_run([WRITTEN / f"stage{stage}"])
    one = only(run)
    assert (one.path, one.status, one.step, one.format) == ("global_step20", Status.READ, 20, "deepspeed")
    assert one.facts["zero_stage"] == stage
    assert one.optimizer is not None
    assert one.optimizer.kind == "adamw"
    with np.load(WRITTEN / f"stage{stage}.npz") as masters, TensorFiles(run.root) as files:
        assert {t.name for t in one.tensors} == set(masters)
        for ref in one.tensors:
            assert ref.shape == masters[ref.name].shape
            if ref.dtype == "bfloat16":  # stages 1 and 2 keep what the forward pass uses in the model file
                bits = files.whole(ref).astype(np.uint32) << 16
                np.testing.assert_allclose(bits.view(np.float32), masters[ref.name].ravel(), rtol=2**-8)
            else:
                np.testing.assert_array_equal(files.whole(ref), masters[ref.name].ravel())
        states = {s.param: s for s in one.optimizer.states}
        assert set(states) == set(masters)
        for name, state in states.items():
            assert state.step == 20
            assert {slot: ref.shape for slot, ref in state.slots.items()} == dict.fromkeys(SLOTS, masters[name].shape)
            assert (files.whole(state.slots["exp_avg_sq"]) > 0).all()


def test_the_universal_checkpoint_that_deepspeed_makes_of_stage_3() -> None:
    run = read_run([WRITTEN / "universal"])
    one = only(run)
    assert (one.status, one.step, one.format) == (Status.READ, 20, "deepspeed-universal")
    with np.load(WRITTEN / "stage3.npz") as masters, TensorFiles(run.root) as files:
        assert {t.name: t.shape for t in one.tensors} == {name: masters[name].shape for name in masters}
        for ref in one.tensors:
            np.testing.assert_array_equal(files.whole(ref), masters[ref.name].ravel())
