"""The recorder as a callback of transformers' Trainer."""

from typing import Any

from postmortem.capture.recorder import Recorder

# Counters, and the rate that every step records.
SKIPPED = frozenset({"epoch", "step", "total_flos", "learning_rate"})


def callback(recorder: Recorder) -> Any:
    """Records what the Trainer logs, the model between its steps, and batches where the Trainer shows its loader."""
    from transformers import TrainerCallback

    class PostmortemCallback(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            recorder.configured({"training": args.to_sanitized_dict(), "max_steps": state.max_steps, "num_train_epochs": state.num_train_epochs})
            optimizer = kwargs.get("optimizer")
            recorder.framework("transformers")
            recorder.norms = False
            recorder.at(state.global_step)
            if model is not None:
                recorder.watch(model, *([] if optimizer is None else [optimizer]))
                self.handle = model.register_forward_pre_hook(self._forward, with_kwargs=True)

        def _forward(self, module: Any, args: Any, kwargs: Any) -> None:
            if kwargs or args:
                recorder.batch(dict(kwargs) if kwargs else args, split="train" if module.training else "val")

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            recorder.step(step=state.global_step - 1, epoch=state.epoch)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            recorder.log(step=state.global_step, **{k: v for k, v in (logs or {}).items() if k not in SKIPPED})

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if getattr(self, "handle", None) is not None:
                self.handle.remove()

    return PostmortemCallback()
