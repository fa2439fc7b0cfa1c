"""All checkpoints of a run, measured: tensors, updates between checkpoints, gradients from optimizer state, the model's outline."""

import math
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from postmortem.measure.batches import train_labels
from postmortem.measure.gradients import Remembered, gradients, window
from postmortem.measure.heads import Heads, heads_of
from postmortem.measure.initial import nearest
from postmortem.measure.optimizers import names_of, optimizer_facts
from postmortem.measure.ordering import forward_order, model_facts
from postmortem.measure.parts import joined
from postmortem.measure.prior import bias_prior
from postmortem.measure.reading import BLOCK, TensorFiles
from postmortem.measure.rows import RowFacts
from postmortem.measure.structure import Layout, layouts
from postmortem.measure.tally import Kernels, Plain
from postmortem.measure.tensors import Figures
from postmortem.measure.trajectory import SEGMENT, Following, Seen, Trajectory, parts_of
from postmortem.measure.updates import effective_rate
from postmortem.measure.weights import summarise
from postmortem.model.run import Checkpoint, Run, Setting, TensorRef
from postmortem.model.tensors import (
    BiasPrior,
    CheckpointStats,
    GradientStats,
    ModelFacts,
    OptimizerFacts,
    Role,
    TensorStats,
    UpdateStats,
    WeightSummary,
)

Progress = Callable[[str, float], None]

_WORD = re.compile(r"[a-z]+")
_AVERAGED = frozenset({"ema", "swa", "averaged", "average", "shadow", "teacher"})
_FINAL = frozenset({"final", "last", "latest", "end", "finished"})

# bytes of float32 from which numba's start-up (0.8 s of processor time) is worth it: numpy's loops count 0.25 GB/s. The choice depends on nothing
# but the checkpoints, since the two round differently: the same input gives the same figures.
COMPILED_FROM = 256 << 20
SIXTEEN_BITS = 4  # numpy's loops count 16-bit numbers that many times as fast as float32
FEWEST_ELEMENTS = 8  # whose spread says something of the scale they were drawn with; a 1 × 1 weight has none
THREADED_FROM = 512 << 20  # bytes from which a second thread is
LEAST_BLOCK = 1 << 12  # elements; blocks of less than a `SEGMENT` only where there are hundreds of checkpoints
BUFFERS = 64 << 20  # bytes of buffers at most, however many checkpoints are read side by side


def measure_checkpoints(run: Run, progress: Progress | None = None) -> tuple[tuple[CheckpointStats, ...], WeightSummary, ModelFacts]:
    """Measure every checkpoint that has tensors or an optimizer, in the run's order. `progress` gets a tensor's name and the share done."""
    saved = joined([c for c in run.checkpoints if c.tensors or c.optimizer is not None])
    if not saved:
        return (), WeightSummary(checkpoints=0), ModelFacts()
    total = sum(r.nbytes for c in saved for r in _tensors(c))
    line = time_line(saved)
    kernels = kernels_for(work_of(saved))
    workers = min(2, os.cpu_count() or 1) if total >= THREADED_FROM else 1
    with np.errstate(all="ignore"):  # NaN and Inf are what is measured here
        outlines = [Outline.of(c, run.settings) for c in saved]
        model = model_facts(saved, [o.places for o in outlines], [o.order for o in outlines], [o.heads for o in outlines])
        tracks = _follow_all(run.root, saved, outlines, kernels=kernels, workers=workers, line=frozenset(line), progress=progress)
        with TensorFiles(run.root) as files:
            moved = _moved(tracks)
            optimizers = [
                _optimizer(files, c, o, kernels, moved=moved, weights=_sizes(tracks, i)) for i, (c, o) in enumerate(zip(saved, outlines, strict=True))
            ]
            priors = [bias_prior(files, o.refs, model.head, train_labels(run.histograms)) for o in outlines]
    stats = tuple(_stats(i, saved, outlines, tracks, optimizers, priors) for i in range(len(saved)))
    last = line[-1] if line else -1
    alike = frozenset(n for n, t in tracks.items() if (rows := t.rows.get(last)) is not None and rows.all_alike)
    change = {n: c for n in model.weight_layers if n in tracks and (c := tracks[n].change) is not None}
    return stats, summarise([stats[i] for i in line], change, _still(saved, tracks), alike, model), model


