"""Is 0.9 nine in ten? Stated probabilities against labels, and whether refitted weights would say it better.

python -m tests.faults.calibrate DIR... [--beside DIR...] [--rows FILE] [--write tests/faults/CALIBRATION.md]

Each DIR has `labels.jsonl` and `runs/<id>`, as `python -m tests.faults --out DIR` writes them. Groups are of one data set and one
architecture (an id without its last part); nothing is judged by a fit that saw its group. A refit is worth taking when its gain in nats per
statement is above 0 with its whole 95 % interval; until then the reasoned priors stay.
"""

import argparse
import collections
import itertools
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from postmortem import analyze
from postmortem.model.diagnosis import CauseVerdict, Diagnosis, Finding
from tests.faults.fitted import (
    SHRINKAGES,
    Floats,
    Judged,
    arrays,
    gain,
    log_loss,
    log_odds,
    refitted,
    refitted_out_of_group,
    stretched,
    stretched_out_of_group,
    wilson,
)
from tests.faults.score import CERTAIN, QUIET, anonymous, calibration

BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


@dataclass(frozen=True)
class Answered:
    """A labelled run with what the analyzer said: its verdict, each symptom that it sighted, each cause under a mode that is true."""

    id: str
    source: str  # the directory's name
    fault: str
    primary: str
    true_modes: tuple[str, ...]
    true_causes: tuple[str, ...]
    mode: str
    cause: str | None
    confidence: float | None
    cause_confidence: float | None
    modes: tuple[Judged, ...]
    causes: tuple[Judged, ...]

    @property
    def group(self) -> str:
        return self.id.rpartition("-")[0]

    @property
    def right(self) -> bool:
        return self.mode in self.true_modes


def answered(directory: Path) -> Iterable[Answered]:
    for line in (directory / "labels.jsonl").read_text().splitlines():
        label = json.loads(line)
        with anonymous(directory / "runs" / label["id"]) as copy:
            yield judged(label, directory.name, analyze(copy, with_exhibits=False))


def judged(label: dict[str, Any], source: str, diagnosis: Diagnosis) -> Answered:
    true_modes = tuple(label["failure_mode"])
    true_causes = tuple(c for c in [label["cause"], *(label.get("cause_also") or [])] if c)
    group = label["id"].rpartition("-")[0]
    v, findings = diagnosis.verdict, [f for f in diagnosis.findings if f.onset is not None and f.clues]  # what was cleared was not weighed
    modes = tuple(_of(group, f, f.mode, true=f.mode in true_modes) for f in findings)
    right = [f for f in findings if f.mode in true_modes and f.mode == v.mode] if true_causes else []
    causes = tuple(_of(group, c, f"{f.mode}/{c.cause}", true=c.cause in true_causes) for f in right for c in f.causes)
    serious = v.mode in QUIET or v.severity in ("fatal", "serious")
    confidence = v.confidence if v.mode != "inconclusive" else None
    known = (label["fault"], label.get("primary") or true_modes[0], true_modes, true_causes)
    return Answered(label["id"], source, *known, v.mode if serious else "-", v.cause, confidence, v.cause_confidence, modes, causes)


def _of(group: str, stated: Finding | CauseVerdict, name: str, *, true: bool) -> Judged:
    spoke = [c for c in stated.clues if c.holds is not None]
    parts = (f"{name}: prior", *(f"{name}: {c.claim.template} [{'holds' if c.holds else 'fails'}]" for c in spoke))
    return Judged(group, (stated.prior or 0.0) + sum(c.weight for c in spoke), true, parts)


# --- what is written ------------------------------------------------------------------------------------------------


def report(rows: Sequence[Answered], beside: Sequence[Answered] = ()) -> str:
    sources = collections.Counter(r.source for r in rows)
    verdicts = [r for r in rows if r.confidence is not None]
    faults, fine = [r for r in verdicts if r.mode != "healthy"], [r for r in verdicts if r.mode == "healthy"]
    parts = [
        "# Calibration",
        "Written by `python -m tests.faults.calibrate` from "
        + ", ".join(f"{n} runs of `{s}`" for s, n in sources.items())
        + f"; {len({r.group for r in rows})} groups of data set and architecture. "
        "`python -m tests.faults --runs N --seed S --out DIR` makes such a set; another seed makes another.",
        "## Reliability of the verdict's confidence",
        _reliability(_pairs(verdicts)),
        "By verdict: " + "; ".join(_line(name, _pairs(part)) for name, part in (("a failure", faults), ("healthy", fine))) + ".",
        "By set: "
        + "; ".join(_line(f"`{s}`", _pairs([r for r in verdicts if r.source == s])) for s in sources)
        + ". Sets on which checks were mended say less.",
        "## Reliability of the cause's confidence, where the mode is right",
        _reliability([(r.cause_confidence, r.cause in r.true_causes) for r in rows if r.right and r.true_causes and r.cause_confidence is not None]),
        "## Would a refit be better?",
        _refits(rows, faults, fine, beside),
        "## Precision and recall per mode",
        _per_mode(rows),
        "## Recall per planted fault",
        _per_fault(rows),
        f"## Confident mistakes ({CERTAIN} and more)",
        _mistakes(rows),
    ]
    return "\n\n".join(parts) + "\n"


