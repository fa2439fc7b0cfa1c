"""torch.distributed checkpoints, saved by torch itself, whole and broken."""

import os
import pickle
import shutil

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint import metadata as dcp_metadata
from torch.distributed.checkpoint.filesystem import _StorageInfo

from postmortem.model.run import Status
from postmortem.sources.checkpoints import dcp as reader
from postmortem.sources.checkpoints.joining import join
from postmortem.sources.reader import Candidate

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


def candidate(file, root):
    return Candidate(
        root, file.relative_to(root).as_posix(), file.stat().st_size, file.read_bytes()[:4096], frozenset(p.name for p in file.parent.iterdir())
    )


def read_all(folder, root):
    out = []
    for file in sorted(folder.iterdir()):
        one = candidate(file, root)
        assert reader.claims(one), file
        out.append(reader.read(one))
    return out


def value_of(ref, root):
    dtype = getattr(torch, ref.dtype)
    if ref.pieces:
        return torch.cat([value_of(p, root) for p in ref.pieces])
    span = (1 + sum((n - 1) * s for n, s in zip(ref.shape, ref.strides, strict=True))) * dtype.itemsize
    fd = os.open(root / ref.file, os.O_RDONLY)
    data = os.pread(fd, span, ref.offset)
    os.close(fd)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(dtype).as_strided(ref.shape, ref.strides)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 40), nn.Linear(40, 2)).to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.95))
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(8, 3, dtype=torch.bfloat16)).square().mean().backward()
        optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    folder = tmp_path / "run" / "step-4"
    state = {"model": model.state_dict(), "optim": optimizer.state_dict(), "step": 4, "lr_scheduler": scheduler.state_dict()}
    dcp.save(state, checkpoint_id=str(folder), no_dist=True)
    return tmp_path / "run", folder, state


def test_model_optimizer_schedule_and_step(saved):
    root, folder, state = saved
    found = read_all(folder, root)
    (one,) = [c for f in found for c in f.checkpoints]
    assert one.path == "step-4"
    assert one.format == "dcp"
    assert one.status is Status.READ
    assert one.step == 4
    assert {t.name for t in one.tensors} == set(state["model"])
    for ref in one.tensors:
        assert torch.equal(value_of(ref, root), state["model"][ref.name])
        assert ref.dtype == "bfloat16"
    assert one.optimizer.kind == "adamw"
    assert one.optimizer.groups[0].params == (0, 1, 2, 3)
    assert one.optimizer.groups[0].settings["betas.1"] == 0.95
    for s in one.optimizer.states:
        assert s.step == 4.0
        assert torch.equal(value_of(s.slots["exp_avg_sq"], root), state["optim"]["state"][s.param]["exp_avg_sq"])
    assert one.scheduler["step_size"] == 3
    metadata = next(f for f in found if f.source.path.endswith(".metadata"))
    assert set(metadata.consumed) == {f"step-4/{p.name}" for p in folder.glob("*.distcp")}
    assert one.size == sum(p.stat().st_size for p in folder.iterdir())
    assert not one.truncated


def test_named_optimizer_state(tmp_path):
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    for flat in (False, True):
        named = get_optimizer_state_dict(model, optimizer, options=StateDictOptions(flatten_optimizer_state_dict=flat))
        folder = tmp_path / str(flat)
        dcp.save({"model": model.state_dict(), "optimizer": named}, checkpoint_id=str(folder), no_dist=True)
        (one,) = [c for f in read_all(folder, tmp_path) for c in f.checkpoints]
        assert one.optimizer.kind == "adam", flat
        assert {s.param for s in one.optimizer.states} == {"weight", "bias"}
        assert set(one.optimizer.groups[0].params) == {"weight", "bias"}
        assert one.optimizer.groups[0].settings["lr"] == 0.001
        assert all(s.step == 1.0 and set(s.slots) == {"exp_avg", "exp_avg_sq"} for s in one.optimizer.states)


def sharded(folder, pieces, name="w", extra=None):
    """A checkpoint of one tensor in rows, one piece per rank's file, with metadata as torch writes them."""
    folder.mkdir(parents=True)
    chunks, storage, row = [], {}, 0
    for rank, piece in enumerate(pieces):
        file = folder / f"__{rank}_0.distcp"
        torch.save(piece, file)
        corner = torch.Size([row, 0])
        chunks.append(dcp_metadata.ChunkStorageMetadata(corner, piece.shape))
        storage[dcp_metadata.MetadataIndex(name, corner, rank)] = _StorageInfo(file.name, 0, file.stat().st_size)
        row += piece.shape[0]
    size = torch.Size([row, pieces[0].shape[1]])
    described = dcp_metadata.TensorStorageMetadata(dcp_metadata.TensorProperties(dtype=pieces[0].dtype), size, chunks)
    storage.update(extra or {})
    (folder / ".metadata").write_bytes(pickle.dumps(dcp_metadata.Metadata({name: described}, {name: ("model", name)}, storage)))


