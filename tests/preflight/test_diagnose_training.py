"""Planted faults are named, a healthy training is not accused, every kind of batch and model is understood."""

from pathlib import Path

import pytest
import torch
from planted_faults import FAULTS, Net, healthy, planted, shuffled_labels
from torch import nn

import postmortem
from postmortem.errors import UsageError
from postmortem.model.codec import load
from postmortem.model.diagnosis import Diagnosis


def look(t, **more) -> Diagnosis:
    return postmortem.diagnose_training(t.model, [(t.x, t.y)], t.criterion, "cpu", t.optimizer, show=False, **more)


@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name: str) -> None:
    verdict = look(planted(name)).verdict
    assert (verdict.mode, verdict.cause) == FAULTS[name][1:]
    assert verdict.severity in ("serious", "fatal")


def test_a_healthy_training_is_healthy() -> None:
    diagnosis = look(healthy())
    assert diagnosis.verdict.mode == "healthy"
    assert diagnosis.verdict.severity is None
    assert not [f.mode for f in diagnosis.findings if f.status in ("present", "crashed")]


def test_shuffled_labels_cannot_be_told_and_it_says_so() -> None:
    t = healthy()
    shuffled_labels(t)
    diagnosis = look(t)
    assert diagnosis.verdict.mode == "healthy"
    assert "Whether labels are right, one batch cannot tell" in str(diagnosis.verdict.summary)
    assert any("shuffled" in str(s) for s in diagnosis.run.assumed)
    told = {f.mode: f for f in diagnosis.findings}
    assert told["overfitting"].status == "not-measured"
    assert "one batch" in str(told["overfitting"].summary)


def test_a_small_rate_is_no_fault() -> None:
    t = healthy()
    t.optimizer = torch.optim.AdamW(t.model.parameters(), lr=1e-5)
    diagnosis = look(t)
    assert diagnosis.verdict.mode in ("healthy", "inconclusive")
    found = next(f for f in diagnosis.findings if f.mode == "loss-not-decreasing")
    assert found.severity == "minor"
    assert "slowly at this rate" in str(found.summary)


def test_a_warmup_that_begins_at_zero_is_left_out() -> None:
    t = healthy()
    torch.optim.lr_scheduler.LambdaLR(t.optimizer, lambda step: step / 100)
    assert t.optimizer.param_groups[0]["lr"] == 0.0
    diagnosis = look(t)
    assert diagnosis.verdict.mode == "healthy"
    assert any("warm-up" in str(s) for s in diagnosis.run.assumed)
    assert t.optimizer.param_groups[0]["lr"] == 0.0


def test_what_the_model_raises_is_a_finding() -> None:
    t = healthy()
    t.x = t.x[:, :-1]
    verdict = look(t).verdict
    assert (verdict.mode, verdict.cause) == ("crash", "python-error")
    assert "shapes cannot be multiplied" in str(verdict.summary)


def test_a_crash_names_the_callers_code_and_no_warning_about_the_inputs_hides_it() -> None:
    t = healthy()
    t.x = (t.x * 60 + 128).clamp(0, 255).to(torch.uint8)
    diagnosis = look(t)
    assert diagnosis.verdict.mode == "crash"
    assert "planted_faults.py" in str(diagnosis.verdict.summary)
    assert "preflight/calling.py" not in diagnosis.to_json()
    assert diagnosis.finding("crash").consequence_of is None


def test_probabilities_are_no_fault_where_the_loss_takes_them() -> None:
    t = healthy()
    t.model = nn.Sequential(t.model, nn.LogSoftmax(1))
    t.optimizer, t.criterion = torch.optim.AdamW(t.model.parameters(), lr=1e-3), nn.NLLLoss()
    assert look(t).verdict.mode == "healthy"


def test_the_module_that_first_makes_nan_is_named() -> None:
    class Breaks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.log(x)

    t = healthy()
    t.model = nn.Sequential(nn.Linear(20, 16), Breaks(), nn.Linear(16, 5))
    t.optimizer = torch.optim.SGD(t.model.parameters(), lr=0.1)
    verdict = look(t).verdict
    assert verdict.mode == "non-finite"
    assert "come out of 1 (Breaks)" in str(verdict.summary)


