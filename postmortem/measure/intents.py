"""What was meant: freezing, adapters, a single epoch. Such intents are no faults; the report shows what was assumed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from postmortem.model.run import Setting
from postmortem.model.sentence import Sentence, say
from postmortem.model.tensors import ModelFacts, WeightSummary

_OFF = (None, False, 0, "", "none", "no", "false")
# of a part of the model: `freeze_backbone: true`, `linear_probe`, `train_only: classifier`
_FREEZES = re.compile(r"freez|frozen|linear[_-]?prob|(?:train|tune)_(?:only|head)|(?:head|classifier|last_layer)_only|feature_extract(?:ing|ion)?$")
_LORA = ("lora", "adapter", "peft", "qlora", "prefix_tuning", "prompt_tuning")


def without_stated(weights: WeightSummary, frozen: Sequence[str]) -> WeightSummary:
    """The summary without the tensors that are meant to stand still (glob patterns of their names)."""
    if not frozen or not weights.identical or weights.identical_share is None:
        return weights
    left = tuple(name for name in weights.identical if not any(fnmatchcase(name, pattern) for pattern in frozen))
    return replace(weights, identical=left, identical_share=weights.identical_share * len(left) / len(weights.identical))


def intents_of(settings: Sequence[Setting], model: ModelFacts, frozen: Sequence[str] = ()) -> Mapping[str, Sentence]:
    """Intent → where it was read off: `lora`, `frozen`, `stated-frozen`, `one-epoch`."""
    out: dict[str, Sentence] = {}
    if frozen:
        out["stated-frozen"] = say("frozen = {names} was stated", names=", ".join(frozen))
    if model.adapters:
        out["lora"] = say("the checkpoints hold adapter weights")
    hit = next(
        (s for s in settings if any(word in s.key.lower().replace("-", "_") for word in _LORA) and s.value not in _OFF),
        None,
    )
    if hit is not None and "lora" not in out:
        out["lora"] = say("{key} = {value}", key=hit.key, value=hit.value)
    froze = next((s for s in settings if _FREEZES.search(s.key.lower()) and "unfreez" not in s.key.lower() and s.value not in _OFF), None)
    if froze is not None:
        out["frozen"] = say("{key} = {value}", key=froze.key, value=froze.value)
    epochs = next((s for s in settings if s.name == "epochs" and s.value in (1, 1.0)), None)
    if epochs is not None:
        out["one-epoch"] = say("{key} = {value}", key=epochs.key, value=epochs.value)
    return out
