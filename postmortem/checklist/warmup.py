"""The warm-up that a run states, in optimizer steps, whatever unit it is stated in."""

from postmortem.check import Evidence


def total_steps(e: Evidence) -> float | None:
    """Optimizer steps of the whole run: planned, else made; None where steps are not what the run counts."""
    if e.planned_steps:
        return e.planned_steps
    if e.axis == "step":
        return e.last_step
    epochs = e.number("epochs") or e.last_epoch
    return e.steps_per_epoch * epochs if e.steps_per_epoch and epochs else None


def steps_of_warmup(e: Evidence) -> float | None:
    """Optimizer steps in a unit of the run's own setting, when it is stated in epochs or as a share of the run; None otherwise."""
    setting, total = e.setting("warmup"), total_steps(e)
    words = setting.key.rpartition(".")[2].lower() if setting is not None else ""
    if any(word in words for word in ("ratio", "frac", "proportion", "percent", "pct")) and total:
        return total / (100.0 if "percent" in words or "pct" in words else 1.0)
    return e.steps_per_epoch if "epoch" in words and e.steps_per_epoch else None


def warmup_steps(e: Evidence) -> float | None:
    """Optimizer steps of the stated warm-up; None where none is stated, or a word."""
    stated = e.number("warmup")
    return None if stated is None else stated * (steps_of_warmup(e) or 1.0)


def share_reached(e: Evidence) -> float:
    """How far a rising learning rate came before training ended: 1 when the stated warm-up was over by then, and where nothing is known."""
    steps, total = warmup_steps(e), total_steps(e)
    return 1.0 if not steps or not total else min(1.0, total / steps)
