"""The recorder as a callback of Keras."""

from typing import Any

from postmortem.capture.recorder import Recorder


def callback(recorder: Recorder) -> Any:
    """Records Keras' running means of each batch, the logs of each epoch, the learning rate and the sizes of the weights."""
    import keras

    class PostmortemCallback(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: Any = None) -> None:
            optimizer = getattr(self.model, "optimizer", None)
            config = optimizer.get_config() if optimizer is not None else {}
            plain = {k: v for k, v in config.items() if isinstance(v, int | float | str | bool) and k != "name"}
            given = self.params or {}
            fit = {"epochs": given.get("epochs"), "steps_per_epoch": given.get("steps")}
            told = {"optimizer": config.get("name", ""), "loss": _named(getattr(self.model, "loss", "")), **plain}
            recorder.configured({"backend": keras.backend.backend(), **fit, **told, "parameters": int(self.model.count_params())})
            recorder.framework("keras")
            self.epoch = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            values = dict(logs or {})
            recorder.step(epoch=self.epoch, lr=self._rate(), **{f"running_{k}": v for k, v in values.items()})

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            recorder.log(**{k if k.startswith("val_") else f"epoch_{k}": v for k, v in (logs or {}).items()})

        def _rate(self) -> float | None:
            optimizer = getattr(self.model, "optimizer", None)
            return None if optimizer is None else float(keras.ops.convert_to_numpy(optimizer.learning_rate))

    return PostmortemCallback()


def _named(loss: Any) -> str:
    """The name of a loss that may be a text, a function or an object."""
    return loss if isinstance(loss, str) else str(getattr(loss, "name", "") or getattr(loss, "__name__", type(loss).__name__))
