"""The learning rate was used up long before the end."""

from postmortem.check import Cause, Change, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import curve


@probe(say("it is below 1 % of its peak for most of the run"), curve("lr", 3), holds=3.0, fails=-3.0)
def low_for_long(e: Evidence, seen: Sighting) -> Reading | None:
    if e.schedule is None:
        return None
    return Reading(
        (e.schedule.low_share > 0.4 or e.schedule.zero_share > 0.4) and e.schedule.highest > 0,
        say("for {share:.0%} of the records", share=e.schedule.low_share),
    )


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    total = e.planned_steps or e.last_step
    names = ("schedule", "decay_steps", "lr_decay_iters", "total_steps", "t_max", "gamma")
    changes = tuple(
        Change("schedule", s.key, s.file, s.value, None) for s in e.settings if s.name == "schedule" or s.key.lower().rpartition(".")[2] in names
    )
    why = say(
        "The rate was practically 0 from step {step:g} of {total:g} on.",
        step=(e.schedule.low_from_step if e.schedule else None) or 0,
        total=total or 0,
    )
    return (
        remedies.fix(
            e,
            say("Let the schedule end where training ends"),
            why,
            changes or (remedies.change(e, "schedule", None),),
            {
                "pytorch": f"scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={int(total or 1000)})  # in steps, if it is stepped per step",
                "transformers": "args = TrainingArguments(..., lr_scheduler_type='cosine')  # its length follows max_steps",
            },
        ),
    )


decayed_too_early = Cause(
    id="decayed-too-early",
    title=say("The learning rate decayed to nothing too early"),
    mechanism=say(
        "The schedule was made for fewer steps than were trained (or is stepped per batch where epochs were meant): the rest of the run changes nothing."
    ),
    probes=(low_for_long,),
    fixes=fixes,
)
