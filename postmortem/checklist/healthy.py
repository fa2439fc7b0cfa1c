"""What a good run looks like: the check behind the verdict "healthy". It is no failure mode and stands outside the list."""

import re
from math import log

from postmortem.check import Check, Cleared, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.by_heart import answers_ahead
from postmortem.checklist.causes.wrong_loss import wrong_loss
from postmortem.checklist.extremes import CAUSES, extreme, unusual
from postmortem.checklist.levels import NOTHING_EXPECTED, course, risen_score, skill, to_chance, validation_level, whole
from postmortem.checklist.modes.precision_fault import SEARCHED
from postmortem.checklist.needs import CHANCE, CONFIG, LOSS, VALIDATION, WEIGHTS, curve
from postmortem.checklist.players import of_players, one_has_won
from postmortem.checklist.policies import preferred
from postmortem.checklist.probes import seen_as
from postmortem.checklist.signs import excerpt, scales_of_overflows, whole_run
from postmortem.model.curves import CurveStats
from postmortem.model.run import EventKind

FAR_BEHIND = -0.2  # ln(validation / train)
POINTS = 0.15  # of accuracy
FAR_AHEAD = 0.3  # of the answers
FEWEST, FEW = 3, 6  # records
SHOWN = ("/loss", "/accuracy", "/score", "/f1", "/auc", "/error", "/perplexity")
OF_TEXT = 0.6  # times chance, of a model of language that learned
DIGITS = 1.5  # printed ones
MORE_THAN_NOTHING, A_LITTLE_WORSE, MUCH_BETTER, LEANS = 0.004, 0.02, 0.1, 0.3  # of the first record; of two; Kendall's tau
ENOUGH_FOR_ONE = 512.0  # a loss scale that needs no care where it left out one step
STEADILY, BY_FEW = 0.8, 0.05  # Kendall's tau of a handful of records, and its p
SMALL_GAIN = 0.3  # share of the start
LOW, RISES, STAYS, HALF = 0.5, 0.5, 0.1, 0.5  # nats; Kendall's tau; of its first record; of all answers
EVALUATED, FAR_ABOVE = 4, 1.0  # evaluations; ln(validation / train)
LITTLE = 0.03  # relative gain below which a trend is no progress
MANY, NO_TREND = 20, 0.1  # records; Kendall's tau
SURELY, FAR_ENOUGH = 5.0, 0.1  # standard errors between the first quarter and the second half; of the start, along the trend
UNSTATED = -2.5  # prior of a cause that only a setting speaks for


ERRORS = ("/mse", "/rmse", "/mae", "/error", "/perplexity")

AGAIN = re.compile(r"(?:^|[/_ ])(?:cyc|cycle|idt|identity|rec|recon|reconstruction|l1)(?:[_ ]|$)", re.IGNORECASE)  # what a generator must give back


def _slowest_part(e: Evidence) -> CurveStats | None:
    """Of losses without a total the one that got least better, where every one did: whatever their weights, their sum fell."""
    parts = [c for n, c in e.curves.items() if n.startswith("other/") and "loss" in n.lower() and c.goal == "lower"]
    return min(parts, key=lambda c: c.relative_gain) if len(parts) > 1 and all(map(_better, parts)) else None


def _progress(e: Evidence) -> CurveStats | None:
    """The curve that shows progress best: a loss, else an accuracy, a score or a reward."""
    loss = course(e)
    if e.family in NOTHING_EXPECTED and loss is None:  # a GAN logs a loss per player and no total
        loss = next((c for c in of_players(e) if c.finite >= 3), None)
    scored = [c for n, c in e.curves.items() if n.endswith(("/accuracy", "/score", "/f1", "/auc")) or n == "reward"]
    if e.family == "reinforcement" and "reward" not in e.curves:  # of several agents, each has its own
        scored += [c for n, c in e.curves.items() if n.startswith("other/") and c.goal == "higher" and n.lower().endswith(("reward", "return"))]
    if loss is None or loss.finite < 3:  # no loss to speak of: an error measure is as good
        scored += [c for n, c in e.curves.items() if n.endswith(ERRORS)]
    if loss is None and not scored and e.family not in NOTHING_EXPECTED:
        return _slowest_part(e)
    if loss is None or loss.finite < 3 or loss.highest == 0.0 or e.family in NOTHING_EXPECTED:
        return max(scored, key=lambda c: c.finite, default=loss)
    return loss


