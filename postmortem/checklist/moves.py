"""A loss that does not fall and is no standstill: what it does instead, and what it learns all the same."""

from math import isfinite
from statistics import fmean, stdev

from postmortem.check import Cleared, Clue, Evidence, Unknown, say
from postmortem.checklist.falls import never_bends
from postmortem.checklist.levels import RISING, relative_fall, risen_score, skill, to_chance, whole
from postmortem.checklist.limits import asked, is_above, is_below, share_is_below
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.rates import pretrained
from postmortem.checklist.signs import FEW_OF_AN_ATTEMPT, before_it_grew, excerpt, file_of
from postmortem.checklist.standstill import TOO_HIGH, comes_down, fine_tuned, is_stuck, rate_too_low, rests_at_chance, thrown_to_chance
from postmortem.checklist.warmup import total_steps
from postmortem.model.curves import CurveStats

LITTLE = 0.1  # share of the starting loss: what a fault lets through, and healthy runs pass (they gain 0.21 to 1)
KNOWS_NOTHING = 0.9  # times chance
LONG_EXCERPT = 1.4  # last step / first step from which a piece of a log is long enough to show a trend
CREPT = 0.03  # relative change of the weights over the run
STEADY = 30  # records over which a fall is a trend, however small
GROWN = 1.2  # times where it began
FALLING = -0.5  # Kendall's tau
LEARNED = 0.3  # share of the way from guessing to perfect accuracy
FAR_ABOVE, JUST_ABOVE = 2.0, 1.1  # times chance
GOOD_ALREADY = 0.5  # times chance: a model that works; at the start, fine-tuning
COME_DOWN = 0.5  # × the first loss of the first attempt
A_LITTLE, ONCE, CALM = 0.03, 0.22, 0.1  # of its level: what noise moves; of the first record: what the first ones take off; scatter of the others
FIRST, FEWEST, SIGMA = 2, 6, 2.0  # records that may lie above; of the others; standard errors
KNOWS_MORE = 0.05  # of the answers
HARDLY = 0.1  # of the configured rate, of the planned steps; a loss
FIVE, TO_FIVE_DIGITS = 5, 1e-5  # records; of their level
KNEW = 8  # records among which the best level is no accident


def elsewhere(e: Evidence, loss: CurveStats) -> Cleared | Unknown | None:
    """It need not fall from where the log begins, or did something worse than stand still."""
    return (
        _begins_in_the_middle(e, loss)
        or _has_hardly_warmed_up(e)
        or _goes_on(e, loss)
        or _knew_the_task(e, loss)
        or _ran_away(e, loss)
        or _lost_again(e, loss)
    )


def learns(e: Evidence, loss: CurveStats) -> Cleared | None:
    """It falls, if slowly, or what it is trained for is learned meanwhile."""
    moves = None if at_chance_level(e, loss) or is_stuck(e) else _fell(e, loss) or _falls_slowly(e, loss) or _score_rose(e, loss)
    return moves or _knows_something(e, loss)


def at_chance_level(e: Evidence, loss: CurveStats) -> bool:
    """It ends where guessing does, or above without having run away."""
    level = to_chance(e, loss.final)
    if level is None or level <= KNOWS_NOTHING or skilled(e):
        return False
    slowly = (
        relative_fall(loss) >= LITTLE and comes_down(loss, level) and (rate_decades(e) or 0.0) < TOO_HIGH
    )  # and not back from where it was thrown
    return not (level > FAR_ABOVE and _grew(e, loss)) and not slowly


def _grew(e: Evidence, loss: CurveStats) -> bool:
    given_back = loss.lost_ground > 0.5 and loss.final > 2.0 * abs(loss.best) and loss.final - loss.best > SIGMA * loss.noise
    return (loss.final > GROWN * before_it_grew(e, loss) or given_back) and loss.floor == 0


