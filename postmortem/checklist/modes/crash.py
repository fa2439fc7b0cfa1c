"""The process died."""

from math import isfinite

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.process import PROCESS_CAUSES
from postmortem.checklist.levels import course, loss_is_flat
from postmortem.checklist.limits import asked, is_above, share_is_below
from postmortem.checklist.quoting import cut, first_line, last_line
from postmortem.checklist.signs import excerpt, whole_run
from postmortem.model.run import EventKind, LogEvent
from postmortem.model.sentence import Sentence

WORDS = (
    EventKind.OUT_OF_MEMORY,
    EventKind.DEVICE_ASSERT,
    EventKind.DISK_FULL,
    EventKind.HARDWARE,
    EventKind.DATA_LOADER,
    EventKind.EXCEPTION,
    EventKind.COLLECTIVE,
    EventKind.TIME_LIMIT,
    EventKind.PREEMPTED,
    EventKind.KILLED,
    EventKind.SIGNAL,
    EventKind.INTERRUPTED,
    EventKind.HANG,
)
PRIORS = {"out-of-memory": -0.5, "python-error": -0.8, "killed": -1.0, "stopped-by-user": -0.5}
WATCHED = 50  # records from which a person has seen that nothing changes any more
LIVE = ("json-lines", "csv", "tensorboard", "wandb", "mlflow")  # written as training goes on; a trainer's state is as old as its checkpoint
SHORT = 0.97  # share of the plan below which a run is unfinished
LONG = 200  # characters of a message in the summary
NEARLY = 1.25  # distances between records that the last one may lie before the planned end


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    events = e.events_of(*WORDS)
    guard = next(iter(e.events_of(EventKind.NON_FINITE_GUARD, EventKind.LOSS_SCALE_FLOOR)), None)
    numeric = guard is not None and not [ev for ev in events if ev.kind not in (EventKind.EXCEPTION, EventKind.SIGNAL, EventKind.COLLECTIVE)]
    if numeric and guard is not None:
        text = first_line(guard.text)
        other = asked(say("something other than a numeric guard ended it"), False, say("{text}", text=text), guard.source)
        return Cleared(say("The code ended itself because of a numeric fault: {text}", text=text), (other,))
    if events and e.outcome in ("crashed", "cancelled", "unknown", "running"):
        event = _first_cause(events)
        if _by_hand(events) and _had_seen_enough(e):
            other = asked(say("something other than a keyboard interrupt ended it"), False, say("events of this kind: {n}", n=0), event.source)
            return Cleared(say("Somebody stopped it, when the loss stood still."), (other, *_made(e)))
        return Sighting(Severity.FATAL, _sentence(event), event.step if event.step is not None else e.last_step, None, (), event.source, "words")
    if e.outcome in ("finished", "early-stopped"):
        ended = asked(say("the run was cut off"), False, say("outcome: {outcome}", outcome=e.outcome))
        return Cleared(say("The run ended by itself ({outcome}).", outcome=e.outcome), (ended, *_made(e)))
    cut = e.events_of(EventKind.CUT)
    short = _unfinished(e)
    console = any(source.reader == "text-log" for source in e.sources)
    live = console or (_within_an_epoch(e) and any(source.reader in LIVE for source in e.sources))
    short = short and (bool(cut) or (live and whole_run(e) and not excerpt(e)))
    if e.outcome == "crashed" or (short and (cut or e.outcome == "unknown")):
        done = (e.last_step or 0.0) / e.planned_steps if e.planned_steps else 0.0
        summary = (
            say("The log stops at {done:.0%} of the planned steps, without a word about why.", done=done)
            if short
            else say("The log stops in the middle of a line.")
        )
        return Sighting(Severity.FATAL, summary, e.last_step, None, (), cut[0].source if cut else "", "cut" if cut else "short")
    file = next((source.path for source in e.sources if source.reader == "text-log"), "")
    told = asked(say("the log holds the words of a crash"), bool(events), say("events of this kind: {n}", n=len(events)), file)
    if e.planned_steps is None and not events:
        return Cleared(say("No exception, signal or kill is in the log."), (told, *_made(e)))
    if _unfinished(e):
        return Cleared(say("The log ends before the planned end, and nothing says that the process died there."), (told, *_made(e)))
    return Cleared(say("The run reached its planned length."), (told, *_made(e)))


def _made(e: Evidence) -> tuple[Clue, ...]:
    """How much of what was planned was done, and whether the rest is more than lies between two records."""
    if not e.planned_steps or e.last_step is None:
        return (share_is_below(say("the share of the planned steps that were made"), None, SHORT),)
    missing, apart = e.planned_steps - e.last_step, _apart(e)
    return (
        share_is_below(say("the share of the planned steps that were made"), e.last_step / e.planned_steps, SHORT),
        is_above(say("the steps missing at the end (× those between two records)"), missing / apart if apart else None, NEARLY),
    )


