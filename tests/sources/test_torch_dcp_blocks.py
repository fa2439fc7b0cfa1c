"""Shards of torch.distributed checkpoints that were cut along several dimensions, put together as they are read."""

import itertools
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import metadata as dcp_metadata
from torch.distributed.checkpoint.filesystem import _StorageInfo

from postmortem.measure.reading import TensorFiles
from postmortem.model.run import Status, TensorRef
from postmortem.sources import read_run

Corner = tuple[int, ...]


def save(folder: Path, blocks: dict[Corner, torch.Tensor], shape: Sequence[int], name: str = "w") -> None:
    """One block per file, with the metadata that torch writes of them."""
    folder.mkdir(parents=True)
    chunks, storage = [], {}
    for rank, (corner, block) in enumerate(blocks.items()):
        file = folder / f"__{rank}_0.distcp"
        torch.save(block.clone(), file)
        chunks.append(dcp_metadata.ChunkStorageMetadata(torch.Size(corner), block.shape))
        storage[dcp_metadata.MetadataIndex(name, torch.Size(corner), rank)] = _StorageInfo(file.name, 0, file.stat().st_size)
    properties = dcp_metadata.TensorProperties(dtype=next(iter(blocks.values())).dtype)
    described = dcp_metadata.TensorStorageMetadata(properties, torch.Size(shape), chunks)
    (folder / ".metadata").write_bytes(pickle.dumps(dcp_metadata.Metadata({name: described}, {name: ("model", name)}, storage)))


def cut(tensor: torch.Tensor, edges: Sequence[Sequence[int]]) -> dict[Corner, torch.Tensor]:
    """The blocks between the edges of each dimension."""
    spans = [list(itertools.pairwise((0, *e, n))) for e, n in zip(edges, tensor.shape, strict=True)]
    return {tuple(a for a, _ in box): tensor[tuple(slice(a, b) for a, b in box)] for box in itertools.product(*spans)}


def only_tensor(folder: Path) -> tuple[TensorRef | None, Status]:
    run = read_run([folder])
    tensors = [t for c in run.checkpoints for t in c.tensors]
    return (tensors[0] if tensors else None), next(s.status for s in run.sources if s.reader == "dcp")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("block", [1, 7, 64, 1 << 19])
@pytest.mark.parametrize(
    ("shape", "edges"),
    [
        ((9, 7), ((), (3,))),
        ((9, 7), ((4,), (2, 5))),
        ((6, 4, 5), ((), (1,), (2, 4))),
        ((6, 4, 5), ((5,), (), (3,))),
        ((2, 3, 2, 4), ((1,), (1, 2), (1,), (2,))),
    ],
)
def test_blocks_come_in_the_order_of_the_whole(
    tmp_path: Path, shape: tuple[int, ...], edges: tuple[tuple[int, ...], ...], block: int, dtype: torch.dtype
) -> None:
    whole = torch.arange(np.prod(shape)).reshape(shape).to(dtype)
    save(tmp_path / "step-3", cut(whole, edges), shape)
    ref, status = only_tensor(tmp_path)
    assert status is Status.READ
    assert ref is not None
    assert ref.shape == shape
    assert ref.corners
    expected = whole.view(torch.int16).numpy().astype("<u2") if dtype is torch.bfloat16 else whole.numpy()
    with TensorFiles(tmp_path, block) as files:
        parts = [np.array(part) for part in files.blocks(ref)]
        assert {len(p) for p in parts[:-1]} <= {block}
        assert np.array_equal(np.concatenate(parts), expected.flatten())
        for one, other in zip(files.blocks(ref, 0), files.blocks(ref, 1), strict=True):  # side by side, as two checkpoints are read
            assert np.array_equal(one, other)


def test_rows_alone_need_no_corners(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(6, 2)
    save(tmp_path / "step-3", cut(whole, ((1, 4), ())), whole.shape)
    ref, _ = only_tensor(tmp_path)
    assert ref is not None
    assert ref.corners == ()


@pytest.mark.parametrize(
    "corners",
    [
        ((0, 0), (0, 1)),  # they overlap
        ((0, 0), (0, 3)),  # one leaves the tensor
        ((0, 0), (0, 0)),
    ],
)
def test_blocks_that_are_no_tiling_are_left_out(tmp_path: Path, corners: tuple[Corner, Corner]) -> None:
    whole = torch.arange(16.0).reshape(4, 4)
    blocks = dict(zip(((0, 0), (0, 2)), whole.split(2, 1), strict=True))
    save(tmp_path / "step-3", blocks, whole.shape)
    metadata = pickle.loads((tmp_path / "step-3/.metadata").read_bytes())
    moved = {
        dcp_metadata.MetadataIndex("w", torch.Size(corner), n): info
        for n, (corner, info) in enumerate(zip(corners, metadata.storage_data.values(), strict=True))
    }
    metadata.storage_data = moved
    (tmp_path / "step-3/.metadata").write_bytes(pickle.dumps(metadata))
    ref, status = only_tensor(tmp_path)
    assert ref is None
    assert status is not Status.READ


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_what_torch_itself_would_load(tmp_path: Path) -> None:
    """The layout made here is one that torch puts together in the same way."""
    whole = torch.randn(9, 7)
    save(tmp_path / "step-3", cut(whole, ((4,), (2, 5))), whole.shape)
    into = {"w": torch.zeros(9, 7)}
    dcp.load(into, checkpoint_id=str(tmp_path / "step-3"), no_dist=True)
    assert torch.equal(into["w"], whole)
