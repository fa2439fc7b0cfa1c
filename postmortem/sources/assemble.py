"""What several readers found, merged into one run: one series per name, one axis, attempts, checkpoints in order, an outcome."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from postmortem.model.run import Checkpoint, EventKind, LogEvent, Outcome, Reduction, Run, Series, Setting, Source
from postmortem.sources.attempts import describe, into_attempts
from postmortem.sources.axes import on_one_axis
from postmortem.sources.checkpoints.joining import join
from postmortem.sources.reader import Found

# Where a setting counts most: what the user wrote, then what the framework saved, then what a log printed.
_AUTHORITY = (".yaml", ".yml", ".toml", ".json", ".args", ".opt", "/params/", ".bin", ".ckpt", ".pt", ".pth")


ONE_IS_A_SETTING = frozenset({"lr", "loss_scale"})  # a single record of these among many others is the configuration, printed
MANY = 3


def assemble(root: Path, name: str, found: Sequence[Found], skipped: Sequence[Source] = ()) -> Run:
    """Merge. `found` is in the order of the files' paths; `skipped` are sources that no reader took."""
    chosen = choose([s for f in found for s in f.series if len(s)])
    facts = {k: v for f in found for k, v in f.facts.items() if v is not None}
    settings = _settings([s for f in found for s in f.settings] + [s for f in found for c in f.checkpoints for s in c.settings])
    joined = join([c for f in found for c in f.checkpoints])
    known = _number(facts.get("steps_per_epoch")) or _steps_per_epoch_of(joined) or _steps_per_epoch_from(settings)
    series, axis, per_epoch = on_one_axis(chosen, known)
    attempts = into_attempts(series)
    events = tuple(e for f in sorted(found, key=lambda f: _natural(f.source.path)) for e in f.events)
    checkpoints = _place_checkpoints(joined, per_epoch, axis, series)
    planned_epochs = _number(facts.get("planned_epochs")) or _setting_number(settings, "epochs")
    planned_steps = _number(facts.get("planned_steps")) or _setting_number(settings, "max_steps")
    if planned_steps is not None and planned_steps <= 0:
        planned_steps = None
    if axis == "epoch":
        planned_steps = planned_epochs
    if planned_steps is None and planned_epochs and per_epoch:
        planned_steps = planned_epochs * per_epoch
    last_step = max((float(s.steps[-1]) for s in attempts[-1] if len(s)), default=None)
    run = Run(
        name=name,
        root=root,
        sources=tuple(sorted([*(f.source for f in found), *skipped], key=lambda s: s.path)),
        series=tuple(attempts[-1]),
        histograms=tuple(h for f in found for h in f.histograms),
        events=events,
        settings=settings,
        checkpoints=checkpoints,
        attempts=describe(attempts),
        axis=axis,
        steps_per_epoch=per_epoch,
        framework=str(facts.get("framework") or "") or _framework(found, checkpoints),
        outcome=outcome(events, facts, last_step, planned_steps),
        planned_steps=planned_steps,
        planned_epochs=planned_epochs,
    )
    earlier = tuple(replace(run, series=tuple(part), events=(), checkpoints=(), outcome="unknown") for part in attempts[:-1])
    return replace(run, earlier=earlier)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        return None
    return float(value)


def _setting_number(settings: Sequence[Setting], name: str) -> float | None:
    return next((_number(s.value) for s in settings if s.name == name and _number(s.value) is not None), None)


def _steps_per_epoch_from(settings: Sequence[Setting]) -> float | None:
    samples, batch = _setting_number(settings, "train_samples"), _setting_number(settings, "batch_size")
    if not samples or not batch or samples < batch:
        return None
    return float(np.ceil(samples / (batch * (_setting_number(settings, "accumulation") or 1.0))))


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


# --- one series per name --------------------------------------------------------------------------------------------


