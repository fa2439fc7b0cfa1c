"""Are gradients set to zero before they are computed anew? Asked of one parameter, as its gradient arrives."""

from typing import Any

from postmortem.capture.samples import local, norm, together


class Leftover:
    """From right after one update to the next. Batches that are accumulated, or other losses, find gradients of the same update there: that
    nothing was left of the last one is told by a single backward that finds none."""

    def __init__(self, name: str, parameter: Any) -> None:
        self.name, self._parameter = name, parameter
        self._met: list[Any] = []  # norms of what was there as a gradient arrived
        self._cleared = False
        self._hook = self._parameter.register_hook(self._arriving)

    def _arriving(self, _: Any) -> None:
        there = self._parameter.grad
        if there is None:
            self._cleared = True
        elif not self._cleared:
            try:
                self._met.append(norm(local(there)))
            except Exception:  # a training goes on from here
                self.remove()

    def share(self) -> float | None:
        """How much was left, as a share of the gradient that the update gets; None where no gradient came."""
        there = self._parameter.grad
        if there is None or not (self._cleared or self._met):
            return None
        if self._cleared:
            return 0.0
        *met, now = together([*self._met, norm(local(there))]).tolist()
        return float(min(met) / now) if now > 0 else None

    def remove(self) -> None:
        """No more is asked."""
        self._hook.remove()


def asked(model: Any, optimizer: Any) -> tuple[str, Any] | None:
    """The smallest parameter that the optimizer holds, and its name; None where it holds none that could be asked."""
    import torch

    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    held = [(n, p) for n, p in model.named_parameters() if id(p) in own and not torch.nn.parameter.is_lazy(p)]
    named = [(n, p) for n, p in held if p.requires_grad and p.is_leaf and p.is_floating_point() and p.numel()]
    return min(named, key=lambda one: one[1].numel(), default=None)
