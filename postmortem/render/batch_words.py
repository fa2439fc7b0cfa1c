"""What is said of many runs: counts, costs and contrasts in words, the same in the index and in the summary."""

from collections.abc import Iterable

from postmortem.model.batch import Batch, Contrast, Group, Row, RowStatus
from postmortem.model.sentence import Sentence, say
from postmortem.render.figures import hours, number, step
from postmortem.render.words import name_words, speak, t

_STATUS = {
    RowStatus.UNREADABLE: say("nothing readable"),
    RowStatus.CRASHED: say("analysis failed"),
    RowStatus.TIMEOUT: say("took too long"),
    RowStatus.MEMORY: say("took too much memory"),
}
AXES = {"step": say("{n} steps"), "epoch": say("{n} epochs"), "record": say("{n} records")}
_GROUPS = {
    RowStatus.UNREADABLE: say("Nothing readable in it"),
    RowStatus.CRASHED: say("The analysis itself failed"),
    RowStatus.TIMEOUT: say("The analysis took too long"),
    RowStatus.MEMORY: say("The analysis took too much memory"),
}


def headline(batch: Batch) -> Sentence:
    """The whole batch in one line."""
    if batch.failed:
        return say("{failed} of {runs} runs failed", failed=batch.failed, runs=batch.runs)
    return say("None of {runs} runs is known to have failed", runs=batch.runs)


def tally(batch: Batch) -> Sentence:
    """How many ended how."""
    count = dict(batch.statuses)
    unsure = count.get("analysed", 0) - batch.failed - batch.good
    return say(
        "{failed} failed, in {groups} different ways; {good} are healthy, {unsure} cannot be told, {lost} could not be analysed.",
        failed=batch.failed,
        good=batch.good,
        unsure=unsure,
        lost=batch.runs - count.get("analysed", 0),
        groups=sum(1 for g in batch.groups if g.mode not in ("inconclusive", *RowStatus)),
    )


def status_words(row: Row) -> str:
    """What became of a run that was not analysed."""
    return speak(_STATUS[row.status])


def title(group: Group) -> str:
    """A group's name: how the runs failed."""
    return speak(_GROUPS[RowStatus(group.mode)]) if group.mode in _GROUPS else group.title


def because(group: Group) -> str:
    """The cause, or the exception and where it was raised; "" where neither is known."""
    raised = t("{exception} in {frame}", exception=group.exception, frame=group.frame) if group.frame else group.exception
    return ": ".join(part for part in (group.cause_title, raised) if part)


def cost_words(group: Group) -> str:
    """What was spent after the onset, as far as the runs tell."""
    parts = []
    if group.gpu_hours is not None:
        parts.append(t("{n} GPU-hours", n=number(group.gpu_hours, 3)))
    if group.hours is not None:
        everyone = group.told == len(group.runs)
        time = hours(group.hours)
        parts.append(time if everyone else t("{time} ({told} of {n} runs tell)", time=time, told=group.told, n=len(group.runs)))
    if group.steps is not None:
        parts.append(t("{n} steps", n=step(group.steps)))
    return ", ".join(parts) or t("not told by the logs")


def row_cost(row: Row) -> str:
    """The same of one run, short."""
    if row.gpu_hours_after_onset is not None:
        return t("{n} GPU-h", n=number(row.gpu_hours_after_onset, 3))
    if row.hours_after_onset is not None:
        return hours(row.hours_after_onset)
    return t(AXES.get(row.axis, AXES["step"]).template, n=step(row.steps_after_onset)) if row.steps_after_onset is not None else ""


def contrast(one: Contrast, what: str) -> Sentence:
    """One contrast; `what` names the runs in question."""
    return say(
        "{attribute} {value}: {inside} of {of_inside} {what}, {outside} of {of_outside} {others} (p = {p:.1g})",
        attribute=name_words(one.attribute),
        others=say("healthy runs") if one.against == "healthy" else say("other runs"),
        value=one.value,
        inside=one.inside,
        of_inside=one.of_inside,
        what=what,
        outside=one.outside,
        of_outside=one.of_outside,
        p=one.p,
    )


def test_words() -> Sentence:
    """How contrasts were found."""
    return say(
        "Fisher's exact test, two-sided; p is multiplied by the number of values or cut points tried and corrected by Holm's method over all "
        "attributes. Runs that share one setting often share others: this says what goes along with failing, not what causes it."
    )


def layers_words(group: Group) -> str:
    """The layers that the verdicts name first."""
    return ", ".join(t("{layer} ({n})", layer=layer, n=n) for layer, n in group.layers)


REFUSED = 8  # runs that are named


def refusals(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Runs that hold hostile content and what of it was refused; of too many runs the first, and how many more there are."""
    told = sorted((row.name, row.refused) for row in rows if row.refused)
    more = [("", t("and {n} more", n=len(told) - REFUSED))] if len(told) > REFUSED else []
    return told[:REFUSED] + more
