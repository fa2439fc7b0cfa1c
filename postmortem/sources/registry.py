"""All readers, in the order in which they are asked. The first that claims a file reads it."""

from functools import cache
from importlib import import_module
from types import ModuleType

from postmortem.sources.reader import Reader

# Each module has a `READER` or `READERS`. Imported when a run is read; readers of heavy formats import their library when they read.
_MODULES = (
    "postmortem.sources.checkpoints.safetensors",
    "postmortem.sources.checkpoints.keras_zip",
    "postmortem.sources.checkpoints.keras_h5",
    "postmortem.sources.checkpoints.npz",
    "postmortem.sources.checkpoints.dcp",
    "postmortem.sources.checkpoints.sharded_torch",
    "postmortem.sources.checkpoints.deepspeed",
    "postmortem.sources.checkpoints.deepspeed_universal",
    "postmortem.sources.checkpoints.stable_baselines",
    "postmortem.sources.checkpoints.paddle",
    "postmortem.sources.checkpoints.torch_zip",
    "postmortem.sources.logs.captured",
    "postmortem.sources.checkpoints.foreign",
    "postmortem.sources.logs.tfevents",
    "postmortem.sources.logs.visualdl",
    "postmortem.sources.logs.wandb",
    "postmortem.sources.logs.mlflow",
    "postmortem.sources.logs.trainer_state",
    "postmortem.sources.logs.jsonl",
    "postmortem.sources.logs.json_rows",
    "postmortem.sources.logs.csv",
    "postmortem.sources.config",
    "postmortem.sources.logs.text",
)


@cache
def readers() -> tuple[Reader, ...]:
    """Every reader, in order."""
    return tuple(reader for path in _MODULES for reader in _of(import_module(path)))


def _of(module: ModuleType) -> tuple[Reader, ...]:
    many: tuple[Reader, ...] | None = getattr(module, "READERS", None)
    return many if many is not None else (module.READER,)
