"""What was measured. Plain figures: checks judge them, plots show them, nothing here is computed.

A figure that could not be measured is None; a figure that was measured and is not finite is `nan` or `inf`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np

from postmortem.model.captured import BatchStats, LayerStats
from postmortem.model.run import (
    Attempt,
    AxisUnit,
    Checkpoint,
    EventKind,
    LogEvent,
    Outcome,
    Reduction,
    Series,
    Setting,
    Source,
)
from postmortem.model.sentence import Sentence

# --- curves ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trend:
    """Theil–Sen slope with the Mann–Kendall test."""

    slope: float  # units of the series per step
    tau: float  # Kendall's tau, −1 to 1
    p_value: float  # two-sided
    points: int


@dataclass(frozen=True, slots=True)
class Spike:
    """A short jump away from the level around it."""

    step: float
    value: float
    level: float  # median of the points before
    height: float  # (value − level) in units of the curve's noise
    ratio: float  # value / level; nan when level ≤ 0
    width: int  # points above the level
    recovery: Literal["fast", "slow", "never"]
    prominence: float = float("nan")  # (value − level) / the largest such rise anywhere else in the curve


@dataclass(frozen=True, slots=True)
class Halves:
    """Where a curve lies in its second half, taken as independent records about one level."""

    mean: float
    error: float  # standard error of that mean, at least that of the rounding in print
    fell: float  # (mean of the first quarter − mean), in standard errors of the difference


@dataclass(frozen=True, slots=True)
class Oscillation:
    """How a curve swings about its smooth."""

    turn_rate: float  # share of inner points that are local extrema; 2/3 for white noise, 0 for a monotone curve
    period: float | None  # points, from the autocorrelation of the residual
    period_epochs: float | None
    strength: float  # autocorrelation at that period, 0 when no period stands out
    amplitude: float  # p95 − p5 of the residual, in units of the series


@dataclass(frozen=True, slots=True)
class Asymptote:
    """Where the curve was heading: y = limit + a·exp(−step/b), or limit + a·step^−b, whichever fits better."""

    kind: Literal["exponential", "power"]
    limit: float
    remaining: float  # (final − limit) / (start − limit): share of the whole drop that was still to come
    r_squared: float


@dataclass(frozen=True, slots=True)
class NonFinite:
    """NaN or Inf in a curve."""

    first_step: float
    kind: Literal["nan", "inf"]
    count: int
    share: float  # of all points from the first one on
    recovered: bool  # finite again at the end
    points_before: int  # finite points before the first one
    last_finite: float | None  # value and
    last_finite_step: float | None  # step of the last finite point before the first one
    growth_before: float | None  # log10(last finite / median of the finite points before it), None below 3 points
    hidden: bool = False  # printed as 0.0 by a filter while the gradient norm was NaN (transformers' logging_nan_inf_filter)


@dataclass(frozen=True, slots=True)
class CurveStats:
    """One series in figures. `goal` says which way is better; `gain` and `lost` are positive when the curve got better / worse.

    start, final : robust ends: medians of the first and last `max(1, min(n // 10, 50))` finite points.
    best : best value of the smooth (running median of 5, narrower for short curves), at `best_step`.
    """

    name: str
    goal: Literal["lower", "higher"]
    reduction: Reduction
    points: int
    finite: int
    first_step: float
    last_step: float
    first: float  # first finite value, nan if there is none
    last: float  # last finite value
    start: float
    final: float
    best: float
    best_step: float
    worst: float
    worst_step: float
    lowest: float  # of the raw finite values
    highest: float
    highest_step: float
    leap: float  # the rise from the record before the highest one to it / the largest other rise between neighbours; inf without one
    noise: float  # robust sigma of (value − smooth)
    quantum: float | None  # printed precision
    distinct: int  # distinct finite values
    gain: float  # |best − start| in the direction of the goal, ≥ 0
    relative_gain: float  # gain / |start|
    lost_ground: float  # |final − best| / gain; inf when nothing was gained and something lost; 0 when nothing was lost
    net_change: float  # (final − start) / |start|
    log_growth: float  # log10(final / start), nan unless both > 0
    peak_log_growth: float  # log10(highest / start), nan unless both > 0
    trend: Trend | None  # None below 4 finite points
    tail: Trend | None  # of the last third, at least 4 points
    after_best: Trend | None  # of the points from the best one on, at least 4 points
    turn_step: float | None  # change point at which falling became rising (for goal lower), None when it never did
    plateau_step: float | None  # from where on the curve stays within 3 noise units of its final value, None when it never settles
    plateau_share: float  # share of the run spent there, 0 to 1
    zeros: int  # exact zeros
    spikes: tuple[Spike, ...] = ()
    oscillation: Oscillation | None = None  # None below 8 finite points
    asymptote: Asymptote | None = None  # None below 6 finite points or without a fit
    non_finite: NonFinite | None = None
    halves: Halves | None = None  # None below 8 finite points
    still_from: float | None = None  # step from which on it stays within 1e-5 of its last value; None when it moves to the end, or print hides it

    @property
    def constant(self) -> bool:
        """All finite values are the same (and there are at least two)."""
        return self.distinct == 1 and self.finite > 1

    @property
    def floor(self) -> float:
        """What a loss cannot fall below: −1 for one that ends below 0 and never went below −1, as where a Dice coefficient or a cosine
        similarity is subtracted; else 0."""
        return -1.0 if self.final < 0.0 and self.lowest >= -1.001 else 0.0  # rounding of a single-precision cosine


@dataclass(frozen=True, slots=True)
class GapStats:
    """Validation loss against training loss at the same steps (training values averaged between evaluations).

    gap = ln(validation / train); nan where one of them is not positive (then only `difference` speaks). Where the training loss has a
    floor of −1 (see `CurveStats.floor`), ratios and shares are those of the distances from it.
    """

    evaluations: int
    first_gap: float
    gap: float  # at the end (median of the last two evaluations when there are five or more)
    best_gap: float  # where validation was best
    difference: float  # validation − train at the end
    rise: float  # ln(validation at the end / its minimum), nan unless positive
    best_step: float  # of validation
    best_index: int  # evaluation that was best, 0-based
    evaluations_after_best: int
    train_fell_after_best: float  # (train at best − train at end) / train at best
    halved_step: float | None  # first evaluation by which the training loss was half of what either loss was at the first one; None: never
    opened_step: float | None  # first evaluation from which the gap stays above its value before for good
    validation_trend_after_best: Trend | None
    erratic: float  # share of evaluations at which the validation loss turned by more than 2 %, beyond the one turn of a valley


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the learning-rate schedule."""

    kind: Literal["warmup", "constant", "decay", "rise", "zero"]
    first_step: float
    last_step: float
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class ScheduleStats:
    """The learning rate over training. `peak` is the highest value without short leaps: one absurd value is a jump and not the peak."""

    source: Literal["logged", "optimizer", "configured"]
    first: float
    final: float
    peak: float
    highest: float
    highest_step: float
    zero_share: float  # share of points at exactly 0 (more than the printed precision can hide)
    low_share: float  # share of points below 1 % of the peak
    low_from_step: float | None  # first step from which it stays below 1 % of the peak to the end
    warmup_steps: float  # 0 when it starts at ≥ 90 % of the peak
    constant: bool
    cyclic: bool  # rises and falls three times or more
    phases: tuple[Phase, ...] = ()
    restarts: tuple[float, ...] = ()  # steps at which it jumped up by more than 2 × after having decayed
    jump: float = 1.0  # largest ratio between neighbouring points, up
    jump_step: float | None = None


