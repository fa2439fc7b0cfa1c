"""A jump where the run was resumed."""

from statistics import median

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.data_order_restarted import data_order_restarted
from postmortem.checklist.causes.optimizer_state_lost import optimizer_state_lost
from postmortem.checklist.causes.schedule_restarted import schedule_restarted
from postmortem.checklist.limits import asked, is_above
from postmortem.checklist.needs import OPTIMIZER_STATE
from postmortem.checklist.optimizers import comes_down_once, optimizer_fell_behind, optimizer_lags
from postmortem.checklist.probes import seen_as
from postmortem.checklist.quoting import cut, first_line
from postmortem.checklist.signs import file_of
from postmortem.model.curves import ScheduleStats
from postmortem.model.run import EventKind, LogEvent, Series

ENDED = 0.03  # of the peak: the schedule was used up
WARMING = 0.4  # of the peak: the rate right after the seam, when it warms up again
BEFORE, AFTER, LEAP = 4, 2, 2.0  # records on either side of the seam, and how many times the loss is higher after it
MANY, HIGHER, NOISES = 8, 1.5, 5.0  # records on either side; how many times their median is higher after it; noises
FORGOTTEN = 0.5  # of what the loss had come down by before the seam
ALL_OF_IT = 0.8  # of what the loss had come down by: less is lost without an optimizer's moments
HALF = 0.5  # of the highest rate so far
CORNERS, AS_HIGH = 5, 0.01  # records; of the highest rate
RISING = ("restart", "cycl", "sgdr")  # words of schedules that rise again by design


def _stage(e: Evidence, s: ScheduleStats) -> bool:
    """A schedule that had come to its end and begins anew with a warm-up: a planned second stage."""
    before = [p for p in s.phases if p.kind == "decay" and p.last_step <= s.restarts[0]]
    after = e.at("lr", s.restarts[0])
    return bool(before) and before[-1].last < ENDED * s.peak and after is not None and after < WARMING * s.peak


def _rates_before(e: Evidence, s: ScheduleStats) -> list[float]:
    """The logged learning rates up to the first restart; none where it lies at the seam of an attempt."""
    rates = e.series.get("lr")
    found: list[float] = rates.values[rates.steps < s.restarts[0]].tolist() if rates is not None else []
    return found


def _as_at_first(e: Evidence, s: ScheduleStats) -> bool:
    """It did not rise from an end but from the rate that training had begun with: the warm-up was gone through again."""
    before = _rates_before(e, s)
    return bool(before) and before[-1] == s.first and comes_down_once(e)


def _a_triangle(e: Evidence, s: ScheduleStats) -> bool:
    """Until then the rate had risen and come down by the same values: a cycle, of which the next one begins."""
    before = _rates_before(e, s)
    return (
        len(before) >= CORNERS
        and before[0] < max(before)
        and all(abs(a - b) < AS_HIGH * max(before) for a, b in zip(before, reversed(before), strict=True))
    )


def _had_decayed(e: Evidence, s: ScheduleStats) -> bool:
    """Before it went up the rate had come down by more than half, or by what a schedule that comes down once had taken off it."""
    before = _rates_before(e, s)
    return comes_down_once(e) or not before or before[-1] < HALF * max(before)


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    event = next(iter(e.events_of(EventKind.RESUMED)), None)
    s, behind = e.schedule, optimizer_fell_behind(e)
    if (
        s is not None
        and len(s.restarts) == 1
        and not s.cyclic
        and not _a_triangle(e, s)
        and (s.jump < 100 or _as_at_first(e, s))
        and not _stage(e, s)
        and (event is not None or _had_decayed(e, s))
    ):
        return Sighting(
            Severity.SERIOUS,
            say("At step {step:g} the learning rate jumped back up {times:.3g}-fold after it had decayed.", step=s.restarts[0], times=s.jump),
            s.restarts[0],
            s.restarts[0],
            ("lr", "train/loss"),
            "",
            "schedule",
        )
    if behind is not None:
        lag, made, where = behind
        return Sighting(
            Severity.SERIOUS,
            say("The optimizer counts {lag:g} steps fewer than the checkpoint at step {step:g}.", lag=lag, step=made),
            where,
            where,
            ("train/loss",),
            "",
            "optimizer",
        )
    leap = _leapt(e, event)
    if leap is not None:
        step, before, after, lost = leap
        return Sighting(
            Severity.SERIOUS,
            say("Right after the resume at step {step:g} the loss is {after:.4g}; before it was {before:.4g}.", step=step, after=after, before=before),
            step, step, ("train/loss", "val/loss"), event.source if event is not None else file_of(e, "train/loss"), "all-of-it" if lost > ALL_OF_IT else "loss",
        )  # fmt: skip
    if e.batches is not None and e.batches.again_after_resume and event is not None:
        return Sighting(
            Severity.MINOR,
            say("After the resume at step {step:g} the data began anew with the batches that the run had begun with.", step=event.step or 0.0),
            event.step,
            event.step,
            ("train/loss", "data/fingerprint"),
            event.source,
            "data",
        )
    skipped = next((ev for ev in e.events_of(EventKind.WARNING) if ev.data.get("about") == "state-not-resumed"), None)
    if skipped is not None:
        text = first_line(skipped.text)
        return Sighting(
            Severity.SERIOUS,
            say("The log says that something was not restored: {text}", text=text),
            skipped.step,
            skipped.step,
            (),
            skipped.source,
            "words",
        )
    if event is not None or len(e.attempts) > 1:
        return Cleared(say("Training was resumed; learning rate and optimizer went on where they were."), _figures(e))
    return Cleared(say("Nothing points to a resume."), _figures(e))


