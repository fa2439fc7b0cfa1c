"""Short jumps of the loss."""

from math import inf

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.bad_batch import bad_batch
from postmortem.checklist.causes.batch_too_small import batch_too_small
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.stale_second_moment import stale_second_moment
from postmortem.checklist.growth import made_good, one_low_record
from postmortem.checklist.levels import NOTHING_EXPECTED, to_chance
from postmortem.checklist.limits import family_expected_to_learn, is_above, share_is_above
from postmortem.checklist.needs import curve
from postmortem.checklist.optimizers import clip_norm
from postmortem.checklist.probes import seen_as
from postmortem.checklist.signs import file_of
from postmortem.model.curves import CurveStats, Spike

HEIGHT = 12.0  # noise units
KICK = 15.0  # × the gradient norm's level
AS_OFTEN = 0.5  # of the loss's records
ALONE = 8.0  # × the next largest rise of the norm
TWICE = 2.0  # × both ends of a short log
AMONG_OTHERS = 5.0  # × the largest rise between other neighbours
WARMING = 0.1  # share of the run
EARLY = 0.05  # share of a run that ended at its best
MANY = 100  # records
SMALL = 0.1  # times chance: a classifier that sure loses nothing by a record of twice that
OVER_START = 1.2  # × the loss at its start, for a spike that is none of the beginning
FAR = 10.0  # × the level before
LOST = 0.1  # of the level before
FAR_FROM_OTHERS, LASTING = 4.0, 4  # × the largest rise anywhere else; records
BEGUN, MUCH, RATE_ROSE = 0.15, 0.25, 1.5  # share of the run; of what the loss had come down by; × the rate before
SEVERE = 3.0  # × the level before
EPOCHS, BRIEF, FALLING, ABOUT = 3, 2, -0.8, 1.25  # means of epochs; records; Kendall's tau of those means; × the mean before
OUT_OF_ALL = 1e3  # noise units: a jump from below zero has no ratio
HURTS = 20.0  # × the level before


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    loss = _sampled_or_mean(e)
    if loss is None or loss.finite < 5:
        return Unknown(say("Not measured: this needs five records of the training loss."))
    if e.family in NOTHING_EXPECTED:
        return Cleared(say("Jumps belong to the losses of this family ({family}).", family=e.family), (family_expected_to_learn(e),))
    reached = to_chance(e, loss.highest)
    if reached is not None and reached < SMALL:
        small = share_is_above(say("the highest record of {name} (of the chance level)", name=loss.name), reached, SMALL, file_of(e, loss.name))
        return Cleared(say("The loss never rises above {level:.1%} of the chance level: no jump of it costs anything.", level=reached), (small,))
    peak = _above_both_ends(e, loss)
    if peak is not None:
        return Sighting(
            Severity.MINOR if made_good(loss) else Severity.SERIOUS,
            say(
                "At step {step:g} the loss jumped to {value:.4g}, {ratio:.2g} × what it was before and after.",
                step=loss.highest_step,
                value=loss.highest,
                ratio=peak,
            ),
            loss.highest_step,
            loss.highest_step,
            (loss.name,),
            e.series[loss.name].source,
            "above-both-ends",
        )
    high = [s for s in loss.spikes if _stands_out(e, loss, s)]
    behind = next((s for s in loss.spikes if _left_behind(e, loss, s)), None) if not high else None
    if behind is not None:
        return Sighting(
            Severity.SERIOUS,
            say("At step {step:g} the loss jumped from {level:.3g} to {value:.4g}, validation with it, and neither came back.", step=behind.step, level=behind.level, value=behind.value),
            behind.step, behind.step, (loss.name, "val/loss"), e.series[loss.name].source, "behind",
        )  # fmt: skip
    lasting = next((s for s in loss.spikes if _lasts(e, loss, s)), None) if not high else None
    if lasting is not None:
        return Sighting(
            Severity.SERIOUS,
            say(
                "At step {step:g} the loss jumped from {level:.4g} to {value:.4g}, {share:.0%} of all that it had come down by, and {width} records later it was still not back.",
                step=lasting.step,
                level=lasting.level,
                value=lasting.value,
                share=_given_back(loss, lasting),
                width=lasting.width,
            ),
            lasting.step, lasting.step, (loss.name,), e.series[loss.name].source, "lasting",
        )  # fmt: skip
    kick = _unclipped_kick(e) if not high else None
    if kick is not None:
        return Sighting(
            Severity.SERIOUS,
            say(
                "At step {step:g} the gradient norm was {ratio:.3g} × its level, nothing clipped it, and the loss shows little of it.",
                step=kick.step,
                ratio=kick.ratio,
            ),
            kick.step,
            kick.step,
            ("grad_norm", "train/loss"),
            e.series["grad_norm"].source,
            "gradient",
        )
    if not high:
        return Cleared(say("No record stands out from those around it ({n} small ones).", n=len(loss.spikes)), _figures(e, loss))
    worst = max(high, key=lambda s: s.height)
    settled = loss.final <= max(1.1 * max(loss.best, 1e-12), loss.best + max(loss.noise, loss.luck))
    low = worst.value < HURTS * max(worst.level, loss.noise)  # a level below the noise is luck
    harmless = worst.recovery == "fast" and (_means_fall_on(e, worst) or (settled and low))
    if harmless and not _far_above(e, worst):
        why = say("At step {step:g} the loss rose to {ratio:.2g} × its level and was back at once.", step=worst.step, ratio=worst.ratio)
        top = is_above(say("the top of that rise (× the level before)"), worst.ratio, FAR, file_of(e, loss.name))
        return Cleared(why, (top, *_figures(e, loss)))
    severity = Severity.MINOR if harmless else Severity.SERIOUS
    never_back = worst.recovery != "fast" and loss.best_step < worst.step and loss.final > (1 + LOST) * worst.level > 0
    return Sighting(
        severity,
        say(
            "At step {step:g} the loss jumped from {level:.3g} to {value:.4g} and never came back to where it was: it ends at {final:.3g}.",
            step=worst.step,
            level=worst.level,
            value=worst.value,
            final=loss.final,
        )
        if never_back
        else say(
            "At step {step:g} the loss jumped from {level:.3g} to {value:.4g} and recovered: {recovery}.",
            step=worst.step,
            level=worst.level,
            value=worst.value,
            recovery=worst.recovery,
        ),
        worst.step,
        worst.step,
        (loss.name,),
        e.series[loss.name].source,
    )