def test_saturated_sigmoids_vanish() -> None:
    t = healthy()
    layers = [layer for _ in range(12) for layer in (nn.Linear(32, 32), nn.Sigmoid())]
    t.model = nn.Sequential(nn.Linear(20, 32), nn.Sigmoid(), *layers, nn.Linear(32, 5))
    t.optimizer = torch.optim.SGD(t.model.parameters(), lr=0.1)
    assert look(t, steps=30).verdict.mode == "vanishing-gradients"


def test_a_module_that_does_not_run_is_minor() -> None:
    t = healthy()
    t.model.spare = nn.Linear(3, 3)
    t.optimizer = torch.optim.AdamW(t.model.parameters(), lr=1e-3)
    diagnosis = look(t)
    assert diagnosis.verdict.mode == "healthy"
    assert diagnosis.verdict.severity == "minor"
    assert "did not run" in str(diagnosis.verdict.summary)


# --- shapes of batches, models and criteria -------------------------------------------------------------------------


class Dictionary(nn.Module):
    """Takes names, returns a loss beside logits when it is given labels: as transformers' models do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.net(x)
        return {"logits": logits} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def test_a_mapping_and_a_model_that_returns_its_loss() -> None:
    t, model = healthy(), Dictionary()
    diagnosis = postmortem.diagnose_training(model, [{"x": t.x, "labels": t.y}], show=False)
    assert diagnosis.verdict.mode == "healthy"
    assert diagnosis.chance["classes"] == 5


def test_a_mapping_with_a_criterion() -> None:
    t, model = healthy(), Dictionary()
    assert postmortem.diagnose_training(model, [{"x": t.x, "labels": t.y}], nn.CrossEntropyLoss(), show=False).verdict.mode == "healthy"


def test_labels_out_of_range_of_a_model_that_returns_its_loss() -> None:
    t, model = healthy(), Dictionary()
    model.config = type("Config", (), {"num_labels": 5})()
    verdict = postmortem.diagnose_training(model, [{"x": t.x, "labels": t.y + 3}], show=False).verdict
    assert verdict.mode == "data-fault"


def test_several_losses_are_summed() -> None:
    t = healthy()

    def losses(outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"ce": nn.functional.cross_entropy(outputs, labels), "l2": outputs.pow(2).mean() * 1e-3}

    t.criterion = losses
    diagnosis = look(t)
    assert diagnosis.verdict.mode == "healthy"


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.size = Net(), nn.Linear(20, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.net(x), self.size(x)


@pytest.mark.parametrize("returned", ["tuple", "list", "mapping", "total first", "total last", "told beside"])
def test_every_one_of_several_losses_is_learned(returned: str) -> None:
    t = healthy()

    def losses(outputs: tuple[torch.Tensor, torch.Tensor], labels: tuple[torch.Tensor, torch.Tensor]) -> object:
        kind, size = nn.functional.cross_entropy(outputs[0], labels[0]), nn.functional.mse_loss(outputs[1], labels[1])
        total = kind + 0.5 * size
        return {
            "tuple": (kind, size),
            "list": [kind, size],
            "mapping": {"kind": kind, "size": size},
            "total first": (total, kind, size),
            "total last": {"kind": kind, "size": size, "objective": total},
            "told beside": (total, kind.detach(), size.detach(), {"lr": 0.1}),
        }[returned]

    labels = (t.y, t.x[:, :1])
    diagnosis = postmortem.diagnose_training(Heads(), [(t.x, labels)], losses, show=False, steps=30)
    assert not [f.mode for f in diagnosis.findings if f.status == "present"]


def test_a_regression_and_no_optimizer() -> None:
    t = healthy()
    model = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 1))
    diagnosis = postmortem.diagnose_training(model, [(t.x, t.x[:, :1] * 2)], nn.MSELoss(), show=False)
    assert diagnosis.verdict.mode == "healthy"
    assert diagnosis.run.hyperparameters.get("optimizer") is None


def test_bfloat16_autocast() -> None:
    assert look(healthy(), autocast=torch.bfloat16).verdict.mode == "healthy"


def test_token_ids_are_not_unscaled_inputs() -> None:
    torch.manual_seed(0)

    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(500, 32)
            self.head = nn.Linear(32, 500)

        def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
            logits = self.head(self.embed(input_ids))
            return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}

    ids = torch.randint(0, 500, (4, 16))
    diagnosis = postmortem.diagnose_training(Language(), [{"input_ids": ids, "labels": ids}], show=False)
    assert next(f for f in diagnosis.findings if f.mode == "data-fault").status == "absent"
    assert diagnosis.verdict.mode != "data-fault"


def test_an_empty_loader_and_no_loss_are_errors_of_the_caller() -> None:
    t = healthy()
    with pytest.raises(UsageError, match="no batch"):
        postmortem.diagnose_training(t.model, [], t.criterion, show=False)
    with pytest.raises(UsageError, match="no loss"):
        postmortem.diagnose_training(t.model, [t.x], None, show=False)


# --- the document ---------------------------------------------------------------------------------------------------


def test_it_is_a_document_like_any_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    t = planted("dead")
    diagnosis = postmortem.diagnose_training(t.model, [(t.x, t.y)], t.criterion, "cpu", t.optimizer)
    assert "Dead units" in capsys.readouterr().out
    html = diagnosis.to_html()
    assert html.startswith("<!DOCTYPE html>")
    assert load(diagnosis.to_json()).to_html() == html


def test_what_was_looked_at_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Each number against what torch says of the same batch."""
    t = healthy()
    t.model.last.bias.requires_grad = False
    t.optimizer = torch.optim.SGD([p for p in t.model.parameters() if p.requires_grad], lr=0.5)
    diagnosis = postmortem.diagnose_training(t.model, [(t.x, t.y)], t.criterion, "cpu", t.optimizer)
    told = " ".join(capsys.readouterr().out.replace("•", "").split())
    assert all(" ".join(str(s).split()) in told for s in diagnosis.run.assumed)
    counts = torch.bincount(t.y)
    t.criterion(t.model(t.x), t.y).backward()
    grad, weight = t.model.first.weight.grad, t.model.first.weight.detach()
    moved = {n: float(0.5 * p.grad.norm() / p.detach().norm()) for n, p in t.model.named_parameters() if p.requires_grad}
    for sentence in (
        "The model has 1,669 parameters, 1,664 of them trainable.",
        "Frozen parameter tensors (1): last.bias.",
        f"The inputs have the shape (64, 20) and are float32: from {float(t.x.min()):.4g} to {float(t.x.max()):.4g}, mean {float(t.x.mean()):.4g},",
        f"The labels have the shape (64,) and are int64; class × number: {int(counts.argmax())} × {int(counts.max())},",
        f"first.weight: gradient of norm {float(grad.norm()):.2g}, from {float(grad.min()):.2g} to {float(grad.max()):.2g},",
        "The outputs have the shape (64, 5)",
    ):
        assert sentence in told, sentence
    ratio = next(s.values for s in diagnosis.run.assumed if "first update" in str(s))
    assert ratio["n"] == 3
    assert ratio["high"] == pytest.approx(max(moved.values()), rel=0.3)  # of some elements of each tensor
    assert weight.norm() > 0


