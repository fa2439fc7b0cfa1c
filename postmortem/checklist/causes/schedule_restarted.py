"""The schedule began anew in the middle of training."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import curve
from postmortem.checklist.quoting import cut, first_line
from postmortem.model.run import EventKind


@probe(say("the learning rate jumped up after it had decayed"), curve("lr", 4), holds=3.0, fails=-2.5)
def jumped_up(e: Evidence, seen: Sighting) -> Reading | None:
    if e.schedule is None or seen.facet == "swings":
        return None
    jumps = e.schedule.restarts
    detail = say("jumps up: {n}, the first at step {at:g}", n=len(jumps), at=jumps[0]) if jumps else say("it never did")
    return Reading(len(jumps) == 1 and not e.schedule.cyclic, detail)


@probe(say("a schedule that comes down once is stepped beyond its end"), curve("lr", 4), holds=3.0)
def beyond_its_end(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet != "swings":
        return None
    schedule = e.setting("schedule")
    return Reading(
        True,
        say(
            "{schedule} is configured; a cosine whose length is counted in epochs and that is stepped per batch swings so",
            schedule=str(schedule.value) if schedule else "",
        ),
    )


@probe(say("the log says that training was resumed"), holds=1.0, fails=-0.3)
def resumed(e: Evidence, seen: Sighting) -> Reading | None:
    hit = next(iter(e.events_of(EventKind.RESUMED)), None)
    return Reading(hit is not None, say("{what}", what=cut(hit.text) if hit else say("no such line")), hit.source if hit else "")


@probe(say("the log says that the scheduler was not restored"), holds=3.0)
def said_so(e: Evidence, seen: Sighting) -> Reading | None:
    hit = next((ev for ev in e.events_of(EventKind.WARNING) if ev.data.get("about") == "state-not-resumed" and "schedul" in ev.text), None)
    return None if hit is None else Reading(True, say("{text}", text=first_line(hit.text)), hit.source)


schedule_restarted = Cause(
    id="schedule-restarted",
    title=say("The learning-rate schedule started again"),
    mechanism=say("The scheduler's state was not restored: after the resume the rate is back at its peak, and what was settled is shaken up again."),
    probes=(jumped_up, beyond_its_end, resumed, said_so),
    fixes=remedies.only(
        say("Save and restore the scheduler beside the optimizer"),
        say("After the resume the learning rate was back where it began."),
        {
            "pytorch": "torch.save({'model': model.state_dict(), 'optimizer': optimizer.state_dict(), 'scheduler': scheduler.state_dict(), 'step': step}, path)\n"
            "# resume: scheduler.load_state_dict(checkpoint['scheduler'])",
            "lightning": "trainer.fit(model, ckpt_path='last.ckpt')  # restores loops, optimizer and scheduler",
            "transformers": "trainer.train(resume_from_checkpoint=True)",
        },
    ),
)