def _begins_in_the_middle(e: Evidence, loss: CurveStats) -> Unknown | None:
    """A piece of a log that is too short to show a trend, and does not rest at guessing either."""
    short = excerpt(e) and (loss.last_step < LONG_EXCERPT * loss.first_step or loss.finite < FEW_OF_AN_ATTEMPT)
    if (
        not short
        or loss.constant
        or _same_for_all_batches(loss)
        or rests_at_chance(loss)
        or (at_chance_level(e, loss) and (to_chance(e, loss.final) or 0.0) < JUST_ABOVE)
    ):
        return None
    return Unknown(say("Not measured: the log begins in the middle of training, at step {step:g}.", step=loss.first_step))


def _same_for_all_batches(loss: CurveStats) -> bool:
    """To five digits the same in each of several records, which no two batches are to a model that tells anything apart: all of its outputs are one.
    Where next to nothing is left of the loss, that is what was learned."""
    return loss.finite >= FIVE and loss.final > HARDLY and loss.highest - loss.lowest < TO_FIVE_DIGITS * loss.final


def _has_hardly_warmed_up(e: Evidence) -> Unknown | None:
    """The log ends early in the warm-up, where the learning rate is a small part of what is configured: no loss falls there."""
    rate, meant, whole_run = e.curve("lr"), e.number("learning_rate"), total_steps(e)
    if rate is None or meant is None or not rate.finite or not rate.first < rate.last == rate.highest < HARDLY * meant:
        return None
    if not whole_run or e.last_step is None or e.last_step > HARDLY * whole_run:
        return None  # what a whole run was trained with is its fault
    return Unknown(
        say("Not measured: the log ends in the warm-up, at {share:.2g} of the learning rate of {rate:g}.", share=rate.last / meant, rate=meant)
    )


def _goes_on(e: Evidence, loss: CurveStats) -> Cleared | None:
    """The log holds an earlier training, and this one begins far below where that one did: it goes on with what was learned."""
    began = e.attempts[0].first_loss if len(e.attempts) > 1 else None
    if began is None or began <= 0 or loss.first >= COME_DOWN * began:
        return None
    far = is_above(say("{name} at its start (× that of the first attempt)", name=loss.name), loss.first / began, COME_DOWN, file_of(e, loss.name))
    return Cleared(
        say("It began at {first:.4g}, where an earlier attempt had brought the loss from {began:.4g}.", first=loss.first, began=began), (far,)
    )


def _knew_the_task(e: Evidence, loss: CurveStats) -> Cleared | None:
    first = to_chance(e, loss.start)
    if first is None or first >= GOOD_ALREADY:
        return None
    fresh = is_above(say("{name} at the start (× chance)", name=loss.name), first, GOOD_ALREADY, file_of(e, loss.name))
    return Cleared(say("The loss started at {first:.0%} of the chance level: the model already knew the task.", first=first), (fresh,))


def _ran_away(e: Evidence, loss: CurveStats) -> Cleared | None:
    level, base = to_chance(e, loss.final), before_it_grew(e, loss)
    far = level is None or level >= FAR_ABOVE or ((e.chance.loss or 0.0) > 3.0 and level > 1.25)
    if not far or not _grew(e, loss):
        return None
    why = say("The loss grew from {start:.4g} to {final:.4g}: it does not stand still, it ran away.", start=loss.start, final=loss.final)
    of_start = loss.final / base if base > 0 else None
    grown = is_below(say("{name} at the end (× its start)", name=loss.name), of_start, GROWN, file_of(e, loss.name))
    return Cleared(why, (grown, *_figures(e, loss)))


def _lost_again(e: Evidence, loss: CurveStats) -> Cleared | None:
    known = to_chance(e, loss.best)
    if known is None or known >= GOOD_ALREADY or loss.lost_ground <= 0.5 or loss.finite < KNEW:
        return None
    best = is_above(say("{name} at its best (× chance)", name=loss.name), known, GOOD_ALREADY, file_of(e, loss.name))
    why = say("The loss had come down to {best:.4g} at step {step:g}: what it knew it lost again.", best=loss.best, step=loss.best_step)
    return Cleared(why, (best, *_figures(e, loss)))


def _fell(e: Evidence, loss: CurveStats) -> Cleared | None:
    gained = relative_fall(loss)
    if gained < LITTLE or thrown_to_chance(e, loss) is not None or fell_once(e, loss):
        return None
    why = say("The loss fell from {start:.4g} to {final:.4g} ({gained:.0%}).", start=loss.start, final=loss.final, gained=gained)
    return Cleared(why, _figures(e, loss))


