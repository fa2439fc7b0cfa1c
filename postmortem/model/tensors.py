"""What was measured of checkpoints: weights, gradients as the optimizer remembers them, and the steps between two saves.

A figure that could not be measured is None; a figure that was measured and is not finite is `nan` or `inf`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from postmortem.model.sentence import Sentence


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
    """One tensor of one checkpoint: name, dtype and shape as saved, role as `Role` says, requires_grad as saved (None where nothing says).

    Counts are of elements; a complex element is two: its parts. count = nan + positive_inf + negative_inf + finite ones, of which `zero` are 0 or
    −0 and `subnormal` smaller than the smallest normal number of the type. mean = Σx/n, rms = √(Σx²/n), low and high are of the finite values,
    in the tensor's unit, exact to rounding in float64; nan where there are none. histogram : of the finite values, in 60 bins or so, logarithmic.
    Beyond 131,072 elements quantiles and kurtosis of all but 16-bit types are those of the values to 2⁻⁸ relative. Figures of rows are None below
    two axes, for complex numbers, and for a large tensor that lies in the file in another order.
    """

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
    quantiles: tuple[float, ...]  # least value with that share at or below it: at 0.001 0.01 0.05 0.25 0.5 0.75 0.95 0.99 0.999
    kurtosis: float  # Σ(x − mean)⁴ / (n · std⁴) − 3; nan for a constant tensor
    histogram: Histogram
    fan_in: int | None = None  # None unless a weight
    scale: float | None = None  # log10(std · √(3 · fan_in)): 0 for torch's default initialisation of Linear and Conv
    dead_rows: float | None = None  # share of output units whose incoming weights are all exactly 0
    identical_rows: float | None = None  # share of rows, not 0, that equal another within 1e-4 of the largest magnitude; 0 beside NaN or Inf
    row_cosine: float | None = None  # mean cosine between two output units' incoming weights; of a large tensor in 16 of its columns
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

    outputs: int  # logits
    from_uniform: float  # KL(uniform ‖ softmax(b)): 0 where the bias prefers no class
    from_labels: float | None  # KL(labels ‖ softmax(b)): 0 where the bias is the prior of the training labels; None where they are not known


@dataclass(frozen=True, slots=True)
class GradientStats:
    """The gradient of one parameter (`name`), from whatever recorded it (`source`). Formulas: `measure.gradients`, by optimizer.

    Means are over the finite elements, of second moments over those that are not negative either; nan where there are none.
    """

    name: str
    source: Literal["adam", "adam-window", "rmsprop", "adagrad", "adafactor", "momentum", "saved-grad", "logged", "captured"]
    rms: float  # √ mean over elements of E[g²] (bias-corrected); for momentum: RMS of the buffer (SGD's sum, the running mean of Lion and Adamax)
    mean_ratio: float | None  # RMS of E[g] / RMS of √E[g²]: near 1 when all steps agree, near 0 when noise
    zero_share: float  # share of elements whose second moment is exactly 0
    below_epsilon: float | None  # share with √v̂ below the optimizer's ε
    non_finite: int  # elements left out: NaN, infinite, or a negative second moment
    step: float | None = None  # the optimizer's own count for this parameter
    decay_share: float | None = None  # share of rms² that L2 decay alone accounts for, 0 to 1: near 1 the gradient itself cannot be told
    inputs: InputScales | None = None  # of a matrix with few columns


ALL_OF_IT = 0.999  # share of a change that lies along the tensor itself; rounding leaves 1e-4 of a change of 1e-3


@dataclass(frozen=True, slots=True)
class UpdateStats:
    """How one tensor (`name`) moved between two checkpoints, a at `from_step` and b at `to_step` (training steps, None where not known).

    ‖x‖ = √Σx² over all elements, in float64 with a common power of two taken out. NaN and Inf go through: a figure of them is nan or inf.
    """

    name: str
    from_step: float | None
    to_step: float | None
    relative_change: float  # ‖b − a‖ / ‖a‖; inf when a is 0 and b is not, 0 when both are 0
    identical: bool  # bit for bit
    norm_ratio: float  # ‖b‖ / ‖a‖
    cosine: float | None  # Σ(b − a)(a − z) / ‖b − a‖‖a − z‖, z the copy before a; None for the first, and where a change is 0 or not finite
    rms: float | None = None  # of b − a, over elements
    effective_rate: float | None = None  # learning rate that would explain it: see `measure.updates.effective_rate`
    # share of rows that are bit-identical (of a large tensor in 16 of their columns): units without a gradient, words that never came; None but for
    # weights and embeddings of two axes or more, and for complex numbers
    still_rows: float | None = None

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
    """What a saved optimizer tells beside gradients. Names are those of the checkpoint's tensors, or "#3" for a parameter that none is known of.

    Steps are the optimizer's own updates. A setting of NaN is kept as such; one that is no number is left out.
    """

    kind: str  # lower case: adam, adamw, sgd, keras-adam, …; "" where slots and settings fit several
    step: float | None  # the largest count of any of its parameters; else the checkpoint's own; None where neither counts
    lag: float | None  # updates that the checkpoint counts − that; None when one is unknown, or below 0: it counts something else
    has_state: bool  # any parameter has a state, or the optimizer counted steps; ask `keeps_state` before concluding from False
    stateless: tuple[str, ...]  # parameters in its groups that have no state; () where the checkpoint is cut, or no state tells nothing
    absent: tuple[str, ...] | None  # tensors that should learn (beside adapters those alone) in none of its groups; None when it cannot be told
    learning_rates: tuple[float, ...]  # of its groups, in their order
    settings: Mapping[str, float]  # of the first group: lr, eps, beta1, beta2, momentum, …; weight_decay is the largest of any group
    # whose memory is whose: as saved; told by the sequence of shapes; by shapes that several tensors have; not at all
    names_known: Literal["saved", "matched", "ambiguous", "no"] = "no"
    keeps_state: bool = True  # False where an empty state tells nothing: gradient descent without momentum, or nothing of it could be read
    unmeasured: Sentence | None = None  # why its state says nothing of gradients, None where it is read


@dataclass(frozen=True, slots=True)
class CheckpointStats:
    """One checkpoint, measured. `tensors` are in forward order as far as names tell (see `measure.ordering`)."""

    path: str  # relative to the run; of several files, the directory or the first of them
    step: float | None  # as saved, else as its name says, else as its optimizer counted; None where nothing tells
    epoch: float | None  # as saved
    tensors: tuple[TensorStats, ...]  # without those of `unread`; a second name of shared bytes is one more
    gradients: tuple[GradientStats, ...] = ()  # as its optimizer remembers them, then those since the checkpoint before ("adam-window")
    updates: tuple[UpdateStats, ...] = ()  # against the checkpoint before in time that has the tensor, if it has this shape there
    optimizer: OptimizerFacts | None = None  # None where none was saved with it
    unread: tuple[str, ...] = ()  # tensors whose bytes are not all there, or hold no numbers
    prior: BiasPrior | None = None  # of the head's bias, None where it has none

    def tensor(self, name: str) -> TensorStats | None:
        """Of that name, None without."""
        return next((t for t in self.tensors if t.name == name), None)

    @property
    def non_finite(self) -> tuple[str, ...]:
        """Names of tensors with a NaN or Inf."""
        return tuple(t.name for t in self.tensors if t.non_finite)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What names and shapes of tensors say of the model: those of the checkpoint with most tensors, the last of several.

    Nothing here is made of values, NaN or not. Numbers are elements; bytes that have two names count once. Without a checkpoint all is as below.
    """

    parameters: int | None = None  # of all tensors but buffers: masks, counters, running statistics, whole numbers
    trainable: int | None = None  # of those, what was not saved as requires_grad = False; None where no tensor says
    weight_layers: tuple[str, ...] = ()  # names of weight matrices and kernels, input to output; no embeddings, no adapters
    head: str | None = None  # name of the output layer's weight: the last of them, or the embedding where that is used again
    outputs: int | None = None  # its number of rows
    recurrent: bool = False  # a weight is named as those of an RNN, LSTM or GRU are
    normalised: bool | None = None  # has a gain, a bias or statistics of a normalisation; None without a checkpoint
    residual: bool | None = None  # True for attention, or where names speak of a shortcut; None, never False: other sums have no name
    batch_norm: bool = False  # has running variances
    adapters: bool = False  # has tensors of LoRA or its kin
    tied: bool = False  # the head's bytes are another tensor's, or the model ends in its embedding
    # first word of a name, or the first two where all share the first → parameters, trainable (as above)
    modules: Mapping[str, tuple[int, int | None]] = field(default_factory=lambda: MappingProxyType({}))
    # "transformer" (has attention), else "recurrent", else "convolutional" (a kernel of three axes or more), else "mlp" (has weights), else ""
    architecture: str = ""
    heads: int | None = None  # attention heads of queries; None where nothing tells, or not the same in all layers (see `measure.heads`)
    key_heads: int | None = None  # of keys, fewer where several queries share one
    head_size: int | None = None  # rows of one
    heads_told_by: str = ""  # the tensor or the setting


