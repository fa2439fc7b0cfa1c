"""The configuration as a user would have written it."""

import json
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

from tests.faults.healthy import SAMPLES
from tests.faults.plan import Plan, Trace
from tests.faults.style import Style


def settings(plan: Plan, rate: str) -> dict[str, Any]:
    """What a user would have configured: what differs from a field's default, and what every configuration says."""
    always = {"task", "net", "width", "depth", "batch_size", "epochs", "optimizer", "lr", "seed"}
    names = {
        "lr": rate,
        "net": "model",
        "task": "dataset",
        "schedule": "scheduler",
        "adapters": "lora_rank",
        "width": "hidden_size",
        "depth": "num_layers",
    }
    out = {}
    for f in fields(plan):
        value = getattr(plan, f.name)
        if f.name in always or (f.name not in ("wrong", "noise", "resume_at", "train_samples", "pretrained") and value != f.default):
            out[names.get(f.name, f.name)] = value
    if plan.train_samples < SAMPLES.get(plan.task, 1200):  # fewer than there are
        out["train_samples"] = plan.train_samples
    if plan.pretrained:
        out["pretrained_checkpoint"] = "weights/base.pt"
    return out


def write_configuration(trace: Trace, style: Style, directory: Path, dice: random.Random) -> None:
    values = settings(trace.plan, dice.choice(["lr", "learning_rate", "base_lr"]))
    match style.configuration:
        case "config.json" | "args.json":
            (directory / style.configuration).write_text(json.dumps(values, indent=dice.choice([None, 2])))
        case "config.yaml":
            (directory / "config.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in values.items()))
        case "nested.yaml":
            parts: dict[str, dict[str, Any]] = {"model": {}, "data": {}, "optim": {}, "trainer": {}}
            where = {
                "model": "model",
                "hidden_size": "model",
                "num_layers": "model",
                "activation": "model",
                "dropout": "model",
                "dataset": "data",
                "batch_size": "data",
                "epochs": "trainer",
                "seed": "trainer",
                "precision": "trainer",
                "grad_clip": "trainer",
            }
            for k, v in values.items():
                parts[where.get(k, "optim")]["name" if k in ("model", "dataset", "optimizer") else k] = v
            (directory / "config.yaml").write_text(
                "".join(f"{p}:\n" + "".join(f"  {k}: {json.dumps(v)}\n" for k, v in kv.items()) for p, kv in parts.items())
            )
