"""Validation is impossible beside training."""

from math import exp

from postmortem.check import Check, Cleared, Evidence, Reading, Sighting, Unknown, probe, say
from postmortem.checklist.beside import beside
from postmortem.checklist.by_heart import guesses_throughout, one_answer_throughout
from postmortem.checklist.causes.batchnorm_eval_mismatch import batchnorm_eval_mismatch, stated_momentum
from postmortem.checklist.causes.broken_evaluation import broken_evaluation
from postmortem.checklist.causes.class_imbalance import class_imbalance
from postmortem.checklist.causes.leakage import leakage
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.train_validation_shift import train_validation_shift
from postmortem.checklist.causes.wrong_labels import wrong_labels
from postmortem.checklist.erratic import ERRATIC
from postmortem.checklist.evaluations import BELOW, FACES, FIRST, LAGS, figures
from postmortem.checklist.falls import rests_half_way
from postmortem.checklist.levels import below_any_guess, skill, to_chance
from postmortem.checklist.levels import learned_at_once as few_passes
from postmortem.checklist.needs import BASELINE, VALIDATION, VALIDATION_OR_ACCURACY, curve
from postmortem.checklist.probes import seen_as
from postmortem.checklist.scores import finds_nothing, nothing_is_right, overlaps_little, ranks_nothing
from postmortem.checklist.signs import only_validation_differs

GOOD = 0.6  # share of the way from guessing to perfect accuracy
NOTHING_HELD = 0.95  # times chance, for the best validation loss
TELLING = ("coin", "finds-nothing", "guesses", "overlap", "none-right", "one-class", "too-good", "same", "same-answer")


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    b = beside(e)
    if b is None:
        return (
            one_answer_throughout(e)
            or guesses_throughout(e)
            or ranks_nothing(e)
            or overlaps_little(e)
            or nothing_is_right(e)
            or finds_nothing(e)
            or Unknown(say("Not measured: this needs val/loss."))
        )
    seen = next((told for face in FACES if (told := face(b)) is not None), None) or ranks_nothing(e) or nothing_is_right(e) or finds_nothing(e)
    why = say("Validation behaves as training would have it (ln ratio {gap:.2f}, best at step {step:g}).", gap=b.gap.gap, step=b.gap.best_step)
    return seen or Cleared(why, figures(b))


@probe(say("validation accuracy is below guessing"), curve("val/accuracy"), holds=2.5, fails=-0.4)
def below(e: Evidence, seen: Sighting) -> Reading | None:
    value = skill(e, "val")
    if value is None:
        right, loss, low = e.curve("val/accuracy"), e.curve("train/loss"), below_any_guess(e)
        if low is None or right is None or loss is None:
            return None
        return Reading(
            low,
            say(
                "it is {right:.1%}; a guess at the first loss of {loss:.3g} gives {guess:.1%}",
                right=right.final,
                loss=loss.first,
                guess=exp(-loss.first),
            ),
        )
    return Reading(value < BELOW, say("{value:.0%} of the way from guessing to perfect", value=value))


@probe(
    say("the training data was learned within a few passes, as nothing is learned by heart, and nothing of it holds for validation"),
    VALIDATION,
    holds=2.0,
    fails=0.0,
)
def learned_at_once(e: Evidence, seen: Sighting) -> Reading | None:
    passes, val = few_passes(e), e.curve("val/loss")
    best = to_chance(e, val.best) if val is not None else None
    if passes is not None and seen.facet == "never-as-good":
        return Reading(True, say("it took {passes:.2g} passes", passes=passes))
    if passes is None or best is None or best < NOTHING_HELD:
        return None
    return Reading(True, say("it took {passes:.2g} passes; validation was never below {best:.2f} × chance", passes=passes, best=best))


@probe(say("training came to rest half-way, as learning by heart does not, and nothing of it holds for validation"), VALIDATION, holds=2.0)
def at_rest(e: Evidence, seen: Sighting) -> Reading | None:
    level, val = rests_half_way(e), e.curve("val/loss")
    best = to_chance(e, val.best) if val is not None else None
    if level is None or best is None or best < NOTHING_HELD:
        return None
    return Reading(True, say("training rests at {level:.2f} × chance; validation was never below {best:.2f} ×", level=level, best=best))