def _piece(e: Evidence) -> tuple[str, ...]:
    """Names of what got better in a piece of a training that is too short to show a trend, and in which nothing got worse. Empty where it is no such
    piece, or shows nothing of the kind."""
    curves = [c for n, c in e.curves.items() if c.finite >= 2 and (n.endswith(SHOWN) or n == "reward") and not n.startswith(("test", "other/"))]
    main = next((c for c in (course(e), *curves) if c is not None and c.finite >= 2 and not c.highest == c.lowest == 0.0), None)
    if main is None or not (excerpt(e) or (main.finite < FEW and not whole_run(e))) or any(c.non_finite is not None for c in (*curves, main)):
        return ()
    better = tuple(c.name for c in curves if _gain(c) > MORE_THAN_NOTHING)
    worse = [c for c in curves if c.name.startswith("val") and _gain(c) < -A_LITTLE_WORSE]
    never = [c for c in curves if c.goal == "higher" and c.highest == c.lowest == 0.0]
    if main.name not in better or worse or never:
        return ()
    if main.finite < FEWEST:
        return better if len(better) > 1 or _gain(main) > MUCH_BETTER else ()
    leans = main.trend is not None and (-main.trend.tau if main.goal == "lower" else main.trend.tau) > LEANS
    return better if main.finite == FEWEST or len(better) > 1 or leans else ()


def _rests_low(e: Evidence, loss: CurveStats) -> bool:
    """A piece from the middle of a training in which the loss is small in nats, and in variances of a standardised target, and stays so; nothing
    else that was logged is bad."""
    if not excerpt(e) or loss.goal != "lower" or not loss.name.endswith("/loss") or loss.highest == loss.lowest == 0.0:
        return False
    stays = (
        loss.final < LOW
        and loss.highest < LOW
        and loss.last - loss.first < STAYS * abs(loss.first)
        and (loss.trend is None or loss.trend.tau < RISES)
    )
    return stays and _far_above_training(e) is None and all(c.final > HALF * whole(c) for c in _shares(e))


def _shares(e: Evidence, *splits: str) -> list[CurveStats]:
    """Shares of answers that are right."""
    return [c for n, c in e.curves.items() if n.endswith(("/accuracy", "/f1", "/auc")) and n.startswith(splits or "") and c.finite]


def _far_above_training(e: Evidence) -> float | None:
    """ln(validation / train) of the last of few evaluations, too few to be compared with training in any other way; None where it is not high."""
    seen = next((c for n in ("val/loss", "test/loss") if (c := e.curve(n)) is not None and c.finite), None)
    train = e.curve("train/loss")
    mostly_right = any(c.final > HALF * whole(c) for c in _shares(e, "val/", "test/"))
    if seen is None or train is None or mostly_right or not train.finite or seen.finite >= EVALUATED or train.final <= 0.0 or seen.last <= 0.0:
        return None
    apart = log(seen.last / train.final)
    return apart if apart > FAR_ABOVE else None


def _gain(c: CurveStats) -> float:
    """What its last record is better than its first by, of the first; 0 where that is no more than rounding."""
    gain = (c.first - c.last) if c.goal == "lower" else (c.last - c.first)
    return gain / abs(c.first) if c.first and abs(gain) > DIGITS * (c.quantum or 0.0) else 0.0


def _scale_looked_for(e: Evidence) -> tuple[int, float] | None:
    """How many steps a dynamic loss scale left out, and how low it came, where it stays far above nothing and next to nothing else was logged."""
    left_out, scales = len(e.events_of(EventKind.OVERFLOW)), scales_of_overflows(e)
    if not scales or min(scales) < (ENOUGH_FOR_ONE if left_out == 1 else SEARCHED) or any(c.non_finite is not None for c in e.curves.values()):
        return None
    return left_out, min(scales)


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    shown, found = _progress(e), _scale_looked_for(e)
    if (shown is None or shown.finite < FEWEST) and found is not None:
        told = say(
            "{n} steps were left out because of overflow, and the loss scale stays at {low:g}: that is how a dynamic loss scale finds its size.",
            n=found[0],
            low=found[1],
        )
        return Sighting(Severity.MINOR, told, facet="scale")
    better = _piece(e)
    if better and shown is not None and (shown.finite < FEWEST or not _made_progress(e)):
        told = say("In this piece of a training {names} got better, and no check of the list found a fault.", names=", ".join(better))
        return Sighting(Severity.MINOR, told, facet="piece")
    if shown is not None and shown.finite >= FEWEST and _rests_low(e, shown):
        told = say(
            "In this piece of a training {name} rests at {final:.3g}: so little is left of what was learned before.",
            name=shown.name,
            final=shown.final,
        )
        return Sighting(Severity.MINOR, told, facet="piece")
    if shown is None:
        return Unknown(say("No loss was found, so there is nothing to judge training by."))
    if shown.finite < FEWEST:
        return Unknown(say("There are only {n} finite records of {name}: too few to judge.", n=shown.finite, name=shown.name))
    return Sighting(
        Severity.MINOR,
        say(
            "{name} went from {start:.4g} to {final:.4g} over {n} records, and no check of the list found a fault.",
            name=shown.name,
            start=shown.start,
            final=shown.final,
            n=shown.points,
        ),
    )