def _means_fall_on(e: Evidence, spike: Spike) -> bool:
    """One record, and the means of epochs fall on as if nothing had been: a batch of a few samples, and no matter."""
    means = e.curve("train/loss.epoch")
    if means is None or means.finite < EPOCHS or means.trend is None or means.trend.tau > FALLING or spike.width > BRIEF:
        return False
    own = e.series[means.name]
    at = int(own.steps.searchsorted(spike.step))
    return 0 < at < len(own) and bool(own.values[at] < ABOUT * own.values[at - 1])


def _sampled_or_mean(e: Evidence) -> CurveStats | None:
    """The training loss; the means of its epochs where only they saw a jump, as a log of every fiftieth step misses a single bad batch."""
    sampled, means = e.curve("train/loss"), e.curve("train/loss.epoch")
    if sampled is None or means is None or means.finite < 5:
        return sampled
    return means if not any(_stands_out(e, sampled, s) for s in sampled.spikes) and any(_stands_out(e, means, s) for s in means.spikes) else sampled


def _figures(e: Evidence, loss: CurveStats) -> tuple[Clue, ...]:
    """The highest jump, and the largest of the gradient norm."""
    worst = max(loss.spikes, key=lambda s: s.height, default=None)
    norm, file = e.curve("grad_norm"), file_of(e, loss.name)
    kick = max((s.ratio for s in norm.spikes), default=1.0) if norm is not None else None
    return (
        is_above(say("the highest jump of the loss (× its noise)"), worst.height if worst is not None else 0.0, HEIGHT, file),
        is_above(say("that jump (× the level before)"), worst.ratio if worst is not None else 1.0, SEVERE, file),
        is_above(say("its top (× where the loss began)"), _over_start(loss, worst) if worst is not None else None, OVER_START, file),
        share_is_above(say("how far into the run it came"), _place(loss, worst), EARLY, file),
        is_above(say("the largest jump of the gradient norm (× its level)"), kick, KICK, file_of(e, "grad_norm")),
    )


def _unclipped_kick(e: Evidence) -> Spike | None:
    """One step with a gradient far beyond any other, taken in full: a bad batch whose loss was small. None without one.

    Of a norm that was looked at seldomer than the loss no single step can be told from a stretch of them, as when a recurrent net begins to learn.
    """
    norm, loss = e.curve("grad_norm"), e.curve("train/loss")
    if norm is None or clip_norm(e) is not None or norm.finite < 20 or (loss is not None and norm.finite < AS_OFTEN * loss.finite):
        return None
    return next((s for s in norm.spikes if s.ratio >= KICK and s.prominence >= ALONE and s.height >= HEIGHT and s.width <= 2), None)


