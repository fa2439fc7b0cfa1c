"""Trainings that are unlike a plain classifier: (model, loader, criterion, optimizer) by name."""

import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

Training = tuple[nn.Module, Any, Any, torch.optim.Optimizer | None]
KINDS = 3


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(8, 6), torch.randint(0, KINDS, (8,))


def plain(model: nn.Module, optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW) -> Training:
    return model, [batch()], nn.CrossEntropyLoss(), optimizer(model.parameters(), lr=1e-2)


def lines(**hung: Any) -> nn.Linear:
    model = nn.Linear(6, KINDS)
    for name, value in hung.items():
        setattr(model, name, value)
    return model


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(ids)).flatten(0, 1)


def tied() -> Training:
    model, ids = Tied(), torch.randint(0, 20, (4, 6))
    return model, [(ids, ids)], lambda outputs, labels: cross_entropy(outputs, labels.flatten()), torch.optim.AdamW(model.parameters())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(5, 8, 2, dropout=0.2, batch_first=True), nn.Linear(8, KINDS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cells(x)[0][:, -1])


def recurrent() -> Training:
    model = Recurrent()
    return model, [(torch.randn(8, 7, 5), torch.randint(0, KINDS, (8,)))], nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters())


def sparse(optimizer: Callable[..., torch.optim.Optimizer] | None) -> Training:
    model = nn.EmbeddingBag(50, KINDS, sparse=True)
    given = None if optimizer is None else optimizer(list(model.parameters()))
    return model, [(torch.randint(0, 50, (8, 5)), torch.randint(0, KINDS, (8,)))], nn.CrossEntropyLoss(), given


class Fourier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(6, 6, dtype=torch.cfloat) / 6), nn.Linear(6, KINDS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((torch.fft.fft(x) @ self.weight).abs())


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kind, self.size = nn.Linear(6, KINDS), nn.Linear(6, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"kind": self.kind(x), "size": self.size(x).squeeze(1)}


def heads(criterion: Any) -> Training:
    model, (x, y) = Heads(), batch()
    return model, [(x, {"kind": y, "size": torch.randn(8)})], criterion, torch.optim.AdamW(model.parameters())


class OwnLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, KINDS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cross_entropy(outputs, labels) + 1e-3 * self.head.weight.norm()


def loss_is_a_method() -> Training:
    model = OwnLoss()
    return model, [batch()], model.loss, torch.optim.AdamW(model.parameters())


def loss_sees_the_model() -> Training:
    model = lines()
    x, y = batch()
    cross_entropy(model(x), y).backward()
    penalised = lambda outputs, labels: cross_entropy(outputs, labels) + 1e-3 * sum(p.norm() for p in model.parameters())  # noqa: E731
    return model, [(x, y)], penalised, torch.optim.AdamW(model.parameters())


class Tempered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heat = nn.Parameter(torch.ones(()))

    def forward(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cross_entropy(outputs * self.heat, labels)


def loss_is_trained() -> Training:
    model, criterion = lines(), Tempered()
    return model, [batch()], criterion, torch.optim.AdamW([*model.parameters(), *criterion.parameters()])


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        while True:
            yield torch.randn(6), random.randint(0, KINDS - 1)


def loaded(loader: Any) -> Training:
    model = lines()
    return model, loader, nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), lr=1e-2)


def shuffled(workers: int) -> DataLoader:
    return DataLoader(TensorDataset(torch.randn(64, 6), torch.randint(0, KINDS, (64,))), 8, shuffle=True, num_workers=workers)


def without_labels(loader: Any) -> Training:
    model = nn.Linear(6, 6)
    return model, loader, mse_loss, torch.optim.AdamW(model.parameters(), lr=1e-2)


def numpy_arrays() -> Training:
    model = lines()
    return model, [tuple(t.numpy() for t in batch())], nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), lr=1e-2)


def frozen_in_part() -> Training:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, KINDS))
    model[0].requires_grad_(False)
    return model, [batch()], nn.CrossEntropyLoss(), torch.optim.AdamW(model[2].parameters(), lr=1e-2)


def scheduled() -> Training:
    model, loader, criterion, optimizer = plain(lines(), functools.partial(torch.optim.SGD, momentum=0.9))
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=100)
    return model, loader, criterion, optimizer


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, KINDS)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(image)


def by_name(model: nn.Module, **more: Any) -> Training:
    x, y = batch()
    return model, [{"image": x, "label": y, **more}], nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), lr=1e-2)


class Adapted(nn.Module):
    """A frozen layer beside two low-rank matrices, the second of which begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.lora_A, self.lora_B = nn.Linear(6, KINDS), nn.Linear(6, 2, bias=False), nn.Linear(2, KINDS, bias=False)
        self.base.requires_grad_(False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.lora_B(self.lora_A(x))


def adapted() -> Training:
    model = Adapted()
    return model, [batch()], nn.CrossEntropyLoss(), torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-1)


def of_its_own_kind(dtype: torch.dtype) -> Training:
    model, (x, y) = lines().to(dtype), batch()
    return model, [(x.to(dtype), y)], nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), lr=1e-2)


def compiled_in_place() -> Training:
    model = lines()
    model.compile(backend="eager")
    return plain(model)


TRAININGS: dict[str, Callable[[], Training]] = {
    "tied weights": tied,
    "recurrent": recurrent,
    "sparse gradients": lambda: sparse(torch.optim.SparseAdam),
    "sparse gradients, no optimizer": lambda: sparse(None),
    "complex parameters": lambda: plain(Fourier()),
    "a mapping of criteria": lambda: heads({"kind": nn.CrossEntropyLoss(), "size": nn.MSELoss()}),
    "a ModuleDict of criteria": lambda: heads(nn.ModuleDict({"kind": nn.CrossEntropyLoss(), "size": nn.MSELoss()})),
    "several losses": lambda: heads(lambda o, y: (cross_entropy(o["kind"], y["kind"]), mse_loss(o["size"], y["size"]))),
    "the loss is a method of the model": loss_is_a_method,
    "the loss sees the model": loss_sees_the_model,
    "the loss is trained": loss_is_trained,
    "L-BFGS": lambda: plain(lines(), torch.optim.LBFGS),
    "an iterator": lambda: loaded(iter([batch(), batch()])),
    "an endless data set": lambda: loaded(DataLoader(Endless(), batch_size=8)),
    "workers": lambda: loaded(shuffled(2)),
    "no labels": lambda: without_labels([torch.randn(8, 6)]),
    "tuples of one": lambda: without_labels(DataLoader(TensorDataset(torch.randn(32, 6)), batch_size=8)),
    "numpy arrays": numpy_arrays,
    "a mapping of inputs": lambda: by_name(Named()),
    "a mapping with more than inputs": lambda: by_name(Named(), path=["a.png"] * 8),
    "a mapping for a model that names nothing": lambda: by_name(nn.Sequential(lines())),
    "adapters": adapted,
    "frozen in part": frozen_in_part,
    "a schedule": scheduled,
    "float64": lambda: of_its_own_kind(torch.float64),
    "bfloat16": lambda: of_its_own_kind(torch.bfloat16),
    "parametrized": lambda: plain(nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(6, 6)), lines())),
    "compiled": lambda: plain(torch.compile(lines(), backend="eager")),
    "compiled in place": compiled_in_place,
    "what cannot be copied": lambda: plain(lines(ids=(n for n in range(3)), act=lambda x: x)),
}