def _better(c: CurveStats) -> bool:
    """A trend in the right direction that is no accident: steady over a few points, slight over many, or behind noise and yet by much."""
    t, h = c.trend, c.halves
    if t is None or (t.tau < 0) != (c.goal == "lower"):
        return False
    apart = h is not None and (h.fell if c.goal == "lower" else -h.fell) > SURELY
    far = abs(t.slope) * (c.last_step - c.first_step) > FAR_ENOUGH * abs(c.start)
    significant = t.p_value < (1e-3 if far else 1e-5)
    steady = t.points < MANY and abs(t.tau) > STEADILY and t.p_value < BY_FEW
    return steady or (abs(t.tau) > 0.5 and t.p_value < 0.01) or (abs(t.tau) > 0.2 and significant) or (apart and far)


def _by_chance(c: CurveStats) -> bool:
    """A score without any trend that ends within its own scatter: its best record is the luckiest, as a rate of success near nothing has them."""
    no_trend = c.trend is not None and c.trend.points >= MANY and abs(c.trend.tau) < NO_TREND
    return c.goal == "higher" and c.name != "reward" and no_trend and c.final - c.start <= 2.0 * c.noise


scale_found = seen_as("scale", claim=say("a few steps left out at a high loss scale harm nothing"), holds=1.2)


piece = seen_as("piece", claim=say("the piece that is there looks as a sound training does"), holds=1.2)


@probe(say("training made progress"), holds=1.5, fails=-1.0)
def progressed(e: Evidence, seen: Sighting) -> Reading | None:
    return None if seen.facet in ("scale", "piece") else _progress_shown(e)


def _made_progress(e: Evidence) -> bool:
    progress = _progress_shown(e)
    return progress is not None and progress.holds


def _progress_shown(e: Evidence) -> Reading | None:
    shown, margins = _progress(e), preferred(e, "margins")
    if e.family == "preference" and margins is not None and margins.final > 0 and _better(margins):
        return Reading(
            True, say("the margin of chosen over rejected answers went from {start:.3g} to {final:.3g}", start=margins.start, final=margins.final)
        )
    if e.family == "gan":
        again = next((c for n, c in e.curves.items() if AGAIN.search(n) and c.relative_gain > LITTLE and _better(c)), None)
        if again is not None:
            return Reading(True, say("{name} got better by {gain:.0%}", name=again.name, gain=again.relative_gain))
    if shown is None or (e.family in NOTHING_EXPECTED and e.family != "contrastive" and shown.goal == "lower" and not shown.name.endswith(ERRORS)):
        return None
    val = e.curve("val/loss")
    steady = any(c.relative_gain > LITTLE and _better(c) for c in (shown, val, e.curve("val/accuracy")) if c is not None)
    scored = risen_score(e)
    if scored is not None and not (shown.relative_gain > 0.2 or steady):
        return Reading(True, say("{name} went from {start:.3g} to {final:.3g}", name=scored.name, start=scored.start, final=scored.final))
    if not steady and _by_chance(shown):
        return Reading(False, say("{name} went from {start:.3g} to {final:.3g}", name=shown.name, start=shown.start, final=shown.final))
    lost = shown.lost_ground > 1.0  # it ends worse than it began
    by_luck = shown.luck / abs(shown.start) if shown.start else 0.0
    return Reading(
        (shown.relative_gain > 0.2 + by_luck and not lost) or steady,
        say("{name} got better by {gain:.0%}", name=shown.name, gain=max(0.0, shown.relative_gain - by_luck)),
    )


@probe(say("the losses stay within bounds, which is all that can be asked of this family"), holds=1.0, fails=-1.5)
def bounded(e: Evidence, seen: Sighting) -> Reading | None:
    if e.family not in NOTHING_EXPECTED:
        return None
    losses = [c for c in (*of_players(e), *(c for n, c in e.curves.items() if n.endswith("/loss"))) if c.finite >= 3]
    won = one_has_won(e)
    if won is not None:
        return Reading(False, say("{name} fell to {final:.2g} and stays there: its player has won", name=won.name, final=won.final))
    wild = [c for c in losses if c.non_finite is not None or (e.family != "reinforcement" and abs(c.final) > 20 * (abs(c.start) + 1.0))]
    return Reading(not wild, say("{n} losses, {wild} of them out of bounds", n=len(losses), wild=len(wild))) if losses else None


