"""The learning rate is too low: everything works, and nothing gets anywhere."""

from dataclasses import replace
from itertools import pairwise

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.attainable import slow
from postmortem.checklist.causes.stopped_too_early import to_come
from postmortem.checklist.falls import creeps
from postmortem.checklist.levels import course
from postmortem.checklist.needs import LEARNING_RATE, TWO_CHECKPOINTS, curve
from postmortem.checklist.optimizers import optimizer_name, used_rate
from postmortem.checklist.rates import adam_rate, decades_of_its_kind, fitting_rate
from postmortem.checklist.signs import file_of
from postmortem.checklist.standstill import creeping_curve
from postmortem.checklist.warmup import total_steps, warmup_steps

LOW = -1.3  # decades below usual; planted faults lie below −2, healthy runs above −1.2
LOWISH = -0.8  # decades: between the two the rate says nothing
WARMING = 0.6  # share of the run that a warm-up takes
WARMED = 0.9  # of the stated rate
SHARE, SHORTEST = 0.05, 10  # of the run that a warm-up usually takes; steps
RISEN, HALF_WAY = 2.0, 0.5  # × the first rate; of the rate that a scheduler was given
LEFT = 0.2  # share of the drop of the loss, still to come
ADAM_TAKES = 5e-3
HIGHER = 3.0  # at least this much higher than what was too low
CREPT, MOVED = 0.05, 0.16  # relative change of the weights between checkpoints; healthy runs lie above the second


@probe(say("the learning rate is far below what this optimizer usually takes"), LEARNING_RATE, holds=3.0, fails=-2.5)
def far_below_usual(e: Evidence, seen: Sighting) -> Reading | None:
    decades, rate = decades_of_its_kind(e), used_rate(e)
    if decades is None or rate is None or (LOW < decades < LOWISH and not slow(e)):
        return None
    return Reading(
        decades <= LOW or slow(e),
        say("the rate is {rate:g}, {share:.2g} of the usual {usual:g}", rate=rate, share=10**decades, usual=rate / 10**decades),
        share=1.0 if not LOW < decades < LOWISH else 0.5,
    )


@probe(say("all layers crept, evenly"), TWO_CHECKPOINTS, holds=1.0, fails=-1.5)
def crept(e: Evidence, seen: Sighting) -> Reading | None:
    change = e.weights.change_median
    if change is None or e.weights.identical_share is None or CREPT <= change < MOVED:
        return None
    moved = e.weights.identical_share < 0.5
    return Reading(
        change < CREPT and moved,
        say("weights changed by {change:.2g} between the first and the last checkpoint; healthy runs change by 0.16 or more", change=change),
    )