def _apart(e: Evidence) -> float:
    """Steps between two records of the loss, the larger of training's and validation's; 0 when there are too few."""
    curves = [c for n in ("train/loss", "val/loss") if (c := e.curve(n)) is not None and c.points > 2]
    return max(((c.last_step - c.first_step) / (c.points - 1) for c in curves), default=0.0)


def _unfinished(e: Evidence) -> bool:
    """Fewer steps were made than planned, and more are missing than lie between two records: the end is not merely not logged."""
    if e.planned_steps is None or e.last_step is None:
        return False
    if any((c.step or 0.0) >= SHORT * e.planned_steps for c in e.checkpoints):
        return False  # it was saved at the planned end
    if _out_of_patience(e):
        return False
    evaluated = e.curve("val/loss")
    if evaluated is not None and e.planned_epochs and e.planned_epochs > 2 and evaluated.points == e.planned_epochs:
        return False  # once per epoch, to the last
    return e.last_step < SHORT * e.planned_steps - 1 and e.planned_steps - e.last_step > NEARLY * _apart(e)


def _out_of_patience(e: Evidence) -> bool:
    """Early stopping is configured, and as many evaluations as it waits for were no better than the best."""
    patience = e.number("patience")
    waited = [len(s) - 1 - at for n in ("val/loss", "val/accuracy") if (s := e.series.get(n)) is not None and (at := _best_at(e, n)) is not None]
    return patience is not None and any(patience <= w <= patience + 1 for w in waited)


def _best_at(e: Evidence, name: str) -> int | None:
    c, values = e.curve(name), [float(v) for v in e.series[name].values]
    if c is None or not values or not all(isfinite(v) for v in values):
        return None
    return values.index(min(values) if c.goal == "lower" else max(values))


def _within_an_epoch(e: Evidence) -> bool:
    """Training was logged beyond the last of several evaluations that came regularly: it did not stop where runs stop by themselves."""
    train, val = e.curve("train/loss"), e.curve("val/loss")
    if train is None or val is None or val.points < 3:
        return False
    apart = (val.last_step - val.first_step) / (val.points - 1)
    return 0.02 * apart < train.last_step - val.last_step < apart


def _had_seen_enough(e: Evidence) -> bool:
    """The loss had settled, or had never moved: who watches it stops such a run on purpose."""
    loss = course(e)
    if loss is None or loss.finite < 5:
        return False
    settled = loss.finite >= WATCHED and (
        loss.plateau_share > 0.4 or (loss.asymptote is not None and loss.asymptote.remaining < 0.02 and loss.relative_gain > 0.8)
    )
    return settled or loss_is_flat(e)


def _by_hand(events: tuple[LogEvent, ...]) -> bool:
    """All that the log speaks of is a keyboard interrupt."""
    return all(ev.kind == EventKind.INTERRUPTED or ev.data.get("exception") == "KeyboardInterrupt" for ev in events)


def _first_cause(events: tuple[LogEvent, ...]) -> LogEvent:
    """The event that explains the others: by kind first (an allocator's words before the traceback around them), then by order."""
    rank = {kind: n for n, kind in enumerate(WORDS)}
    return min(enumerate(events), key=lambda hit: (rank[hit[1].kind], hit[0]))[1]


def _sentence(event: LogEvent) -> Sentence:
    name, message, frame = event.data.get("exception"), cut(str(event.data.get("message") or ""), LONG), event.data.get("frame")
    told = f"{name}: {message}" if message else f"{name}"
    if name and frame:
        return say("{exception} (in {frame})", exception=told, frame=str(frame))
    if name:
        return say("{exception}", exception=told)
    return say("{text}", text=last_line(event.text, LONG) or str(event.kind))


@probe(say("the log holds the words of a crash"), holds=3.0, fails=-0.5)
def words(e: Evidence, seen: Sighting) -> Reading | None:
    events = e.events_of(*WORDS)
    if not events:
        return Reading(False, say("no such words in the log"))
    event = _first_cause(events)
    return Reading(True, say("{kind}, line {line}", kind=event.kind.value, line=event.line), event.source)


@probe(say("fewer steps were made than planned"), holds=1.5, fails=-1.0)
def unfinished(e: Evidence, seen: Sighting) -> Reading | None:
    if e.planned_steps is None or e.last_step is None:
        return None
    return Reading(_unfinished(e), say("{done:g} of {planned:g} steps", done=e.last_step, planned=e.planned_steps))


@probe(say("the log ends in the middle of a line"), holds=2.0, fails=0.0)
def cut_line(e: Evidence, seen: Sighting) -> Reading | None:
    cut = e.events_of(EventKind.CUT)
    return Reading(bool(cut), say("the last line of {file} has no end", file=cut[0].source), cut[0].source) if cut else None


CHECK = Check(
    id="crash",
    title=say("Crash"),
    symptom=say("The process died before the planned end."),
    detect=detect,
    probes=(words, unfinished, cut_line),
    prior=0.0,
    causes=tuple((cause, PRIORS.get(cause.id, -1.5)) for cause in PROCESS_CAUSES),
    by_hand=(say("Read the first traceback of the first rank that failed; later ones are consequences."),),
    consequences=("stalled",),
)
