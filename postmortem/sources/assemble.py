"""What several readers found, merged into one run: one series per name, one axis, attempts, checkpoints in order, an outcome."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from postmortem.model.run import Checkpoint, EventKind, LeftOut, LogEvent, Run, Series, Setting, Source
from postmortem.sources.attempts import describe, into_attempts, span
from postmortem.sources.axes import by_the_clock, on_one_axis, once_an_epoch
from postmortem.sources.checkpoints.joining import join
from postmortem.sources.choose import choose, natural
from postmortem.sources.names import words
from postmortem.sources.outcome import of_the_last_job, outcome, silent
from postmortem.sources.reader import Found

AT_THE_END = 0.01  # share of the planned steps by which the last record may miss them
_LAST = re.compile(r"(?:^|/)(?:last|latest|checkpoint_last|last_checkpoint)\.[\w.]+$")
_OF_A_TRAINER = "logging_nan_inf_filter"  # an argument that only the Trainer of transformers and its heirs have
_ROUNDED = 0.01  # of an epoch: a printed one may be this much too small
# Where a setting counts most: what the user wrote, then what the framework saved, then what a log printed.
_AUTHORITY = (".yaml", ".yml", ".toml", ".json", ".args", ".opt", "/params/", ".bin", ".ckpt", ".pt", ".pth")


def assemble(root: Path, name: str, found: Sequence[Found], skipped: Sequence[Source] = ()) -> Run:
    """Merge. `skipped` are sources that no reader took."""
    found = sorted(found, key=lambda f: natural(f.source.path))  # of two that contradict each other the later file is believed
    left_out: list[LeftOut] = []
    chosen = choose([_in_seconds(s) for f in found for s in f.series if len(s)], left_out)
    if all(s.epochs is None for s in chosen):
        chosen = tuple(by_the_clock(chosen))
    facts = {k: v for f in found for k, v in f.facts.items() if v is not None}
    settings = _settings([s for f in found for s in f.settings] + [s for f in found for c in f.checkpoints for s in c.settings])
    joined = _counted_from_one(join([c for f in found for c in f.checkpoints]), _last_epoch(chosen, None))
    known = _number(facts.get("steps_per_epoch")) or _steps_per_epoch_of(joined) or _steps_per_epoch_from(settings)
    planned_epochs = _number(facts.get("planned_epochs")) or _planned_epochs(settings)
    series, axis, per_epoch = on_one_axis(once_an_epoch(chosen, planned_epochs), known, planned_epochs)
    attempts = into_attempts(series)
    checkpoints = _place_checkpoints(joined, per_epoch, axis, series)
    planned_steps = _number(facts.get("planned_steps")) or _planned_steps(settings)
    if planned_steps is not None and planned_steps <= 0:
        planned_steps = None
    if axis == "epoch":
        planned_steps = planned_epochs
    last_step = span(attempts[-1])[1] if any(map(len, attempts[-1])) else None
    events = tuple(_at_its_step(e, 1.0 if axis == "epoch" else per_epoch, last_step) for f in found for e in f.events)
    if planned_epochs and per_epoch:
        whole = planned_epochs * per_epoch
        if planned_steps is None or (
            last_step is not None and whole < (1 - 2 * AT_THE_END) * planned_steps and abs(last_step - whole) <= AT_THE_END * whole
        ):
            planned_steps = whole  # of a limit in steps and one in epochs the one at which the run ended
    run = Run(
        name=name,
        root=root,
        sources=tuple(sorted([*(f.source for f in found), *skipped], key=lambda s: s.path)),
        series=tuple(attempts[-1]),
        left_out=tuple(left_out),
        histograms=tuple(h for f in found for h in f.histograms),
        events=of_the_last_job(events),
        settings=settings,
        checkpoints=checkpoints,
        attempts=describe(attempts),
        axis=axis,
        steps_per_epoch=per_epoch,
        framework=str(facts.get("framework") or "") or _framework(found, checkpoints, settings),
        outcome=outcome(events, facts, last_step, planned_steps, gone=silent(attempts[-1], time.time())),
        planned_steps=planned_steps,
        planned_epochs=planned_epochs,
    )
    earlier = tuple(replace(run, series=tuple(part), events=(), checkpoints=(), outcome="unknown") for part in attempts[:-1])
    return replace(run, earlier=earlier)


def _in_seconds(series: Series) -> Series:
    """What a step took or waited, logged in milliseconds as its key says (`dt_ms`, `ms/step`), in seconds; any other series as it is."""
    if not series.name.startswith(("step_time", "data_time")) or "ms" not in words(series.logged_as):
        return series
    return replace(series, values=series.values / 1e3)


def _at_its_step(event: LogEvent, per_epoch: float | None, last: float | None) -> LogEvent:
    """A resume of which only the epochs are known that were over; no later than the last record."""
    if event.kind is not EventKind.RESUMED or event.step is not None or not event.epoch or not per_epoch or last is None:
        return event
    step = event.epoch * per_epoch
    return replace(event, step=min(round(step) if per_epoch != 1 else step, last))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        return None
    return float(value)


def _setting_number(settings: Sequence[Setting], name: str) -> float | None:
    return next((_number(s.value) for s in settings if s.name == name and _number(s.value) is not None), None)


def _planned_steps(settings: Sequence[Setting]) -> float | None:
    """The steps of the configuration; beside an environment, `max_steps` is the length of an episode and `n_steps` that of a rollout."""
    acts = any(s.key.lower().rpartition(".")[2] in ("env", "env_id", "env_name", "environment") for s in settings)
    within = ("max_steps", "n_steps", "num_steps") if acts else ()
    return _setting_number([s for s in settings if s.key.lower().rpartition(".")[2] not in within], "max_steps")


def _planned_epochs(settings: Sequence[Setting]) -> float | None:
    """The epochs of the configuration, and those of a decay that it counts by themselves (`n_epochs` and `n_epochs_decay` of pix2pix)."""
    epochs = _setting_number(settings, "epochs")
    decay = next((_number(s.value) for s in settings if s.key.rpartition(".")[2] in ("n_epochs_decay", "niter_decay")), None)
    return epochs if epochs is None or decay is None else epochs + decay


def _steps_per_epoch_from(settings: Sequence[Setting]) -> float | None:
    """From the numbers of samples and their batches. The planned lengths tell whether a batch counts what is accumulated already."""
    samples, batch = _setting_number(settings, "train_samples"), _setting_number(settings, "batch_size")
    if not samples or not batch or samples < batch:
        return None
    counts = [float(np.ceil(samples / (batch * (_setting_number(settings, "accumulation") or 1.0)))), float(np.ceil(samples / batch))]
    steps = max((_number(s.value) or 0.0 for s in settings if s.name == "max_steps"), default=0.0)
    epochs = _setting_number(settings, "epochs")
    if steps > 0 and epochs and epochs > 0 and abs(counts[1] * epochs - steps) < abs(counts[0] * epochs - steps) / 2:
        return counts[1]
    return counts[0]


def _steps_per_epoch_of(checkpoints: Sequence[Checkpoint]) -> float | None:
    """From checkpoints that know both their step and their epoch, when they agree."""
    both = [(c.step, c.epoch) for c in checkpoints if c.step and c.epoch and c.epoch >= 1]
    ratios = [step / epoch for step, epoch in both]
    if len(ratios) < 2 or max(ratios) > 1.01 * min(ratios) or min(ratios) <= 1.0:
        return None
    return ratios[-1]


def _settings(settings: Sequence[Setting]) -> tuple[Setting, ...]:
    def authority(setting: Setting) -> int:
        return next((n for n, end in enumerate(_AUTHORITY) if end in setting.file), len(_AUTHORITY))

    unique = {(s.key, s.file): s for s in settings}
    return tuple(sorted(unique.values(), key=authority))


# --- checkpoints ----------------------------------------------------------------------------------------------------


def _place_checkpoints(checkpoints: Sequence[Checkpoint], per_epoch: float | None, axis: str, series: Sequence[Series]) -> tuple[Checkpoint, ...]:
    """Give each checkpoint a step on the run's axis, and put them in order."""
    last = max((float(s.steps[-1]) for s in series if len(s)), default=None)
    last_epoch = _last_epoch(series, per_epoch)
    checkpoints = _counted_from_one(checkpoints, last_epoch)
    if axis == "step" and last is not None:
        checkpoints = _really_steps(checkpoints, last, last_epoch)
    placed = []
    for one in checkpoints:
        step, epoch = one.step, one.epoch
        if axis == "epoch" and epoch is None and step is not None and per_epoch == 1.0 and last is not None and step > last and len(checkpoints) > 1:
            top = max((c.step for c in checkpoints if c.step is not None), default=step)
            step = step / top * last if top else step
        elif axis == "epoch" and epoch is not None:
            step = epoch
        elif step is None and epoch is not None and axis == "step" and per_epoch:
            step = epoch * per_epoch
        elif step is None and epoch is not None:
            step = epoch
        counted = one.step if one.step is not None else step if axis == "step" else None
        placed.append(replace(one, step=step, optimizer_steps=counted))
    return tuple(sorted(placed, key=lambda c: (c.step is None, c.step or 0.0, natural(c.path))))


