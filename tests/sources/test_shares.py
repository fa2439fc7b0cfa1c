"""Shares that ranks saved each for itself are one model again, value for value."""

import numpy as np
import pytest
import torch
from torch import distributed

from postmortem.measure.reading import TensorFiles
from postmortem.model.run import Checkpoint, Status, TensorRef
from postmortem.sources.checkpoints import torch_zip
from postmortem.sources.checkpoints.joining import join
from postmortem.sources.checkpoints.shares import by_rank, put_together
from postmortem.sources.reader import Candidate

pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns of its own distributed code

WEIGHT, NARROW, BIAS = torch.arange(5 * 3.0).reshape(5, 3), torch.arange(2 * 4.0).reshape(2, 4) - 7, torch.tensor([1.0, -2.0, 3.0])


def save_ranks(root, ranks, *, world=3):
    """Rank by rank, as FSDP2 would: each saves its own share of every tensor and of its optimizer."""
    # here, because it takes a tenth of the time that collecting all tests takes
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard
    from torch.testing._internal.distributed.fake_pg import FakeStore

    for rank in ranks:
        distributed.init_process_group("fake", rank=rank, world_size=world, store=FakeStore())
        try:
            mesh = init_device_mesh("cpu", (world,))

            def share(whole, along, mesh=mesh, rank=rank):
                parts = list(whole.chunk(world, along))
                while len(parts) < world:  # more ranks than rows
                    parts.append(parts[0].narrow(along, 0, 0))
                return DTensor.from_local(parts[rank].clone(), mesh, [Shard(along)], run_check=False, shape=whole.shape, stride=whole.stride())

            torch.save(
                {"layer.weight": share(WEIGHT, 0), "narrow.weight": share(NARROW, 1), "layer.bias": share(BIAS, 0)},
                root / f"model_step7_rank{rank}.pt",
            )
            slots = {0: {"exp_avg": share(WEIGHT * 2, 0), "exp_avg_sq": share(WEIGHT**2, 0), "step": torch.tensor(7.0)}}
            groups = [{"params": [0], "lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}]
            torch.save({"state": slots, "param_groups": groups}, root / f"optim_step7_rank{rank}.pt")
        finally:
            distributed.destroy_process_group()


def read_all(root):
    names = sorted(p.name for p in root.iterdir())
    found = [torch_zip.read(Candidate(root, n, (root / n).stat().st_size, (root / n).read_bytes()[:4096])) for n in names]
    return join([c for f in found for c in f.checkpoints])


def values(root, ref):
    with TensorFiles(root) as files:
        return files.whole(ref).reshape(ref.shape)


def test_shares_of_all_ranks_are_the_whole_model_and_its_optimizer(tmp_path):
    save_ranks(tmp_path, range(3))
    (one,) = read_all(tmp_path)
    assert (one.status, one.step) == (Status.READ, 7)
    found = {t.name: values(tmp_path, t) for t in one.tensors}
    assert list(found) == ["layer.weight", "narrow.weight", "layer.bias"]
    for name, whole in (("layer.weight", WEIGHT), ("narrow.weight", NARROW), ("layer.bias", BIAS)):
        np.testing.assert_array_equal(found[name], whole.numpy())
    (state,) = one.optimizer.states
    np.testing.assert_array_equal(values(tmp_path, state.slots["exp_avg"]), (WEIGHT * 2).numpy())
    np.testing.assert_array_equal(values(tmp_path, state.slots["exp_avg_sq"]), (WEIGHT**2).numpy())


def test_a_missing_rank_is_told(tmp_path):
    save_ranks(tmp_path, (0, 2))
    (one,) = read_all(tmp_path)
    assert one.status is Status.PARTIAL
    assert "one rank's share" in str(one.detail)


def test_a_sharded_tensor_of_fsdp1(tmp_path):
    from torch.distributed._shard import sharded_tensor
    from torch.distributed._shard.sharded_tensor import Shard as LocalShard
    from torch.testing._internal.distributed.fake_pg import FakeStore

    for rank in range(2):
        distributed.init_process_group("fake", rank=rank, world_size=2, store=FakeStore())
        try:
            metadata = [sharded_tensor.ShardMetadata([3 * r, 0], [3 - r, 3], f"rank:{r}/cpu") for r in range(2)]
            local = LocalShard(WEIGHT[3 * rank : 3 * rank + 3].clone(), metadata[rank])
            whole = sharded_tensor.ShardedTensorMetadata(metadata, WEIGHT.size(), sharded_tensor.TensorProperties(dtype=torch.float32))
            made = sharded_tensor.ShardedTensor._init_from_local_shards_and_global_metadata([local], whole)
            torch.save({"weight": made}, tmp_path / f"model_rank{rank}.bin")
        finally:
            distributed.destroy_process_group()
    (one,) = read_all(tmp_path)
    (ref,) = one.tensors
    np.testing.assert_array_equal(values(tmp_path, ref), WEIGHT.numpy())


def piece(shape, whole, dtype="float32"):
    return TensorRef("w", "f", 0, dtype, shape, (shape[-1], 1), 4 * shape[0] * shape[1], whole=whole)


@pytest.mark.parametrize(
    "shares",
    [
        [piece((2, 3), (5, 3)), piece((2, 3), (5, 3))],  # a row is missing
        [piece((2, 3), (5, 3)), piece((3, 3), (6, 3))],  # of two tensors
        [piece((2, 3), (4, 6)), piece((2, 3), (4, 6))],  # cut along two dimensions
        [piece((2, 3), (5, 3)), piece((3, 3), (5, 3), "float16")],
    ],
)
def test_shares_that_do_not_fit_are_left_apart(shares):
    assert put_together(shares) is None


def test_what_every_rank_holds_whole_is_taken_once():
    assert put_together([piece((5, 3), (5, 3)), piece((5, 3), (5, 3))]).count == 15


def test_ranks_come_in_the_order_of_their_numbers():
    assert [c.path for c in by_rank([Checkpoint(f"rank{n}.pt", "torch-zip", Status.READ) for n in (10, 9, 0)])] == [
        "rank0.pt",
        "rank9.pt",
        "rank10.pt",
    ]