@probe(say("the loss is well below chance"), CHANCE, holds=1.3, fails=-0.8)
def below_chance(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    level = to_chance(e, loss.final) if loss else None
    return None if level is None else Reading(level < 0.5, say("it ends at {level:.2f} × chance", level=level))


@probe(say("the targets are not standardised, and most of the fall may be their mean"), holds=-1.6, fails=0.0)
def raw_targets(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    if e.family != "regression" or e.chance.loss is not None or loss is None or loss.first < 10.0:
        return None
    return Reading(True, say("the first loss is {first:.4g}", first=loss.first))


def _both_look_well(e: Evidence, seen: Sighting) -> bool:
    """Progress was seen and validation follows it: what a model shows as well that learns too little."""
    together = follows.ask(e, seen)
    return together is not None and together.holds and seen.facet == "" and _made_progress(e)


@probe(say("little was gained, and nothing tells how much there was to gain"), holds=-0.6)
def unknown_ground(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    if loss is None or e.chance.loss is not None or skill(e, "val") is not None or e.family in NOTHING_EXPECTED:
        return None
    if loss.relative_gain >= SMALL_GAIN or not _both_look_well(e, seen):
        return None
    return Reading(True, say("the loss fell by {gain:.0%}", gain=loss.relative_gain))


@probe(say("training lies far behind validation, and no dropout is configured that would explain it"), VALIDATION, holds=-0.8)
def behind(e: Evidence, seen: Sighting) -> Reading | None:
    train, val = e.curve("train/accuracy"), e.curve("val/accuracy")
    if e.gap is None or train is None or val is None or not train.finite or not val.finite or e.number("dropout"):
        return None
    apart = (val.final - train.final) / whole(val)
    if e.gap.gap > FAR_BEHIND or apart < POINTS:
        return None
    return Reading(True, say("its accuracy ends {apart:.0%} below, ln(validation / train) at {gap:.2f}", apart=apart, gap=e.gap.gap))


@probe(say("training has far more of its answers right than validation"), curve("val/accuracy"), holds=-1.2)
def ahead(e: Evidence, seen: Sighting) -> Reading | None:
    apart = answers_ahead(e)
    if apart is None or apart < POINTS:
        return None
    return Reading(True, share=2.0 if apart > FAR_AHEAD else 1.0, detail=say("{apart:.0%} more", apart=apart))


@probe(say("validation is far above training in the few evaluations that there are"), holds=-1.6)
def above(e: Evidence, seen: Sighting) -> Reading | None:
    apart = _far_above_training(e)
    return None if apart is None else Reading(True, say("ln(validation / train) at {apart:.2g}", apart=apart))


@probe(say("there are few records"), LOSS, holds=-0.6)
def few(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    if loss is None or not FEWEST <= loss.finite < FEW or not _both_look_well(e, seen):
        return None
    return Reading(True, say("{n} records", n=loss.finite))


@probe(say("a setting lies where sound runs have none, and nothing shows that it did no harm"), CONFIG, holds=-3.0, fails=0.0)
def extreme_setting(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    level = to_chance(e, loss.final) if loss else None
    return None if level is not None and level < (OF_TEXT if e.family == "language-model" else 0.5) else extreme(e, seen)


@probe(say("validation follows training"), VALIDATION, holds=0.8, fails=-0.4)
def follows(e: Evidence, seen: Sighting) -> Reading | None:
    if e.gap is None:
        return None
    level = validation_level(e)
    return Reading(e.gap.rise < 0.15 or (level is not None and level < 0.15), say("it rose by {rise:.0%} since its best", rise=max(0.0, e.gap.rise)))


@probe(say("validation accuracy is good"), curve("val/accuracy"), holds=0.9, fails=-0.6)
def good(e: Evidence, seen: Sighting) -> Reading | None:
    value = skill(e, "val")
    return None if value is None else Reading(value > 0.6, say("{value:.0%} of the way from guessing to perfect", value=value))


@probe(say("all weights are finite"), WEIGHTS, holds=0.4, fails=-3.0)
def finite(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(e.weights.first_non_finite is None, say("{n} checkpoints", n=e.weights.checkpoints))


@probe(say("the run ended as planned"), holds=0.4, fails=-0.3)
def ended(e: Evidence, seen: Sighting) -> Reading | None:
    return (
        None
        if e.outcome == "unknown"
        else Reading(e.outcome in ("finished", "early-stopped", "running"), say("outcome: {outcome}", outcome=e.outcome))
    )


HEALTHY = Check(
    id="healthy",
    title=say("Healthy"),
    symptom=say("Nothing of the list was found, and there is enough to say so."),
    detect=detect,
    probes=(
        scale_found,
        piece,
        progressed,
        bounded,
        below_chance,
        unknown_ground,
        behind,
        ahead,
        above,
        few,
        raw_targets,
        extreme_setting,
        follows,
        good,
        finite,
        ended,
    ),
    prior=-0.8,
    causes=tuple((cause, UNSTATED) for cause in (*CAUSES, wrong_loss)),
    unusual=unusual,
)
