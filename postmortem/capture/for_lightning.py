"""The recorder as a callback of Lightning's Trainer."""

import sys
from typing import Any

from postmortem.capture.recorder import Recorder


def callback(recorder: Recorder) -> Any:
    """Records every step's loss, what the module logs at validation, batches, and the exception that ends a fit."""
    if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
        from pytorch_lightning import Callback
    else:
        from lightning.pytorch import Callback

    class PostmortemCallback(Callback):  # type: ignore[misc]
        def on_train_start(self, trainer: Any, module: Any) -> None:
            recorder.configured({"hparams": dict(module.hparams), "max_epochs": trainer.max_epochs, "max_steps": trainer.max_steps,
                                 "precision": trainer.precision, "gradient_clip_val": trainer.gradient_clip_val})  # fmt: skip
            recorder.framework("lightning")
            # Loggers count batches that stepped; `global_step` counts the steps of every optimizer.
            recorder.at(getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step))
            self.stepped = trainer.global_step
            recorder.watch(module, *trainer.optimizers)

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            recorder.batch(batch, epoch=trainer.current_epoch)

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == self.stepped:
                return  # gradients are being accumulated
            self.stepped = trainer.global_step
            loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
            if loss is not None and module.automatic_optimization:
                loss = loss * trainer.accumulate_grad_batches  # by which Lightning divided it
            recorder.step(loss, epoch=trainer.current_epoch)

        def on_validation_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            if not trainer.sanity_checking:
                recorder.batch(batch, split="val")

        def on_validation_end(self, trainer: Any, module: Any) -> None:
            if not trainer.sanity_checking:
                recorder.log(**{k: v for k, v in trainer.callback_metrics.items() if "val" in k})

        def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
            recorder.exception(exception)

    return PostmortemCallback()
