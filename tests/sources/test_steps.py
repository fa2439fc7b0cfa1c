import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.sources.checkpoints.steps import counted_by_siblings, step_and_epoch


@pytest.mark.parametrize(
    ("path", "step", "epoch"),
    [
        ("step_000450.pt", 450, None),
        ("checkpoints/epoch=8-step=405.ckpt", 405, 8),
        ("epoch=3-val_loss=0.42.ckpt", None, 3),
        ("epoch=3-step=1000-v1.ckpt", 1000, 3),
        ("checkpoint_ep015.pth", None, 15),
        ("weights.03.weights.h5", None, 3),
        ("weights.80.weights.h5", None, 80),
        ("weights.05-0.31.hdf5", None, 5),
        ("epoch=1-step=20.ckpt/checkpoint/mp_rank_00_model_states.pt", 20, 1),
        ("lr1e-3_epochs100/best.pt", None, None),
        ("model-02.keras", None, 2),
        ("checkpoint-120/model.safetensors", 120, None),
        ("checkpoint-120/optimizer.pt", 120, None),
        ("checkpoint-120/pytorch_model-00001-of-00003.bin", 120, None),
        ("iter_0001000/mp_rank_00/model_optim_rng.pt", 1000, None),
        ("iter_0001000/mp_rank_00_001/model_optim_rng.pt", 1000, None),
        ("global_step1000/mp_rank_00_model_states.pt", 1000, None),
        ("checkpoint-30/global_step30/zero_pp_rank_0_mp_rank_00_optim_states.pt", 30, None),
        ("model_15.pt", None, 15),
        ("model_0019999.pth", 19999, None),
        ("model_0004999.pth", None, 4999),
        ("model15.pth", None, 15),
        ("ckpt_10k.pt", 10000, None),
        ("state_step10k.pt", 10000, None),
        ("best.pt", None, None),
        ("last.ckpt", None, None),
        ("model.safetensors", None, None),
        ("resnet-50.pt", None, None),
        ("vit_b_16.pt", None, None),
        ("checkpoint_3_1200.pt", 1200, 3),
        ("checkpoint12.pt", None, 12),
        ("checkpoint_last.pt", None, None),
        ("epoch_12.pth", None, 12),
        ("iter_160000.pth", 160000, None),
        ("epoch_3/step_90.pt", 90, 3),
        ("step-200/.metadata", 200, None),
        ("checkpoint_2/model.safetensors", None, 2),
        ("0/model.pt", None, None),
        ("500/model.pt", 500, None),
        ("checkpoint_180/model.safetensors", 180, None),
        ("20000/state/model.npz", 20000, None),
        ("ppo_model_100000_steps.zip", 100000, None),
        ("best_model_0.912.pt", None, None),
        ("model_loss0.31_ep7.pt", None, 7),
        ("a/b/c/d.pt", None, None),
        ("mlp_1e-3/last.pt", None, None),
        ("run_seed3/best.pt", None, None),
        ("model_state_epoch_7.th", None, 7),
        ("checkpoint_100epochs.pt", None, 100),
        ("", None, None),
    ],
)
def test_names(path: str, step: float | None, epoch: float | None) -> None:
    assert step_and_epoch(path) == (step, epoch)


@given(st.text(max_size=300))
def test_any_name(path: str) -> None:
    for value in step_and_epoch(path):
        assert value is None or value >= 0


@pytest.mark.parametrize("text", ["step", "1", "a_", "loss", "0-of-", "rank_0_", ".pt", "e1"])
def test_long_names_take_no_time(text: str) -> None:
    before = time.process_time()
    step_and_epoch("/".join([text * 20_000] * 3))
    assert time.process_time() - before < 5


def test_files_that_are_called_alike_are_counted_by_their_number() -> None:
    paths = [
        "encoder_100.pt",
        "encoder_200.pt",
        "vae.00.ckpt",
        "vae.05.ckpt",
        "fold_1.pt",
        "fold_2.pt",
        "decoder_7.pt",
        "run/mlp_010.pt",
        "run/mlp_020.pt",
    ]
    assert counted_by_siblings(paths) == {
        "encoder_100.pt": 100, "encoder_200.pt": 200, "vae.00.ckpt": 0, "vae.05.ckpt": 5, "run/mlp_010.pt": 10, "run/mlp_020.pt": 20,
    }  # fmt: skip