def choose(series: Sequence[Series]) -> tuple[Series, ...]:
    """At most one series of each known name. A second, coarser one that holds epoch means becomes `<name>.epoch`."""
    by_name: dict[str, list[Series]] = defaultdict(list)
    for one in _test_as_validation(series):
        by_name[one.name].append(one)
    out: list[Series] = []
    longest = max(map(len, series), default=0)
    for name, group in by_name.items():
        if name.startswith("other/"):
            out.extend(_joined(group))
            continue
        if name in ONE_IS_A_SETTING and max(map(len, group)) == 1 and longest > MANY:
            continue
        ranked = sorted(_joined(group), key=_rank)
        out.append(ranked[0])
        means = [s for s in ranked[1:] if s.reduction == Reduction.EPOCH and len(s) < len(ranked[0]) and ranked[0].reduction != Reduction.EPOCH]
        if means:
            out.append(replace(means[0], name=f"{name}.epoch"))
    return tuple(out)


def _test_as_validation(series: Sequence[Series]) -> list[Series]:
    """What stands for the validation set when nothing is called so: a test set that is evaluated again and again during
    training, else the first of several named evaluation sets (`eval_squad_loss`)."""
    names = {s.name for s in series}
    if any(name.startswith("val/") for name in names):
        return list(series)
    if any(s.name.startswith("test/") and len(s) > 1 for s in series):
        return [replace(s, name=f"val/{s.name.removeprefix('test/')}") if s.name.startswith("test/") else s for s in series]
    first = min((s.name.partition("/")[0] for s in series if s.name.startswith("val.")), default="")
    return [replace(s, name=f"val/{s.name.partition('/')[2]}") if first and s.name.startswith(f"{first}/") else s for s in series]


