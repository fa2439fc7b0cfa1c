"""What goes wrong while recording ends the recording and never the training."""

import functools
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias

if TYPE_CHECKING:
    from postmortem.capture.recorder import Recorder

P = ParamSpec("P")
Method: TypeAlias = "Callable[Concatenate[Recorder, P], None]"

_forks = 0  # between the process that was started and this one


def forks() -> int:
    """Tells a process from those it was forked from, without asking the system."""
    return _forks


def _forked() -> None:
    global _forks  # noqa: PLW0603  # it is the process's
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _guarded(method: "Method[P]", *, even_failed: bool) -> "Method[P]":
    @functools.wraps(method)
    def guarded(self: "Recorder", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self._forks != _forks or (self.failed and not even_failed):
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            _ended(self, error)

    return guarded


def quiet(method: "Method[P]") -> "Method[P]":
    """What goes wrong while recording ends the recording, with one warning, and not the training."""
    return _guarded(method, even_failed=False)


def last_words(method: "Method[P]") -> "Method[P]":
    """The same for how it ended, which is written even when recording failed before: a device that died may have been why."""
    return _guarded(method, even_failed=True)


def _ended(self: "Recorder", error: Exception) -> None:
    if not self.failed:
        self.failed = True
        warnings.warn(f"postmortem records no more: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=3)
