"""postmortem: what failed in a training run, when, why, what to change, and where to restart.

`import postmortem` is cheap; everything heavy is imported when it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postmortem.batch.run import batch as batch
    from postmortem.capture.recorder import Recorder as Recorder
    from postmortem.model.diagnosis import Diagnosis as Diagnosis
    from postmortem.pipeline import analyze as analyze
    from postmortem.preflight.training import check_gradients as check_gradients
    from postmortem.preflight.training import diagnose_training as diagnose_training

__version__ = "0.1.0"
__all__ = ["Diagnosis", "Recorder", "__version__", "analyze", "batch", "check_gradients", "diagnose_training"]

_HOME = {
    "check_gradients": "postmortem.preflight.training",
    "diagnose_training": "postmortem.preflight.training",
    "Recorder": "postmortem.capture.recorder",
    "analyze": "postmortem.pipeline",
    "Diagnosis": "postmortem.model.diagnosis",
}


def __getattr__(name: str) -> Any:
    if name == "batch":
        from importlib import import_module

        return import_module("postmortem.batch")  # a package that can be called
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'postmortem' has no attribute {name!r}")