def test_shards_become_pieces_in_order(tmp_path):
    pieces = [torch.randn(3, 4), torch.randn(2, 4), torch.randn(3, 4)]
    sharded(tmp_path / "c", pieces)
    (one,) = join([c for f in read_all(tmp_path / "c", tmp_path) for c in f.checkpoints])
    (ref,) = one.tensors
    assert ref.shape == (8, 4)
    assert ref.file == ""
    assert [p.file for p in ref.pieces] == ["c/__0_0.distcp", "c/__1_0.distcp", "c/__2_0.distcp"]
    assert torch.equal(value_of(ref, tmp_path), torch.cat(pieces))


def test_a_missing_shard_and_a_short_one_are_told(tmp_path):
    for how in ("missing", "short"):
        folder = tmp_path / how
        sharded(folder, [torch.randn(3, 4), torch.randn(2, 4)])
        file = folder / "__1_0.distcp"
        if how == "missing":
            file.unlink()
        else:
            os.truncate(file, file.stat().st_size // 2)
        (one,) = join([c for f in read_all(folder, tmp_path) for c in f.checkpoints])
        assert one.truncated
        assert one.status in (Status.PARTIAL, Status.FAILED)
        assert how in str(one.detail)
        assert "__1_0.distcp" in str(one.detail)


def test_a_save_that_did_not_finish(saved):
    root, folder, _ = saved
    (folder / ".metadata").unlink()
    (one,) = join([c for f in read_all(folder, root) for c in f.checkpoints])
    assert one.path == "step-4"
    assert one.status is Status.FAILED
    assert one.truncated
    assert ".metadata" in str(one.detail)
    assert one.step == 4


def test_metadata_that_lead_outside_are_not_followed(tmp_path):
    secret = tmp_path / "secret.distcp"
    torch.save(torch.ones(2, 4), secret)
    for way in ("../secret.distcp", str(secret)):
        folder = tmp_path / "c"
        sharded(folder, [torch.randn(3, 4)])
        metadata = pickle.loads((folder / ".metadata").read_bytes())
        metadata.storage_data = {k: _StorageInfo(way, 0, secret.stat().st_size) for k in metadata.storage_data}
        (folder / ".metadata").write_bytes(pickle.dumps(metadata))
        found = read_all(folder, tmp_path)
        assert not any(c.tensors for f in found for c in f.checkpoints)
        shutil.rmtree(folder)


def test_broken_metadata_never_raise(tmp_path):
    sharded(tmp_path / "c", [torch.randn(3, 4)])
    file = tmp_path / "c" / ".metadata"
    data = file.read_bytes()
    for at in range(0, len(data), 3):
        for broken in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
            file.write_bytes(broken)
            for found in [reader.read(candidate(file, tmp_path))]:
                join(found.checkpoints)


def test_a_metadata_file_of_something_else_is_not_claimed(tmp_path):
    (tmp_path / ".metadata").write_text("just notes")
    assert not reader.claims(candidate(tmp_path / ".metadata", tmp_path))


def test_directories_of_accelerate_and_files_inside_belong_together(tmp_path):
    from postmortem.sources.checkpoints import torch_zip

    root, folder = tmp_path / "run", tmp_path / "run" / "checkpoint_10"
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    dcp.save({"model": model.state_dict()}, checkpoint_id=str(folder / "pytorch_model_fsdp_0"), no_dist=True)
    dcp.save({"optimizer": optimizer.state_dict()}, checkpoint_id=str(folder / "optimizer_0"), no_dist=True)
    torch.save(torch.optim.lr_scheduler.StepLR(optimizer, 7).state_dict(), folder / "scheduler.bin")
    fragments = [c for name in ("pytorch_model_fsdp_0", "optimizer_0") for f in read_all(folder / name, root) for c in f.checkpoints]
    fragments += torch_zip.read(candidate(folder / "scheduler.bin", root)).checkpoints
    (one,) = join(fragments)
    assert one.path == "checkpoint_10"
    assert one.optimizer.kind == "adam"
    assert len(one.tensors) == 2
    assert one.scheduler["step_size"] == 7
    # Lightning and Megatron put a file of their own beside the shards
    iteration = root / "iter_0001000"
    dcp.save({"model": model.state_dict()}, checkpoint_id=str(iteration), no_dist=True)
    torch.save({"iteration": 1000, "opt_param_scheduler": {"max_lr": 1e-3, "num_steps": 1, "lr_decay_style": "cosine"}}, iteration / "common.pt")
    fragments = [c for f in [reader.read(candidate(iteration / ".metadata", root))] for c in f.checkpoints]
    fragments += torch_zip.read(candidate(iteration / "common.pt", root)).checkpoints
    (one,) = join(fragments)
    assert (one.path, one.step, one.scheduler["max_lr"], len(one.tensors)) == ("iter_0001000", 1000, 1e-3, 2)
