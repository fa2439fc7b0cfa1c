"""A copy of a training to try things on, and random states that are as before afterwards."""

import copy
import pickle
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from postmortem.errors import UsageError

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")


def private_copy(model: Any, criterion: Any, optimizer: Any, where: Any) -> tuple[Any, Any, Any]:
    """Model, criterion and optimizer copied together onto a device, so that the copied optimizer holds the copied parameters.

    What cannot be copied is kept as it is or left out: hooks are shared, and files, locks and generators that hang on a module,
    tensors of an earlier graph are detached, and a criterion that is a plain function stays the same function. Raises `UsageError`
    where the device has no room for a copy, and for what cannot be copied in spite of all that.
    """
    import torch

    try:
        try:
            return _copied(model, criterion, optimizer, where, {})
        except (TypeError, NotImplementedError, AttributeError, pickle.PickleError):
            return _copied(model, criterion, optimizer, where, _uncopiable(model, criterion))
    except torch.cuda.OutOfMemoryError as error:
        raise UsageError(f'there is no room on {where} for the copy that the check runs on; give device="cpu", or check before training') from error
    except (TypeError, NotImplementedError, AttributeError, pickle.PickleError) as error:
        raise UsageError(f"the check runs on a copy, and the model or its optimizer cannot be copied: {error}") from error


def unwrapped(model: Any) -> Any:
    """The module itself, without the wrapper of `torch.compile` and without the one that would wait for other processes' gradients.

    Raises `UsageError` for a module that has nothing to train, or not yet.
    """
    import torch

    while True:
        inner = getattr(model, "_orig_mod", None)
        if type(model).__name__ == "DistributedDataParallel":
            inner = model.module
        if inner is None:
            break
        model = inner
    parameters = list(model.parameters())
    if not parameters:
        raise UsageError("the model has no parameters")
    if any(torch.nn.parameter.is_lazy(p) for p in parameters):
        raise UsageError("the model has parameters whose shape the first batch decides (lazy modules): run one batch through it first")
    if any(p.is_meta for p in parameters):
        raise UsageError("the model has parameters without values (on the meta device): give it values first, by to_empty() and its initialisation")
    return model


@contextmanager
def gradients_kept(model: Any) -> Iterator[None]:
    """Whatever reaches the model's own parameters inside, by a criterion that adds their norm to the loss say, is not in their `.grad` outside."""
    kept = [(p, p.grad) for p in model.parameters()]
    for parameter, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, grad in kept:
            parameter.grad = grad


def _uncopiable(model: Any, criterion: Any) -> dict[int, Any]:
    """What hangs on the modules and cannot be copied, as `copy.deepcopy` wants to be told of it: each is its own copy."""
    import torch

    shared: dict[int, Any] = {}
    for module in (*model.modules(), *(criterion.modules() if isinstance(criterion, torch.nn.Module) else ())):
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            try:
                copy.deepcopy(value)
            except Exception:
                shared[id(value)] = value
    return shared


def _copied(model: Any, criterion: Any, optimizer: Any, where: Any, memo: dict[int, Any]) -> tuple[Any, Any, Any]:
    import torch

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
    copied: tuple[Any, Any, Any] = copy.deepcopy((model, criterion, optimizer), memo)
    copied[0].to(where)
    for name, value in vars(optimizer).items() if optimizer is not None else ():
        if name not in vars(copied[2]) and not callable(value):  # L-BFGS keeps its list of parameters, which no optimizer copies
            setattr(copied[2], name, copy.deepcopy(value, memo))
    for one in copied[1].values() if isinstance(copied[1], Mapping) else (copied[1],):
        if isinstance(one, torch.nn.Module):
            one.to(where)
    return copied


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
