"""Repairs proven by training again: the analyzer's first fixes applied to the run's own settings, trained, and compared with the sound twin.

A repair is good when its skill on validation at the end (accuracy above chance, or 1 − loss / chance) is that of the sound twin less `LESS` of
it, or less `SPREADS` standard deviations of the twin's own skill over `STARTS` starts. The analyzer is then asked about the new run.
"""

import json
import math
import random
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from postmortem import analyze
from postmortem.model.diagnosis import Diagnosis, Fix
from tests.faults.applied import MISTAKES, applied, misaddressed
from tests.faults.catalogue import FAULTS
from tests.faults.frameworks import run
from tests.faults.plan import Plan, Trace
from tests.faults.score import anonymous
from tests.faults.style import Style
from tests.faults.write import discard, write

STARTS = 4  # of the twin: other initial weights, another order, the same data
SPREADS = 2.0
LESS = 0.05  # share of the twin's skill
HOPELESS = 0.7  # share of the twin's skill below which no spread is measured
FIXES = 3


@dataclass
class Twin:
    """What the sound plan reached, and, once it was asked for, what it reaches from other starts."""

    plan: Plan
    skill: float
    others: tuple[float, ...] = ()
    style: Style | None = None  # what trained it

    def reached(self, skill: float) -> bool:
        """A repaired run is as good as this; other starts are only trained when it is needed to tell."""
        if skill < (1 - LESS) * self.skill and skill > HOPELESS * self.skill and not self.others:
            again = [run(self.plan, self.style, start) for start in range(1, STARTS)]
            self.others = tuple(trace.val_skill for trace in again)
            for trace in again:
                discard(trace)
        return skill >= self.needed

    @property
    def needed(self) -> float:
        spread = statistics.stdev((self.skill, *self.others)) if self.others else 0.0
        return self.skill - max(SPREADS * spread, LESS * self.skill)


@dataclass(frozen=True)
class Attempt:
    """One fix, tried."""

    title: str
    done: tuple[str, ...]  # what it changed of the plan
    left: tuple[str, ...]  # changes that mean nothing here
    misaddressed: tuple[str, ...]
    skill: float  # NaN when nothing could be applied, or training was not finite
    good: bool
    says: str  # the analyzer's verdict on the new run


@dataclass(frozen=True)
class Repair:
    """A run with its twin and the fixes that were tried, up to the first that worked."""

    id: str
    fault: str
    settings: bool  # the fault lies in a setting that the configuration states; else in one that a parameter names
    right: bool  # the analyzer's mode was a true one
    mode: str
    cause: str | None
    plan: str
    skill: float
    twin: float  # skill of the sound twin
    needed: float
    attempts: tuple[Attempt, ...]

    def by(self, fixes: int) -> bool:
        return any(a.good for a in self.attempts[:fixes])


def by_parameter(plan: Plan) -> bool:
    """The mistake is one that a parameter of the contract names: initialisation, loss, shuffling, frozen parameters, schedule."""
    return any(plan.has(m) is not None for ms in MISTAKES.values() for m in ms)


def offered(diagnosis: Diagnosis) -> tuple[Fix, ...]:
    """What a user is told to change, in order."""
    return diagnosis.verdict.fixes


def tried(fix: Fix, plan: Plan, style: Style, run_directory: Path, twin: Twin, dice: random.Random) -> Attempt:
    change = applied(plan, fix.changes)
    wrong = tuple(w for w in (misaddressed(c, run_directory) for c in fix.changes) if w)
    if change.plan == plan:
        return Attempt(str(fix.title), change.done, change.left, wrong, math.nan, good=False, says="")
    trace = run(change.plan, style)
    good = trace.ended == "done" and twin.reached(trace.val_skill)
    return Attempt(str(fix.title), change.done, change.left, wrong, trace.val_skill, good=good, says=_says(trace, style, dice))


def _says(trace: Trace, style: Style, dice: random.Random) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        write(trace, style, Path(scratch, "again"), dice)
        verdict = analyze(Path(scratch, "again"), with_exhibits=False).verdict
    return verdict.mode + (f"/{verdict.cause}" if verdict.cause else "")


def repair(row: dict[str, Any], label: dict[str, Any], directory: Path, twin: Twin) -> Repair:
    plan, style = plan_of(row["plan"]), Style(**row["style"])
    place = directory / "runs" / row["id"]
    with anonymous(place) as copy:
        diagnosis = analyze(copy, with_exhibits=False)
    attempts: list[Attempt] = []
    for fix in offered(diagnosis)[:FIXES]:
        attempts.append(tried(fix, plan, style, place, twin, random.Random(row["id"])))
        if attempts[-1].good:
            break
    v = diagnosis.verdict
    shown = (
        f"{plan.task}-{plan.net} width {plan.width} depth {plan.depth}, {plan.optimizer} lr {plan.lr:g}, {plan.epochs} epochs of {plan.batch_size}"
    )
    skill = float(row["skill"][1]) if "skill" in row else math.nan
    return Repair(
        row["id"],
        label["fault"],
        bool(label["fix"]),
        v.mode in label["failure_mode"],
        v.mode,
        v.cause,
        shown,
        skill,
        twin.skill,
        twin.needed,
        tuple(attempts),
    )


def plan_of(stored: dict[str, Any]) -> Plan:
    return Plan(**{**stored, "wrong": tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in stored["wrong"])})


def repairs(directory: Path, only: tuple[str, ...] = ()) -> list[Repair]:
    """Every faulted run of `directory` that a parameter can repair. What twins reach from other starts is kept in `twins.json`."""
    labels = {r["id"]: r for r in _rows(directory / "labels.jsonl")}
    kept = directory / "twins.json"
    others: dict[str, list[float]] = json.loads(kept.read_text()) if kept.exists() else {}
    out = []
    (directory / "repairs.jsonl").unlink(missing_ok=True)
    for row in _rows(directory / "plans.jsonl"):
        label, plan = labels[row["id"]], plan_of(row["plan"])
        if not row["sound"] or not (label["fix"] or by_parameter(plan)) or (only and label["fault"] not in only):
            continue
        twin = Twin(plan_of(row["sound"]), float(row["twin"][1]), tuple(others.get(row["id"], ())), Style(**row["style"]))
        out.append(repair(row, label, directory, twin))
        with (directory / "repairs.jsonl").open("a") as file:
            file.write(json.dumps(asdict(out[-1])) + "\n")
        if twin.others:
            others[row["id"]] = list(twin.others)
            kept.write_text(json.dumps(others))
    return out


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def repairable() -> tuple[str, ...]:
    """The faults that a parameter can repair."""
    planted = {name: fault.plant(random.Random(1)) for name, fault in FAULTS.items()}
    return tuple(name for name, (twin, bad) in planted.items() if FAULTS[name].fix(twin, bad) or by_parameter(bad))
