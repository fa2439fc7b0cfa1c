"""The learning rate itself does the wrong thing."""

from postmortem.check import Check, Cleared, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.decayed_too_early import decayed_too_early
from postmortem.checklist.causes.learning_rate_too_high import learning_rate_too_high
from postmortem.checklist.causes.no_warmup import no_warmup
from postmortem.checklist.causes.schedule_restarted import schedule_restarted
from postmortem.checklist.causes.zero_learning_rate import zero_learning_rate
from postmortem.checklist.levels import loss_curve, to_chance
from postmortem.checklist.limits import asked, is_above, share_is_above
from postmortem.checklist.needs import CHANCE, LEARNING_RATE
from postmortem.checklist.optimizers import LEAP, comes_down_once, rate_leapt
from postmortem.checklist.signs import file_of
from postmortem.model.curves import CurveStats, ScheduleStats

ZERO = 0.9  # share of records at exactly 0
VANISHED = 1e-12  # a learning rate
LOW = 0.5  # share of the run below 1 % of the peak; a finished cosine stays below 0.33
EVALUATIONS = 8
HAD_MOVED = 0.05  # share of the first loss
LEFT = 0.35  # share of the run after which nothing moved; a finished cosine leaves 0.1
RECORDS, MOST = 5, 0.7  # records; share of the run
LITTLE = 0.1  # of the configured rate
SOLVED = 0.2  # times chance: whatever the rate was, it was enough
UNFINISHED = 0.35  # times chance: below it the run had what it needed
NEAR_PEAK, WAITED = 0.9, 5  # of the highest rate; records of a loss at rest


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    s = e.schedule
    loss = loss_curve(e)
    standstill = _standstill(e)
    if standstill is not None:
        return standstill
    records = e.curve("lr")
    if records is not None and records.finite and 0 < records.highest < VANISHED:
        return Sighting(
            Severity.FATAL,
            say("The learning rate is {rate:.3g}, in all that was logged of it: no weight moves by that.", rate=records.highest),
            e.first_step, e.first_step, ("lr", "train/loss"), file_of(e, "lr"), "low",
        )  # fmt: skip
    if s is None:
        if e.number("learning_rate") == 0:
            return Sighting(Severity.FATAL, say("The learning rate is configured as 0."), e.first_step, e.first_step, ("train/loss",), "", "zero")
        return Unknown(say("Not measured: this needs lr."))
    source = file_of(e, "lr")
    if s.zero_share > ZERO:
        return Sighting(
            Severity.FATAL,
            say("The learning rate is 0 in {share:.0%} of the records.", share=s.zero_share),
            e.first_step,
            e.first_step,
            ("lr", "train/loss"),
            source,
            "zero",
        )
    moves = loss is not None and loss.trend is not None and loss.trend.tau < -0.3 and loss.trend.p_value < 0.01
    if s.highest == 0 and s.source == "logged" and records is not None and records.points >= 3 and not moves:  # else it was too small to print
        return Sighting(
            Severity.SERIOUS,
            say("The learning rate is printed as 0 in all {n} records.", n=records.points),
            e.first_step,
            e.first_step,
            ("lr", "train/loss"),
            source,
            "printed-zero",
        )
    level = to_chance(e, loss.final) if loss else None
    unfinished = level is None or level > UNFINISHED
    low = max(s.low_share, _low_to_the_end(e, s)) > LOW and s.source != "configured" and unfinished and not rate_leapt(e)
    if low and loss is not None and _stood_before(e, loss):
        share = share_is_above(say("the share of the run below 1 % of the peak"), s.low_share, LOW, source)
        told = asked(
            say("the loss still fell while the rate was near its peak"), False, say("it settled by step {step:g}", step=loss.plateau_step or 0.0)
        )
        return Cleared(say("The loss had come to rest before the learning rate came down: the schedule followed it."), (told, share))
    if low:
        return Sighting(Severity.SERIOUS, say("From step {step:g} on the learning rate is below 1 % of its peak: {share:.0%} of the run changed nothing.",
                            step=s.low_from_step or 0.0, share=max(s.low_share, _low_to_the_end(e, s))),
                        s.low_from_step, s.low_from_step, ("lr", "train/loss"), source, "low")  # fmt: skip
    meant, settled = e.number("learning_rate"), _settled(e)
    if meant is not None and settled is not None and comes_down_once(e) and (level is None or level > SOLVED) and LITTLE * meant > settled[0]:
        return Sighting(
            Severity.SERIOUS,
            say(
                "The rate is meant to come down from {meant:g} through the whole run; from step {step:g} on it is {rate:.3g} and does not change.",
                meant=meant,
                step=settled[1],
                rate=settled[0],
            ),
            settled[1],
            settled[1],
            ("lr", "train/loss"),
            source,
            "settled",
        )
    if rate_leapt(e) and s.jump_step is not None:
        return Sighting(
            Severity.SERIOUS,
            say("The learning rate jumped {times:.3g}-fold at step {step:g}.", times=s.jump, step=s.jump_step),
            s.jump_step,
            s.jump_step,
            ("lr", "train/loss"),
            source,
            "jump",
        )
    if s.cyclic and s.source == "logged" and comes_down_once(e):
        return Sighting(
            Severity.SERIOUS,
            say(
                "The configured schedule comes down once; the logged rate goes up and down between {low:.3g} and {high:.3g} again and again.",
                low=records.lowest if records else 0.0,
                high=s.peak,
            ),
            e.first_step,
            e.first_step,
            ("lr", "train/loss"),
            source,
            "swings",
        )
    return Cleared(
        say("The learning rate peaks at {peak:.4g} and ends at {final:.4g}.", peak=s.peak, final=s.final),
        (
            share_is_above(say("the share of records with a learning rate of 0"), s.zero_share, ZERO, source),
            share_is_above(say("the share of the run below 1 % of the peak"), s.low_share, LOW, source),
            is_above(say("the largest jump up between two records (×)"), s.jump, LEAP, source),
            is_above(say("{name} at the end (× chance)", name=loss.name if loss else ""), level, UNFINISHED, file_of(e, loss.name) if loss else ""),
        ),
    )


