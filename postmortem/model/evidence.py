"""What was measured. Plain figures: checks judge them, plots show them, nothing here is computed.

A figure that could not be measured is None; a figure that was measured and is not finite is `nan` or `inf`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from postmortem.model.captured import BatchStats, LayerStats
from postmortem.model.curves import Chance, CurveStats, GapStats, PaceStats, ScheduleStats
from postmortem.model.run import (
    Attempt,
    AxisUnit,
    Checkpoint,
    EventKind,
    LogEvent,
    Outcome,
    Series,
    Setting,
    Source,
)
from postmortem.model.sentence import Sentence
from postmortem.model.tensors import CheckpointStats, ModelFacts, WeightSummary


@dataclass(frozen=True, slots=True)
class Baseline:
    """How the run lies to a good run of the same training. None where it needs what one of them did not log."""

    settings: tuple[str, ...]  # hyper-parameters that differ, as written; not those of length
    training: bool | None = None  # the training loss stays with the good run's to the end
    validation_at: float | None = None  # step or epoch from which validation is worse than the good run's; None: never
    validation_gap: float | None = None  # ln of the validation loss over that of the good run, at the last evaluation that both have
    evaluations: int = 0  # that both have
    learns: bool = False  # the good run learned: its training loss fell
    depth_shift: float | None = None  # log10 of (first / last layer's gradient, else movement) over that of the good run; −inf: no gradient


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Everything that checks may look at, for one attempt of a run."""

    curves: Mapping[str, CurveStats]  # by canonical name
    series: Mapping[str, Series]  # the points, for `at`
    gap: GapStats | None
    schedule: ScheduleStats | None
    chance: Chance
    pace: PaceStats
    checkpoints: tuple[CheckpointStats, ...]
    weights: WeightSummary
    model: ModelFacts
    saved: tuple[Checkpoint, ...]  # as read, for their status
    events: tuple[LogEvent, ...]
    settings: tuple[Setting, ...]
    sources: tuple[Source, ...]
    attempts: tuple[Attempt, ...]
    family: str  # classifier, language-model, regression, autoencoder, gan, reinforcement, preference, detection, ""
    family_stated: bool
    framework: str
    outcome: Outcome
    axis: AxisUnit
    steps_per_epoch: float | None
    first_step: float | None
    last_step: float | None
    last_epoch: float | None
    planned_steps: float | None
    planned_epochs: float | None
    intents: Mapping[str, Sentence] = field(default_factory=lambda: MappingProxyType({}))  # intent → where it was read off
    ignored: frozenset[str] = frozenset()  # modes that the user told us not to look for
    batches: BatchStats | None = None  # what was recorded inside the training job
    layers: LayerStats | None = None
    baseline: Baseline | None = None  # where a good run was given

    def curve(self, name: str) -> CurveStats | None:
        """The figures of a curve, None when it was not logged."""
        return self.curves.get(name)

    def at(self, name: str, step: float) -> float | None:
        """The last finite value of a series logged at or before `step`; the first one when all are later; None without any."""
        found = self.at_each(name, (step,))
        return found[0] if found else None

    def at_each(self, name: str, steps: Sequence[float]) -> list[float]:
        """What `at` says at each of some steps; nothing where it says None."""
        series = self.series.get(name)
        if series is None:
            return []
        keep = np.isfinite(series.values)
        known, values = series.steps[keep], series.values[keep]
        return [float(v) for v in values[np.maximum(np.searchsorted(known, steps, side="right") - 1, 0)]] if len(values) else []

    def quantile(self, name: str, share: float, before: float | None = None) -> float | None:
        """The value below which `share` of a series lies, of its finite values logged before a step; None below four of them."""
        series = self.series.get(name)
        if series is None:
            return None
        values = series.values[np.isfinite(series.values) & (series.steps < (math.inf if before is None else before))]
        return float(np.quantile(values, share)) if len(values) >= 4 else None

    def epoch_at(self, step: float | None) -> float | None:
        """The epoch (1-based count of epochs done, fractional) at a step; None when epochs are not known."""
        if step is None or not self.steps_per_epoch:
            return None
        return step / self.steps_per_epoch

    def setting(self, name: str) -> Setting | None:
        """A setting by canonical name; of several widths that of hidden layers before that of an embedding."""
        said = [s for s in self.settings if s.name == name]
        return min(said, key=lambda s: name == "model_width" and "emb" in s.key.lower(), default=None)

    def number(self, name: str) -> float | None:
        """A setting's value when it is a number."""
        setting = self.setting(name)
        if setting is None or isinstance(setting.value, bool) or not isinstance(setting.value, int | float):
            return None
        return float(setting.value)

    def events_of(self, *kinds: EventKind) -> tuple[LogEvent, ...]:
        """Events of those kinds, in order."""
        return tuple(e for e in self.events if e.kind in kinds)
