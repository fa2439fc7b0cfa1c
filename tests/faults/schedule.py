"""The learning rate of a plan, step by step."""

import math

from tests.faults.plan import Plan


def rate(plan: Plan, step: int, steps_per_epoch: int) -> float:
    """The learning rate at a step."""
    total = plan.epochs * steps_per_epoch
    if (spike := plan.has("lr_spike")) is not None and step == int(total * 0.5):
        return plan.lr * spike
    if plan.has("lr_zero"):
        return 0.0
    if plan.warmup_steps and step < plan.warmup_steps:
        return plan.lr * (step + 1) / plan.warmup_steps
    done = (step - plan.warmup_steps) / max(1, total - plan.warmup_steps)
    match plan.schedule:
        case "cosine":
            return plan.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        case "linear":
            return plan.lr * max(0.0, 1 - done)
        case "step":
            return plan.lr * 0.1 ** int(done * 3)
        case "exp":
            return plan.lr * (plan.decay_rate or 1.0) ** (step // steps_per_epoch)
        case "onecycle":
            return plan.lr * (0.1 + 0.9 * done / 0.3 if done < 0.3 else 0.5 * (1 + math.cos(math.pi * (done - 0.3) / 0.7)))
        case "restarts":
            return plan.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * ((done * 4) % 1.0))))
    return plan.lr
