"""The facts of the first screen and the prose of the last sections, from the document alone."""

from collections.abc import Iterable

from postmortem.model.diagnosis import Clue, Diagnosis, Onset, RunNote, SettingNote, Verdict
from postmortem.model.sentence import Sentence, say
from postmortem.render.figures import hours, number, percent, plain, step
from postmortem.render.words import name_words, outcome_words, severity_word, speak, sureness, t

LIKELY = 0.7  # as for `Standing.LIKELY`


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
    at = [t("{unit} {n}", unit=unit(axis), n=step(onset.step))] if onset.step is not None else []
    if onset.epoch is not None and axis != "epoch":
        at.append(t("epoch {n}", n=step(onset.epoch)))
    return t(", ").join(at)


def facts(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    """(question, answer, remark) for the first screen."""
    v, run = diagnosis.verdict, diagnosis.run
    out: list[tuple[str, str, str]] = []
    if v.onset is not None:
        early = v.onset.visible_from_step
        seen = t("visible in the log from {unit} {n}", unit=unit(run.axis), n=step(early)) if early is not None and early != v.onset.step else ""
        out.append((t("When"), onset_words(v.onset, run.axis), seen))
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
    rows += [(t("By chance: {what}", what=name_words(key)), plain(value)) for key, value in diagnosis.chance.items() if value is not None]
    return [(term, text) for term, text in rows if text] or [(t("Model and data"), t("nothing was found about them"))]


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
    if shown.heatmaps or shown.tensors:
        out.append(
            (
                t("Weights"),
                say("Measured over all values of each tensor in the checkpoints, in one pass over the bytes; nothing was sampled."),
            )
        )
    if shown.distributions:
        out.append((t("Distributions"), say("Histograms of all values; each scaled to its own peak, the axis shows the middle 99.8%.")))
    sources = dict.fromkeys(e.source for e in shown.depths if e.source)
    out.extend((t("Gradients"), say("Figures over depth come from: {source}.", source=source)) for source in sources)
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
        say("The run's name ({name}), and the relative paths of {n} files.", name=run.name, n=len(run.sources)),
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


def contents(*, baseline: bool = False) -> Iterable[tuple[str, str]]:
    """The sections, in order."""
    return (
        ("verdict", t("Verdict")),
        ("curves", t("Course of the run")),
        *((("baseline", t("Against the baseline")),) if baseline else ()),
        ("checklist", t("Checklist")),
        ("weights", t("Weights and gradients")),
        ("run", t("The run")),
        ("checkpoints", t("Checkpoints")),
        ("events", t("What the log says")),
        ("sources", t("What was read")),
        ("next", t("What to log next time")),
        ("method", t("How it was obtained")),
        ("reveals", t("What this reveals")),
    )
