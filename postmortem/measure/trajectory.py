"""One tensor over all checkpoints, its bytes read once: figures in each, movement between neighbours."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from postmortem.measure.numbers import Real, as_real
from postmortem.measure.reading import NotWholeError, Raw, TensorFiles, contiguous, storage
from postmortem.measure.rows import RowFacts, RowSample, read_rows, row_facts, still_rows
from postmortem.measure.structure import Layout
from postmortem.measure.tally import Kernels, Tally, in_one_go, values_of_keys
from postmortem.measure.tensors import Figures, Moments, centred_moments, figures_of, mean_of
from postmortem.measure.updates import Movement
from postmortem.model.run import TensorRef
from postmortem.model.tensors import Role

SEGMENT = 1 << 15  # elements whose movement is summed at once
PART = 1 << 26  # elements of a tensor in one stretch that one thread takes at a time: a multiple of every slice and segment that is summed at once
DIRECT = 1 << 17  # elements up to which a tensor is held and sorted; counting starts to pay beyond


@dataclass(frozen=True, slots=True)
class Seen:
    """One checkpoint's copy of the tensor."""

    index: int  # of the checkpoint
    ref: TensorRef
    place: Layout
    on_line: bool  # takes part in comparisons


@dataclass(slots=True)
class Trajectory:
    """What was found; by index of checkpoint. A copy that could not be read whole is in `unread` and nowhere else."""

    figures: dict[int, Figures] = field(default_factory=dict)
    rows: dict[int, RowFacts] = field(default_factory=dict)
    movements: dict[int, tuple[int, Movement]] = field(default_factory=dict)  # later checkpoint → (earlier one, movement)
    change: float | None = None  # ‖last − first‖ / ‖first‖ over the checkpoints in which it is finite
    unread: list[int] = field(default_factory=list)


class Following:
    """One tensor in every checkpoint that has it, in parts that may be taken on several threads; `finish` once all are taken.

    The parts depend on the tensor alone, and what they give is added in their order: the figures do not depend on who took them.
    """

    def __init__(self, copies: Sequence[Seen], kernels: Kernels) -> None:
        self.copies, self.kernels = copies, kernels
        self.small = all(seen.ref.count <= DIRECT for seen in copies)
        self.parts = parts_of(copies)
        self._samples = {} if self.small else {seen.index: sample for seen in copies if (sample := _sample(seen)) is not None}
        self._found: dict[int, _Gathered] = {}

    def take(self, part: int, files: TensorFiles) -> None:
        """Read one of the parts."""
        if not self.small:
            self._found[part] = _gather(self.copies, files, self.kernels, self.parts[part], self._samples)

    def finish(self, files: TensorFiles) -> Trajectory:
        """What all parts come to."""
        out = Trajectory()
        if self.small:
            _follow_small(self.copies, files, self.kernels, out)
        else:
            first, *others = (self._found[n] for n in range(len(self.parts)))
            for other in others:
                first.merge(other)
            _conclude(self.copies, first, self._samples, files, self.kernels, out)
        return out


def parts_of(copies: Sequence[Seen]) -> list[slice | None]:
    """Stretches of elements to be taken each by itself, in all copies alike; None for the whole, where some copy is not one stretch."""
    count = copies[0].ref.count
    if count <= PART or not all(s.ref.count == count and not s.ref.pieces and s.ref.inline is None and contiguous(s.ref) for s in copies):
        return [None]
    try:
        for seen in copies:
            storage(seen.ref.dtype)
    except NotWholeError:  # told when it is read
        return [None]
    return [slice(start, min(start + PART, count)) for start in range(0, count, PART)]


def _part_of(ref: TensorRef, part: slice | None) -> TensorRef:
    if part is None:
        return ref
    count, size = part.stop - part.start, storage(ref.dtype).itemsize
    return replace(ref, offset=ref.offset + part.start * size, shape=(count,), strides=(1,), nbytes=count * size)


def stacked(ref: TensorRef) -> bool:
    """The elements come in C order whatever the tensor's size: in one piece, or in pieces however it was cut."""
    if not ref.pieces:
        return ref.inline is not None or contiguous(ref)
    return all(stacked(p) for p in ref.pieces) and sum(p.count for p in ref.pieces) == ref.count


def _has_rows(seen: Seen) -> bool:
    """Rows mean something: output units of a weight, or what an embedding looks up. Of complex numbers they are not looked at."""
    return seen.place.role in (Role.WEIGHT, Role.EMBEDDING) and len(seen.ref.shape) > 1 and not dtype_of(seen.ref).startswith("complex")


