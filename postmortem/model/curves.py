"""What was measured of logged curves. Plain figures: nothing here is computed.

A figure that could not be measured is None; a figure that was measured and is not finite is `nan` or `inf`.
"""

import math
from dataclasses import dataclass
from typing import Literal

from postmortem.model.run import Reduction


@dataclass(frozen=True, slots=True)
class Trend:
    """Theil–Sen slope with the Mann–Kendall test."""

    slope: float  # units of the series per step
    tau: float  # Kendall's tau, −1 to 1
    p_value: float  # two-sided
    points: int  # finite ones that it is of


@dataclass(frozen=True, slots=True)
class Spike:
    """A short jump away from the level around it."""

    step: float  # where it begins
    value: float  # at its highest point
    level: float  # median of the points before
    height: float  # (value − level) in units of the curve's noise
    ratio: float  # value / level; nan when level ≤ 0
    width: int  # points above the level
    recovery: Literal["fast", "slow", "never"]  # back at the level within 5 points, later, or not to the end
    prominence: float = float("nan")  # (value − level) / the largest such rise anywhere else in the curve


@dataclass(frozen=True, slots=True)
class Halves:
    """Where a curve lies in its second half, taken as independent records about one level."""

    mean: float  # of the records
    error: float  # standard error of that mean, at least that of the rounding in print
    fell: float  # (mean of the first quarter − mean), in standard errors of the difference


@dataclass(frozen=True, slots=True)
class Oscillation:
    """How a curve swings about its smooth."""

    turn_rate: float  # share of inner points that are local extrema; 2/3 for white noise, 0 for a monotone curve
    period: float | None  # points, from the autocorrelation of the residual
    period_epochs: float | None  # the same in epochs, None where their length is not known
    strength: float  # autocorrelation at that period, 0 when no period stands out
    amplitude: float  # p95 − p5 of the residual, in units of the series


@dataclass(frozen=True, slots=True)
class Asymptote:
    """Where the curve was heading: y = limit + a·exp(−step/b), or limit + a·step^−b, whichever fits better."""

    limit: float
    remaining: float  # (final − limit) / (start − limit): share of the whole drop that was still to come


@dataclass(frozen=True, slots=True)
class NonFinite:
    """NaN or Inf in a curve."""

    first_step: float  # of the first one
    kind: Literal["nan", "inf"]  # what the first one is
    count: int  # of all
    share: float  # of all points from the first one on
    recovered: bool  # finite again at the end
    points_before: int  # finite points before the first one
    last_finite: float | None  # value and
    last_finite_step: float | None  # step of the last finite point before the first one
    growth_before: float | None  # log10(last finite / median of the finite points before it), None below 3 points
    hidden: bool = False  # printed as 0.0 by a filter while the gradient norm was NaN (transformers' logging_nan_inf_filter)


@dataclass(frozen=True, slots=True)
class CurveStats:
    """One series (`name`, its values as `reduction` says) in figures. `goal` says which way is better.

    Levels are in units of the series, steps are those of the run. NaN and Inf count in `points` and `non_finite` alone; where no value is finite,
    figures are nan. first_step, last_step : of all points. `worst` : of the smooth. `highest` : of the raw values, at `highest_step`. `spikes` :
    in order, those that stand out of the noise.

    start, final : robust ends: medians of the first and last `max(1, min(n // 10, 50))` finite points; `final` of the last 3 from 12 points on
        where their noise exceeds what the curve still changes by within 3.
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
    lowest: float  # of the raw finite values
    highest: float
    highest_step: float
    leap: float  # the rise from the record before the highest one to it / the largest other rise between neighbours; inf without one
    noise: float  # robust sigma of (value − smooth)
    quantum: float | None  # printed precision
    distinct: int  # distinct finite values
    relative_gain: float  # gain / |start|, gain = |best − start| in the direction of the goal, ≥ 0
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
    def luck(self) -> float:
        """By how much the best of so many records may lie beyond their level by noise alone, in units of the series: √(2 ln n) standard
        deviations of the smooth (0.54 noise units, 0.67 below 30 points), which the largest of n normal deviates hardly exceeds. 0 below
        12 points, in which a bend passes for noise."""
        smoothed = 0.0 if self.finite < 12 else 0.67 if self.finite < 30 else 0.54
        return smoothed * self.noise * math.sqrt(2 * math.log(self.finite)) if smoothed else 0.0

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
    first_gap: float  # at the first evaluation
    gap: float  # at the end (median of the last two evaluations when there are five or more)
    difference: float  # validation − train at the end
    rise: float  # ln(validation at the end / its minimum), nan unless positive
    best_step: float  # of validation
    best_index: int  # evaluation that was best, 0-based
    best_between: tuple[float, float]  # first and last step of the evaluations that cannot be told from the best (90 % confidence)
    evaluations_after_best: int  # behind `best_index`
    train_fell_after_best: float  # (train at best − train at end) / train at best
    halved_step: float | None  # first evaluation by which the training loss was half of what either loss was at the first one; None: never
    opened_step: float | None  # first evaluation from which the gap stays above its value before for good
    validation_trend_after_best: Trend | None  # from `best_index` on; None below 4 evaluations
    erratic: float  # share of evaluations at which the validation loss turned by more than 2 %, beyond the one turn of a valley


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the learning-rate schedule of one `kind`, from `first_step` to `last_step`, which is the next one's first."""

    kind: Literal["warmup", "constant", "decay", "rise", "zero"]
    first_step: float
    last_step: float
    last: float  # rate at its end


@dataclass(frozen=True, slots=True)
class ScheduleStats:
    """The learning rate over training, as its `source` tells: `first` and `final` value, `phases` in order. `peak` is the highest value without
    short leaps: one absurd value is a jump and not the peak. constant : it varies by no more than its print can hide."""

    source: Literal["logged", "optimizer", "configured"]
    first: float
    final: float
    peak: float
    highest: float
    zero_share: float  # share of points at exactly 0 (more than the printed precision can hide)
    low_share: float  # share of points below 1 % of the peak
    low_from_step: float | None  # first step from which it stays below 1 % of the peak to the end
    warmup_steps: float  # 0 when it starts at ≥ 90 % of the peak
    constant: bool
    cyclic: bool  # rises and falls three times or more
    phases: tuple[Phase, ...] = ()
    restarts: tuple[float, ...] = ()  # steps at which it jumped up by more than 2 × after having decayed
    jump: float = 1.0  # largest ratio between neighbouring points, up
    jump_step: float | None = None  # where that was


@dataclass(frozen=True, slots=True)
class Chance:
    """What a model that knows nothing would score."""

    loss: float | None  # ln C; the variance of the target for a squared error; None when it cannot be told
    accuracy: float | None  # 1 / C
    classes: int | None  # C
    # what told it
    basis: Literal["head", "configuration", "dataset", "first-loss", "target-variance", "explained-variance", ""]


@dataclass(frozen=True, slots=True)
class PaceStats:
    """Time as training spent it."""

    hours: float | None  # from the first to the last record that has a time
    seconds_per_step: float | None  # median
    slowdown: float | None  # median step time of the last tenth / of the first half
    longest_gap: float | None  # seconds between two records
    longest_gap_step: float | None  # of the record behind it
    gpus: int | None = None  # as configured, or as a source told it
