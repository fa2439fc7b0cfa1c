"""The ways in which a run is seen to run away: each looks at one thing and says what it saw, or None."""

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.checklist.falls import never_bends
from postmortem.checklist.inputs import unscaled_targets
from postmortem.checklist.levels import NOTHING_EXPECTED, relative_fall, starts_absurd, starts_normal, summed_over, to_chance
from postmortem.checklist.optimizers import ABSURD_NORM, rate_decades, rate_leapt
from postmortem.checklist.parameters import nothing_moved
from postmortem.checklist.rewards import left_the_reference
from postmortem.checklist.signs import before_it_grew, half_is_stated
from postmortem.model.curves import CurveStats, Spike

GREW = 2.0  # times the start
ABOVE = 2.0  # times chance at the end; healthy runs end below 0.5
LARGE_LOG = 3.0  # ln C of twenty classes: from there on no noise lifts a mean loss by a quarter above it
ABOVE_LARGE = 1.25
FEW, SINCE, E_FOLD = 5, 3, 1.0  # records, of both; evaluations after the best one; ln(validation / its best)
GIVEN_BACK = 0.5  # share of the ground gained
BELOW_ZERO = -1.5  # nats; a Dice coefficient that is subtracted from a cross-entropy reaches −1
NO_END = 1e3  # times the start, for a loss below zero of which the family is not known
DENSITIES = ("poisson", "gaussian", "laplace", "student", "mixture", "density", "flow", "elbo", "tweedie", "gamma", "nll_normal")
CLIPPED_LOG = 87.3365  # −ln(1.17e-38), the smallest normal float32: what a clipped log of 0 prints
MULTIPLE = 3.0  # × its best
SHARE_OF_START = 0.1
FALLEN = 0.7  # of its highest smoothed level
TOP = 50.0  # × where it began; what goes beyond was thrown
BEYOND = 1e20
RISEN = 1.4  # final / start of a loss that rises from record to record
HEIGHT = 1e4  # × its end
BEGAN = 20.0  # × chance
BEGAN_HIGH = 1.75  # × chance, beside weights that were drawn too large
SAME_SIZE = 0.15  # decades
RECOVERED = 0.3  # × chance
SMALL_NORM = 3.0  # of a whole gradient
STEADY = 30.0  # × its first value, for a gradient norm that only ever grows
BEFORE_NAN = 0.3  # decades of growth right before the first NaN
LARGE_GRADIENT = -0.7  # log10 of the median gradient RMS from Adam's state; healthy runs lie below −1.5
OUTGROWN = 0.5  # decades above the usual size, of the median layer; healthy runs end below 0.3
FAR = 0.6  # relative change of the weights; healthy runs 0.16 to 0.7
HURLED = 3.0  # decades above the usual size: whatever the rate was, it was too much for these weights
RESTS = 0.5  # share of the run
ORDINARY = 5.0  # × the gradient norm's start
KICKED = 20.0  # × both ends of the loss
LEARNED = 0.5  # times chance; of its start
EXTREME = 1.3  # decades above the usual rate
ABOVE_ANYTHING = 1e3
UNSETTLED = 0.25  # times chance
EVALUATED = 4  # evaluations that are all the same
AT_THE_END, CAME_DOWN = 0.8, 0.9  # of the run; × the first evaluation
STRUCK = 1e3  # × the level before
ORDINARY_RATE = 0.9  # decades above the usual rate
LEFT_BELOW = 100.0  # × the level after
BRIEF = 2  # records
ABOUT, PART, TALL = 20, 0.2, 10.0  # records; the share of them; × its start, for the highest
THROWN = 0.65  # decades of weight scale above the default initialisation; healthy runs end below 0.6
FEWEST_CLIMBING, CLIMBS = 8, 0.6  # records since the best one; their Kendall's tau
ON_AND_ON, MANY_RECORDS = 0.7, 50  # Kendall's tau of a norm that grows with setbacks, while the loss falls little; records
LITTLE_GAIN, FAR_BEYOND = 0.1, 20.0  # of the start; × the noise
WITHOUT_END, OF_ANY = 300.0, 100.0  # × its first record; a norm


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


