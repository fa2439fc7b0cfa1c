"""Dropout, weight decay or label smoothing leave too little to learn with."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.latents import weight_of_divergence
from postmortem.checklist.levels import skill
from postmortem.checklist.needs import TWO_CHECKPOINTS, VALIDATION, curve
from postmortem.checklist.optimizers import decay_is_decoupled, optimizer_name, rate_decades

DROPOUT, HALF = 0.65, 0.4
WORSE = 0.15  # of the way from guessing to perfect
SHRUNK = -0.5  # decades: weights that end at a third of their first scale
KEPT_SIZE, USUAL_SIZE, NO_EFFECT = -0.1, -0.3, 0.3  # decades since the first checkpoint; decades from the usual size; share of the weight
WITH_SGD = 0.05
OF_TORCH = ("", "pytorch", "lightning")  # the Adam of others (Keras, fairseq, Megatron) takes the decay off the weights, as AdamW does
INTO_GRADIENT = 0.05  # of Adam, which adds the decay to the gradient and divides it by its size
DECAY = 0.3  # larger than any usual weight decay (0.01 to 0.1)
LIGHT, LIGHT_DECOUPLED = {"weight_decay": 1e-3, "dropout": 0.15}, 0.1  # so little of it holds no training back; of AdamW, which scales it by the rate
STEEP = 1.3  # decades of the learning rate above the usual


def weight_decay(e: Evidence) -> float | None:
    """As configured, else as a saved optimizer holds it."""
    value = e.number("weight_decay")
    if value is None:
        value = next((c.optimizer.settings.get("weight_decay") for c in e.checkpoints if c.optimizer is not None), None)
    return value


def most_decay(e: Evidence) -> float:
    """The smallest weight decay that is larger than any usual one of this optimizer."""
    stated = e.setting("optimizer")
    torch_adam = stated is not None and str(stated.value).lower().rpartition(".")[2] == "adam" and e.framework in OF_TORCH
    return INTO_GRADIENT if torch_adam else WITH_SGD if optimizer_name(e) == "sgd" else DECAY


def strong_decay(e: Evidence) -> bool:
    """The weight decay is larger than any usual one. Of plain gradient descent it comes on top of a rate that is a hundred times Adam's."""
    value = weight_decay(e)
    return value is not None and value >= most_decay(e)


@probe(say("dropout is extreme"), holds=3.5, fails=-0.5)
def dropout(e: Evidence, seen: Sighting) -> Reading | None:
    value = e.number("dropout")
    setting = e.setting("dropout")
    return (
        None
        if value is None
        else Reading(value > DROPOUT, say("dropout is {value:g}; usual are 0.1 to 0.5", value=value), setting.file if setting else "")
    )


@probe(say("weight decay is extreme"), holds=3.5, fails=-0.5)
def decay(e: Evidence, seen: Sighting) -> Reading | None:
    value = weight_decay(e)
    if value is None:
        return None
    steep = value < DECAY and (rate_decades(e) or 0.0) >= STEEP  # each step takes rate × decay off the weights: then the rate did it
    strong = strong_decay(e)
    if not strong and (e.number("dropout") or 0.0) > DROPOUT:
        return None  # one of the two is enough
    kept = (e.weights.scale_drift or -1.0) > KEPT_SIZE and (e.weights.median_scale or -1.0) > USUAL_SIZE  # for all that it decays, nothing shrank
    share = 2.0 if steep else NO_EFFECT if strong and kept else 1.0
    return Reading(strong, say("weight decay is {value:g}; usual are less than {most:g}", value=value, most=most_decay(e)), share=share)


@probe(say("the weights shrink while training goes on"), TWO_CHECKPOINTS, holds=2.0, fails=-0.7)
def shrink(e: Evidence, seen: Sighting) -> Reading | None:
    drift = e.weights.scale_drift
    return (
        None
        if drift is None or ((e.number("dropout") or 0.0) > DROPOUT and drift > SHRUNK)
        else Reading(drift < SHRUNK, say("the median layer's size changed {times:.2g}-fold", times=10**drift))
    )


