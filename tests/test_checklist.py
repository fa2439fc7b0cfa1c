"""Conventions of the checklist, held over the registry."""

import re

import pytest

from postmortem.check import Cause, Check
from postmortem.checklist import all_causes, checklist
from postmortem.checklist.healthy import HEALTHY
from postmortem.checklist.needs import ACTIVATIONS, BATCH_STATISTICS, LAYER_STATISTICS
from postmortem.model.sentence import Sentence, fields

MODES = {
    "loss-not-decreasing": "learning-rate-too-high learning-rate-too-low optimizer-idle missing-from-optimizer wrong-labels wrong-loss model-structure bad-initialization preprocessing",
    "exploding-gradients": "learning-rate-too-high no-warmup no-gradient-clipping bad-initialization preprocessing accumulating-gradients wrong-loss",
    "vanishing-gradients": "saturating-activations bad-initialization missing-normalization-or-residuals too-deep",
    "overfitting": "too-little-data too-much-capacity no-regularization trained-too-long repeated-batch wrong-labels",
    "underfitting": "too-little-capacity stopped-too-early learning-rate-too-low learning-rate-too-high clipping-too-tight too-much-regularization wrong-loss bad-initialization "
    "preprocessing class-imbalance data-quality",
    "non-finite": "bad-batch unsafe-operation half-precision-overflow learning-rate-too-high",
    "loss-spike": "bad-batch learning-rate-too-high stale-second-moment",
    "oscillating-loss": "learning-rate-too-high batch-too-small unshuffled-data",
    "dead-units": "learning-rate-too-high bad-initialization",
    "frozen-parameters": "requires-grad-off missing-from-optimizer detached-graph update-below-precision",
    "schedule-fault": "no-warmup decayed-too-early zero-learning-rate schedule-restarted",
    "resume-fault": "optimizer-state-lost schedule-restarted data-order-restarted",
    "validation-fault": "batchnorm-eval-mismatch train-validation-shift wrong-labels class-imbalance leakage broken-evaluation",
    "data-fault": "out-of-range-labels non-finite-inputs constant-inputs duplicate-samples",
    "precision-fault": "loss-scale-collapse half-precision-overflow update-below-precision",
    "weight-collapse": "too-much-regularization representation-collapse",
    "crash": "out-of-memory collective-failure python-error device-assert killed preempted time-limit stopped-by-user disk-full data-loader-died hardware-fault",
    "corrupt-checkpoint": "truncated-write disk-full shard-missing",
    "stalled": "data-starvation hang slow-node",
}


def sentences(check: Check) -> list[Sentence]:
    out = [check.title, check.symptom, *check.by_hand, *(p.claim for p in check.probes), *(n.how for n in check.needs)]
    for cause, _ in check.causes:
        out += [cause.title, cause.mechanism, *cause.by_hand, *(p.claim for p in cause.probes)]
    return out


def test_every_mode_of_the_design_is_there_with_its_causes() -> None:
    assert [c.id for c in checklist()] == list(MODES)
    for check in checklist():
        assert set(MODES[check.id].split()) <= {cause.id for cause, _ in check.causes}, check.id


@pytest.mark.parametrize("check", [*checklist(), HEALTHY], ids=lambda c: c.id)
def test_a_check_is_well_formed(check: Check) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.id)
    assert len({cause.id for cause, _ in check.causes}) == len(check.causes)
    assert set(check.consequences) <= set(MODES)
    for sentence in sentences(check):
        assert sentence.template.strip(), check.id
        assert not list(fields(sentence.template)) or sentence.values is not None


@pytest.mark.parametrize("cause", all_causes().values(), ids=lambda c: c.id)
def test_a_cause_says_how_it_works_and_can_be_asked_about(cause: Cause) -> None:
    assert len(cause.mechanism.template) > 40
    assert cause.probes, "a cause that no probe can ask about is a guess"
    assert any(p.holds > 0 for p in cause.probes)
    assert all(p.fails <= 0 or p.holds < 0 for p in cause.probes)


def test_one_id_is_one_cause() -> None:
    seen: dict[str, Cause] = {}
    for check in checklist():
        for cause, _ in check.causes:
            assert seen.setdefault(cause.id, cause) is cause


def test_every_probe_can_hold_and_some_can_fail() -> None:
    probes = [p for check in checklist() for cause, _ in check.causes for p in cause.probes]
    assert all(p.holds != 0 for p in probes)
    assert sum(p.fails != 0 for p in probes) > len(probes) / 2


# What only files that a training writes for other reasons can show.
NOT_RECORDED = {"optimizer state in checkpoints", "two checkpoints", "a checkpoint"}


def test_what_the_recorder_can_supply_comes_with_the_line_that_would() -> None:
    needs = [
        need
        for check in checklist()
        for need in (*check.needs, *(n for p in check.probes for n in p.needs), *(n for c, _ in check.causes for p in c.probes for n in p.needs))
    ]
    without = {need.log for need in needs if not need.code.get("") and not need.given}
    assert without <= NOT_RECORDED, without - NOT_RECORDED
    for need in needs:
        for framework, line in need.code.items():
            assert "\n" not in line
            assert "ecorder" in line or (not line and framework == "keras"), (need.log, framework)
            compile(line.replace("...", "None"), need.log, "exec")


def test_the_line_is_the_frameworks() -> None:
    lines = BATCH_STATISTICS.code
    assert "recorder.batch(x, y)" in lines[""]
    assert "recorder.batch(x, y)" in lines["keras"]  # its callback sees no batch
    assert "for_keras" in LAYER_STATISTICS.code["keras"]
    assert not ACTIVATIONS.code["keras"]