@probe(say("it was bad from the first evaluation"), VALIDATION, holds=0.8, fails=-1.0)
def from_first(e: Evidence, seen: Sighting) -> Reading | None:
    return (
        None
        if e.gap is None or seen.facet in ("erratic", "baseline", "statistics")
        else Reading(e.gap.first_gap > FIRST or seen.facet == "unmoved", say("ln(validation / train) starts at {gap:.2f}", gap=e.gap.first_gap))
    )


@probe(say("it did not turn after a good start, as overfitting does"), VALIDATION, holds=0.6, fails=-1.0)
def no_turn(e: Evidence, seen: Sighting) -> Reading | None:
    val = e.curve("val/loss")
    if e.gap is None or val is None or seen.facet in ("erratic", "baseline", "never-as-good", *TELLING):
        return None
    never_good = (to_chance(e, val.best) or 0.0) > 0.75
    return Reading(e.gap.rise < 0.15 or never_good, say("it rose by {rise:.2f} (ln) since its best", rise=e.gap.rise))


@probe(say("by its accuracy validation is good: it is worse than training, and no more"), curve("val/accuracy"), holds=-1.6, fails=0.0)
def good_after_all(e: Evidence, seen: Sighting) -> Reading | None:
    value = skill(e, "val")
    if value is None or value < GOOD or e.model.batch_norm or seen.facet in ("erratic", *TELLING):
        return None  # batch normalisation at fault leaves an accuracy that is good
    return Reading(True, say("{value:.0%} of the way from guessing to perfect", value=value))


@probe(say("validation jumps about although training falls smoothly"), VALIDATION, holds=1.5, fails=0.0)
def jumps(e: Evidence, seen: Sighting) -> Reading | None:
    if e.gap is None or e.gap.erratic <= ERRATIC:
        return None
    return Reading(True, say("it turned, beyond its noise, at {share:.0%} of the evaluations", share=e.gap.erratic))


@probe(say("batch normalisation evaluates with statistics that have not arrived"), holds=2.0)
def statistics_behind(e: Evidence, seen: Sighting) -> Reading | None:
    lag, momentum = e.weights.running_var_lag, stated_momentum(e)
    if seen.facet == "statistics" and momentum is not None and momentum.holds:
        return momentum
    return Reading(True, say("they have {lag:.0%} of their way to go", lag=lag)) if lag is not None and lag > LAGS else None


@probe(say("training goes as in the good run, and validation does not"), BASELINE, holds=3.0)
def only_validation(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.baseline
    if b is None or b.validation_at is None or not only_validation_differs(e):
        return None
    return Reading(True, say("it is worse from {at:g} on, of {n} evaluations that both have", at=b.validation_at, n=b.evaluations))


telling = seen_as(*TELLING, claim=say("nothing else shows like that"), holds=1.8)
one_pass = seen_as("one-pass", claim=say("after a single pass no sound run is that far apart"), holds=1.8)


CHECK = Check(
    id="validation-fault",
    title=say("Validation at fault"),
    symptom=say("Validation is impossible beside training: bad from the start, below guessing, constant, or too good."),
    detect=detect,
    needs=(VALIDATION_OR_ACCURACY,),
    probes=(below, learned_at_once, at_rest, from_first, no_turn, good_after_all, jumps, statistics_behind, only_validation, telling, one_pass),
    prior=0.5,
    causes=(
        (batchnorm_eval_mismatch, -2.0),
        (train_validation_shift, -0.5),
        (wrong_labels, -1.8),
        (class_imbalance, -1.2),
        (leakage, -3.0),
        (broken_evaluation, -2.0),
        (preprocessing, -2.5),
    ),
    by_hand=(say("Evaluate the training set with the validation code, in eval mode: it must agree with the training loss."),),
    consequences=("overfitting",),
)
