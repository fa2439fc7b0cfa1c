"""Training starts at the full learning rate."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import curve

EARLY = 0.1  # share of the run in which a missing warm-up shows
SHARE = 0.05  # of the run, when nothing tells where the norm settles
LONGEST = 0.3  # of the run
DEEP = 8  # weight layers from which training without warm-up is fragile


@probe(say("the learning rate starts at its peak"), curve("lr", 4), holds=0.6, fails=-3.0)
def starts_at_peak(e: Evidence, seen: Sighting) -> Reading | None:
    if e.schedule is None:
        return None
    return Reading(e.schedule.warmup_steps == 0, say("warm-up takes {steps:g} steps", steps=e.schedule.warmup_steps))


@probe(say("the trouble begins in the first tenth of the run"), holds=0.8, fails=-2.0)
def early(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.step is None or not e.last_step:
        return None
    share = seen.step / (e.planned_steps or e.last_step)
    return Reading(share < EARLY, say("it begins after {share:.0%} of the run", share=share))


@probe(say("the model is one that needs a warm-up"), holds=0.9, fails=-1.2)
def fragile(e: Evidence, seen: Sighting) -> Reading | None:
    if not e.model.architecture:
        return None
    return Reading(
        e.model.architecture == "transformer" or len(e.model.weight_layers) >= DEEP,
        say("it is a {kind} with {n} weight layers", kind=e.model.architecture, n=len(e.model.weight_layers)),
    )


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    total = e.planned_steps or e.last_step or 1000.0
    norm = e.curve("grad_norm")
    settled = norm.plateau_step if norm is not None else None
    settled = settled if settled and settled < LONGEST * total else None
    # where the gradient norm settles the second moments have seen it; else a twentieth of the run
    steps = max(10, round(min(2000, settled or SHARE * total)))
    reason = say("The gradient norm settles at step {step:g}", step=settled) if settled else say("It is a twentieth of the run")
    return (
        remedies.fix(
            e,
            say("Warm the learning rate up over {steps} steps", steps=steps),
            say("{reason}; before that the first steps throw a fresh model off: Adam's second moments are not settled yet.", reason=reason),
            (remedies.warm_up(e, steps),),
            {
                "pytorch": f"warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters={steps})\n# each step: optimizer.step(); warmup.step()",
                "transformers": f"args = TrainingArguments(..., warmup_steps={steps})",
            },
        ),
    )


no_warmup = Cause(
    id="no-warmup",
    title=say("The learning rate starts at its peak, without a warm-up"),
    mechanism=say(
        "In the first steps Adam's second moments rest on a handful of gradients, so its steps are far too large in some directions; attention layers and deep "
        "networks do not recover from them."
    ),
    probes=(starts_at_peak, early, fragile),
    fixes=fixes,
    by_hand=(say("Train 200 steps with a linear warm-up and compare the gradient norm."),),
)