@dataclass(frozen=True, slots=True)
class Chance:
    """What a model that knows nothing would score."""

    loss: float | None  # ln C; the variance of the target for a squared error; None when it cannot be told
    accuracy: float | None  # 1 / C
    classes: int | None
    basis: Literal["head", "configuration", "dataset", "first-loss", "target-variance", "explained-variance", ""]


@dataclass(frozen=True, slots=True)
class PaceStats:
    """Time as training spent it."""

    hours: float | None  # from the first to the last record that has a time
    seconds_per_step: float | None  # median
    slowdown: float | None  # median step time of the last tenth / of the first half
    longest_gap: float | None  # seconds between two records
    longest_gap_step: float | None
    gpus: int | None = None


# --- tensors --------------------------------------------------------------------------------------------------------


class Role:
    """What a tensor is for, as far as its name and shape tell."""

    WEIGHT = "weight"  # a matrix or kernel of a linear, convolution or recurrent layer
    BIAS = "bias"
    NORM_GAIN = "norm-gain"
    NORM_BIAS = "norm-bias"
    RUNNING_MEAN = "running-mean"
    RUNNING_VAR = "running-var"
    EMBEDDING = "embedding"
    ADAPTER = "adapter"  # LoRA A/B
    BUFFER = "buffer"  # a mask, a counter, positions
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts over signed bins. Non-finite values are counted elsewhere. `len(edges) == len(counts) + 1`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorStats:
    """One tensor of one checkpoint. Moments are of its finite values, in float64; nan for an empty tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str
    count: int
    nan: int
    positive_inf: int
    negative_inf: int
    zero: int
    subnormal: int
    mean: float
    std: float  # population (ddof 0), as torch's std(correction=0)
    rms: float
    low: float
    high: float
    quantiles: tuple[float, ...]  # at 0.001 0.01 0.05 0.25 0.5 0.75 0.95 0.99 0.999
    kurtosis: float  # excess; nan for a constant tensor
    histogram: Histogram
    fan_in: int | None = None  # None unless a weight
    scale: float | None = None  # log10(std · √(3 · fan_in)): 0 for torch's default initialisation of Linear and Conv
    dead_rows: float | None = None  # share of output units whose incoming weights are all exactly 0
    identical_rows: float | None = None  # share of rows that equal another row within 1e-4 relative (symmetry not broken)
    repeated_rows: int | None = None  # rows of the longest stretch that stands in it once more, in the same order
    heads: int | None = None  # attention heads in it, where their size is known
    twin_heads: int | None = None  # of those, how many equal another one
    requires_grad: bool | None = None
    initial: str | None = None  # usual initialisation whose spread is nearest: torch, lecun, kaiming, xavier, 0.02, unit
    initial_distance: float | None = None  # log10(std / what that one sets)

    @property
    def non_finite(self) -> int:
        """Number of NaN and infinite elements."""
        return self.nan + self.positive_inf + self.negative_inf


@dataclass(frozen=True, slots=True)
class InputScales:
    """RMS of a layer's inputs beside one another, in decades, as the optimizer's memory of its gradient shows them."""

    inputs: int
    largest: float  # log10(largest / median)
    quartiles: float  # log10(third / first quartile); nan where the memory is too noisy to tell


@dataclass(frozen=True, slots=True)
class BiasPrior:
    """softmax of the output layer's bias beside how often classes occur, as Kullback–Leibler divergences in nats."""

    outputs: int
    from_uniform: float  # KL(uniform ‖ softmax(b)): 0 where the bias prefers no class
    from_labels: float | None  # KL(labels ‖ softmax(b)): 0 where the bias is the prior of the training labels; None where they are not known


