"""What rewards and preferences show of a policy that learns nothing, where the loss says little.

The loss of a preference (DPO) starts at ln 2 by construction, policy and reference being one, and falls as the policy comes to prefer
what was chosen; a reward need only rise.
"""

from math import log

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.checklist.levels import course, loss_is_flat, whole
from postmortem.checklist.parameters import all_identical
from postmortem.checklist.policies import NO_DISTANCE, SURE, divergence, fell, preferred
from postmortem.checklist.signs import excerpt, file_of, from_the_start
from postmortem.model.curves import CurveStats

LITTLE = 0.1  # of the reward's start
FEWER = 20  # records of a reward that ends below its start
LOST = 0.25  # of the reward's start, of a model that had learned before
REWARDS = 50  # records of a reward from which standing still is no accident
UNDECIDED = 0.02  # relative distance of a preference loss from ln 2
STAYED = 5e-4  # the same, of a policy that hardly left its reference
COIN = 0.62  # share of the pairs of which the chosen answer is preferred
PAIRS = 10  # records from which a preference that never came is no accident
WORSE = 1.25  # × ln 2: a loss of a policy that is surely wrong, however it was meant
LEFT = -1.0  # reward of the chosen answers: they became less likely by that much, before anything was preferred
ROSE = 6.0  # × its scatter, for a reward that had risen before it was lost
EPISODES, RISEN = 200, 5.0  # records of a reward; standard errors of its second half above the first
RECORDS, MOSTLY_ZERO, FINE, NOTHING_LEFT = 5, 0.8, 1e-3, 0.05  # of the gradient norm; share of them; printed digits; of the loss
NATS = 5.0  # between a policy and the next
SELDOM = 0.02  # of the episodes
REWARDED = frozenset({"reinforcement", "preference"})


def flat_reward(e: Evidence) -> Sighting | None:
    """A reward that ends no more than one sigma of its own scatter above its start: what is learned there, the policy does not show."""
    reward = e.curve("reward")
    if e.family in REWARDED and reward is not None and reward.finite >= RECORDS and reward.distinct == 1 and reward.final < 0.0:
        told = say(
            "The reward is {reward:.4g} in all {n} records, to the last digit: nothing that is tried ever earns more.",
            reward=reward.final,
            n=reward.finite,
        )
        return from_the_start(e, "reward", told, reward.name)
    if e.family not in REWARDED or reward is None or excerpt(e) or e.outcome in ("crashed", "cancelled"):
        return None
    lost = fell(reward) and reward.final < reward.start - LOST * abs(reward.start)
    if reward.finite < (FEWER if fell(reward) or _never_succeeds(e) else REWARDS) or (e.family == "preference" and not lost and reward.distinct > 1):
        return None  # what is tuned by preferences may have been as good from the start
    if reward.final - reward.start > max(reward.noise, LITTLE * abs(reward.start)) or _rises(reward):
        return None
    rose = reward.best - reward.start > ROSE * max(reward.noise, LITTLE * abs(reward.start))
    onset = reward.best_step if rose else reward.first_step
    summary = (
        say(
            "The reward rose from {start:.4g} to {best:.4g} by step {step:g} and fell to {final:.4g}: what was learned was lost.",
            start=reward.start, best=reward.best, step=reward.best_step, final=reward.final,
        )
        if rose
        else say("The reward went from {start:.4g} to {final:.4g} in {n} records: it did not rise.", start=reward.start, final=reward.final, n=reward.points)
    )  # fmt: skip
    return Sighting(
        Severity.SERIOUS,
        summary,
        onset,
        onset if rose else None,
        ("reward",),
        e.series["reward"].source,
        "reward",
    )


def _rises(reward: CurveStats) -> bool:
    """Of hundreds of episodes single ones scatter by more than all of training gains: their mean tells."""
    h = reward.halves
    return h is not None and reward.finite >= EPISODES and h.fell < -RISEN and reward.final > reward.start


def _never_succeeds(e: Evidence) -> bool:
    """A rate of success was logged beside the reward, and is 0 in the second half."""
    rates = [c for n, c in e.curves.items() if "success" in n.lower() and c.finite >= FEWER and c.halves is not None]
    return any(c.halves is not None and c.halves.mean < SELDOM * whole(c) for c in rates)


def no_gradient(e: Evidence) -> Sighting | None:
    """The logged gradient norm is exactly 0 from early on to the last record, and what is to be learned is not: no step changes anything."""
    norm, loss, reward = e.curve("grad_norm"), course(e), e.curve("reward")
    if norm is None or norm.finite < RECORDS or norm.zeros < MOSTLY_ZERO * norm.finite or norm.last != 0.0:
        return None
    if (e.series["grad_norm"].quantum or 0.0) > FINE or excerpt(e):
        return None  # 0.0 may be 0.04
    if e.family in REWARDED and reward is not None:
        learned = reward.final > reward.first + LITTLE * abs(reward.first) or (reward.lowest > 0 and reward.distinct == 1)
    else:
        learned = loss is None or loss.final < NOTHING_LEFT or loss.relative_gain > LITTLE
    if learned:
        return None
    told = say(
        "The gradient norm is exactly 0 in {zeros} of {n} records, the last of them: no step changes anything.", zeros=norm.zeros, n=norm.finite
    )
    return from_the_start(e, "no-gradient", told, norm.name)


