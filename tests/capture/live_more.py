"""More trainings with a planted fault each: a convolutional net, a recurrent one, a regression, with the recorder beside the log or without it.

Run `python tests/capture/live_more.py [FAULT …]`: trains each both ways and prints what is said of them, as a table.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from live import compare
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, softmax

import postmortem
from postmortem.model.diagnosis import Diagnosis

EPOCHS, BATCH, SAMPLES, HELD_OUT = 10, 32, 960, 256
SIDE, CLASSES = 12, 5  # of images
LENGTH, WIDTH = 16, 6  # of sequences

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass
class Training:
    """What is trained, and on what. `fault` is planted by what builds it, or by the loop where it is the loop's."""

    model: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = cross_entropy
    optimizer: torch.optim.Optimizer | None = None
    shuffled: bool = True
    zeroed: bool = True  # gradients, before each backward
    evaluating: bool = False  # the model is in evaluation mode as it trains
    classes: int | None = CLASSES
    settings: dict[str, Any] = field(default_factory=dict)


def images() -> Batch:
    """Noisy patterns, one of each class."""
    y = torch.randint(0, CLASSES, (SAMPLES + HELD_OUT,))
    return torch.randn(CLASSES, 1, SIDE, SIDE)[y] + 1.5 * torch.randn(len(y), 1, SIDE, SIDE), y


def sequences() -> Batch:
    """The class is in the first of many places, the others are noise."""
    y = torch.randint(0, CLASSES, (SAMPLES + HELD_OUT,))
    x = 0.3 * torch.randn(len(y), LENGTH, WIDTH)
    x[torch.arange(len(y)), 0, y] += 2.0
    return x, y


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, padding=1, stride=2)
        self.relu, self.relu2, self.drop, self.head = nn.ReLU(), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16 * (SIDE // 2) ** 2, CLASSES)
        self.twice = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.relu2(self.second(self.relu(self.norm(self.first(x)))))
        out = self.head(self.drop(hidden.flatten(1)))
        return softmax(out, 1) if self.twice else out


class Recurrent(nn.Module):
    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.cells, self.head = nn.GRU(WIDTH, width, batch_first=True), nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cells(x)[0][:, -1])


def convolutional(rate: float = 1e-3, **how: Any) -> Training:
    model = Convolutional()
    out = Training(model, *images(), **how)
    out.optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    return out


def recurrent(rate: float = 3e-3) -> Training:
    model = Recurrent()
    out = Training(model, *sequences())
    out.optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    return out


def regression(scale: float = 1.0) -> Training:
    x = torch.randn(SAMPLES + HELD_OUT, 16)
    y = (x @ torch.randn(16, 1) / 4 + 0.1 * torch.randn(len(x), 1)).tanh() * scale
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return Training(model, x, y, mse_loss, torch.optim.AdamW(model.parameters(), lr=1e-3), classes=None)


def descending(rate: float, **how: Any) -> Training:
    """By plain descent with momentum."""
    out = convolutional(**how)
    out.optimizer = torch.optim.SGD(out.model.parameters(), lr=rate, momentum=0.9)
    return out


def summed() -> Training:
    out = descending(0.02)
    out.loss = lambda o, y: cross_entropy(o, y, reduction="sum")
    return out


def shifted() -> Training:
    out = convolutional()
    out.y = out.y.roll(1)
    return out


def empty() -> Training:
    out = convolutional()
    out.x = torch.zeros_like(out.x)
    return out


def poisoned() -> Training:
    out = convolutional()
    out.x[701, 0, 3, 3] = math.nan
    return out


def made_anew() -> Training:
    out = convolutional()
    out.model = Convolutional()
    return out


def born_dead() -> Training:
    out = convolutional()
    with torch.no_grad():
        out.model.second.bias.fill_(-10.0)
    return out


def exploding() -> Training:
    out = recurrent()
    with torch.no_grad():
        out.model.cells.weight_hh_l0.mul_(40.0)
    return out


def twice() -> Training:
    out = convolutional()
    out.model.twice = True
    return out


def by_class() -> Training:
    out = convolutional(shuffled=False)
    order = out.y[:SAMPLES].argsort()
    out.x[:SAMPLES], out.y[:SAMPLES] = out.x[order], out.y[order]
    return out


