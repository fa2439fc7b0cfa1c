"""What goes wrong while recording ends the recording and never the training."""

import functools
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec

if TYPE_CHECKING:
    from postmortem.capture.recorder import Recorder

P = ParamSpec("P")


def quiet(method: "Callable[Concatenate[Recorder, P], None]") -> "Callable[Concatenate[Recorder, P], None]":
    """What goes wrong while recording ends the recording, with one warning, and not the training."""

    @functools.wraps(method)
    def guarded(self: "Recorder", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.failed or self._pid != os.getpid():
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            _ended(self, error)

    return guarded


def last_words(method: "Callable[Concatenate[Recorder, P], None]") -> "Callable[Concatenate[Recorder, P], None]":
    """The same for how it ended, which is written even when recording failed before: a device that died may have been why."""

    @functools.wraps(method)
    def guarded(self: "Recorder", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self._pid != os.getpid():
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            _ended(self, error)

    return guarded


def _ended(self: "Recorder", error: Exception) -> None:
    if not self.failed:
        self.failed = True
        warnings.warn(f"postmortem records no more: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=3)