def nothing_moved(e: Evidence) -> Sighting | None:
    """Whatever the loss of a family may do: weights that are the same bit by bit in checkpoints of several steps learned nothing."""
    shown = course(e) or e.curve("reward")
    if shown is None or e.weights.identical_share is None or not all_identical(e) or not loss_is_flat(e):
        return None
    return Sighting(
        Severity.SERIOUS,
        say("All weights are the same in {n} checkpoints, bit by bit: nothing was learned.", n=len(e.checkpoints)),
        shown.first_step,
        shown.first_step,
        (shown.name,),
        e.checkpoints[-1].path,
        "still",
    )


def policy_is_reference(e: Evidence) -> Sighting | None:
    """Every margin is exactly 0, to the last record: what the policy is compared with is itself."""
    margins = preferred(e, "margins")
    if e.family != "preference" or margins is None or margins.finite < PAIRS or margins.zeros < margins.finite:
        return None
    return Sighting(
        Severity.SERIOUS,
        say("The margin between chosen and rejected answers is exactly 0 in all {n} records: the loss compares the policy with itself.", n=margins.finite),
        margins.first_step, margins.first_step, ("train/loss", margins.name), file_of(e, margins.name), "itself",
    )  # fmt: skip


def stays_with_its_reference(e: Evidence) -> Sighting | None:
    """The divergence from the reference is nothing to the last record of a run that ended: what is rewarded never reached the policy."""
    moved = divergence(e)
    if e.family != "preference" or moved is None or moved[0].finite < PAIRS or e.outcome not in ("finished", "early-stopped"):
        return None
    kl = moved[0]
    if max(abs(kl.highest), abs(kl.lowest)) > NO_DISTANCE:
        return None
    return Sighting(
        Severity.SERIOUS,
        say("The divergence from the reference never exceeds {highest:.2g} nats: the policy hardly left it.", highest=abs(kl.highest)),
        kl.first_step, kl.first_step, (kl.name, "reward"), file_of(e, kl.name), "stayed",
    )  # fmt: skip


def prefers_nothing(e: Evidence) -> Sighting | None:
    """ln 2 at the start is how this loss is made; at the end of the run it says that nothing is preferred."""
    loss, accuracy = course(e), preferred(e, "accuracies") or e.curve("val/accuracy")
    if e.family != "preference" or loss is None or loss.finite < PAIRS or excerpt(e) or e.outcome not in ("finished", "early-stopped"):
        return None
    if max(abs(value / log(2) - 1) for value in (loss.start, loss.final)) > UNDECIDED or accuracy is None or not accuracy.finite:
        return None
    if max(abs(value / log(2) - 1) for value in (loss.start, loss.final)) < STAYED:
        return Sighting(
            Severity.SERIOUS,
            say("The loss is ln 2 from the first record to the last, {final:.5g}: the policy hardly left its reference.", final=loss.final),
            loss.first_step, loss.first_step, (loss.name, accuracy.name), file_of(e, loss.name), "stayed",
        )  # fmt: skip
    if accuracy.final > COIN:
        return None
    return Sighting(
        Severity.SERIOUS,
        say("The loss ends at {final:.4g}, which is ln 2, and {right:.0%} of the chosen answers are preferred: a coin.", final=loss.final, right=accuracy.final),
        loss.first_step, loss.first_step, (loss.name, accuracy.name), file_of(e, loss.name), "coin",
    )  # fmt: skip


def left_the_reference(e: Evidence, loss: CurveStats) -> Sighting | None:
    """By its first record the policy made all answers far less likely than the reference does, the chosen ones too, and its loss is
    worse than that of the reference itself. Of methods without a reference the rewards start low and say nothing."""
    chosen = preferred(e, "chosen")
    if e.family != "preference" or chosen is None or chosen.finite < PAIRS or _without_reference(e):
        return None
    if loss.first < WORSE * log(2) or chosen.first > LEFT:
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "By step {step:g} the loss was at {first:.3g}, above the ln 2 that it starts with, and the reward of the chosen answers at {reward:.3g}.",
            step=loss.first_step,
            first=loss.first,
            reward=chosen.first,
        ),
        loss.first_step, loss.first_step, (loss.name, chosen.name), file_of(e, chosen.name), "reference",
    )  # fmt: skip


def policy_was_replaced(e: Evidence) -> Sighting | None:
    """One update of an agent moved its policy by several nats, where updates are kept to hundredths, and it earns no more for it."""
    moved, reward = divergence(e), e.curve("reward")
    if e.family != "reinforcement" or moved is None or "approx" not in moved[0].name or not moved[1] > NATS:
        return None
    if reward is not None and reward.finite and reward.final - reward.start > SURE * max(reward.noise, 0.0):
        return None
    kl = moved[0]
    told = say(
        "At step {step:g} one update moved the policy by {nats:.3g} nats: nothing of what it was is left.", step=kl.highest_step, nats=moved[1]
    )
    return Sighting(Severity.SERIOUS, told, kl.highest_step, kl.highest_step, (kl.name, "reward"), file_of(e, kl.name), "replaced")


def _without_reference(e: Evidence) -> bool:
    """ORPO, SimPO and CPO, and losses of preferences that are no log-sigmoid."""
    told = " ".join(str(s.value).lower() for s in e.settings if isinstance(s.value, str)) + " ".join(e.curves)
    return any(word in told for word in ("orpo", "simpo", "cpo", "kto", "ipo", "hinge", "log_odds", "nll_loss"))