def _matrix(seen: Seen, raw: Raw) -> Raw:
    """(columns, rows)"""
    return raw.reshape(-1, seen.ref.shape[-1]) if seen.place.outputs_last else raw.reshape(seen.ref.shape[0], -1).T


def _follow_small(copies: Sequence[Seen], files: TensorFiles, kernels: Kernels, out: Trajectory) -> None:
    line: list[tuple[Seen, Raw, Real]] = []  # the last two, and the first and last finite ones
    first: tuple[Seen, Real] | None = None
    last: tuple[Seen, Real] | None = None
    for seen in copies:
        try:
            raw = files.whole(seen.ref)
        except NotWholeError:
            out.unread.append(seen.index)
            continue
        values = as_real(raw, dtype_of(seen.ref))
        figures = out.figures[seen.index] = figures_of(values, dtype_of(seen.ref))
        if _has_rows(seen) and len(values) == seen.ref.count:
            facts = row_facts(values, seen.ref.shape, outputs_last=seen.place.outputs_last, head=seen.place.head)
            if facts is not None:
                out.rows[seen.index] = facts
        if not seen.on_line:
            continue
        if line:
            movement = _compared(line[-1][0], seen)
            movement.add(line[-1][2], values, line[-2][2] if len(line) > 1 and line[-2][0].ref.shape == seen.ref.shape else None, kernels)
            movement.compare(line[-1][1], raw)
            if _has_rows(seen) and movement.comparable and len(raw) == len(line[-1][1]) == seen.ref.count > 0:
                movement.still_rows = still_rows(_matrix(seen, line[-1][1]), _matrix(seen, raw))
            if movement.comparable:
                out.movements[seen.index] = (line[-1][0].index, movement)
        line = [*line[-1:], (seen, raw, values)]
        if not figures.non_finite:
            first = first or (seen, values)
            last = (seen, values)
    if first is not None and last is not None and first[0] is not last[0]:
        whole = _compared(first[0], last[0])
        whole.add(first[1], last[1], None, kernels)
        out.change = whole.relative_change if whole.comparable else None


@dataclass(slots=True)
class _Gathered:
    """What a part of a large tensor comes to; by index of checkpoint."""

    tallies: dict[int, Tally]
    steps: dict[int, tuple[int, Movement]]  # later checkpoint → (earlier one, movement)
    whole: Movement  # of the last checkpoint against the first
    unread: set[int] = field(default_factory=set)

    def merge(self, other: "_Gathered") -> None:
        """Add what the part behind this one comes to."""
        for index, tally in other.tallies.items():
            self.tallies[index].merge(tally)
        for index, (_, movement) in other.steps.items():
            self.steps[index][1].merge(movement)
        self.whole.merge(other.whole)
        self.unread |= other.unread


def _gather(copies: Sequence[Seen], files: TensorFiles, kernels: Kernels, part: slice | None, samples: Mapping[int, RowSample]) -> _Gathered:
    long = len(copies) == 1 and in_one_go(dtype_of(copies[0].ref), kernels)  # side by side, several short ones share a cache
    streams = {seen.index: files.blocks(_part_of(seen.ref, part), slot, long=long) for slot, seen in enumerate(copies)}
    line = [seen for seen in copies if seen.on_line]
    out = _Gathered(
        {seen.index: Tally(dtype_of(seen.ref)) for seen in copies},
        {later.index: (earlier.index, _compared(earlier, later)) for earlier, later in pairwise(line)},
        Movement(comparable=len(line) > 1 and line[0].ref.shape == line[-1].ref.shape),
    )
    going = list(copies)
    taking = {index: sample.behind(part.start if part else 0) for index, sample in samples.items()}
    while going:
        held: dict[int, tuple[Raw, Real]] = {}
        for seen in list(going):
            try:
                raw = next(streams[seen.index], None)
            except NotWholeError:
                out.unread.add(seen.index)
                raw = None
            if raw is None:
                going.remove(seen)
                continue
            out.tallies[seen.index].add(raw, kernels)
            if seen.index in taking:
                taking[seen.index].add(raw)
            if seen.on_line and len(line) > 1:
                held[seen.index] = (raw, _decoded(raw, dtype_of(seen.ref), kernels))
                _move(seen.index, held, out.steps, kernels)
        if len(line) > 2 and out.whole.comparable and line[0].index in held and line[-1].index in held:
            _add(out.whole, held[line[0].index][1], held[line[-1].index][1], None, kernels)
    return out


def _compared(earlier: Seen, later: Seen) -> Movement:
    """Nothing moved as yet."""
    return Movement(comparable=earlier.ref.shape == later.ref.shape, identical=dtype_of(earlier.ref) == dtype_of(later.ref))


