"""Numbers of steps, which may lie on an accelerator: they are fetched for several steps at once, and nobody waits for them."""

from dataclasses import dataclass
from typing import Any

from postmortem.capture.samples import together

MOST = 8  # steps whose numbers are fetched together; as many again may come in before those of the first have to be there


@dataclass(slots=True)
class Step:
    """What was told of one step. `numbers` : floats, tensors of one on an accelerator, None for what is not known."""

    at: int
    time: float
    epoch: float | None
    samples: int
    numbers: dict[str, Any]


class Waiting:
    """Steps in their order. What is done for each at once is little: the rest is done for several of them together."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._far = False  # numbers of those lie on an accelerator
        self._coming: _Coming | None = None  # steps before those, whose numbers were sent for
        self._last_time: float | None = None  # of the last step that was handed out

    def add(self, step: Step) -> None:
        """Keep a step. Until somebody asks for a record, more may be told of it."""
        self._steps.append(step)
        for value in step.numbers.values():
            if _is_far(value):
                self._far = True

    def ready(self) -> dict[str, Any] | None:
        """A record that can be written now, as the file has it. An accelerator is waited for only once 2 · MOST steps are here."""
        if self._coming is None:
            if not self._far:
                return self._record(self._taken())
            if len(self._steps) < MOST:
                return None
            self._coming = _Coming(self._taken())
        return self._arrived() if len(self._steps) >= MOST or self._coming.here() else None

    def rest(self) -> list[dict[str, Any]]:
        """Records of all steps that are here, however long that takes; none are here any more."""
        out = [] if self._coming is None else [self._arrived()]
        if self._steps:
            self._coming = _Coming(self._taken())
            out.append(self._arrived())
        return out

    def _taken(self) -> list[Step]:
        steps, self._steps, self._far = self._steps, [], False
        return steps

    def _arrived(self) -> dict[str, Any]:
        """The record of the steps whose numbers were sent for."""
        assert self._coming is not None
        steps, self._coming = self._coming.read(), None
        return self._record(steps)

    def _record(self, steps: list[Step]) -> dict[str, Any]:
        """Those steps with step time and throughput, all their numbers being here."""
        told: dict[str, list[float | None]] = {}
        for place, step in enumerate(steps):
            numbers = step.numbers
            if self._last_time is not None:
                took = step.time - self._last_time
                numbers.setdefault("step_time", took)
                if step.samples and took > 0:
                    numbers.setdefault("throughput", step.samples / took)
            self._last_time = step.time
            for key, value in numbers.items():
                if value is not None:
                    if key not in told:
                        told[key] = [None] * len(steps)
                    told[key][place] = value
        out: dict[str, Any] = {"k": "steps", "s": [s.at for s in steps], "t": [s.time for s in steps], "v": told}
        if any(s.epoch is not None for s in steps):
            out["e"] = [s.epoch for s in steps]
        return out


class _Coming:
    """Steps whose far numbers are on their way to the host."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self._places = [(step.numbers, key) for step in steps for key, value in step.numbers.items() if _is_far(value)]
        self._values: Any = None  # on the host: float32, (places,)
        self._sent: Any = None  # an event of the stream that they come by; None where there is nothing to wait for
        if self._places:
            try:
                self._values, self._sent = sent([numbers[key] for numbers, key in self._places])
            except Exception:  # an assertion or a lost device ends everything there: the training meets it too, and is who raises it
                self._values = None

    def here(self) -> bool:
        """Whether nothing has to be waited for."""
        try:
            return self._sent is None or bool(self._sent.query())
        except Exception:  # as above
            return True

    def read(self) -> list[Step]:
        """The steps with their numbers; None for each that the device does not answer."""
        found: list[float | None] = [None] * len(self._places)
        if self._values is not None:
            try:
                if self._sent is not None:
                    self._sent.synchronize()
                found = self._values.tolist()
            except Exception:  # as above
                found = [None] * len(self._places)
        for (numbers, key), value in zip(self._places, found, strict=True):
            numbers[key] = value
        return self._steps


def sent(tensors: list[Any]) -> tuple[Any, Any]:
    """(the tensors' numbers, (n,) on the host, an event after which they are there). The event is None where they are there already:
    only CUDA's way to the host is one that nobody has to wait for."""
    import torch

    numbers = together([t.float() for t in tensors])
    if numbers.device.type != "cuda":
        return numbers.cpu(), None
    here = numbers.to("cpu", non_blocking=True)  # into pinned memory
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(numbers.device))
    return here, event


def unread(value: Any) -> Any:
    """A number, None, or a tensor that stays where it is: a copy, for the next step may write over the original."""
    if type(value) is float or value is None:
        return value
    if not hasattr(value, "detach"):
        return number(value)
    if not value.numel():
        return None
    if _on_host(value):
        return number(value.item() if value.numel() == 1 else value.detach().float().mean().item())
    return value.detach().float().mean() if value.dim() else value.detach().clone()


def _on_host(tensor: Any) -> bool:
    return bool(tensor.is_cpu)


def number(value: Any) -> float | None:
    """A value as a number, of several their mean; None for what is none."""
    if isinstance(value, str) or value is None:
        return None
    try:
        return float(value.mean() if getattr(value, "ndim", 0) else value)
    except (TypeError, ValueError):
        return None


def _is_far(value: Any) -> bool:
    """A number that still lies on an accelerator, of those that wait."""
    return type(value) is not float and value is not None
