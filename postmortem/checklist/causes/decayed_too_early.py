"""The learning rate was used up long before the end."""

import math
from itertools import pairwise
from statistics import median, pstdev

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import CONFIG, RATES
from postmortem.checklist.optimizers import DECAYED_AWAY, comes_down_once
from postmortem.checklist.parameters import nothing_moved
from postmortem.checklist.probes import seen_as

FACTORS = ("decay_rate", "gamma", "lr_gamma", "lr_decay")  # keys of a factor by which the rate falls
STEPS = ("decay_steps", "lr_decay_iters", "lr_decay_steps")  # keys of the schedule's length
LENGTHS = (*FACTORS, *STEPS, "t_max", "step_size", "milestones")
OTHER_UNIT = 0.1  # of an epoch: a length that short is one of epochs, as `lr_decay_iters` of CycleGAN is
GONE = 0.01  # of the peak
EARLY = 0.6  # of the run
SEVERAL, GONE_BY_HALF, ALIKE = 5, 0.1, 0.3  # evaluations; the median of their rates / the highest; standard deviation of ln(gain / rate)
PRINTED = 3.0  # digits' width: smaller gains are rounding
LATELY = 0.2  # of the records


def _stood_before(e: Evidence) -> bool:
    """Nothing moved from a checkpoint on that was saved before the rate was low: it is not the rate that held it."""
    low = e.schedule.low_from_step if e.schedule is not None else None
    saved = e.checkpoints[0].step if e.checkpoints else None
    return nothing_moved(e) and not (low is not None and saved is not None and saved > low)


@probe(say("it is below 1 % of its peak for most of the run"), RATES, holds=3.0, fails=-3.0)
def low_for_long(e: Evidence, seen: Sighting) -> Reading | None:
    if e.schedule is None or gains_with_the_rate.ask(e, seen) is not None:
        return None
    configured, saved = e.number("learning_rate"), e.schedule.peak
    if e.schedule.source == "optimizer" and e.schedule.constant:  # what checkpoints hold is the rate of their moment
        if 0 < saved < DECAYED_AWAY and configured is None:
            return Reading(True, say("the optimizer was saved with {saved:.3g}, with which no training is begun", saved=saved))
        if configured is None or not 0 < saved < GONE * configured:
            return None
        return Reading(True, say("the optimizer was saved with {saved:.3g}, and {configured:.3g} is configured", saved=saved, configured=configured))
    if e.schedule.source == "logged" and 0 < e.schedule.highest < DECAYED_AWAY:
        return Reading(True, say("it is {rate:.3g}, with which no training is begun", rate=e.schedule.highest))
    return Reading(
        (e.schedule.low_share > 0.4 or e.schedule.zero_share > 0.4) and e.schedule.highest > 0 and not _stood_before(e),
        say("for {share:.0%} of the records", share=e.schedule.low_share),
    )


@probe(say("the configured decay leaves nothing of it long before the end"), CONFIG, holds=3.0, fails=0.0)
def configured_decay(e: Evidence, seen: Sighting) -> Reading | None:
    """A factor per epoch, or a length of the schedule in steps. Other schedules say nothing, nor does a rate that was logged and did not fall so."""
    if e.schedule is not None and e.schedule.source == "logged" and max(e.schedule.low_share, e.schedule.zero_share) < LATELY:
        return None
    epochs = e.planned_epochs or e.number("epochs") or e.last_epoch
    factor, length = _stated(e, FACTORS), _stated(e, STEPS)
    if factor is not None and epochs and "exp" in _schedule(e):
        gone = math.log(GONE) / math.log(factor[1]) if 0 < factor[1] < 1 else math.inf  # epochs
        return Reading(gone < EARLY * epochs, say("{key} = {value:g} per epoch, {n:g} epochs", key=factor[0], value=factor[1], n=epochs))
    total = e.planned_steps or e.last_step
    if length is not None and e.steps_per_epoch and (e.steps_per_epoch == 1 or length[1] < OTHER_UNIT * e.steps_per_epoch):
        return None  # two units: the log counts epochs alone, or the schedule does
    if length is not None and total:
        return Reading(0 < length[1] < EARLY * total, say("{key} = {value:g}, training takes {n:g} steps", key=length[0], value=length[1], n=total))
    return None


