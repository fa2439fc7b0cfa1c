"""What was measured of that which only a look inside a training job shows: batches, activations, gradients and updates as they were."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class BatchStats:
    """The batches that were recorded, taken together. None where it was not recorded or says nothing."""

    indices: bool = False  # inputs are whole numbers without a scale, such as token ids
    mean: float | None = None  # medians over training batches
    std: float | None = None
    low: float | None = None  # lowest and highest value of all of them
    high: float | None = None
    target_mean: float | None = None  # of labels that are numbers to be predicted, the same medians
    target_std: float | None = None
    val_mean: float | None = None
    val_std: float | None = None
    non_finite: float = 0.0  # most in one training batch
    non_finite_share: float = 0.0  # of the training batches
    non_finite_step: float | None = None
    outside: float = 0.0  # most labels outside of the head's classes in one batch
    outside_step: float | None = None
    constant_samples: float | None = None  # median share of samples that hold one value everywhere
    copies: float | None = None  # median share of samples that equal another one of their batch
    repeated: float | None = None  # share of samples met before in the epoch (in the batch before, where no epoch was told), at the end
    distinct: int | None = None  # different batches among those recorded, by their samples
    fingerprints: int = 0  # batches with a fingerprint
    again_after_resume: bool | None = None  # the first batch after a resume is one from the beginning of the run; None without a resume
    overlap: float | None = None  # share of a validation batch's samples that were trained on
    classes: int | None = None  # met among the labels
    largest_share: float | None = None  # of one class among the labels of all recorded training batches
    label_shift: float | None = None  # total variation between the labels of the two splits, 0 to 1
    clustering: float | None = None  # 0: each batch is a fair draw of the classes; 1: each holds one class (of several)
    relation: float | None = None  # how far labels can be predicted from inputs: 0 guessing, 1 perfect
    relation_z: float | None = None  # the same in standard errors of guessing
    relation_samples: int = 0


@dataclass(frozen=True, slots=True)
class LayerStats:
    """Activations, gradients and updates on the steps that were looked at. Names as the model has them, in its order."""

    dead: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # module → share of silent units, at the end
    dead_at_start: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    dead_from: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # the step from which most of them stay silent
    saturated: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # module → share of outputs at a limit, at the end
    saturated_at_start: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    gradients: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # parameter → median RMS
    depth_ratio: float | None = None  # log10(gradient RMS of the first / the last weight matrix), median of the looks
    without_gradient: tuple[str, ...] = ()  # trainable, and .grad was None on every step
    cut_below: bool = False  # the first trainable parameter of the model is among them
    still: tuple[str, ...] = ()  # no update changed them, on any step
    moved: int = 0  # parameters that some update changed
    not_held: tuple[str, ...] = ()  # trainable parameters with a gradient that no group of the optimizer holds
    uncleared: tuple[int, int] | None = None  # looks after the first that met gradients of an earlier update, of how many that could
    optimizer_steps: float | None = None  # most between two looks; 0 where the optimizer never stepped

    @property
    def deadest(self) -> tuple[str, float]:
        """The module most of whose units are silent at the end."""
        return max(self.dead.items(), key=lambda kv: kv[1], default=("", 0.0))

    @property
    def fullest(self) -> tuple[str, float]:
        """The module most of whose outputs are at a limit at the end."""
        return max(self.saturated.items(), key=lambda kv: kv[1], default=("", 0.0))
