"""Norm or rank of the weights collapses."""

from postmortem.check import Check, Cleared, Evidence, Need, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.representation_collapse import representation_collapse
from postmortem.checklist.causes.too_much_regularization import most_decay, strong_decay, too_much_regularization, weight_decay
from postmortem.checklist.levels import loss_curve, loss_is_flat
from postmortem.checklist.limits import is_above, is_below, newest, share_is_below, times
from postmortem.checklist.needs import TWO_CHECKPOINTS, WEIGHTS
from postmortem.checklist.parameters import ALL_ZERO, output_spread, weights_are_zero
from postmortem.checklist.signs import file_of

TINY = -2.5  # decades below the default initialisation
DECAYED = -1.2  # decades below, where the configured weight decay explains it
COPIES = 0.5  # share of the weight matrices
SHRANK = -1.0  # decades between the first and the last checkpoint
NO_DISTANCE = 5e-4  # outputs of a thousand dimensions that point everywhere have sixty times that
ONE_POINT = 0.15  # of the first spread of the outputs; healthy runs keep it, 1/√d, to 1 %


SIZE = Need(WEIGHTS.log, WEIGHTS.how, lambda e: WEIGHTS.met(e) or output_spread(e) is not None)


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    w, loss = e.weights, loss_curve(e)
    scale, drift = w.median_scale, w.scale_drift
    spread = output_spread(e)
    one = spread is not None and (spread.final < ONE_POINT * spread.first or (spread.final < NO_DISTANCE and spread.final < 0.5 * spread.first))
    if spread is not None and one and not (drift is not None and drift < SHRANK):
        return Sighting(
            Severity.FATAL,
            say(
                "The outputs for different inputs became one: their standard deviation ({name}) fell from {first:.3g} to {final:.3g}.",
                name=e.series[spread.name].logged_as,
                first=spread.first,
                final=spread.final,
            ),
            spread.first_step, spread.first_step, (spread.name, "train/loss"), file_of(e, spread.name), "outputs",
        )  # fmt: skip
    if scale is None:
        return Unknown(say("Not measured: this needs finite weights."))
    if weights_are_zero(e) and not (drift is not None and drift < 0):
        zero = share_is_below(say("the share of layers that are exactly zero"), w.zero_weight_share, ALL_ZERO, newest(e))
        return Cleared(say("The weights are exactly zero from the first checkpoint on: they never had a size to lose."), (zero,))
    at = e.checkpoints[0].step if e.checkpoints else None
    if scale < DECAYED and strong_decay(e):
        return Sighting(
            Severity.SERIOUS,
            say("Under the configured weight decay the weights are {times:.2g} × their usual size.", times=times(scale)),
            at, e.first_step, ("train/loss",), "", "shrank",
        )  # fmt: skip
    collapsed = drift is not None and drift < SHRANK and scale < TINY
    usual = None if strong_decay(e) else weight_decay(e)
    if collapsed and usual is not None:
        strong = is_above(say("the weight decay"), usual, most_decay(e), newest(e))
        return Cleared(
            say("The weights shrank under a usual decay: what should hold against it, a gradient, is missing, or the rate is far too high."),
            (strong,),
        )
    if drift is not None and collapsed and (loss is None or loss_is_flat(e)):
        return Sighting(
            Severity.FATAL,
            say(
                "The weights shrank {times:.2g}-fold between checkpoints and are now 10^{scale:.1f} of their usual size.",
                times=10**-drift,
                scale=scale,
            ),
            at,
            e.first_step,
            ("train/loss",),
            "",
            "shrank",
        )
    if scale < 2 * TINY and (w.symmetric_share or 0.0) >= COPIES and not (drift is not None and drift < SHRANK):
        copies = share_is_below(
            say("the share of weight matrices whose rows or columns are copies of each other"), w.symmetric_share, COPIES, newest(e)
        )
        return Cleared(say("All their elements are nearly one number: they spread little because they were drawn so, and never shrank."), (copies,))
    if scale < 2 * TINY:
        return Sighting(
            Severity.FATAL, say("The weights are 10^{scale:.1f} of their usual size.", scale=scale), at, e.first_step, ("train/loss",), "", "tiny"
        )
    return Cleared(
        say("The median layer is {times:.2g} × the default initial size.", times=10**scale),
        (
            is_below(say("the size of the median layer (× the usual)"), times(scale), times(TINY), newest(e)),
            is_below(say("that size (× the one at the first checkpoint)"), None if drift is None else times(drift), times(SHRANK), newest(e)),
        ),
    )


@probe(say("they shrank while training went on"), TWO_CHECKPOINTS, holds=1.5, fails=-1.5)
def shrank(e: Evidence, seen: Sighting) -> Reading | None:
    drift = e.weights.scale_drift
    return None if drift is None or seen.facet == "outputs" else Reading(drift < SHRANK, say("by {decades:.1f} decades", decades=-drift))


@probe(say("strong decay is configured"), WEIGHTS, holds=1.0, fails=-0.3)
def decay(e: Evidence, seen: Sighting) -> Reading | None:
    value = e.number("weight_decay")
    return None if value is None or seen.facet == "outputs" else Reading(value >= 0.3, say("weight decay {value:g}", value=value))


CHECK = Check(
    id="weight-collapse",
    title=say("Weight collapse"),
    symptom=say("The norm or the rank of the weights collapses."),
    detect=detect,
    needs=(SIZE,),
    probes=(shrank, decay),
    prior=1.5,
    causes=((too_much_regularization, 0.3), (representation_collapse, -2.5), (learning_rate_too_high, -1.0)),
    consequences=("loss-not-decreasing", "underfitting", "vanishing-gradients", "dead-units", "frozen-parameters"),
)
