"""Labels do not belong to the inputs: shuffled, shifted or mismatched."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.causes.stopped_too_early import few_updates
from postmortem.checklist.falls import rests_half_way
from postmortem.checklist.inputs import NEVER_FIRES
from postmortem.checklist.levels import course, skill, starts_normal, to_chance
from postmortem.checklist.levels import learned_at_once as few_passes
from postmortem.checklist.needs import BASELINE, BATCH_STATISTICS, CHANCE, TWO_CHECKPOINTS, VALIDATION, curve
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.parameters import is_narrow
from postmortem.checklist.policies import preferred
from postmortem.checklist.probes import USUAL, nothing_learned_at_all, seen_as
from postmortem.checklist.signs import same_settings

AT_CHANCE = 0.12  # accuracy above chance, as a share of what there is to gain
RELATED, UNRELATED = 4.0, 2.0  # standard errors of guessing by which recorded labels can be predicted from their inputs
ENOUGH = 256  # recorded samples without a relation
CLEARLY = 0.2  # of what there is to gain: from there on validation learned something
PASSES = 2.0  # over the data, before which nothing need have been learned
SANE = 1.5  # times chance, for the first record
NEAR = 0.05  # of the chance level
CREPT = 0.04  # relative change of the weights below which hardly a step was made
SHRANK = -0.5  # decades: weights that are pulled to zero move far, and learn nothing by heart
LOW_RATE = 0.9  # decades below the usual rate, from which too few steps may be all that is missing
APART = 3.0  # × the margin between the rewards
EVEN = 0.02  # change of the first layer / of the last
USUAL_SCALE = 0.5  # decades from the usual initialisation
BELOW_CHANCE = 0.97  # times chance: what a loss that only lost its first excess does not reach
MEMORISED = 0.3  # relative fall of the training loss
SAME_SIGNALS = 0.5  # decades between the first layer's share of the gradient and that in a good run
NOTHING_HOLDS = 0.9  # times chance, for the best validation loss
MOVED = 0.6  # relative change of the weights: memorising moves them more than learning does


@probe(say("validation accuracy never leaves chance"), curve("val/accuracy"), holds=0.6, fails=-2.5)
def validation_at_chance(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet == "noise":
        return None  # what is true of it was learned
    best = skill(e, "val", best=True)
    if best is None:
        return None
    if AT_CHANCE <= best < CLEARLY:
        return None
    return Reading(abs(best) < AT_CHANCE, say("at its best it is {best:.0%} of the way from guessing to perfect", best=best))


@probe(say("training memorises while validation gets worse than guessing"), VALIDATION, holds=2.4, fails=-1.2)
def memorises(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet == "noise":
        return None  # what is true of it was learned
    train, val = e.curve("train/loss.epoch") or e.curve("train/loss"), e.curve("val/loss")
    if train is None or val is None:
        return None
    level = to_chance(e, val.final)
    best = to_chance(e, val.best)
    if level is None or best is None:
        return None
    thrown = (to_chance(e, train.start) or 1.0) > SANE  # what it fell from was not learned
    falls = train.net_change < -0.05 and not thrown and (to_chance(e, train.final) or 0.0) < BELOW_CHANCE
    stuck = not falls and abs(level - 1) < NEAR  # too weak or too short to memorise anything
    return Reading(
        falls and level > 1.0 and best > 0.9,
        share=0.4 if stuck else 1.0,
        detail=say(
            "train loss changed by {net:+.0%}; validation is at {level:.2f} × chance and was never below {best:.2f} ×",
            net=train.net_change,
            level=level,
            best=best,
        ),
    )


@probe(say("the training labels were learned within a few passes, as only labels are that belong to their inputs"), VALIDATION, holds=-2.0, fails=0.0)
def learned_at_once(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet == "noise":
        return None  # what is true of it was learned
    passes = few_passes(e)
    return None if passes is None else Reading(True, say("training loss was halved in {passes:.2g} passes over the data", passes=passes))


@probe(say("training came to rest half-way, as learning by heart does not"), CHANCE, holds=-2.0)
def at_rest(e: Evidence, seen: Sighting) -> Reading | None:
    level = rests_half_way(e)
    return None if level is None else Reading(True, say("it rests at {level:.2f} × chance", level=level))


@probe(say("the weights moved a long way all the same"), TWO_CHECKPOINTS, holds=0.9, fails=-1.0)
def moved_far(e: Evidence, seen: Sighting) -> Reading | None:
    change = e.weights.change_median
    if change is None or (e.weights.scale_drift or 0.0) < SHRANK:
        return None
    detail = say("they changed by {change:.2g} relative to their size", change=change)
    loss = course(e)
    if CREPT < change <= MOVED and loss is not None and loss.net_change > -MEMORISED:
        return None  # nothing was memorised, and nothing is what hardly moves the weights
    return Reading(change > MOVED, detail)


@probe(
    say("start, learning rate and updates are sound, and still nothing is learned: what is missing is in the data"),
    CHANCE,
    TWO_CHECKPOINTS,
    holds=1.6,
)
def signal_missing(e: Evidence, seen: Sighting) -> Reading | None:
    w, loss, decades = e.weights, course(e), rate_decades(e)
    level = to_chance(e, loss.final) if loss is not None else None
    if (e.last_epoch is not None and e.last_epoch < PASSES) or few_updates.ask(e, seen) is not None:
        return None
    if level is None or decades is None or w.change_median is None or w.identical_share is None:
        return None
    start = to_chance(e, max(loss.first, loss.start)) if loss is not None else None
    sound = -LOW_RATE < decades < USUAL and (start or 1.0) < SANE and starts_normal(e) is not False and abs(w.first_median_scale or 0.0) < USUAL_SCALE
    updated = w.identical_share < 0.05 and w.change_median > CREPT and (w.change_first_to_last_layer or 1.0) > EVEN
    wide = not is_narrow(e) and (w.scale_drift or 0.0) > -1.0 and (w.lowest_hidden_bias or 0.0) > NEVER_FIRES
    alive = wide and (w.gradient_depth_ratio or 0.0) > -3 and not w.gradient_dead_layers and not w.symmetric_share
    if not (sound and updated and alive and abs(level - 1) < NEAR):
        return None
    return Reading(True, say("all layers moved (by {change:.2g}) and the loss ends at {level:.2f} × chance", change=w.change_median, level=level))


@probe(say("recorded labels have nothing to do with their inputs"), BATCH_STATISTICS, holds=3.0, fails=-4.0)
def unrelated(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.batches
    if b is None or b.relation is None or b.relation_z is None or UNRELATED <= b.relation_z < RELATED:
        return None
    if b.relation_z < UNRELATED and b.relation_samples < ENOUGH:
        return None
    told = say(
        "of {n} samples, nearest neighbours and a linear fit get {gain:.0%} of the way from guessing to perfect ({z:.1f} standard errors)",
        n=b.relation_samples, gain=max(b.relation, 0.0), z=b.relation_z,
    )  # fmt: skip
    return Reading(b.relation_z < UNRELATED, told)


@probe(say("a good run with the same settings learns, and this one gets the same signals and learns nothing that holds"), BASELINE, holds=2.5)
def good_run_learns(e: Evidence, seen: Sighting) -> Reading | None:
    b, val = e.baseline, e.curve("val/loss")
    if b is None or not same_settings(e) or b.training is not False or b.validation_at is None or val is None:
        return None
    if b.depth_shift is None or abs(b.depth_shift) > SAME_SIGNALS:
        return None
    best, level = skill(e, "val", best=True), to_chance(e, val.best)
    if not (level > NOTHING_HOLDS if level is not None else best is not None and best < CLEARLY):
        return None
    return Reading(
        True,
        say("beside the last layer, the first one gets {ratio:.2g} × what it gets in the good run: the inputs say as much", ratio=10**b.depth_shift),
    )


only_worse = seen_as("worse", claim=say("validation got worse from its first evaluation on: what training learned holds for nothing else"), holds=2.5)
below_validation = seen_as("noise", claim=say("training stays far below validation, which nothing but wrong labels of its own explains"), holds=4.5)


@probe(say("the policy left its reference, and prefers neither of the two answers"), holds=3.7)
def prefers_neither(e: Evidence, seen: Sighting) -> Reading | None:
    chosen, rejected, margins = (preferred(e, what) for what in ("chosen", "rejected", "margins"))
    if seen.facet != "coin" or chosen is None or rejected is None or margins is None:
        return None
    moved = min(abs(chosen.final), abs(rejected.final))
    return Reading(
        moved > APART * abs(margins.final),
        say(
            "rewards end at {chosen:.3g} and {rejected:.3g}, their margin at {margin:.3g}",
            chosen=chosen.final,
            rejected=rejected.final,
            margin=margins.final,
        ),
    )


wrong_labels = Cause(
    id="wrong-labels",
    title=say("The labels do not belong to the inputs"),
    mechanism=say(
        "With shuffled or shifted labels there is nothing to learn that holds for new data: the network memorises what it saw, and validation stays at "
        "chance or gets worse."
    ),
    probes=(
        validation_at_chance,
        memorises,
        at_rest,
        learned_at_once,
        moved_far,
        unrelated,
        signal_missing,
        good_run_learns,
        prefers_neither,
        below_validation,
        only_worse,
        nothing_learned_at_all(holds=-2.0, fails=0.3),
    ),
    fixes=remedies.only(
        say("Check that each input meets its own label, after shuffling, batching and augmentation"),
        say("Look at twenty examples as the model sees them, with their labels."),
        {"pytorch": "x, y = next(iter(train_loader))\nprint(x.shape, x.min(), x.max(), torch.bincount(y))\n# show x[:20] with y[:20]"},
    ),
    by_hand=(
        say("Show twenty inputs of a batch with their labels, as the model gets them."),
        say("Shuffle the labels on purpose: if the result is the same, they were wrong before."),
    ),
)