def _pairs(part: Sequence[Answered]) -> list[tuple[float, bool]]:
    return [(r.confidence or 0.0, r.right) for r in part]


def _reliability(pairs: Sequence[tuple[float, bool]]) -> str:
    lines = ["| stated | runs | mean stated | came true | 95 % interval | |", "| --- | --- | --- | --- | --- | --- |"]
    for low, high in itertools.pairwise(BINS):
        part = [(c, ok) for c, ok in pairs if low <= c < high or (high == 1.0 and c == 1.0)]
        if part:
            right, mean = sum(ok for _, ok in part), sum(c for c, _ in part) / len(part)
            a, b = wilson(right, len(part))
            inside = "" if a <= mean <= b else "too sure" if mean > b else "too modest"
            lines.append(f"| {low:.2f} to {high:.2f} | {len(part)} | {mean:.3f} | {right / len(part):.3f} | {a:.2f} to {b:.2f} | {inside} |")
    return "\n".join(lines) + "\n\n" + _line("All", list(pairs)) + "."


def _line(name: str, pairs: list[tuple[float, bool]]) -> str:
    if not pairs:
        return f"{name}: none"
    dice = random.Random(0)
    perfect = sorted(calibration([(c, dice.random() < c) for c, _ in pairs]) for _ in range(400))
    right = sum(ok for _, ok in pairs) / len(pairs)
    return (
        f"{name}: {len(pairs)} stated, mean {sum(c for c, _ in pairs) / len(pairs):.3f}, true {right:.3f}, expected calibration error "
        f"{calibration(pairs):.3f} (a perfect one shows {sum(perfect) / len(perfect):.3f}, below {perfect[int(0.95 * len(perfect))]:.3f} in 95 of 100)"
    )


def _refits(rows: Sequence[Answered], faults: Sequence[Answered], fine: Sequence[Answered], beside: Sequence[Answered]) -> str:
    lines = [
        "| refit | statements | shrinkage | nats per statement, stated | gain out of group | 95 % interval | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    named = [
        Judged(r.group, log_odds(r.cause_confidence), r.cause in r.true_causes) for r in rows if r.right and r.true_causes and r.cause_confidence
    ]
    for name, part in (("a failure", _verdicts(faults)), ("healthy", _verdicts(fine)), ("the named cause", named)):
        if part:
            new, shrinkage = _best(part, stretched_out_of_group)
            bias, slope = stretched(*arrays(part), shrinkage)
            lines.append(_row(f"bias and slope, {name} ({bias:+.2f}, × {slope:.2f})", part, shrinkage, new))
    modes, causes = [j for r in rows for j in r.modes], [j for r in rows for j in r.causes]
    own = np.array([j.name == r.mode for r in rows for j in r.modes])
    new, shrinkage = _best(modes, refitted_out_of_group)
    taken = "The reasoned weights of modes stay."
    for name, kept in (("the verdict's own finding", own), ("other findings", ~own)):
        part = [j for j, k in zip(modes, kept, strict=True) if k]
        if part:
            lines.append(_row(f"every weight of modes ({len({p for j in modes for p in j.parts})}), {name}", part, shrinkage, new[kept]))
            if kept is own and gain(part, new[kept])[1] > 0:
                taken = "A refit of modes is worth taking."
    new, shrinkage = _best(causes, refitted_out_of_group)
    lines.append(_row(f"every weight of causes ({len({p for j in causes for p in j.parts})})", causes, shrinkage, new))
    of = [n for n, r in enumerate(rows) for _ in r.causes]
    before, after = _first_right(of, causes, arrays(causes)[0]), _first_right(of, causes, new)
    there, stated, fitted = _elsewhere(beside, refitted(causes, shrinkage))
    taken += " Those of causes stay." if after <= before or fitted < stated else " A refit of causes is worth taking."
    others = (
        f" In {there} runs of other tasks, which no fit saw, it is right in {stated} as stated and in {fitted} with the weights refitted here."
        if there
        else ""
    )
    return "\n".join(lines) + (
        f"\n\nThe most probable cause is right in {before} of {len(set(of))} runs as stated and in {after} with refitted weights of causes.{others} The shrinkage is the best of "
        f"{', '.join(f'{s:g}' for s in SHRINKAGES)} on these very runs, which flatters the refit. A refit of modes is worth taking when the verdict's own findings are "
        f"stated better, one of causes when more of the first ones are right, and no fewer elsewhere. **{taken}**"
    )


