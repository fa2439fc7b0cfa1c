"""Runs that failed the same way, what they cost, and what sets them apart."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from postmortem import __version__
from postmortem.batch.separation import FEWEST, Attributes
from postmortem.model.batch import Batch, Contrast, Group, Row, RowStatus
from postmortem.model.sentence import Sentence, say

# Causes of a crash that are the same wherever they strike; of the others the exception and its place say which bug it is.
_ANYWHERE = frozenset({
    "out-of-memory", "collective-failure", "killed", "preempted", "time-limit", "stopped-by-user", "disk-full", "data-loader-died", "hardware-fault",
})  # fmt: skip
CONTRASTED = 40  # groups that are held against the healthy runs, or against the others
MOST_LAYERS = 5
# Modes that are about a layer: another layer is another mistake in the code. Elsewhere layers name where a fault of the whole run showed first.
_BY_LAYER = frozenset({"frozen-parameters", "dead-units"})

Signature = tuple[str, str, str, str, str]


def signature(row: Row) -> Signature:
    """(mode, cause, exception, innermost own frame, first bad layer): runs with equal ones failed the same way.

    Exception and frame count only for a crash whose cause is in the code: an out-of-memory error is the same one at any line, and
    a diverged run that was then interrupted has diverged. The layer counts for modes that are about one.
    Of an analysis that failed the status and the exception's name count.
    """
    if row.status is not RowStatus.ANALYSED:
        return (row.status.value, "", row.reason.partition(":")[0] if row.status is RowStatus.CRASHED else "", "", "")
    by_code = row.mode == "crash" and row.cause not in _ANYWHERE
    layer = row.layer if row.mode in _BY_LAYER else ""
    return (row.mode, row.cause or "", row.exception if by_code else "", row.frame if by_code else "", layer)


def group_id(of: Signature) -> str:
    """A short name of a signature, the same in every batch."""
    return sha256("\0".join(of).encode("utf-8", "replace")).hexdigest()[:8]


def summarize(rows: Sequence[Row], notes: Sequence[Sentence] = ()) -> Batch:
    """Counts, groups and contrasts of all rows."""
    attributes = Attributes(rows)
    failed = np.array([row.failed for row in rows], dtype=bool)
    good = np.array([row.good for row in rows], dtype=bool)
    analysed = np.array([row.status is RowStatus.ANALYSED for row in rows], dtype=bool)
    healthy_enough = int(good.sum()) >= FEWEST
    members: dict[Signature, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if not row.good:
            members[signature(row)].append(i)
    order = sorted(members, key=lambda s: (s[0] in ("inconclusive", *RowStatus), *_weight([rows[i] for i in members[s]]), s))
    groups = []
    for n, key in enumerate(order):
        inside = np.zeros(len(rows), dtype=bool)
        inside[members[key]] = True
        others = good if healthy_enough else analysed & ~inside
        against = "healthy" if healthy_enough else "other"
        contrasts = attributes.contrasts(inside, others, against=against) if n < CONTRASTED and key[0] not in tuple(RowStatus) else ()
        groups.append(_group(key, [rows[i] for i in members[key]], contrasts, too_few=min(int(inside.sum()), int(others.sum())) < FEWEST))
    return Batch(
        version=__version__,
        runs=len(rows),
        statuses=tuple(Counter(row.status.value for row in rows).most_common()),
        modes=_counted([(r.mode, r.title) for r in rows if r.status is RowStatus.ANALYSED]),
        causes=_counted([(r.cause, r.cause_title) for r in rows if r.cause]),
        groups=tuple(groups),
        contrasts=attributes.contrasts(failed, good, most=10),
        notes=(*notes, *_notes(int(failed.sum()), int(good.sum()), rows)),
        failed=int(failed.sum()),
        good=int(good.sum()),
    )


def _weight(rows: Sequence[Row]) -> tuple[float, float, int, float]:
    """What sorts groups: GPU-hours first, then hours (to a tenth: seconds are no cost), then how many they are, then steps."""
    return (
        -round(sum(r.gpu_hours_after_onset or 0.0 for r in rows), 1),
        -round(sum(r.hours_after_onset or 0.0 for r in rows), 1),
        -len(rows),
        -sum(r.steps_after_onset or 0.0 for r in rows),
    )


def _group(key: Signature, rows: Sequence[Row], contrasts: tuple[Contrast, ...], *, too_few: bool) -> Group:
    first = rows[0]
    by_cost = sorted(rows, key=lambda r: (-(r.gpu_hours_after_onset or 0), -(r.hours_after_onset or 0), -(r.steps_after_onset or 0), r.name))
    return Group(
        id=group_id(key),
        mode=key[0],
        cause=key[1] or None,
        exception=key[2],
        frame=key[3],
        title=first.title,
        cause_title=first.cause_title,
        runs=tuple(r.name for r in by_cost),
        steps=_total([r.steps_after_onset for r in rows if r.axis == "step"]),
        hours=_total([r.hours_after_onset for r in rows]),
        gpu_hours=_total([r.gpu_hours_after_onset for r in rows]),
        told=sum(r.hours_after_onset is not None for r in rows),
        layers=tuple(Counter(r.layer for r in rows if r.layer).most_common(MOST_LAYERS)),
        contrasts=contrasts,
        too_few=too_few,
    )


def _total(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(sum(known)) if known else None


def _counted(pairs: Sequence[tuple[str | None, str]]) -> tuple[tuple[str, str, int], ...]:
    titles: dict[str, str] = {}
    for identifier, title in pairs:
        titles.setdefault(identifier or "", title)
    counts = Counter(identifier or "" for identifier, _ in pairs)
    return tuple((i, titles[i], n) for i, n in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0])))


def _notes(failed: int, good: int, rows: Sequence[Row]) -> list[Sentence]:
    out = []
    if failed < FEWEST or good < FEWEST:
        out.append(
            say(
                "Too few runs to say what separates failed from healthy ones: {failed} failed, {good} healthy, at least {n} of each are needed.",
                failed=failed,
                good=good,
                n=FEWEST,
            )
        )
    timed = sum(r.hours_after_onset is not None for r in rows if r.failed)
    if failed and timed < failed:
        out.append(say("Hours are known for {timed} of {failed} failed runs: the others log no times.", timed=timed, failed=failed))
    return out
