"""Loss, gradients or weights grow without bound."""

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Sighting, Unknown, probe, say
from postmortem.checklist.causes.accumulating_gradients import accumulating_gradients
from postmortem.checklist.causes.bad_initialization import bad_initialization
from postmortem.checklist.causes.batch_too_small import batch_too_small
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.no_gradient_clipping import no_gradient_clipping
from postmortem.checklist.causes.no_warmup import no_warmup
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.causes.too_much_regularization import too_much_regularization
from postmortem.checklist.causes.wrong_loss import wrong_loss
from postmortem.checklist.growth import (
    ABOVE,
    AS_GOOD_AS_EVER,
    BRIEF,
    GIVEN_BACK,
    GREW,
    LOOKS,
    grew_alone,
    hit_once,
    schedule_did_it,
)
from postmortem.checklist.levels import loss_curve, to_chance
from postmortem.checklist.limits import asked, is_above, is_below, newest, share_is_above, times
from postmortem.checklist.needs import LOSS, LOSS_OR_PLAYERS, WEIGHTS, curve
from postmortem.checklist.optimizers import ABSURD_NORM, LEAP
from postmortem.checklist.players import player_ran_away, values_ran_away
from postmortem.checklist.rewards import policy_was_replaced
from postmortem.checklist.signs import before_it_grew, file_of, from_the_start
from postmortem.checklist.thrown import LARGE_GRADIENT, STEADY, THROWN
from postmortem.model.curves import CurveStats

FEW_NORMS, HUGE = 3, 1e4  # records; a gradient norm


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    player = player_ran_away(e) or values_ran_away(e) or policy_was_replaced(e)
    if player is not None:
        return player
    loss = loss_curve(e)
    if loss is None or not loss.finite:
        if loss is not None and loss.non_finite is not None:
            finite = asked(say("a finite loss was logged"), False, say("{n} records are not finite", n=loss.points), file_of(e, loss.name))
            return Cleared(say("There is no finite loss from which growth could be seen."), (finite,))
        return _norms_alone(e) or Unknown(say("Not measured: this needs train/loss."))
    if schedule_did_it(e, loss):
        jump = is_below(say("the jump of the learning rate between two records (×)"), e.schedule.jump if e.schedule else None, LEAP, file_of(e, "lr"))
        return Cleared(say("The loss ran away right after the learning rate jumped: the schedule did it, and what it left are dead units."), (jump,))
    hit = hit_once(e, loss)
    if hit is not None:
        width = is_above(say("the width of the jump at step {step:g} (records)", step=hit.step), hit.width, BRIEF, file_of(e, loss.name))
        return Cleared(
            say(
                "One record, at step {step:g}, was {ratio:.3g} × its level and the next ones are not: nothing grew, something struck.",
                step=hit.step,
                ratio=hit.ratio,
            ),
            (width,),
        )
    for look in LOOKS:
        seen = look(e, loss)
        if seen is not None:
            spared = grew_alone(e, loss) if seen.facet == "loss" else None
            return seen if spared is None else _a_term_grew(e, loss, spared)
    return Cleared(
        say("The loss ends at {final:.4g} after {start:.4g}; nothing grew without bound.", final=loss.final, start=loss.start), _figures(e, loss)
    )


def _norms_alone(e: Evidence) -> Sighting | None:
    """Nothing but gradient norms was logged, and none is one that training goes on with."""
    norm = e.curve("grad_norm")
    if norm is None or norm.finite < FEW_NORMS or not norm.lowest > HUGE:
        return None
    told = say("The gradient norm is never below {low:.4g}, in {n} records.", low=norm.lowest, n=norm.finite)
    return from_the_start(e, "weights", told, norm.name)


def _a_term_grew(e: Evidence, loss: CurveStats, val: CurveStats) -> Cleared:
    why = say(
        "The loss grew from {start:.4g} to {final:.4g} while {val} went from {first:.4g} to {last:.4g}: a term of the objective grew, not the error.",
        start=loss.first, final=loss.final, val=val.name, first=val.first, last=val.final,
    )  # fmt: skip
    return Cleared(
        why, (is_above(say("{name} at the end (× its best)", name=val.name), val.final / val.best, AS_GOOD_AS_EVER, file_of(e, val.name)),)
    )