@dataclass(frozen=True, slots=True)
class WeightSummary:
    """The checkpoints taken together; what checks ask for most. None where it needs what was not saved."""

    checkpoints: int
    change: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # first → last, per weight layer
    change_median: float | None = None  # of them
    change_first_to_last_layer: float | None = None  # change of the first weight layer / of the last (the head)
    identical_share: float | None = None  # parameters (by tensor; those with NaN or Inf do not count) bit-identical over all checkpoints
    identical: tuple[str, ...] = ()  # their names
    identical_elements_share: float | None = None  # the same, by number of elements
    decayed: tuple[str, ...] = ()  # parameters that weight decay alone moved: nothing but shrank, all elements by the same factor
    as_drawn: tuple[str, ...] = ()  # weight layers of the last checkpoint that fill the bounds of a usual uniform initialisation: never updated
    highest_scale: float | None = None  # of the last finite checkpoint, over weight layers
    median_scale: float | None = None  # of the same
    first_highest_scale: float | None = None  # of the first checkpoint
    first_median_scale: float | None = None  # of the first, too
    scale_drift: float | None = None  # median over layers of scale(last) − scale(first)
    zero_weight_share: float | None = None  # weight layers that are exactly 0 in the last checkpoint
    zero_rows: tuple[str, float] | None = None  # weight layer of the last checkpoint with the largest share of rows that are exactly 0, and it
    symmetric_share: float | None = None  # weight layers with equal rows or columns, or nearly one number; none that is 0
    first_row_cosine: float | None = None  # median of `row_cosine` over the hidden weight layers of the first checkpoint; drawn ones lie about 0
    lowest_hidden_bias: float | None = None  # median of the most negative hidden bias vector, last finite checkpoint
    first_lowest_hidden_bias: float | None = None  # of the first finite checkpoint
    running_var_off: float | None = None  # median |ln running_var| over batch-norm layers of the last checkpoint
    running_var_lag: float | None = None  # median share of their way from 1 that running variances still have to go at the end
    gradient_depth_ratio: float | None = None  # log10(gradient RMS of first / last weight layer that has one), worst over checkpoints
    gradient_median: float | None = None  # log10 of the median gradient RMS, last checkpoint
    gradient_growth: float | None = None  # log10 of the median growth, first → last checkpoint
    memory_lag: float | None = (
        None  # log10 of (gradient RMS between the last two saves / what the second moments say at the last), median over weight layers:
    )
    # above 0 they are out of date and steps come out too large, below 0 they remember larger gradients than there are now
    gradient_zero_share: float | None = None  # elements of weight layers with a second moment of exactly 0
    gradient_dead_layers: tuple[str, ...] = ()  # weight layers that never got a gradient: second moments of exactly 0, or decay alone moved them
    gradient_source: str = ""  # `GradientStats.source` of these figures
    input_scales: InputScales | None = None  # of the first weight layer, last checkpoint whose optimizer remembers it
    low_precision: str | None = None  # "float16" or "bfloat16" when most parameters are stored so
    first_non_finite: str | None = None  # path of the first checkpoint with NaN/Inf
    last_finite: str | None = None  # path of the last one without
    finite_in: Mapping[str, tuple[str, str]] = field(
        default_factory=lambda: MappingProxyType({})
    )  # tensor that has NaN/Inf somewhere → first and last path without
    lowest_norm_gain: float | None = None  # smallest and largest median of a normalisation's gain, last finite checkpoint (1 at the start)
    highest_norm_gain: float | None = None  # the largest
    all_non_finite: bool = False  # every weight of the last checkpoint is NaN/Inf
