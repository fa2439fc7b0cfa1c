"""The report of stated probabilities against labels, by hand and on a run of the benchmark."""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path

from tests.faults.calibrate import Answered, answered, report, stored
from tests.faults.fitted import Judged
from tests.faults.make import label
from tests.faults.plan import Plan
from tests.faults.style import Style
from tests.faults.train import run
from tests.faults.write import write


def row(n: int, *, right: bool, confidence: float | None, mode: str = "overfitting", fault: str = "overfit") -> Answered:
    true = (mode,) if right else ("underfitting",)
    part = Judged(f"data-net{n % 7}", 1.0, right, (f"{mode}: prior",))
    return Answered(f"data-net{n % 7}-{n}", "set", fault, true[0], true, ("c",), mode, "c", confidence, 0.6, (part,), (part,))


def test_too_sure_too_modest_and_confident_mistakes_are_said() -> None:
    rows = [row(n, right=n % 2 == 0, confidence=0.95) for n in range(40)] + [row(n, right=True, confidence=0.6) for n in range(40)]
    text = report(rows)
    assert "| 0.95 to 0.98 | 40 | 0.950 | 0.500 | 0.35 to 0.65 | too sure |" in text
    assert "| 0.50 to 0.70 | 40 | 0.600 | 1.000 | 0.91 to 1.00 | too modest |" in text
    assert text.count("- 0.95 overfitting / c: overfit on data-net") == 20
    assert "| overfitting | 60 | 80 | 0.75 |" in text
    assert "7 groups" in text


def test_an_inconclusive_answer_states_nothing() -> None:
    rows = [row(n, right=True, confidence=0.9) for n in range(20)] + [row(30, right=False, confidence=None, mode="inconclusive")]
    assert "All: 20 stated" in report(rows)
    assert "| inconclusive | 0 | 1 | 0.00 |" in report(rows)


def test_what_the_analyzer_says_of_a_run_can_be_kept(tmp_path: Path) -> None:
    plan = Plan(task="teacher", net="mlp", width=48, depth=2, train_samples=1400, epochs=4, lr=2e-3, seed=5)
    (tmp_path / "runs").mkdir()
    write(
        run(plan), Style("jsonl", "none", "config.json", 20, rate=True, norm=False, digits=4), tmp_path / "runs" / "teacher-mlp-1", random.Random(1)
    )
    (tmp_path / "labels.jsonl").write_text(json.dumps(label("teacher-mlp-1", "none", plan, None)) + "\n")
    (said,) = answered(tmp_path)
    assert said.group == "teacher-mlp"
    assert stored(json.loads(json.dumps(asdict(said)))) == said


def test_a_refit_of_causes_that_does_worse_elsewhere_is_not_taken() -> None:
    def asked(n: int, true: str) -> Answered:
        """Two causes, "a" stated as the likelier."""
        group = f"data-net{n % 7}"
        causes = tuple(Judged(group, odds, c == true, (f"overfitting/{c}: prior",)) for c, odds in (("a", 0.5), ("b", 0.0)))
        return replace(row(n, right=True, confidence=0.9), true_causes=(true,), cause="a", causes=causes)

    here, there = [asked(n, "b") for n in range(70)], [asked(n, "a") for n in range(30)]
    assert "A refit of causes is worth taking." in report(here)
    text = report(here, there)
    assert "In 30 runs of other tasks, which no fit saw, it is right in 30 as stated and in 0" in text
    assert "Those of causes stay." in text
