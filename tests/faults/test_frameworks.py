"""Each framework, where it is installed: it trains the plan, leaves its own files, makes the plan's mistakes, and the analyzer reads it."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from postmortem import analyze
from tests.faults import frameworks
from tests.faults.frameworks import FRAMEWORKS
from tests.faults.plan import Plan
from tests.faults.write import discard, write

SOUND = Plan(task="teacher", net="mlp", width=48, depth=2, train_samples=1000, batch_size=32, epochs=6, optimizer="adam", lr=2e-3, seed=5)
LEAVES = {"lightning": "lightning_logs/version_0/hparams.yaml", "transformers": "trainer_state.json", "keras": "train.log"}


def run_of(name: str, plan: Plan, directory: Path) -> Path:
    framework, dice = FRAMEWORKS[name], random.Random(3)
    style = replace(framework.drawn(dice, plan), checkpoints="all", log=framework.logs[0], rate=True)
    write(frameworks.run(plan, style), style, directory / "run", dice)
    return directory / "run"


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_sound_plan_and_a_frozen_one(name: str, tmp_path: Path) -> None:
    if not FRAMEWORKS[name].installed:
        pytest.skip(f"{name} is not installed")
    (tmp_path / "sound").mkdir()
    (tmp_path / "frozen").mkdir()
    sound = run_of(name, SOUND, tmp_path / "sound")
    assert (sound / LEAVES[name]).is_file()
    diagnosis = analyze(sound, with_exhibits=False)
    assert diagnosis.verdict.mode == "healthy"
    assert diagnosis.run.steps.completed in (SOUND.epochs * 32 - 1, SOUND.epochs * 32)  # Lightning counts its records from 0
    assert diagnosis.run.checkpoints
    assert analyze(run_of(name, SOUND.with_wrong(frozen="all"), tmp_path / "frozen"), with_exhibits=False).verdict.mode == "frozen-parameters"


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_trace_is_the_same_for_every_framework(name: str) -> None:
    if not FRAMEWORKS[name].installed:
        pytest.skip(f"{name} is not installed")
    trace = frameworks.run(replace(SOUND, epochs=2), FRAMEWORKS[name].drawn(random.Random(1), SOUND))
    discard(trace)
    assert trace.left is None
    assert trace.ended == "done"
    assert len(trace.curve("loss", of_epoch=False)) == 2 * trace.steps_per_epoch
    assert len(trace.curve("val_loss")) == len(trace.curve("val_acc")) == len(trace.curve("train_loss")) == 2
    assert 0 < trace.val_skill < 1


def test_what_a_framework_cannot_make_plain_pytorch_trains() -> None:
    assert all(f.takes(SOUND) for f in FRAMEWORKS.values())
    assert not any(f.takes(replace(SOUND, resume_at=3)) for f in FRAMEWORKS.values())
    assert not any(f.takes(SOUND.with_wrong(truncate=0.5)) for f in FRAMEWORKS.values())
    assert not FRAMEWORKS["keras"].takes(replace(SOUND, net="vit"))
    assert FRAMEWORKS["lightning"].takes(SOUND.with_wrong(no_step=1))
    assert not FRAMEWORKS["transformers"].takes(SOUND.with_wrong(no_step=1))


def test_a_framework_that_is_absent_has_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [frameworks.turn(n) for n in range(8)] == [None] * 8
    assert frameworks.absent() == list(FRAMEWORKS)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert {f.name for n in range(8) if (f := frameworks.turn(n))} == set(FRAMEWORKS)
