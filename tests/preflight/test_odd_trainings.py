"""The check understands trainings unlike a plain classifier, and leaves each bit of them as it was."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from odd_trainings import TRAININGS, batch, lines, plain
from test_nothing_changes import bits
from torch import nn
from torch.nn.functional import cross_entropy

import postmortem
from postmortem.errors import UsageError


def everything(model: nn.Module, optimizer: torch.optim.Optimizer | None, loader: Any, criterion: Any) -> dict[str, Any]:
    modules = [*model.modules(), *(criterion.modules() if isinstance(criterion, nn.Module) else ())]
    return {
        "parameters": [(n, bits(p), bits(p.grad), p.requires_grad) for m in modules for n, p in m.named_parameters(recurse=False)],
        "buffers": [(n, bits(b)) for m in modules for n, b in m.named_buffers(recurse=False)],
        "modules": [(m.training, sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules],
        "optimizer": None if optimizer is None else (bits(list(optimizer.state.values())), bits(optimizer.param_groups), sorted(vars(optimizer))),
        "batch": bits(loader) if isinstance(loader, list) and isinstance(loader[0], torch.Tensor) else None,
        "random": (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())),  # noqa: NPY002  # what many training scripts draw from
    }


@pytest.mark.parametrize("name", TRAININGS)
def test_it_is_understood_and_stays_as_it_is(name: str) -> None:
    torch.manual_seed(0)
    model, loader, criterion, optimizer = TRAININGS[name]()
    before = everything(model, optimizer, loader, criterion)
    verdict = postmortem.diagnose_training(model, loader, criterion, None, optimizer, show=False).verdict
    assert verdict.mode == "healthy", (verdict.mode, verdict.cause, str(verdict.summary))
    assert everything(model, optimizer, loader, criterion) == before


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients(around: Any) -> None:
    torch.manual_seed(0)
    model, loader, criterion, optimizer = plain(lines())
    with around():
        verdict = postmortem.diagnose_training(model, loader, criterion, None, optimizer, show=False).verdict
        assert not torch.is_grad_enabled()
    assert verdict.mode == "healthy"
    assert model.weight.grad is None


@pytest.mark.parametrize(
    ("model", "loader", "told"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 3)), batch, "run one batch through it first"),
        (nn.Flatten, batch, "no parameters"),
        (lambda: nn.Linear(6, 3, device="meta"), batch, "without values"),
        (lines, lambda: (torch.zeros(0, 6), torch.zeros(0, dtype=torch.long)), "no samples"),
    ],
)
def test_what_cannot_be_tried_is_said_to_the_caller(model: Any, loader: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        postmortem.diagnose_training(model(), [loader()], nn.CrossEntropyLoss(), show=False)


def test_a_model_that_cannot_be_copied_at_all() -> None:
    class Refuses(nn.Linear):
        def __deepcopy__(self, memo: Any) -> None:
            raise TypeError("of this there is but one")

    with pytest.raises(UsageError, match="there is but one"):
        postmortem.diagnose_training(Refuses(6, 3), [batch()], nn.CrossEntropyLoss(), show=False)


@pytest.mark.parametrize("optimizer", [True, False])
def test_a_small_model_at_a_small_rate_is_not_accused(optimizer: bool) -> None:
    """A linear classifier moves little in a hundred steps of the usual rate: another trial shows that it can learn."""
    torch.manual_seed(0)
    model = lines()
    given = torch.optim.AdamW(model.parameters(), lr=1e-3) if optimizer else None
    diagnosis = postmortem.diagnose_training(model, [batch()], cross_entropy, None, given, show=False)
    assert diagnosis.verdict.mode == "healthy"
    assert diagnosis.verdict.severity in ((None, "minor") if optimizer else (None,))
    assert "AdamW at 0.01" in diagnosis.to_json()


def test_several_optimizers_are_not_one() -> None:
    model = lines()
    with pytest.raises(UsageError, match="of several give the one"):
        postmortem.diagnose_training(model, [batch()], cross_entropy, None, [torch.optim.SGD(model.parameters(), lr=0.1)], show=False)


def test_losses_that_are_added_up_are_named() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), torch.randn(32, 6)
    optimizer, given = torch.optim.SGD(model.parameters(), lr=0.1), [(x, x[:, :3].argmax(1))]
    found = postmortem.diagnose_training(model, given, nn.CrossEntropyLoss(reduction="sum"), None, optimizer, show=False).finding(
        "exploding-gradients"
    )
    assert found.causes[0].cause == "wrong-loss"
    averaged = postmortem.diagnose_training(model, given, nn.CrossEntropyLoss(), None, optimizer, show=False)
    assert averaged.finding("exploding-gradients").status == "absent"


def test_a_gradient_that_waits_for_the_first_update_does_not_vanish() -> None:
    """Of an adapter too small to learn the batch: its first matrix gets a gradient once its second is no longer zero."""
    torch.manual_seed(0)
    model, loader, criterion, _ = TRAININGS["adapters"]()
    found = postmortem.diagnose_training(
        model, loader, criterion, None, torch.optim.SGD([model.lora_A.weight, model.lora_B.weight], lr=1e-4), show=False
    )
    assert found.finding("vanishing-gradients").status != "present"
