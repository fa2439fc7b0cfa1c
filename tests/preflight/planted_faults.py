"""A small classifier's training, and faults planted in it one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

FEATURES, CLASSES, SAMPLES = 20, 5, 64


class Net(nn.Module):
    def __init__(self, *, cut: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 64)
        self.act = nn.ReLU()
        self.last = nn.Linear(64, CLASSES)
        self.cut = cut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.first(x))
        return self.last(hidden.detach() if self.cut else hidden)


@dataclass
class Training:
    model: nn.Module
    optimizer: torch.optim.Optimizer
    x: torch.Tensor
    y: torch.Tensor
    criterion: Any


def healthy() -> Training:
    torch.manual_seed(0)
    x = torch.randn(SAMPLES, FEATURES)
    y = (x @ torch.randn(FEATURES, CLASSES)).argmax(1)
    model = Net()
    return Training(model, torch.optim.AdamW(model.parameters(), lr=1e-3), x, y, nn.CrossEntropyLoss())


def unscaled(t: Training) -> None:
    t.x = t.x * 1000 + 500


def detached(t: Training) -> None:
    t.model.cut = True


def dead(t: Training) -> None:
    with torch.no_grad():
        t.model.first.bias.fill_(-100.0)


def wrong_optimizer(t: Training) -> None:
    t.optimizer = torch.optim.AdamW(Net().parameters(), lr=1e-3)


def part_of_optimizer(t: Training) -> None:
    t.optimizer = torch.optim.AdamW(t.model.last.parameters(), lr=1e-3)


def labels_out_of_range(t: Training) -> None:
    t.y = t.y + 3


def nan_in_data(t: Training) -> None:
    t.x[3, 4] = float("nan")


def constant(t: Training) -> None:
    t.x = torch.ones_like(t.x)


def duplicates(t: Training) -> None:
    t.x, t.y = t.x[:4].repeat(SAMPLES // 4, 1), t.y[:4].repeat(SAMPLES // 4)


def shuffled_labels(t: Training) -> None:
    t.y = t.y[torch.randperm(SAMPLES)]


def frozen_all(t: Training) -> None:
    t.model.requires_grad_(False)


def large_weights(t: Training) -> None:
    with torch.no_grad():
        for p in t.model.parameters():
            p.mul_(30.0)


def rate_too_high(t: Training) -> None:
    t.optimizer = torch.optim.SGD(t.model.parameters(), lr=300.0)


def adam_rate_too_high(t: Training) -> None:
    t.optimizer = torch.optim.Adam(t.model.parameters(), lr=30.0)


def rate_of_nothing(t: Training) -> None:
    t.optimizer = torch.optim.SGD(t.model.parameters(), lr=1e-7)


def rate_zero(t: Training) -> None:
    t.optimizer = torch.optim.SGD(t.model.parameters(), lr=0.0)


def softmax_twice(t: Training) -> None:
    t.model = nn.Sequential(t.model, nn.Softmax(1))
    t.optimizer = torch.optim.AdamW(t.model.parameters(), lr=1e-3)


def stretched(t: Training) -> None:
    t.model, t.y, t.criterion = nn.Linear(FEATURES, 1), t.x[:, 0], nn.MSELoss()
    t.optimizer = torch.optim.AdamW(t.model.parameters(), lr=1e-3)


def unscaled_targets(t: Training) -> None:
    t.model = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 1))
    t.y, t.criterion = 1000 + 100 * t.x[:, :1], nn.MSELoss()
    t.optimizer = torch.optim.AdamW(t.model.parameters(), lr=1e-3)


Plant = Callable[[Training], None]

# fault → (mode, cause) that one batch must show
FAULTS: dict[str, tuple[Plant, str, str]] = {
    "unscaled": (unscaled, "data-fault", "preprocessing"),
    "unscaled-targets": (unscaled_targets, "data-fault", "preprocessing"),
    "detached": (detached, "frozen-parameters", "detached-graph"),
    "dead": (dead, "dead-units", "bad-initialization"),
    "wrong-optimizer": (wrong_optimizer, "frozen-parameters", "missing-from-optimizer"),
    "part-of-optimizer": (part_of_optimizer, "frozen-parameters", "missing-from-optimizer"),
    "labels-out-of-range": (labels_out_of_range, "data-fault", "out-of-range-labels"),
    "nan-in-data": (nan_in_data, "data-fault", "non-finite-inputs"),
    "constant": (constant, "data-fault", "constant-inputs"),
    "frozen-all": (frozen_all, "frozen-parameters", "requires-grad-off"),
    "large-weights": (large_weights, "exploding-gradients", "bad-initialization"),
    "duplicates": (duplicates, "data-fault", "duplicate-samples"),
    "adam-rate-too-high": (adam_rate_too_high, "exploding-gradients", "learning-rate-too-high"),
    "rate-of-nothing": (rate_of_nothing, "loss-not-decreasing", "learning-rate-too-low"),
    "rate-zero": (rate_zero, "loss-not-decreasing", "zero-learning-rate"),
    "softmax-twice": (softmax_twice, "loss-not-decreasing", "wrong-loss"),
    "stretched": (stretched, "loss-not-decreasing", "wrong-loss"),
    "rate-too-high": (rate_too_high, "exploding-gradients", "learning-rate-too-high"),
}


def planted(name: str) -> Training:
    training = healthy()
    FAULTS[name][0](training)
    return training
