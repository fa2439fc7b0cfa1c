"""The facts of the first screen and the prose of the last sections, from the document alone."""

from collections.abc import Iterable
from datetime import UTC, datetime

from postmortem.model.diagnosis import CauseVerdict, Clue, Diagnosis, Onset, RunNote, SettingNote, SourceNote, Standing, Verdict
from postmortem.model.sentence import Sentence, say
from postmortem.render.figures import hours, number, percent, plain, step
from postmortem.render.words import listed, name_words, one_line, outcome_words, severity_word, speak, sureness, t

LIKELY = 0.7  # as for `Standing.LIKELY`
CERTAIN = 0.95  # as for `Standing.CONFIRMED`
RIVALS = 3
MOST_REFUSED = 3
LATEST = 4e9  # seconds since 1970; a larger number counts something else


def unit(axis: str) -> str:
    """What the axis counts."""
    return {"epoch": t("epoch"), "record": t("record")}.get(axis, t("step"))


def tone(verdict: Verdict) -> str:
    """The tone of the first screen: fatal, serious, healthy or inconclusive."""
    if verdict.mode in ("healthy", "inconclusive"):
        return verdict.mode
    return verdict.severity.value if verdict.severity else "serious"


def badge(verdict: Verdict) -> str:
    """The verdict's severity in a word or two."""
    if verdict.mode == "healthy":
        return t("healthy, with a minor finding") if verdict.severity else t("healthy")
    if verdict.mode == "inconclusive":
        return t("cannot be told from what was logged")
    return severity_word(verdict.severity)


def cause_label(verdict: Verdict) -> str:
    """How the cause is introduced: nobody shall take a possible cause for a certain one."""
    return t("Possible cause:") if verdict.cause_confidence is not None and verdict.cause_confidence < LIKELY else t("Cause:")


def onset_words(onset: Onset | None, axis: str = "step") -> str:
    """Step and epoch of the onset, and since when the log shows it."""
    if onset is None or (onset.step is None and onset.epoch is None):
        return t("not told by the log")
    return t(", ").join(_onset(onset, axis))


def _onset(onset: Onset, axis: str) -> list[str]:
    """Step and epoch, as far as they are known."""
    at = [t("{unit} {n}", unit=unit(axis), n=step(onset.step))] if onset.step is not None else []
    return [*at, t("epoch {n}", n=step(onset.epoch))] if onset.epoch is not None and axis != "epoch" else at