def _absurd(e: Evidence, loss: CurveStats) -> Sighting | None:
    """Values that only a divergence gives, whatever the task: beyond 1e20, or a log that was clipped at the smallest float."""
    clipped = abs(loss.final - CLIPPED_LOG) < 1e-3 or abs(loss.highest - CLIPPED_LOG) < 1e-3
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


def _rises(e: Evidence, loss: CurveStats) -> Sighting | None:
    """A short log in which the loss only ever rises."""
    if not 4 <= loss.finite <= 30 or loss.trend is None or loss.trend.tau < 0.85 or loss.start <= 0 or e.family in NOTHING_EXPECTED:
        return None
    if loss.final < RISEN * loss.start or (to_chance(e, loss.final) or 2.0) < 0.9:
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
    if _came_down(loss, base):
        return None
    sure = loss.finite < 10 or loss.final - base > 3 * loss.noise or (e.weights.median_scale or 0.0) > THROWN
    grown = loss.final > GREW * max(base, 0.0) and loss.finite >= 3 and sure
    if level is None:
        away = grown
    else:
        turned = loss.finite >= 4 and loss.final > 3 * loss.best > 0
        thrown = (e.weights.highest_scale or 0.0) > THROWN and level > 3.0
        many_classes = (e.chance.loss or 0.0) > LARGE_LOG and level > ABOVE_LARGE and loss.final > ABOVE_LARGE * base
        away = many_classes or (level > ABOVE and (grown or turned or thrown))
    if not away and not (_gave_back(loss) and not _validation_went_on(e)) and not _both_gave_back(e, loss):
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


def _gave_back(loss: CurveStats) -> bool:
    """The loss had learned something, turned, gave more than half of it back, and stayed there."""
    periodic = loss.oscillation is not None and loss.oscillation.strength > 0.4  # then its ends depend on where in the period they lie
    turned_early = not periodic and loss.finite >= 8 and loss.best_step < loss.first_step + 0.9 * (loss.last_step - loss.first_step)
    after = loss.after_best
    runs_away = not periodic and after is not None and after.points >= FEWEST_CLIMBING and after.tau > CLIMBS  # and was stopped for it
    turned_for_good = (turned_early or runs_away) and loss.relative_gain > 0.3 and abs(loss.final - loss.best) > 6 * loss.noise
    all_of_it = turned_early and loss.relative_gain > LITTLE_GAIN and loss.lost_ground > 1.0 and loss.final - loss.best > FAR_BEYOND * loss.noise
    if all_of_it and loss.final > loss.start and loss.finite >= MANY_RECORDS:
        return True
    return turned_for_good and (loss.lost_ground > GIVEN_BACK or _climbs(loss))


def _validation_went_on(e: Evidence) -> bool:
    """Validation came down to the end: a low record of a few noisy batches is no level that was lost."""
    val = e.curve("val/loss")
    if val is None or val.finite < EVALUATED or not val.first > 0:
        return False
    late = val.best_step >= val.first_step + AT_THE_END * (val.last_step - val.first_step)
    return late and val.final < CAME_DOWN * val.first


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


def _drawn_so(e: Evidence) -> bool:
    """The weights are as large in the last checkpoint as in the first, and the rate is none that could have thrown them there before it."""
    w, decades = e.weights, rate_decades(e)
    if w.median_scale is None or w.first_median_scale is None or w.checkpoints < 2 or decades is None:
        return False
    return decades < 1.0 and abs(w.median_scale - w.first_median_scale) < SAME_SIZE


def _came_down(loss: CurveStats, base: float) -> bool:
    """It rose at first, as losses do while a warm-up lasts, and has fallen ever since."""
    tail = loss.tail
    falls = tail is not None and tail.tau < -0.2 and tail.p_value < 0.01
    return falls and loss.finite >= 30 and loss.final < FALLEN * loss.worst and loss.worst < TOP * max(base, 1e-12)