def _counted_from_one(checkpoints: Sequence[Checkpoint], last_epoch: float | None) -> Sequence[Checkpoint]:
    """Epochs that are done, where the checkpoints of a directory count from zero: that of epoch 0 holds an optimizer that has stepped, or
    the one called the last says an epoch less than the log has whole ones (timm, ultralytics).
    """
    told = [c for c in checkpoints if c.epoch is not None and (c.step is None or c.facts.get("step_from") == "optimizer")]
    begun = {_directory(c) for c in told if c.epoch == 0 and c.optimizer is not None and c.optimizer.states}
    behind = {_directory(c) for c in told if last_epoch is not None and _LAST.search(c.path) and c.epoch == math.floor(last_epoch + _ROUNDED) - 1}
    ids = {id(c) for c in told if _directory(c) in begun | behind}
    return [replace(c, epoch=(c.epoch or 0.0) + 1) if id(c) in ids else c for c in checkpoints]


def _directory(checkpoint: Checkpoint) -> str:
    return checkpoint.path.rpartition("/")[0]


def _last_epoch(series: Sequence[Series], per_epoch: float | None) -> float | None:
    """How many epochs the log holds; None when it does not say."""
    counted = max((float(np.nanmax(s.epochs)) for s in series if s.epochs is not None and np.isfinite(s.epochs).any()), default=None)
    if counted is not None or not per_epoch:
        return counted
    return max((float(s.steps[-1]) for s in series if len(s)), default=0.0) / per_epoch