@probe(say("training is worse than validation, as with heavy dropout"), VALIDATION, holds=0.9)
def train_worse(e: Evidence, seen: Sighting) -> Reading | None:
    return None if e.gap is None else Reading(e.gap.gap < -0.15, say("ln(validation / train) is {gap:.2f}", gap=e.gap.gap))


@probe(
    say("training accuracy ends far below validation's, which sees the same model without it"),
    curve("val/accuracy"),
    holds=1.0,
)
def scores_worse(e: Evidence, seen: Sighting) -> Reading | None:
    train, val = skill(e, "train"), skill(e, "val")
    if train is None or val is None or e.gap is None or e.gap.gap >= 0:
        return None
    return Reading(val - train > WORSE, say("{train:.0%} and {val:.0%} of the way from guessing to perfect", train=train, val=val))


@probe(say("the divergence from the prior weighs more than the bound asks for"), holds=3.5, fails=0.0)
def prior_wins(e: Evidence, seen: Sighting) -> Reading | None:
    weight = weight_of_divergence(e) if seen.facet == "latents" else None
    if weight is None:
        return None
    return Reading(float(weight.value or 0.0) > 1.0, say("{key} is {value}", key=weight.key, value=weight.value), weight.file)


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    out = []
    weight = weight_of_divergence(e) if seen.facet == "latents" else None
    if weight is not None and float(weight.value or 0.0) > 1.0:
        why = say("At {value:g} the cheapest way is to ignore the input; raise it from 0 to 1 over the first third of the run.", value=weight.value)
        out.append(remedies.fix(e, say("Lower the weight of the divergence to 1"), why, (remedies.changed(e, "loss", weight, 1.0),)))
    value, drop = weight_decay(e), e.number("dropout")
    shrank = (e.weights.scale_drift or 0.0) < SHRUNK
    if drop is not None and drop > HALF:
        why = say("Most of each layer is switched off in every step, and the model does not even fit its training set.")
        for to in (0.0, 0.1):
            changes = remedies.together(e, "dropout", to, "drop", above=HALF) or (remedies.change(e, "dropout", to, drop),)
            code = {"pytorch": f"nn.Dropout({to:g})"}
            out.append(remedies.fix(e, say("Lower dropout from {value:g} to {to:g}", value=drop, to=to), why, changes, code))
    if value and (strong_decay(e) or shrank):
        why = say("It pulls the weights to zero faster than the gradient can push them out.")
        if shrank:
            why = say("With it the weights shrank {times:.3g}-fold while training went on.", times=10 ** -(e.weights.scale_drift or 0.0))
        code = {"pytorch": f"optimizer = torch.optim.{remedies.optimizer_class(e)}(model.parameters(), lr=lr)  # weight_decay=0"}
        off = remedies.fix(
            e, say("Switch the weight decay of {value:g} off", value=value), why, (remedies.change(e, "weight_decay", 0.0, value),), code
        )
        out.insert(0 if shrank or (strong_decay(e) and (drop or 0.0) <= DROPOUT) else len(out), off)
    if not out:
        light = {**LIGHT, "weight_decay": LIGHT_DECOUPLED} if decay_is_decoupled(e) else LIGHT
        lowered = tuple(remedies.change(e, name, 0.0) for name in light if (e.number(name) or 0.0) > light[name])
        if not lowered and any(e.setting(name) is not None for name in light):
            return ()  # what is configured holds nothing back
        out.append(remedies.fix(e, say("Switch weight decay and dropout off and compare"), say("It is the quickest test of this cause."), lowered))
    return tuple(out)


too_much_regularization = Cause(
    id="too-much-regularization",
    title=say("Regularisation is too strong"),
    mechanism=say("Decay pulls every weight to zero in each step and dropout removes most of the signal: what is left cannot follow the data."),
    probes=(dropout, decay, shrink, train_worse, scores_worse, prior_wins),
    fixes=fixes,
    by_hand=(say("Train a few epochs with weight decay and dropout at 0: the training loss must fall much further."),),
)
