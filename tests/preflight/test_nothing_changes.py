"""After the check every bit of the training is as it was before."""

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import postmortem


class Training(nn.Module):
    """Everything that a forward pass can change: batch statistics, dropout, a counter, a kept activation, spectral norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.spectral_norm(nn.Linear(12, 16))
        self.norm = nn.BatchNorm1d(16)
        self.frozen = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(16, 4)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.kept: Any = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.kept = self.drop(torch.relu(self.frozen(self.norm(self.first(x)))))
        noise = torch.from_numpy(np.random.randn(*self.kept.shape)).to(x.device, torch.float32) * 1e-3 * random.random()  # noqa: NPY002  # what many training scripts draw from
        return self.last(self.kept + noise)


def bits(value: Any) -> Any:
    """Nested values with each tensor as its bytes and its place in memory."""
    if isinstance(value, torch.Tensor):
        return (
            id(value),
            value.data_ptr(),
            value._version,
            str(value.dtype),
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(),
        )
    if isinstance(value, dict):
        return {k: bits(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [bits(v) for v in value]
    return value


def everything(model: Training, optimizer: torch.optim.Optimizer, generator: torch.Generator, batch: Any) -> dict[str, Any]:
    return {
        "parameters": [(n, bits(p), bits(p.grad), p.requires_grad) for n, p in model.named_parameters()],
        "buffers": [(n, bits(b)) for n, b in model.named_buffers()],
        "modes": [(n, m.training) for n, m in model.named_modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()],
        "kept": (id(model.kept), bits(model.kept), model.kept.grad_fn is not None),
        "optimizer": (
            bits(list(optimizer.state.values())),
            [{k: bits(v) for k, v in g.items()} for g in optimizer.param_groups],
            list(vars(optimizer)),
        ),
        "torch": bits(torch.get_rng_state()[None])[4],
        "cuda": [bits(state[None])[4] for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
        "numpy": [x.tolist() if isinstance(x, np.ndarray) else x for x in np.random.get_state()],  # noqa: NPY002  # what many training scripts draw from
        "python": random.getstate(),
        "loader": generator.get_state().tolist(),
        "grad": torch.is_grad_enabled(),
        "batch": bits(batch),
    }


ON_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.parametrize(("device", "where"), [("cpu", None), pytest.param("cuda", None, marks=ON_CUDA), pytest.param("cuda", "cpu", marks=ON_CUDA)])
@pytest.mark.parametrize("with_optimizer", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_every_bit_is_as_before(with_optimizer: bool, fails: bool, device: str, where: str | None) -> None:
    torch.manual_seed(0)
    model = Training().to(device)
    model.frozen.eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
    x, y = torch.randn(32, 12), torch.randint(0, 4, (32,))
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
        optimizer.step()
    generator = torch.Generator().manual_seed(5)
    wide = torch.randn(32, 13) if fails else x
    loader = DataLoader(TensorDataset(wide, y), batch_size=8, shuffle=True, generator=generator)
    before = copy.deepcopy(everything(model, optimizer, generator, (x, y)))
    diagnosis = postmortem.diagnose_training(model, loader, nn.CrossEntropyLoss(), where, optimizer if with_optimizer else None, steps=12, show=False)
    after = everything(model, optimizer, generator, (x, y))
    assert diagnosis.verdict.mode == ("crash" if fails else diagnosis.verdict.mode)
    for name in before:
        assert after[name] == before[name], name


def test_the_watch_can_fail() -> None:
    """The comparison above sees one changed bit."""
    torch.manual_seed(0)
    model = Training()
    model(torch.randn(8, 12))
    optimizer, generator = torch.optim.AdamW(model.parameters()), torch.Generator()
    before = everything(model, optimizer, generator, ())
    with torch.no_grad():
        model.last.bias[0] = torch.nextafter(model.last.bias[0], torch.tensor(9.0))
    assert everything(model, optimizer, generator, ())["parameters"] != before["parameters"]


def test_training_goes_on_as_if_nothing_had_been() -> None:
    def train(check: bool) -> list[float]:
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002  # what many training scripts draw from
        random.seed(3)
        model = Training()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        loader = DataLoader(TensorDataset(torch.randn(64, 12), torch.randint(0, 4, (64,))), batch_size=16, shuffle=True)
        if check:
            postmortem.diagnose_training(model, loader, nn.CrossEntropyLoss(), None, optimizer, steps=10, show=False)
        losses = []
        for _ in range(3):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return losses

    assert train(check=True) == train(check=False)
