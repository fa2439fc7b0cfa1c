"""Where the rows of a log are, once all of them are known: steps and epochs done of each."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postmortem.model.run import Floats
from postmortem.sources.logs.text.afterwards import named_afterwards
from postmortem.sources.logs.text.kinds import Kind
from postmortem.sources.logs.text.rows import Rows

_FEWEST_STRIDES = 3  # of a counter, that are all alike
_PAST = 1.1  # times its total: no counter within an epoch runs past it by more


@dataclass(frozen=True, slots=True)
class Settled:
    """Where the rows are, once the habits of the log are known."""

    steps: Floats
    epochs: Floats
    per_epoch: float | None
    planned: float | None  # steps, where a lone counter has a total
    planned_epochs: float | None = None  # where it counts epochs


def settle(rows: Rows) -> Settled:
    """Steps and epochs done of every row."""
    step, epoch, batch, total = (numbers.all() for numbers in (rows.step, rows.epoch, rows.batch, rows.total))
    kind = np.frombuffer(rows.kind, dtype=np.int8) if len(rows.kind) else np.zeros(0, np.int8)
    planned_epochs: float | None = None
    if rows.paired and (lone := (kind == Kind.BARE) & np.isfinite(batch) & ~np.isfinite(step)).any() and np.all(np.diff(batch[lone]) == 1):
        epoch, kind = np.where(lone, batch, epoch), np.where(lone, Kind.SUMMARY, kind)  # one by one, each with its validation: epochs
        planned_epochs = float(total[lone][-1])
    either = np.isfinite(step) & ~np.isfinite(batch) & np.isfinite(total)
    again = _begins_again(epoch[either], step[either])
    planned = float(total[either][-1]) if either.any() and not again else None
    if not again:
        epoch, total, kind = np.where(either, np.nan, epoch), np.where(either, np.nan, total), np.where(either, np.int8(Kind.BARE), kind)
    epoch, kind = named_afterwards(step, epoch, kind)
    if again:
        step, batch = np.where(either, np.nan, step), np.where(either, step, batch)
    steps, epochs = _unrounded(step) if rows.rounded else _finer(step, batch, total), np.full(len(step), np.nan)
    whole = (kind == Kind.WITHIN) | (kind == Kind.SUMMARY)
    fractional = bool(np.any((kind == Kind.EXACT) & (epoch != np.floor(epoch))))
    mapped = kind == Kind.MAPPED
    kind = np.where(mapped, Kind.EXACT if fractional else np.where(np.isfinite(step) | np.isfinite(batch), Kind.WITHIN, Kind.SUMMARY), kind)
    whole |= mapped & (not fractional)
    if fractional and mapped.any():
        rows.rejoin(kind == Kind.EXACT)
    lowest = np.nanmin(np.append(epoch[whole], rows.lowest_epoch)) if whole.any() or np.isfinite(rows.lowest_epoch) else np.nan
    zero = bool(lowest == 0) or (rows.from_zero and lowest != 1)  # a log that begins with epoch 1 counts from there
    before = epoch - (0.0 if zero else 1.0)  # epochs done before this one
    exact, summary, within = kind == Kind.EXACT, kind == Kind.SUMMARY, kind == Kind.WITHIN
    epochs[exact] = epoch[exact]
    buffered = _buffered(steps[exact], epoch[exact]) if fractional else None
    if buffered is not None:
        steps[exact] = np.round(epoch[exact] * buffered, 2)
    _head(steps, np.flatnonzero(exact))
    epochs[summary] = before[summary] + 1
    counted = np.isfinite(batch) & np.isfinite(total) & (total > 0)
    if np.any(batch[counted] > _PAST * total[counted] + 1):  # `i=1553/530`: it counts to something else than the epoch's end
        counted[:] = False
    share = np.clip(np.divide(batch, total, out=np.full(len(batch), np.nan), where=counted), 0.0, 1.0)
    inside = within & counted
    if np.count_nonzero(inside) > 2 and np.array_equal(batch[inside], before[inside] + 1):
        # `[2,  21] loss …` of each batch and `[  2/7] val loss …` of each epoch: the epoch itself, once more
        planned_epochs = float(total[inside][-1])
        epochs[inside] = before[inside] + 1
        within, inside = within & ~inside, np.zeros(len(inside), dtype=bool)
    if _counts_on(before[inside], batch[inside], total[inside]):  # `epoch: 2, iter: 180/1000` of PaddleSeg: of the whole training
        planned = float(total[inside][-1])
        steps[inside] = np.where(np.isfinite(step[inside]), step[inside], batch[inside])
        inside = np.zeros(len(inside), dtype=bool)
    epochs[inside] = before[inside] + share[inside]
    amid = _amid(before, epochs, inside, summary)
    epochs[amid >= 0] = epochs[amid[amid >= 0]]
    per_epoch = buffered
    if inside.any() and not rows.samples:
        lengths, counts = np.unique(total[inside], return_counts=True)
        per_epoch = float(lengths[np.argmax(counts)])
        unknown = inside & ~np.isfinite(step) & (total == per_epoch)
        steps[unknown] = before[unknown] * per_epoch + batch[unknown]
    lone = (kind == Kind.BARE) & np.isfinite(batch) & ~np.isfinite(step)
    if lone.any():
        steps[lone], of_lone = _lone(batch[lone], total[lone])
        planned = of_lone or planned
        nowhere = (kind == Kind.BARE) & ~np.isfinite(steps)
        last = np.maximum.accumulate(np.where(np.isfinite(steps), np.arange(len(steps)), -1))
        nowhere &= last >= 0
        steps[nowhere] = steps[last[nowhere]]
    alone = within & np.isfinite(batch) & ~np.isfinite(total) & ~np.isfinite(step)
    if len(np.unique(before[alone])) > 2 and np.ptp(batch[alone]) == 0 and np.all(np.diff(before[alone]) >= 0):
        epochs[alone] = before[alone] + 1  # `batch = 405` below the name of each epoch: how many there are
        within = within & ~alone
    whole_epochs = within & np.isfinite(step) & ~np.isfinite(batch)
    length = _lengths(before[whole_epochs], step[whole_epochs])
    if length is not None:
        per_epoch = length
        epochs[whole_epochs] = before[whole_epochs] + 1
        steps[whole_epochs] = epochs[whole_epochs] * per_epoch
        within = within & ~whole_epochs
    if planned is not None and np.any(steps > _PAST * planned + 1):  # a bar of something else, such as files being uploaded
        planned = None
    uncounted = within & ~np.isfinite(epochs)
    per_epoch = _interpolate(steps, epochs, batch, before, uncounted, per_epoch)
    return Settled(steps, epochs, per_epoch, planned, planned_epochs)


def _amid(before: Floats, epochs: Floats, inside: "npt.NDArray[np.bool_]", summary: "npt.NDArray[np.bool_]") -> "npt.NDArray[np.int64]":
    """(n,) of evaluations in the middle of an epoch, whose batches were counted before and go on behind: the record before; -1 of all others.

    before : epochs done before the one of each row; epochs : where the rows in `inside` are; all (n,).
    """
    places = np.flatnonzero(inside)
    out = np.full(len(epochs), -1)
    rows = np.flatnonzero(summary)
    if not len(places) or not len(rows):
        return out
    behind = np.searchsorted(places, rows)
    rows, behind = rows[(behind > 0) & (behind < len(places))], behind[(behind > 0) & (behind < len(places))]
    last, following = places[behind - 1], places[behind]
    same = (before[last] == before[rows]) & (before[following] == before[rows])
    goes_on = same & (epochs[last] < epochs[following]) & (epochs[following] < before[rows] + 1)
    out[rows[goes_on]] = last[goes_on]
    return out


def _begins_again(epochs: Floats, steps: Floats) -> bool:
    """Whether a step that is printed beside a total is one of an epoch: it does not go on where the next epoch is named.

    epochs, steps : of records below the heading of an epoch, (n,); NaN before the first. Of one epoch alone, the first one is taken for such.
    """
    known = epochs[np.isfinite(epochs)]
    named = np.nan_to_num(epochs, nan=-1.0)
    rises = np.flatnonzero(np.diff(named) > 0)
    if not len(rises) or not len(known):
        return bool(len(known)) and float(known[0]) in (0.0, 1.0)
    return float(np.mean(np.diff(steps)[rises] <= 0)) > 1 / 2


def _lengths(epochs: Floats, steps: Floats) -> float | None:
    """How many steps an epoch has, where its records say that and not which: `Epoch: 3, Steps: 6 | Train Loss: …`; None elsewhere.

    An evaluation may say the same of itself: `Epoch 3 | Training | Steps: 6 | Loss: …`, `Epoch 3 | Validation | Steps: 2 | Loss: …`.
    """
    marks, begins = np.unique(epochs, return_index=True)
    if len(marks) <= 2 or np.any(np.diff(epochs) < 0):
        return None
    said = np.split(steps, begins[1:])
    alike = all(np.array_equal(s, said[0]) for s in said[:-1]) and np.array_equal(said[-1], said[0][: len(said[-1])])
    once = np.ptp(steps) == 0 or (alike and len(said[0]) == 2 and said[0][1] < said[0][0])
    return float(steps[0]) if once else None


def _counts_on(epochs: Floats, batch: Floats, total: Floats) -> bool:
    """Whether a counter goes on where an epoch begins, instead of starting again; told where two epochs or more begin, or where it does so in
    its usual stride long before its end."""
    new = np.append(True, (np.diff(batch) != 0) | (np.diff(epochs) != 0))  # what is said below a record is said at the same place
    epochs, batch, total = epochs[new[: len(epochs)]], batch[new[: len(batch)]], total[new[: len(total)]]
    strides, rises = np.diff(batch), np.flatnonzero(np.diff(epochs) > 0)
    if len(rises) == 1 and len(strides) >= _FEWEST_STRIDES:
        return bool(np.all(strides == strides[0])) and strides[0] > 0 and batch[rises[0]] <= total[rises[0]] / 2
    return len(rises) > 1 and bool(np.all(strides[rises] > 0)) and not np.any(strides < 0)


def _finer(steps: Floats, batch: Floats, total: Floats) -> Floats:
    """Steps, or where records count iterations too, of which one step takes several, and never begin again: those.

    `iter 4 step 2 | loss …` beside `iter 4: val loss …` of litgpt: what is counted in both is the iteration.
    """
    both = np.isfinite(steps) & np.isfinite(batch) & np.isnan(total)
    iterations, taken = batch[both], steps[both]
    if len(taken) < 2 or np.any(np.diff(iterations) <= 0) or np.any(iterations + 1 < taken) or np.array_equal(iterations, taken):
        return steps.copy()
    return np.where(both, batch, steps)


def _unrounded(steps: Floats) -> Floats:
    """Steps that rounding has made equal, spread up to the next one."""
    out = steps.copy()
    firsts = np.append(np.flatnonzero(np.diff(steps, prepend=np.nan) != 0), len(steps))
    for start, stop, after in zip(firsts, firsts[1:], [*firsts[2:], -1], strict=False):
        until = steps[stop] if stop < len(steps) else math.nan
        if stop - start > 1 and after and until > steps[start]:
            out[start:stop] += (until - steps[start]) * np.arange(stop - start) / (stop - start)
    return out


def _buffered(steps: Floats, epochs: Floats) -> float | None:
    """Steps per epoch, where records came out in blocks, each beside a progress bar that was already at its last one; None elsewhere.

    A standard output that is no terminal is written a block at a time, and the bar at once: it counts none of the records below it
    but the last. steps, epochs : of records that say in which part of an epoch they are, (n,); a step is NaN where no bar came before.
    """
    known = np.flatnonzero(np.isfinite(steps))
    if len(known) < 2 or np.any(np.diff(epochs) < 0):
        return None
    firsts = known[np.flatnonzero(np.diff(steps[known], prepend=np.nan) != 0)]
    lasts = np.append(firsts[1:], len(steps)) - 1
    several = (lasts > firsts) & (epochs[lasts] > epochs[firsts])
    twice = len(known) > len(firsts)  # one bar beside records of several places
    return float(np.median(steps[firsts[several]] / epochs[lasts[several]])) if twice and several.sum() > len(firsts) / 2 else None


def _head(steps: Floats, rows: "npt.NDArray[np.int64]") -> None:
    """The first one or two records that were printed before the progress bar that counts them. Changes `steps`."""
    known = np.flatnonzero(np.isfinite(steps[rows]))
    if len(known) < 2 or not 1 <= known[0] <= 2:
        return
    stride = float(np.median(np.diff(steps[rows[known]])))
    if stride > 0:
        steps[rows[: known[0]]] = steps[rows[known[0]]] - stride * np.arange(known[0], 0, -1)


def _lone(batch: Floats, total: Floats) -> tuple[Floats, float | None]:
    """Counters without an epoch. One that starts again goes on from where it was."""
    falls = np.diff(batch, prepend=batch[0]) < 0
    known = total[np.isfinite(total)]
    if not falls.any():
        return batch, float(known[-1]) if len(known) else None
    if not len(known) or np.any(known != known[0]):
        return batch, None
    return np.cumsum(falls) * known[0] + batch, None


def _interpolate(
    steps: Floats, epochs: Floats, batch: Floats, before: Floats, rows: "npt.NDArray[np.bool_]", per_epoch: float | None
) -> float | None:
    """Rows with an integer epoch and a step: the share of the epoch follows from where the epochs begin. Changes `steps` and `epochs`."""
    if not rows.any():
        return per_epoch
    only_batch = rows & ~np.isfinite(steps) & np.isfinite(batch)
    steps[only_batch] = batch[only_batch]
    at, start = steps[rows], before[rows]
    ups = np.flatnonzero(np.diff(start) > 0)
    finite = np.isfinite(at)
    if not finite.any():
        epochs[rows] = start
        return per_epoch
    if len(ups) and np.any(np.diff(at)[ups] < 0):  # starts again in each epoch: unrolled when all series are known
        epochs[rows] = start + 1
        return per_epoch
    if per_epoch is None:
        marks, firsts = np.unique(start[finite], return_index=True)
        begins = at[finite][firsts]
        if len(marks) >= 2 and np.all(np.diff(begins) > 0):
            per_epoch = float(np.median(np.diff(begins) / np.diff(marks)))
    if per_epoch:
        epochs[rows] = np.clip(at / per_epoch, start, start + 1)
    else:
        epochs[rows] = start
    return per_epoch
