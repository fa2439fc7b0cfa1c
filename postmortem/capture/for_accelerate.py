"""The recorder as a tracker of Accelerate."""

from typing import Any

from postmortem.capture.recorder import Recorder


def tracker(recorder: Recorder) -> Any:
    """For `Accelerator(log_with=…)`: takes what `accelerator.init_trackers(config=…)` and `accelerator.log(…)` hand over."""
    from accelerate.tracking import GeneralTracker

    class PostmortemTracker(GeneralTracker):  # type: ignore[misc]
        name = "postmortem"
        requires_logging_directory = False
        main_process_only = True

        def __init__(self) -> None:
            super().__init__()

        @property
        def tracker(self) -> Recorder:
            return recorder

        def start(self) -> None:
            """Nothing to start: the file is open."""

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            recorder.configured(values)

        def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
            trained = any("loss" in key and not key.startswith(("val", "eval", "test")) for key in values)
            if step is not None and trained:
                recorder.step(step=step, **values)
            else:
                recorder.log(step, **values)

        def finish(self) -> None:
            recorder.close()

    return PostmortemTracker()