HEALTHY: tuple[tuple[str, ...], tuple[str | None, ...]] = (("healthy",), (None,))
# fault → what builds it, and (modes, causes), any of which is right
FAULTS: dict[str, tuple[Callable[[], Training], tuple[tuple[str, ...], tuple[str | None, ...]]]] = {
    "convolutional": (convolutional, HEALTHY),
    "recurrent": (recurrent, HEALTHY),
    "regression": (regression, HEALTHY),
    "loss-summed": (summed, (("dead-units", "loss-not-decreasing"), ("wrong-loss", "learning-rate-too-high"))),  # each step 32 times as long
    "rate-100-times": (lambda: convolutional(0.3), (("exploding-gradients", "loss-not-decreasing", "dead-units"), ("learning-rate-too-high",))),
    "rate-a-hundredth": (lambda: convolutional(1e-5), (("underfitting", "loss-not-decreasing"), ("learning-rate-too-low",))),
    "softmax-twice": (twice, (("underfitting", "loss-not-decreasing"), ("wrong-loss",))),
    "gradients-never-zeroed": (
        lambda: descending(0.05, zeroed=False),
        (("exploding-gradients", "loss-not-decreasing", "oscillating-loss"), ("accumulating-gradients",)),
    ),
    "labels-off-by-one": (shifted, (("underfitting", "overfitting", "loss-not-decreasing"), ("wrong-labels",))),
    "inputs-zero": (empty, (("data-fault",), ("constant-inputs",))),
    "nan-in-a-batch": (poisoned, (("data-fault",), ("non-finite-inputs",))),
    "evaluation-mode": (lambda: convolutional(evaluating=True), HEALTHY),  # it trains nearly as well here
    "model-made-anew": (made_anew, (("loss-not-decreasing",), ("missing-from-optimizer",))),
    "dead-by-bias": (born_dead, (("dead-units",), ("bad-initialization",))),
    "recurrent-exploding": (
        exploding,
        (("exploding-gradients",), ("bad-initialization",)),
    ),
    "sorted-by-class": (by_class, (("oscillating-loss",), ("unshuffled-data",))),
    "targets-unscaled": (lambda: regression(1e4), (("loss-not-decreasing", "underfitting"), ("preprocessing",))),
}


HARMLESS = ("sorted-by-class",)  # an adaptive optimizer and batch normalisation learn in spite of it


def order(given: Training) -> Iterator[torch.Tensor]:
    """Batches of one epoch, by the places of their samples."""
    return iter((torch.randperm(SAMPLES) if given.shuffled else torch.arange(SAMPLES)).split(BATCH))


def train(folder: Path, fault: str, *, record: bool, every: int = 20, seed: int = 0) -> None:
    """Writes `metrics.jsonl` and `config.json`, and a capture when `record`."""
    torch.manual_seed(seed)
    given = FAULTS[fault][0]()
    model, optimizer = given.model, given.optimizer
    assert optimizer is not None
    folder.mkdir(parents=True)
    rate = optimizer.param_groups[0]["lr"]
    told = {"model": type(model).__name__, "optimizer": type(optimizer).__name__, "lr": rate, "batch_size": BATCH, "epochs": EPOCHS}
    (folder / "config.json").write_text(
        json.dumps(told | ({"num_classes": given.classes, "loss": "cross_entropy"} if given.classes else {"loss": "mse"}))
    )
    held_out, wanted = given.x[SAMPLES:], given.y[SAMPLES:]
    recorder = postmortem.Recorder(folder, every=every, classes=given.classes) if record else None
    if recorder:
        recorder.watch(model, optimizer)
    step = 0
    with (folder / "metrics.jsonl").open("w") as log:
        for epoch in range(EPOCHS):
            model.train(not given.evaluating)
            for chosen in order(given):
                inputs, labels = given.x[chosen], given.y[chosen]
                if recorder:
                    recorder.batch(inputs, labels, epoch=epoch)
                loss = given.loss(model(inputs), labels)
                if given.zeroed:
                    optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if recorder:
                    recorder.step(loss, epoch=epoch)
                log.write(json.dumps({"step": step, "epoch": epoch, "train_loss": loss.item(), "lr": rate}) + "\n")
                step += 1
            model.eval()
            with torch.no_grad():
                out = model(held_out)
            values = {"val_loss": given.loss(out, wanted).item()}
            if given.classes:
                values["val_accuracy"] = (out.argmax(1) == wanted).float().mean().item()
            if recorder:
                recorder.batch(held_out, wanted, split="val")
                recorder.log(**values)
            log.write(json.dumps({"step": step - 1, "epoch": epoch, **values}) + "\n")
    if recorder:
        recorder.close()


def right(fault: str, diagnosis: Diagnosis) -> bool:
    """Whether the planted fault is named: by the verdict, or by a finding where it does no harm."""
    modes, causes = FAULTS[fault][1]
    if fault in HARMLESS:
        found = diagnosis.finding(modes[0])
        return diagnosis.verdict.mode == "healthy" and found.status == "present" and found.causes[0].cause in causes
    return diagnosis.verdict.mode in modes and diagnosis.verdict.cause in causes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("faults", nargs="*", default=list(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    compare(given.faults, lambda run, fault, record: train(run, fault, record=record, seed=given.seed), right)


if __name__ == "__main__":
    main()
