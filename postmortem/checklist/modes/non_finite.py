"""NaN or Inf in loss, gradients or weights."""

import re

from postmortem.check import Check, Cleared, Clue, Evidence, Need, Reading, Sentence, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.accumulating_gradients import accumulating_gradients
from postmortem.checklist.causes.bad_batch import bad_batch
from postmortem.checklist.causes.bad_initialization import bad_initialization
from postmortem.checklist.causes.half_precision_overflow import half_precision_overflow
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.no_gradient_clipping import no_gradient_clipping
from postmortem.checklist.causes.non_finite_inputs import non_finite_inputs
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.too_much_regularization import too_much_regularization
from postmortem.checklist.causes.unsafe_operation import unsafe_operation
from postmortem.checklist.limits import is_above, newest
from postmortem.checklist.needs import WEIGHTS, recorded
from postmortem.checklist.quoting import first_line
from postmortem.checklist.signs import file_of
from postmortem.model.curves import CurveStats
from postmortem.model.run import EventKind

OF_A_POLICY = re.compile(r"(?:^|[/_ ])(?:\w{0,20}[_ ])?(?:kl|loss|entropy)$", re.IGNORECASE)  # what a return that was not logged does not make NaN
CURVES = ("train/loss", "train/loss.epoch", "val/loss", "grad_norm")


def _of_a_policy(e: Evidence) -> list[CurveStats]:
    """What an agent's updates log of themselves: losses, entropy, the distance to the policy before."""
    return [c for n, c in e.curves.items() if e.family == "reinforcement" and n not in CURVES and OF_A_POLICY.search(n)]


ANYTHING = Need(
    "train/loss",
    say("log the training loss of every step"),
    lambda e: (
        any(e.curve(n) is not None for n in CURVES)
        or bool(_of_a_policy(e))
        or e.weights.checkpoints > 0
        or bool(e.events_of(EventKind.NON_FINITE_GUARD))
    ),
    recorded("recorder.step(loss)"),
)


def _told_of_hidden(e: Evidence, step: float) -> Sentence:
    if e.curve("grad_norm") is None:
        return say("At step {step:g} the loss went from an ordinary level to exactly 0.0, and stays there: the logger hides a NaN.", step=step)
    return say("From step {step:g} on the loss is printed as 0.0 while the gradient norm is NaN: the logger hides a NaN.", step=step)


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    hits = [(c.non_finite.first_step, c) for n in CURVES if (c := e.curve(n)) is not None and c.non_finite is not None]
    guard = next(iter(e.events_of(EventKind.NON_FINITE_GUARD)), None)
    losses = [(s, c) for s, c in hits if c.name != "grad_norm" and not (c.non_finite and c.non_finite.recovered and c.non_finite.share < 0.2)]
    norm = next(((s, c) for s, c in hits if c.name == "grad_norm" and c.non_finite and not c.non_finite.recovered), None)
    if losses:
        step, curve = min(losses, key=lambda hit: hit[0])
        bad = curve.non_finite
        hidden = bool(bad and bad.hidden)
        summary = (
            _told_of_hidden(e, step)
            if hidden
            else say("{name} is {kind} from step {step:g} on.", name=curve.name.removesuffix(".epoch"), kind=bad.kind if bad else "nan", step=step)
        )
        return Sighting(Severity.FATAL, summary, step, step, (curve.name,), e.series[curve.name].source, "hidden" if hidden else "loss")
    if e.weights.first_non_finite is not None:
        path = e.weights.first_non_finite
        at = next((c.step for c in e.checkpoints if c.path == path), None)
        return Sighting(Severity.FATAL, say("{path} holds NaN or Inf.", path=path), at, at, (), path, "weights")
    if norm is not None:
        return Sighting(
            Severity.FATAL,
            say("The gradient norm is {kind} from step {step:g} on.", kind=norm[1].non_finite.kind if norm[1].non_finite else "nan", step=norm[0]),
            norm[0],
            norm[0],
            ("grad_norm",),
            e.series["grad_norm"].source,
            "norm",
        )
    policy = next((c for c in _of_a_policy(e) if c.non_finite and not c.non_finite.recovered), None)
    if policy is not None and policy.non_finite is not None and policy.finite:
        bad, name = policy.non_finite, policy.name.removeprefix("other/")
        told = say("{name} is {kind} from step {step:g} on.", name=name, kind=bad.kind, step=bad.first_step)
        return Sighting(Severity.FATAL, told, bad.first_step, bad.first_step, (policy.name,), e.series[policy.name].source, "loss")
    if guard is not None:
        return Sighting(
            Severity.FATAL,
            say("The code stopped itself because of a non-finite value: {text}", text=first_line(guard.text)),
            guard.step,
            guard.step,
            (),
            guard.source,
            "guard",
        )
    if hits:
        return Cleared(say("A few records were not finite; the values came back."), _figures(e))
    return Cleared(say("All logged losses are finite{weights}.", weights=say(", and all weights") if e.weights.checkpoints else ""), _figures(e))