def _figures(e: Evidence, loss: CurveStats) -> tuple[Clue, ...]:
    """What each of the looks goes by."""
    base, level, norm, w, file = before_it_grew(e, loss), to_chance(e, loss.final), e.curve("grad_norm"), e.weights, file_of(e, loss.name)
    grown = is_above(say("{name} at the end (× its start)", name=loss.name), loss.final / base if base > 0 else None, GREW, file)
    chance = is_above(say("{name} at the end (× chance)", name=loss.name), level, ABOVE, file)
    rms = times(w.gradient_median) if w.gradient_median is not None and w.gradient_source.startswith("adam") else None
    scale = times(w.highest_scale) if w.highest_scale is not None else None
    return (
        grown if level is None else chance,
        share_is_above(say("the share of what {name} had gained that it gave back", name=loss.name), loss.lost_ground, GIVEN_BACK, file),
        is_below(say("{name} at the end", name=loss.name), loss.final, 0.0, file),
        is_above(
            say("the gradient norm at the end (× its first record)"),
            norm.final / norm.first if norm is not None and norm.first > 0 else None, STEADY, file_of(e, "grad_norm"),
        ),
        is_above(say("the lowest record of the gradient norm"), norm.lowest if norm is not None else None, ABSURD_NORM, file_of(e, "grad_norm")),
        is_above(say("the size of the largest layer (× the usual)"), scale, times(THROWN), newest(e)),
        is_above(say("the gradient per element (root mean square)"), rms, times(LARGE_GRADIENT), newest(e)),
    )  # fmt: skip


@probe(say("the growth is large"), LOSS, holds=1.5, fails=-0.5)
def large(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or not loss.finite or seen.facet in ("negative", "weights", "reference", "player"):  # there it is not the loss that grew
        return None
    level = to_chance(e, max(loss.final, loss.highest if loss.non_finite else loss.final))
    if level is not None:
        return Reading(level > 3, say("the loss reached {level:.3g} × chance", level=level))
    return Reading(loss.peak_log_growth > 0.5, say("the loss grew {times:.3g}-fold", times=10 ** min(loss.peak_log_growth, 300.0)))


@probe(say("the loss is below zero, where no likelihood and no squared error can be"), holds=1.5, fails=0.0)
def impossible(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or seen.facet != "negative" or e.family not in ("classifier", "language-model", "regression"):
        return None
    return Reading(True, say("it ends at {final:.4g}", final=loss.final))


@probe(say("the weights grew with it"), WEIGHTS, holds=1.0, fails=-0.4)
def weights(e: Evidence, seen: Sighting) -> Reading | None:
    scale = e.weights.highest_scale
    if e.weights.first_non_finite is not None:
        return Reading(True, say("they are not finite in {path}", path=e.weights.first_non_finite), e.weights.first_non_finite)
    return None if scale is None else Reading(scale > 0.6, say("the largest layer is {times:.3g} × the default initial size", times=10**scale))


@probe(say("the gradient norm grew"), curve("grad_norm", 3), holds=1.2, fails=-0.7)
def norm(e: Evidence, seen: Sighting) -> Reading | None:
    found = e.curve("grad_norm")
    if found is None or not found.finite:
        return None
    return Reading(
        found.highest > 10 * max(found.start, 1e-30),
        say("its maximum is {times:.3g} × its initial value", times=found.highest / max(found.start, 1e-30)),
    )


CHECK = Check(
    id="exploding-gradients",
    title=say("Exploding gradients"),
    symptom=say("Gradient norm, loss or weights grow without bound; it often ends in NaN or Inf."),
    detect=detect,
    needs=(LOSS_OR_PLAYERS,),
    probes=(large, impossible, weights, norm),
    prior=1.5,
    causes=(
        (learning_rate_too_high, -0.5),
        (no_warmup, -2.5),
        (no_gradient_clipping, -2.0),
        (bad_initialization, -1.5),
        (preprocessing, -2.0),
        (accumulating_gradients, -1.8),
        (wrong_loss, -1.8),
        (batch_too_small, -2.5),
        (too_much_regularization, -3.2),
    ),
    by_hand=(
        say(
            "Log the total gradient norm of every step around the onset: does it grow over many steps (rate, accumulation) or jump in one (a batch)?"
        ),
        say("Print the largest absolute weight and activation per layer at the last good checkpoint."),
    ),
    consequences=(
        "non-finite",
        "loss-not-decreasing",
        "dead-units",
        "loss-spike",
        "oscillating-loss",
        "underfitting",
        "validation-fault",
        "overfitting",
        "vanishing-gradients",
    ),
)
