"""The check on a GPU: it finds what it finds on the host, and leaves the training and its device as they were."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from planted_faults import FAULTS, Training, healthy, planted
from torch import nn

import postmortem
from postmortem.errors import UsageError
from postmortem.model.diagnosis import Diagnosis

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def on_gpu(t: Training) -> Training:
    """The training with its parameters moved; its optimizer holds the same ones."""
    t.model.cuda()
    t.x, t.y = t.x.cuda(), t.y.cuda()
    return t


def look(t: Training, device: str | None = None, **more) -> Diagnosis:
    return postmortem.diagnose_training(t.model, [(t.x, t.y)], t.criterion, device, t.optimizer, show=False, **more)


@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name: str) -> None:
    verdict = look(planted(name), "cuda").verdict  # the model itself stays on the host
    assert (verdict.mode, verdict.cause) == FAULTS[name][1:]
    torch.cuda.synchronize()  # and the device still answers


def test_a_healthy_training_is_healthy() -> None:
    t = on_gpu(healthy())
    diagnosis = look(t)
    assert (diagnosis.verdict.mode, diagnosis.verdict.severity) == ("healthy", None)
    t.criterion(t.model(t.x), t.y).backward()
    assert not [f for f in postmortem.check_gradients(t.model, show=False).findings if f.status == "present"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision(dtype: torch.dtype) -> None:
    diagnosis = look(on_gpu(healthy()), autocast=dtype)
    assert (diagnosis.verdict.mode, diagnosis.verdict.severity) == ("healthy", None)


@pytest.mark.parametrize("ids", [[0, 499, 500], [0, -1, 3]])
def test_an_index_beyond_the_embedding_does_not_cost_the_device(ids: list[int]) -> None:
    model = nn.Sequential(nn.Embedding(500, 8), nn.Flatten(), nn.Linear(24, 2)).cuda()
    batch = (torch.tensor([ids]).cuda(), torch.zeros(1, dtype=torch.long).cuda())
    verdict = postmortem.diagnose_training(model, [batch], nn.CrossEntropyLoss(), show=False).verdict
    assert (verdict.mode, verdict.cause) == ("crash", "python-error")
    assert "out of range" in str(verdict.summary)
    torch.cuda.synchronize()
    assert model[2](torch.ones(1, 24, device="cuda")).shape == (1, 2)


def test_memory_that_runs_out_is_a_finding() -> None:
    t = on_gpu(healthy())

    def criterion(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, labels) + torch.empty(1 << 42, device="cuda").sum()

    t.criterion = criterion
    verdict = look(t).verdict
    assert (verdict.mode, verdict.cause) == ("crash", "out-of-memory")


def test_no_room_for_a_copy_is_said_and_the_host_has_some() -> None:
    t = on_gpu(healthy())
    t.model.register_parameter("large", nn.Parameter(torch.zeros(1 << 28, device="cuda"), requires_grad=False))  # 1 GiB
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (1 << 29)) / total)
        with pytest.raises(UsageError, match="no room on cuda"):
            look(t)
        assert look(t, "cpu", steps=10).verdict.mode != "crash"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert t.model.large.is_cuda


DIES = """
import torch, postmortem
from torch import nn

class Picks(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x)[:, torch.tensor([7], device=x.device)].squeeze(1)

model = Picks().cuda()
batch = (torch.randn(8, 4), torch.randn(8))
found = postmortem.diagnose_training(model, [batch], nn.MSELoss(), "cuda", show=False)
print(found.verdict.mode, found.verdict.cause)
"""


def test_an_assertion_of_the_device_is_a_finding(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DIES], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.stdout.split() == ["crash", "device-assert"], done.stderr[-1500:]
