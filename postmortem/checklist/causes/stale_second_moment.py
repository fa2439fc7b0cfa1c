"""Adam's second moment forgot how large gradients can be."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.optimizers import last_optimizer, optimizer_name

OUTGROWN = 1.5  # times what the second moments say; noise alone stays within a tenth


@probe(say("the optimizer is Adam with a slow second moment"), holds=0.8, fails=-3.0)
def slow_adam(e: Evidence, seen: Sighting) -> Reading | None:
    name = optimizer_name(e)
    if not name:
        return None
    saved = last_optimizer(e)
    beta2 = e.number("beta2") if saved is None else saved.settings.get("beta2")
    return Reading(name == "adam" and (beta2 is None or beta2 > 0.98), say("{name}, β₂ {beta2}", name=name, beta2=f"{beta2 or 0.999:g}"))


@probe(say("several spikes came late, in a calm phase"), holds=0.8, fails=-1.0)
def late(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    if loss is None:
        return None
    middle = (loss.first_step + loss.last_step) / 2
    n = sum(s.step > middle for s in loss.spikes)
    return Reading(n >= 2, say("{n} spikes in the second half", n=n))


@probe(say("gradients around a spike were larger than the second moments remember"), holds=1.0, fails=-0.7)
def outgrown(e: Evidence, seen: Sighting) -> Reading | None:
    lag, loss = e.weights.memory_lag, e.curve("train/loss")
    saved = [c.step for c in e.checkpoints if c.gradients and c.step is not None][-2:]
    if lag is None or loss is None or len(saved) < 2 or not any(saved[0] < s.step <= saved[1] for s in loss.spikes):
        return None  # measured between the last two saves: a spike elsewhere was met by other moments
    times = 10**lag
    return Reading(
        times > OUTGROWN,
        say(
            "gradients between steps {first:.6g} and {last:.6g}: {times:.3g} times what the second moments say",
            first=saved[0],
            last=saved[1],
            times=times,
        ),
    )


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
    probes=(slow_adam, late, outgrown),
    fixes=fixes,
)
