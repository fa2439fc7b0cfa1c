"""How often the analyzer is right on labelled runs, and what it saw where it was not."""

import collections
import contextlib
import hashlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postmortem import analyze

CERTAIN = 0.8  # a wrong answer with this confidence counts twice
QUIET = ("healthy", "inconclusive")


@dataclass(frozen=True)
class Answer:
    """One verdict beside its label."""

    label: dict[str, Any]
    mode: str | None
    cause: str | None = None
    confidence: float | None = None
    problem: str = ""
    seconds: float = 0.0
    summary: str = ""

    @property
    def right(self) -> bool:
        return self.mode in self.label["failure_mode"]

    @property
    def cause_right(self) -> bool:
        return self.right and self.cause in [self.label["cause"], *self.label["cause_also"]]

    @property
    def credit(self) -> float:
        """1 for the mode an expert would name, ½ for another true one."""
        return 1.0 if self.mode == self.label["primary"] else 0.5 if self.right else 0.0

    @property
    def trust(self) -> int:
        if self.right:
            return 1
        return 0 if self.mode == "inconclusive" else -2 if (self.confidence or 0) >= CERTAIN else -1


@contextlib.contextmanager
def anonymous(run: Path) -> Iterator[Path]:
    """A copy of the run whose name says nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, hashlib.sha256(run.name.encode()).hexdigest()[:10])
        shutil.copytree(run, copy)
        yield copy


def ask(run: Path, label: dict[str, Any]) -> Answer:
    with anonymous(run) as copy:
        start = time.perf_counter()
        try:
            verdict = analyze(copy, with_exhibits=False).verdict
        except ImportError:  # no verdict on a broken installation
            raise
        except Exception as error:
            return Answer(label, None, problem=f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - start
    if verdict.mode not in QUIET and verdict.severity not in ("fatal", "serious"):
        return Answer(label, None, problem=f"{verdict.mode} of severity {verdict.severity}", seconds=seconds)
    return Answer(label, verdict.mode, verdict.cause, verdict.confidence, "", seconds, str(verdict.summary))


def calibration(pairs: list[tuple[float, bool]], bins: int = 10) -> float:
    """Expected calibration error over bins of equal count."""
    if not pairs:
        return float("nan")
    ordered = sorted(pairs)
    error, start = 0.0, 0
    for b in range(1, bins + 1):
        part = ordered[start : (end := len(ordered) * b // bins)]
        if part:
            stated, true = sum(c for c, _ in part), sum(ok for _, ok in part)
            error += abs(stated - true)
        start = end
    return error / len(ordered)


def macro_f1(answers: list[Answer]) -> float:
    """Mean over primary modes. Another true mode counts half, for precision as for recall, and is no false positive of its own."""
    primaries = collections.Counter(a.label["primary"] for a in answers)
    named = collections.Counter(a.label["primary"] if a.right else a.mode for a in answers)
    scores = []
    for mode, count in primaries.items():
        credit = sum(a.credit for a in answers if a.label["primary"] == mode)
        recall, precision = credit / count, min(1.0, credit / named[mode]) if named[mode] else 0.0
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return sum(scores) / len(scores)


def figures(answers: list[Answer]) -> dict[str, float]:
    fine = [a for a in answers if "healthy" in a.label["failure_mode"]]
    caused = [a for a in answers if "healthy" not in a.label["failure_mode"] and a.label["cause"]]
    pairs = [(a.confidence, a.right) for a in answers if a.confidence is not None and a.mode != "inconclusive"]
    dice = random.Random(0)
    perfect = [calibration([(c, dice.random() < c) for c, _ in pairs]) for _ in range(200)]
    return {
        "runs": len(answers),
        "accuracy": sum(a.right for a in answers) / len(answers),
        "macro-F1": macro_f1(answers),
        "false alarms": sum(a.mode not in QUIET for a in fine) / max(1, len(fine)),
        "healthy": len(fine),
        "cause top-1": sum(a.cause_right for a in caused) / max(1, len(caused)),
        "trust": sum(a.trust for a in answers) / len(answers),
        "ECE": calibration(pairs),
        "ECE of a perfect one": sum(perfect) / len(perfect),
        "slowest seconds": max(a.seconds for a in answers),
    }


def answered(directory: Path) -> list[Answer]:
    labels = [json.loads(line) for line in (directory / "labels.jsonl").read_text().splitlines()]
    return [ask(directory / "runs" / label["id"], label) for label in labels]


def report(directory: Path) -> str:
    """The score, every mistake, and every wrong cause, with what the training itself measured."""
    answers = answered(directory)
    plans = {p["id"]: p for p in map(json.loads, (directory / "plans.jsonl").read_text().splitlines())}
    lines = ["Mistakes:"]
    for a in (a for a in answers if not a.right):
        lines += [_line(a), "      " + _mechanism(plans[a.label["id"]]), f"      it said: {a.summary[:260]}"]
    lines.append("\nMode right, cause wrong:")
    lines += [_line(a) for a in answers if a.right and a.label["cause"] and not a.cause_right]
    by_fault: dict[str, list[bool]] = collections.defaultdict(list)
    for a in answers:
        by_fault[a.label["fault"]].append(a.right)
    lines.append("\nBy fault: " + ", ".join(f"{k} {sum(v)}/{len(v)}" for k, v in sorted(by_fault.items())))
    lines.append("\n" + "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures(answers).items()))
    return "\n".join(lines)


def _line(a: Answer) -> str:
    confidence = f" {a.confidence:.2f}" if a.confidence is not None else ""
    wanted = "|".join(a.label["failure_mode"]) + (f" / {a.label['cause']}" if a.label["cause"] else "")
    return f"  {a.label['id']:26} {a.label['fault']:22} wanted {wanted}; got {a.mode} / {a.cause}{confidence} {a.problem}"


def _mechanism(plan: dict[str, Any]) -> str:
    p, style = plan["plan"], plan["style"]
    shown = f"{p['optimizer']} lr {p['lr']:g} momentum {p['momentum']} wd {p['weight_decay']:g} {p['schedule']} batch {p['batch_size']} epochs {p['epochs']} wrong {dict(p['wrong'])}"
    measured = " ".join(f"{k} {plan[k]}" for k in ("chance", "first", "train", "val", "skill", "twin") if k in plan)
    return f"{shown}; {measured}; log {style['log']} every {style['every']} lr {style['rate']} norm {style['norm']}, checkpoints {style['checkpoints']}, configuration {style['configuration']}"