def _low_to_the_end(e: Evidence, s: ScheduleStats) -> float:
    """Share of the run from where saved optimizers have next to no rate: training went on beyond the last of them."""
    if s.source != "optimizer" or s.low_from_step is None or not e.last_step:
        return 0.0
    return (e.last_step - s.low_from_step) / (e.last_step - (e.first_step or 0.0))


def _stood_before(e: Evidence, loss: CurveStats) -> bool:
    """Through several records at a rate still near its peak the loss did not move any more: who lowers a rate then is not why nothing moves."""
    rates = e.series.get("lr")
    if rates is None or e.schedule is None or loss.plateau_step is None:
        return False
    lowered = next((step for step, rate in zip(rates.steps.tolist(), rates.values.tolist(), strict=True) if rate < NEAR_PEAK * e.schedule.peak), None)
    at_rest = e.series[loss.name].steps
    return lowered is not None and sum(loss.plateau_step <= step < lowered for step in at_rest.tolist()) >= WAITED


def _settled(e: Evidence) -> tuple[float, float] | None:
    """The learning rate at the end, and the step from which on it was logged without a change: of most of the run. None else."""
    rates = e.series.get("lr")
    if rates is None or len(rates) < RECORDS or e.schedule is None or e.schedule.source != "logged":
        return None
    last, steps = float(rates.values[-1]), rates.steps.tolist()
    since = next((step for step, value in zip(reversed(steps), reversed(rates.values.tolist()), strict=True) if value != last), None)
    begins = steps[0] if since is None else since
    return (last, begins) if steps[-1] > begins and (steps[-1] - begins) > MOST * (steps[-1] - steps[0]) else None


def _standstill(e: Evidence) -> Sighting | None:
    """Evaluations that had changed until then give the same loss to five digits from there on: no step moves the weights any more. Where they had
    changed by little it is the same to the last bit."""
    val = e.curve("val/loss")
    if val is None or val.still_from is None or val.finite < EVALUATIONS or e.weights.all_non_finite:
        return None
    if val.relative_gain < HAD_MOVED and not (val.relative_gain > 0 and _to_the_bit(e, val)):
        return None
    level = to_chance(e, val.final)
    left = (val.last_step - val.still_from) / (val.last_step - val.first_step)
    logged = e.schedule is not None and e.schedule.source == "logged" and not e.schedule.low_share
    if left < LEFT or logged or (level is not None and level <= UNFINISHED):
        return None
    return Sighting(
        Severity.SERIOUS,
        say(
            "From step {step:g} on every evaluation gives {final:.6g}: {left:.0%} of the run changed nothing.",
            step=val.still_from,
            final=val.final,
            left=left,
        ),
        val.still_from,
        val.still_from,
        ("val/loss", "train/loss"),
        file_of(e, "val/loss"),
        "standstill",
    )


def _to_the_bit(e: Evidence, val: CurveStats) -> bool:
    """All evaluations from there on are one number, written with all its digits."""
    series = e.series["val/loss"]
    return val.quantum is None and val.still_from is not None and len(set(series.values[series.steps >= val.still_from].tolist())) == 1


@probe(say("the loss did not get far"), CHANCE, holds=0.8, fails=-1.5)
def not_far(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    level = to_chance(e, loss.final) if loss and seen.facet != "settled" else None
    return None if level is None else Reading(level > UNFINISHED, say("it ends at {level:.2f} × chance", level=level))


@probe(say("the rate was logged, not only configured"), LEARNING_RATE, holds=0.5, fails=-0.3)
def logged(e: Evidence, seen: Sighting) -> Reading | None:
    return None if e.schedule is None else Reading(e.schedule.source != "configured", say("read off: {source}", source=e.schedule.source))


CHECK = Check(
    id="schedule-fault",
    title=say("Learning-rate schedule at fault"),
    symptom=say("The learning rate itself does the wrong thing: zero, used up early, restarted."),
    detect=detect,
    needs=(LEARNING_RATE,),
    probes=(not_far, logged),
    prior=1.0,
    causes=((zero_learning_rate, -1.0), (decayed_too_early, -1.0), (schedule_restarted, -1.5), (learning_rate_too_high, -2.0), (no_warmup, -3.0)),
    by_hand=(say("Plot the learning rate of all steps before training: build optimizer and scheduler, and step them without a model."),),
    consequences=("loss-not-decreasing", "underfitting", "frozen-parameters", "overfitting"),
)
