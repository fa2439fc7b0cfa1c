"""Every fixture gives the verdict, the set of findings and the standings that stand beside it; nothing more, nothing less."""

import tomllib
from pathlib import Path

import pytest

from postmortem.diagnose import probability
from postmortem.model.diagnosis import Finding, FindingStatus
from tests.analysed import CASES, judged
from tests.faults.applied import misaddressed


def test_there_are_fixtures() -> None:
    assert len(CASES) >= 50
    assert {c.parent.name for c in CASES} >= {"healthy", "crash", "corrupt-checkpoint", "non-finite", "overfitting", "underfitting", "frozen-parameters",
                                              "exploding-gradients", "vanishing-gradients", "loss-not-decreasing"}  # fmt: skip


def shows_why(finding: Finding) -> bool:
    """What is absent says what was looked at: at least one answer against it, and weights that add up to what is stated."""
    total = finding.prior + sum(clue.weight for clue in finding.clues)
    return any(clue.holds is False for clue in finding.clues) and probability(total) == pytest.approx(finding.confidence)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.parent.name}/{c.name}")
def test_a_fixture_is_judged_as_expected(case: Path) -> None:
    expected = tomllib.loads((case / "expected.toml").read_text(encoding="utf-8"))
    diagnosis = judged(case)
    verdict = diagnosis.verdict
    assert not [str(f.summary) for f in diagnosis.findings if f.status == FindingStatus.ABSENT and not shows_why(f)]
    assert not [f for f in diagnosis.findings if f.status == FindingStatus.CRASHED]
    assert verdict.mode == expected["mode"], verdict.summary
    assert (verdict.cause or "") == expected["cause"]
    assert sorted(f.mode for f in diagnosis.findings if f.status == FindingStatus.PRESENT) == expected["present"]
    if "confidence" in expected:
        assert verdict.confidence == pytest.approx(expected["confidence"], abs=0.1)
    if "onset" in expected:
        assert verdict.onset is not None
        assert verdict.onset.step == pytest.approx(expected["onset"], abs=0.05 * (diagnosis.run.steps.completed or 1.0) + 1e-9)
    if "standing" in expected:
        root = next(f for f in diagnosis.findings if f.mode == verdict.mode)
        assert {c.cause: c.standing.value for c in root.causes} == expected["standing"]


CONTRACT = frozenset(
    [
        "learning_rate",
        "warmup_steps",
        "schedule",
        "gradient_clip_norm",
        "weight_decay",
        "dropout",
        "label_smoothing",
        "batch_size",
        "epochs",
        "patience",
        "optimizer",
        "precision",
        "loss_scale",
        "initialization",
        "activation",
        "normalization",
        "model_width",
        "model_depth",
        "shuffle",
        "loss",
        "frozen_parameters",
    ]
)
BESIDE = frozenset({"train_samples", "accumulation", "beta2", "momentum"})  # no word of the contract names them


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.parent.name}/{c.name}")
def test_every_change_can_be_applied_where_it_says(case: Path) -> None:
    fixes = [fix for f in judged(case).findings for fix in (*f.fixes, *(x for c in f.causes for x in c.fixes))]
    changes = [change for fix in fixes for change in fix.changes]
    assert {c.parameter for c in changes} <= CONTRACT | BESIDE
    assert [w for w in (misaddressed(c, case / "run") for c in changes) if w] == []
    assert not [c for fix in fixes for c in fix.changes if len({x.key for x in fix.changes}) < len(fix.changes)]


@pytest.mark.parametrize("case", [c for c in CASES if c.parent.name == "healthy"], ids=lambda c: c.name)
def test_a_healthy_run_raises_no_alarm(case: Path) -> None:
    diagnosis = judged(case)
    assert diagnosis.verdict.mode == "healthy"
    assert not [f for f in diagnosis.findings if f.status == FindingStatus.PRESENT and f.severity != "minor"]


@pytest.mark.parametrize("case", [c for c in CASES if c.name.endswith("-blind")], ids=lambda c: c.parent.name + "/" + c.name)
def test_a_blind_case_says_what_to_log_next_time(case: Path) -> None:
    diagnosis = judged(case)
    assert diagnosis.next_time
    assert all(n.would_decide for n in diagnosis.next_time)
