"""Trainings with one planted fault each, logged as many scripts do, with the recorder beside the log or without it."""

import json
import math
from pathlib import Path

import torch
from torch import nn

import postmortem

STEPS, EVALUATIONS = 240, 8
FEATURES, CLASSES = 20, 5


class Net(nn.Module):
    def __init__(self, *, cut: bool = False) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(FEATURES, 64), nn.Linear(64, 64), nn.Linear(64, CLASSES)
        self.act, self.cut = nn.ReLU(), cut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.middle(self.act(self.first(x))))
        return self.last(hidden.detach() if self.cut else hidden)


def train(folder: Path, fault: str, *, record: bool) -> None:
    """Writes `metrics.jsonl` and `config.json`, and a capture when `record`."""
    torch.manual_seed(0)
    truth = torch.randn(FEATURES, CLASSES)
    x, held_out = torch.randn(960, FEATURES), torch.randn(320, FEATURES)
    y, told = (x @ truth).argmax(1), (held_out @ truth).argmax(1)
    model = Net(cut=fault == "detached")
    optimizer = torch.optim.AdamW((Net() if fault == "wrong-optimizer" else model).parameters(), lr=3e-3)
    if fault == "shuffled-labels":
        y, told = y[torch.randperm(len(y))], told[torch.randperm(len(told))]
    if fault == "unscaled":
        x, held_out = x * 1000 + 500, held_out * 1000 + 500
    if fault == "constant":
        x, held_out = torch.ones_like(x), torch.ones_like(held_out)
    if fault == "dead":
        with torch.no_grad():
            model.first.bias.fill_(-100.0)
    if fault == "nan":
        x[700, 3] = math.nan
    if fault == "shifted-validation":
        held_out = held_out * 0.1 + 4.0
    order = torch.arange(len(x))
    folder.mkdir(parents=True)
    config = {"model": "mlp", "num_classes": CLASSES, "optimizer": "adamw", "lr": 3e-3, "batch_size": 32, "loss": "cross_entropy"}
    (folder / "config.json").write_text(json.dumps(config))
    recorder = postmortem.Recorder(folder, every=20, classes=CLASSES) if record else None
    if recorder:
        recorder.watch(model, optimizer)
    with (folder / "metrics.jsonl").open("w") as log:
        for step in range(STEPS):
            at = step * 32 % len(x)
            order = torch.randperm(len(x)) if at == 0 else order
            inputs, labels = x[order[at : at + 32]], y[order[at : at + 32]]
            if recorder:
                recorder.batch(inputs, labels, epoch=step * 32 // len(x))
            loss = nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            line = {"step": step, "train_loss": loss.item(), "lr": 3e-3}
            if recorder:
                recorder.step(loss, epoch=step * 32 / len(x))
            if step % (STEPS // EVALUATIONS) == STEPS // EVALUATIONS - 1:
                model.eval()
                with torch.no_grad():
                    out = model(held_out)
                model.train()
                line |= {"val_loss": nn.functional.cross_entropy(out, told).item(), "val_accuracy": (out.argmax(1) == told).float().mean().item()}
                if recorder:
                    recorder.batch(held_out[:64], told[:64], split="val")
                    recorder.log(val_loss=line["val_loss"], val_accuracy=line["val_accuracy"])
            log.write(json.dumps(line) + "\n")
    if recorder:
        recorder.close()
