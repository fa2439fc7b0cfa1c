"""The verdict in a terminal: one panel, about 25 lines. Text from a log is neither markup nor an escape sequence."""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from postmortem.model.diagnosis import Clue, Diagnosis
from postmortem.model.sentence import Sentence
from postmortem.render import checklist, story
from postmortem.render.language import word
from postmortem.render.words import one_line, severity_word, speak, t

CLUES = 3
ALSO = 3
CODE = 6  # lines of a snippet
_TONE = {"fatal": "red", "serious": "yellow", "healthy": "green", "inconclusive": "cyan"}


def render_terminal(diagnosis: Diagnosis, console: Console) -> None:
    """Print the verdict to `console`. Where a report was written is the caller's to add."""
    v = diagnosis.verdict
    tone = _TONE.get(story.tone(v), "yellow")
    parts: list[RenderableType] = [_headline(diagnosis, tone), Text(_flat(v.summary))]
    others = story.rivals_words(diagnosis)
    if others:
        parts.append(Text(others, style="dim"))
    for s in story.refused(diagnosis):
        detail = "" if s.detail is None else t(": ") + _flat(s.detail)
        parts.append(Text(f"{t('Refused: hostile content.')} {one_line(s.path, 120)}{detail}", style="red"))
    if more := story.more_refused(diagnosis):
        parts.append(Text(more, style="red"))
    parts.append(_facts(diagnosis))
    if v.decided_by:
        parts += [_label(t("What decides it")), _clues(story.deciding(v)[:CLUES])]
    if v.fixes:
        parts += [_label(t("What to try") if v.mode in ("inconclusive", "healthy") else t("What to change")), Text(_flat(v.fixes[0].title))]
        for file, lines in checklist.diff(v.fixes[0].changes):
            parts.append(Text(f"  {one_line(file, 120)}", style="dim"))
            parts += [
                Text(f"  {'-' if kind == 'del' else '+'} {one_line(line, 200)}", style="red" if kind == "del" else "green")
                for kind, line in lines[:4]
            ]
        if not v.fixes[0].changes:
            code = [line for line in v.fixes[0].code.splitlines() if line.strip(" ^~")]
            parts += [Padding(Text(one_line(line, 200), style="green"), (0, 0, 0, 2 + len(line) - len(line.lstrip()))) for line in code[:CODE]]
    if diagnosis.comparison is not None:
        parts += [_label(t("Against the baseline")), *(Text(_flat(d.summary)) for d in diagnosis.comparison.differences)]
    also = checklist.others(diagnosis)
    if also:
        parts += [_label(t("Also found"))]
        parts += [
            Text(
                t(
                    "{title} ({severity}): {summary}",
                    title=one_line(speak(f.title)),
                    severity=severity_word(f.severity),
                    summary=one_line(speak(f.summary), 160),
                )
            )
            for f in also[:ALSO]
        ]
    if not v.fixes and diagnosis.next_time:
        parts += [_label(t("What to log next time"))]
        for n in diagnosis.next_time[:CLUES]:
            parts.append(Text(one_line(word(n.log), 60) + t(": ") + one_line(speak(n.how), 160)))
            if n.code:
                parts.append(Text(f"  {one_line(n.code, 200)}", style="dim"))
    title = Text(f" {one_line(diagnosis.run.name, 60)} ", style="bold")
    console.print(Panel(Group(*parts), title=title, title_align="left", border_style=tone, box=box.ROUNDED, padding=(0, 1)))


def _flat(sentence: Sentence) -> str:
    return one_line(speak(sentence), 400)


def _label(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _headline(diagnosis: Diagnosis, tone: str) -> Text:
    v = diagnosis.verdict
    line = Text(_flat(v.title), style=f"bold {tone}")
    if v.cause_title is not None:
        line.append(t(". {label} ", label=story.cause_label(v)), style="default not bold").append(_flat(v.cause_title), style="bold default")
    return line.append(f"  [{story.badge(v)}]", style=f"not bold {tone}")


def _facts(diagnosis: Diagnosis) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for term, main, rest in story.facts(diagnosis):
        table.add_row(Text(term), Text(one_line(t("{main}, {rest}", main=main, rest=rest) if rest else main, 200)))
    return table


def _clues(clues: tuple[Clue, ...]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for clue in clues:
        text = Text(_flat(clue.claim)).append(t(": ") + _flat(clue.detail), style="dim")
        if clue.source:
            text.append(f" ({one_line(clue.source, 60)})", style="dim")
        table.add_row(Text("?" if clue.holds is None else "✓" if clue.holds else "✗"), text)
    return table
