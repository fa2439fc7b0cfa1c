"""Which formats a run is written in, drawn at random."""

import importlib.util
import random
from dataclasses import dataclass, replace

from tests.faults.plan import Trace

TEXT = ("progress", "logging", "print", "table", "dicts", "nlp")
FILES = ("csv", "jsonl", "tensorboard", "trainer_state", "lightning", "wandb", "mlflow")
NEEDED = {"wandb": ("wandb", "jsonl"), "mlflow": ("mlflow", "csv")}  # what must be importable, and what is written without it
CHECKPOINTS = ("dict", "dict", "dict", "bare", "safetensors", "module", "hf", "lightning", "last", "none")
CONFIGURATIONS = ("config.json", "config.yaml", "args.json", "nested.yaml", "printed", "none")


@dataclass(frozen=True)
class Style:
    log: str
    checkpoints: str
    configuration: str
    every: int  # steps between step records, 0 for epochs alone
    rate: bool
    norm: bool
    digits: int
    framework: str = ""  # plain PyTorch where empty


def missing_loggers() -> list[str]:
    """Kinds of log whose library is not here."""
    return [log for log, (needed, _) in NEEDED.items() if importlib.util.find_spec(needed) is None]


def drawn(dice: random.Random, trace: Trace) -> Style:
    """A style that suits the trace: whatever is to be seen must be in some file."""
    plan = trace.plan
    log = dice.choice(TEXT + FILES)
    log = NEEDED[log][1] if log in missing_loggers() else log
    by_epoch = log in ("table", "csv") and plan.epochs >= 4
    steps = plan.epochs * trace.steps_per_epoch or len(trace.rows)
    every = (
        0
        if by_epoch or (log in ("print", "logging") and plan.epochs >= 5 and dice.random() < 0.4)
        else max(1, dice.choice([steps // 60, steps // 150, 10]))
    )
    checkpoints = dice.choice(CHECKPOINTS)
    if plan.has("truncate"):
        checkpoints = dice.choice(["dict", "bare", "safetensors", "hf"])
    if plan.has("optimizer_lost"):
        checkpoints = dice.choice(["dict", "hf", "lightning"])
    if plan.has("bad_batch") or plan.has("lr_spike") or plan.has("schedule_lost") or plan.has("optimizer_lost"):
        log, every = ("jsonl" if log in ("table", "csv") else log), max(1, steps // 200)
    style = Style(log, checkpoints, dice.choice(CONFIGURATIONS), every, dice.random() < 0.7, dice.random() < 0.4, dice.choice([3, 4, 6]))
    return replace(style, rate=True) if plan.has("lr_zero") or plan.has("lr_spike") or plan.has("schedule_lost") else style