@dataclass(frozen=True, slots=True)
class GradientStats:
    """The gradient of one parameter, from whatever recorded it."""

    name: str
    source: Literal["adam", "adam-window", "rmsprop", "adagrad", "adafactor", "momentum", "saved-grad", "logged", "captured"]
    rms: float  # √ mean over elements of E[g²] (bias-corrected); for momentum: RMS of the buffer (SGD's sum, the running mean of Lion and Adamax)
    mean_ratio: float | None  # RMS of E[g] / RMS of √E[g²]: near 1 when all steps agree, near 0 when noise
    zero_share: float  # share of elements whose second moment is exactly 0
    below_epsilon: float | None  # share with √v̂ below the optimizer's ε
    non_finite: int
    step: float | None = None  # the optimizer's own count for this parameter
    decay_share: float | None = None  # share of rms² that L2 decay alone accounts for, 0 to 1: near 1 the gradient itself cannot be told
    inputs: InputScales | None = None  # of a matrix with few columns


ALL_OF_IT = 0.999  # share of a change that lies along the tensor itself; rounding leaves 1e-4 of a change of 1e-3


@dataclass(frozen=True, slots=True)
class UpdateStats:
    """How one tensor moved between two checkpoints."""

    name: str
    from_step: float | None
    to_step: float | None
    relative_change: float  # ‖b − a‖ / ‖a‖; inf when a is 0 and b is not, 0 when both are 0
    identical: bool  # bit for bit
    norm_ratio: float  # ‖b‖ / ‖a‖
    cosine: float | None  # with the previous change of the same tensor, None for the first
    rms: float | None = None  # of b − a, over elements
    effective_rate: float | None = None  # learning rate that would explain it: see `measure.updates.effective_rate`
    still_rows: float | None = None  # share of rows that are bit-identical: units without a gradient, words that never came; None but for matrices

    @property
    def only_shrank(self) -> bool:
        """All elements became smaller by one factor, to the rounding: ‖b − a‖ = ‖a‖ − ‖b‖, which no gradient does. Weight decay did."""
        return 0 < self.relative_change < 1 and 1.0 - self.norm_ratio > ALL_OF_IT * self.relative_change

    @property
    def steps(self) -> float | None:
        """Training steps between the two checkpoints, None where they are not known or do not increase."""
        if self.from_step is None or self.to_step is None or not 0 < self.to_step - self.from_step < math.inf:
            return None
        return self.to_step - self.from_step

    @property
    def change_per_step(self) -> float | None:
        """Update-to-weight ratio of one step, ‖Δw‖ / (‖w‖ · steps): a lower bound, exact when all steps point the same way."""
        return None if self.steps is None else self.relative_change / self.steps

    @property
    def growth_per_step(self) -> float | None:
        """Growth rate of the norm, ln(‖b‖ / ‖a‖) / steps; None where a norm is 0 or not finite."""
        return math.log(self.norm_ratio) / self.steps if self.steps is not None and 0 < self.norm_ratio < math.inf else None


