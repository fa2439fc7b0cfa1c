"""Why a run makes no progress in time. What decides these are system metrics, which few logs have."""

from statistics import median

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.model.run import EventKind

FEWEST, HALF, DIGITS = 3, 0.5, 10.0  # records; of a step; of the last printed digit


@probe(say("the log itself speaks of a hang or a time-out"), holds=2.5, fails=-0.5)
def said_hang(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(
        bool(e.events_of(EventKind.HANG, EventKind.COLLECTIVE)),
        say("messages of that kind: {n}", n=len(e.events_of(EventKind.HANG, EventKind.COLLECTIVE))),
    )


@probe(say("steps became slower and slower"), holds=1.5, fails=-0.5)
def slower(e: Evidence, seen: Sighting) -> Reading | None:
    return (
        None
        if e.pace.slowdown is None
        else Reading(e.pace.slowdown > 2.0, say("a step takes {times:.2g} × as long at the end", times=e.pace.slowdown))
    )


def share_of_waiting(e: Evidence) -> float | None:
    """The share of a step's time that is spent waiting for data, the median of the last records of both; None where either was not logged.
    Waiting that takes longer than the step is none of its time, as pix2pix counts it, and comes on top."""
    step, data = e.series.get("step_time"), e.series.get("data_time")
    if step is None or data is None or min(len(step), len(data)) < FEWEST:
        return None
    if median(step.values.tolist()) < DIGITS * (step.quantum or 0.0):
        return None  # steps of a few milliseconds, printed as 0.003
    pairs = list(zip(reversed(step.values.tolist()), reversed(data.values.tolist()), strict=False))
    on_top = any(waited > took for took, waited in pairs)
    return float(median([waited / (took + waited * on_top) for took, waited in pairs if took > 0] or [0.0]))


@probe(say("most of a step's time is spent waiting for data"), holds=2.5, fails=-1.5)
def waits(e: Evidence, seen: Sighting) -> Reading | None:
    share = share_of_waiting(e)
    return None if share is None else Reading(share > HALF, say("it is {share:.0%}", share=share))


def _more_workers(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    share = share_of_waiting(e)
    slowed = say("Steps became slower while nothing else changed.")
    why = slowed if share is None or share <= HALF else say("Of the time of a step {share:.0%} is spent waiting for data.", share=share)
    loader = "DataLoader(train, num_workers=8, pin_memory=True, persistent_workers=True)"
    return (remedies.fix(e, say("More workers, pinned memory, prefetching"), why, (), {"pytorch": loader}),)


data_starvation = Cause(
    "data-starvation",
    say("The data loader does not keep up"),
    say("The device waits for batches that workers, disk or network deliver too slowly."),
    (slower, waits),
    _more_workers,
)
hang = Cause(
    "hang",
    say("The process hung"),
    say("A rank waits for something that never comes."),
    (said_hang,),
    remedies.only(say("Dump the stacks of all ranks: py-spy dump --pid PID"), say("Time passed and no step was logged.")),
)
slow_node = Cause(
    "slow-node",
    say("One node is slower than the others"),
    say("In synchronous training all wait for the slowest."),
    (slower,),
    remedies.only(say("Log the step time per rank and exclude the slow node"), say("The pace of all is the pace of the slowest.")),
)