def _leapt(e: Evidence, event: LogEvent | None) -> tuple[float, float, float, float] | None:
    """Where the last attempt went on, the highest of the last losses before, the lowest of the first ones after, and the share of what the loss
    had come down by that is lost, where these stand out: a loss that is twice as high, or lost half of what it had come down by."""
    series = e.series.get("train/loss")
    # one whose records begin at the seam; one that counts from the beginning again is none, unless the log says that it was resumed
    attempt = next((a for a in e.attempts[-1:] if a.losses_before and (a.resumed_from is not None or event is not None)), None)
    if series is None:
        return None
    if attempt is not None:
        step, began = attempt.first_step, e.attempts[0].first_loss
        before, after = list(attempt.losses_before), series.values[: BEFORE if attempt.resumed_from is not None else AFTER].tolist()
    elif event is not None and event.step is not None:
        step, began = event.step, float(series.values[0])
        before, after = series.values[series.steps <= step][-BEFORE:].tolist(), series.values[series.steps > step][:BEFORE].tolist()
    else:
        return None
    if len(before) < BEFORE or len(after) < AFTER:
        return None
    if attempt is None and (stood := _stands_above(e, series, step)) is not None:
        return (step, *stood, 0.0)
    high, low = max(before), min(after[:AFTER])
    lost = (min(after) - high) / (began - high) if began is not None and began > high else 0.0
    return (step, high, low, lost) if lost > FORGOTTEN or (attempt is None and 0 < LEAP * high < low) else None


def _stands_above(e: Evidence, series: Series, step: float) -> tuple[float, float] | None:
    """The medians of many records before and after the seam, where the later one is higher by far, in noises and as a ratio."""
    loss, before, after = e.curve(series.name), series.values[series.steps <= step][-MANY:], series.values[series.steps > step][:MANY]
    if loss is None or len(before) < MANY or len(after) < MANY:
        return None
    high, low = median(before.tolist()), median(after.tolist())
    return (high, low) if 0 < HIGHER * high < low and low - high > NOISES * loss.noise else None


def _figures(e: Evidence) -> tuple[Clue, ...]:
    """Words, attempts, the learning rate and the optimizer's own count."""
    event, lags = next(iter(e.events_of(EventKind.RESUMED)), None), optimizer_lags(e)
    words = asked(
        say("the log says that training was resumed"), event is not None,
        say("{text}", text=cut(event.text) if event else say("no line about it")), event.source if event else "",
    )  # fmt: skip
    s = e.schedule
    jumps = say("the number of times the learning rate jumped back up after it had decayed")
    return (
        words,
        is_above(say("the number of attempts that the records fall into"), len(e.attempts), 1),
        is_above(jumps, len(s.restarts) if s is not None else None, 0, file_of(e, "lr")),
        is_above(
            say("the steps that the optimizer lags behind its last checkpoint (beyond those at the first)"),
            lags[-1][0] - lags[0][0] if len(lags) > 1 else None,
            1,
        ),
    )


@probe(say("the log says that training was resumed"), holds=1.5, fails=-1.0)
def said(e: Evidence, seen: Sighting) -> Reading | None:
    hit = next(iter(e.events_of(EventKind.RESUMED)), None)
    if hit is None and not any(source.reader == "text-log" for source in e.sources):
        return None  # curves and checkpoints do not speak of it
    return Reading(
        hit is not None or len(e.attempts) > 1,
        say("{text}", text=cut(hit.text) if hit else say("no line about it")),
        hit.source if hit else "",
    )


@probe(say("the configured schedule never rises again"), holds=1.5, fails=0.0)
def never_rises(e: Evidence, seen: Sighting) -> Reading | None:
    setting = e.setting("schedule")
    if setting is None or seen.facet != "schedule" or setting.value in (None, "", False):
        return None
    text = str(setting.value).lower()
    falling = any(w in text for w in ("linear", "cosine", "exponential", "step", "poly", "plateau", "inverse")) and not any(w in text for w in RISING)
    return Reading(falling, say("{key} = {value}", key=setting.key, value=text), setting.file)


not_restored = seen_as("words", claim=say("the log itself says what was not restored"), holds=1.5)


@probe(say("a cyclic or stepped schedule is configured, which explains jumps"), holds=-3.0, fails=0.0)
def cyclic(e: Evidence, seen: Sighting) -> Reading | None:
    setting = e.setting("schedule")
    if setting is None:
        return None
    text = str(setting.value).lower()
    return Reading(
        any(w in text for w in RISING),
        say("{key} = {value}", key=setting.key, value=text),
        setting.file,
    )


@probe(say("the optimizer kept pace before it fell behind"), OPTIMIZER_STATE, holds=1.5, fails=0.0)
def kept_pace(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet != "optimizer":
        return None
    lags = optimizer_lags(e)
    first, last = lags[0][0], lags[-1][0]
    return Reading(first <= 1, say("by {first:g} steps in the first checkpoint, by {last:g} in the last", first=first, last=last))


CHECK = Check(
    id="resume-fault",
    title=say("Faulty resume"),
    symptom=say("A jump of loss or learning rate where the run was resumed."),
    detect=detect,
    probes=(said, kept_pace, never_rises, not_restored, cyclic),
    prior=0.8,
    causes=((optimizer_state_lost, -1.0), (schedule_restarted, -1.0), (data_order_restarted, -2.5)),
    by_hand=(say("Compare learning rate, optimizer step and sampler position right before and right after the seam."),),
    consequences=("loss-spike", "schedule-fault", "overfitting"),
)
