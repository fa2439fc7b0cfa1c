"""What gradients and weights show of a run that runs away, whatever its loss does: each looks at one thing and says what it saw, or None."""

from dataclasses import replace

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.checklist.inputs import unscaled_targets
from postmortem.checklist.levels import ABSURD, relative_fall, starts_normal, summed_over, to_chance
from postmortem.checklist.optimizers import ABSURD_NORM, rate_decades
from postmortem.checklist.parameters import nothing_moved
from postmortem.checklist.signs import from_the_start, half_is_stated
from postmortem.model.curves import CurveStats

HEIGHT = 1e4  # × its end
BEGAN = 20.0  # × chance
BEGAN_HIGH = 1.75  # × chance, beside weights that were drawn too large
SAME_SIZE = 0.15  # decades
RECOVERED = 0.3  # × chance
SMALL_NORM = 3.0  # of a whole gradient
STEADY = 30.0  # × its first value, for a gradient norm that only ever grows
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
THROWN = 0.65  # decades of weight scale above the default initialisation; healthy runs end below 0.6
ON_AND_ON, MANY_RECORDS = 0.7, 50  # Kendall's tau of a norm that grows with setbacks, while the loss falls little; records
WITHOUT_END, OF_ANY = 300.0, 100.0  # × its first record; a norm


def _drawn_so(e: Evidence) -> bool:
    """The weights are as large in the last checkpoint as in the first, and the rate is none that could have thrown them there before it."""
    w, decades = e.weights, rate_decades(e)
    if w.median_scale is None or w.first_median_scale is None or w.checkpoints < 2 or decades is None:
        return False
    return decades < 1.0 and abs(w.median_scale - w.first_median_scale) < SAME_SIZE


def drawn_too_large(e: Evidence, loss: CurveStats) -> Sighting | None:
    """All layers were drawn many times too large and stayed so, and the loss came down from a height that no loss of fresh weights has, or never left it.
    Where no chance level says how far it came."""
    w = e.weights
    high = loss.first > HEIGHT * loss.final > 0 or loss.lowest > ABSURD
    if e.chance.loss is not None or (w.first_median_scale or 0.0) < THROWN or not _drawn_so(e) or not high:
        return None
    summary = say(
        "The loss began at {first:.3g}, with weights {times:.3g} × their usual size, and ends at {final:.3g}.",
        first=loss.first,
        times=10 ** (w.first_median_scale or 0.0),
        final=loss.final,
    )
    return from_the_start(e, "start", summary, loss.name, "val/loss")


def started_thrown(e: Evidence, loss: CurveStats) -> Sighting | None:
    """It began with weights far too large and a loss to match; what it learned since then does not hold for new data."""
    first, scale = to_chance(e, loss.first), e.weights.first_highest_scale
    after = to_chance(e, c.final) if (c := e.curve("val/loss")) is not None else to_chance(e, loss.final)
    all_layers = (e.weights.first_median_scale or 0.0) >= THROWN  # raw inputs throw the first layer alone
    learned_nothing = 0.9 < (to_chance(e, loss.final) or 0.0) < 1.1
    if first is None or scale is None or after is None or not all_layers or learned_nothing:
        return None
    if (first < BEGAN or after < 0.6 or 0.9 < after < 1.1) and not (first > BEGAN_HIGH and _drawn_so(e)):
        return None
    summary = say(
        "The loss began at {first:.3g} × chance with weights {times:.3g} × their usual size; it ends at {after:.2f} ×.",
        first=first,
        times=10**scale,
        after=after,
    )
    seen = from_the_start(e, "start", summary, loss.name, "val/loss")
    return seen if after > RECOVERED else replace(seen, severity=Severity.MINOR)


def norm_grew(e: Evidence, loss: CurveStats) -> Sighting | None:
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


def absurd_all_along(e: Evidence, loss: CurveStats) -> Sighting | None:
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


def weights_grew(e: Evidence, loss: CurveStats) -> Sighting | None:
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


def thrown_by_the_rate(e: Evidence, loss: CurveStats) -> Sighting | None:
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
