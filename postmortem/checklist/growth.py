"""The ways in which a run is seen to run away: each looks at one thing and says what it saw, or None."""

from itertools import pairwise
from math import isfinite

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.checklist.falls import never_bends
from postmortem.checklist.levels import NOTHING_EXPECTED, starts_absurd, to_chance, whole
from postmortem.checklist.optimizers import rate_decades, rate_leapt
from postmortem.checklist.rewards import left_the_reference
from postmortem.checklist.signs import before_it_grew, excerpt, file_of
from postmortem.checklist.thrown import (
    LEARNED,
    MANY_RECORDS,
    THROWN,
    absurd_all_along,
    drawn_too_large,
    norm_grew,
    started_thrown,
    thrown_by_the_rate,
    weights_grew,
)
from postmortem.model.curves import CurveStats, Spike

MANY_TIMES = 1e3  # × where it began, whatever its noise
GREW = 2.0  # times the start
ABOVE = 2.0  # times chance at the end; healthy runs end below 0.5
LARGE_LOG = 3.0  # ln C of twenty classes: from there on no noise lifts a mean loss by a quarter above it
ABOVE_LARGE = 1.25
FEW, SINCE, E_FOLD = 5, 3, 1.0  # records, of both; evaluations after the best one; ln(validation / its best)
GIVEN_BACK = 0.5  # share of the ground gained
BELOW_ZERO = -1.5  # nats; a Dice coefficient that is subtracted from a cross-entropy reaches −1
NO_END = 1e3  # times the start, for a loss below zero of which the family is not known
DENSITIES = ("poisson", "gaussian", "laplace", "student", "mixture", "density", "flow", "elbo", "tweedie", "gamma", "nll_normal")
ERRORS = frozenset({"td", "mse", "mae", "rmse", "huber"})  # none of them below zero
TURNED_ROUND = frozenset({"neg", "negative", "log", "db", "minus"})
NEARLY_CERTAIN = 0.1  # nats, of a perplexity
RISE_OF, ENDS, MANY_ENDS, FAR_ABOVE_ALL, NOISES = 3, 6, 30, 1.5, 4.0  # records that rise; of the log, at least and at most; × all before; noises
NEARLY_ALL = 0.95  # of the answers
CLIPPED_LOG = 87.3365  # −ln(1.17e-38), the smallest normal float32: what a clipped log of 0 prints
MULTIPLE = 3.0  # × its best
SHARE_OF_START = 0.1
FALLEN = 0.7  # of its highest smoothed level
TOP = 50.0  # × where it began; what goes beyond was thrown
BEYOND = 1e20
BEYOND_ANY_NORM, NATS = 1e11, 50.0  # 2^32, the largest loss scale that is begun with, times a few; nats
RISEN = 1.4  # final / start of a loss that rises from record to record
BEFORE_NAN = 0.3  # decades of growth right before the first NaN
STRUCK = 1e3  # × the level before
ORDINARY_RATE = 0.9  # decades above the usual rate
LEFT_BELOW = 100.0  # × the level after
BRIEF = 2  # records
ABOUT, PART, TALL = 20, 0.2, 10.0  # records; the share of them; × its start, for the highest
FEWEST_CLIMBING, CLIMBS = 8, 0.6  # records since the best one; their Kendall's tau
SETTLED_BY, MANY_TO_SETTLE, A_FEW, HARDLY_MORE = 0.6, 12, 4.0, 0.1  # of the run; records; × where it began; of the rise
ONLY_FALLS, A_FRACTION, FAR_ABOVE = 8, 0.2, 100.0  # records; of the second record; × the first one
BACK = 0.2  # Kendall's tau since the best record
RESTORED = 1e-3  # of its start
LITTLE_GAIN, FAR_BEYOND = 0.1, 20.0  # of the start; × the noise
SPARED, AS_GOOD_AS_EVER, BETTER = 5, 1.1, 0.99  # evaluations; × the best of them; × the first of them


def schedule_did_it(e: Evidence, loss: CurveStats) -> bool:
    s = e.schedule
    if s is None or s.jump_step is None or not rate_leapt(e) or loss.finite < 4:
        return False
    return loss.first_step < s.jump_step and loss.best_step <= s.jump_step + 0.05 * (loss.last_step - loss.first_step)


