"""Writes the checkpoints beside this file with DeepSpeed (0.19.8 wrote those that are committed), two processes on the CPU:

    DS_ACCELERATOR=cpu python -m torch.distributed.run --nproc_per_node 2 make.py

and beside each the master weights that DeepSpeed's own `zero_to_fp32` puts together, and a universal checkpoint made from stage 3.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import deepspeed
import numpy as np
import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from torch import distributed, nn

HERE = Path(__file__).parent
TAG = "global_step20"


def train(folder: Path, stage: int, *, halved: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 17), nn.ReLU(), nn.Linear(17, 1))
    settings = {
        "train_micro_batch_size_per_gpu": 8, "zero_optimization": {"stage": stage}, "zero_allow_untested_optimizer": True, "bf16": {"enabled": halved},
    }  # fmt: skip
    engine, *_ = deepspeed.initialize(model=model, optimizer=torch.optim.AdamW(model.parameters(), 1e-2), config=settings)
    inputs = torch.randn(64, 8)
    for i in range(20):
        batch = inputs[i * 8 % 64 :][:8].to(torch.bfloat16 if halved else torch.float32)
        loss = ((engine(batch)[:, 0] - batch.sum(1)) ** 2).mean()
        engine.backward(loss)
        engine.step()
    engine.save_checkpoint(str(folder), tag=TAG)


def main() -> None:
    deepspeed.init_distributed("gloo")
    for stage, halved in ((1, False), (2, True), (3, False)):
        folder = HERE / f"stage{stage}"
        train(folder, stage, halved=halved)
        distributed.barrier()
        if distributed.get_rank() == 0:
            masters = get_fp32_state_dict_from_zero_checkpoint(str(folder), tag=TAG)
            np.savez(HERE / f"stage{stage}.npz", **{name: value.detach().numpy() for name, value in masters.items()})
            for script in folder.glob("*.py"):
                script.unlink()
    if distributed.get_rank() == 0:
        command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state", "--num_extract_workers", "1",
                   "--num_merge_workers", "1", "--input_folder", str(HERE / "stage3" / TAG), "--output_folder", str(HERE / "universal" / TAG)]  # fmt: skip
        subprocess.run(command, check=True, env={k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")})
        shutil.rmtree(HERE / "universal" / "tmp", ignore_errors=True)
    distributed.barrier()


if __name__ == "__main__":
    main()