def _figures(e: Evidence) -> tuple[Clue, ...]:
    """Non-finite records of each curve, and tensors of the newest checkpoint."""
    curves = [*(c for n in CURVES if (c := e.curve(n)) is not None), *_of_a_policy(e)]
    logged = tuple(
        is_above(
            say("the number of records of {name} that are NaN or Inf (of {n})", name=c.name.removesuffix(".epoch"), n=c.points),
            c.non_finite.count if c.non_finite is not None else 0, 0, file_of(e, c.name),
        )
        for c in curves
    )  # fmt: skip
    if not e.checkpoints:
        return logged
    tensors = say("the number of tensors with NaN or Inf (of {n})", n=len(e.checkpoints[-1].tensors))
    return (*logged, is_above(tensors, len(e.checkpoints[-1].non_finite), 0, newest(e)))


@probe(say("weights hold NaN or Inf"), WEIGHTS, holds=1.5, fails=-0.3)
def weights(e: Evidence, seen: Sighting) -> Reading | None:
    path = e.weights.first_non_finite
    return Reading(path is not None, say("first in {path}", path=path or say("no checkpoint")), path or "")


@probe(say("it stays so"), holds=1.0, fails=-1.0)
def stays(e: Evidence, seen: Sighting) -> Reading | None:
    bad = next((c.non_finite for n in CURVES if (c := e.curve(n)) is not None and c.non_finite is not None), None)
    return None if bad is None else Reading(not bad.recovered, say("{n} records are not finite", n=bad.count))


CHECK = Check(
    id="non-finite",
    title=say("NaN or Inf"),
    symptom=say("NaN or Inf in loss, gradients or weights with no growth before it."),
    detect=detect,
    needs=(ANYTHING,),
    probes=(weights, stays),
    prior=2.5,
    causes=(
        (bad_batch, -0.6),
        (unsafe_operation, -0.9),
        (non_finite_inputs, -2.5),
        (half_precision_overflow, -1.2),
        (learning_rate_too_high, -0.5),
        (no_gradient_clipping, -2.0),
        (bad_initialization, -1.8),
        (preprocessing, -2.5),
        (accumulating_gradients, -3.0),
        (too_much_regularization, -3.2),
    ),
    by_hand=(
        say("Find the first batch with a non-finite loss, and look whether its inputs are finite."),
        say("Run from the last good checkpoint with torch.autograd.set_detect_anomaly(True)."),
    ),
    consequences=(
        "loss-not-decreasing",
        "crash",
        "underfitting",
        "dead-units",
        "validation-fault",
        "overfitting",
        "loss-spike",
        "weight-collapse",
        "precision-fault",
        "frozen-parameters",
        "stalled",
        "vanishing-gradients",
    ),
)