def hit_once(e: Evidence, loss: CurveStats) -> Spike | None:
    """A run that had learned, at no extraordinary rate, was struck by one step and never came back; what came after did not grow."""
    worst = max(loss.spikes, key=lambda s: s.value, default=None)
    if worst is None or worst.width > BRIEF or not worst.ratio > STRUCK or not 0 < loss.final < worst.value / LEFT_BELOW:
        return None
    learned = 0 < worst.level < LEARNED * loss.start
    return worst if learned and (rate_decades(e) or 0.0) < ORDINARY_RATE else None


def grew_alone(e: Evidence, loss: CurveStats) -> CurveStats | None:
    """Evaluations that got better and ended as good as ever while the training loss grew to a multiple: what grew is a term of the objective (a
    weight that is warmed up, a penalty), and not the error of the net.
    """
    val = e.curve("val/loss")
    if val is None or loss.name == val.name or val.finite < SPARED or val.non_finite is not None or val.best <= 0:
        return None
    meanwhile, base = e.at(loss.name, val.last_step), before_it_grew(e, loss)
    grown = meanwhile is not None and base > 0 and meanwhile > GREW * base
    from_far = val.first > MULTIPLE * loss.first  # what had been thrown before the first evaluation comes down again
    return val if grown and not from_far and val.final < min(AS_GOOD_AS_EVER * val.best, BETTER * val.first) else None


def _means_stay(e: Evidence, loss: CurveStats) -> bool:
    """The means of the epochs, to within one of the end, keep most of what they gained, and so does validation: what grew are single batches."""
    means = e.curve("train/loss.epoch")
    if e.gap is not None and e.gap.rise > E_FOLD:
        return False
    if means is None or loss.name != "train/loss" or means.finite < SINCE or means.non_finite is not None:
        return False
    apart = (means.last_step - means.first_step) / (means.finite - 1)
    return means.final < means.first and means.lost_ground < GIVEN_BACK and loss.last_step - means.last_step < apart


def _absurd(e: Evidence, loss: CurveStats) -> Sighting | None:
    """Values that only a divergence gives, whatever the task: beyond 1e20, or a log that was clipped at the smallest float."""
    at_first = loss.highest_step == loss.first_step and loss.finite >= FEW and 0 < loss.final < loss.highest / MULTIPLE  # before a first update
    clipped = abs(loss.final - CLIPPED_LOG) < 1e-3 or (abs(loss.highest - CLIPPED_LOG) < 1e-3 and not at_first) or _a_part_is_clipped(e)
    norm = e.curve("grad_norm")
    if norm is not None and norm.finite and norm.highest > BEYOND_ANY_NORM:
        return Sighting(
            Severity.FATAL, say("The gradient norm reached {norm:.3g}, beyond any loss scale.", norm=norm.highest),
            norm.highest_step, norm.highest_step, (loss.name, "grad_norm"), file_of(e, "grad_norm"), "absurd",
        )  # fmt: skip
    if e.curve("train/perplexity") is not None and loss.final > NATS:
        return Sighting(
            Severity.FATAL, say("A cross-entropy of {final:.4g} nats a token is that of no guess.", final=loss.final),
            loss.highest_step, loss.highest_step, (loss.name,), e.series[loss.name].source, "absurd",
        )  # fmt: skip
    worst = max(abs(loss.highest), abs(loss.lowest))
    if not clipped and worst < BEYOND:
        return None
    value = CLIPPED_LOG if clipped else (loss.highest if abs(loss.highest) >= abs(loss.lowest) else loss.lowest)
    return Sighting(
        Severity.FATAL,
        say("The loss is −ln of the smallest float, {value:.6g}: a probability of 0 was clipped.", value=value)
        if clipped
        else say("The loss reached {value:.4g}.", value=value),
        loss.highest_step,
        loss.highest_step,
        (loss.name,),
        e.series[loss.name].source,
        "absurd",
    )


def _a_part_is_clipped(e: Evidence) -> bool:
    """One of the losses that are added up, each with its weight, rests there."""
    parts = (c for n, c in e.curves.items() if n.startswith("other/") and "loss" in n.lower() and c.finite > 1)
    return any(abs(c.last - CLIPPED_LOG) < 1e-3 and abs(c.highest - CLIPPED_LOG) < 1e-3 for c in parts)


