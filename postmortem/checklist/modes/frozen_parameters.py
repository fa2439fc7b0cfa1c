"""Tensors that should learn are bit-identical across checkpoints."""

from postmortem.check import Check, Cleared, Clue, Evidence, Need, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.detached_graph import detached_graph
from postmortem.checklist.causes.missing_from_optimizer import missing_from_optimizer
from postmortem.checklist.causes.requires_grad_off import requires_grad_off
from postmortem.checklist.causes.update_below_precision import update_below_precision
from postmortem.checklist.hopeless import HURLING
from postmortem.checklist.inputs import inputs_are_zero
from postmortem.checklist.levels import course, loss_is_flat, skill, to_chance
from postmortem.checklist.limits import asked, flatness, is_above, newest, share_is_above, share_is_below
from postmortem.checklist.needs import CHANCE, LAYER_STATISTICS, STILL_TENSORS
from postmortem.checklist.optimizers import last_optimizer, left_out, rate_decades
from postmortem.checklist.parameters import ALL_ZERO, all_identical, standing_still, trainable_of, weights_are_zero, without_gradient

GUESSING = 0.9  # times chance
FEW = 0.2  # of all parameters
LEARNED = 0.3  # share of the way from guessing to perfect accuracy
SOME = 0.1  # share of parameter tensors
A_BRANCH = 0.25  # share of the parameters
MOVED = 0.75  # decades above the default initialisation: such weights did move, before the first checkpoint
SHRUNK = -2.0  # decades below it, the same; 0.02 in a small transformer is −0.9


STANDING = Need(
    "two checkpoints",
    say("save the weights at least twice, the first time early"),
    lambda e: STILL_TENSORS.met(e) or _beside_the_weights(e) is not None or (e.layers is not None and bool(e.layers.gradients)),
    LAYER_STATISTICS.code,
)


def _recorded(e: Evidence) -> Sighting | Cleared:
    """What recorded updates say where no checkpoints do."""
    layers = e.layers
    if layers is None:
        return Cleared(say("Nothing was recorded."), ())
    if not layers.moved and loss_is_flat(e):
        moved = is_above(say("the number of tensors that some update changed"), layers.moved, 0)
        return Cleared(
            say("Every tensor stands still, not a part of them: no step was ever applied (see loss-not-decreasing)."), (moved, *flatness(e))
        )
    unmoved = (*layers.without_gradient, *layers.still)
    total = len(unmoved) + layers.moved
    below = layers.without_gradient if layers.cut_below else ()  # elsewhere they are modules that the forward pass does not use
    held_back = tuple(n for n in layers.still if n in layers.not_held)
    if len(below) + len(held_back) < SOME * total or not layers.moved:
        share = (len(below) + len(held_back)) / total if total else 0.0
        return Cleared(
            say("{n} of {of} trainable tensors were never updated.", n=len(unmoved), of=total),
            (share_is_above(say("the share of trainable tensors that no update reached though they should learn"), share, SOME),),
        )
    return Sighting(
        Severity.SERIOUS,
        say(
            "{n} parameter tensors were never updated, among them {name}; the others learn.",
            n=len(below) + len(held_back),
            name=(*below, *held_back)[0],
        ),
        e.first_step,
        e.first_step,
        ("train/loss",),
        "",
        "some",
    )


