"""Pairs of runs that differ in one thing, trained on a CPU in seconds: `python tests/compare/make_pairs.py`.

All learn the same two spirals with the same small network, seed and batches, unless that is what differs.
"""

import json
import math
import shutil
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent / "data"
STEPS = 600
BASE = {"learning_rate": 0.1, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0, "batch_size": 64, "seed": 7, "max_steps": STEPS, "hidden": 32}


def spirals(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (n,), generator=generator)
    radius = torch.rand(n, generator=generator) * 0.9 + 0.1
    angle = radius * 7.0 + labels * math.pi
    noise = torch.randn(n, 2, generator=generator) * 0.02
    return torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), 1) + noise, labels


def train(
    name: str,
    config: dict[str, object],
    *,
    every: int = 10,
    jump: tuple[int, float] | None = None,
    jsonl: bool = False,
    bad_step: int = 0,
    val_scale: float = 1.0,
    shuffled: bool = False,
) -> None:
    """One run: a log, a configuration, three checkpoints. `jump` multiplies the rate at a step, `bad_step` feeds a NaN.

    val_scale : what validation inputs are multiplied by; shuffled : whether training labels are, among the inputs.
    """
    place = HERE / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    torch.manual_seed(int(str(config["seed"])))
    torch.set_num_threads(1)
    x, y = spirals(1024, 1)
    vx, vy = spirals(512, 2)
    vx = vx * val_scale
    if shuffled:
        y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(3))]
    width = int(str(config["hidden"]))
    model = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))
    rate = float(str(config["learning_rate"]))
    decay = float(str(config["weight_decay"]))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    order = torch.Generator().manual_seed(int(str(config["seed"])))
    rows = []
    size = int(str(config["batch_size"]))
    for step in range(STEPS + 1):
        if jump is not None and step == jump[0]:
            for group in optimizer.param_groups:
                group["lr"] = rate * jump[1]
        picked = torch.randint(0, len(x), (size,), generator=order)
        inputs = x[picked].clone()
        if bad_step and step == bad_step:
            inputs[0, 0] = math.nan
        loss = nn.functional.cross_entropy(model(inputs), y[picked])
        if step % every == 0:
            with torch.no_grad():
                out = model(vx)
                val = nn.functional.cross_entropy(out, vy).item()
                accuracy = (out.argmax(1) == vy).float().mean().item()
            rows.append({"step": step, "train_loss": loss.item(), "val_loss": val, "val_accuracy": accuracy, "lr": optimizer.param_groups[0]["lr"]})
        if step % 200 == 0 and step:
            torch.save({"model": model.state_dict(), "step": step}, place / f"step_{step}.pt")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if jsonl:
        lines = [json.dumps({"global_step": r["step"], "loss": r["train_loss"], "eval_loss": r["val_loss"], "learning_rate": r["lr"]}) for r in rows]
        (place / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    else:
        text = [",".join(rows[0])] + [",".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in r.values()) for r in rows]
        (place / "metrics.csv").write_text("\n".join(text) + "\n")
    (place / "config.json").write_text(json.dumps(config, indent=1) + "\n")


if __name__ == "__main__":
    train("good", BASE)
    train("again", {**BASE, "output_dir": "elsewhere", "run_name": "second"})
    train("rate-jumps", BASE, jump=(300, 30.0))
    train("lower-rate", {**BASE, "learning_rate": 0.001})
    train("weight-decay", {**BASE, "weight_decay": 0.05})
    train("other-seed", {**BASE, "seed": 8})
    train("other-log", BASE, every=25, jsonl=True)
    train("bad-batch", BASE, bad_step=405)
    train("other-validation", BASE, val_scale=4.0)
    train("shuffled-labels", BASE, shuffled=True)
    train("two-things", {**BASE, "weight_decay": 0.05, "learning_rate": 0.02})