@dataclass(frozen=True, slots=True)
class OptimizerFacts:
    """What a saved optimizer tells beside gradients."""

    kind: str
    step: float | None  # largest step count in its state
    lag: float | None  # optimizer steps that the checkpoint counts − that, None when one of them is unknown
    has_state: bool  # any parameter has a state, or the optimizer counted steps; ask `keeps_state` before concluding from False
    stateless: tuple[str, ...]  # parameters in its groups that have no state (names, or "#3")
    absent: tuple[str, ...] | None  # trainable tensors of the checkpoint in none of its groups; None when it cannot be told
    learning_rates: tuple[float, ...]
    settings: Mapping[str, float]  # of the first group: lr, weight_decay, eps, beta2, momentum, …
    names_known: Literal["saved", "matched", "ambiguous", "no"] = "no"
    keeps_state: bool = True  # False where an empty state tells nothing: gradient descent without momentum, or nothing of it could be read
    unmeasured: Sentence | None = None  # why its state says nothing of gradients, None where it is read


@dataclass(frozen=True, slots=True)
class CheckpointStats:
    """One checkpoint, measured. `tensors` are in forward order as far as names tell."""

    path: str
    step: float | None
    epoch: float | None
    tensors: tuple[TensorStats, ...]
    gradients: tuple[GradientStats, ...] = ()
    updates: tuple[UpdateStats, ...] = ()  # against the checkpoint before
    optimizer: OptimizerFacts | None = None
    unread: tuple[str, ...] = ()  # tensors whose bytes are not all there, or hold no numbers
    prior: BiasPrior | None = None  # of the head's bias, None where it has none

    def tensor(self, name: str) -> TensorStats | None:
        return next((t for t in self.tensors if t.name == name), None)

    @property
    def non_finite(self) -> tuple[str, ...]:
        """Names of tensors with a NaN or Inf."""
        return tuple(t.name for t in self.tensors if t.non_finite)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the checkpoints and the log say of the model."""

    parameters: int | None = None
    trainable: int | None = None
    weight_layers: tuple[str, ...] = ()  # names of weight matrices, input to output
    head: str | None = None  # name of the output layer's weight
    outputs: int | None = None  # its number of rows
    recurrent: bool = False
    normalised: bool | None = None  # has normalisation layers; None when names do not tell
    residual: bool | None = None
    batch_norm: bool = False
    adapters: bool = False  # LoRA and its kin
    tied: bool = False
    modules: Mapping[str, tuple[int, int | None]] = field(default_factory=lambda: MappingProxyType({}))  # part → parameters, trainable (if known)
    architecture: str = ""  # "transformer", "convolutional", "recurrent", "mlp", ""
    heads: int | None = None  # attention heads of queries; None where nothing tells, or not the same in all layers
    key_heads: int | None = None  # of keys, fewer where several queries share one
    head_size: int | None = None  # rows of one
    heads_told_by: str = ""  # the tensor or the setting


@dataclass(frozen=True, slots=True)
class WeightSummary:
    """The checkpoints taken together; what checks ask for most. None where it needs what was not saved."""

    checkpoints: int
    change: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # first → last, per weight layer
    change_median: float | None = None
    change_first_to_last_layer: float | None = None  # change of the first weight layer / of the last (the head)
    identical_share: float | None = None  # parameters (by tensor; those with NaN or Inf do not count) bit-identical over all checkpoints
    identical: tuple[str, ...] = ()
    identical_elements_share: float | None = None  # the same, by number of elements
    decayed: tuple[str, ...] = ()  # parameters that weight decay alone moved: nothing but shrank, all elements by the same factor
    as_drawn: tuple[str, ...] = ()  # weight layers of the last checkpoint that fill the bounds of a usual uniform initialisation: never updated
    highest_scale: float | None = None  # of the last finite checkpoint, over weight layers
    lowest_scale: float | None = None
    median_scale: float | None = None
    first_highest_scale: float | None = None  # of the first checkpoint
    first_median_scale: float | None = None
    scale_drift: float | None = None  # median over layers of scale(last) − scale(first)
    zero_weight_share: float | None = None  # weight layers that are exactly 0 in the last checkpoint
    zero_rows: tuple[str, float] | None = None  # weight layer of the last checkpoint with the largest share of rows that are exactly 0, and it
    symmetric_share: float | None = None  # weight layers with equal rows or columns, or nearly one number; none that is 0
    lowest_hidden_bias: float | None = None  # median of the most negative hidden bias vector
    running_var_off: float | None = None  # median |ln running_var| over batch-norm layers of the last checkpoint
    running_var_lag: float | None = None  # median share of their way from 1 that running variances still have to go at the end
    gradient_depth_ratio: float | None = None  # log10(gradient RMS of first / last weight layer that has one), worst over checkpoints
    gradient_median: float | None = None  # log10 of the median gradient RMS, last checkpoint
    gradient_growth: float | None = None  # log10 of the median growth, first → last checkpoint
    gradient_zero_share: float | None = None  # elements of weight layers with a second moment of exactly 0
    gradient_dead_layers: tuple[str, ...] = ()  # weight layers that never got a gradient: second moments of exactly 0, or decay alone moved them
    gradient_source: str = ""
    input_scales: InputScales | None = None  # of the first weight layer, last checkpoint whose optimizer remembers it
    low_precision: str | None = None  # "float16" or "bfloat16" when most parameters are stored so
    first_non_finite: str | None = None  # path of the first checkpoint with NaN/Inf
    last_finite: str | None = None
    finite_in: Mapping[str, tuple[str, str]] = field(
        default_factory=lambda: MappingProxyType({})
    )  # tensor that has NaN/Inf somewhere → first and last path without
    lowest_norm_gain: float | None = None  # smallest and largest median of a normalisation's gain, last finite checkpoint (1 at the start)
    highest_norm_gain: float | None = None
    head_bias_spread: float | None = None  # largest − smallest output bias: log-odds that the head gives one class over another before it looks
    update_per_step: float | None = None  # median over weight layers of ‖Δw‖ / (‖w‖ · steps), between the last two checkpoints
    all_non_finite: bool = False  # every weight of the last checkpoint is NaN/Inf


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


# --- everything -----------------------------------------------------------------------------------------------------


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
        series = self.series.get(name)
        if series is None:
            return None
        keep = np.isfinite(series.values)
        steps, values = series.steps[keep], series.values[keep]
        if not len(values):
            return None
        return float(values[max(0, int(np.searchsorted(steps, step, side="right")) - 1)])

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
        """A setting by canonical name."""
        return next((s for s in self.settings if s.name == name), None)

    def number(self, name: str) -> float | None:
        """A setting's value when it is a number."""
        setting = self.setting(name)
        if setting is None or isinstance(setting.value, bool) or not isinstance(setting.value, int | float):
            return None
        return float(setting.value)

    def events_of(self, *kinds: EventKind) -> tuple[LogEvent, ...]:
        """Events of those kinds, in order."""
        return tuple(e for e in self.events if e.kind in kinds)
