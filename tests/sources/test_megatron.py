"""Megatron's ranks. Synthetic: laid out here as megatron/training/checkpointing.py names files and keys, not written by Megatron."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from postmortem.measure.reading import TensorFiles
from postmortem.model.run import Checkpoint, Run, Status
from postmortem.sources import read_run

H = 8  # width
OLD = ("self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "input_layernorm")
CORE = ("self_attention.linear_qkv", "self_attention.linear_proj", "mlp.linear_fc1", "mlp.linear_fc2", "self_attention.linear_qkv.layer_norm")


def layer(names: tuple[str, ...], seed: int) -> dict[str, torch.Tensor]:
    """One layer, whole."""
    generator = torch.Generator().manual_seed(seed)
    qkv, out, up, down, norm = names
    shapes = {f"{qkv}.weight": (3 * H, H), f"{qkv}.bias": (3 * H,), f"{out}.weight": (H, H), f"{out}.bias": (H,), f"{up}.weight": (4 * H, H),
              f"{up}.bias": (4 * H,), f"{down}.weight": (H, 4 * H), f"{down}.bias": (H,), f"{norm}.weight": (H,)}  # fmt: skip
    return {k: torch.rand(s, generator=generator) for k, s in shapes.items()}


def share(name: str, tensor: torch.Tensor, rank: int, ranks: int, names: tuple[str, ...]) -> torch.Tensor:
    """A tensor-parallel rank's share: of the outputs, of the inputs, or all."""
    qkv, out, up, down, _ = names
    if name.rpartition(".")[0] in (qkv, up, "word_embeddings"):
        return tensor.chunk(ranks, 0)[rank].clone()
    if name in (f"{out}.weight", f"{down}.weight"):
        return tensor.chunk(ranks, 1)[rank].clone()
    return tensor


