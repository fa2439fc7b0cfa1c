"""The learning rate is too low: everything works, and nothing gets anywhere."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.attainable import slow
from postmortem.checklist.falls import creeps
from postmortem.checklist.levels import course
from postmortem.checklist.needs import LEARNING_RATE, TWO_CHECKPOINTS, curve
from postmortem.checklist.optimizers import optimizer_name, rate_decades, used_rate
from postmortem.checklist.rates import adam_rate, fitting_rate
from postmortem.checklist.signs import file_of
from postmortem.checklist.warmup import total_steps, warmup_steps

LOW = -1.3  # decades below usual; planted faults lie below −2, healthy runs above −1.2
LOWISH = -0.8  # decades: between the two the rate says nothing
WARMING = 0.6  # share of the run that a warm-up takes
WARMED = 0.9  # of the stated rate
SHARE = 0.05  # of the run that a warm-up usually takes
ADAM_TAKES = 5e-3
HIGHER = 3.0  # at least this much higher than what was too low
CREPT, MOVED = 0.05, 0.16  # relative change of the weights between checkpoints; healthy runs lie above the second


@probe(say("the learning rate is far below what this optimizer usually takes"), LEARNING_RATE, holds=3.0, fails=-2.5)
def far_below_usual(e: Evidence, seen: Sighting) -> Reading | None:
    decades, rate = rate_decades(e), used_rate(e)
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
    if creeps(e, loss):
        return Reading(True, say("it falls evenly to the end, and hardly slows down"), file_of(e, loss.name), share=2.0)
    return Reading(loss.trend.tau < -0.5, say("Kendall's tau of the loss over time is {tau:.2f}", tau=loss.trend.tau), file_of(e, loss.name))


def _endless_warmup(e: Evidence) -> tuple[Fix, ...]:
    """A shorter warm-up, where the stated one takes most of the run and the rate was still rising when it ended."""
    steps, total, stated = warmup_steps(e), total_steps(e), e.number("learning_rate")
    logged = e.schedule is not None and e.schedule.source == "logged"
    if not total or steps is None or steps < WARMING * total or (logged and stated is not None and (used_rate(e) or 0.0) > WARMED * stated):
        return ()
    to = max(1, round(SHARE * total))
    why = say("It takes {steps:g} steps, and training has {total:g}: the rate never got to where it was meant to be.", steps=steps, total=total)
    return (remedies.fix(e, say("Warm the learning rate up over {steps} steps", steps=to), why, (remedies.warm_up(e, to),)),)


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    return (*_endless_warmup(e), *_higher(e))


def _higher(e: Evidence) -> tuple[Fix, ...]:
    """The fitting rate, and what brackets it."""
    rate, fitting = used_rate(e), fitting_rate(e)
    if rate is None and fitting is not None:
        to = remedies.rounded(fitting)
        why = say("The run does not say which it used. {to:g} is usual; if it used more than that, multiply its own by ten.", to=to)
        return (remedies.set_rate(e, None, to, why),)
    if rate is None or (fitting is not None and rate > HIGHER * fitting):
        return ()
    to = remedies.rounded(max(fitting or 10 * rate, HIGHER * rate))
    why = say("It is {rate:g}; {to:g} is usual for this optimizer and a fresh model of this size.", rate=rate, to=to)
    out = [
        remedies.set_rate(e, rate, to, why),
        remedies.set_rate(e, rate, remedies.rounded(HIGHER * to), say("If the loss still only creeps: three times that.")),
    ]
    if optimizer_name(e) == "sgd" and e.setting("optimizer") is not None:
        out.append(_with_adam(e, rate))
    elif to > HIGHER**2 * rate:
        out.append(remedies.set_rate(e, rate, remedies.rounded(to / HIGHER), say("If it swings: a third of that.")))
    return tuple(out)


def _with_adam(e: Evidence, rate: float) -> Fix:
    """Another optimizer, with its own usual rate: embeddings and gates learn slowly with one step length for all."""
    to = remedies.rounded(adam_rate(e))
    return remedies.fix(
        e,
        say("Or use Adam, with a learning rate of {to:g}", to=to),
        say("{rate:g} is a rate that Adam takes; plain gradient descent hardly moves with it.", rate=rate)
        if rate <= ADAM_TAKES
        else say("It gives each parameter a step length of its own; plain gradient descent has one for all."),
        (remedies.change(e, "optimizer", "adam"), remedies.change(e, "learning_rate", to, rate)),
        {"pytorch": f"optimizer = torch.optim.Adam(model.parameters(), lr={to:g})"},
    )


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