def _drawn_too_large(e: Evidence, loss: CurveStats) -> Sighting | None:
    """All layers were drawn many times too large and stayed so, and the loss came down from a height that no loss of fresh weights has.
    Where no chance level says how far it came."""
    w = e.weights
    if e.chance.loss is not None or (w.first_median_scale or 0.0) < THROWN or not _drawn_so(e) or not loss.first > HEIGHT * loss.final > 0:
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "The loss began at {first:.3g}, with weights {times:.3g} × their usual size, and ends at {final:.3g}.",
            first=loss.first,
            times=10 ** (w.first_median_scale or 0.0),
            final=loss.final,
        ),
        loss.first_step,
        loss.first_step,
        (loss.name, "val/loss"),
        e.series[loss.name].source,
        "start",
    )


def _started_thrown(e: Evidence, loss: CurveStats) -> Sighting | None:
    """It began with weights far too large and a loss to match; what it learned since then does not hold for new data."""
    first, scale = to_chance(e, loss.first), e.weights.first_highest_scale
    after = to_chance(e, c.final) if (c := e.curve("val/loss")) is not None else to_chance(e, loss.final)
    all_layers = (e.weights.first_median_scale or 0.0) >= THROWN  # raw inputs throw the first layer alone
    learned_nothing = 0.9 < (to_chance(e, loss.final) or 0.0) < 1.1
    if first is None or scale is None or after is None or not all_layers or learned_nothing:
        return None
    if (first < BEGAN or after < 0.6 or 0.9 < after < 1.1) and not (first > BEGAN_HIGH and _drawn_so(e)):
        return None
    return Sighting(
        Severity.SERIOUS if after > RECOVERED else Severity.MINOR,
        say(
            "The loss began at {first:.3g} × chance with weights {times:.3g} × their usual size; it ends at {after:.2f} ×.",
            first=first,
            times=10**scale,
            after=after,
        ),
        loss.first_step,
        loss.first_step,
        (loss.name, "val/loss"),
        e.series[loss.name].source,
        "start",
    )


def _negative(e: Evidence, loss: CurveStats) -> Sighting | None:
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


def _norm_grew(e: Evidence, loss: CurveStats) -> Sighting | None:
    norm, val = e.curve("grad_norm"), e.curve("val/loss")
    if norm is None or norm.finite < 4:
        return None
    if nothing_moved(e) or (val is not None and val.constant and val.finite >= EVALUATED):
        return None  # gradients add up, and nothing is done with them
    steadily = norm.trend is not None and norm.trend.tau > 0.9 and norm.finite >= 10
    without_end = 0 < WITHOUT_END * norm.first < norm.final and norm.final > OF_ANY
    on_and_on = norm.trend is not None and norm.trend.tau > ON_AND_ON and norm.finite >= MANY_RECORDS and relative_fall(loss) < 0.3
    steady = steadily and 0 < STEADY * norm.first < norm.final and loss.relative_gain < 0.3
    if (steadily or on_and_on) and without_end:
        return Sighting(
            Severity.SERIOUS,
            say("The gradient norm grew all along, from {start:.3g} to {final:.3g}; the loss does not show it yet.", start=norm.first, final=norm.final),
            norm.best_step, norm.best_step, ("grad_norm", loss.name), e.series["grad_norm"].source, "norm",
        )  # fmt: skip
    if unscaled_targets(e):
        return None  # what the last layer is told grows with its inputs, to the size of the targets
    if steady or (norm.log_growth > 1.5 and norm.final > 10 and loss.lost_ground > 0.3):
        return Sighting(
            Severity.SERIOUS,
            say("The gradient norm grew from {start:.3g} to {final:.3g} while the loss got nowhere.", start=norm.first, final=norm.final),
            norm.best_step,
            norm.best_step,
            ("grad_norm",),
            e.series["grad_norm"].source,
            "norm",
        )
    return None


def _absurd_all_along(e: Evidence, loss: CurveStats) -> Sighting | None:
    """A classifier whose every gradient is far beyond those of healthy runs has learned little: in a recurrent net too large weights multiply
    them, step by step, and the loss stays where it is."""
    norm, level = e.curve("grad_norm"), to_chance(e, loss.final)
    if norm is None or norm.finite < 4 or level is None or level < UNSETTLED or norm.lowest <= ABSURD_NORM:
        return None
    if e.curve("loss_scale") is not None or half_is_stated(e) or summed_over(e):
        return None  # multiplied
    return Sighting(
        Severity.SERIOUS,
        say(
            "The gradient norm is never below {lowest:.3g}, and the loss ends at {level:.2f} × chance: healthy classifiers stay below 30.",
            lowest=norm.lowest,
            level=level,
        ),
        norm.first_step, norm.first_step, ("grad_norm", loss.name), e.series["grad_norm"].source, "norm",
    )  # fmt: skip