def _elsewhere(rows: Sequence[Answered], added: dict[str, float]) -> tuple[int, int, int]:
    """(runs, with the most probable cause right as stated, the same with `added` weights) of sets that the weights were not fitted on."""
    causes = [j for r in rows for j in r.causes]
    of = [n for n, r in enumerate(rows) for _ in r.causes]
    if not causes:
        return 0, 0, 0
    odds = arrays(causes)[0]
    return (
        len(set(of)),
        _first_right(of, causes, odds),
        _first_right(of, causes, odds + np.array([sum(added.get(p, 0.0) for p in j.parts) for j in causes])),
    )


def _verdicts(part: Sequence[Answered]) -> list[Judged]:
    return [Judged(r.group, log_odds(r.confidence or 0.0), r.right) for r in part]


def _best(part: Sequence[Judged], fit: Callable[[Sequence[Judged], float], Floats]) -> tuple[Floats, float]:
    return max(((fit(part, s), s) for s in SHRINKAGES), key=lambda f: gain(part, f[0])[0])


def _first_right(of: Sequence[int], causes: Sequence[Judged], odds: Floats) -> int:
    """In how many runs the most probable cause is a true one; `of` says which run a statement is about."""
    first: dict[int, int] = {}
    for n, run in enumerate(of):
        if run not in first or odds[n] > odds[first[run]]:
            first[run] = n
    return sum(causes[n].true for n in first.values())


def _row(name: str, part: Sequence[Judged], shrinkage: float, new: Floats) -> str:
    mean, low, high = gain(part, new)
    verdict = "better" if low > 0 else "worse" if high < 0 else "no better"
    return f"| {name} | {len(part)} | {shrinkage:g} | {log_loss(*arrays(part)).mean():.3f} | {mean:+.3f} | {low:+.3f} to {high:+.3f} | {verdict} |"


def _per_mode(rows: Sequence[Answered]) -> str:
    lines = ["| mode | runs | named | precision | 95 % | recall (any true mode) | 95 % |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for mode in sorted({r.primary for r in rows} | {r.mode for r in rows}):
        named, own = [r for r in rows if r.mode == mode], [r for r in rows if r.primary == mode]
        lines.append(f"| {mode} | {len(own)} | {len(named)} | {_share(named)} | {_share(own)} |")
    return "\n".join(lines)


def _share(part: Sequence[Answered]) -> str:
    right = sum(r.right for r in part)
    low, high = wilson(right, len(part))
    return f"{right / len(part):.2f} | {low:.2f} to {high:.2f}" if part else "- | -"


def _per_fault(rows: Sequence[Answered]) -> str:
    by_fault: dict[str, list[Answered]] = collections.defaultdict(list)
    for r in rows:
        by_fault[r.fault].append(r)
    lines = ["| planted fault | runs | mode right | 95 % | cause right too |", "| --- | --- | --- | --- | --- |"]
    for fault, part in sorted(by_fault.items()):
        caused = f"{sum(r.right and r.cause in r.true_causes for r in part) / len(part):.2f}" if part[0].true_causes else "-"
        lines.append(f"| {fault} | {len(part)} | {_share(part)} | {caused} |")
    return "\n".join(lines)


def _mistakes(rows: Sequence[Answered]) -> str:
    wrong = sorted((r for r in rows if not r.right and (r.confidence or 0) >= CERTAIN), key=lambda r: -(r.confidence or 0))
    lines = [f"- {r.confidence:.2f} {r.mode} / {r.cause}: {r.fault} on {r.group}, truly {', '.join(r.true_modes)}" for r in wrong]
    return "\n".join(lines) or "None."


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.calibrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--rows", type=Path, help="keep what the analyzer said here, and take it from here when it is there")
    parser.add_argument(
        "--beside", type=Path, nargs="+", default=(), metavar="DIR", help="sets of other tasks, on which a refit of causes must do no worse"
    )
    parser.add_argument("--write", type=Path, help="write the report here")
    options = parser.parse_args()
    if options.rows is not None and options.rows.exists():
        rows = [stored(json.loads(line)) for line in options.rows.read_text().splitlines()]
    else:
        rows = [row for directory in options.directories for row in answered(directory)]
        if options.rows is not None:
            options.rows.write_text("".join(json.dumps(asdict(r)) + "\n" for r in rows))
    text = report(rows, [row for directory in options.beside for row in answered(directory)])
    if options.write is not None:
        options.write.write_text(text)
    print(text)


def stored(row: dict[str, Any]) -> Answered:
    lists = {k: tuple(Judged(**{**j, "parts": tuple(j["parts"])}) for j in row[k]) for k in ("modes", "causes")}
    return Answered(**{**row, **{k: tuple(row[k]) for k in ("true_modes", "true_causes")}, **lists})


if __name__ == "__main__":
    main()
