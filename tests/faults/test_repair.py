"""Changes become settings, and a fix is proven by training again."""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from postmortem.model.diagnosis import Change
from tests.faults.applied import applied, misaddressed
from tests.faults.catalogue import Seen
from tests.faults.make import label
from tests.faults.plan import Plan
from tests.faults.repair import Twin, repairable, repairs
from tests.faults.repaired import report
from tests.faults.style import Style
from tests.faults.train import run
from tests.faults.write import write

SOUND = Plan(task="teacher", net="mlp", width=48, depth=2, train_samples=1400, batch_size=32, epochs=12, optimizer="adam", lr=2e-3, seed=5)
PLAIN = Style("jsonl", "dict", "config.yaml", 20, rate=True, norm=True, digits=4)


def change(parameter: str, key: str, from_: object, to: object, file: str = "config.yaml") -> Change:
    return Change(parameter, key, file, from_, to)  # type: ignore[arg-type]


def test_changes_become_settings_and_what_means_nothing_here_is_said() -> None:
    plan = replace(SOUND, lr=30.0, dropout=0.9)
    done = applied(
        plan, [change("learning_rate", "lr", 30.0, 0.01), change("dropout", "dropout", 0.9, None), change("patience", "patience", None, 3)]
    )
    assert done.plan == replace(SOUND, lr=0.01)
    assert done.done == ("lr 30.0 → 0.01", "dropout 0.9 → 0.0")
    assert done.left == ("patience (patience)",)


def test_a_parameter_set_back_undoes_the_mistake_that_it_names() -> None:
    plan = SOUND.with_wrong(init_scale=20, sorted=1)
    assert applied(plan, [change("initialization", "init", None, None)]).plan == SOUND.with_wrong(sorted=1)
    assert applied(plan, [change("shuffle", "shuffle", None, True)]).plan == SOUND.with_wrong(init_scale=20)


def test_a_change_must_be_where_it_says(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("optim:\n  lr: 30.0\n")
    assert not misaddressed(change("learning_rate", "optim.lr", 30.0, 0.01), tmp_path)
    assert not misaddressed(change("gradient_clip_norm", "grad_clip", None, 1.0), tmp_path)
    assert not misaddressed(change("learning_rate", "lr", 30.0, 0.01, file=""), tmp_path)
    assert misaddressed(change("learning_rate", "lr", 30.0, 0.01), tmp_path)
    assert misaddressed(change("learning_rate", "optim.lr", 3.0, 0.01), tmp_path)
    assert misaddressed(change("learning_rate", "lr", 30.0, 0.01, file="other.yaml"), tmp_path)


def test_a_twins_spread_is_asked_for_only_when_it_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def trained(plan: Plan, style: Style | None, start: int = 0) -> object:
        asked.append(start)
        return type("Trace", (), {"val_skill": (0.8, 0.7, 0.9, 0.8)[start], "left": None})

    monkeypatch.setattr("tests.faults.repair.run", trained)
    twin = Twin(SOUND, 0.8)
    assert twin.reached(0.77)
    assert not twin.reached(0.3)
    assert not asked
    assert twin.reached(0.65)  # 0.8 less two standard deviations of 0.082
    assert asked == [1, 2, 3]
    assert not twin.reached(0.6)


def test_a_fix_is_tried_and_proven(tmp_path: Path) -> None:
    twin, bad = run(SOUND), run(replace(SOUND, lr=20.0))
    (tmp_path / "runs").mkdir()
    write(bad, PLAIN, tmp_path / "runs" / "teacher-mlp-1", random.Random(1))
    row = {"id": "teacher-mlp-1", "name": "lr_too_high", "plan": asdict(bad.plan), "sound": asdict(SOUND), "style": asdict(PLAIN)}
    row |= {"skill": [bad.train_skill, bad.val_skill], "twin": [twin.train_skill, twin.val_skill]}
    (tmp_path / "plans.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "labels.jsonl").write_text(json.dumps(label("teacher-mlp-1", "lr_too_high", bad.plan, Seen(bad, twin))) + "\n")
    (found,) = repairs(tmp_path)
    assert found.by(1), report([found])
    assert found.attempts[0].says == "healthy"
    assert not found.attempts[0].misaddressed
    assert found.skill < found.needed <= found.attempts[0].skill
    assert "lr_too_high" in report([found])
    (tmp_path / "drawn.json").write_text(json.dumps({"runs": 1, "seed": 7, "repairable": True, "absent": []}))
    text = report([found], [tmp_path])
    assert "--runs 1 --seed 7 --repairable" in text
    assert "| **all** | 1 | 1.00 | 1.00 | 0.21 to 1.00 |" in text


def test_what_a_parameter_can_repair() -> None:
    assert {"lr_too_high", "overfit", "init_zero", "frozen_backbone"} <= set(repairable())
    assert not {"exception", "labels_shuffled", "no_step", "detached_graph"} & set(repairable())
