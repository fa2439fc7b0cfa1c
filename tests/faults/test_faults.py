"""The benchmark keeps working: a few runs are trained, written, read and judged; what it says of itself is held."""

import json
import math
import random
import sys
from pathlib import Path

import pytest

from postmortem.checklist import checklist
from tests.faults.catalogue import FAULTS, Seen
from tests.faults.healthy import AWKWARD, ground
from tests.faults.make import GAMES, faulted, generate, names
from tests.faults.plan import Plan, Trace
from tests.faults.score import Answer, answered, calibration, figures, macro_f1, report
from tests.faults.train import run, watched

SMOKE = ("none", "no_step", "small_batches", "exception", "loss_sign")


trains = pytest.mark.slow("trains five runs and their sound twins, as the benchmark does; its parts have tests of their own in the ordinary run")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("faults")
    generate(len(SMOKE), 11, directory, SMOKE)
    return directory


@trains
def test_runs_are_written_and_judged(made: Path) -> None:
    answers = answered(made)
    assert [a.label["fault"] for a in answers] == ["none", "no_step", "none:small_batches", "exception", "loss_sign"]
    assert not [a.problem for a in answers if a.problem]
    assert [a.mode for a in answers if a.label["primary"] == "healthy"] == ["healthy", "healthy"]
    assert [a.right for a in answers] == [True] * 5, report(made)


@trains
def test_labels_have_the_fields_and_the_report_prints_the_score(made: Path) -> None:
    rows = [json.loads(line) for line in (made / "labels.jsonl").read_text().splitlines()]
    assert all(set(r) == {"id", "primary", "failure_mode", "cause", "cause_also", "fault", "fix"} for r in rows)
    assert all(r["fault"].split(":")[-1] not in r["id"] and any((made / "runs" / r["id"]).iterdir()) for r in rows)
    assert "accuracy" in report(made)


def test_the_fault_is_the_only_difference_and_shows() -> None:
    run_, seen, _ = faulted("no_step", random.Random(3))
    assert seen.twin.plan.wrong == ()
    assert run_.plan == seen.twin.plan.with_wrong(no_step=1)
    assert seen.twin.val_skill > 0.5 > 0.2 > run_.val_skill


def test_the_same_plan_trains_to_the_same_figures() -> None:
    plan = ground(random.Random(5), tasks=("teacher",), nets=("mlp",))
    assert run(plan).curve("train_loss") == run(plan).curve("train_loss")


def test_a_framework_that_leaves_the_process_ends_the_run_and_not_the_benchmark() -> None:
    trace = Trace(Plan())
    with watched(trace):
        sys.exit(1)
    assert trace.ended == "raised"


def test_every_label_is_an_id_of_the_checklist() -> None:
    checks = {c.id: {cause.id for cause, _ in c.causes} for c in checklist()}
    causes = set().union(*checks.values())
    assert {f.cause for f in FAULTS.values()} <= causes
    plan = ground(random.Random(5), tasks=("teacher",), nets=("mlp",))
    trace = run(plan)
    for fault in FAULTS.values():
        assert set(fault.modes(Seen(trace, trace))) <= set(checks)


def test_a_quarter_is_sound_and_every_fault_comes_before_any_comes_twice() -> None:
    drawn = list(names(2 * len(FAULTS), random.Random(1)))
    sound = [n for n in drawn if n in AWKWARD or n in GAMES or n == "none"]
    faults = [n for n in drawn if n in FAULTS]
    assert len(sound) == len(drawn) // 4
    assert set(faults) == set(FAULTS)
    assert len(set(faults[: len(FAULTS)])) == len(FAULTS)


def _answer(primary: str, mode: str, *also: str, confidence: float = 0.9) -> Answer:
    return Answer(
        {"id": "x", "primary": primary, "failure_mode": [primary, *also], "cause": "c", "cause_also": [], "fault": primary}, mode, "c", confidence
    )


def test_score_by_hand() -> None:
    answers = [
        _answer("a", "a"),
        _answer("a", "b"),
        _answer("b", "a", "a"),
        _answer("healthy", "inconclusive"),
        _answer("healthy", "b", confidence=0.5),
    ]
    # a: 1 of 2, named once; b: ½ of 1, named once rightly and twice wrongly; healthy: 0
    assert macro_f1(answers) == pytest.approx((2 * 1 * 0.5 / 1.5 + 2 * (0.5 / 3) * 0.5 / (0.5 / 3 + 0.5) + 0) / 3)
    score = figures(answers)
    assert (score["accuracy"], score["false alarms"], score["trust"]) == (0.4, 0.5, pytest.approx((1 - 2 + 1 + 0 - 1) / 5))
    assert calibration([(0.75, True), (0.75, True), (0.75, True), (0.75, False)], 1) == pytest.approx(0.0)
    assert math.isnan(calibration([]))
