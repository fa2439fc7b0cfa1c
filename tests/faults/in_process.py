"""What happens to the process: exceptions, kills, torn files, resumes that forget."""

import random
from collections.abc import Callable

from tests.faults.fault import Seen, always, fault
from tests.faults.plan import Plan, Trace


def _accident(*kinds: str) -> Callable[[random.Random, Plan], Plan]:
    return lambda d, p: p.with_wrong(accident=(d.choice(kinds), round(d.uniform(0.25, 0.8), 3)))


def raised(s: Seen) -> bool:
    return s.run.ended == "raised"


fault("exception", _accident("file", "key"), always("crash"), "python-error", "data-loader-died", shows=raised)
fault("bad_item", _accident("shape"), always("crash"), "python-error", "data-loader-died", shows=raised, tasks=("teacher", "friedman"))
fault("interrupt", _accident("interrupt"), always("crash"), "stopped-by-user", "killed", shows=raised)
fault("out_of_memory", _accident("memory"), always("crash"), "out-of-memory", shows=raised)
fault(
    "killed",
    lambda d, p: p.with_wrong(cut=round(d.uniform(0.35, 0.85), 3)),
    always("crash"),
    "killed",
    "time-limit preempted out-of-memory",
    shows=lambda s: True,
)
fault(
    "truncated_checkpoint",
    lambda d, p: p.with_wrong(truncate=round(d.uniform(0.3, 0.9), 2)),
    always("corrupt-checkpoint", "crash"),
    "truncated-write",
    "killed disk-full",
    shows=lambda s: True,
)
SHARP = {
    "tasks": ("friedman", "series"),
    "nets": ("tabresnet", "mlp", "lstm"),
    "optimizers": ("adam", "adamw"),
}  # where a full step late in training costs
fault(
    "schedule_lost",
    lambda d, p: p.with_wrong(schedule_lost=1),
    always("resume-fault", "schedule-fault", "loss-spike"),
    "schedule-restarted",
    "data-order-restarted",
    keep={"schedule": "linear", "resume_at": 16, "epochs": 18, "warmup_steps": 0, "lr": 1e-2},
    shows=lambda s: _after_resume(s.run) > 1.3 * _after_resume(s.twin),
    **SHARP,
)
fault(
    "optimizer_lost",
    lambda d, p: p.with_wrong(optimizer_lost=1),
    always("resume-fault", "loss-spike"),
    "optimizer-state-lost",
    keep={"resume_at": 9, "epochs": 14, "schedule": "none", "warmup_steps": 0},
    shows=lambda s: _after_resume(s.run) > 1.3 * _after_resume(s.twin),
    **SHARP,
)


def _after_resume(trace: Trace) -> float:
    """Mean loss of the twelve batches after the first one."""
    at = trace.note[0][0]
    losses = trace.curve("loss", of_epoch=False)
    return sum(losses[at + 1 : at + 13]) / 12