def save(root: Path, names: tuple[str, ...], *, tensor: int, pipeline: int, layers: int = 4, optimizer: bool = True) -> dict[str, torch.Tensor]:
    """A whole model over ranks and stages; returns its tensors under their whole names."""
    whole = {f"layers.{i}.{k}": v for i in range(layers) for k, v in layer(names, i).items()}
    words = torch.rand(16, H)
    per_stage = layers // pipeline
    for stage in range(pipeline):
        for rank in range(tensor):
            own = {f"layers.{i - stage * per_stage}.{k}": share(k, v, rank, tensor, names)
                   for i in range(stage * per_stage, (stage + 1) * per_stage) for k, v in layer(names, i).items()}  # fmt: skip
            first = stage == 0
            if names is OLD:
                model: dict[str, object] = {"language_model": {"encoder": own}}
                if first:
                    model = {"language_model": {"encoder": own, "embedding": {"word_embeddings": {"weight": words.chunk(tensor)[rank].clone()}}}}
            else:
                model = {f"decoder.{k}": v for k, v in own.items()}
                if first:
                    model["embedding.word_embeddings.weight"] = words.chunk(tensor)[rank].clone()
            state = {"model": model, "iteration": 500, "checkpoint_version": 3.0, "rng_state": [{}],
                     "args": Namespace(lr=1e-4, tensor_model_parallel_size=tensor, pipeline_model_parallel_size=pipeline)}  # fmt: skip
            if optimizer:
                adam = {
                    "state": {0: {"exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)}},
                    "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.95), "params": [0]}],
                }
                state["optimizer"] = {"optimizer": adam}
            folder = root / "iter_0000500" / (f"mp_rank_{rank:02d}_{stage:03d}" if pipeline > 1 else f"mp_rank_{rank:02d}")
            folder.mkdir(parents=True)
            torch.save(state, folder / "model_optim_rng.pt")
    (root / "latest_checkpointed_iteration.txt").write_text("500")
    prefix = "language_model.encoder." if names is OLD else "decoder."
    embedding = "language_model.embedding.word_embeddings.weight" if names is OLD else "embedding.word_embeddings.weight"
    return {prefix + k: v for k, v in whole.items()} | {embedding: words}


def only(run: Run) -> Checkpoint:
    (one,) = run.checkpoints
    return one


@pytest.mark.parametrize("names", [OLD, CORE])
@pytest.mark.parametrize(("tensor", "pipeline"), [(2, 1), (4, 1), (1, 2), (2, 2), (2, 4)])
def test_ranks_and_stages_are_one_model(tmp_path: Path, names: tuple[str, ...], tensor: int, pipeline: int) -> None:
    whole = save(tmp_path, names, tensor=tensor, pipeline=pipeline)
    run = read_run([tmp_path])
    one = only(run)
    assert (one.path, one.step) == ("iter_0000500", 500)
    found = {t.name: t for t in one.tensors}
    assert set(found) == set(whole)
    with TensorFiles(run.root, 16) as files:
        for name, value in whole.items():
            assert found[name].shape == tuple(value.shape), name
            assert np.array_equal(files.whole(found[name]), value.flatten().numpy()), name


def test_the_optimizer_is_not_measured_and_says_so(tmp_path: Path) -> None:
    save(tmp_path, CORE, tensor=2, pipeline=1)
    one = only(read_run([tmp_path]))
    assert one.status is Status.PARTIAL
    assert "2 ranks' files" in str(one.detail)
    assert one.optimizer is not None
    assert one.optimizer.states == ()
    assert one.optimizer.groups[0].settings["lr"] == 1e-4


def test_without_an_optimizer_nothing_is_missing(tmp_path: Path) -> None:
    save(tmp_path, CORE, tensor=2, pipeline=2, optimizer=False)
    one = only(read_run([tmp_path]))
    assert (one.status, one.detail) == (Status.READ, None)


def test_a_missing_rank_is_told(tmp_path: Path) -> None:
    save(tmp_path, CORE, tensor=2, pipeline=2)
    (tmp_path / "iter_0000500/mp_rank_01_001/model_optim_rng.pt").unlink()
    one = only(read_run([tmp_path]))
    assert one.status is Status.PARTIAL
    assert "1 of 4 ranks' files are missing" in str(one.detail)
    assert one.facts["missing_shards"] == 1


def test_tensors_of_unknown_layers_are_kept_apart(tmp_path: Path) -> None:
    for rank in range(2):
        folder = tmp_path / f"iter_0000500/mp_rank_{rank:02d}"
        folder.mkdir(parents=True)
        torch.save(
            {"model": {"odd.weight": torch.full((2, 3), float(rank)), "final_norm.weight": torch.ones(3)}, "iteration": 500},
            folder / "model_optim_rng.pt",
        )
    one = only(read_run([tmp_path]))
    assert {t.name for t in one.tensors} == {"odd.weight", "mp_rank_01:odd.weight", "final_norm.weight"}


def test_a_distributed_optimizer_is_flat_and_no_model(tmp_path: Path) -> None:
    """Laid out as megatron/core/optimizer/distrib_optimizer.py gathers it: by buffer and by pair of dtypes."""
    save(tmp_path, CORE, tensor=1, pipeline=1, optimizer=False)
    flat = {k: torch.ones(4096) for k in ("param", "exp_avg", "exp_avg_sq")} | {"numel_unpadded": 4000}
    torch.save({"buckets_coalesced": True, 0: {(torch.bfloat16, torch.float32): flat}}, tmp_path / "iter_0000500" / "mp_rank_00" / "distrib_optim.pt")
    run = read_run([tmp_path])
    names = {t.name for t in only(run).tensors}
    (source,) = [s for s in run.sources if s.path.endswith("distrib_optim.pt")]
    assert source.status is Status.PARTIAL
    assert "12,288 values" in str(source.detail)
    assert not {n for n in names if n.endswith(("param", "exp_avg", "exp_avg_sq"))}
