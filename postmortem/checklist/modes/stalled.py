"""No progress in time."""

from postmortem.check import Check, Cleared, Evidence, Need, Severity, Sighting, Unknown, say
from postmortem.checklist.causes.stalls import data_starvation, hang, share_of_waiting, slow_node
from postmortem.checklist.limits import asked, is_above, share_is_above
from postmortem.checklist.needs import recorded
from postmortem.model.curves import CurveStats

LEARNED = ("loss", "reward", "return", "score", "epoch", "acc")  # in the name of what training comes to
AS_WELL = ("grad_norm", "throughput", "step_time")


def _trains(e: Evidence) -> bool:
    """Something of training was logged: settings that are printed at each start of a program are no steps, nor are a server's answers."""
    return any(name in AS_WELL or any(word in name.lower() for word in LEARNED) for name in e.curves)


TIMES = Need(
    "time stamps",
    say("print a time stamp with every logged step"),
    lambda e: (e.pace.seconds_per_step is not None or e.pace.slowdown is not None or _slower_and_slower(e) is not None) and _trains(e),
    recorded("recorder.step(loss)"),
)
WAITS, LONG = 0.75, 50  # of a step; records of the loss
HOURS = 0.2  # below, nobody waited
SLOWER = 3.0  # step time at the end / in the first half
RECORDS, STEADILY = 10, 0.9  # of a time; Kendall's tau
AFTERWARDS = 0.05  # share of the steps
PART, MOST = 0.2, 0.5  # of all the time
GAP = 1800.0  # seconds without a record
ANOTHER_DAY = 86400.0  # the same: what goes on after that was started again


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    p = e.pace
    loss = e.curve("train/loss")
    often = loss is not None and loss.points >= 50  # records made now and then have gaps by nature
    if p.slowdown is not None and p.slowdown > SLOWER and (p.hours is None or p.hours > HOURS):
        return Sighting(
            Severity.SERIOUS,
            say("A step takes {times:.2g} × as long at the end as in the first half.", times=p.slowdown),
            e.last_step,
            None,
            ("step_time",),
        )
    slower = _slower_and_slower(e)
    if slower is not None:
        told = say(
            "{name} grew from {first:.3g} to {last:.3g}, from record to record.",
            name=e.series[slower.name].logged_as,
            first=slower.first,
            last=slower.last,
        )
        return Sighting(Severity.SERIOUS, told, slower.last_step, None, (slower.name,), e.series[slower.name].source, "steadily")
    if (
        often
        and p.longest_gap is not None
        and GAP < p.longest_gap < ANOTHER_DAY
        and p.seconds_per_step
        and p.longest_gap > 50 * p.seconds_per_step
        and e.outcome not in ("finished", "early-stopped")
        and not _paused(e, PART)
        and not _evaluated(e)
    ):
        return Sighting(
            Severity.MINOR if _paused(e, MOST) else Severity.SERIOUS,
            say("For {minutes:.0f} minutes no step was logged, at step {step:g}.", minutes=p.longest_gap / 60, step=p.longest_gap_step or 0.0),
            p.longest_gap_step,
            None,
            (),
        )
    waiting = share_of_waiting(e)
    if waiting is not None and waiting > WAITS:
        return Sighting(
            Severity.SERIOUS if loss is None or loss.points < LONG else Severity.MINOR,  # what trained for long all the same was only slow
            say("Of the time of a step {share:.0%} is spent waiting for data.", share=waiting),
            e.first_step,
            None,
            ("step_time", "data_time"),
            e.series["data_time"].source,
            "waiting",
        )
    ended = asked(say("the run did not end by itself"), e.outcome not in ("finished", "early-stopped"), say("outcome: {outcome}", outcome=e.outcome))
    return Cleared(
        say("Steps kept their pace."),
        (
            is_above(say("the time of a step at the end (× that in the first half)"), p.slowdown, SLOWER),
            share_is_above(say("the share of a step's time that is spent waiting for data"), waiting, WAITS),
            is_above(say("the longest time without a record (minutes)"), None if p.longest_gap is None else p.longest_gap / 60, GAP / 60),
            ended,
        ),
    )


def _slower_and_slower(e: Evidence) -> CurveStats | None:
    """The time of an epoch or of a step that was logged and grew to a multiple, each as a rule longer than the one before."""
    times = (
        c for n, c in e.curves.items() if n == "step_time" or {"epoch", "time"} == set(n.removeprefix("other/").lower().replace("_", " ").split())
    )
    for c in times:
        if c.trend is not None and c.trend.points >= RECORDS and c.trend.tau > STEADILY and c.last > SLOWER * c.first > 0:
            return c
    return None


def _paused(e: Evidence, share: float) -> bool:
    """The gap was one pause: many steps followed, and it is less than this share of the time that the run took."""
    p, loss = e.pace, e.curve("train/loss")
    if loss is None or p.longest_gap is None or p.longest_gap_step is None or p.hours is None:
        return False
    behind = (loss.last_step - p.longest_gap_step) / max(loss.last_step - loss.first_step, 1e-12)
    return behind > AFTERWARDS and p.longest_gap < share * 3600 * p.hours


def _evaluated(e: Evidence) -> bool:
    """What came after the gap is an evaluation, and no training: that took its time."""
    loss, at = e.curve("train/loss"), e.pace.longest_gap_step
    return loss is not None and at is not None and at >= loss.last_step


CHECK = Check(
    id="stalled",
    title=say("Stalled"),
    symptom=say("No progress in time: throughput collapses or the run hangs."),
    detect=detect,
    needs=(TIMES,),
    prior=0.8,
    causes=((data_starvation, -1.0), (hang, -1.0), (slow_node, -2.0)),
)
