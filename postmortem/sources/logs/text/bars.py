"""Progress bars, drawn thousands of times: of most only the last state counts, and of the others what each place showed last."""

from collections.abc import Callable

import numpy as np

from postmortem.model.run import Floats
from postmortem.sources.logs.text.columns import SAMPLED, look_at, values_of
from postmortem.sources.logs.text.grammar import NO, Plan, Slot
from postmortem.sources.logs.text.rows import Column
from postmortem.sources.logs.text.scan import Scan, carried
from postmortem.sources.logs.text.shapes import Entry
from postmortem.sources.logs.text.tokens import moment


def quiet(scan: Scan, entry: Entry, plan: Plan) -> bool:
    """Whether the line that was read last leaves nothing that the same bar does not overwrite when it moves on."""
    if scan.watch.reading or scan.closing or scan.block or scan.table is not None or scan.adrift or scan.asks(entry):
        return False
    if not plan.values:
        return scan.waiting is None
    waiting = scan.waiting
    return waiting is not None and waiting[0] == plan and not scan.beneath


def overwritten(scan: Scan, plan: Plan, numbers: Floats, text: bytes) -> int:
    """How many of the lines, (lines, numbers), behind the one that was read last are nothing but the same bar moving on."""
    if moment(text) is not None:
        return 0
    alike = np.ones(len(numbers), dtype=bool)
    if scan.waiting is not None:
        alike &= np.diff(numbers[:, plan.batch], prepend=scan.waiting[1][plan.batch]) >= 0
    elif plan.epoch != NO:
        alike &= numbers[:, plan.epoch] == scan.epoch
    return len(numbers) if alike.all() else int(alike.argmin())


def redrawn(
    scan: Scan, plan: Plan, own: Floats, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]", column_of: Callable[[Slot], Column | None],
    lines: Callable[[int], list[bytes]],
) -> None:  # fmt: skip
    """What bars with values leave, (lines, numbers): the last value that each place showed, and what is carried along only when it changes."""
    shown = (
        own[:, plan.batch] != 0 if plan.batch != NO else np.ones(len(own), dtype=bool)
    )  # a bar that has just been set back still shows what was measured before
    kept = np.flatnonzero(shown)
    if not len(kept):
        return
    known = NO not in {plan.epoch, plan.batch}
    places = own[kept][:, [plan.epoch, plan.batch]] if known else np.zeros((len(kept), 0))
    before = np.array([scan.drawn]) if known and scan.drawn is not None else np.full((1, places.shape[1]), np.nan)
    again = (places == np.concatenate((before, places[:-1]))).all(axis=1) if known else np.zeros(len(kept), dtype=bool)
    resumes = bool(again[0])
    firsts = np.flatnonzero(~again)  # of each place
    lasts = np.append(firsts[1:], len(kept)) - 1
    for slot in plan.values:
        column = column_of(slot)
        if column is None:
            continue
        values = values_of(slot, own)[kept]
        key = column.logged_as
        if carried(slot) and plan.split not in ("val", "test"):
            stale = scan.stale.get(key, np.nan)
            chosen = np.flatnonzero(values != np.concatenate(([stale], values[:-1])))
            scan.stale[key] = float(values[-1])
            said = values[chosen]
        else:
            chosen, said = firsts, values[lasts]
            if resumes and not (column.values and key in scan.redrawn):
                until = int(firsts[0]) - 1 if len(firsts) else len(kept) - 1
                chosen, said = np.append(0, chosen), np.append(values[until], said)
            elif resumes:
                column.values[-1] = float(values[int(firsts[0]) - 1 if len(firsts) else -1])
        column.rows.frombytes(rows[kept[chosen]].tobytes())
        column.values.frombytes(said.tobytes())
        looked = kept[chosen[: SAMPLED - column.sampled]].tolist()
        if looked:
            text = lines(looked[-1] + 1)
            look_at(column, slot, (text[place] for place in looked))
    if len(firsts):
        scan.redrawn.clear()
    scan.redrawn.update(s.logged_as for s in plan.values)
    scan.drawn = (float(places[-1, 0]), float(places[-1, 1])) if known else None