def _above_both_ends(e: Evidence, loss: CurveStats) -> float | None:
    """highest / the larger end, when a short log holds a jump in its middle. None without one."""
    ends = max(loss.start, loss.first, loss.final, loss.last)
    inside = loss.first_step < loss.highest_step < loss.last_step and not one_low_record(e, loss)
    if not inside or ends <= 0 or loss.finite > 60 or loss.highest < TWICE * ends or loss.highest > 1e6 * ends:
        return None
    if not loss.leap >= AMONG_OTHERS:  # one of several
        return None
    return loss.highest / ends


def _stands_out(e: Evidence, loss: CurveStats, spike: Spike) -> bool:
    rising = max(WARMING * (loss.last_step - loss.first_step), e.schedule.warmup_steps if e.schedule is not None else 0.0)
    warming = spike.step <= loss.first_step + rising and spike.value < 1.5 * loss.worst
    left_behind = (_place(loss, spike) or 0.0) <= EARLY and loss.final <= 1.1 * loss.best and loss.finite >= MANY
    over = _over_start(loss, spike) > OVER_START  # below lies where the loss begins
    severe = spike.ratio >= SEVERE or (spike.level <= 0 and spike.value > 0 and spike.height >= OUT_OF_ALL)
    return spike.height >= HEIGHT and severe and over and not warming and not left_behind


def _left_behind(e: Evidence, loss: CurveStats, spike: Spike) -> bool:
    """A jump that stands out from the noise and from all others, from which neither the loss nor validation came back."""
    val = e.curve("val/loss")
    if val is None or spike.recovery != "never" or spike.height < HEIGHT or spike.prominence < AMONG_OTHERS or val.best_step > spike.step:
        return False
    if spike.step >= loss.last_step:
        return False  # the last record alone had no time to come back
    return loss.final > (1 + LOST) * spike.level and val.final > (1 + LOST) * val.best


def _lasts(e: Evidence, loss: CurveStats, spike: Spike) -> bool:
    """A jump beyond the noise and beyond all others that took back much of what had been learned and was not over within a few records,
    after the beginning and at a rate that did not rise, as restarts of a schedule make it."""
    if spike.recovery == "fast" or spike.height < HEIGHT or spike.prominence < FAR_FROM_OTHERS or spike.width < LASTING:
        return False
    if (_place(loss, spike) or 0.0) < BEGUN or not _given_back(loss, spike) > MUCH:
        return False
    before, then = e.at("lr", spike.step - EARLY * (loss.last_step - loss.first_step)), e.at("lr", spike.step)
    return before is None or then is None or then <= RATE_ROSE * before


def _given_back(loss: CurveStats, spike: Spike) -> float:
    """The height of a jump over what the loss had come down by; inf where it had not."""
    gained = loss.start - spike.level
    return (spike.value - spike.level) / gained if gained > 0 else inf


def _place(loss: CurveStats, spike: Spike | None) -> float | None:
    """Share of the run that lies before a spike."""
    span = loss.last_step - loss.first_step
    return (spike.step - loss.first_step) / span if spike is not None and span > 0 else None


def _over_start(loss: CurveStats, spike: Spike) -> float:
    """The top of a spike over the start of the loss; inf where that is not positive."""
    return spike.value / max(loss.start, loss.first) if loss.start > 0 else inf


@probe(say("it is far above anything else in the run"), curve("train/loss", 5), holds=1.0, fails=-1.1)
def far_above(e: Evidence, seen: Sighting) -> Reading | None:
    loss = _sampled_or_mean(e)
    if loss is None or not loss.spikes or seen.facet in ("gradient", "above-both-ends", "behind", "lasting"):
        return None
    worst = max(loss.spikes, key=lambda s: s.value)
    if worst.recovery != "fast" and worst.width >= LASTING and _given_back(loss, worst) > 1.0:
        return Reading(True, say("it took {width} records to win back all that had been learned", width=worst.width))
    if worst.level <= 0:
        return Reading(worst.height >= OUT_OF_ALL, say("{height:.3g} × the noise", height=worst.height))
    return Reading(_far_above(e, worst), say("{ratio:.3g} × the level before", ratio=worst.ratio))


lasts = seen_as("lasting", claim=say("nothing but a jump takes so much back at once"), holds=0.6)


def _far_above(e: Evidence, spike: Spike) -> bool:
    return (to_chance(e, spike.value) or 0.0) > 2.0 or spike.ratio > FAR


CHECK = Check(
    id="loss-spike",
    title=say("Loss spike"),
    symptom=say("The loss jumps for a short while: it recovers fast, slowly or never."),
    detect=detect,
    needs=(curve("train/loss", 5),),
    probes=(far_above, lasts),
    prior=1.0,
    causes=((bad_batch, -0.3), (learning_rate_too_high, -1.2), (stale_second_moment, -2.0), (batch_too_small, -1.8)),
    by_hand=(say("Look at the batch of the spike: its inputs' range and its labels."),),
    consequences=("oscillating-loss",),
)