def _rises(e: Evidence, loss: CurveStats) -> Sighting | None:
    """A short log in which the loss only ever rises."""
    forgets = loss.finite == SINCE and _rises_and_forgets(e, loss)
    only_up = 4 <= loss.finite <= 30 and loss.trend is not None and loss.trend.tau >= 0.85
    if not (only_up or forgets) or loss.start <= 0 or e.family in NOTHING_EXPECTED:
        return None
    if e.curve("train/perplexity") is not None and loss.final < NEARLY_CERTAIN:
        return None
    if (loss.final < RISEN * loss.start and not forgets) or (to_chance(e, loss.final) or 2.0) < 0.9 or _levels_off(e, loss):
        return None
    return Sighting(
        Severity.FATAL,
        say("The loss rises from record to record, from {start:.4g} to {final:.4g}.", start=loss.start, final=loss.final),
        loss.first_step,
        loss.first_step,
        (loss.name,),
        e.series[loss.name].source,
        "loss",
    )


def _rises_and_forgets(e: Evidence, loss: CurveStats) -> bool:
    """Each record is higher than the one before, and fewer answers are right in each."""
    right = e.series.get("train/accuracy")
    if right is None or len(right) != loss.finite:
        return False
    return all(a < b for a, b in pairwise(e.series[loss.name].values.tolist())) and all(a > b for a, b in pairwise(right.values.tolist()))


def _rose_at_the_end(e: Evidence, loss: CurveStats) -> Sighting | None:
    """A short log ends with records each higher than the one before: by far above all that came before, or at a multiple of the best with most of what
    was gained given back."""
    values = [float(v) for v in e.series[loss.name].values if isfinite(v)]
    before, rise = values[:-RISE_OF], values[-RISE_OF - 1 :]
    if not ENDS <= len(values) <= MANY_ENDS or min(values) <= 0 or e.family in NOTHING_EXPECTED or (to_chance(e, loss.final) or 2.0) < 0.9:
        return None
    if not all(later > earlier for earlier, later in pairwise(rise)):
        return None
    back = (loss.final - min(values)) / max(values[0] - min(values), 1e-12)
    turned = values[-1] > MULTIPLE * min(values) and back > GIVEN_BACK and min(values) in rise[:1]
    above = values[-1] > FAR_ABOVE_ALL * max(before) and values[-1] - max(before) > NOISES * loss.noise
    if not turned and not (above and not excerpt(e)):
        return None
    at = e.series[loss.name].steps[-RISE_OF - 1]
    return Sighting(
        Severity.FATAL,
        say("In its last records the loss rises from {low:.4g} to {final:.4g}, each higher than the one before.", low=rise[0], final=rise[-1]),
        float(at),
        float(at),
        (loss.name,),
        e.series[loss.name].source,
        "loss",
    )


def _before_nan(e: Evidence, loss: CurveStats) -> Sighting | None:
    bad = loss.non_finite
    if bad is None or bad.last_finite is None or bad.recovered:
        return None
    if e.weights.low_precision == "float16" and (bad.growth_before or 0.0) <= BEFORE_NAN:
        return None  # half precision ends at 65,504, whatever the loss
    levels = [to_chance(e, bad.last_finite) or 0.0, to_chance(e, loss.first) or 0.0]
    if (bad.growth_before or 0.0) <= BEFORE_NAN and max(levels) <= 20 and not starts_absurd(e):
        return None
    return Sighting(
        Severity.FATAL,
        say("The loss grew to {last:.4g} and then became {kind} at step {step:g}.", last=bad.last_finite, kind=bad.kind, step=bad.first_step),
        bad.last_finite_step or bad.first_step,
        bad.last_finite_step,
        (loss.name,),
        e.series[loss.name].source,
        "non-finite",
    )