def fell_once(e: Evidence, loss: CurveStats) -> bool:
    """A little came off in the first two records, and all others go nowhere, of validation too: what was learned in those is the mean of the
    targets. Of training alone that is no sign: a game against oneself looks so, and a model that was nearly trained before."""
    val = e.curve("val/loss")
    if val is None or min(loss.finite, val.finite) < KNEW or pretrained(e) or fine_tuned(e):
        return False
    right = e.curve("val/accuracy")
    knows_more = right is not None and right.best - right.first > KNOWS_MORE * whole(right)
    return not knows_more and _goes_nowhere(e, loss.name) and _goes_nowhere(e, val.name)


def _goes_nowhere(e: Evidence, name: str) -> bool:
    """Of a curve's records, the first two aside."""
    values = [float(v) for v in e.series[name].values]
    rest = values[FIRST:]
    if len(rest) < FEWEST or not all(map(isfinite, values)):
        return False
    half = len(rest) // 2
    level, scatter = fmean(rest), stdev(rest)
    apart = abs(fmean(rest[:half]) - fmean(rest[-half:]))
    return 0 < values[0] - level < ONCE * values[0] and apart < min(SIGMA * scatter / half**0.5, A_LITTLE * level) and scatter < CALM * level


def _falls_slowly(e: Evidence, loss: CurveStats) -> Cleared | None:
    """A fall too small to tell, and too steady for a loss that stands still: from near its floor, or from where earlier training had left it."""
    trend, gained = loss.trend, relative_fall(loss)
    crept = rate_too_low(e) or (e.weights.change_median or 1.0) < CREPT or (never_bends(e, loss) and not fine_tuned(e))
    if trend is None or crept:
        return None
    steady = gained >= 0.03 and trend.tau < FALLING
    went_on = to_chance(e, loss.final) is None and pretrained(e) and gained > 0
    sure = trend.p_value < 1e-6 if loss.finite >= STEADY else went_on and trend.tau < -0.8
    if not sure or not (steady or went_on):
        return None
    slowly = say("The loss falls slowly and steadily, by {gained:.0%}: it may have begun near its floor.", gained=gained)
    tau = is_above(say("Kendall's tau of {name}", name=loss.name), trend.tau, FALLING, file_of(e, loss.name))
    fresh = asked(say("training begins from scratch"), False, say("the configuration names what was trained before"))
    return Cleared(slowly, (tau if steady else fresh, *_figures(e, loss)))


def _score_rose(e: Evidence, loss: CurveStats) -> Cleared | None:
    scored = risen_score(e)
    if scored is None or scored.trend is None:
        return None
    better = say(
        "{name} went from {start:.3g} to {final:.3g} meanwhile: what it is trained for is learned.",
        name=scored.name,
        start=scored.start,
        final=scored.final,
    )
    tau = is_below(say("Kendall's tau of {name}", name=scored.name), scored.trend.tau, RISING, file_of(e, scored.name))
    return Cleared(better, (tau, *_figures(e, loss)))


def _knows_something(e: Evidence, loss: CurveStats) -> Cleared | None:
    known = skilled(e) and relative_fall(loss) >= 0.02
    return Cleared(say("Accuracy is well above chance."), _figures(e, loss)) if known else None


def skilled(e: Evidence) -> bool:
    return any((skill(e, split) or 0.0) > LEARNED for split in ("train", "val"))


def _figures(e: Evidence, loss: CurveStats) -> tuple[Clue, ...]:
    """What a model that learns nothing would show in."""
    file, best = file_of(e, loss.name), max((s for s in (skill(e, "train"), skill(e, "val")) if s is not None), default=None)
    return (
        share_is_below(say("the fall of {name} from start to end", name=loss.name), relative_fall(loss), LITTLE, file),
        is_above(say("{name} at the end (× chance)", name=loss.name), to_chance(e, loss.final), KNOWS_NOTHING, file),
        share_is_below(
            say("the way of accuracy from guessing to perfect"), best, LEARNED, file_of(e, "val/accuracy") or file_of(e, "train/accuracy")
        ),
    )
