"""Probes that several causes ask in the same words."""

from math import isfinite, log
from statistics import fmean, stdev

from postmortem.check import Evidence, Probe, Reading, Sentence, Sighting, say
from postmortem.checklist.levels import learned_nothing_at_all
from postmortem.checklist.needs import BASELINE, CHANCE, LEARNING_RATE, curve
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.parameters import all_identical
from postmortem.checklist.signs import only_validation_differs, same_settings

RECORDS, FAR, NEAR_GUESSING, CALM = 5, 4.0, 0.005, 0.2  # records; standard errors; of ln C; of the level
MANY = 129  # classes, or pairs in a batch that are told apart
SURE_AND_WRONG = 5.0  # nats: more than a guess among a hundred classes costs
USUAL = 1.3  # decades; learning rates within it are no explanation of their own


def seen_as(*facets: str, claim: Sentence, holds: float) -> Probe:
    """The symptom was sighted in a way that speaks for itself: where it has another face, the question is not asked."""
    return Probe(claim, lambda _, seen: Reading(True, seen.summary) if seen.facet in facets else None, holds)


def usual_rate(*, holds: float, fails: float) -> Probe:
    """The learning rate is usual for the optimizer, so that no step was too long."""

    def ask(e: Evidence, seen: Sighting) -> Reading | None:
        decades = rate_decades(e)
        return None if decades is None else Reading(decades < USUAL, say("it is {times:.2g} × the usual one", times=10**decades))

    return Probe(say("the learning rate is usual, so no step was too long"), ask, holds, fails, (LEARNING_RATE,))


def same_evaluations(*, holds: float, fails: float) -> Probe:
    """Every evaluation gives the same loss: the weights were the same, though the learning rate was none of 0."""

    def ask(e: Evidence, seen: Sighting) -> Reading | None:
        val = e.curve("val/loss")
        if val is None or val.finite < 3 or (e.schedule is not None and e.schedule.highest == 0):
            return None
        if not val.constant and (learned_nothing_at_all(e) or all_identical(e)):
            return None  # what an evaluation draws, and the statistics of batch normalisation, go on without an optimizer
        return Reading(val.constant, say("{n} evaluations, {distinct} distinct values", n=val.finite, distinct=val.distinct))

    return Probe(say("every evaluation gives the same loss to the last digit"), ask, holds, fails, (curve("val/loss", 3),))


def nothing_learned_at_all(*, holds: float, fails: float) -> Probe:
    """The loss stays above that of guessing, which the first updates of the last bias would have ended."""

    def ask(e: Evidence, seen: Sighting) -> Reading | None:
        nothing, loss = learned_nothing_at_all(e), e.curve("train/loss")
        if nothing is None or loss is None or loss.halves is None or e.chance.loss is None:
            return None
        told = say(
            "its second half lies at {level:.4f} × chance, give or take {error:.4f}",
            level=loss.halves.mean / e.chance.loss,
            error=loss.halves.error / e.chance.loss,
        )
        return Reading(nothing, told)

    return Probe(
        say("not even the shares of the classes were learned: the training loss stays above that of guessing"),
        ask,
        holds,
        fails,
        (CHANCE, curve("train/loss", 8)),
    )


def never_moved(*, holds: float) -> Probe:
    """The loss lies where it began, and where nobody's guessing does: any update would have brought it elsewhere."""

    def ask(e: Evidence, seen: Sighting) -> Reading | None:
        loss = e.curve("train/loss")
        if loss is None or loss.finite < RECORDS or seen.facet in ("reward", "worse") or e.chance.loss is not None or not loss.final > 0:
            return None
        values = [v for v in e.series[loss.name].values.tolist() if isfinite(v)]
        level, spread = fmean(values), stdev(values)
        error = max(spread / len(values) ** 0.5, loss.quantum or 0.0)
        guesses = any(abs(level - log(c)) < max(FAR * error, NEAR_GUESSING * log(c)) for c in (*range(2, MANY), 1000))
        still = abs(fmean(values[: len(values) // 2]) - fmean(values[len(values) // 2 :])) < 2.0 * error
        sure = e.family == "classifier" and level > SURE_AND_WRONG
        began_there = abs(values[0] - level) < 3.0 * spread + error
        if guesses or sure or not still or not began_there or spread > CALM * level:
            return None
        return Reading(True, say("its {n} records lie at {level:.4g} ± {spread:.2g} throughout", n=loss.finite, level=level, spread=spread))

    return Probe(say("the loss lies where it began, and not where guessing does"), ask, holds, 0.0, (curve("train/loss", RECORDS),))


def not_of_the_settings(*, fails: float) -> Probe:
    """What a run with these settings is bound to, a good run with the same settings would have met as well."""

    def ask(e: Evidence, seen: Sighting) -> Reading | None:
        b = e.baseline
        if b is not None and b.settings:
            return Reading(True, say("{key}", key=", ".join(b.settings[:3])))
        if b is None or not same_settings(e) or not (b.training is False or only_validation_differs(e)):
            return None
        return Reading(False, say("a run with the same settings went well"))

    return Probe(say("the settings differ from those of the good run"), ask, 0.2, fails, (BASELINE,))
