"""The callbacks number steps and losses as their frameworks do; where these are not installed nothing is tried."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import postmortem
from postmortem.sources import read_run

pytestmark = pytest.mark.filterwarnings("default")  # of the frameworks themselves
BATCHES, EPOCHS = 20, 3


def loader() -> torch.utils.data.DataLoader:
    torch.manual_seed(0)
    x = torch.randn(BATCHES * 8, 8)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x[:, :3].argmax(1)), batch_size=8)


def curves(folder: Path) -> dict[str, dict[float, float]]:
    return {s.name: dict(zip(s.steps.tolist(), s.values.tolist(), strict=True)) for s in read_run([folder]).series}


@pytest.mark.parametrize(("manual", "accumulated"), [(False, 1), (True, 1), (False, 2)])
def test_lightning(tmp_path: Path, manual: bool, accumulated: int) -> None:
    """Two optimizers take one step between them; accumulated batches are one step, and their loss is the module's own."""
    lightning = pytest.importorskip("lightning.pytorch")
    losses: list[float] = []

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 3)
            self.automatic_optimization = not manual

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = nn.functional.cross_entropy(self.last(torch.relu(self.first(batch[0]))), batch[1])
            losses.append(loss.item())
            if manual:
                for optimizer in self.optimizers():
                    optimizer.zero_grad()
                self.manual_backward(loss)
                for optimizer in self.optimizers():
                    optimizer.step()
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", batch[0].mean())

        def configure_optimizers(self) -> Any:
            if manual:
                return [torch.optim.SGD(part.parameters(), 0.1) for part in (self.first, self.last)]
            return torch.optim.SGD(self.parameters(), 0.1)

    with postmortem.Recorder(tmp_path, every=10) as recorder:
        trainer = lightning.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=[recorder.for_lightning()], accumulate_grad_batches=accumulated,
        )  # fmt: skip
        trainer.fit(Module(), loader(), loader())
    steps = EPOCHS * BATCHES // accumulated
    told = curves(tmp_path)
    assert list(told["train/loss"]) == [float(s) for s in range(steps)]
    assert list(told["train/loss"].values()) == pytest.approx(losses[accumulated - 1 :: accumulated])
    assert list(told["gradients/first.weight/rms"]) == [s for s in (0.0, 1.0, 2.0, 4.0, 8.0, 10.0, 20.0, 30.0, 40.0, 50.0) if s < steps]
    assert "gradients/first.weight/missing" not in told
    assert list(told["val/loss"]) == [steps / EPOCHS * (n + 1) - 1 for n in range(EPOCHS)]


def test_accelerate(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    model = nn.Linear(8, 3)
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        accelerator = accelerate.Accelerator(log_with=recorder.for_accelerate(), cpu=True, gradient_accumulation_steps=2)
        accelerator.init_trackers("exp1", config={"batch_size": 8})
        model, optimizer, batches = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), loader())
        recorder.watch(model, optimizer)
        step = 0
        for epoch in range(EPOCHS):
            for x, y in batches:
                with accelerator.accumulate(model):
                    recorder.batch(x, y, epoch=epoch)
                    loss = nn.functional.cross_entropy(model(x), y)
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                if accelerator.sync_gradients:
                    accelerator.log({"train_loss": loss.item()}, step=step)
                    step += 1
            accelerator.log({"val_loss": 1.0}, step=step - 1)
        accelerator.end_training()
    run, told = read_run([tmp_path]), curves(tmp_path)
    assert {s.key: s.value for s in run.settings}["batch_size"] == 8
    assert list(told["train/loss"]) == [float(s) for s in range(EPOCHS * BATCHES // 2)]
    assert list(told["val/loss"]) == [9.0, 19.0, 29.0]
    assert told["lr"][29.0] == 0.1
    assert told["updates/weight/ratio"][20.0] > 0
    assert run.outcome == "finished"
