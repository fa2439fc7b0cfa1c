"""What was measured of that which only a look inside a training job shows: batches, activations, gradients and updates as they were.

Every figure is one number over the looks that were recorded, each look a point of a series that `postmortem.capture` wrote. A point that is NaN or
infinite is left out of medians, extremes and the last value; where none is left, a figure of batches is None and a module is not named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class BatchStats:
    """The batches that were recorded, taken together. None where it was not recorded or says nothing.

    Inputs and targets are in units of the data; shares are 0 to 1; steps are the recorder's. "Median" is that over training batches, "at the end"
    the median over the last third of them, n // 3 and at least one. Series are `data/<statistic>`; labels are histograms with a bin a class.
    """

    indices: bool = False  # inputs are whole numbers without a scale, such as token ids
    mean: float | None = None  # median of a batch's mean over all finite elements of its inputs, …
    std: float | None = None  # … of its population standard deviation (ddof 0)
    low: float | None = None  # lowest and highest element of the inputs of all batches
    high: float | None = None  # the highest
    target_mean: float | None = None  # of labels that are numbers to be predicted, the same medians
    target_std: float | None = None  # of the same
    val_mean: float | None = None  # of validation batches, the same medians
    val_std: float | None = None  # of the same
    non_finite: float = 0.0  # most NaN and infinite elements (inputs and labels) in one training batch
    non_finite_share: float = 0.0  # training batches with any / those recorded
    non_finite_step: float | None = None  # of the first of them
    outside: float = 0.0  # most labels below 0 or not below the number of classes in one batch
    outside_step: float | None = None  # of the first such batch
    constant_samples: float | None = None  # median share of samples that hold one value everywhere
    copies: float | None = None  # median share of samples that equal an earlier one of their batch
    repeated: float | None = None  # share of samples met before in the epoch (in the batch before, where no epoch was told), at the end
    distinct: int | None = None  # different batches among those recorded, by their samples whatever the order
    fingerprints: int = 0  # batches with a fingerprint
    again_after_resume: bool | None = None  # one of the first 3 batches after the last resume is one of the run's first 3; None without a resume
    overlap: float | None = None  # share of a validation batch's samples that are among the recorded training samples, at the end: a lower bound
    classes: int | None = None  # met among the training labels
    largest_share: float | None = None  # of one class among the labels of all recorded training batches
    label_shift: float | None = None  # total variation ½ Σ |p − q| between the labels of the two splits, 0 to 1; None below 10 labels a class
    clustering: float | None = None  # 0: each batch is a fair draw of the classes; 1: each holds one class: see `measure.batches.clustering`
    relation: float | None = None  # how far labels can be predicted from inputs: 0 guessing, 1 perfect; the last told (`capture.relation`)
    relation_z: float | None = None  # the same in standard errors of guessing
    relation_samples: int = 0  # that it was told of


@dataclass(frozen=True, slots=True)
class LayerStats:
    """Activations, gradients and updates on the steps that were looked at. Names as the model has them, in its order.

    "At the end" is the median of the last 3 looks, "at the start" the first look. The series that a figure is made of stands behind it.
    """

    # module → share of its units (a layer's: of its inputs) that are 0 for every sample, at the end (activations/…/dead_share, silent_inputs)
    dead: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    dead_at_start: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # the same at the start
    dead_from: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # the step from which 90 % of them or more stay silent
    # module → share of outputs within 1 % of the range of a limit of their function, at the end (activations/…/saturated_share)
    saturated: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    saturated_at_start: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # the same at the start
    # parameter → median RMS of its elements, nan where it never was finite (gradients/…/rms)
    gradients: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    # log10(RMS of the first / of the last weight matrix that gets a gradient), over elements whose gradient is not 0, median of the looks; in
    # the order in which modules ran. None below two such matrices
    depth_ratio: float | None = None
    without_gradient: tuple[str, ...] = ()  # trainable, and .grad was None on every step (gradients/…/missing, and no rms)
    cut_below: bool = False  # the first trainable parameter of the model is among them
    still: tuple[str, ...] = ()  # no update changed them, on any step, by any bit that was looked at (updates/…/ratio); one of NaN did change
    moved: int = 0  # parameters that some update changed
    not_held: tuple[str, ...] = ()  # trainable parameters with a gradient that no group of the optimizer holds (updates/…/held)
    uncleared: tuple[int, int] | None = None  # looks after the first that met gradients of an earlier update, of how many that could
    optimizer_steps: float | None = None  # most between two looks; 0 where the optimizer never stepped, None where that was not counted

    @property
    def deadest(self) -> tuple[str, float]:
        """The module most of whose units are silent at the end, and their share; ("", 0) where none is known."""
        return max(self.dead.items(), key=lambda kv: kv[1], default=("", 0.0))

    @property
    def fullest(self) -> tuple[str, float]:
        """The module most of whose outputs are at a limit at the end, and their share; ("", 0) where none is known."""
        return max(self.saturated.items(), key=lambda kv: kv[1], default=("", 0.0))