def test_gradients_of_the_last_backward() -> None:
    t = healthy()
    t.criterion(t.model(t.x), t.y).backward()
    before = [p.grad.clone() for p in t.model.parameters()]
    fine = postmortem.check_gradients(t.model, show=False)
    assert not [f for f in fine.findings if f.status == "present"]
    assert all(torch.equal(a, p.grad) for a, p in zip(before, t.model.parameters(), strict=True))
    scaled = [p.grad.mul_(2.0**16) for p in t.model.parameters()]
    assert [f.mode for f in postmortem.check_gradients(t.model, show=False).findings if f.status == "present"] == ["exploding-gradients"]
    assert not [f for f in postmortem.check_gradients(t.model, scale=2.0**16, show=False).findings if f.status == "present"]
    for grad in scaled:
        grad.div_(2.0**16)
    t.model.first.weight.grad = None
    cut = postmortem.check_gradients(t.model, show=False)
    assert cut.verdict.mode == "frozen-parameters"
    t.model.first.weight.grad = torch.full_like(t.model.first.weight, float("nan"))
    assert postmortem.check_gradients(t.model, show=False).verdict.mode == "non-finite"
    t.model.zero_grad()
    with pytest.raises(UsageError, match="after backward"):
        postmortem.check_gradients(t.model, show=False)
