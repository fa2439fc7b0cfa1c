"""What a training run left behind, as read: series, events, settings, checkpoints. No judgement, no arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from postmortem.model.sentence import Sentence, Value

Floats = npt.NDArray[np.float64]


class Status(StrEnum):
    """How far a source could be read."""

    READ = "read"
    PARTIAL = "partial"  # something of it was read; the detail says what was not
    SKIPPED = "skipped"  # understood and left out, or not understood at all
    FAILED = "failed"  # should have been readable and was not


@dataclass(frozen=True, slots=True)
class Source:
    """One file (or directory that is one unit) and what became of it. `path` is relative to the run, POSIX style."""

    path: str
    reader: str  # the reader's name, "" when no reader claimed it
    status: Status
    detail: Sentence | None = None
    size: int = 0  # bytes
    refused: bool = False  # hostile content was refused: reported as a finding


class Reduction(StrEnum):
    """What one logged value stands for."""

    STEP = "step"  # the value of one step or batch
    WINDOW = "window"  # mean over the steps since the last record
    RUNNING = "running"  # running mean since the start of the epoch: restarts, saw-tooth is normal
    EPOCH = "epoch"  # mean over an epoch, or an evaluation
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One logged quantity over training.

    steps, epochs, times, values : (n,) float64, NaN where not known. After `assemble`, `steps` is finite and does not
    decrease within an attempt. `times` are seconds since 1970 (or since the start: differences are what is used).
    values may hold NaN and ±Inf: those were logged. A missing cell is no point at all.
    """

    name: str  # canonical, such as "train/loss"; "other/<key>" when the vocabulary does not know it
    logged_as: str
    source: str
    steps: Floats
    values: Floats
    epochs: Floats | None = None
    times: Floats | None = None
    reduction: Reduction = Reduction.UNKNOWN
    quantum: float | None = None  # smallest difference that the printed digits can show, None when full precision
    records: npt.NDArray[np.int64] | None = None  # (n,) which record of its source each was, rising; None where nothing tells

    def __len__(self) -> int:
        return len(self.values)

    def part(self, part: slice) -> "Series":
        """Some of its records."""
        return replace(
            self,
            steps=self.steps[part],
            values=self.values[part],
            epochs=None if self.epochs is None else self.epochs[part],
            times=None if self.times is None else self.times[part],
            records=None if self.records is None else self.records[part],
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A curve that was logged and is not used, because another one says the same."""

    name: str  # canonical
    logged_as: str
    source: str
    points: int
    why: Sentence


@dataclass(frozen=True, slots=True, eq=False)
class LoggedHistogram:
    """A histogram that the run itself logged (event files, captured statistics)."""

    name: str
    source: str
    step: float
    edges: Floats  # (k + 1,) increasing
    counts: Floats  # (k,)


class EventKind(StrEnum):
    """What a line of a log tells beside numbers."""

    EXCEPTION = "exception"  # a traceback; data: exception, message, frame, frame_function
    OUT_OF_MEMORY = "out-of-memory"  # data: where = device | host, asked, capacity
    COLLECTIVE = "collective"  # NCCL, Gloo, torchelastic
    DEVICE_ASSERT = "device-assert"
    SIGNAL = "signal"  # data: signal or exit_code
    KILLED = "killed"
    TIME_LIMIT = "time-limit"
    PREEMPTED = "preempted"
    INTERRUPTED = "interrupted"  # Ctrl-C
    DISK_FULL = "disk-full"
    DATA_LOADER = "data-loader"
    HARDWARE = "hardware"  # ECC, Xid, NVLink
    HANG = "hang"
    NON_FINITE_GUARD = "non-finite-guard"  # "Loss is nan, stopping training", anomaly mode
    OVERFLOW = "overflow"  # a loss-scale overflow, step skipped; data: scale
    LOSS_SCALE_FLOOR = "loss-scale-floor"  # "Minimum loss scale reached"
    WARNING = "warning"  # a Python or framework warning that a check knows; data: about
    RESUMED = "resumed"
    CHECKPOINT_SAVED = "checkpoint-saved"
    EARLY_STOPPED = "early-stopped"
    FINISHED = "finished"  # "max_epochs reached", "Training complete", a final summary
    CUT = "cut"  # the log ends in the middle of a line
    STARTED = "started"


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something that a log tells beside numbers. `text` is an excerpt of at most 2,000 characters, control characters removed."""

    kind: EventKind
    text: str
    source: str
    line: int = 0  # 1-based, 0 when the source has no lines
    step: float | None = None
    epoch: float | None = None
    time: float | None = None  # seconds since 1970
    rank: int | None = None
    data: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Setting:
    """One hyper-parameter or fact of the run's configuration.

    `name` is canonical where the vocabulary knows the key (`learning_rate`, `batch_size`, …: see `sources/names.py`), else "".
    `key` is the dotted path as written, `file` where it stands; fixes quote both.
    """

    name: str
    key: str
    value: Value
    file: str


@dataclass(frozen=True, slots=True)
class TensorRef:
    """Where a tensor's bytes are. Nothing is read until it is measured.

    `strides` are in elements, like torch's; () for 0-d. `inline` holds the decoded bytes (C order, little endian) of a
    tensor that has no contiguous place in a file (compressed, chunked, a pickled scalar): then `offset` is 0.
    A tensor that a sharded checkpoint spreads over files has one `TensorRef` per piece in `pieces`; then `file` is "". Their
    elements follow one another in the whole's C order, unless `corners` says where in it each piece begins.
    """

    name: str
    file: str  # relative to the run
    offset: int  # bytes from the start of the file
    dtype: str  # numpy's name, or bfloat16, float8_e4m3fn, float8_e5m2, …
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    nbytes: int
    inline: bytes | None = None
    pieces: tuple["TensorRef", ...] = ()
    requires_grad: bool | None = None  # as saved; None when the format does not say
    corners: tuple[tuple[int, ...], ...] = ()  # of each piece its first element's indices, where the pieces are blocks of the whole
    whole: tuple[int, ...] = ()  # of what one rank saved of a tensor cut over ranks: the tensor's own shape

    @property
    def count(self) -> int:
        """Number of elements."""
        n = 1
        for size in self.shape:
            n *= size
        return n


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """One group of an optimizer: parameter keys (indices or names) and its hyper-parameters (`lr`, `betas`, …)."""

    params: tuple[int | str, ...]
    settings: Mapping[str, Value]
    names: tuple[str, ...] = ()  # `param_names`, when saved


@dataclass(frozen=True, slots=True)
class ParamState:
    """An optimizer's memory of one parameter."""

    param: int | str
    step: float | None
    slots: Mapping[str, TensorRef]  # exp_avg, exp_avg_sq, momentum_buffer, …


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """A saved optimizer. `kind` is lower-case ("adam", "adamw", "sgd", "keras-adam", …) or "" when it cannot be told."""

    kind: str
    groups: tuple[ParamGroup, ...]
    states: tuple[ParamState, ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One saved state of training; `path` is the file, or the directory when several files make one checkpoint."""

    path: str
    format: str  # torch-zip, torch-legacy, safetensors, dcp, keras-h5, keras-zip, npz, hf, …
    status: Status
    step: float | None = None
    epoch: float | None = None
    detail: Sentence | None = None  # what could not be read
    tensors: tuple[TensorRef, ...] = ()  # parameters and buffers of the model
    optimizer: OptimizerState | None = None
    scheduler: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    scaler: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    settings: tuple[Setting, ...] = ()  # hyper-parameters stored in it
    trainable: Mapping[str, bool] | None = None  # tensor name → saved requires_grad, where a pickled module or list says so
    facts: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))  # best_model_score, loss, loops…
    files: tuple[str, ...] = ()
    size: int = 0  # bytes of all its files
    modified: float | None = None  # mtime, seconds since 1970
    truncated: bool = False
    refused: tuple[str, ...] = ()  # dangerous globals that a pickle named, e.g. "os.system"
    optimizer_steps: float | None = None  # made by then, as the checkpoint itself counts them, whatever the axis that `step` lies on


@dataclass(frozen=True, slots=True)
class Attempt:
    """A stretch of training between restarts. `seam` says how the previous one was followed."""

    first_step: float
    last_step: float
    seam: Sentence | None = None
    resumed_from: float | None = None  # step of the checkpoint that it went on from, None for the first or a new start
    first_loss: float | None = None  # training loss of its first record
    losses_before: tuple[float, ...] = ()  # the last finite ones that the attempt before had logged, up to where this one went on


Outcome = Literal["finished", "early-stopped", "cancelled", "crashed", "running", "unknown"]
AxisUnit = Literal["step", "epoch", "record"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Everything that was found, in one place. `root` is where files are opened; it never reaches a report."""

    name: str
    root: Path
    sources: tuple[Source, ...] = ()
    series: tuple[Series, ...] = ()  # of the last attempt
    left_out: tuple[LeftOut, ...] = ()
    histograms: tuple[LoggedHistogram, ...] = ()
    events: tuple[LogEvent, ...] = ()
    settings: tuple[Setting, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()  # in order of step
    attempts: tuple[Attempt, ...] = ()
    earlier: tuple["Run", ...] = ()  # the attempts before the last one, each as a run of its own, oldest first
    axis: AxisUnit = "step"
    steps_per_epoch: float | None = None
    framework: str = ""  # pytorch, lightning, transformers, keras, …; "" when nothing tells
    outcome: Outcome = "unknown"
    planned_steps: float | None = None
    planned_epochs: float | None = None

    def setting(self, name: str) -> Setting | None:
        """The setting of that canonical name, or None."""
        return next((s for s in self.settings if s.name == name), None)

    def one_series(self, name: str) -> Series | None:
        """The series of that canonical name, or None. `assemble` leaves at most one of each known name."""
        return next((s for s in self.series if s.name == name), None)
