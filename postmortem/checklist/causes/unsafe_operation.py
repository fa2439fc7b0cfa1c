"""A division by zero, a logarithm or root of zero in the model or the loss."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.levels import loss_curve
from postmortem.checklist.probes import usual_rate
from postmortem.checklist.quoting import cut
from postmortem.checklist.signs import file_of, half_is_stated

GREW = 0.5  # decades
FIRST = 1.5  # of a step or an epoch: what is inf there nobody had trained yet


@probe(say("a whole epoch was finite first, so it is not the data"), holds=1.6, fails=-0.8)
def after_first_epoch(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or loss.non_finite is None:
        return None
    epoch = e.epoch_at(loss.non_finite.first_step)
    if epoch is None or (loss.non_finite.points_before == 0 and epoch > 1.05):
        return None  # of an excerpt that begins with it nobody can say what came before
    return Reading(epoch > 1.05, say("the first non-finite record is in epoch {epoch:.3g}", epoch=epoch))


@probe(say("only some records are non-finite and the weights stay finite"), holds=2.0, fails=0.0)
def weights_finite(e: Evidence, seen: Sighting) -> Reading | None:
    scale = e.curve("loss_scale")
    if not e.weights.checkpoints or e.weights.first_non_finite is not None or (scale is not None and scale.final <= 1.0):
        return None  # a scaler that has nothing left to halve skipped them all
    return Reading(True, say("no checkpoint holds a NaN, so the gradient of the bad term was 0 or the step was skipped"))


@probe(say("the loss became infinite, and not NaN, without having grown: a logarithm of zero or a division by it"), holds=2.0)
def infinite(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    bad = loss.non_finite if loss is not None else None
    if (
        loss is None
        or bad is None
        or (not loss.finite and bad.first_step > FIRST)
        or bad.kind != "inf"
        or half_is_stated(e)
        or (bad.growth_before or 0.0) > GREW
    ):
        return None
    return Reading(True, say("{name} is inf at step {step:g}", name=loss.name, step=bad.first_step), file_of(e, loss.name))


@probe(say("anomaly detection named a backward function"), holds=4.0)
def anomaly(e: Evidence, seen: Sighting) -> Reading | None:
    hit = next((ev for ev in e.events if "returned nan values" in ev.text), None)
    return Reading(True, say("the log says: {text}", text=cut(hit.text)), hit.source) if hit else None


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    return (
        remedies.fix(
            e,
            say("Use the stable form of the loss, and guard other logarithms, divisions and roots with an epsilon"),
            say("Values were finite until the model became sure of something; then they were not."),
            (remedies.reset(e, "loss"),),
            {
                "pytorch": "F.cross_entropy(logits, y); F.binary_cross_entropy_with_logits(logits, y)  # not torch.log(softmax) or log(sigmoid)\n"
                "torch.log(p.clamp_min(1e-8)); x / (n + 1e-8); torch.sqrt(v + 1e-12)\ntorch.autograd.set_detect_anomaly(True)  # names the operation, slowly"
            },
        ),
    )


unsafe_operation = Cause(
    id="unsafe-operation",
    title=say("An operation without a guard: log(0), division by 0, sqrt at 0"),
    mechanism=say(
        "log, division, square root and norm have infinite values or slopes at 0. It takes one sample that lands there: a probability that rounds to 0, a group without members."
    ),
    probes=(after_first_epoch, weights_finite, infinite, anomaly, usual_rate(holds=0.4, fails=-2.0)),
    fixes=fixes,
    by_hand=(say("Run until the failure with torch.autograd.set_detect_anomaly(True): the traceback names the operation."),),
)
