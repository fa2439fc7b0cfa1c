"""Which files make one checkpoint, and which stay apart."""

import json

import pytest
import torch
from torch import nn

from postmortem.model.run import Checkpoint, Status
from postmortem.sources.checkpoints import sharded_torch, torch_zip
from postmortem.sources.checkpoints.joining import join
from postmortem.sources.reader import Candidate


def read_all(root):
    fragments = []
    for file in sorted(p for p in root.rglob("*") if p.is_file()):
        siblings = frozenset(p.name for p in file.parent.iterdir())
        one = Candidate(root, file.relative_to(root).as_posix(), file.stat().st_size, file.read_bytes()[:4096], siblings)
        reader = next((m for m in (sharded_torch, torch_zip) if m.claims(one)), None)
        if reader is not None:
            fragments.extend(reader.read(one).checkpoints)
    return join(fragments)


@pytest.fixture
def parts():
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    return model.state_dict(), optimizer.state_dict(), torch.optim.lr_scheduler.StepLR(optimizer, 5).state_dict()


pytestmark = pytest.mark.filterwarnings("ignore:Detected call of")


def save(value, root, path):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, root / path)


def test_a_transformers_directory_is_one_checkpoint(tmp_path, parts):
    model, optimizer, scheduler = parts
    for n in (1000, 500):
        save(model, tmp_path, f"checkpoint-{n}/pytorch_model.bin")
        save(optimizer, tmp_path, f"checkpoint-{n}/optimizer.pt")
        save(scheduler, tmp_path, f"checkpoint-{n}/scheduler.pt")
        save({"scale": 2.0, "growth_factor": 2.0, "_growth_tracker": 3}, tmp_path, f"checkpoint-{n}/scaler.pt")
        save({"cpu": torch.get_rng_state()}, tmp_path, f"checkpoint-{n}/rng_state.pth")
    joined = read_all(tmp_path)
    assert [c.path for c in joined] == ["checkpoint-500", "checkpoint-1000"]
    one = joined[0]
    assert one.format == "hf"
    assert one.step == 500
    assert len(one.tensors) == 2
    assert one.optimizer.kind == "adamw"
    assert one.scheduler["step_size"] == 5
    assert one.scaler["scale"] == 2.0
    assert len(one.files) == 4
    assert one.size == sum(p.stat().st_size for p in (tmp_path / "checkpoint-500").iterdir() if p.name != "rng_state.pth")


def test_accelerate_counts_steps_where_the_optimizer_agrees(tmp_path, parts):
    model, optimizer, _ = parts
    save(model, tmp_path, "checkpoint_1/pytorch_model.bin")
    save(optimizer, tmp_path, "checkpoint_1/optimizer.bin")
    (one,) = read_all(tmp_path)
    assert (one.path, one.step, one.epoch) == ("checkpoint_1", 1, None)


def test_files_of_one_step_side_by_side_are_paired(tmp_path, parts):
    model, optimizer, _ = parts
    for n in (100, 200):
        save(model, tmp_path, f"ckpts/model_step{n}.pt")
        save(optimizer, tmp_path, f"ckpts/optimizer_step{n}.pt")
    joined = read_all(tmp_path)
    assert [(c.path, c.step, c.optimizer is not None) for c in joined] == [
        ("ckpts/model_step100.pt", 100, True),
        ("ckpts/model_step200.pt", 200, True),
    ]
    assert joined[0].files == ("ckpts/model_step100.pt", "ckpts/optimizer_step100.pt")


def test_whole_checkpoints_in_one_directory_stay_apart_and_in_order(tmp_path, parts):
    model, optimizer, _ = parts
    for n in (10, 9, 100):
        save({"model": model, "optimizer": optimizer, "step": n}, tmp_path, f"step_{n}.pt")
    save({"model": model, "optimizer": optimizer, "step": 9}, tmp_path, "best.pt")
    assert [c.path for c in read_all(tmp_path)] == ["best.pt", "step_9.pt", "step_10.pt", "step_100.pt"]


def test_an_averaged_copy_stays_apart(tmp_path, parts):
    model, optimizer, _ = parts
    save(model, tmp_path, "checkpoint-5/pytorch_model.bin")
    save(model, tmp_path, "checkpoint-5/ema_model.pt")
    save(optimizer, tmp_path, "checkpoint-5/optimizer.pt")
    joined = {c.path: c for c in read_all(tmp_path)}
    assert set(joined) == {"checkpoint-5", "checkpoint-5/ema_model.pt"}
    assert joined["checkpoint-5"].optimizer is not None
    assert len(joined["checkpoint-5"].tensors) == 2


def shards(root, folder, missing=(), cut=()):
    weight_map = {}
    for i in (1, 2, 3):
        name = f"pytorch_model-0000{i}-of-00003.bin"
        save({f"layer{i}.weight": torch.full((50,), float(i))}, root, f"{folder}/{name}")
        weight_map[f"layer{i}.weight"] = name
        if i in missing:
            (root / folder / name).unlink()
        if i in cut:
            file = root / folder / name
            file.write_bytes(file.read_bytes()[:900])
    return weight_map


def index(root, folder, weight_map):
    (root / folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {"total_size": 600}, "weight_map": weight_map}))


