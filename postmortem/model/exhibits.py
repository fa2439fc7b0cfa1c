"""What plots and tables are drawn from: decimated curves, histograms, layers × checkpoints. Plain tuples, so that they travel in the JSON."""

from dataclasses import dataclass

from postmortem.model.sentence import Sentence


@dataclass(frozen=True, slots=True)
class CurveExhibit:
    """A curve, decimated to at most 2,000 points so that no extremum, spike or NaN is lost. `values` may hold nan and inf."""

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    points: int  # before decimation
    attempt: int = 0
    smooth: tuple[float, ...] = ()  # at the same steps; empty when the curve is not noisy


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical mark on the shared step axis."""

    step: float
    kind: str  # onset, visible, spike, turn, resume, checkpoint, bad-checkpoint, best-validation, gap, crash, lr-phase
    label: Sentence


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line on a curve: the chance level, a clip norm."""

    curve: str
    value: float
    label: Sentence


@dataclass(frozen=True, slots=True)
class HeatmapExhibit:
    """layers × checkpoints. `values[i][j]` is layer i in checkpoint j; None where not measured; nan and inf as measured."""

    quantity: str  # rms, std, relative-change, zero-share, gradient-rms, non-finite
    layers: tuple[str, ...]
    columns: tuple[str, ...]  # steps as text, or file names
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class DistributionExhibit:
    """The values of one tensor (or its gradient) in one checkpoint."""

    layer: str
    checkpoint: str
    quantity: str  # weight, gradient
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DepthExhibit:
    """A figure per weight layer from input to output, per checkpoint."""

    quantity: str  # gradient-rms, relative-change
    source: str  # where gradient figures come from
    layers: tuple[str, ...]
    checkpoint: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class TensorRow:
    """A row of the table of tensors (last checkpoint)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str
    mean: float
    std: float
    low: float
    high: float
    zero_share: float
    non_finite: int
    relative_change: float | None
    gradient_rms: float | None


@dataclass(frozen=True, slots=True)
class Exhibits:
    """All of them. Empty tuples when left out (`--no-exhibits`)."""

    curves: tuple[CurveExhibit, ...] = ()
    marks: tuple[Mark, ...] = ()
    levels: tuple[Level, ...] = ()
    heatmaps: tuple[HeatmapExhibit, ...] = ()
    distributions: tuple[DistributionExhibit, ...] = ()
    depths: tuple[DepthExhibit, ...] = ()
    tensors: tuple[TensorRow, ...] = ()
