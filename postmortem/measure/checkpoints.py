"""All checkpoints of a run, measured: tensors, updates between checkpoints, gradients from optimizer state, the model's outline."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from postmortem.measure.gradients import gradients
from postmortem.measure.numbers import Real, as_real
from postmortem.measure.optimizers import names_of, optimizer_facts
from postmortem.measure.reading import NotWholeError, Raw, TensorFiles
from postmortem.measure.rows import RowFacts, row_facts
from postmortem.measure.structure import Layout, forward_order, layouts, model_facts
from postmortem.measure.tensors import Figures, figures_of
from postmortem.measure.updates import Movement
from postmortem.measure.weights import summarise
from postmortem.model.evidence import CheckpointStats, GradientStats, ModelFacts, OptimizerFacts, Role, TensorStats, UpdateStats, WeightSummary
from postmortem.model.run import Checkpoint, Run, TensorRef

Progress = Callable[[str, float], None]


def measure_checkpoints(run: Run, progress: Progress | None = None) -> tuple[tuple[CheckpointStats, ...], WeightSummary, ModelFacts]:
    """Measure every checkpoint that has tensors or an optimizer, in the run's order. `progress` gets a file's name and the share done."""
    saved = [c for c in run.checkpoints if c.tensors or c.optimizer is not None]
    if not saved:
        return (), WeightSummary(checkpoints=0), ModelFacts()
    with TensorFiles(run.root) as files, np.errstate(all="ignore"):  # NaN and Inf are what is measured here
        return _Measurement(saved, files, progress).result()


class _Measurement:
    """What is gathered while tensors are gone through one by one, each over all checkpoints."""

    def __init__(self, saved: Sequence[Checkpoint], files: TensorFiles, progress: Progress | None) -> None:
        self.saved = saved
        self.files = files
        self.progress = progress or (lambda _name, _share: None)
        self.places = [layouts(c) for c in saved]
        self.orders = [forward_order(c) for c in saved]
        self.refs: list[dict[str, TensorRef]] = [{r.name: r for r in c.tensors} for c in saved]
        self.tensors: list[dict[str, TensorStats]] = [{} for _ in saved]
        self.updates: list[dict[str, UpdateStats]] = [{} for _ in saved]
        self.change: dict[str, float] = {}
        self.still: list[str] = []
        self.alike: set[str] = set()

    def result(self) -> tuple[tuple[CheckpointStats, ...], WeightSummary, ModelFacts]:
        names = list(dict.fromkeys(n for order in self.orders for n in order))
        for i, name in enumerate(names):
            self.progress(name, i / len(names))
            self._tensor(name)
        found = [self._optimizer(i) for i in range(len(self.saved))]
        model = model_facts(self.saved, self.places, self.orders)
        stats = tuple(
            CheckpointStats(
                path=c.path,
                step=c.step,
                epoch=c.epoch,
                tensors=tuple(self.tensors[i][n] for n in self.orders[i] if n in self.tensors[i]),
                gradients=found[i][1],
                updates=tuple(self.updates[i][n] for n in self.orders[i] if n in self.updates[i]),
                optimizer=found[i][0],
            )
            for i, c in enumerate(self.saved)
        )
        compared = any(self.updates)
        change = {n: self.change[n] for n in model.weight_layers if n in self.change}
        return stats, summarise(stats, change, self.still if compared else None, frozenset(self.alike), model), model

    def _optimizer(self, i: int) -> tuple[OptimizerFacts | None, tuple[GradientStats, ...]]:
        checkpoint = self.saved[i]
        if checkpoint.optimizer is None:
            return None, ()
        names, known = names_of(checkpoint.optimizer, checkpoint, self.places[i], self.orders[i])
        return optimizer_facts(checkpoint, names, known, self.places[i]), gradients(self.files, checkpoint.optimizer, names)

    def _tensor(self, name: str) -> None:
        """One tensor over all checkpoints, each read once."""
        first: tuple[int, Real] | None = None
        previous: tuple[int, Raw, Real] | None = None
        before: Real | None = None
        identical, compared = True, False
        last_finite: tuple[int, Real] | None = None
        for i, checkpoint in enumerate(self.saved):
            ref = self.refs[i].get(name)
            if ref is None:
                continue
            try:
                raw = self.files.whole(ref)
            except NotWholeError:
                continue
            values = as_real(raw, ref.dtype)
            figures = figures_of(values, ref.dtype)
            place = self.places[i][name]
            rows = row_facts(values, ref.shape, outputs_last=place.outputs_last) if place.role == Role.WEIGHT else None
            self.tensors[i][name] = tensor_stats(ref, place, figures, rows, checkpoint.trainable)
            if i == len(self.saved) - 1 and rows is not None and rows.all_alike:
                self.alike.add(name)
            if previous is not None and len(previous[2]) == len(values):
                movement = Movement()
                movement.add(previous[2], values, before if before is not None and len(before) == len(values) else None)
                same = raw.dtype == previous[1].dtype and raw.tobytes() == previous[1].tobytes()
                earlier = self.saved[previous[0]]
                self.updates[i][name] = UpdateStats(
                    name, earlier.step, checkpoint.step, movement.relative_change, same, movement.norm_ratio, movement.cosine
                )
                identical &= same
                compared = True
            if not figures.nan and not figures.positive_inf and not figures.negative_inf:
                first = first or (i, values)
                last_finite = (i, values)
            before = previous[2] if previous is not None else None
            previous = (i, raw, values)
        if first is not None and last_finite is not None and first[0] != last_finite[0] and len(first[1]) == len(last_finite[1]):
            whole = Movement()
            whole.add(first[1], last_finite[1])
            self.change[name] = whole.relative_change
        if compared and identical:
            self.still.append(name)


def tensor_stats(ref: TensorRef, place: Layout, figures: Figures, rows: RowFacts | None, trainable: Mapping[str, bool] | None) -> TensorStats:
    """The figures with the tensor's name and place."""
    scale = None
    if place.fan_in and place.role == Role.WEIGHT:
        spread = figures.std * math.sqrt(3 * place.fan_in)
        scale = math.log10(spread) if spread > 0 else -math.inf if spread == 0 else math.nan
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
        fan_in=place.fan_in if place.role == Role.WEIGHT else None,
        scale=scale,
        dead_rows=rows.dead if rows is not None else None,
        identical_rows=rows.identical if rows is not None else None,
        requires_grad=ref.requires_grad if ref.requires_grad is not None else (trainable or {}).get(ref.name),
    )