def _weights_grew(e: Evidence, loss: CurveStats) -> Sighting | None:
    """Gradients per element ten times those of any healthy run, in a run that began sanely and moved far."""
    w, level = e.weights, to_chance(e, loss.final)
    if w.gradient_median is None or not w.gradient_source.startswith("adam") or level is None or level < UNSETTLED or starts_normal(e) is False:
        return None
    if e.model.parameters and 10**w.gradient_median * e.model.parameters**0.5 < SMALL_NORM:
        return None  # a handful of parameters
    outgrown = (w.median_scale or 0.0) > OUTGROWN and (w.scale_drift or 0.0) > 0.1
    if w.gradient_median < LARGE_GRADIENT - 0.3 * outgrown or (w.change_median or 0.0) < FAR or _one_kick(e, loss):
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "Gradients are {rms:.2g} per element, and the weights moved {change:.2g} times their size.",
            rms=10**w.gradient_median,
            change=w.change_median or 0.0,
        ),
        loss.first_step,
        None,
        (loss.name,),
        "",
        "weights",
    )


def _one_kick(e: Evidence, loss: CurveStats) -> bool:
    """A single batch swelled Adam's moments, which remember it for long: the gradients themselves are ordinary again."""
    norm = e.curve("grad_norm")
    if norm is not None and norm.finite >= 5:
        return norm.final < ORDINARY * norm.start
    return loss.first_step < loss.highest_step < loss.last_step and loss.highest > KICKED * max(loss.start, loss.final)


def _thrown_by_the_rate(e: Evidence, loss: CurveStats) -> Sighting | None:
    """A rate a hundred times the usual one and weights ten times their usual size, where no chance level says how bad the loss is."""
    decades, scale = rate_decades(e), e.weights.highest_scale
    came_back = (to_chance(e, loss.final) or 1.0) < LEARNED
    anything = KICKED * e.chance.loss if came_back and e.chance.loss else ABOVE_ANYTHING
    if decades is not None and decades > EXTREME and loss.highest > max(anything, KICKED * loss.final):
        return Sighting(
            Severity.SERIOUS,
            say("At {times:.3g} × the usual learning rate the loss reached {highest:.3g}.", times=10**decades, highest=loss.highest),
            loss.highest_step,
            loss.first_step,
            (loss.name, "lr"),
            e.series[loss.name].source,
            "rate",
        )
    if e.chance.loss is not None or decades is None or scale is None:
        return None
    if scale < HURLED and (decades < 2.0 or scale < 1.0):
        return None
    if loss.highest <= loss.first and loss.plateau_share > RESTS:  # nothing grew but the weights, and nothing was learned since
        return None
    return Sighting(
        Severity.SERIOUS,
        say("At {times:.3g} × the usual learning rate the weights were thrown to {size:.3g} × their usual size.", times=10**decades, size=10**scale),
        loss.first_step,
        None,
        (loss.name,),
        "",
        "weights",
    )


def _thrown_about(e: Evidence, loss: CurveStats) -> Sighting | None:
    """For a good part of the run the loss lay at a multiple of where it began, and came back; nobody knows how low it can be."""
    series = e.series.get("train/loss")
    if series is None or e.chance.loss is not None or e.family in NOTHING_EXPECTED or loss.finite < ABOUT or not loss.start > 0:
        return None
    share = float((series.values > MULTIPLE * loss.start).mean())
    if share < PART or not loss.highest > TALL * loss.start or not loss.final < loss.start:
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
    _drawn_too_large,
    _started_thrown,
    _ran_away,
    _thrown_about,
    _negative,
    left_the_reference,
    _norm_grew,
    _absurd_all_along,
    _weights_grew,
    _thrown_by_the_rate,
)
