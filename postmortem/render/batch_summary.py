"""A batch as Markdown, for a chat, an issue or a job summary: short whatever the number of runs."""

from collections.abc import Iterable, Mapping

from postmortem.model.batch import Batch, Group, Row, RowStatus
from postmortem.render import batch_words as words
from postmortem.render.language import speaking
from postmortem.render.markdown import code, escape
from postmortem.render.words import speak, t

GROUPS = 12
NAMED = 3  # runs of a group
UNREAD = 8


def render_summary(batch: Batch, rows: Mapping[str, Row], lang: str = "en") -> str:
    """The summary. `rows` by name."""
    with speaking(lang):
        return "\n\n".join(part for part in _parts(batch, rows) if part) + "\n"


def _parts(batch: Batch, rows: Mapping[str, Row]) -> Iterable[str]:
    yield f"## {escape(speak(words.headline(batch)))}"
    yield escape(speak(words.tally(batch)))
    hostile = words.refusals(rows.values())
    if hostile:
        listed = [f"- {code(name)}: {escape(what)}" if name else f"- {escape(what)}" for name, what in hostile]
        yield "\n".join((f"**{t('Refused: hostile content.')}**", "", *listed))
    groups = [g for g in batch.groups if g.mode not in tuple(RowStatus)]
    if groups:
        lines = [f"| {t('Runs')} | {t('Failed the same way')} | {t('Spent after the onset')} | {t('For example')} |", "| ---: | --- | --- | --- |"]
        lines += [_line(g) for g in groups[:GROUPS]]
        yield "\n".join(lines)
    if len(groups) > GROUPS:
        yield escape(t("{n} further groups are in the index.", n=len(groups) - GROUPS))
    told = [f"- {escape(speak(words.contrast(c, t('failed runs'))))}" for c in batch.contrasts]
    for group in groups[:GROUPS]:
        cause = words.because(group)
        who = f"{words.title(group)} ({cause})" if cause else words.title(group)
        told += [f"- {escape(who)}: {escape(speak(words.contrast(c, t('of them'))))}" for c in group.contrasts[:2]]
    if told:
        yield f"**{t('What goes along with failing')}**"
        yield "\n".join(told)
        yield f"<sub>{escape(speak(words.test_words()))}</sub>"
    lost = [r for r in rows.values() if r.status is not RowStatus.ANALYSED]
    if lost:
        yield f"**{t('Not analysed')}**"
        listed = [f"- {code(r.name)}: {escape(words.status_words(r))}: {escape(r.reason)}" for r in lost[:UNREAD]]
        if len(lost) > UNREAD:
            listed.append(f"- {t('and {n} more', n=len(lost) - UNREAD)}")
        yield "\n".join(listed)
    yield from (escape(speak(note)) for note in batch.notes)


def _line(group: Group) -> str:
    cause = words.because(group)
    what = f"**{escape(words.title(group))}**" + (f"<br>{escape(cause)}" if cause else "")
    shown = ", ".join(code(name, table=True) for name in group.runs[:NAMED])
    return f"| {len(group.runs)} | {_cell(what)} | {_cell(escape(words.cost_words(group)))} | {shown} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|") if "\\|" not in text else text
