"""How a policy moved, as reinforcement and preference learning log it: rewards, entropy, divergence."""

from postmortem.check import Evidence
from postmortem.model.curves import CurveStats

SURE = 3.0  # sigmas of a reward's own scatter
REPLACED = 1.0  # nats between a policy and the next: PPO aims at 0.01 to 0.03
NO_DISTANCE = 1e-5  # nats
EVENLY = -0.5  # Kendall's tau
SURER, ENOUGH = 0.75, 20  # × its first entropy, records


def fell(reward: CurveStats) -> bool:
    """It ends below where it began by more than its scatter explains."""
    return reward.final < reward.start - SURE * reward.noise


def sinks(reward: CurveStats) -> bool:
    """It is lost evenly over the run, not at once."""
    return fell(reward) and reward.finite >= ENOUGH and reward.trend is not None and reward.trend.tau < EVENLY


def preferred(e: Evidence, what: str) -> CurveStats | None:
    """`rewards/<what>` of the training pairs, as TRL and its kin log it: chosen, rejected, margins, accuracies."""
    return e.curve(f"other/rewards/{what}") or e.curve(f"other/train/rewards/{what}")


def divergence(e: Evidence) -> tuple[CurveStats, float] | None:
    """How far one update moved the policy, nats: the largest `approx_kl` of PPO, or GRPO's first `kl`, which is that from the reference.
    None where neither was logged."""
    for name, c in e.curves.items():
        words = name.lower().replace("/", "_").split("_")
        if name.startswith("other/") and "kl" in words and c.finite >= 2:
            return c, c.highest if "approx" in words else c.first
    return None


def grew_sure(e: Evidence) -> CurveStats | None:
    """The entropy of a policy that lost a quarter of it and more; None elsewhere."""
    c = next((c for n, c in e.curves.items() if n.startswith("other/") and n.lower().endswith("entropy")), None)
    return c if c is not None and c.finite >= ENOUGH and c.first > 0 and abs(c.final) < SURER * c.first else None
