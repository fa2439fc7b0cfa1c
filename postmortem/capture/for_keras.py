"""The recorder as a callback of Keras."""

import math
from collections.abc import Sequence
from typing import Any

from postmortem.capture.recorder import Recorder
from postmortem.capture.samples import drawn, figures
from postmortem.capture.watching import MOST_HISTOGRAMS, MOST_PARAMETERS, described, ratios, spread


def callback(recorder: Recorder) -> Any:
    """Records Keras' running means of each batch, the logs of each epoch and the learning rate; on sampled steps the weights and how far an update
    moved them, and on the torch backend, where a step leaves them, the gradients before any clipping. Activations are not seen from a callback."""
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
            self.before: tuple[Any, ...] | None = None

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.before = None
            if recorder.sampled():
                recorder.carefully(self._remember)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            values = {f"running_{k}": v for k, v in (logs or {}).items()}
            if self.before is not None:
                recorder.carefully(lambda: values.update(self._look()))
            recorder.step(epoch=self.epoch, lr=self._rate(), **values)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            recorder.log(**{k if k.startswith("val_") else f"epoch_{k}": v for k, v in (logs or {}).items()})

        def _rate(self) -> float | None:
            optimizer = getattr(self.model, "optimizer", None)
            return None if optimizer is None else float(keras.ops.convert_to_numpy(optimizer.learning_rate))

        def _variables(self) -> list[Any]:
            return spread([v for v in self.model.trainable_variables if math.prod(v.shape)], MOST_PARAMETERS)

        def _remember(self) -> None:
            self.before = drawn(_tensors(self._variables()))

        def _look(self) -> dict[str, float]:
            """Writes what the step did to each variable; the norm of all gradients, where they are seen."""
            variables = self._variables()
            names, tensors = [v.path for v in variables], _tensors(variables)
            grads = [(n, t, t.grad) for n, t in zip(names, tensors, strict=True) if t.grad is not None]
            norm: dict[str, float] = {}
            if grads:
                found = figures([g for _, _, g in grads], frozenset(spread(range(len(grads)), MOST_HISTOGRAMS)))
                norm = {"grad_norm": math.sqrt(math.fsum(float(n) ** 2 for n in found.norm))} if len(variables) < MOST_PARAMETERS else {}
                record = described("gradients", [n for n, _, _ in grads], found)
                record["v"]["axes"] = [float(t.dim()) for _, t, _ in grads]
                missing = [(n, float(at)) for at, (n, t) in enumerate(zip(names, tensors, strict=True), 1) if t.grad is None]
                apart = {"what": "gradients", "names": [n for n, _ in missing], "v": {"missing": [at for _, at in missing]}}
                recorder.layers(record, *([apart] if missing else []))
            shown = figures(tensors, frozenset(spread(range(len(tensors)), MOST_HISTOGRAMS)))
            moved = ratios(self.before or (), drawn(tensors))
            recorder.layers(
                described("weights", names, shown), {"what": "updates", "names": names, "v": {"ratio": moved, "held": [1.0] * len(names)}}
            )
            return norm

    def _tensors(variables: Sequence[Any]) -> list[Any]:
        """The variables' values: the very tensors on the torch backend, else copies on the host."""
        if keras.backend.backend() == "torch":
            return [v.value for v in variables]
        import torch

        return [torch.from_numpy(keras.ops.convert_to_numpy(keras.ops.cast(v.value, "float32"))) for v in variables]

    return PostmortemCallback()


def _named(loss: Any) -> str:
    """The name of a loss that may be a text, a function or an object."""
    return loss if isinstance(loss, str) else str(getattr(loss, "name", "") or getattr(loss, "__name__", type(loss).__name__))