def _ran_away(e: Evidence, loss: CurveStats) -> Sighting | None:
    if loss.final <= 0 or e.family in NOTHING_EXPECTED:
        return None
    level = to_chance(e, loss.final)
    base = before_it_grew(e, loss)
    if _came_down(loss, base) or one_low_record(e, loss) or _levels_off(e, loss) or _still_right(e, loss):
        return None
    beyond = loss.final > MANY_TIMES * max(base, 0.0)
    sure = loss.finite < 10 or loss.final - base > 3 * loss.noise or (e.weights.median_scale or 0.0) > THROWN or beyond
    grown = loss.final > GREW * abs(base) and loss.finite >= 3 and sure
    if level is None:
        away = grown
    else:
        turned = loss.finite >= 4 and loss.final > 3 * loss.best > 0
        thrown = (e.weights.highest_scale or 0.0) > THROWN and level > 3.0
        many_classes = (e.chance.loss or 0.0) > LARGE_LOG and level > ABOVE_LARGE and loss.final > ABOVE_LARGE * base
        away = many_classes or (level > ABOVE and (grown or turned or thrown))
    if (not away and not _gave_back(loss) and not _both_gave_back(e, loss)) or (not beyond and _means_stay(e, loss)):
        return None
    step = loss.best_step if loss.best_step < loss.last_step and loss.best < loss.start else loss.first_step
    return Sighting(
        Severity.FATAL,
        say("The loss was {best:.4g} at step {step:g} and ends at {final:.4g}, never recovering.", best=loss.best, step=step, final=loss.final),
        step,
        step,
        (loss.name,),
        e.series[loss.name].source,
        "loss",
    )


def _still_right(e: Evidence, loss: CurveStats) -> bool:
    """A few records from the end of a training that has nearly every answer right: what is left of the loss there doubles with a single sample."""
    right = e.curve("train/accuracy")
    return excerpt(e) and loss.finite < FEW and right is not None and right.finite > 0 and right.last > NEARLY_ALL * whole(right)


def _gave_back(loss: CurveStats) -> bool:
    """The loss had learned something, turned, gave more than half of it back, and stayed there."""
    if loss.best_step <= loss.first_step and loss.first < loss.start:
        return False  # it gained nothing: its first record alone lies below its level
    periodic = loss.oscillation is not None and loss.oscillation.strength > 0.4  # then its ends depend on where in the period they lie
    after = loss.after_best
    since = after is not None and after.points >= SINCE  # one record alone may be anything
    turned_early = not periodic and since and loss.finite >= 8 and loss.best_step < loss.first_step + 0.9 * (loss.last_step - loss.first_step)
    runs_away = not periodic and after is not None and after.points >= FEWEST_CLIMBING and after.tau > CLIMBS  # and was stopped for it
    turned_for_good = (turned_early or runs_away) and loss.relative_gain > 0.3 and abs(loss.final - loss.best) > 6 * loss.noise
    all_of_it = turned_early and loss.relative_gain > LITTLE_GAIN and loss.lost_ground > 1.0 and loss.final - loss.best > FAR_BEYOND * loss.noise
    if all_of_it and loss.final > loss.start and loss.finite >= MANY_RECORDS:
        return True
    back = loss.final > loss.start or after is None or after.tau > BACK  # and no lucky record, after which all is as before
    return turned_for_good and back and (loss.lost_ground > GIVEN_BACK or _climbs(loss))


def _both_gave_back(e: Evidence, loss: CurveStats) -> bool:
    """In a short log training and validation turned, gave most of what they had gained back, and rose on."""
    if e.gap is None or loss.finite < FEW or e.gap.evaluations < FEW or e.gap.evaluations_after_best < SINCE or not loss.relative_gain > 0.3:
        return False
    return loss.lost_ground > GIVEN_BACK and e.gap.rise > E_FOLD and loss.best_step < loss.first_step + 0.5 * (loss.last_step - loss.first_step)


def _climbs(loss: CurveStats) -> bool:
    """It has gone up for several records to a multiple of its best, and to a level that is no noise around zero."""
    after = loss.after_best
    multiple = loss.best > 0 and loss.final > MULTIPLE * loss.best and loss.final > SHARE_OF_START * loss.start
    return multiple and after is not None and after.points >= 5 and after.tau > 0.5 and after.p_value < 0.05


def _came_down(loss: CurveStats, base: float) -> bool:
    """It rose at first, as losses do while a warm-up lasts, and has fallen ever since."""
    tail = loss.tail
    falls = tail is not None and tail.tau < -0.2 and tail.p_value < 0.01
    return falls and loss.finite >= 30 and loss.final < FALLEN * loss.worst and loss.worst < TOP * max(base, 1e-12)


