"""A trial as a `Run`: what happened on one batch, in the shape in which everything else is measured and judged."""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from postmortem.model.run import (
    Attempt,
    Checkpoint,
    EventKind,
    LogEvent,
    OptimizerState,
    ParamGroup,
    ParamState,
    Reduction,
    Run,
    Series,
    Setting,
    Source,
    Status,
)
from postmortem.model.sentence import Value
from postmortem.preflight.trial import Trial, state_references
from postmortem.sources.config import flatten, settings_of
from postmortem.sources.logs.crash import Watch, Where

HERE = "one batch"  # where figures of the trial come from
BEFORE, AFTER = "the model as it is", "the copy after the trial"


def series(name: str, steps: Sequence[float], values: Sequence[float]) -> Series:
    """A curve of the trial."""
    return Series(name, name, HERE, np.array(steps, np.float64), np.array(values, np.float64), reduction=Reduction.STEP)


def as_run(trial: Trial, figures: dict[str, float], settings: dict[str, Any], optimizer: Any, model: Any, *, own_optimizer: bool) -> Run:
    """`figures` are of the batch, by their names without "data/". The optimizer is shown only where it is the caller's own."""
    steps = [float(n) for n in range(len(trial.losses))]
    curves = [series("train/loss", steps, trial.losses)] if trial.losses else []
    norms = [g.rms**2 * g.size for g in trial.gradients if not g.missing]
    if norms:
        curves.append(series("grad_norm", [0.0], [float(np.sqrt(sum(norms)))]))
    if own_optimizer and trial.learning_rate is not None and trial.steps:
        curves.append(series("lr", steps, [trial.learning_rate] * len(steps)))
    curves += [series(f"data/{name}", [0.0], [value]) for name, value in figures.items()]
    events = _events(trial)
    checkpoints = []
    if trial.before:
        checkpoints.append(Checkpoint(BEFORE, "live", Status.READ, 0.0, tensors=trial.before))
    if trial.after:
        state = _optimizer_state(optimizer, model) if own_optimizer else None
        checkpoints.append(
            Checkpoint(AFTER, "live", Status.READ, float(trial.steps), tensors=trial.after, optimizer=state, optimizer_steps=float(trial.steps))
        )
    return Run(
        name=type(getattr(model, "_orig_mod", model)).__name__,
        root=Path(),
        sources=(Source(HERE, "preflight", Status.READ),),
        series=tuple(curves),
        events=events,
        settings=_settings(settings),
        checkpoints=tuple(checkpoints),
        attempts=(Attempt(0.0, steps[-1] if steps else 0.0),),
        framework="pytorch",
        outcome="crashed" if trial.error is not None else "unknown",
    )


def _settings(settings: dict[str, Any]) -> tuple[Setting, ...]:
    return settings_of(flatten(settings), "the training script")


def _events(trial: Trial) -> tuple[LogEvent, ...]:
    if trial.error is None:
        return ()
    watch = Watch(HERE)
    for line in trial.error_text.splitlines():
        watch.line(line[:2000], Where(0, step=float(trial.steps)))
    return watch.end() or (LogEvent(EventKind.EXCEPTION, trial.error_text[-2000:], HERE, step=float(trial.steps)),)


def _optimizer_state(optimizer: Any, model: Any) -> OptimizerState:
    names = {id(p): n for n, p in model.named_parameters()}
    groups = []
    for number, group in enumerate(optimizer.param_groups):
        keys = tuple(names.get(id(p), f"#{number}.{i}") for i, p in enumerate(group["params"]))
        settings: dict[str, Value] = {}
        for key, value in group.items():
            if isinstance(value, tuple | list) and key == "betas":
                settings |= {f"betas.{i}": float(b) for i, b in enumerate(value)}
            elif isinstance(value, int | float | bool | str):
                settings[key] = value
        groups.append(ParamGroup(keys, MappingProxyType(settings), keys))
    states = tuple(ParamState(n, step, slots) for n, step, slots in state_references(optimizer, model))
    return OptimizerState(type(optimizer).__name__.lower(), tuple(groups), states, "the optimizer")
