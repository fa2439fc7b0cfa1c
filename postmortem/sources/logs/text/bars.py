"""Progress bars, drawn thousands of times: of most only the last state counts, and of the others what each place showed last."""

import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from postmortem.model.run import Floats
from postmortem.sources.logs.text.columns import SAMPLED, look_at, values_of
from postmortem.sources.logs.text.ledger import carried
from postmortem.sources.logs.text.plans import NO, Plan, Slot
from postmortem.sources.logs.text.rows import Column
from postmortem.sources.logs.text.scan import Scan
from postmortem.sources.logs.text.shapes import Entry
from postmortem.sources.logs.text.tokens import moment

_SPENT = rb"[0-9]{1,2}+:[0-9:]{2,5}+"
_BODY = (  # what tqdm draws when nothing was put behind it
    rb" {0,6}+[0-9]{1,3}+%%\|[^|\n]*+\| {0,12}+(?P<batch>[0-9]{1,15}+)/%s \[" + _SPENT + rb"<" + _SPENT + rb", {1,6}+[0-9.]{1,12}+%s\]"
)
_DRAWING = b"0123456789 #\xe2\x96\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f"  # what a bar that moves on changes: digits, blanks, and blocks in UTF-8
_FAR = 1 << 15  # bytes in which the line is looked for that ended the bar the last time
_DRAWN = re.compile(rb"(?P<head>[^%|\n]{0,80}?)" + _BODY % (rb"(?P<total>[0-9]{1,15})", rb"(?P<unit>it/s|s/it)"))


class Redraws:
    """A bar that says nothing but how far it is: of all that it shows until another line comes, only the last counts."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.entry: Entry | None = None  # the bar's shape, once one was read
        self._lines: re.Pattern[bytes] | None = None
        self._line: re.Pattern[bytes] | None = None
        self._left = b""  # of one line without what moves
        self._of = b""  # its total
        self._behind = b""  # how the line began that ended the bar the last time
        self._total = 0.0

    def saw(self, entry: Entry, line: bytes) -> None:
        """Note a line that was read: it may be such a bar."""
        if not _bare(entry.plan):
            return
        drawn = _DRAWN.fullmatch(line)
        if drawn:
            self.entry, self._total = entry, float(drawn["total"])
            self._line, self._lines = _redrawn_lines(drawn["head"].rstrip(b" "), drawn["total"], drawn["unit"])
            self._left, self._of = line.translate(None, _DRAWING) + b"\n", b"/" + drawn["total"] + b" ["

    def take(self, data: bytes, start: int) -> int:
        """Pass over what is that bar again from `start` on; returns where it ends, and leaves what the last of its lines leaves."""
        if self._line is None or self._lines is None or self.entry is None or not self._line.match(data, start) or self.scan.shapes.many:
            return start
        run = self._until(data, start, self._line) or self._lines.match(data, start)
        if run is None or not quiet(self.scan, self.entry, self.entry.plan):
            return start
        scan = self.scan
        self._behind = data[run.end() - 1 : run.end() + 1]
        scan.near -= data.count(b"\n", start, run.end())
        scan.dump.over(self.entry.shape)
        scan.last_text = run["line"]
        if self._total >= scan.bar[1]:
            scan.bar = (float(run["batch"]), self._total)
        return run.end()

    def _until(self, data: bytes, start: int, line: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """The last line of a stretch that ends where a line begins as the one did that ended it the last time, if it is nothing but this bar: its
        lines leave the same without what moves, and each has the total. Much faster than a look at each line; None where that cannot be told."""
        end = data.find(self._behind, start, start + _FAR) + 1 if self._behind else 0
        if not end:
            return None
        stretch = data[start:end]
        left = stretch.translate(None, _DRAWING)
        lines = len(left) // len(self._left)
        if left != self._left * lines or stretch.count(self._of) != lines:
            return None
        return line.match(data, data.rfind(b"\n", start, end - 1) + 1 or start)


def _bare(plan: Plan) -> bool:
    """A bar without values that is counted by nothing but itself."""
    return plan.progress and not plan.values and plan.batch_total != NO and plan.counters == (plan.batch, plan.batch_total)


@lru_cache(maxsize=256)
def _redrawn_lines(head: bytes, total: bytes, unit: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """One line that is a bar, drawn again, and as many of them as there are."""
    line = rb"(?P<line>" + re.escape(head) + _BODY % (total, unit) + rb")\n"
    return re.compile(line), re.compile(rb"(?:" + line + rb")++")


def quiet(scan: Scan, entry: Entry, plan: Plan) -> bool:
    """Whether the line that was read last leaves nothing that the same bar does not overwrite when it moves on."""
    if scan.watch.reading or scan.closing or scan.result or scan.block or scan.table is not None or scan.adrift or scan.asks(entry):
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
