"""Snapshots as checkpoints of several habits."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from tests.faults.configured import settings
from tests.faults.logs import write_trainer_state
from tests.faults.nets import Adapted
from tests.faults.plan import Snapshot, Trace
from tests.faults.style import Style


def write_checkpoints(trace: Trace, style: Style, directory: Path) -> None:
    snapshots = trace.snapshots
    if (cut := trace.plan.has("cut")) is not None:
        last = trace.rows[int(len(trace.rows) * cut) - 1].step
        snapshots = [s for s in snapshots if s.step <= last]
    kind = style.checkpoints
    if kind == "none" or not snapshots:
        return
    if kind == "last":
        snapshots, kind = snapshots[-1:], "dict"
    written = [_save(s, kind, trace, style, directory) for s in snapshots]
    if (share := trace.plan.has("truncate")) is not None:
        data = written[-1].read_bytes()
        written[-1].write_bytes(data[: int(len(data) * share)])


def _save(s: Snapshot, kind: str, trace: Trace, style: Style, directory: Path) -> Path:
    state = adapter_state(s.model) if is_adapted(s.model) and trace.plan.seed % 2 else s.model.state_dict()
    folder = directory / "checkpoints"
    match kind:
        case "hf":
            place = directory / f"checkpoint-{s.step}"
            place.mkdir()
            save_file({k: v.contiguous().clone() for k, v in state.items()}, place / "model.safetensors", metadata={"format": "pt"})
            torch.save(s.optimizer, place / "optimizer.pt")
            torch.save(s.schedule, place / "scheduler.pt")
            write_trainer_state(trace, style, place, s.step)
            return place / "model.safetensors"
        case "safetensors":
            folder.mkdir(exist_ok=True)
            path = folder / f"step_{s.step:06d}.safetensors"
            save_file({k: v.contiguous().clone() for k, v in state.items()}, path)
            return path
        case "module":
            folder.mkdir(exist_ok=True)
            path = folder / f"model_epoch{s.epoch}.pth"
            torch.save(s.model, path)
            return path
        case "bare":
            folder.mkdir(exist_ok=True)
            path = folder / f"weights_{s.epoch:03d}.pt"
            torch.save(state, path)
            return path
        case "lightning":
            place = directory / "lightning_logs" / "version_0" / "checkpoints"
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"epoch={max(0, s.epoch - 1)}-step={s.step}.ckpt"
            torch.save(
                {
                    "epoch": max(0, s.epoch - 1),
                    "global_step": s.step,
                    "pytorch-lightning_version": "2.4.0",
                    "state_dict": {f"model.{k}": v for k, v in state.items()},
                    "optimizer_states": [s.optimizer],
                    "lr_schedulers": [s.schedule],
                    "hyper_parameters": settings(trace.plan, "lr"),
                },
                path,
            )
            return path
    folder.mkdir(exist_ok=True)
    path = folder / f"ckpt_{s.epoch:03d}.pt"
    torch.save({"epoch": s.epoch, "step": s.step, "model_state_dict": state, "optimizer_state_dict": s.optimizer, "scheduler": s.schedule}, path)
    return path


def adapter_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Only what was trained: the adapters and the head."""
    return {k: v for k, v in model.state_dict().items() if "lora_" in k or k.startswith("head")}


def is_adapted(model: nn.Module) -> bool:
    return any(isinstance(m, Adapted) for m in model.modules())