@probe(say("what each evaluation gained is in proportion to the learning rate that came down"), RATES, holds=3.0)
def gains_with_the_rate(e: Evidence, seen: Sighting) -> Reading | None:
    """As a model learns, a rate gains less and less. Where a tenth of the rate gains a tenth, again and again, the loss had not begun to slow down."""
    val, rates = e.series.get("val/loss"), e.series.get("lr")
    if val is None or rates is None or len(val) != len(rates) or len(val) <= SEVERAL or e.schedule is None or e.schedule.source != "logged":
        return None
    gains = [before - after for before, after in pairwise(val.values.tolist())]
    printed = PRINTED * (val.quantum or 0.0)
    for used in (rates.values[:-1].tolist(), rates.values[1:].tolist()):  # logged for what follows, or for what was
        shown = [(gain, rate) for gain, rate in zip(gains, used, strict=True) if abs(gain) > printed]
        if len(shown) < SEVERAL or min(map(min, shown)) <= 0 or not median(used) < GONE_BY_HALF * max(used):
            continue
        if pstdev([math.log(gain / rate) for gain, rate in shown]) < ALIKE:
            return Reading(True, say("{n} evaluations, with rates from {high:.2g} to {low:.2g}", n=len(shown), high=max(used), low=min(used)))
    return None


@probe(say("nothing moves any more, and the configured schedule only comes down"), CONFIG, holds=2.5, fails=-0.5)
def came_down(e: Evidence, seen: Sighting) -> Reading | None:
    setting = e.setting("schedule")
    if seen.facet != "standstill" or setting is None:
        return None
    return Reading(comes_down_once(e), say("{key} = {value}", key=setting.key, value=str(setting.value)), setting.file)


def _stated(e: Evidence, leaves: tuple[str, ...]) -> tuple[str, float] | None:
    hit = next((s for s in e.settings if s.key.lower().rpartition(".")[2] in leaves and isinstance(s.value, int | float)), None)
    return None if hit is None or isinstance(hit.value, bool | str | None) else (hit.key, float(hit.value))


def _schedule(e: Evidence) -> str:
    setting = e.setting("schedule")
    return str(setting.value).lower() if setting is not None else ""


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    total = e.planned_steps or e.last_step
    changes = remedies.removed(e, "schedule", (s for s in e.settings if s.name == "schedule" or s.key.lower().rpartition(".")[2] in LENGTHS))
    low = e.schedule.low_from_step if e.schedule is not None else None
    why = (
        say("A schedule made for fewer steps leaves the rest of the training without a learning rate.")
        if low is None or not total
        else say("The rate was practically 0 from step {step:g} of {total:g} on.", step=low, total=total)
    )
    return (
        remedies.fix(
            e,
            say("Let the schedule end where training ends"),
            why,
            changes or (remedies.change(e, "schedule", None),),
            {
                "pytorch": f"scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={int(total or 1000)})  # in steps, if it is stepped per step",
                "transformers": "args = TrainingArguments(..., lr_scheduler_type='cosine')  # its length follows max_steps",
            },
        ),
    )


at_rest = seen_as("settled", claim=say("the rate came to rest far below the one that was configured"), holds=3.5)


decayed_too_early = Cause(
    id="decayed-too-early",
    title=say("The learning rate decayed to nothing too early"),
    mechanism=say(
        "The schedule was made for fewer steps than were trained (or is stepped per batch where epochs were meant): the rest of the run changes nothing."
    ),
    probes=(low_for_long, configured_decay, gains_with_the_rate, came_down, at_rest),
    fixes=fixes,
)
