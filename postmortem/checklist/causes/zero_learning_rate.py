"""The learning rate is 0."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import LEARNING_RATE
from postmortem.checklist.signs import optimizer_name


@probe(say("the learning rate is 0 (almost) everywhere"), LEARNING_RATE, holds=4.0, fails=-4.0)
def zero_everywhere(e: Evidence, seen: Sighting) -> Reading | None:
    if e.schedule is not None:
        return Reading(
            e.schedule.highest == 0 or (e.schedule.zero_share > 0.9 and e.schedule.first == 0),
            say("{share:.0%} of the records have a learning rate of 0", share=e.schedule.zero_share),
        )
    rate = e.number("learning_rate")
    return None if rate is None else Reading(rate == 0, say("it is configured as {rate:g}", rate=rate))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    to = 1e-3 if optimizer_name(e) != "sgd" else 0.05
    return (remedies.lower_rate(e, e.number("learning_rate"), to, say("It is 0: no step changes anything.")),)


zero_learning_rate = Cause(
    id="zero-learning-rate",
    title=say("The learning rate is zero"),
    mechanism=say(
        "A schedule that ends before training starts, a warm-up that never leaves 0, a default of 0: every update is multiplied by nothing."
    ),
    probes=(zero_everywhere,),
    fixes=fixes,
    by_hand=(say("Print optimizer.param_groups[0]['lr'] in the first and the hundredth step."),),
)
