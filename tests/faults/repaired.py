"""What repairs came to, as a document: shares with intervals, and each run that was not repaired with what was tried."""

import collections
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.fitted import wilson
from tests.faults.repair import FIXES, LESS, SPREADS, STARTS, Attempt, Repair


def report(found: Sequence[Repair], directories: Sequence[Path] = ()) -> str:
    parts = [
        "# Repairs",
        *_made(directories),
        _defined(),
        "## Shares repaired",
        _shares(found),
        _after(found),
        "## Not repaired by the first fix",
        _failed(found),
    ]
    return "\n\n".join(parts) + "\n"


def _made(directories: Sequence[Path]) -> list[str]:
    """The commands that make the same runs again."""
    drawn = [json.loads(path.read_text()) for d in directories if (path := d / "drawn.json").exists()]
    lines = [f"python -m tests.faults --runs {m['runs']} --seed {m['seed']}{_which(m)} --out DIR" for m in drawn]
    if not lines:
        return []
    absent = sorted({name for m in drawn for name in m["absent"]})
    with_all = "Lightning, transformers, Keras, W&B and MLflow were installed." if not absent else f"Not installed: {', '.join(absent)}."
    return [
        "Written by `python -m tests.faults --repair DIR... --write FILE` from the runs of\n\n    "
        + "\n    ".join(lines)
        + f"\n\n{with_all} Another seed makes other runs."
    ]


def _which(drawn: dict[str, Any]) -> str:
    only = "".join(f" {name}" for name in drawn.get("only", ()))
    return " --repairable" if drawn["repairable"] else f" --only{only}" if only else ""


def _defined() -> str:
    return (
        "A fault is planted in a sound training, the analyzer reads what the run left, and the `changes` of its first fixes are applied to the run's own settings and trained again. "
        f"Good is a skill on validation (accuracy above guessing, or 1 − loss / chance) within {LESS:.0%} of the sound twin's, or within {SPREADS:g} standard deviations of it over {STARTS} starts. "
        "*Stated in settings*: the fault lies in a setting that the run's configuration states. The others are mistakes in code that a parameter names (initialisation, loss, shuffling, "
        "frozen parameters, schedule); a fix repairs one by setting that parameter back."
    )


def _shares(found: Sequence[Repair]) -> str:
    lines = ["| planted fault | runs | mode right | first fix | 95 % | first three | 95 % |", "| --- | --- | --- | --- | --- | --- | --- |"]
    by_fault: dict[str, list[Repair]] = collections.defaultdict(list)
    for r in found:
        by_fault[r.fault].append(r)
    parts = [*sorted(by_fault.items()), ("*stated in settings*", [r for r in found if r.settings]), ("**all**", list(found))]
    for title, part in parts:
        if part:
            right = sum(r.right for r in part) / len(part)
            lines.append(f"| {title} | {len(part)} | {right:.2f} | {_share(part, 1)} | {_share(part, FIXES)} |")
    return "\n".join(lines)


def _share(part: Sequence[Repair], fixes: int) -> str:
    good = sum(r.by(fixes) for r in part)
    low, high = wilson(good, len(part))
    return f"{good / len(part):.2f} | {low:.2f} to {high:.2f}"


def _after(found: Sequence[Repair]) -> str:
    good = [(r, a) for r in found for a in r.attempts if a.good]
    healthy = sum(a.says == "healthy" for _, a in good)
    wrong = [w for r in found for a in r.attempts for w in a.misaddressed]
    lines = [f"After a repair that worked the analyzer says healthy in {healthy} of {len(good)}."]
    if healthy < len(good):
        lines.append(
            "The others: " + "; ".join(f"{r.id} ({r.fault}) {a.skill:.2f} of {r.needed:.2f}: {a.says}" for r, a in good if a.says != "healthy") + "."
        )
    lines.append(f"Changes whose file, key or present value is not in the run: {len(wrong)}" + "".join(f"; {w}" for w in wrong) + ".")
    return "\n".join(lines)


def _failed(found: Sequence[Repair]) -> str:
    lines = []
    for r in (r for r in found if not r.by(1)):
        lines.append(
            f"- `{r.id}` {r.fault}: {r.plan}. Skill {r.skill:.3f}, twin {r.twin:.3f}, needed {r.needed:.3f}; the verdict: {r.mode} / {r.cause}"
        )
        lines += [f"  - {_tried(a)}" for a in r.attempts] or ["  - no fix was offered"]
    return "\n".join(lines) or "None."


def _tried(a: Attempt) -> str:
    what = "; ".join(a.done) or "nothing to apply"
    end = "" if not a.done else f" → {'not finite' if math.isnan(a.skill) else f'{a.skill:.3f}'}, {a.says}"
    return f"{'worked' if a.good else 'did not'}: {a.title}: {what}{end}"