@probe(say("the loss goes down slowly and steadily"), curve("train/loss", 4), holds=0.8, fails=-0.5)
def steady(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    if loss is None or loss.trend is None:
        return None
    even = loss if creeps(e, loss) else creeping_curve(e)
    if even is not None:
        return Reading(True, say("it falls evenly to the end, and hardly slows down"), file_of(e, even.name), share=2.0)
    return Reading(loss.trend.tau < -0.5, say("Kendall's tau of the loss over time is {tau:.2f}", tau=loss.trend.tau), file_of(e, loss.name))


def _endless_warmup(e: Evidence) -> tuple[Fix, ...]:
    """A shorter warm-up, where the rate was still rising when the run ended: by the stated warm-up, which takes most of the run, or by itself."""
    steps, total, stated = warmup_steps(e), total_steps(e), e.number("learning_rate")
    logged = e.schedule is not None and e.schedule.source == "logged"
    if not total or (logged and stated is not None and (used_rate(e) or 0.0) > WARMED * stated):
        return ()
    to = max(SHORTEST, round(SHARE * total))
    if steps is not None and steps >= WARMING * total:
        why = say("It takes {steps:g} steps, and training has {total:g}: the rate never got to where it was meant to be.", steps=steps, total=total)
    elif steps is None and (rose := _still_rising(e)) is not None:
        why = say(
            "It ended at {rate:g} and was still rising: {to} steps are a twentieth of the {total:g} that training has.", rate=rose, to=to, total=total
        )
    else:
        return ()
    return (remedies.fix(e, say("Warm the learning rate up over {steps} steps", steps=to), why, (remedies.warm_up(e, to),)),)


def _still_rising(e: Evidence) -> float | None:
    """The rate at the end, where it had risen throughout: as logged, as saved, or, by a single checkpoint, far below the one that the scheduler was
    given while the loss was still coming down. None elsewhere."""
    s = e.schedule
    if s is not None and s.source == "logged":
        rising = len(s.phases) == 1 and s.phases[0].kind in ("warmup", "rise") and s.final > RISEN * s.first
        return s.final if rising else None
    rates = [(o.learning_rates[0], o.settings.get("initial_lr")) for c in e.checkpoints if (o := c.optimizer) is not None and o.learning_rates]
    if not rates:
        return None
    last, given = rates[-1]
    if given is None or not 0 < last < HALF_WAY * given:
        return None
    if len(rates) > 1:
        return last if all(a < b for (a, _), (b, _) in pairwise(rates)) else None
    loss = course(e)
    coming_down = loss is not None and (creeps(e, loss) or (to_come(e) or 0.0) > LEFT)
    return last if coming_down else None


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    return (*_endless_warmup(e), *_higher(e))


def _higher(e: Evidence) -> tuple[Fix, ...]:
    """The fitting rate, and what brackets it."""
    rate, fitting = used_rate(e), fitting_rate(e)
    if rate is None and fitting is not None:
        to = remedies.rounded(fitting)
        why = say("The run does not say which it used. {to:g} is usual; if it used more than that, multiply its own by ten.", to=to)
        own = remedies.set_rate(e, None, to, why)
        return (own,) if optimizer_name(e) else (remedies.usual_adam(e), own)
    if rate is None or (fitting is not None and rate > HIGHER * fitting):
        return ()
    to = remedies.rounded(max(fitting or 10 * rate, HIGHER * rate))
    why = say("It is {rate:g}; {to:g} is usual for this optimizer and a fresh model of this size.", rate=rate, to=to)
    first = _and_keep_it(e, rate, to) if _only_saved(e) else remedies.set_rate(e, rate, to, why)
    out = [first, remedies.set_rate(e, rate, remedies.rounded(HIGHER * to), say("If the loss still only creeps: three times that."))]
    if optimizer_name(e) == "sgd" and e.setting("optimizer") is not None:
        out.append(_with_adam(e, rate))
    elif to > HIGHER**2 * rate:
        out.append(remedies.set_rate(e, rate, remedies.rounded(to / HIGHER), say("If it swings: a third of that.")))
    return tuple(out)


def _only_saved(e: Evidence) -> bool:
    """The rate is known by saved optimizers alone: what a schedule had made of it by then."""
    return e.number("learning_rate") is None and e.schedule is not None and e.schedule.source == "optimizer" and e.setting("schedule") is None


def _and_keep_it(e: Evidence, rate: float, to: float) -> Fix:
    """The rate, and no schedule that may have made it what it was."""
    alone = remedies.set_rate(
        e, rate, to, say("The saved optimizer holds {rate:g}: what a warm-up or a schedule made of it, nothing tells.", rate=rate)
    )
    changes = (*alone.changes, remedies.change(e, "schedule", None), remedies.change(e, "warmup", 0))
    return replace(alone, title=say("Set the learning rate to {to:g} and keep it there", to=to), changes=changes)


def _with_adam(e: Evidence, rate: float) -> Fix:
    """Embeddings and gates learn slowly with one step length for all."""
    to = remedies.rounded(adam_rate(e))
    why = (
        say("{rate:g} is a rate that Adam takes; plain gradient descent hardly moves with it.", rate=rate)
        if rate <= ADAM_TAKES
        else say("It gives each parameter a step length of its own; plain gradient descent has one for all.")
    )
    return remedies.with_adam(e, rate, to, say("Or use Adam, with a learning rate of {to:g}", to=to), why)


learning_rate_too_low = Cause(
    id="learning-rate-too-low",
    title=say("The learning rate is too low"),
    mechanism=say(
        "The gradient points the right way and each step is a thousandth of what it could be: the loss creeps down evenly and the weights hardly leave "
        "their initial values."
    ),
    probes=(far_below_usual, crept, steady),
    fixes=fixes,
    by_hand=(
        say("Raise the learning rate tenfold for 100 steps: the loss should fall visibly faster."),
        say("Print lr · ‖gradient‖ / ‖weights‖ per layer: below 0.00001 nothing is learned in reasonable time."),
    ),
)
