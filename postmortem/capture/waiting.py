"""Numbers of steps, which may wait on an accelerator until those of many steps are fetched in one transfer."""

from dataclasses import dataclass
from typing import Any

from postmortem.capture.samples import together

MOST = 16  # steps that wait at most


@dataclass(slots=True)
class Step:
    """What was told of one step. `numbers` : floats, tensors of one on an accelerator, None for what is not known."""

    at: int
    time: float
    epoch: float | None
    samples: int
    numbers: dict[str, Any]


class Waiting:
    """Steps in their order. What is done for each at once is little: the rest is done for all of them together."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._last_time: float | None = None  # of the step before them

    def add(self, step: Step) -> bool:
        """Keep a step; whether it is time to ask for the `record`."""
        self.steps.append(step)
        return len(self.steps) >= MOST or not any(map(_is_far, step.numbers.values()))

    def record(self) -> dict[str, Any]:
        """The steps that waited, all their far numbers fetched, with step time and throughput, as the file has them. None wait any more."""
        steps, self.steps = self.steps, []
        far = [(step.numbers, key) for step in steps for key, value in step.numbers.items() if _is_far(value)]
        for (numbers, key), value in zip(far, _fetched([numbers[key] for numbers, key in far]), strict=True):
            numbers[key] = value
        for step in steps:
            if self._last_time is not None:
                took = step.time - self._last_time
                step.numbers.setdefault("step_time", took)
                if step.samples and took > 0:
                    step.numbers.setdefault("throughput", step.samples / took)
            self._last_time = step.time
        out: dict[str, Any] = {"k": "steps", "s": [s.at for s in steps], "t": [s.time for s in steps]}
        if any(s.epoch is not None for s in steps):
            out["e"] = [s.epoch for s in steps]
        out["v"] = {
            key: [s.numbers.get(key) for s in steps] for key in dict.fromkeys(k for s in steps for k, v in s.numbers.items() if v is not None)
        }
        return out


def unread(value: Any) -> Any:
    """A number, None, or a tensor that stays where it is: a copy, for the next step may write over the original."""
    if type(value) is float or value is None:
        return value
    if not hasattr(value, "detach"):
        return number(value)
    value = value.detach()
    if _on_host(value):
        return float(value if value.numel() == 1 else value.float().mean())
    return value.float().mean() if value.dim() else value.clone()


def _on_host(tensor: Any) -> bool:
    return bool(tensor.device.type == "cpu")


def number(value: Any) -> float | None:
    """A value as a number; None for what is none."""
    if isinstance(value, str) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _is_far(value: Any) -> bool:
    """A number that still lies on an accelerator, of those that wait."""
    return type(value) is not float and value is not None


def _fetched(tensors: list[Any]) -> list[float | None]:
    """Numbers of an accelerator, in one transfer; None for each where it does not answer: an assertion or a lost device ends everything there."""
    if not tensors:
        return []
    try:
        return list(together([v.float() for v in tensors]).tolist())
    except Exception:  # the training meets it too, and is who raises it
        return [None] * len(tensors)