def _levels_off(e: Evidence, loss: CurveStats) -> bool:
    """It rose, ever more slowly, to a small multiple of where it began, and rests there: a penalty that gains on what was fitted, say."""
    then = e.at(loss.name, loss.first_step + SETTLED_BY * (loss.last_step - loss.first_step))
    rose = loss.final - loss.first
    if then is None or rose <= 0 or loss.finite < MANY_TO_SETTLE or not 0 < loss.final < A_FEW * loss.first or e.chance.loss is not None:
        return False
    return abs(loss.final - then) < HARDLY_MORE * rose and loss.noise < HARDLY_MORE * rose and loss.highest < loss.final + HARDLY_MORE * rose


def one_low_record(e: Evidence, loss: CurveStats) -> bool:
    """The first record alone lies low, and from the second on the loss only falls, to a fraction of it: that record is no level."""
    _, *rest = e.series[loss.name].values.tolist()
    falls = len(rest) >= ONLY_FALLS and all(later <= before for before, later in pairwise(rest))
    return falls and rest[-1] < A_FRACTION * rest[0] and rest[0] < FAR_ABOVE * loss.first


def made_good(loss: CurveStats) -> bool:
    """After its highest record it came down to next to nothing of where it began: what threw it cost steps, and no more."""
    return 0 < loss.final < RESTORED * loss.start and loss.best_step > loss.highest_step


def _negative(e: Evidence, loss: CurveStats) -> Sighting | None:
    if never_negative(e, loss) and loss.start < 0 and loss.final < 0 and loss.finite >= FEW:
        return Sighting(
            Severity.FATAL,
            say(
                "The loss is below zero and ends at {final:.4g}, where {name}, an error of squares or distances, cannot be.",
                final=loss.final,
                name=e.series[loss.name].logged_as,
            ),
            loss.first_step,
            loss.first_step,
            (loss.name,),
            e.series[loss.name].source,
            "negative",
        )
    if loss.final >= 0 or e.family not in ("classifier", "language-model", "regression", "autoencoder", ""):
        return None
    if loss.floor < 0 and not never_bends(e, loss):
        return None  # a similarity that is subtracted: it has a lower end, and comes to it ever more slowly
    setting = e.setting("loss")
    if setting is not None and any(word in str(setting.value).lower() for word in DENSITIES):
        return None
    entropy = e.family in ("classifier", "language-model") and loss.final < BELOW_ZERO  # no probability is above 1
    if not entropy and abs(loss.final) < (3 if e.family else NO_END) * max(abs(loss.start), 1e-9 if e.family else 1.0):
        return None  # a density may have a negative log-likelihood below zero: it settles there
    return Sighting(
        Severity.FATAL,
        say("The loss falls below zero and on to {final:.4g}: it has no lower end.", final=loss.final),
        loss.first_step,
        loss.first_step,
        (loss.name,),
        e.series[loss.name].source,
        "negative",
    )


def never_negative(e: Evidence, loss: CurveStats) -> bool:
    """Its own name says that it is a mean of squares or distances: `td_loss`, `train_mse`."""
    words = set(e.series[loss.name].logged_as.lower().replace("/", "_").split("_")) if loss.name in e.series else set[str]()
    return bool(words & ERRORS) and not words & TURNED_ROUND


def _thrown_about(e: Evidence, loss: CurveStats) -> Sighting | None:
    """For a good part of the run the loss lay at a multiple of where it began, and came back; nobody knows how low it can be."""
    series = e.series.get("train/loss")
    if series is None or e.chance.loss is not None or e.family in NOTHING_EXPECTED or loss.finite < ABOUT or not loss.start > 0:
        return None
    share = float((series.values > MULTIPLE * loss.start).mean())
    if share < PART or not loss.highest > TALL * loss.start or not loss.final < loss.start:
        return None
    if made_good(loss):
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "In {share:.0%} of its records the loss lies at more than three times the {start:.4g} at which it began; it reached {highest:.4g}.",
            share=share,
            start=loss.start,
            highest=loss.highest,
        ),
        loss.first_step,
        loss.first_step,
        (loss.name,),
        series.source,
        "loss",
    )


LOOKS = (
    _absurd,
    _before_nan,
    _rises,
    _rose_at_the_end,
    drawn_too_large,
    started_thrown,
    _ran_away,
    _thrown_about,
    _negative,
    left_the_reference,
    norm_grew,
    absurd_all_along,
    weights_grew,
    thrown_by_the_rate,
)
