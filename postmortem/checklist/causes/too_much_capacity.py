"""The model is larger than the task needs."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.probes import not_of_the_settings

PER_SAMPLE = 100.0


@probe(say("there are a hundred times more parameters than samples"), holds=0.9, fails=-0.8)
def outnumbered(e: Evidence, seen: Sighting) -> Reading | None:
    samples, parameters = e.number("train_samples"), e.model.parameters or e.number("parameters")
    if not samples or not parameters:
        return None
    return Reading(parameters / samples > PER_SAMPLE, say("{ratio:.3g} parameters per sample", ratio=parameters / samples))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    width = e.number("model_width")
    to = max(8, int(width // 4)) if width else None
    if to is None:
        return (
            remedies.fix(e, say("Use a smaller model"), say("A smaller one cannot memorise as much."), (remedies.change(e, "model_width", None),)),
        )
    return (
        remedies.fix(
            e,
            say("Use a narrower model (width {to})", to=to),
            say("A smaller one cannot memorise as much."),
            (remedies.change(e, "model_width", to, width),),
        ),
    )


too_much_capacity = Cause(
    id="too-much-capacity",
    title=say("The model is larger than the data can fill"),
    mechanism=say("Spare capacity is used to memorise noise once the common structure is learned."),
    probes=(outnumbered, not_of_the_settings(fails=-3.0)),
    fixes=fixes,
)