def test_shards_with_an_index(tmp_path, parts):
    index(tmp_path, "checkpoint-7", shards(tmp_path, "checkpoint-7"))
    save(parts[1], tmp_path, "checkpoint-7/optimizer.pt")
    (one,) = read_all(tmp_path)
    assert one.path == "checkpoint-7"
    assert [t.name for t in one.tensors] == ["layer1.weight", "layer2.weight", "layer3.weight"]
    assert one.status is Status.READ
    assert len(one.files) == 5


def test_a_missing_or_cut_shard(tmp_path):
    index(tmp_path, "a", shards(tmp_path, "a", missing=(2,)))
    (one,) = read_all(tmp_path)
    assert one.status is Status.PARTIAL
    assert "1 of 3 shards are missing" in str(one.detail)
    assert one.facts["missing_shards"] == "pytorch_model-00002-of-00003.bin"
    index(tmp_path, "a", shards(tmp_path, "a", cut=(3,)))
    (one,) = read_all(tmp_path)
    assert one.truncated
    assert "pytorch_model-00003" in str(one.detail)


def test_shards_without_their_index(tmp_path):
    shards(tmp_path, "a", missing=(3,))
    (one,) = read_all(tmp_path)
    assert len(one.tensors) == 2
    assert one.status is Status.PARTIAL
    assert "1 of 3" in str(one.detail)


def test_an_index_that_leads_outside_is_not_followed(tmp_path):
    save({"w": torch.ones(3)}, tmp_path, "secret.bin")
    (tmp_path / "a").mkdir()
    index(tmp_path, "a", {"w": "../secret.bin"})
    one = next(c for c in read_all(tmp_path / "a"))
    assert one.tensors == ()
    assert one.status is Status.FAILED


def test_ranks_of_deepspeed_are_one_checkpoint(tmp_path, parts):
    model, optimizer, _ = parts
    save({"module": model, "global_steps": 30}, tmp_path, "checkpoint-30/global_step30/mp_rank_00_model_states.pt")
    for rank in (0, 1):
        state = {"optimizer_state_dict": {"base_optimizer_state": optimizer, "loss_scaler": None, "zero_stage": 2}}
        save(state, tmp_path, f"checkpoint-30/global_step30/bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (one,) = read_all(tmp_path)
    assert one.path == "checkpoint-30"
    assert one.step == 30
    assert one.optimizer.kind == "adamw"
    assert len(one.tensors) == 2
    assert "flat" in str(one.detail)
    save({"module": model, "global_steps": 30, "dp_world_size": 4}, tmp_path, "checkpoint-30/global_step30/mp_rank_00_model_states.pt")
    (one,) = read_all(tmp_path)
    assert "2 of 4 ranks' files are missing" in str(one.detail)


def test_a_broken_file_beside_whole_ones(tmp_path, parts):
    model, optimizer, _ = parts
    save(model, tmp_path, "checkpoint-5/pytorch_model.bin")
    save(optimizer, tmp_path, "checkpoint-5/optimizer.pt")
    file = tmp_path / "checkpoint-5" / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:100])
    (one,) = read_all(tmp_path)
    assert one.truncated
    assert one.status is Status.PARTIAL
    assert "optimizer.pt" in str(one.detail)
    assert len(one.tensors) == 2


def test_steps_counted_by_a_restarted_optimizer_are_not_believed(tmp_path, parts):
    model, optimizer, _ = parts
    for epoch, step in ((1, 40), (2, 80), (3, 40)):
        optimizer["state"][0]["step"] = optimizer["state"][1]["step"] = torch.tensor(float(step))
        save({"model": model, "optimizer": optimizer, "epoch": epoch}, tmp_path, f"ep{epoch}.pth")
    assert [(c.step, c.epoch) for c in read_all(tmp_path)] == [(None, 1), (None, 2), (None, 3)]


def test_nothing_and_many(tmp_path):
    assert join([]) == ()
    many = [Checkpoint(f"c/model_{i}.pt", "torch-zip", Status.READ, epoch=float(i)) for i in range(3000)]
    many += [Checkpoint(f"c/optim_{i}.pt", "torch-zip", Status.FAILED) for i in range(3000)]
    assert len(join(many)) >= 3000


def test_weights_below_the_directory_of_their_optimizer(tmp_path, parts):
    model, optimizer, scheduler = parts
    save(model, tmp_path, "checkpoint-20/unet/model.bin")
    save(model, tmp_path, "checkpoint-20/unet_ema/model.bin")
    save(optimizer, tmp_path, "checkpoint-20/optimizer.bin")
    save(scheduler, tmp_path, "checkpoint-20/scheduler.bin")
    whole, average = read_all(tmp_path)
    assert (whole.path, whole.step, len(whole.tensors)) == ("checkpoint-20", 20, 2)
    assert whole.optimizer is not None
    assert (average.path, average.optimizer) == ("checkpoint-20/unet_ema/model.bin", None)


def test_two_models_below_one_optimizer_stay_apart(tmp_path, parts):
    for part in ("unet", "text_encoder"):
        save(parts[0], tmp_path, f"checkpoint-20/{part}/model.bin")
    save(parts[1], tmp_path, "checkpoint-20/optimizer.bin")
    assert len(read_all(tmp_path)) == 3