def _conclude(
    copies: Sequence[Seen], found: _Gathered, samples: Mapping[int, RowSample], files: TensorFiles, kernels: Kernels, out: Trajectory
) -> None:
    out.unread = sorted(found.unread)
    line = [seen for seen in copies if seen.on_line]
    for seen in copies:
        if seen.index not in found.unread:
            figures = out.figures[seen.index] = found.tallies[seen.index].figures(_second_pass(seen.ref, files))
            if seen.index in samples:
                out.rows[seen.index] = _rows(seen, samples[seen.index], figures, files, kernels)
    for late, (early, movement) in found.steps.items():
        if early in samples and late in samples:
            movement.still_rows = still_rows(samples[early].kept, samples[late].kept)
    out.movements = {late: (early, m) for late, (early, m) in found.steps.items() if m.comparable and not found.unread & {early, late}}
    _total_change(line, found.whole, files, kernels, out)


def _move(index: int, held: Mapping[int, tuple[Raw, Real]], steps: Mapping[int, tuple[int, Movement]], kernels: Kernels) -> None:
    if index not in steps:
        return
    earlier, movement = steps[index]
    if earlier not in held:
        movement.comparable = False
        return
    before_that = steps[earlier][0] if earlier in steps and steps[earlier][1].comparable else None
    _add(movement, held[earlier][1], held[index][1], held[before_that][1] if before_that is not None and before_that in held else None, kernels)
    movement.compare(held[earlier][0], held[index][0])


def _add(movement: Movement, a: Real, b: Real, z: Real | None, kernels: Kernels) -> None:
    """Take in a block of each, in segments: so the sums do not depend on the size of the blocks, which the number of checkpoints decides."""
    if len(a) != len(b) or (z is not None and len(z) != len(a)):
        movement.add(a, b, z, kernels)
        return
    for start in range(0, len(a), SEGMENT):
        stop = start + SEGMENT
        movement.add(a[start:stop], b[start:stop], None if z is None else z[start:stop], kernels)


def _total_change(line: Sequence[Seen], whole: Movement, files: TensorFiles, kernels: Kernels, out: Trajectory) -> None:
    finite = [seen for seen in line if seen.index in out.figures and not out.figures[seen.index].non_finite]
    if len(finite) < 2 or finite[0].ref.shape != finite[-1].ref.shape:
        return
    if len(line) == 2 and line[1].index in out.movements:
        whole = out.movements[line[1].index][1]
    elif finite[0] is not line[0] or finite[-1] is not line[-1]:
        whole = Movement()
        dtypes = dtype_of(finite[0].ref), dtype_of(finite[-1].ref)
        for a, b in zip(files.blocks(finite[0].ref, 0), files.blocks(finite[-1].ref, 1), strict=False):
            _add(whole, _decoded(a, dtypes[0], kernels), _decoded(b, dtypes[1], kernels), None, kernels)
    out.change = whole.relative_change if whole.comparable else None


def _decoded(raw: Raw, dtype: str, kernels: Kernels) -> Real:
    if dtype in ("float16", "half"):
        return kernels.decode(raw.view(np.uint16), values_of_keys("float16"))
    return as_real(raw, dtype)


def _second_pass(ref: TensorRef, files: TensorFiles) -> Callable[[float, float], Moments]:
    def again(mean: float, peak: float) -> Moments:
        about = mean_of(_values(ref, files), peak) if math.isnan(mean) else mean
        return centred_moments(_values(ref, files), about, peak)

    return again


def _values(ref: TensorRef, files: TensorFiles) -> Iterator[Real]:
    for raw in files.blocks(ref):
        yield as_real(raw, dtype_of(ref))


def dtype_of(ref: TensorRef) -> str:
    """The element type, of the first piece where there are pieces."""
    return ref.pieces[0].dtype if ref.pieces else ref.dtype


def _sample(seen: Seen) -> RowSample | None:
    if not _has_rows(seen) or not stacked(seen.ref):
        return None
    try:
        kind = storage(dtype_of(seen.ref))
    except NotWholeError:
        return None
    return RowSample.of(seen.ref.shape, kind, outputs_last=seen.place.outputs_last)


def _rows(seen: Seen, sample: RowSample, figures: Figures, files: TensorFiles, kernels: Kernels) -> RowFacts:
    """From the columns that were kept, and from some of the rows that look dead or equal there."""
    return sample.facts(
        lambda raw: _decoded(raw, dtype_of(seen.ref), kernels),
        math.nan if figures.non_finite else max(-figures.low, figures.high),
        figures.zero,
        lambda rows: read_rows(files, seen.ref, rows, outputs_last=seen.place.outputs_last),
        seen.place.head,
    )
