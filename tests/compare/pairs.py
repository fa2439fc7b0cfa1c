"""Pairs of small trainings that differ in one planted thing or in their luck, compared: is the difference named, and where do they part?

python -m tests.faults --runs 60 --seed 3 --out /tmp/faults
python -m tests.compare.pairs /tmp/faults [/tmp/more …] --most 12

Of each faulted run of `tests.faults` whose plan is written beside it, the sound twin and the run are trained again, logged step by step, and
compared. Three kinds: *setting* (a hyper-parameter differs: it must be named), *code* (the settings are the same, which must be said) and
*luck* (the sound twin twice, from other initial weights: the curves must not part, and no setting may be named).
A parting is *early* when it lies before the first step at which the two losses differ at all, and *late* when it lies behind the step from which
the means of a tenth of the run differ by more than `CLEAR` of their level for good.
"""

import argparse
import json
import math
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from postmortem.model.comparison import Comparison, results
from postmortem.pipeline import compare
from tests.faults.plan import Plan, Trace
from tests.faults.repair import plan_of
from tests.faults.style import Style
from tests.faults.train import run
from tests.faults.write import write

CLEAR = 0.3  # of the level, for means over a tenth of the run
EQUAL = 1e-5  # relative
RECORDS = 150  # of the loss
NOT_SETTINGS = frozenset({"wrong", "noise", "resume_at"})  # fields of a plan that no configuration states


@dataclass(frozen=True)
class Pair:
    id: str
    fault: str
    kind: str  # setting, code, luck
    differing: tuple[str, ...]  # settings that differ
    named: tuple[str, ...]  # settings that were said to differ
    at: float | None  # where the first of the result curves parts
    first: float | None  # step at which the losses first differ at all
    clear: float | None
    steps: float
    says: str

    @property
    def right(self) -> bool:
        """Every differing setting is named, and no other."""
        return set(self.differing) == set(self.named)

    @property
    def parting(self) -> str:
        if self.at is None:
            return "missed" if self.clear is not None else "none"
        if self.first is None or self.at < self.first:
            return "early"
        return "late" if self.clear is not None and self.at > self.clear else "sensible" if self.clear is not None else "faint"


def pairs(directory: Path, most: int) -> Iterator[Pair]:
    taken: Counter[str] = Counter()
    for line in (directory / "plans.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if not row.get("sound"):
            continue
        bad, good = plan_of(row["plan"]), plan_of(row["sound"])
        kind = "setting" if differing(good, bad) else "code"
        twin: Trace | None = None
        if taken[kind] < most:
            taken[kind] += 1
            twin = run(good)
            yield pair(row, kind, twin, run(bad))
        if taken["luck"] < most and kind == "code":
            taken["luck"] += 1
            yield pair(row, "luck", twin or run(good), run(good, 1))


def differing(good: Plan, bad: Plan) -> tuple[str, ...]:
    return tuple(name for name in vars(good) if name not in NOT_SETTINGS and getattr(good, name) != getattr(bad, name))


def pair(row: dict[str, Any], kind: str, good: Trace, bad: Trace) -> Pair:
    style = stepwise(Style(**row["style"]), good)
    with tempfile.TemporaryDirectory() as scratch:
        for name, trace in (("good", good), ("bad", bad)):
            write(trace, style, Path(scratch, name), random.Random(row["id"]))
        told = compare([Path(scratch, "good"), Path(scratch, "bad")])
    return judged(row, kind, good, bad, told)


def stepwise(style: Style, trace: Trace) -> Style:
    """The style of the run, its loss logged step by step and its configuration stated."""
    steps = sum(not r.of_epoch for r in trace.rows)
    log = "jsonl" if style.log in ("table", "csv") else style.log
    return replace(style, log=log, every=max(1, steps // RECORDS), configuration=style.configuration.replace("none", "config.json"))


def judged(row: dict[str, Any], kind: str, good: Trace, bad: Trace, told: Comparison) -> Pair:
    difference = told.differences[0]
    parted = [p.at for p in results(difference.partings) if p.at is not None]
    first, clear, last = truth(good, bad)
    aliases = {
        "model": "net",
        "model_width": "width",
        "model_depth": "depth",
        "warmup": "warmup_steps",
        "learning_rate": "lr",
        "gradient_clip_norm": "grad_clip",
    }
    named = tuple(aliases.get(s.name, s.name or s.key) for s in difference.settings if s.kind == "hyper-parameter" or s.key == "bn_momentum")
    stated = differing(good.plan, bad.plan)
    return Pair(row["id"], row["name"], kind, stated, named, min(parted, default=None), first, clear, last, str(difference.summary))


def truth(good: Trace, bad: Trace) -> tuple[float | None, float | None, float]:
    """(step at which the losses first differ at all, step from which they clearly differ for good, last common step)."""
    a, b = ({r.step: r.values["loss"] for r in t.rows if not r.of_epoch and "loss" in r.values} for t in (good, bad))
    steps = sorted(a.keys() & b.keys())
    first = next((s for s in steps if not _near(a[s], b[s], EQUAL)), None)
    width = max(1, len(steps) // 10)
    means = [
        (steps[i + width - 1], _mean(a, steps[i : i + width]), _mean(b, steps[i : i + width]))
        for i in range(0, len(steps) - width + 1, max(1, width // 2))
    ]
    clear = None
    for step, one, other in reversed(means):
        if _near(one, other, CLEAR):
            break
        clear = step
    return first, clear, float(steps[-1]) if steps else math.nan


def _mean(values: dict[int, float], steps: list[int]) -> float:
    return sum(values[s] for s in steps) / len(steps)


def _near(a: float, b: float, relative: float) -> bool:
    return a == b or (math.isfinite(a) and math.isfinite(b) and abs(a - b) <= relative * max(abs(a), abs(b)))


def line(p: Pair) -> str:
    what = "right" if p.right else f"WRONG {','.join(p.named)} of {','.join(p.differing)}"
    return f"{p.kind:8} {p.fault:22} {what:12} {p.parting:9} at {p.at} first {p.first} clear {p.clear} of {p.steps:g}\n           {p.says}"


def report(rows: list[Pair]) -> str:
    lines = [line(p) for p in rows]
    for kind in ("setting", "code", "luck"):
        some = [p for p in rows if p.kind == kind]
        lines.append(f"{kind}: {len(some)} pairs, settings right {sum(p.right for p in some)}, partings {dict(Counter(p.parting for p in some))}")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.compare.pairs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=12, help="pairs of each kind and directory")
    options = parser.parse_args()
    print(report([p for directory in options.directories for p in pairs(directory, options.most)]))
