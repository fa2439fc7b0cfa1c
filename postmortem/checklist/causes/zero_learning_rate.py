"""The learning rate is 0."""

from dataclasses import replace

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import LEARNING_RATE, OPTIMIZER_STATE, STILL_TENSORS
from postmortem.checklist.optimizers import last_optimizer, optimizer_name, used_rate
from postmortem.checklist.parameters import all_identical, nothing_moved
from postmortem.checklist.rates import fitting_rate, state_alone

HIGHER = 3.0  # times, when the first rate was not it
FRESH = 10.0  # × the rate of a model that had learned before


@probe(say("the learning rate is 0 (almost) everywhere"), LEARNING_RATE, holds=4.0, fails=-4.0)
def zero_everywhere(e: Evidence, seen: Sighting) -> Reading | None:
    if e.schedule is not None:
        return Reading(
            e.schedule.highest == 0
            or (e.schedule.zero_share > 0.9 and e.schedule.first == 0)
            or (e.schedule.zero_share > 0.5 and e.schedule.final == 0 and nothing_moved(e)),
            say("{share:.0%} of the records have a learning rate of 0", share=e.schedule.zero_share),
        )
    rate = e.number("learning_rate")
    return None if rate is None else Reading(rate == 0, say("it is configured as {rate:g}", rate=rate))


@probe(say("the optimizer stepped, and no weight changed"), OPTIMIZER_STATE, STILL_TENSORS, holds=4.5)
def stepped_on_the_spot(e: Evidence, seen: Sighting) -> Reading | None:
    last = last_optimizer(e)
    if last is None or not last.keeps_state or not last.has_state or last.absent or (used_rate(e) or 0.0) > 0 or not all_identical(e):
        return None
    return Reading(True, say("its state has entries, and the weights are the same in all checkpoints"))


@probe(say("no weight changed, and nothing tells the learning rate"), STILL_TENSORS, holds=2.0)
def still_and_unknown(e: Evidence, seen: Sighting) -> Reading | None:
    if used_rate(e) is not None or last_optimizer(e) is not None or not all_identical(e):
        return None
    return Reading(True, say("neither the log nor a configuration nor a checkpoint does"))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    to, stated = remedies.rounded(fitting_rate(e) or 1e-3), e.number("learning_rate")
    rate = remedies.set_rate(e, stated, to, say("It is 0: no step changes anything."))
    if not stated:
        higher = remedies.set_rate(e, stated, remedies.rounded(HIGHER * to), say("If the loss only creeps: three times that."))
        if state_alone(e):  # a model that had not learned before takes ten times as much
            higher = remedies.set_rate(e, stated, remedies.rounded(FRESH * to), say("If it is stable and slow: {times:g} times that.", times=FRESH))
        if stated is None and not optimizer_name(e):
            return (_unscheduled(e, remedies.usual_adam(e)), _unscheduled(e, rate), _unscheduled(e, higher))
        if stated is None:  # nobody knows whether it was set to 0 or made 0
            return (_unscheduled(e, rate), _unscheduled(e, higher), rate)
        return (rate, higher, remedies.set_rate(e, stated, remedies.rounded(to / HIGHER), say("If it swings: a third of that.")))
    # a usual rate is configured, and something makes 0 of it
    why = say("{rate:g} is configured and 0 was used: the schedule (or what steps it) makes 0 of it.", rate=stated)
    hit = remedies.removed(e, "schedule", (s for s in e.settings if s.name in ("schedule", "warmup")))
    return (
        remedies.fix(
            e, say("Train without the schedule, then put it back with the right number of steps"), why, hit or (remedies.change(e, "schedule", None),)
        ),
        rate,
    )


def _unscheduled(e: Evidence, rate: Fix) -> Fix:
    """The same without a schedule, which may be what makes 0 of the rate."""
    title = say("{fix}, and train without a schedule at first", fix=rate.title)
    why = say("{why} Whether it was set to 0 or a schedule makes 0 of it, the run does not say.", why=rate.why)
    return replace(rate, title=title, why=why, changes=(*rate.changes, remedies.change(e, "schedule", None)))


zero_learning_rate = Cause(
    id="zero-learning-rate",
    title=say("The learning rate is zero"),
    mechanism=say(
        "A schedule that ends before training starts, a warm-up that never leaves 0, a default of 0: every update is multiplied by nothing."
    ),
    probes=(zero_everywhere, stepped_on_the_spot, still_and_unknown),
    fixes=fixes,
    by_hand=(say("Print optimizer.param_groups[0]['lr'] in the first and the hundredth step."),),
)
