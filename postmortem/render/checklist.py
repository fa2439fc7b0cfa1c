"""The checklist as it is shown: grouped by what was said, the worst first, every mode present, absent or openly unknown."""

from collections.abc import Sequence

from postmortem.model.diagnosis import Change, Diagnosis, Finding, FindingStatus, Severity, Standing
from postmortem.model.sentence import Sentence, say
from postmortem.render.figures import plain
from postmortem.render.words import name_words, speak, t

_ORDER = (FindingStatus.PRESENT, FindingStatus.CRASHED, FindingStatus.NOT_MEASURED, FindingStatus.ABSENT)


def groups(diagnosis: Diagnosis) -> list[tuple[str, list[Finding]]]:
    """Findings under their headings, in order of weight."""
    titles = {
        FindingStatus.PRESENT: t("Present"),
        FindingStatus.CRASHED: t("The check itself crashed"),
        FindingStatus.NOT_MEASURED: t("Not measured"),
        FindingStatus.ABSENT: t("Absent"),
    }
    out = []
    for status in _ORDER:
        chosen = [f for f in diagnosis.findings if f.status is status]
        if chosen:
            out.append((titles[status], sorted(chosen, key=lambda f: _order(diagnosis, f)) if status is FindingStatus.PRESENT else chosen))
    return out


def _order(diagnosis: Diagnosis, finding: Finding) -> tuple[bool, bool, bool, int]:
    return (
        finding.attempt != max(0, len(diagnosis.run.attempts) - 1),
        finding.mode != diagnosis.verdict.mode,
        finding.consequence_of is not None,
        -(finding.severity.rank if finding.severity else 0),
    )


def of_refusals(finding: Finding) -> bool:
    """Whether a finding says nothing but that content was refused."""
    return finding.severity is Severity.MINOR and bool(finding.causes) and finding.causes[0].cause == "hostile-content"


def others(diagnosis: Diagnosis) -> list[Finding]:
    """What was found beside the verdict, the worst first. What was refused stands above them, file by file."""
    last = max(0, len(diagnosis.run.attempts) - 1)
    present = [
        f
        for f in diagnosis.findings
        if f.status is FindingStatus.PRESENT and not (f.mode == diagnosis.verdict.mode and f.attempt == last) and not of_refusals(f)
    ]
    return sorted(present, key=lambda f: _order(diagnosis, f))


def tally(diagnosis: Diagnosis) -> Sentence:
    """How many modes ended how."""
    last = max(0, len(diagnosis.run.attempts) - 1)
    judged = [f for f in diagnosis.findings if f.attempt == last] or list(diagnosis.findings)
    count = {status: sum(f.status is status for f in judged) for status in FindingStatus}
    told = say(
        "{n} failure modes were looked for: {present} present, {absent} absent, {open} not measured.",
        n=len(judged),
        present=count[FindingStatus.PRESENT],
        absent=count[FindingStatus.ABSENT],
        open=count[FindingStatus.NOT_MEASURED],
    )
    crashed = count[FindingStatus.CRASHED]
    return say("{told} In {crashed} the check itself crashed.", told=told, crashed=crashed) if crashed else told


def unfolds(finding: Finding) -> bool:
    """Whether there is more to say of a finding than its one sentence."""
    return finding.status is FindingStatus.PRESENT or bool(finding.clues or finding.causes or finding.fixes or finding.steps_by_hand)


def cleared(finding: Finding) -> bool:
    """The symptom was looked for and is not there at all: its clues cleared it, without a weighing for and against."""
    return finding.status is FindingStatus.ABSENT and finding.onset is None and bool(finding.clues)


def mode_title(diagnosis: Diagnosis, mode: str) -> str:
    """The title of a mode by its id."""
    found = diagnosis.finding(mode)
    return speak(found.title) if found else name_words(mode)


def anchor(finding: Finding) -> str:
    """The id of a finding's place on the page."""
    return f"mode-{''.join(c if c.isalnum() and c.isascii() else '-' for c in finding.mode)}-{finding.attempt}"


def box(standing: Standing) -> str:
    """The box of a cause: ticked, crossed or open."""
    if standing in (Standing.CONFIRMED, Standing.LIKELY):
        return "box-ticked"
    return "box-crossed" if standing in (Standing.UNLIKELY, Standing.RULED_OUT) else "box-open"


def diff(changes: Sequence[Change]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Changes as lines of a diff, by file: ("del" | "ins", "key: value")."""
    files: dict[str, list[tuple[str, str]]] = {}
    for change in changes:
        lines = files.setdefault(change.file or t("on the command line or in the script"), [])
        key = change.key or change.parameter
        if change.from_ is not None:
            lines.append(("del", f"{key}: {plain(change.from_)}"))
        if change.to is not None:
            lines.append(("ins", f"{key}: {plain(change.to)}"))
    return [(file, lines) for file, lines in files.items() if lines]
