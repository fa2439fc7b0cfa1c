"""Draw runs: plan, train beside the sound twin, keep what shows, write it in some format, label it."""

import hashlib
import json
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults import rewards
from tests.faults.catalogue import FAULTS, Fault, Seen
from tests.faults.frameworks import Framework, run, turn
from tests.faults.healthy import AWKWARD, ground
from tests.faults.plan import Plan, Trace
from tests.faults.style import Style, drawn
from tests.faults.write import discard, write

TRIES = 12  # other grounds and severities before a fault is given up
GAMES = {"policy_gradient": rewards.policy_gradient, "adversaries": rewards.adversaries}
SOUND_SKILL = {"class": 0.6, "lm": 0.2, "regress": 0.55, "vae": 0.4, "pairs": 0.5}  # of the twin, on validation


def sound(trace: Trace) -> bool:
    """Learned, and still has what it learned."""
    losses = trace.curve("val_loss")
    return (
        trace.ended == "done"
        and trace.val_skill >= SOUND_SKILL[trace.kind]
        and losses[-1] < 1.12 * min(losses)
        and losses[-1] < 0.45 * trace.chance + (trace.kind == "lm") * trace.chance
    )


def faulted(name: str, dice: random.Random, framework: Framework | None = None) -> tuple[Trace, Seen, Style | None] | None:
    """A run with the fault, the proof that it shows, and the style if a framework wrote it."""
    fault = FAULTS[name]
    for _ in range(TRIES):
        twin_plan, bad_plan = fault.plant(dice)
        style = framework.drawn(dice, bad_plan) if framework and framework.takes(twin_plan) and framework.takes(bad_plan) else None
        twin = run(twin_plan, style)
        discard(twin)
        if not sound(twin):
            continue
        seen = Seen(run(bad_plan, style), twin)
        if _shows(fault, seen):
            return seen.run, seen, style
        discard(seen.run)
    return None


def _shows(fault: Fault, seen: Seen) -> bool:
    if seen.run.ended == "raised" and not dict(seen.run.plan.wrong).get("accident"):
        return False  # an error that nobody planted
    try:
        return fault.shows(seen)
    except (ZeroDivisionError, ValueError, IndexError):
        return False


def healthy(name: str, dice: random.Random, framework: Framework | None = None) -> tuple[Trace, None, Style | None] | None:
    for _ in range(TRIES):
        if name in GAMES:
            return GAMES[name](dice), None, None
        plan = AWKWARD[name](dice) if name in AWKWARD else ground(dice)
        style = framework.drawn(dice, plan) if framework and framework.takes(plan) else None
        trace = run(plan, style)
        if sound(trace):
            return trace, None, style
        discard(trace)
    return None


def names(count: int, dice: random.Random, only: tuple[str, ...] = ()) -> Iterator[str]:
    """Faults and, for a quarter, sound runs; every one comes before any comes twice."""
    faults, fine = [], []
    for i in range(count):
        if only:
            yield only[i % len(only)]
        elif i % 4 == 3:
            fine = fine or _shuffled([*AWKWARD, *GAMES, "none", "none", "none"], dice)
            yield fine.pop()
        else:
            faults = faults or _shuffled(list(FAULTS), dice)
            yield faults.pop()


def _shuffled(items: list[str], dice: random.Random) -> list[str]:
    dice.shuffle(items)
    return items


def generate(count: int, seed: int, out: Path, only: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Write `out`/runs/<id> and `out`/labels.jsonl. What was drawn is in `out`/plans.jsonl, for people."""
    dice = random.Random(f"faults {seed}")
    (out / "runs").mkdir(parents=True, exist_ok=True)
    labels = []
    with (out / "labels.jsonl").open("w") as file, (out / "plans.jsonl").open("w") as plans:
        for i, name in enumerate(names(count, dice, only)):
            own = random.Random(f"{seed} {i} {name}")
            framework = turn(i)
            made = faulted(name, own, framework) if name in FAULTS else healthy(name, own, framework)
            if made is None:
                print(f"{name}: nothing that shows in {TRIES} tries", file=sys.stderr)
                continue
            trace, seen, style = made
            plan = trace.plan
            key = f"{plan.task}-{plan.net}-{hashlib.sha256(f'{seed} {i}'.encode()).hexdigest()[:5]}"
            style = style or drawn(own, trace)
            write(trace, style, out / "runs" / key, own)
            row = label(key, name, plan, seen)
            labels.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            drawn_up = {"plan": asdict(plan), "sound": asdict(seen.twin.plan) if seen else None, "style": asdict(style)}
            plans.write(json.dumps({"id": key, "name": name, **drawn_up, **_figures(trace, seen)}) + "\n")
            plans.flush()
    return labels


def label(key: str, name: str, plan: Plan, seen: Seen | None) -> dict[str, Any]:
    if seen is None:
        return {
            "id": key,
            "primary": "healthy",
            "failure_mode": ["healthy"],
            "cause": None,
            "cause_also": [],
            "fault": name if name in GAMES else f"none:{name}" if name != "none" else "none",
            "fix": {},
        }
    fault = FAULTS[name]
    modes = list(dict.fromkeys((*fault.modes(seen), *(() if seen.finite else ("non-finite",)))))  # a NaN is one, whatever was planted
    return {
        "id": key,
        "primary": modes[0],
        "failure_mode": modes,
        "cause": fault.cause,
        "cause_also": list(fault.also),
        "fault": name,
        "fix": fault.fix(seen.twin.plan, plan),
    }


def _figures(trace: Trace, seen: Seen | None) -> dict[str, Any]:
    """What was measured on the trace itself."""
    losses = trace.curve("train_loss")
    if not losses:
        return {}
    out = {
        "chance": trace.chance,
        "train": [losses[0], losses[-1]],
        "val": [trace.curve("val_loss")[0], trace.curve("val_loss")[-1], min(trace.curve("val_loss"))],
        "skill": [trace.train_skill, trace.val_skill],
    }
    if seen:
        out["first"] = seen.first
        out["twin"] = [seen.twin.train_skill, seen.twin.val_skill]
    return {k: [_json(v) for v in vs] if isinstance(vs, list) else vs for k, vs in out.items()}


def _json(value: float) -> float | str:
    return round(value, 4) if math.isfinite(value) else str(value)