def _rank(one: Series) -> tuple[object, ...]:
    """Best first: enough points, with a step, precise, from a structured source."""
    stepped = bool(np.isfinite(one.steps).any())
    points = len(one)
    return (-np.log2(max(points, 1)) // 0.5, not stepped, one.quantum is not None, -points, one.source)


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", path)]


def _joined(group: list[Series]) -> list[Series]:
    """Series of one name and key that several files of one kind hold: copies are dropped, continuations joined."""
    by_kind: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in group:
        by_kind[(one.logged_as, _kind(one.source))].append(one)
    out: list[Series] = []
    for same in by_kind.values():
        same.sort(key=lambda s: (_start(s), _natural(s.source)))
        parts: list[Series] = []
        for one in same:
            if any(_holds(other, one) for other in parts):
                continue
            parts = [p for p in parts if not _holds(one, p)]
            parts.append(one)
        out.append(_concatenated(parts) if len(parts) > 1 else parts[0])
    return out


def _kind(source: str) -> str:
    """Files of one kind: the same name but for digits, in sibling directories."""
    return re.sub(r"\d+", "#", source.rpartition("/")[2])


def _start(one: Series) -> float:
    return float(one.times[0]) if one.times is not None and len(one.times) and np.isfinite(one.times[0]) else 0.0


def _holds(whole: Series, part: Series) -> bool:
    """`part` is a copy of some records of `whole` (a `trainer_state.json` of an earlier checkpoint)."""
    if len(part) > len(whole):
        return False
    if np.isfinite(part.steps).all() and np.isfinite(whole.steps).all():
        at = np.searchsorted(whole.steps, part.steps)
        inside = at < len(whole)
        if not inside.all() or not np.array_equal(whole.steps[at], part.steps):
            return False
        return bool(np.array_equal(whole.values[at], part.values, equal_nan=True))
    return bool(np.array_equal(whole.values[: len(part)], part.values, equal_nan=True))


def _concatenated(parts: Sequence[Series]) -> Series:
    def joined(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
        if all(a is None for a in arrays):
            return None
        return np.concatenate([np.full(len(p), np.nan) if a is None else a for a, p in zip(arrays, parts, strict=True)])

    first = parts[0]
    return replace(
        first,
        source=", ".join(dict.fromkeys(p.source for p in parts)),
        steps=np.concatenate([p.steps for p in parts]),
        values=np.concatenate([p.values for p in parts]),
        epochs=joined([p.epochs for p in parts]),
        times=joined([p.times for p in parts]),
    )


# --- checkpoints ----------------------------------------------------------------------------------------------------


def _place_checkpoints(checkpoints: Sequence[Checkpoint], per_epoch: float | None, axis: str, series: Sequence[Series]) -> tuple[Checkpoint, ...]:
    """Give each checkpoint a step on the run's axis, and put them in order."""
    last = max((float(s.steps[-1]) for s in series if len(s)), default=None)
    if axis == "step" and last is not None:
        checkpoints = _really_steps(checkpoints, last, _last_epoch(series, per_epoch))
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
        placed.append(replace(one, step=step))
    return tuple(sorted(placed, key=lambda c: (c.step is None, c.step or 0.0, _natural(c.path))))


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


def _framework(found: Sequence[Found], checkpoints: Sequence[Checkpoint]) -> str:
    formats = {c.format for c in checkpoints}
    readers = {f.source.reader for f in found}
    paths = [f.source.path for f in found]
    if "hf-trainer" in readers or "trainer-state" in readers or any(p.endswith("trainer_state.json") for p in paths):
        return "transformers"
    if any(p.endswith(".ckpt") for p in paths) or any("lightning_logs" in p for p in paths):
        return "lightning"
    if any(f.startswith("keras") for f in formats):
        return "keras"
    return "pytorch" if checkpoints else ""


# --- how it ended ---------------------------------------------------------------------------------------------------

_FATAL = frozenset({
    EventKind.EXCEPTION, EventKind.OUT_OF_MEMORY, EventKind.COLLECTIVE, EventKind.DEVICE_ASSERT, EventKind.SIGNAL, EventKind.KILLED,
    EventKind.TIME_LIMIT, EventKind.PREEMPTED, EventKind.DISK_FULL, EventKind.DATA_LOADER, EventKind.HARDWARE, EventKind.HANG,
    EventKind.NON_FINITE_GUARD, EventKind.LOSS_SCALE_FLOOR,
})  # fmt: skip


def outcome(events: Sequence[LogEvent], facts: Mapping[str, object], last_step: float | None, planned_steps: float | None) -> Outcome:
    """How the run ended, as far as its own words and counters tell.

    events : in the order of their files' names and lines. What a log survived, because it starts or resumes below it, does not count.
    """
    status = str(facts.get("status") or "")
    code = _number(facts.get("exit_code"))
    begins = {e.source: n for n, e in enumerate(events) if e.kind in (EventKind.STARTED, EventKind.RESUMED)}
    alive = [(n, e.kind) for n, e in enumerate(events) if n > begins.get(e.source, -1)]
    last_finish = max((n for n, kind in alive if kind == EventKind.FINISHED), default=-1)
    interrupted = [n for n, kind in alive if kind == EventKind.INTERRUPTED]
    fatal = [n for n, kind in alive if kind in _FATAL]
    if interrupted and (not fatal or interrupted[-1] >= fatal[0]):
        return "cancelled"
    if fatal and fatal[-1] > last_finish and code != 0:
        return "crashed"
    if status == "failed" or (code is not None and code not in (0, 255)):
        return "crashed"
    if code == 255 or status == "killed":
        return "cancelled" if code == 255 else "crashed"
    if any(kind == EventKind.EARLY_STOPPED for _, kind in alive):
        return "early-stopped"
    if last_finish >= 0 or status == "finished" or facts.get("finished") is True or code == 0:
        return "finished"
    if last_step is not None and planned_steps and last_step >= 0.97 * planned_steps - 1:
        return "finished"
    if any(kind == EventKind.CUT for _, kind in alive):
        return "crashed"
    return "running" if status == "running" else "unknown"
