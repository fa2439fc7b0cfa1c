"""Parameters that should learn have requires_grad False."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import OPTIMIZER_STATE, TWO_CHECKPOINTS
from postmortem.checklist.optimizers import last_optimizer
from postmortem.checklist.parameters import trainable_of
from postmortem.checklist.probes import seen_as


@probe(say("a saved flag or the model summary says that they are not trainable"), holds=3.0, fails=-3.0)
def said_so(e: Evidence, seen: Sighting) -> Reading | None:
    told = trainable_of(e)
    flags = [t.requires_grad for c in e.checkpoints for t in c.tensors if t.requires_grad is not None and t.role in ("weight", "bias", "embedding")]
    if flags and e.weights.identical:
        frozen = flags.count(False)
        return Reading(frozen > 0, say("{n} of {of} saved tensors have requires_grad False", n=frozen, of=len(flags)))
    if told is None:
        return None
    return Reading(told[0] < told[1], say("{trainable:,} of {total:,} parameters are trainable", trainable=int(told[0]), total=int(told[1])))


@probe(say("the configuration freezes them"), holds=3.0)
def configured(e: Evidence, seen: Sighting) -> Reading | None:
    setting = e.setting("frozen_parameters")
    if setting is None or setting.value in (None, False, "", 0):
        return None
    return Reading(True, say("{key} = {value}", key=setting.key, value=str(setting.value)), setting.file)


@probe(say("they stand in none of the optimizer's groups"), OPTIMIZER_STATE, TWO_CHECKPOINTS, holds=1.6, fails=0.0)
def filtered(e: Evidence, seen: Sighting) -> Reading | None:
    last = last_optimizer(e)
    if last is None or last.absent is None:
        return None
    # a Trainer builds the optimizer itself, from all that asks for a gradient
    return Reading(
        len(last.absent) > 0,
        say("{n} tensors are in no group, as after filtering by requires_grad", n=len(last.absent)),
        share=1.5 if e.framework == "transformers" else 1.0,
    )


without = seen_as("no-gradient", claim=say("the gradient of all that is trained is 0"), holds=2.5)


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    names = ", ".join(e.weights.identical[:3])
    every = "for p in model.parameters():\n    p.requires_grad_(True)"
    adapters = 'for name, p in model.named_parameters():\n    p.requires_grad_("lora_" in name)  # of both halves of each adapter'
    return (
        remedies.fix(
            e,
            say("Let the frozen parameters learn"),
            say("These never changed: {names}.", names=names),
            (remedies.change(e, "frozen_parameters", None),),
            {
                "pytorch": f"{adapters if e.model.adapters else every}\noptimizer = torch.optim.Adam(model.parameters(), lr=lr)  # build it afterwards",
                "keras": "model.trainable = True\nmodel.compile(optimizer=optimizer, loss=loss)  # compile again afterwards",
            },
        ),
    )


requires_grad_off = Cause(
    id="requires-grad-off",
    title=say("The parameters are frozen: requires_grad is False"),
    mechanism=say(
        "A backbone was frozen for a first phase and never released, or a loop froze more than it should. No gradient is computed for these tensors."
    ),
    probes=(said_so, configured, filtered, without),
    fixes=fixes,
    by_hand=(say("Print [n for n, p in model.named_parameters() if not p.requires_grad]."),),
)
