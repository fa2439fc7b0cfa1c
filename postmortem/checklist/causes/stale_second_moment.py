"""Adam's second moment forgot how large gradients can be."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.optimizers import optimizer_name


@probe(say("the optimizer is Adam with a slow second moment"), holds=0.8, fails=-3.0)
def slow_adam(e: Evidence, seen: Sighting) -> Reading | None:
    name = optimizer_name(e)
    if not name:
        return None
    beta2 = next((c.optimizer.settings.get("beta2") for c in reversed(e.checkpoints) if c.optimizer is not None), None)
    return Reading(name == "adam" and (beta2 is None or beta2 > 0.98), say("{name}, β₂ {beta2}", name=name, beta2=f"{beta2 or 0.999:g}"))


@probe(say("several spikes came late, in a calm phase"), holds=0.8, fails=-1.0)
def late(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    if loss is None:
        return None
    middle = (loss.first_step + loss.last_step) / 2
    n = sum(s.step > middle for s in loss.spikes)
    return Reading(n >= 2, say("{n} spikes in the second half", n=n))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    return (
        remedies.fix(
            e,
            say("Use β₂ = 0.95 and clip the gradient norm at 1"),
            say("A shorter memory notices larger gradients sooner."),
            (remedies.change(e, "beta2", 0.95, 0.999),),
            {"pytorch": "optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95))"},
        ),
    )


stale_second_moment = Cause(
    id="stale-second-moment",
    title=say("Adam's second moment is out of date"),
    mechanism=say("When gradients have been small for long, √v is small; the first large gradient then makes a step many times the usual."),
    probes=(slow_adam, late),
    fixes=fixes,
)