def facts(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    """(question, answer, remark) for the first screen."""
    v, run = diagnosis.verdict, diagnosis.run
    out: list[tuple[str, str, str]] = []
    if v.onset is not None:
        early = v.onset.visible_from_step
        seen = t("visible in the log from {unit} {n}", unit=unit(run.axis), n=step(early)) if early is not None and early != v.onset.step else ""
        first, *rest = _onset(v.onset, run.axis) or [t("not told by the log")]
        out.append((t("When"), first, t(", ").join(text for text in (*rest, clock(v.onset.time), seen) if text)))
    if v.confidence is not None:
        what = t("that the run is healthy") if v.mode == "healthy" else t("the failure")
        first = t("{word} ({p})", word=sureness(v.confidence), p=percent(v.confidence))
        cause = ""
        if v.cause is not None and v.cause_confidence is not None:
            cause = t("its cause: {word} ({p})", word=sureness(v.cause_confidence), p=percent(v.cause_confidence))
        out.append((t("How sure"), first, cause or what))
    elif v.mode == "inconclusive":
        out.append((t("How sure"), t("no verdict"), t("too little was logged to tell")))
    spent = cost(diagnosis)
    if spent:
        out.append((t("What it cost"), spent[0], spent[1]))
    if v.restart is not None:
        where = t("{unit} {n}", unit=unit(run.axis), n=step(v.restart.step)) if v.restart.step is not None else ""
        out.append((t("Restart from"), v.restart.path, where))
    elif v.mode not in ("healthy", "inconclusive"):
        missing = t("no checkpoint was found") if not run.checkpoints else t("none was found to be good")
        out.append((t("Restart from"), t("the beginning"), missing))
    out.append((t("How it ended"), outcome_words(run.outcome), progress(run)))
    return out


def progress(run: RunNote) -> str:
    """How far the run came."""
    if run.steps.completed is None:
        return ""
    if run.steps.planned is None:
        return t("at {unit} {n}", unit=unit(run.axis), n=step(run.steps.completed))
    return t("at {unit} {n} of {m}", unit=unit(run.axis), n=step(run.steps.completed), m=step(run.steps.planned))


def cost(diagnosis: Diagnosis) -> list[str]:
    """What was spent after the onset, the most telling figure first."""
    spent = diagnosis.verdict.cost
    if spent is None:
        return []
    if diagnosis.verdict.mode == "crash" and not spent.steps_after_onset:
        return _to_do_again(diagnosis)
    out = []
    if spent.gpu_hours is not None:
        out.append(t("{n} GPU-hours", n=number(spent.gpu_hours, 3)))
    if spent.hours is not None:
        out.append(hours(spent.hours))
    if spent.steps_after_onset is not None:
        out.append(t("{n} {unit}s", n=step(spent.steps_after_onset), unit=unit(diagnosis.run.axis)))
    if spent.share is not None:
        out.append(t("{p} of the run", p=percent(spent.share)))
    return [out[0], t(", ").join((*out[1:], t("after it began")))] if out else []


def _to_do_again(diagnosis: Diagnosis) -> list[str]:
    """What a process that died took with it: the steps since the checkpoint to restart from."""
    done, restart = diagnosis.run.steps.completed, diagnosis.verdict.restart
    first = diagnosis.run.attempts[-1].first_step if diagnosis.run.attempts else 0.0
    since = restart.step if restart is not None else min(first, 0.0)
    if done is None or since is None or not since < done:
        return []
    lost = t("{n} {unit}s", n=step(done - since), unit=unit(diagnosis.run.axis))
    return [lost, t("to do again, since the last good checkpoint") if restart is not None else t("to do again: no checkpoint was found")]


def clock(time: float | None) -> str:
    """A moment as the log's clock had it: 2026-11-23 04:34. "" for none, or one that is no date."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M") if time is not None and 0 < time < LATEST else ""


def rivals(diagnosis: Diagnosis) -> tuple[CauseVerdict, ...]:
    """Other causes that may well be it, while the named one is not confirmed; the most probable first."""
    v, finding = diagnosis.verdict, diagnosis.finding(diagnosis.verdict.mode)
    if finding is None or (v.cause_confidence or 0.0) >= CERTAIN:
        return ()
    open_ = [c for c in finding.causes if c.cause != v.cause and c.standing in (Standing.CONFIRMED, Standing.LIKELY, Standing.POSSIBLE)]
    return tuple(sorted(open_, key=lambda c: -c.confidence)[:RIVALS])


def rivals_words(diagnosis: Diagnosis) -> str:
    """The rivals in a line, "" when there are none."""
    shown = listed(t("{title} ({p})", title=one_line(speak(c.title), 80), p=percent(c.confidence)) for c in rivals(diagnosis))
    return t("Also possible: {causes}", causes=shown) if shown else ""


def deciding(verdict: Verdict) -> tuple[Clue, ...]:
    """The clues that decide it, each said once."""
    said: dict[tuple[str, str], Clue] = {}
    for clue in verdict.decided_by:
        said.setdefault((speak(clue.claim), speak(clue.detail)), clue)
    return tuple(said.values())


def run_facts(run: RunNote) -> list[str]:
    """What stands beside the run's name."""
    known = (name_words(run.family), run.framework, outcome_words(run.outcome) if run.outcome != "unknown" else "")
    return [text for text in known if text]


def about(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Model and data as found."""
    run, model = diagnosis.run, diagnosis.run.model
    rows: list[tuple[str, str]] = [(t("Framework"), run.framework), (t("Family"), name_words(run.family)), (t("Architecture"), model.architecture)]
    if model.parameters is not None:
        rows.append((t("Parameters"), number(model.parameters, 15)))
    if model.trainable_parameters is not None:
        rows.append((t("Trainable"), number(model.trainable_parameters, 15)))
    rows.append((t("Head"), model.head or ""))
    if model.outputs is not None:
        rows.append((t("Outputs"), number(model.outputs, 15)))
    rows.append((t("Progress"), progress(run)))
    guessing = {"loss": t("Loss of guessing"), "accuracy": t("Accuracy of guessing"), "classes": t("Classes")}
    for key, value in diagnosis.chance.items():
        if key in guessing and value is not None:
            rows.append((guessing[key], number(value) if isinstance(value, float) else plain(value)))
    if not run.checkpoints:
        rows.append((t("Checkpoints"), t("none was found")))
    if not run.events:
        rows.append((t("Warnings and errors in the log"), t("none was found")))
    return [(term, text) for term, text in rows if text]


def settings(run: RunNote) -> tuple[SettingNote, ...]:
    """All settings; those known by name alone at the end."""
    named = {s.name for s in run.settings if s.name}
    rest = tuple(SettingNote(name, name, value, "") for name, value in run.hyperparameters.items() if name not in named)
    return (*run.settings, *rest)


def method(diagnosis: Diagnosis) -> list[tuple[str, Sentence]]:
    """How the figures of this very report came about."""
    shown = diagnosis.exhibits
    out: list[tuple[str, Sentence]] = [
        (
            t("Probabilities"),
            say(
                "Every clue adds its weight in log-odds to what was known before any clue; the logistic function of the sum is the probability. "
                "A clue that was not measured adds nothing. Confirmed is 95% and more, likely 70%, possible 30%, unlikely 5%, ruled out less."
            ),
        )
    ]
    if shown.curves:
        out.append(
            (
                t("Curves"),
                say(
                    "Drawn from at most 2,000 points each, chosen so that no extreme, spike or NaN is lost; {n} points were logged. "
                    "Values that are NaN or infinite are shaded, not joined. A thick line over a thin one is the smoothed curve.",
                    n=sum(c.points for c in shown.curves),
                ),
            )
        )
    if any(c.name == "lr" for c in shown.curves) and not any(s.name == "lr" for s in diagnosis.run.series):
        out.append((t("Learning rate"), say("It was not logged: its curve is what the optimizer's state in each checkpoint says.")))
    if shown.heatmaps or shown.tensors:
        out.append(
            (
                t("Weights"),
                say("Measured over all values of each tensor in the checkpoints, in one pass over the bytes; nothing was sampled."),
            )
        )
    if shown.distributions:
        out.append((t("Distributions"), say("Histograms of all values; each scaled to its own peak, the axis shows the middle 99.8%.")))
    sources = dict.fromkeys(e.source for e in shown.depths if e.source and e.quantity == "gradient-rms")
    out.extend((t("Gradients"), say("Figures over depth come from: {source}.", source=source)) for source in sources)
    if diagnosis.verdict.onset is not None and clock(diagnosis.verdict.onset.time):
        out.append((t("Dates"), say("As the log's own clock had them; where it counts seconds since 1970, in UTC.")))
    if diagnosis.verdict.cost is not None:
        out.append((t("Cost"), say("What was spent after the onset, from the steps and the clock times of the log where it has any.")))
    return out


def reveals(diagnosis: Diagnosis) -> list[Sentence]:
    """What a reader of the report learns about the run and its owner."""
    run, shown = diagnosis.run, diagnosis.exhibits
    layers = {name for h in shown.heatmaps for name in h.layers} | {r.name for r in shown.tensors} | {d.layer for d in shown.distributions}
    out = [
        say("Secrets, home directories, host and user names were replaced by stand-ins before anything was measured.")
        if run.redacted
        else say("Nothing was redacted: names of users and hosts, paths and secrets of the log may be in it."),
        say("The run's name ({name}), and the relative paths of the files that were read: {n}.", name=run.name, n=len(run.sources)),
    ]
    if run.series:
        out.append(say("The values of {n} logged series.", n=len(run.series)))
    if run.settings:
        out.append(say("{n} settings with their values.", n=len(run.settings)))
    if layers:
        out.append(say("The names, shapes and statistics of {n} layers, not their weights.", n=len(layers)))
    if run.events:
        out.append(say("{n} excerpts of logs, up to 2,000 characters each.", n=len(run.events)))
    return out


def contents(diagnosis: Diagnosis) -> Iterable[tuple[str, str]]:
    """The sections that have something to show, in order. What was not found is said in "The run"."""
    run, baseline = diagnosis.run, diagnosis.comparison is not None
    return (
        ("verdict", t("Verdict")),
        ("curves", t("Course of the run")),
        *((("baseline", t("Against the baseline")),) if baseline else ()),
        ("checklist", t("Checklist")),
        *((("weights", t("Weights and gradients")),) if run.checkpoints or shows_layers(diagnosis) else ()),
        ("run", t("The run")),
        *((("checkpoints", t("Checkpoints")),) if run.checkpoints else ()),
        *((("events", t("What the log says")),) if run.events else ()),
        ("sources", t("What was read")),
        ("next", t("What to log next time")),
        ("method", t("How it was obtained")),
        ("reveals", t("What this reveals")),
    )


def shows_layers(diagnosis: Diagnosis) -> bool:
    """Whether there is a picture or a table of layers."""
    shown = diagnosis.exhibits
    return bool(shown.heatmaps or shown.distributions or shown.depths or shown.tensors)


def refused(diagnosis: Diagnosis) -> tuple[SourceNote, ...]:
    """The first files in which hostile content was refused. It is a finding that says nothing of the training, and stands beside the verdict."""
    return tuple(s for s in diagnosis.run.sources if s.refused)[:MOST_REFUSED]


def more_refused(diagnosis: Diagnosis) -> str:
    """How many further files hold hostile content, in words; "" when all are named."""
    more = sum(s.refused for s in diagnosis.run.sources) - MOST_REFUSED
    return t("and in {n} more files, listed under “What was read”", n=more) if more > 0 else ""
