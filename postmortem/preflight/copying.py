"""A copy of a training to try things on, and random states that are as before afterwards."""

import copy
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from postmortem.errors import UsageError

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")


def private_copy(model: Any, criterion: Any, optimizer: Any, where: Any) -> tuple[Any, Any, Any]:
    """Model, criterion and optimizer copied together onto a device, so that the copied optimizer holds the copied parameters.

    What cannot be copied is kept as it is or left out: hooks are shared, tensors of an earlier graph are detached, and a
    criterion that is a plain function stays the same function. Raises `UsageError` where the device has no room for a copy.
    """
    import torch

    try:
        return _copied(model, criterion, optimizer, where)
    except torch.cuda.OutOfMemoryError as error:
        raise UsageError(f'there is no room on {where} for the copy that the check runs on; give device="cpu", or check before training') from error


def _copied(model: Any, criterion: Any, optimizer: Any, where: Any) -> tuple[Any, Any, Any]:
    import torch

    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        if type(parameter) is torch.nn.Parameter and parameter.device.type != where.type:  # not by way of a second copy where it is
            memo[id(parameter)] = torch.nn.Parameter(parameter.detach().to(where, copy=True), requires_grad=parameter.requires_grad)
            for value in () if optimizer is None else optimizer.state.get(parameter, {}).values():
                if isinstance(value, torch.Tensor) and value.dim():
                    memo[id(value)] = value.detach().to(where, copy=True)
    for module in model.modules():
        for name in _HOOKS:
            for hook in (getattr(module, name, None) or {}).values():
                if not isinstance(getattr(hook, "__self__", None), torch.nn.Module):
                    memo[id(hook)] = hook
        for value in vars(module).values():
            for one in value if isinstance(value, list | tuple) else value.values() if isinstance(value, dict) else (value,):
                if isinstance(one, torch.Tensor) and one.grad_fn is not None:
                    memo[id(one)] = one.detach().clone()
        trainer = vars(module).get("_trainer")
        if trainer is not None:  # Lightning's trainer is not copied with its module
            memo[id(trainer)] = None
    copied: tuple[Any, Any, Any] = copy.deepcopy((model, criterion if isinstance(criterion, torch.nn.Module) else None, optimizer), memo)
    copied[0].to(where)
    if copied[1] is not None:
        copied[1].to(where)
    return copied[0], copied[1] if copied[1] is not None else criterion, copied[2]


@contextmanager
def random_states_kept(loader: Any) -> Iterator[None]:
    """Whatever random numbers are drawn inside, outside none were: Python's, numpy's, torch's on every device, the loader's own."""
    import torch

    generators = {id(g): g for g in _generators(loader)}
    drawn = {key: g.get_state() for key, g in generators.items()}
    python, state = random.getstate(), torch.get_rng_state()
    numpy = sys.modules.get("numpy")
    legacy = None if numpy is None else numpy.random.get_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        torch.set_rng_state(state)
        if numpy is not None and legacy is not None:
            numpy.random.set_state(legacy)
        if devices is not None:
            with suppress(RuntimeError):  # of a device that an assertion ended; what it ended with is what is told
                torch.cuda.set_rng_state_all(devices)
        for key, generator in generators.items():
            generator.set_state(drawn[key])


def _generators(loader: Any) -> Iterator[Any]:
    sampler, batches = getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)
    for owner in (loader, sampler, batches, getattr(batches, "sampler", None)):
        generator = getattr(owner, "generator", None)
        if hasattr(generator, "get_state"):
            yield generator
