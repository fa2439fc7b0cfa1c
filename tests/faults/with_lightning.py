"""The same plans in Lightning: its loop, its loggers, its progress bar, its checkpoints."""

import contextlib
import logging
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

from tests.faults.configured import settings
from tests.faults.plan import Plan, Row, Trace
from tests.faults.style import Style
from tests.faults.train import Loop, at_home, prepared


class Module(lightning.LightningModule):
    def __init__(self, loop: Loop, style: Style) -> None:
        super().__init__()
        self.save_hyperparameters(settings(loop.plan, "lr"))
        self.model, self.loop, self.style = loop.model, loop, style

    def training_step(self, batch, index):
        loop = self.loop
        loop.step = self.global_step
        loss, right = loop.loss(*loop.accident(*batch))
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        if not math.isnan(right):
            self.log("train_acc", right, on_step=False, on_epoch=True)
        values = {"loss": loss.item(), "lr": loop.optimizer.param_groups[0]["lr"]}
        loop.trace.rows.append(Row(self.global_step, self.current_epoch + 1, values))
        return loss

    def validation_step(self, batch, index):
        loss, right = self.loop.loss(*batch, evaluating=True)
        self.log("val_loss", loss, prog_bar=True)
        if not math.isnan(right):
            self.log("val_acc", right, prog_bar=True)

    def on_before_optimizer_step(self, optimizer):
        if self.style.norm:
            self.log("grad_norm", torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None]))

    def optimizer_zero_grad(self, *at):
        if not self.loop.plan.has("no_zero_grad"):
            super().optimizer_zero_grad(*at)

    def optimizer_step(self, epoch, batch, optimizer, optimizer_closure=None):
        if self.loop.plan.has("no_step"):
            optimizer_closure()
            self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.increment_completed()  # the step is counted all the same
        else:
            super().optimizer_step(epoch, batch, optimizer, optimizer_closure)

    def configure_optimizers(self):
        loop = self.loop
        share = (lambda step: loop.rate(step) / loop.plan.lr) if loop.plan.lr else (lambda step: 0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(loop.optimizer, share)
        return {"optimizer": loop.optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Means(Callback):
    """An epoch's means into the trace."""

    def on_train_epoch_end(self, trainer, module):
        seen = {k: float(v) for k, v in trainer.callback_metrics.items()}
        values = {"train_loss": seen["train_loss_epoch"], "val_loss": seen["val_loss"]}
        values |= {k: seen[k] for k in ("train_acc", "val_acc") if k in seen}
        module.loop.trace.rows.append(Row(trainer.global_step, trainer.current_epoch + 1, values, of_epoch=True))


@contextlib.contextmanager
def spoken(to: TextIO) -> Iterator[None]:
    """What Lightning says of itself goes to the run's log."""
    handlers = [h for h in logging.getLogger("lightning.pytorch").handlers if isinstance(h, logging.StreamHandler)]
    before = [h.setStream(to) for h in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)


def run(plan: Plan, style: Style, start: int = 0) -> Trace:
    loop = prepared(plan, start)
    trace, task = loop.trace, loop.task
    trace.left = Path(tempfile.mkdtemp())
    lightning.seed_everything(plan.seed + 7919 * start, verbose=False)
    logger = {"lightning csv": CSVLogger, "lightning events": TensorBoardLogger}.get(style.log)
    callbacks = [Means()]
    if style.log == "lightning bar":
        callbacks.append(TQDMProgressBar(refresh_rate=style.every))
    elif style.rate:
        callbacks.append(LearningRateMonitor("step"))
    if style.checkpoints != "none":
        callbacks.append(ModelCheckpoint(save_top_k=-1, every_n_epochs=max(1, plan.epochs // 4)))
    if plan.has("guard"):
        callbacks.append(EarlyStopping("train_loss_epoch", patience=plan.epochs, check_finite=True, check_on_train_epoch_end=True))
    ordered = plan.has("sorted") or plan.has("same_batch")
    train = DataLoader(TensorDataset(task.x, task.y), plan.batch_size, shuffle=not ordered, drop_last=len(task.x) % plan.batch_size == 1)
    with at_home(trace) as log, spoken(log):
        lightning.Trainer(
            max_epochs=plan.epochs,
            accelerator="cpu",
            logger=logger(".", name="lightning_logs") if logger else False,
            callbacks=callbacks,
            log_every_n_steps=style.every,
            gradient_clip_val=plan.grad_clip,
            enable_progress_bar=style.log == "lightning bar",
            enable_checkpointing=style.checkpoints != "none",
            num_sanity_val_steps=0,
            default_root_dir=os.curdir,
        ).fit(Module(loop, style), train, DataLoader(TensorDataset(task.x_val, task.y_val), 120))
    return trace
