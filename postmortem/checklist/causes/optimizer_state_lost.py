"""The optimizer was built anew at a resume."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import OPTIMIZER_STATE
from postmortem.checklist.optimizers import optimizer_fell_behind, optimizer_lags
from postmortem.checklist.probes import seen_as
from postmortem.model.run import EventKind


@probe(say("the optimizer's own step count lags behind the checkpoint's"), OPTIMIZER_STATE, holds=3.0, fails=-1.5)
def lags_behind(e: Evidence, seen: Sighting) -> Reading | None:
    lags = optimizer_lags(e)
    if not lags:
        return None
    lag, made = lags[-1]
    resumed = next((ev.step for ev in e.events_of(EventKind.RESUMED) if ev.step is not None), None)
    if resumed is not None and made <= resumed:
        return None  # no checkpoint of what came after
    return Reading(optimizer_fell_behind(e) is not None, say("by {lag:g} steps at step {step:g}", lag=lag, step=made))


leapt = seen_as("loss", claim=say("the loss leapt right after the resume"), holds=1.0)


forgot = seen_as("all-of-it", claim=say("the loss is back where training began"), holds=1.0)


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    restore = remedies.fix(
        e,
        say("Save and restore optimizer.state_dict()"),
        say("The optimizer counts its steps from the resume on."),
        (),
        {"pytorch": "optimizer.load_state_dict(checkpoint['optimizer'])", "transformers": "trainer.train(resume_from_checkpoint=True)"},
    )
    if seen.facet != "all-of-it":
        return (restore,)
    weights = remedies.fix(
        e,
        say("Load the model's weights before training goes on, and look at what load_state_dict() says is missing"),
        say("Moments that start anew cost a little of what was learned; here all of it is gone, as with fresh weights."),
        (),
        {
            "pytorch": "print(model.load_state_dict(checkpoint['model'], strict=True))",
            "transformers": "trainer.train(resume_from_checkpoint=True)",
        },
    )
    return (weights, restore)


optimizer_state_lost = Cause(
    id="optimizer-state-lost",
    title=say("The optimizer's state was lost at the resume"),
    mechanism=say("Adam's moments start at zero again, so the first steps after the resume are as large as at the very beginning."),
    probes=(lags_behind, leapt, forgot),
    fixes=fixes,
)
