"""The checklist: every failure mode with its causes, in the order in which reports list them."""

from functools import cache
from importlib import import_module
from typing import cast

from postmortem.check import Cause, Check

ORDER = (
    "loss_not_decreasing", "exploding_gradients", "vanishing_gradients", "overfitting", "underfitting", "non_finite", "loss_spike", "oscillating_loss",
    "dead_units", "frozen_parameters", "schedule_fault", "resume_fault", "validation_fault", "data_fault", "precision_fault", "weight_collapse", "crash",
    "corrupt_checkpoint", "stalled",
)  # fmt: skip


@cache
def checklist() -> tuple[Check, ...]:
    """All checks."""
    return tuple(cast(Check, import_module(f"postmortem.checklist.modes.{name}").CHECK) for name in ORDER)


@cache
def all_causes() -> dict[str, Cause]:
    """All causes by id."""
    return {cause.id: cause for check in checklist() for cause, _ in check.causes}