def _really_steps(checkpoints: Sequence[Checkpoint], last_step: float, last_epoch: float | None) -> Sequence[Checkpoint]:
    """A bare number in a file's name is taken for an epoch; more epochs than the log has, within its steps, are steps. All or none of them."""
    guessed = [c for c in checkpoints if c.step is None and c.epoch is not None]
    top = max((c.epoch for c in guessed if c.epoch is not None), default=0.0)
    if last_epoch is None or not last_epoch + 1.0 < top <= 1.02 * last_step + 1.0:
        return checkpoints
    ids = {id(c) for c in guessed}
    return [replace(c, step=c.epoch, epoch=None) if id(c) in ids else c for c in checkpoints]


def _framework(found: Sequence[Found], checkpoints: Sequence[Checkpoint], settings: Sequence[Setting]) -> str:
    formats = {c.format for c in checkpoints}
    readers = {f.source.reader for f in found}
    paths = [f.source.path for f in found]
    if "hf-trainer" in readers or "trainer-state" in readers or any(p.endswith("trainer_state.json") for p in paths):
        return "transformers"
    if any(s.key.rpartition(".")[2] == _OF_A_TRAINER for s in settings):
        return "transformers"
    if any(p.endswith(".ckpt") for p in paths) or any("lightning_logs" in p for p in paths):
        return "lightning"
    if any(f.startswith("keras") for f in formats):
        return "keras"
    return "pytorch" if checkpoints else ""