def _beside_the_weights(e: Evidence) -> Sighting | None:
    """What the optimizer's groups or the model's summary say of parts that no step can change, where hardly anything was learned."""
    last, told, loss = last_optimizer(e), trainable_of(e), course(e)
    meant = e.model.adapters or "lora" in e.intents or "frozen" in e.intents
    if meant or loss is None or not loss_is_flat(e) or (skill(e, "val") or 0.0) > LEARNED or (rate_decades(e) or 0.0) > HURLING:
        return None
    missing = (left_out(e) or ()) if last is not None and last.has_state else ()
    if len(missing) > SOME * len(e.checkpoints[-1].tensors if e.checkpoints else ()) and len(missing):
        summary = say("{n} parameter tensors are in none of the optimizer's groups, among them {name}.", n=len(missing), name=missing[0])
        return Sighting(Severity.SERIOUS, summary, e.first_step, e.first_step, ("train/loss",), newest(e), "groups")
    if told is not None and told[0] < FEW * told[1] and (to_chance(e, loss.final) or 0.0) > GUESSING:
        summary = say("Only {part:,} of {whole:,} parameters are trainable, and hardly anything is learned.", part=int(told[0]), whole=int(told[1]))
        return Sighting(Severity.SERIOUS, summary, e.first_step, e.first_step, ("train/loss",), "", "summary")
    return None


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    w, standing = e.weights, standing_still(e)
    if w.identical_share is None and e.layers is not None and not e.model.adapters and "lora" not in e.intents:
        return _recorded(e)
    beside = _beside_the_weights(e)
    if beside is not None and not (standing and w.identical_share):
        return beside
    if standing is None:
        return Unknown(say("Not measured: this needs two checkpoints."))
    if e.model.adapters or "lora" in e.intents:
        return Cleared(
            say(
                "The frozen tensors are meant to be: {why}.",
                why=say("adapters are trained") if e.model.adapters else e.intents["lora"],
            ),
            (asked(say("all tensors should learn"), False, say("adapters are trained"), newest(e)), _still(e, w.identical_share)),
        )
    if "frozen" in e.intents and not loss_is_flat(e):
        learns = asked(say("all tensors should learn"), False, e.intents["frozen"], newest(e))
        return Cleared(say("What stands still is meant to ({why}), and the rest learns.", why=e.intents["frozen"]), (learns, *flatness(e)))
    if weights_are_zero(e):
        zero = share_is_below(say("the share of layers that are exactly zero"), w.zero_weight_share, ALL_ZERO, newest(e))
        return Cleared(say("The weights are exactly zero, and stay so: nothing was frozen."), (zero,))
    if inputs_are_zero(e):
        reached = asked(say("the first layer's weights got a gradient"), False, say("only its bias moved"), newest(e))
        return Cleared(say("The first layer's bias learns and its weights do not: the inputs are zero, nothing was frozen."), (reached,))
    dead = without_gradient(e)
    moved_before = {t.name for t in e.checkpoints[0].tensors if t.scale is not None and not SHRUNK < t.scale < MOVED}
    still = [n for n in standing if n in e.model.weight_layers and n not in dead]
    if any(n in moved_before for n in still) and loss_is_flat(e):
        fresh = asked(
            say("what stands still has the size of fresh weights"),
            False,
            say("{name} has not", name=next(n for n in still if n in moved_before)),
            newest(e),
        )
        return Cleared(say("What stands still had moved before the first checkpoint: it died, it was not frozen."), (fresh, *flatness(e)))
    layers = [n for n in still if n not in moved_before]
    share = w.identical_share if w.identical_share is not None else len(layers) / len(e.model.weight_layers)
    if share < SOME or not layers:
        why = say("{share:.0%} of the parameter tensors stand still.", share=share)
        if share >= SOME:
            why = say(
                "{share:.0%} of the parameter tensors stand still, none of them a layer that got a gradient and should have moved.", share=share
            )
        return Cleared(why, (_still(e, share), is_above(say("the number of layers that stand still and had a gradient"), len(layers), 0, newest(e))))
    if all_identical(e) and loss_is_flat(e):
        moved = share_is_below(say("the share of tensors that stand still"), share, 1.0, newest(e))
        return Cleared(
            say("Every tensor stands still, not a part of them: no step was ever applied (see loss-not-decreasing)."), (moved, *flatness(e))
        )
    if all_identical(e):
        return Sighting(
            Severity.SERIOUS,
            say("All {n} parameter tensors are bit-identical in all checkpoints.", n=len(standing)),
            e.first_step,
            e.first_step,
            ("train/loss",),
            "",
            "all",
        )
    return Sighting(
        Severity.MINOR if _one_branch(e, layers) else Severity.SERIOUS,
        say("{n} parameter tensors never change, among them {name}; the others learn.", n=len(standing), name=layers[0]),
        e.first_step,
        e.first_step,
        ("train/loss",),
        "",
        "some",
    )


def _one_branch(e: Evidence, still: list[str]) -> bool:
    """A single layer whose neighbours in the same module learn: an output that the loss does not use, as the last block of a stack has. Or the
    head alone, while all before it learns: features are what is compared, and its own answers nobody asked for."""
    if still == [e.model.head]:
        return True
    module = still[0].rsplit(".", 2)[0] + "."
    beside = [n for n in e.model.weight_layers if n.startswith(module) and n not in still]
    return len(still) == 1 and len(beside) > 1 and (e.weights.identical_elements_share or 1.0) < A_BRANCH and not loss_is_flat(e)


def _still(e: Evidence, share: float | None) -> Clue:
    return share_is_above(say("the share of tensors that stand still"), share, SOME, newest(e))


@probe(say("the model does badly"), CHANCE, holds=1.0, fails=-2.5)
def badly(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    level = to_chance(e, loss.final) if loss else None
    good = skill(e, "val")
    if good is not None and good > 0.9:
        return Reading(False, say("accuracy is {good:.0%} of the way to perfect", good=good))
    return None if level is None else Reading(level > 0.25, say("the loss ends at {level:.2f} × chance", level=level))


@probe(say("what stands still is as it was drawn: there is nothing in it that was learned before"), STILL_TENSORS, holds=2.0)
def fresh(e: Evidence, seen: Sighting) -> Reading | None:
    drawn = [n for n in e.model.weight_layers if n in e.weights.identical and n in e.weights.as_drawn]
    still = [n for n in e.model.weight_layers if n in e.weights.identical]
    return (
        Reading(True, say("{n} of the {all} weight layers that stand still", n=len(drawn), all=len(still)))
        if drawn and 2 * len(drawn) >= len(still)
        else None
    )


@probe(say("it is a part of the model, not all of it"), STILL_TENSORS, holds=0.5, fails=-0.2)
def a_part(e: Evidence, seen: Sighting) -> Reading | None:
    share = e.weights.identical_share
    return None if share is None else Reading(share < 0.95, say("{share:.0%} of the tensors", share=share))


CHECK = Check(
    id="frozen-parameters",
    title=say("Frozen parameters"),
    symptom=say("Tensors are bit-identical across checkpoints though they should learn."),
    detect=detect,
    needs=(STANDING,),
    probes=(badly, fresh, a_part),
    prior=1.0,
    causes=((requires_grad_off, -0.8), (missing_from_optimizer, -1.2), (detached_graph, -1.2), (update_below_precision, -3.0)),
    by_hand=(say("Print which parameters have requires_grad False, and which have .grad None after a backward()."),),
    consequences=("underfitting", "loss-not-decreasing", "vanishing-gradients"),
)