def work_of(saved: Sequence[Checkpoint]) -> int:
    """What there is to count, as bytes of float32 that would take numpy's loops as long."""
    counts = [ref for c in saved for ref in _tensors(c)]
    alone = len(saved) == 1  # nothing to compare with: 16-bit numbers are counted and never decoded
    return sum(r.nbytes // SIXTEEN_BITS if alone and r.dtype in ("bfloat16", "float16", "half") else r.nbytes for r in counts)


def kernels_for(work: int) -> Kernels:
    """The compiled loops where there is work enough for them and numba can be had, else numpy's."""
    if work >= COMPILED_FROM:
        try:
            from postmortem.measure import kernels
        except Exception:  # noqa: S110  # a numba that does not start costs speed, nothing else
            pass
        else:
            return kernels
    return Plain()


@dataclass(frozen=True, slots=True)
class Outline:
    """What names and shapes tell of one checkpoint."""

    places: Mapping[str, Layout]
    order: tuple[str, ...]
    refs: Mapping[str, TensorRef]
    heads: Heads

    @classmethod
    def of(cls, checkpoint: Checkpoint, settings: Sequence[Setting] = ()) -> "Outline":
        """Look at a checkpoint's names and shapes; of its heads the configuration may tell more."""
        places = layouts(checkpoint)
        heads = heads_of(checkpoint.tensors, {n: p.outputs for n, p in places.items()}, (*settings, *checkpoint.settings))
        placed = {n: replace(p, head=heads.rows.get(n)) for n, p in places.items()}
        return cls(placed, tuple(dict.fromkeys(forward_order(checkpoint))), {r.name: r for r in checkpoint.tensors}, heads)


def _tensors(checkpoint: Checkpoint) -> list[TensorRef]:
    """Of the model and of its optimizer."""
    states = checkpoint.optimizer.states if checkpoint.optimizer is not None else ()
    return [*checkpoint.tensors, *(r for s in states for r in s.slots.values())]


def time_line(saved: Sequence[Checkpoint]) -> list[int]:
    """The checkpoints that follow one another in time: without averaged copies, and without second copies of a step ("best").

    Where two or more steps (or else epochs) are known, one without is left out unless its name says that it is the last.
    """
    own = [i for i, c in enumerate(saved) if c.tensors and not _AVERAGED & set(_WORD.findall("/".join(c.path.split("/")[-2:]).lower()))]
    own = own or [i for i, c in enumerate(saved) if c.tensors]
    steps = {i: saved[i].step for i in own}
    if sum(s is not None for s in steps.values()) < 2:
        steps = {i: saved[i].epoch for i in own}
    if sum(s is not None for s in steps.values()) < 2:
        return own
    seen: set[float] = set()
    out, final = [], []
    for i, step in steps.items():
        if step is None:
            final += [i] if _FINAL & set(_WORD.findall(saved[i].path.lower())) else []
        elif step not in seen:
            seen.add(step)
            out.append(i)
    return out + final


def _follow_all(
    root: Path,
    saved: Sequence[Checkpoint],
    outlines: Sequence[Outline],
    *,
    kernels: Kernels,
    workers: int,
    line: frozenset[int],
    progress: Progress | None,
) -> dict[str, Trajectory]:
    """Go through all tensors, each over all checkpoints. What comes out does not depend on the number of workers."""
    names = list(dict.fromkeys(n for o in outlines for n in o.order))
    block = max(LEAST_BLOCK, min(BLOCK, BUFFERS // (8 * len(saved)) // SEGMENT * SEGMENT))
    done = 0
    lock = threading.Lock()

    def copies(name: str) -> list[Seen]:
        return [Seen(i, o.refs[name], o.places[name], i in line) for i, o in enumerate(outlines) if name in o.refs]

    followings: dict[str, Following] = {}  # those that are under way
    left = {name: len(parts_of(copies(name))) for name in names}
    sizes = {n: max((o.refs[n].nbytes for o in outlines if n in o.refs), default=0) for n in names}
    largest = names if workers == 1 else sorted(names, key=lambda n: -sizes[n])  # first, so that none is left over
    waiting = deque((name, part) for name in largest for part in range(left[name]))
    found: dict[str, Trajectory] = {}

    def work() -> None:
        nonlocal done
        with TensorFiles(root, block) as files, np.errstate(all="ignore"):
            while waiting:
                try:
                    name, part = waiting.popleft()
                except IndexError:  # another worker was quicker
                    return
                with lock:
                    following = followings.get(name) or Following(copies(name), kernels)
                    followings[name] = following
                following.take(part, files)
                with lock:
                    left[name] -= 1
                    last = not left[name]
                if not last:
                    continue
                found[name] = followings.pop(name).finish(files)
                with lock:
                    done += 1
                    if progress is not None:
                        progress(name, done / len(names))

    if workers == 1:
        work()
    else:
        with ThreadPoolExecutor(workers) as pool:
            for worker in [pool.submit(work) for _ in range(workers)]:
                worker.result()
    return {n: found[n] for n in names}


def _moved(tracks: Mapping[str, Trajectory]) -> frozenset[str] | None:
    """Tensors that changed between any two checkpoints, None when there is nothing to compare."""
    if not any(t.movements for t in tracks.values()):
        return None
    return frozenset(n for n, t in tracks.items() if any(not m.identical for _, m in t.movements.values()))


def _sizes(tracks: Mapping[str, Trajectory], index: int) -> dict[str, float]:
    """RMS of the tensors of one checkpoint."""
    return {n: t.figures[index].rms for n, t in tracks.items() if index in t.figures}


def _optimizer(
    files: TensorFiles, checkpoint: Checkpoint, outline: Outline, kernels: Kernels, *, moved: frozenset[str] | None, weights: Mapping[str, float]
) -> tuple[OptimizerFacts | None, tuple[Remembered, ...]]:
    if checkpoint.optimizer is None:
        return None, ()
    names, known = names_of(checkpoint.optimizer, checkpoint, outline.places, outline.order, moved)
    return optimizer_facts(checkpoint, names, known, outline.places), gradients(files, checkpoint.optimizer, names, kernels, weights, outline.places)


def _stats(
    i: int,
    saved: Sequence[Checkpoint],
    outlines: Sequence[Outline],
    tracks: Mapping[str, Trajectory],
    optimizers: Sequence[tuple[OptimizerFacts | None, tuple[Remembered, ...]]],
    priors: Sequence[BiasPrior | None],
) -> CheckpointStats:
    checkpoint, outline = saved[i], outlines[i]
    facts, remembered = optimizers[i]
    gradient_of = {r.stats.name: r.stats for r in remembered}
    tensors: list[TensorStats] = []
    updates: list[UpdateStats] = []
    for name in outline.order:
        track = tracks[name]
        if i in track.figures:
            tensors.append(tensor_stats(outline.refs[name], outline.places[name], track.figures[i], track.rows.get(i), checkpoint.trainable))
        if i in track.movements:
            earlier, m = track.movements[i]
            update = UpdateStats(
                name, saved[earlier].step, checkpoint.step, m.relative_change, m.identical, m.norm_ratio, m.cosine, m.rms, still_rows=m.still_rows
            )
            own = gradient_of.get(name)
            if own is not None and facts is not None:
                then = next((r.stats for r in optimizers[earlier][1] if r.stats.name == name), None)
                counted = None if then is None or then.step is None or own.step is None else own.step - then.step
                made = update.steps if counted is None else counted  # the optimizer's count, where both have one
                update = replace(update, effective_rate=effective_rate(m.rms, made, then, own, facts.kind.lower()))
            updates.append(update)
    before = next((optimizers[k][1] for k in range(i - 1, -1, -1) if optimizers[k][1]), ())
    return CheckpointStats(
        path=checkpoint.path,
        step=checkpoint.step,
        epoch=checkpoint.epoch,
        tensors=tuple(tensors),
        gradients=(*(r.stats for r in remembered), *_windows(before, remembered)),
        updates=tuple(updates),
        optimizer=facts,
        unread=tuple(n for n in outline.order if i in tracks[n].unread),
        prior=priors[i],
    )


def _windows(before: Sequence[Remembered], after: Sequence[Remembered]) -> tuple[GradientStats, ...]:
    earlier = {r.stats.name: r for r in before}
    found = (window(earlier[r.stats.name], r) for r in after if r.stats.name in earlier)
    return tuple(w for w in found if w is not None)


def _still(saved: Sequence[Checkpoint], tracks: Mapping[str, Trajectory]) -> list[str] | None:
    """Tensors bit-identical over all compared checkpoints; None when nothing could be compared.

    Two checkpoints of unknown step that are the same in everything are two copies of one state and prove nothing.
    """
    pairs: dict[tuple[int, int], bool] = {}
    for track in tracks.values():
        for late, (early, movement) in track.movements.items():
            pairs[early, late] = pairs.get((early, late), True) and movement.identical
    real = {p for p, same in pairs.items() if not same or all(saved[i].step is not None for i in p)}
    if not real:
        return None
    out = []
    for name, track in tracks.items():
        moves = [m for late, (early, m) in track.movements.items() if (early, late) in real]
        if moves and all(m.identical for m in moves):
            out.append(name)
    return out


def tensor_stats(ref: TensorRef, place: Layout, figures: Figures, rows: RowFacts | None, trainable: Mapping[str, bool] | None) -> TensorStats:
    """The figures with the tensor's name and place."""
    fan_in = place.fan_in if place.role == Role.WEIGHT else None
    scale = None
    if fan_in and figures.count >= FEWEST_ELEMENTS:
        spread = figures.std * math.sqrt(3 * fan_in)
        scale = math.log10(spread) if spread > 0 else -math.inf if spread == 0 else math.nan
    initial, distance = nearest(figures.std, place)
    return TensorStats(
        name=ref.name,
        dtype=ref.dtype,
        shape=ref.shape,
        role=place.role,
        count=figures.count,
        nan=figures.nan,
        positive_inf=figures.positive_inf,
        negative_inf=figures.negative_inf,
        zero=figures.zero,
        subnormal=figures.subnormal,
        mean=figures.mean,
        std=figures.std,
        rms=figures.rms,
        low=figures.low,
        high=figures.high,
        quantiles=figures.quantiles,
        kurtosis=figures.kurtosis,
        histogram=figures.histogram,
        fan_in=fan_in,
        scale=scale,
        initial=initial,
        initial_distance=distance,
        dead_rows=rows.dead if rows is not None else None,
        identical_rows=rows.identical if rows is not None else None,
        row_cosine=rows.cosine if rows is not None else None,
        repeated_rows=rows.repeated if rows is not None else None,
        heads=place.outputs // place.head if place.outputs and place.head else None,
        twin_heads=rows.twin_heads if rows is not None and place.head else None,
        requires_grad=ref.requires_grad if ref.requires_grad is not None else (trainable or {}).get(ref.name),
    )
