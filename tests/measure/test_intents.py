"""What is meant to stand still is no fault; what is not meant to, still is one."""

from pathlib import Path
from types import MappingProxyType

import postmortem
from postmortem.measure import Stated
from postmortem.measure.intents import intents_of
from postmortem.model.run import Setting
from postmortem.model.tensors import ModelFacts

FROZEN = Path(__file__).parents[2] / "fixtures" / "frozen-parameters" / "requires-grad-off" / "run"


def present(stated: Stated) -> set[str]:
    found = postmortem.analyze(FROZEN, stated=stated, with_exhibits=False)
    return {f.mode for f in found.findings if f.status == "present"}


def test_tensors_that_are_stated_as_frozen_are_no_finding() -> None:
    assert "frozen-parameters" in present(Stated())
    assert "frozen-parameters" not in present(Stated(frozen=("*",)))
    assert "frozen-parameters" in present(Stated(frozen=("no.such.layer.*",), aliases=MappingProxyType({})))


def test_adapters_are_read_off_settings_and_tensors() -> None:
    assert "lora" in intents_of([Setting("", "peft.lora_r", 8, "config.json")], ModelFacts())
    assert "lora" in intents_of([], ModelFacts(adapters=True))
    assert "lora" not in intents_of([Setting("", "use_lora", False, "config.json")], ModelFacts())


def test_a_frozen_part_is_read_off_settings() -> None:
    for key, value in (("freeze_backbone", True), ("train_only", "classifier"), ("linear_probe", 1), ("model.frozen_layers", 3)):
        assert "frozen" in intents_of([Setting("", key, value, "config.json")], ModelFacts()), key
    for key, value in (("freeze_backbone", False), ("unfreeze_at", 3), ("freeze", "none")):
        assert "frozen" not in intents_of([Setting("", key, value, "config.json")], ModelFacts()), key
